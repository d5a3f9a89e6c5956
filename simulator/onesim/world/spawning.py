"""Starting programs on hosts without a fork of the agent: by children of its own, each in the view of a host with some user's rights and bounds.

Such a child is small and starts a program as `posix_spawn` does, in a third of the time. It reports when a program ends, whose parent it is. Standard
library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator

from onesim.world import hands

_PATIENCE_S = 0.2
#: What a program does by default with a signal it does, whatever Python and who started onetck ignore.
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class NotStarted(OSError):
    """A program could not be started; `stage` tells at what: the view of its host, its directory, or the program itself."""

    def __init__(self, number: int, stage: str) -> None:
        super().__init__(number, os.strerror(number))
        self.stage = stage


class Spawner:
    """One such child. `enter` brings it to its place, in the child; `ended` is told the process id and the status of each program of its that has ended.

    `reports` becomes readable when there is something to tell: then `hear` tells it. A driver may kill what its user runs: programs that run then become
    the agent's own children, and the next one needs another spawner.
    """

    def __init__(self, enter: Callable[[], None], ended: Callable[[int, int], None]) -> None:
        ours, theirs = socket.socketpair()
        self.reports, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):  # nothing of the agent's may run here
                _serve(theirs, writer, enter)
            os._exit(0)
        theirs.close()
        os.close(writer)
        self._socket, self._ended = ours, ended
        self._running: set[int] = set()
        self._heard = b""

    def gone(self) -> bool:
        """Whether it has ended."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def start(self, argv: list[str], fds: tuple[int, int, int], environment: dict[str, str], cwd: str) -> int:
        """Start a program with these descriptors. Returns its process id. Raises NotStarted."""
        data = hands.packed({"argv": argv, "environment": environment, "cwd": cwd})
        answer = None
        with contextlib.suppress(OSError):
            socket.send_fds(self._socket, [data[:1]], fds)
            self._socket.sendall(data[1:])
            while not select.select([self._socket], [], [], _PATIENCE_S)[0]:
                self.unstick()
            answer = hands.receive(self._socket)
        if answer is None:  # the program, or another one, has killed it before it could tell
            raise NotStarted(errno.ESRCH, "view")
        if "stage" in answer:
            raise NotStarted(answer["errno"], answer["stage"])
        pid: int = answer["pid"]
        self._running.add(pid)
        return pid

    def hear(self) -> bool:
        """Tell what has ended. Returns whether there will be more to hear."""
        data = os.read(self.reports, 1 << 16)
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            pid, status = map(int, line.split())
            self._tell(pid, status)
        if data:
            return True
        for pid in [pid for pid in self._running if not os.path.exists(f"/proc/{pid}")]:
            self._tell(pid, -signal.SIGKILL)  # it ended with the spawner, which told nobody
        return False

    def _tell(self, pid: int, status: int) -> None:
        self._running.discard(pid)
        self._ended(pid, status)

    def unstick(self) -> None:
        """End it if somebody has stopped it, so that programs which have ended are heard of."""
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "T":
                os.kill(self.pid, signal.SIGKILL)

    def dismiss(self) -> None:
        """Have it end. The programs that it has started go on, as the agent's own children."""
        self._socket.close()


def _serve(connection: socket.socket, reports: int, enter: Callable[[], None]) -> None:
    refused: hands.Message = {}
    try:
        enter()
    except OSError as error:
        refused = {"stage": "view", "errno": error.errno or 0}
    hands.keep_only(connection.fileno(), reports)
    deaths = _deaths()
    while True:
        ready = select.select([connection.fileno(), deaths], [], [])[0]
        if deaths in ready:
            os.read(deaths, 4096)
            for pid, status in _dead():
                os.write(reports, b"%d %d\n" % (pid, status))
        if connection.fileno() in ready:
            head, fds, _, _ = socket.recv_fds(connection, 1, 3)
            for fd in fds:
                os.set_inheritable(fd, False)
            message = hands.receive(connection, head) if head else None
            if message is None:
                return
            connection.sendall(hands.packed(refused or _start(message, fds)))
            for fd in fds:
                os.close(fd)


def _deaths() -> int:
    """Return a pipe that becomes readable when a child has ended. A handler would wait for the next message if it came just before the wait for one."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer)
    return reader


def _start(message: hands.Message, fds: list[int]) -> hands.Message:
    stage = "cwd"
    try:
        os.chdir(message["cwd"])
        stage = "exec"
        argv = message["argv"]
        own = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
        return {"pid": os.posix_spawn(argv[0], argv, message["environment"], file_actions=own, setsid=True, setsigdef=_SIGNALS)}
    except (OSError, ValueError) as error:
        return {"stage": stage, "errno": getattr(error, "errno", None) or 0}


def _dead() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found[0], os.waitstatus_to_exitcode(found[1])
