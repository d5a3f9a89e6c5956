"""A Docker daemon and an image of hosts for the tests: those of this machine, or ones that are started and built here and removed again."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir
from onesim.errors import HarnessError
from onesim.world import fleet, images
from onesim.world.lab import LabHost

_START_S = 60


def _answers() -> bool:
    try:
        fleet.connect().close()
    except HarnessError:
        return False
    return True


@contextmanager
def _alone(folder: Path, name: str = "docker.lock") -> Iterator[None]:
    """Let no other worker of this test run in meanwhile."""
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _started(base: Path) -> None:
    """Start a daemon that has all that it keeps below `base`, and wait until it answers at `DOCKER_HOST`."""
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no Docker daemon answers, and none can be started: it takes root and docker.io")
    base.mkdir()
    command = [program, "-H", os.environ["DOCKER_HOST"], "--data-root", f"{base}/data", "--exec-root", f"{base}/exec", "--pidfile", f"{base}/pid"]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    until = time.monotonic() + _START_S
    while not _answers():
        assert process.poll() is None and time.monotonic() < until, (base / "log").read_text()[-2000:]
        time.sleep(0.1)


def _stopped(base: Path) -> None:
    """Stop the daemon and remove what it has kept. It may be another worker's child."""
    pid = int((base / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + _START_S
    while (base / "pid").exists() and time.monotonic() < until:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def daemon(shared: Path) -> Iterator[None]:
    """A daemon that answers: this machine's, or one that the first worker starts and the last one stops."""
    base, users = shared / "dockerd", shared / "docker.users"
    with _alone(shared), pytest.MonkeyPatch.context() as patch:
        own = users.exists() or not _answers()
        if own:
            patch.setenv("DOCKER_HOST", f"unix://{base}/docker.sock")
            if not users.exists():
                _started(base)
            users.write_text(f"{int(users.read_text() if users.exists() else 0) + 1}")
    if not own:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{base}/docker.sock")
        yield
    with _alone(shared):
        left = int(users.read_text()) - 1
        users.write_text(f"{left}")
        if not left:
            users.unlink()
            _stopped(base)


@pytest.fixture(scope="session")
def image(daemon: None, shared: Path) -> str:
    """An image of hosts."""
    client = fleet.connect()
    with _alone(shared):
        try:
            fleet.require_image(client, fleet.IMAGE)
        except HarnessError:
            images.build(fleet.IMAGE, "", print)
        finally:
            client.close()
    return fleet.IMAGE


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, shared: Path) -> Iterator[None]:
    """Tests that look at all containers of the daemon take turns with those that make some."""
    if "image" not in request.fixturenames:
        yield
        return
    with _alone(shared, "docker.turn"):
        yield


#: What a machine of the same Debian needs of this one to run libvirtd, besides libraries.
_LIBVIRT = ("/usr/sbin/libvirtd", "/usr/bin/virsh", "/usr/sbin/parted", "/usr/lib/libvirt", "/usr/share/libvirt")
_GLIBC = re.compile(r"/(?:ld-linux|libc\.|libm\.|libpthread\.|libdl\.|librt\.|libresolv\.|libutil\.)")


def _libvirt() -> list[str]:
    """Return what libvirtd consists of on this machine: programs, modules, and the libraries of them all."""
    modules = [path for path in Path("/usr/lib").glob("*/libvirt") if path.is_dir()]
    words = ["ldd", *_LIBVIRT[:3], *(str(path) for folder in modules for path in folder.rglob("*.so"))]
    told = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    libraries = {found for found in re.findall(r"=> (/\S+) ", told) if not _GLIBC.search(found)}
    return [*_LIBVIRT, *map(str, modules), *(f"/usr{path}" if path.startswith("/lib") else path for path in sorted(libraries))]


_MACHINE = """[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
mkdir -p /run/sshd /root/.ssh /srv/own; echo "$KEY" >/root/.ssh/authorized_keys; rm -rf /var/lib/one
printf '%s' "$HOST_KEY" >/etc/ssh/ssh_host_ed25519_key; chmod 600 /etc/ssh/ssh_host_ed25519_key
exec /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_ed25519_key"""


@dataclass
class Lab:
    """Containers that play the machines of a lab: a front-end and two hypervisors. `description` is an onetck.toml with `rows` on them."""

    containers: dict[str, Any]
    network: Any
    machines: tuple[LabHost, ...]
    description: Path
    rows: str

    def sh(self, name: str, command: str) -> str:
        """Run a command on a machine, as root and beside any world. Returns what it prints."""
        host = next(one for one in self.machines if one.name == name)
        options = [f"UserKnownHostsFile={host.known_hosts}", "BatchMode=yes", "ConnectTimeout=10"]
        words = ["ssh", "-i", host.key, *(word for one in options for word in ("-o", one)), f"root@{host.address}", command]
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False).stdout

    def cut_off(self, name: str) -> None:
        """Take a machine off the network."""
        self.network.disconnect(self.containers[name], force=True)

    def rejoin(self, name: str) -> None:
        """Bring it back."""
        self.network.connect(self.containers[name], ipv4_address=next(one.address for one in self.machines if one.name == name))

    def left(self, *names: str) -> str:
        """Return what is left of runs on machines, on all if none is named."""
        return "".join(self.sh(name, "ls -d /srv/*/onetck-* /var/lib/one /etc/one /run/onetck 2>/dev/null") for name in names or self.containers)


