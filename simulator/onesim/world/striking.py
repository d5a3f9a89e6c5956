"""What a fault does to the world while a call goes on: storage that is full or read-only, a host that is lost, a lock that another holds.

It lasts until the call has ended. Run by the agent; standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from onesim.world import calls
from onesim.world import syscalls as sc

if TYPE_CHECKING:
    from onesim.world.agent import Agent
    from onesim.world.calls import Call

#: The most milliseconds for which a host stands still: where it is longer, OpenSSH's clients give up, and the host is lost.
PAUSE_MS = 3000
_DATASTORES = "/var/lib/one/datastores"
_F_OFD_SETLK = 37
_QEMU_LOCKS = (100, 200)  # the bytes by which QEMU tells others what it does with a file, and what they may: from the first on, 200 in all
_FLOCK_WITH_VALUE = frozenset({"-w", "--wait", "--timeout", "-E", "--conflict-exit-code"})
_OPENS = os.O_RDWR | os.O_CLOEXEC


class Striking:
    """Strikes the world for a call, and puts it right again when that has ended."""

    def __init__(self, agent: Agent, disk_mb: int) -> None:
        self.agent, self.disk_mb = agent, disk_mb
        self._undone: dict[str, list[Callable[[], object]]] = {}
        self._paused: dict[str, float] = {}

    def strike(self, act: str, argument: str, call: Call, pid: int, argv: list[str], host: str, reached: str) -> None:
        """Do what an act does before a command goes on. `host` is where the command runs, `reached` the host that it goes to by ssh, empty if none.

        full: KiB that are still free; readonly; lose: the host of the command, for a command that goes to one that host; pause: the same host, for
        milliseconds; lock: milliseconds for which what the command wants to lock is held (0: until the call ends).
        """
        match act:
            case "full":
                self._fill(call, int(argument or 0))
            case "readonly":
                for one in self.agent.starter.hosts:
                    self._protect(call, one)
            case "lose":
                self._lose(call, reached or host)
            case "pause":
                self._pause(call, reached or host, min(int(argument or 0), PAUSE_MS))
            case "lock":
                self._lock(call, pid, argv, host, int(argument or 0))

    def over(self, call: Call) -> None:
        """The call has ended: everything is as it was."""
        for undo in reversed(self._undone.pop(call.id, [])):
            with contextlib.suppress(OSError):
                undo()

    def _after(self, call: Call, undo: Callable[[], object]) -> None:
        self._undone.setdefault(call.id, []).append(undo)

    # storage

    def _fill(self, call: Call, free_kib: int) -> None:
        """Leave no more room on any datastore than so many KiB."""
        fill = self.agent.starter.fill
        self._after(call, partial(fill, None, self.disk_mb))
        fill(free_kib, self.disk_mb)

    def _protect(self, call: Call, host: str) -> None:
        """Lay the datastores of a host over themselves, read-only: what is open already stays as it is."""
        paths = [*(path for path in self.agent.starter.shared_by(host) if path != _DATASTORES), _DATASTORES]

        def protect() -> dict[str, object]:
            for path in paths:  # what is mounted further down comes along with the last one
                sc.bind(path, path, recursive=True, readonly=True)
            return {}

        def uncover() -> dict[str, object]:
            for path in reversed(paths):
                sc.unmount(path)
            return {}

        within = self.agent.starter.within
        if "error" not in within(host, protect, root=True):
            self._after(call, lambda: within(host, uncover, root=True))

    # hosts

    def lost(self, act: str, host: str) -> str:
        """Return the host that an act takes down: never the front-end, nor one that is down already."""
        return host if act == "lose" and host in self.agent.hosts[1:] and host not in self.agent.down else ""

    def _lose(self, call: Call, host: str) -> None:
        """Take a host down with everything that the call has running there; who waits for an answer over ssh gets none."""
        if not self.lost("lose", host):
            return
        self.agent.down.add(host)
        self._after(call, partial(self.agent.down.discard, host))
        views = {view for view, name in self.agent.starter.namespaces.items() if name == host}
        for pid in calls.processes():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") in views and calls.owner(pid, {call.id: call}, certain=True) is call:
                    os.kill(pid, signal.SIGKILL)

    def _pause(self, call: Call, host: str, paused_ms: int) -> None:
        """Let everything on a host stand still for a while: who waits for it waits, and it goes on where it stood."""
        if not self.lost("lose", host):
            return
        views = {view for view, name in self.agent.starter.namespaces.items() if name == host}
        stopped: list[int] = []
        aides = self.agent.starter.aides
        for pid in calls.processes():
            with contextlib.suppress(OSError):
                if pid not in aides and os.readlink(f"/proc/{pid}/ns/mnt") in views:
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
        self._paused[host] = time.monotonic() + paused_ms / 1000
        go_on = partial(self._go_on, host, stopped)
        self._after(call, go_on)
        self.agent.holding.later(paused_ms / 1000, os.getpid(), go_on)

    def _go_on(self, host: str, stopped: list[int]) -> None:
        self._paused.pop(host, None)
        while stopped:
            with contextlib.suppress(OSError):
                os.kill(stopped.pop(), signal.SIGCONT)

    def paused_s(self, host: str) -> float:
        """Return for how many seconds a host still stands still."""
        return max(self._paused.get(host, 0.0) - time.monotonic(), 0.0)

    # locks

    def _lock(self, call: Call, pid: int, argv: list[str], host: str, held_ms: int) -> None:
        """Hold the locks that a command is about to take: the file or descriptor that flock names, or the disks that an image tool opens."""
        held = [fd for fd in (self._open(pid, word, host) for word in _files(argv)) if fd >= 0]
        for fd in held:
            with contextlib.suppress(OSError):
                if argv[0] == "flock":
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                else:
                    fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, *_QEMU_LOCKS, 0))
        release = partial(_close, held)
        self._after(call, release)
        if held_ms:
            self.agent.holding.later(held_ms / 1000, os.getpid(), release)

    def _open(self, pid: int, word: str, host: str) -> int:
        """Open a file that a process names, in its own view; -1 if there is none."""
        with contextlib.suppress(OSError):
            if word.isdigit():
                return os.open(f"/proc/{pid}/fd/{word}", _OPENS)
            start = os.readlink(f"/proc/{pid}/cwd")
            real = self.agent.starter.within(host, lambda: {"path": os.path.realpath(os.path.join(start, word))}, root=True)["path"]
            at = f"/proc/{pid}/root{real}"
            return os.open(at, _OPENS) if os.path.isfile(at) else -1
        return -1


def _files(argv: list[str]) -> list[str]:
    """Return the words of a command that may be files to lock: the first one of flock that is no option nor an option's value, of others all."""
    if argv[0] != "flock":
        return [word for word in argv[1:] if not word.startswith("-")]
    words = iter(argv[1:])
    for word in words:
        if word in _FLOCK_WITH_VALUE:
            next(words, "")
        elif not word.startswith("-"):
            return [word]
    return []


def _close(held: list[int]) -> None:
    while held:
        os.close(held.pop())
