"""The views of a world: its root file system in memory, and one mount and UTS namespace for each host. Run by the agent; standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import struct

from onesim.world import lines
from onesim.world import syscalls as sc

ONEADMIN = 9869
RANGE_BASE = 0x6F6E0000
#: Where directories that hosts share lie in the world.
SHARED = "/shared"
_ETC_OURS = (
    "passwd",
    "group",
    "hosts",
    "hostname",
    "machine-id",
    "nsswitch.conf",
    "resolv.conf",
    "one",
    "shadow",
    "gshadow",
    "mtab",
    "sudoers",
    "sudoers.d",
    "ssh",
)
ONEADMIN_DIRECTORIES = (
    "/var/lib/one",
    "/var/lib/one/datastores",
    "/var/lib/one/remotes",
    "/var/lib/one/vms",
    "/var/lib/one/.one",
    "/var/tmp/one",
    "/etc/one",
    "/var/log/one",
    "/run/one",
    "/run/lock/one",
)
_ROOT_DIRECTORIES = (
    "/proc",
    "/sys",
    "/dev",
    "/usr",
    "/root",
    "/home",
    "/mnt",
    "/opt",
    "/run/onetck/usr",
    "/run/onetck/etc",
    "/run/onetck/lib-one",
    lines.SEEN,
    "/var/cache",
    "/var/spool",
)
#: What the machine's package managers know of its packages: those of /usr.
_PACKAGES = ("/var/lib/dpkg", "/var/lib/rpm")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STUBS = ("ssh", "sudo", "onevm", "onedatastore", "onehost", "oneimage", "onecluster", "oneuser", "onezone")
NAMES = ("files.example",)  # further names of the loopback address: the web server of a world
_LINES_MB = 64
WORLD = "/tmp"  # where the root is built before the agent pivots into it


class Refused(Exception):
    """The machine refuses a step; the text names it and the remedy."""


def step(what: str, remedy: str, error: OSError) -> Refused:
    """Return a refusal as one line."""
    return Refused(f"{what}: {error.strerror}; {remedy}")


def enter_namespaces(wide: bool) -> None:
    """Leave the machine's namespaces; this process becomes root of a user namespace whose next child is process 1.

    `wide` maps a range of ids that nobody on the machine has (real root only); else the one id of the caller.
    """
    pid, (ready, go) = os.getpid(), (os.pipe(), os.pipe())
    mapper = 0
    if wide:
        mapper = os.fork()
        if mapper == 0:
            os.read(ready[0], 1)
            try:
                for name in ("uid_map", "gid_map"):
                    _write(f"/proc/{pid}/{name}", f"0 {RANGE_BASE} 65536")
            except OSError:
                os._exit(1)
            os._exit(0)
    uid, gid = os.geteuid(), os.getegid()
    try:
        sc.unshare(sc.CLONE_NEWUSER)
    except OSError as error:
        raise step("user namespaces are refused", "see `onetck doctor`", error) from None
    if wide:
        os.write(ready[1], b".")
        if os.waitpid(mapper, 0)[1] != 0:
            raise Refused("the range of user ids cannot be mapped; run as an ordinary user")
        os.setresgid(0, 0, 0)
        os.setgroups([0])
        os.setresuid(0, 0, 0)
        sc.be_dumpable()
    else:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    for fd in (*ready, *go):
        os.close(fd)
    try:
        sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWPID | sc.CLONE_NEWNET | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS)
    except OSError as error:
        raise step("mount, process and network namespaces are refused", "see `onetck doctor`", error) from None


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def loopback_up() -> None:
    """Bring the loopback interface of the network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", b"lo", 1)
        fcntl.ioctl(sock, 0x8914, request)


