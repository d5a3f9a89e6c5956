"""What a run makes in Docker: containers, networks and volumes, all with labels; and the janitor that finds by label and lock what a killed run left.

Needs the package `docker` (extra `docker`), and a daemon of this machine that this user may speak with.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from onesim.errors import HarnessError
from onesim.world.containers import MARK, READY
from onesim.world.nsview import SHARED
from onesim.world.runs import abandoned
from onesim.world.sshd import SSHD_CONFIG

#: The labels of what is made: the run, the world within it, the socket of a world that is kept.
RUN, LOCK, WORLD, KEPT = "onetck.run", "onetck.lock", "onetck.world", "onetck.kept"
#: The label of images that `onetck hosts build` has made, and the image that it makes unless it is told otherwise.
IMAGE_LABEL, IMAGE = "onetck.image", "onetck-hosts:latest"
CONTROL = "/run/onetck/control"
_PACKAGE = "/opt/onetck"
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from onesim.world.agent import main_in_container; main_in_container(sys.argv[2])"
_WAITS = f"until [ -e {READY} ]; do sleep 0.02; done; exec /usr/sbin/sshd -D -e -f {SSHD_CONFIG}"
_SUBNET_TRIES = 30
#: The machine has no address in the network: its own services are not reached from there.
_UNREACHED = {"com.docker.network.bridge.inhibit_ipv4": "true"}
_LINES_MB = 64
_TIMEOUT_S = 300


def connect() -> Any:
    """Return a client of the daemon. Raises HarnessError with the remedy."""
    try:
        import docker
    except ImportError:
        raise HarnessError("the Python package docker is not here; install it with `pip install 'onetck[docker]'`") from None
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
        client.ping()
    except docker.errors.DockerException:
        at = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        raise HarnessError(
            f"no Docker daemon answers at {at}; start it (`systemctl start docker`; apt-get install docker.io), "
            "and run as root or as a member of the group docker"
        ) from None
    return client


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the daemon refuses into a HarnessError."""
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise HarnessError(f"docker: {what}: {getattr(error, 'explanation', None) or error}") from None


def require_image(client: Any, image: str) -> None:
    """Raise HarnessError if the image is not there or was not made for hosts."""
    import docker

    try:
        labels = client.images.get(image).labels
    except docker.errors.DockerException:
        raise HarnessError(f"there is no image {image}; make it with `onetck hosts build`") from None
    if IMAGE_LABEL not in labels:
        raise HarnessError(f"the image {image} was not made for hosts; make one from it with `onetck hosts build --from {image} --image NAME`")


# the janitor


def _kinds(client: Any) -> tuple[tuple[str, Any], ...]:
    """Return the collections in the order in which things can be removed."""
    return ("container", client.containers), ("network", client.networks), ("volume", client.volumes)


def _labels(one: Any) -> dict[str, str]:
    attributes = one.attrs
    return attributes.get("Labels") or attributes.get("Config", {}).get("Labels") or {}


def made_by(client: Any, label: str) -> list[tuple[str, Any]]:
    """Return what carries a label, with its kind."""
    with told("list what was made"):
        return [
            (kind, one)
            for kind, collection in _kinds(client)
            for one in collection.list(filters={"label": label}, **({"all": True, "ignore_removed": True} if kind == "container" else {}))
        ]


def labels_of(client: Any, label: str) -> list[dict[str, str]]:
    """Return the labels of all that carries one of them."""
    return [_labels(one) for _, one in made_by(client, label)]


def sweep(client: Any) -> list[str]:
    """Remove what runs left that live no more, and return it as kinds and names."""
    rows = [(kind, one, _labels(one).get(LOCK, ""), _labels(one).get(KEPT, "")) for kind, one in made_by(client, RUN)]
    left = {key: abandoned(*key) for key in {(lock, kept) for _, _, lock, kept in rows}}
    gone = [(kind, one) for kind, one, lock, kept in rows if left[lock, kept]]
    _remove(gone)
    for lock in {lock for lock, _ in left if lock} - {lock for (lock, _), free in left.items() if not free}:
        Path(lock).unlink(missing_ok=True)
    return [f"{kind} {one.name}" for kind, one in gone]


def _remove(things: Sequence[tuple[str, Any]]) -> None:
    """Remove containers at once, then networks and volumes. What is gone already is no error."""
    import docker

    def remove(thing: tuple[str, Any], last: bool = True) -> tuple[str, Any] | None:
        kind, one = thing
        try:
            one.remove(**({"force": True, "v": True} if kind == "container" else {}))
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError:
            if last:
                raise
            return thing
        return None

    with told("remove what was made"), ThreadPoolExecutor(max_workers=4) as pool:
        containers = [one for one in things if one[0] == "container"]
        # podman keeps an agent for as long as there are hosts in its process namespace
        left = [one for one in pool.map(partial(remove, last=False), containers) if one is not None]
        for these in (left, [one for one in things if one[0] != "container"]):
            list(pool.map(remove, these))


def remove_world(client: Any, world: str) -> None:
    """Remove all that carries the label of a world."""
    _remove(made_by(client, f"{WORLD}={world}"))


# one world


