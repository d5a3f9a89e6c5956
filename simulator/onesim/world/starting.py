"""Starting processes on hosts: the views of the hosts, the rights that a process gets there, and children for short work. Standard library only."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from onesim.world import calls, lines, nsview, quiet, sshd, tree
from onesim.world import syscalls as sc
from onesim.world.hands import Hand
from onesim.world.spawning import NotStarted, Spawner
from onesim.world.work import WORK, needs_root

_REACH_S = 5.0
_BOUNDS = ("processes", "memory_mb")
_SPAWNER_MB = 256  # of address space; the watch over resident memory is exact


class Starter:
    """Knows the namespaces of the hosts. `namespaces` tells a host by the link of its mount namespace; `shared` are the directories that those `sharing` have
    in common. `own_ssh` = the hosts have an SSH server of their own; `daemons` are the processes that belong to the hosts themselves, `aides` the children
    that do the agent's own work on them.
    """

    own_ssh = False
    kinds: tuple[str, ...] = ("mnt", "uts")
    lines_at = lines.HERE
    #: Trees in which hardly any call changes something. The agent's view of them must be that of the processes' own file systems.
    calm: tuple[str, ...] = ("/etc", "/var/lib/one/remotes", "/var/tmp/one")
    gates: list[str]
    aides: set[int]
    hands: dict[tuple[str, bool], Hand]
    spawners: dict[tuple[str, bool], tuple[Spawner, dict[str, float]]]

    def __init__(self, hosts: list[str], *, shared: list[str], sharing: frozenset[str], wide: bool) -> None:
        self.hosts, self.shared, self.sharing, self.wide = hosts, shared, sharing, wide
        self.quiet, self.parts = quiet.Quiet(), dict[str, tree.Picture]()
        self.hands, self.spawners, self.aides = {}, {}, set()
        self.views: dict[str, tuple[int, ...]] = {}
        self.namespaces: dict[str, str] = {}
        self.userns = -1
        if not wide:
            self._make_user_namespace()
        oneadmin = nsview.ONEADMIN if wide else 0
        nsview.build_shared(shared, oneadmin)
        for host in hosts:
            nsview.build_host(host, hosts, oneadmin, self.shared_by(host))
            self._make_view(host, host)

    def shared_by(self, host: str) -> list[str]:
        """Return the directories that a host shares with others."""
        return self.shared if host in self.sharing else []

    def _make_user_namespace(self) -> None:
        """Where only one id is mapped, drivers run in a user namespace of their own, in which it is oneadmin and has no right over the world."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            sc.unshare(sc.CLONE_NEWUSER)
            for name, text in (("setgroups", "deny"), ("uid_map", f"{nsview.ONEADMIN} 0 1"), ("gid_map", f"{nsview.ONEADMIN} 0 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
            os.write(writer, b".")
            signal.pause()
        os.read(reader, 1)
        self.userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        self._dismiss(pid, reader, writer)

    def shadow(self, host: str, source: str, target: str) -> str:
        """Make a second view of a host in which `source` stands at `target` too. Returns its name, for `spawn`."""
        name = f"{host}{source}"
        self._make_view(host, name, (source, target))
        return name

    def _make_view(self, host: str, name: str, over: tuple[str, str] | None = None) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._enter_apart(host)
                if over is not None:
                    sc.bind(*over)
                os.write(writer, b".")
                signal.pause()
            except OSError as error:
                os.write(writer, f"{error.strerror}: {error.filename}".encode())
            os._exit(1)
        answer = os.read(reader, 500)
        if answer != b".":
            raise nsview.Refused(f"host {host} cannot be made: {answer.decode()}; see `onetck doctor`")
        self._note_view(host, name, pid)
        self._dismiss(pid, reader, writer)

    def _enter_apart(self, host: str) -> None:
        """Give the calling process a view of a host that is its own."""
        nsview.enter_host(host, self.shared_by(host))

    def _note_view(self, host: str, name: str, pid: int) -> None:
        """Note the view of a process under a name."""
        self.views[name] = tuple(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in self.kinds)
        self.namespaces[os.readlink(f"/proc/{pid}/ns/mnt")] = host

    def _dismiss(self, pid: int, *fds: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in fds:
            os.close(fd)

    def attend(self, selector: selectors.BaseSelector, ended: Callable[[int, int], None], waiting: Collection[int]) -> None:
        """Tell `ended` the process id and the status of each program that has ended, while this selector is asked; `waiting` are those that run."""
        self._selector, self._ended, self._waiting = selector, ended, waiting

    def spawn(
        self, host: str, argv: list[str], fds: tuple[int, int, int], environment: dict[str, str], *, root: bool, limits: dict[str, float], cwd: str
    ) -> int:
        """Start a program on a host, the first of a session. Returns its process id. Raises NotStarted."""
        wanted = {name: limits[name] for name in _BOUNDS} if limits else {}
        spawner, bounds = self.spawners.get((host, root), (None, None))
        if spawner is not None and (bounds != wanted or spawner.gone()):
            spawner.dismiss()
            spawner = None
        if spawner is None:
            spawner = Spawner(partial(self._become, host, root, wanted), self._ended)
            self.spawners[host, root] = spawner, wanted
            self.aides.add(spawner.pid)
            self._selector.register(spawner.reports, selectors.EVENT_READ, partial(self._hear, spawner))
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            return spawner.start(argv, fds, environment, cwd)
        except NotStarted as error:
            orphan = calls.orphan(spawner.pid, began, self._waiting) if error.errno == errno.ESRCH else 0
            if not orphan:
                raise
            return orphan  # the program's first deed was to kill whatever its user runs

    def _hear(self, spawner: Spawner) -> None:
        if not spawner.hear():
            self._selector.unregister(spawner.reports)
            os.close(spawner.reports)

    def dismiss(self) -> None:
        """End the children that do the agent's own work; what they and theirs have used counts for this process then."""
        for pid in self.aides:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.aides:
            self._wait_for(pid)

    def unstick(self) -> None:
        """Go on where somebody has stopped what starts programs."""
        for spawner, _ in self.spawners.values():
            spawner.unstick()

    def _enter(self, host: str) -> None:
        for view in self.views[host]:
            sc.setns(view)

    # what the agent sees of the hosts

    def picture(self, host: str, watched: tuple[str, ...], into: tree.Picture, links: dict[tuple[str, str], int]) -> None:
        """Add the watched trees of a host to a picture, without the directories that it shares."""
        shared = frozenset(self.shared_by(host))
        for path in self.calm:
            into.update(self._part(host, path, shared, links, top=path not in watched))
        skip = shared.union(self.calm)
        for root in watched:
            if root not in skip:
                tree.take(into, host, f"{self.root(host)}{root}", root, skip, links)

    def _part(self, host: str, path: str, shared: frozenset[str], links: dict[tuple[str, str], int], *, top: bool) -> tree.Picture:
        """Return the part of a picture that shows a calm tree: as it was, if nothing has happened in it. `top` = with the tree's own directory."""
        real = f"{self.root(host)}{path}"
        if not self.quiet.still(real):
            self.quiet.watch(real)
            part = self.parts[real] = {}
            if top:
                tree.take_top(part, host, real, path)
            tree.take(part, host, real, path, shared, links)
        return self.parts[real]

    def common(self, path: str) -> str:
        """Return where the agent sees a directory that hosts share."""
        return nsview.SHARED + path

    def root(self, host: str) -> str:
        """Return where the agent sees the root of a host."""
        return f"/hosts/{host}"

    def real(self, host: str, name: str) -> str:
        """Return where the command behind a gate stands in the view of a host."""
        folder = next((one for one in ("bin", "sbin") if os.path.exists(f"{self._usr(host)}/{one}/{name}")), "bin")
        return f"/run/onetck/usr/{folder}/{name}"

    def _usr(self, host: str) -> str:
        return "/machine/usr"

    def doors(self, kind: socket.SocketKind, port: int) -> list[tuple[str, socket.socket]]:
        """Return sockets bound to a port that processes on the hosts reach, each with the host on which it lies."""
        return [(host, bound(kind, "127.0.0.1", port)) for host in self.hosts[:1]]

    def reach(self, port: int) -> socket.socket:
        """Return a connection to a port of the front-end."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(_REACH_S)
        try:
            connection.connect(("127.0.0.1", port))
        except OSError:
            connection.close()
            raise
        return connection

    def peer(self, host: str, address: str) -> tuple[str, str]:
        """Return the host from which an address speaks to a door on `host`, and its tables of sockets."""
        return host, "/proc/net"

    def daemons(self) -> frozenset[int]:
        """Return the processes that are neither calls' nor services', and no `aides`."""
        return frozenset()

    def admit(self, host: str, spared: frozenset[int], *, up: bool) -> None:
        """Let a host be reached by ssh, or not any more, where that is no matter of the harness; then only the processes that are `spared` go on there."""

    def fill(self, free_kib: int | None, disk_mb: int) -> None:
        """Leave so many KiB on the storage of the hosts, which all lies on the world's own file system; None: as many as there were."""
        resize("/", free_kib, disk_mb)

    def take_rights(self, root: bool, limits: dict[str, float] | None = None) -> None:
        """Become, in a child, the world's root or the driver's user, with no right to more."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limits:
            _bound(resource.RLIMIT_NPROC, int(limits["processes"]))
            _bound(resource.RLIMIT_AS, max(int(limits["memory_mb"]) * 4, _SPAWNER_MB) << 20)
        if root:
            return
        if self.wide:
            os.setgroups([6, nsview.ONEADMIN])
            os.setresgid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            os.setresuid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
        else:
            sc.setns(self.userns)
            os.setresgid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            os.setresuid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
        sc.no_new_privileges()

    def do(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do a piece of work that has a name in its host's view with the driver's rights, or the world's root's where it needs them. Returns its result."""
        host, root = message["host"], needs_root(message)
        if host not in self.views:
            return {"error": f"host {host!r} is not in this world; there are {', '.join(self.hosts)}"}
        hand = self.hands.get((host, root))
        if hand is not None and hand.gone():
            hand.close()
            hand = None
        if hand is None:
            hand = self.hands[host, root] = Hand(partial(self._become, host, root), lambda message: WORK[message["do"]](message))
            self.aides.add(hand.pid)
        return hand.do(message)

    def _become(self, host: str, root: bool, limits: dict[str, float] | None = None) -> None:
        self._enter(host)
        self.take_rights(root, limits)

    def within(self, host: str, work: Callable[[], dict[str, Any]], *, root: bool = False) -> dict[str, Any]:
        """Do something that is no piece of work with a name, in a host's view as `do` does, in a child of its own. Returns its result."""
        hand = Hand(partial(self._become, host, root), lambda message: work())
        try:
            return hand.do({})
        finally:
            hand.close()
            self._wait_for(hand.pid)

    def _wait_for(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _bound(kind: int, wanted: int) -> None:
    """Set a limit of this process, at most to what it has: a container may have a lower one, and nobody in it may raise that."""
    most = resource.getrlimit(kind)[1]
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, value))


class OwnServers(Starter):
    """Knows hosts that have an SSH server of their own."""

    own_ssh = True
    kinds = ("net", "uts", "mnt")
    calm = ()  # the file systems of containers are layers, of which this process and theirs may see other ones; those of machines are anybody's

    def _enter_apart(self, host: str) -> None:
        self._enter(host)
        sc.unshare(sc.CLONE_NEWNS)
        sc.mount("", "/", flags=sc.MS_REC | sc.MS_PRIVATE)

    def daemons(self) -> frozenset[int]:
        """Return the SSH servers with what they start for each session."""
        return super().daemons() | sshd.servers()


def embedded(settings: dict[str, Any]) -> Starter:
    """Make the root of a world and its hosts in the namespaces that this process is in."""
    gate = base64.b64decode(settings["gate_script"])
    gates = nsview.build_root(settings["gates"], settings["simulated"], gate, settings["disk_mb"], traced=bool(settings["tracer"]))
    hosts = settings["hosts"]
    starter = Starter(hosts, shared=settings["shared"], sharing=frozenset(hosts) - frozenset(settings["apart"]), wide=settings["wide"])
    starter.gates = gates
    return starter


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Return a socket bound to an address and a port of the network that this process is in; one for streams listens."""
    door = socket.socket(socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((address, port))
    if kind == socket.SOCK_STREAM:
        door.listen(256)
    return door


def resize(path: str, free_kib: int | None, disk_mb: int) -> None:
    """Leave so many KiB on the file system in memory at `path`; None: what it had."""
    seen = os.statvfs(path)
    used_kib = (seen.f_blocks - seen.f_bfree) * seen.f_frsize >> 10
    size = f"{disk_mb}m" if free_kib is None else f"{max(used_kib + free_kib, 4)}k"
    sc.mount("tmpfs", path, "tmpfs", sc.MS_REMOUNT | sc.MS_NOSUID | sc.MS_NODEV, f"size={size}")