@pytest.fixture(scope="session")
def lab(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab; the reference driver is described in it."""
    with _played(image, tmp_path_factory.mktemp("lab")) as machines:
        yield machines


@contextmanager
def _played(image: str, base: Path, front: Sequence[str] = (), devices: Sequence[str] = ()) -> Iterator[Lab]:
    """Have containers play a lab. `front` are paths of this machine that the front-end sees; with `devices`, rules for device cgroups, all see its /dev."""
    import docker

    for key in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(base / key)], check=True)
    client, name = fleet.connect(), f"onetck-test-{os.getpid()}-{base.name}"
    subnet = f"10.{250 if devices else 251}.{os.getpid() % 256}.0/28"  # a machine that comes back has the address that it had
    pools = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
    network, storage = client.networks.create(name, ipam=pools), client.volumes.create(name)
    made: dict[str, Any] = {}
    try:
        for number, machine in enumerate(("fe", "hv1", "hv2")):
            paths = dict.fromkeys(front if machine == "fe" else (), "ro") | ({"/dev": "rw"} if devices else {})
            config = client.api.create_host_config(
                cap_add=["SYS_ADMIN", "SYS_PTRACE"],
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                binds={storage.name: {"bind": "/srv/shared", "mode": "rw"}, **{path: {"bind": path, "mode": mode} for path, mode in paths.items()}},
                device_cgroup_rules=list(devices),
                network_mode=name,
            )
            config |= {"MaskedPaths": [], "ReadonlyPaths": []}  # a machine has a /proc that can be mounted again
            environment = {"KEY": (base / "key.pub").read_text(), "HOST_KEY": (base / "host_key").read_text()}
            made[machine] = client.containers.get(
                client.api.create_container(
                    image, ["/bin/sh", "-c", _MACHINE], hostname=machine, name=f"{name}-{number}", environment=environment, host_config=config
                )
            )
            made[machine].start()
            made[machine].reload()
        at = {machine: one.attrs["NetworkSettings"]["Networks"][name]["IPAddress"] for machine, one in made.items()}
        (base / "known_hosts").write_text("".join(f"{address} {(base / 'host_key.pub').read_text()}" for address in at.values()))
        roles = {"fe": "frontend", "hv1": "host01", "hv2": "host02"}
        keys = {"user": "root", "key": str(base / "key"), "known_hosts": str(base / "known_hosts")}
        machines = tuple(LabHost(one, roles[one], address, "/srv/own", "/srv/shared", inside=address, **keys) for one, address in at.items())
        shutil.copytree(data_dir("reference_driver"), base / "driver")
        description = base / "driver" / "onetck.toml"
        rows = "\n".join(
            f'[hosts.{one.name}]\naddress = "{one.address}"\ndatastores = "/srv/own"\nshared = "/srv/shared"\nkey = "{one.key}"\n'
            f'known_hosts = "{one.known_hosts}"\nfrontend = {str(one.role == "frontend").lower()}\n'
            for one in machines
        )
        description.write_text(f"{description.read_text()}\n{rows}")
        yield Lab(made, network, machines, description, rows)
    finally:
        for one in made.values():
            one.remove(force=True, v=True)
        network.remove()
        storage.remove(force=True)
        client.close()


@dataclass
class Disks:
    """A lab whose machines have a block device of this machine in common, and libvirtd on the front-end. `partition` begins the names of its partitions."""

    lab: Lab
    device: str

    @property
    def partition(self) -> str:
        return f"{self.device}p"


@pytest.fixture
def disks(image: str, tmp_path: Path) -> Iterator[Disks]:
    """Machines with a loop device that is empty; it is detached with its last descriptor, however the test ends."""
    (tmp_path / "storage").touch()
    os.truncate(tmp_path / "storage", 256 << 20)
    done = subprocess.run(
        ["losetup", "-f", "-P", "--show", str(tmp_path / "storage")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no loop device: {done.stdout.strip()}")
    device = done.stdout.strip()
    held = os.open(device, os.O_RDONLY)
    try:
        subprocess.run(["losetup", "-d", device], check=True)
        with _played(image, tmp_path, _libvirt(), ("b 7:* rwm", "b 259:* rwm")) as machines:
            yield Disks(machines, device)
    finally:
        os.close(held)