@dataclass
class Fleet:
    """The containers of one world. `addresses` are those of the hosts in the world's own network, which has no way out; `cards` the hardware addresses of those
    that are off it.
    """

    client: Any
    image: str
    world: str
    labels: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, str | None] = field(default_factory=dict)
    network: Any = None

    def up(self, wanted: dict[str, Any], control: Path) -> None:
        """Make and start everything; the agent connects to `control`, whose directory it sees. Raises HarnessError."""
        with told("make a world"):
            self._network(wanted["hosts"])
            mounts = self._volumes(wanted)
            self.containers["agent"] = self._agent(wanted, mounts, control)
            self.containers["agent"].start()
            with ThreadPoolExecutor(max_workers=4) as pool:
                made = dict(zip(wanted["hosts"], pool.map(lambda host: self._host(host, wanted, mounts), wanted["hosts"]), strict=True))
            self.containers |= made

    def _network(self, hosts: Sequence[str]) -> None:
        import docker

        for attempt in range(_SUBNET_TRIES):
            subnet = ipaddress.ip_network(f"10.{random.randrange(200, 250)}.{random.randrange(256)}.{random.randrange(16) * 16}/28")
            pool = docker.types.IPAMPool(subnet=str(subnet))
            try:
                self.network = self.client.networks.create(
                    f"onetck-{self.world}", internal=True, options=_UNREACHED, ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels=self.labels
                )
                break
            except docker.errors.APIError:
                if attempt == _SUBNET_TRIES - 1:
                    raise
        places = list(subnet.hosts())[1:]
        self.addresses = {host: str(at) for host, at in zip(hosts, places, strict=False)}

    def _volume(self, name: str, size_mb: int, mode: str = "755") -> str:
        blocks = (size_mb << 20) // os.sysconf("SC_PAGE_SIZE")  # not `size`: podman takes that for a quota
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"nr_blocks={blocks},mode={mode}"}
        made = self.client.volumes.create(f"onetck-{self.world}-{name}", driver="local", driver_opts=options, labels=self.labels)
        return str(made.name)

    def _volumes(self, wanted: dict[str, Any]) -> dict[str, dict[str, str]]:
        """Make the volumes. Returns them by the machine that mounts them: where, and which. Those of all machines are the agent's too."""
        size_mb = wanted["disk_mb"]
        lines = self._volume("lines", _LINES_MB, "1777")
        mounts: dict[str, dict[str, str]] = {"agent": {"/lines": lines}}
        shared = {path: self._volume(f"shared{number}", size_mb) for number, path in enumerate(wanted["shared"])}
        for host in wanted["hosts"]:
            own = self._volume(host, size_mb)
            mounts["agent"][f"/hosts/{host}"] = own
            mounts[host] = {"/var/lib/one": own, "/run/onetck/lines": lines, **(shared if host not in wanted["apart"] else {})}
        mounts["agent"] |= {SHARED + path: volume for path, volume in shared.items()}
        return mounts

    def _agent(self, wanted: dict[str, Any], mounts: dict[str, dict[str, str]], control: Path) -> Any:
        import docker

        package = Path(__file__).parents[1]
        binds = [
            docker.types.Mount(_PACKAGE + "/onesim", str(package), type="bind", read_only=True),
            docker.types.Mount(CONTROL, str(control.parent), type="bind"),
        ]
        return self.client.containers.create(
            self.image,
            ["/usr/bin/python3", "-I", "-S", "-c", _PROGRAM, _PACKAGE, f"{CONTROL}/{control.name}"],
            name=f"onetck-{self.world}-agent",
            labels=self.labels,
            network_mode="none",
            cap_add=["SYS_ADMIN", "SYS_PTRACE"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            mounts=binds + [_mounted(*one) for one in mounts["agent"].items()],
        )

    def _host(self, host: str, wanted: dict[str, Any], mounts: dict[str, dict[str, str]]) -> Any:
        import docker

        api = self.client.api
        address = docker.types.EndpointConfig(version=api._version, ipv4_address=self.addresses[host])
        container = self.client.containers.create(
            self.image,
            ["/bin/sh", "-c", _WAITS],
            name=f"onetck-{self.world}-{host}",
            hostname=host,
            labels=self.labels,
            environment={MARK: host},
            pid_mode=f"container:{self.containers['agent'].id}",
            network=self.network.name,
            networking_config={self.network.name: address},
            tmpfs={"/run": "exec,mode=755"},
            mounts=[_mounted(*one) for one in mounts[host].items()],
        )
        container.start()
        return container

    def cut_off(self, host: str) -> None:
        """Take a host off the network."""
        container = self.containers[host]
        with told(f"disconnect {host}"):
            container.reload()
            card = container.attrs["NetworkSettings"]["Networks"].get(self.network.name, {}).get("MacAddress")
            self.cards[host] = card or self.cards.get(host)
            self.network.disconnect(container, force=True)

    def rejoin(self, host: str) -> None:
        """Bring it back, under its addresses: with another one of its card it would be there for nobody who still remembers the first."""
        with told(f"connect {host}"):
            self.network.connect(self.containers[host], ipv4_address=self.addresses[host], mac_address=self.cards.pop(host, None))

    def down(self) -> None:
        """Remove everything."""
        remove_world(self.client, self.world)
        self.client.close()


def _mounted(path: str, volume: str) -> Any:
    import docker

    return docker.types.Mount(path, volume, type="volume", no_copy=True)