def build_root(gates: list[str], simulated: list[str], gate_script: bytes, disk_mb: int, *, traced: bool) -> list[str]:
    """Build the world's root in memory and pivot into it. Returns the gates that have a command to guard, or stand for one that is `simulated`.

    `traced` = with room for the lines that scripts run, which is no part of the root's.
    """
    sc.mount("", "/", flags=sc.MS_REC | sc.MS_PRIVATE)
    try:
        sc.mount("tmpfs", WORLD, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, f"mode=755,size={disk_mb}m")
    except OSError as error:
        raise step(
            "a file system in memory cannot be mounted",
            "in a container grant CAP_SYS_ADMIN, or run with seccomp=unconfined as an ordinary user",
            error,
        ) from None
    for name in (
        "skel/bin",
        "skel/sbin",
        "skel/lib/one",
        "machine/usr",
        "machine/etc",
        "usr",
        "proc",
        "sys",
        "dev",
        "hosts",
        "shared",
        "scratch",
        "etc",
        lines.HERE[1:],
    ):
        os.makedirs(f"{WORLD}/{name}")
    os.chmod(f"{WORLD}/scratch", 0o1777)
    if traced:
        sc.mount("tmpfs", WORLD + lines.HERE, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC, f"mode=1777,size={_LINES_MB}m")
    for source in ("usr", "etc"):
        sc.bind(f"/{source}", f"{WORLD}/machine/{source}", recursive=True, readonly=True)
    for path in _PACKAGES:
        if os.path.isdir(path):
            os.makedirs(f"{WORLD}/machine{path}")
            sc.bind(path, f"{WORLD}/machine{path}", recursive=True, readonly=True)
    kept = []
    stubs = (*STUBS, *simulated)
    for gate in dict.fromkeys([*stubs, *gates]):
        folder = next((one for one in ("bin", "sbin") if os.path.exists(f"/usr/{one}/{gate}")), "bin" if gate in stubs else "")
        if folder:
            with open(f"{WORLD}/skel/{folder}/{gate}", "wb") as file:
                file.write(gate_script)
            os.chmod(f"{WORLD}/skel/{folder}/{gate}", 0o755)
            kept.append(gate)
    try:
        sc.mount("overlay", f"{WORLD}/usr", "overlay", sc.MS_RDONLY, f"lowerdir={WORLD}/skel:{WORLD}/machine/usr")
    except OSError as error:
        raise step("an overlay cannot be mounted in a user namespace", "use Linux 5.11 or newer with the overlay module loaded", error) from None
    try:
        sc.mount("proc", f"{WORLD}/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    except OSError as error:
        raise step("/proc cannot be mounted", "in a container run with an unmasked /proc (--security-opt systempaths=unconfined)", error) from None
    with contextlib.suppress(OSError):
        sc.mount("sysfs", f"{WORLD}/sys", "sysfs", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    _devices(f"{WORLD}/dev")
    sc.pivot(WORLD)
    return kept


def _devices(directory: str) -> None:
    for name in (*_DEVICES, *(("kvm",) if os.path.exists("/dev/kvm") else ())):
        with contextlib.suppress(OSError):
            open(f"{directory}/{name}", "w").close()
            sc.bind(f"/dev/{name}", f"{directory}/{name}")
    os.makedirs(f"{directory}/shm", exist_ok=True)
    os.chmod(f"{directory}/shm", 0o1777)
    os.makedirs(f"{directory}/pts", exist_ok=True)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        os.symlink(target, f"{directory}/{name}")


def build_shared(paths: list[str], oneadmin: int) -> None:
    """Make the directories that hosts share, below SHARED."""
    for path in paths:
        os.makedirs(SHARED + path)
        os.chown(SHARED + path, oneadmin, oneadmin)


def build_host(name: str, hosts: list[str], oneadmin: int, shared: list[str]) -> None:
    """Lay out the root of one host below /hosts; `oneadmin` is the id that owns its files here. Directories that are shared are mounted over its own."""
    root = f"/hosts/{name}"
    for directory in (*_ROOT_DIRECTORIES, *_known_packages()):
        os.makedirs(root + directory)
    for directory in ("/tmp", "/var/tmp"):
        os.makedirs(root + directory)
        os.chmod(root + directory, 0o1777)
    for directory in (*ONEADMIN_DIRECTORIES, *shared):
        os.makedirs(root + directory, exist_ok=True)
        os.chown(root + directory, oneadmin, oneadmin)
    for link in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.lexists(f"/usr/{link}"):
            os.symlink(f"usr/{link}", f"{root}/{link}")
    os.symlink("../run", f"{root}/var/run")
    os.symlink("../run/lock", f"{root}/var/lock")
    os.symlink("/proc/self/mounts", f"{root}/etc/mtab")
    os.mkdir(f"{root}/run/onetck/tmp")
    os.chmod(f"{root}/run/onetck/tmp", 0o1777)
    for entry in os.listdir("/machine/etc"):
        if entry not in _ETC_OURS:
            os.symlink(f"/run/onetck/etc/{entry}", f"{root}/etc/{entry}")
    machine_id = hashlib.sha256(name.encode()).hexdigest()[:32]
    files = {
        "hostname": f"{name}\n",
        "machine-id": f"{machine_id}\n",
        "hosts": "127.0.0.1 localhost " + " ".join([*hosts, *NAMES]) + "\n",
        "passwd": f"root:x:0:0:root:/root:/bin/bash\noneadmin:x:{ONEADMIN}:{ONEADMIN}::/var/lib/one:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\ndisk:x:6:oneadmin\noneadmin:x:{ONEADMIN}:\nnogroup:x:65534:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "",
    }
    for file, text in files.items():
        _write(f"{root}/etc/{file}", text)
    _write(f"{root}/var/lib/one/.one/one_auth", "oneadmin:onetck\n")
    os.chown(f"{root}/var/lib/one/.one/one_auth", oneadmin, oneadmin)
    os.chmod(f"{root}/etc", 0o555)


def _known_packages() -> list[str]:
    return [path for path in _PACKAGES if os.path.isdir(f"/machine{path}")]


def enter_host(name: str, shared: list[str]) -> None:
    """Give the calling process a mount and UTS namespace of its own with the host's root."""
    root = f"/hosts/{name}"
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWUTS)
    sc.mount("", "/", flags=sc.MS_REC | sc.MS_PRIVATE)
    sc.bind(root, root)
    sc.bind("/usr", f"{root}/usr")
    sc.bind(f"{root}/run/onetck/lib-one", f"{root}/usr/lib/one")
    sc.bind("/machine/usr", f"{root}/run/onetck/usr", recursive=True)
    sc.bind("/machine/etc", f"{root}/run/onetck/etc", recursive=True)
    for path in _known_packages():
        sc.bind(f"/machine{path}", root + path, recursive=True)
    sc.bind(lines.HERE, root + lines.SEEN)
    for name_ in ("proc", "sys", "dev"):
        sc.bind(f"/{name_}", f"{root}/{name_}", recursive=True)
    for path in shared:
        sc.bind(SHARED + path, root + path)
    sc.sethostname(name)
    sc.pivot(root)


def stand(gate: bytes, stubs: tuple[str, ...], gates: list[str]) -> list[str]:
    """Put the gate at the path of each command of the root of this process; below /run/onetck/usr are the commands themselves. Returns those that are gated."""
    with open("/run/onetck/gate", "wb") as file:
        file.write(gate)
    os.chmod("/run/onetck/gate", 0o755)
    kept = []
    for name in dict.fromkeys([*stubs, *gates]):
        folder = next((one for one in ("bin", "sbin") if os.path.exists(f"/usr/{one}/{name}")), "bin" if name in stubs else "")
        if folder:
            if not os.path.exists(f"/usr/{folder}/{name}"):  # to stand upon
                open(f"/usr/{folder}/{name}", "ab").close()
            sc.bind("/run/onetck/gate", f"/usr/{folder}/{name}")
            kept.append(name)
    return kept
