"""Programs that live as long as a case, such as driver programs (MADs), and the scripts that they start through shims. Part of the agent; standard library only.

A program sees the front-end with one difference: in place of each driver script stands a shim. The shim reports here and waits; the harness says what
becomes of it: the script is run as a call, with what the shim was given, or the shim ends with a status that the harness names.
"""

from __future__ import annotations

import base64
import contextlib
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from onesim.world import calls, clients, shims
from onesim.world import syscalls as sc
from onesim.world.spawning import NotStarted

if TYPE_CHECKING:
    from onesim.world.agent import Agent

SHIM_PORT = 7412
_STDIN_S = 2.0  # seconds that a program has to close the stdin of a script that it has started
_STDIN_MAX = 16 << 20
_EVENTS_MAX = 256
_STDERR_BYTES = 4096
_LIMITS = {"processes": 1024.0, "memory_mb": 4096.0}


@dataclass
class _Program:
    """A program under way. `stdin` is the end that is written to; `unsent` what it has not taken yet; `stderr` the end of what it printed there."""

    name: str
    pid: int
    stdin: int
    stdout: int
    errors: int
    unsent: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    last: bool = False


@dataclass
class Shim:
    """A script that a program has started: what it was given, and where its output goes."""

    number: int
    connection: socket.socket
    argv: list[str]
    cwd: str
    environment: dict[str, str]
    fds: tuple[int, int, int]
    until: float
    stdin: bytearray = field(default_factory=bytearray)
    closed: bool = False
    reported: bool = False
    call: calls.Call | None = None


class Programs:
    """The programs of a world and their scripts. `do_*` are requests of the harness."""

    VERBS = frozenset({"program", "tell", "hear", "drop", "dismiss"})

    def __init__(self, agent: Agent, environment: dict[str, str]) -> None:
        self.agent = agent
        self.environment = environment
        self.programs: dict[str, _Program] = {}
        self.shims: dict[int, Shim] = {}
        self.view = ""
        self._next = 0
        self._events: deque[dict[str, Any]] = deque()
        self._hearing: tuple[int, float] | None = None

    @property
    def active(self) -> bool:
        """Whether a program lives, so that not every process belongs to a call."""
        return bool(self.programs)

    def sessions(self) -> frozenset[int]:
        """Return the sessions of the programs."""
        return frozenset(program.pid for program in self.programs.values())

    def tasks(self) -> int:
        """Return how many processes and threads the programs have: they count against the bound of a script, whose user is theirs."""
        count = 0
        for program in self.programs.values():
            for pid in calls.session(program.pid):
                with contextlib.suppress(OSError):
                    count += len(os.listdir(f"/proc/{pid}/task"))
        return count

    # requests

    def do_program(self, message: dict[str, Any]) -> dict[str, Any]:
        """Start a program. `failed` says why it could not be started."""
        host = message["host"]
        if not self.view:
            shim = base64.b64decode(message["shim_script"])
            self.agent.starter.within(host, partial(shims.lay, shim), root=True)
            self.view = self.agent.starter.shadow(host, shims.TREE, shims.REMOTES)
            self._listen()
        stdin, stdout, errors = os.pipe(), os.pipe(), os.pipe()
        fds = (stdin[0], stdout[1], errors[1])
        environment = {**self.environment, **message["env"]}
        try:
            pid = self.agent.starter.spawn(self.view, message["argv"], fds, environment, root=False, limits=_LIMITS, cwd="/var/lib/one")
        except NotStarted as error:
            for fd in (stdin[1], stdout[0], errors[0]):
                os.close(fd)
            return {"failed": error.strerror}
        finally:
            for fd in fds:
                os.close(fd)
        program = _Program(message["name"], pid, stdin[1], stdout[0], errors[0])
        for fd in (stdin[1], stdout[0], errors[0]):
            os.set_blocking(fd, False)
        self.programs[program.name] = program
        self.agent.waiting[pid] = partial(self._ended, program)
        self._watch(stdout[0], partial(self._stdout, program))
        self._watch(errors[0], partial(self._stderr, program))
        return {}

    def do_tell(self, message: dict[str, Any]) -> dict[str, Any]:
        """Write to a program's stdin; what it does not take at once is kept for it."""
        program = self.programs.get(message["name"])
        if program is not None:
            program.unsent += base64.b64decode(message["data"])
            program.last = message["last"]
            self._send(program)
        return {}

    def do_hear(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the next thing that happened: output of a program, its end, a script that it starts. The reply waits until then or until the time is up."""
        self._hearing = (message["id"], time.monotonic() + message["time_s"])
        self.tick()
        return None

    def do_drop(self, message: dict[str, Any]) -> dict[str, Any]:
        """End a shim without running its script."""
        shim = self.shims.get(message["shim"])
        if shim is not None:
            self._end(shim, message["status"])
        return {}

    def do_dismiss(self, message: dict[str, Any]) -> dict[str, Any]:
        """Kill what is left of a program. Nothing is heard of it any more."""
        program = self.programs.pop(message["name"], None)
        if program is None:
            return {}
        for pid in calls.session(program.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._close(program, "stdout")
        self._close(program, "errors")
        self._close(program, "stdin")
        return {}

    # the loop

    @property
    def waiting(self) -> bool:
        """Whether a moment may come at which something has to be done."""
        return self._hearing is not None or bool(self.shims)

    def tick(self) -> None:
        """Report scripts whose stdin is complete, and answer the harness if there is something to hear or its time is up."""
        now = time.monotonic()
        for shim in self.shims.values():
            if not shim.reported and (shim.closed or now > shim.until):
                shim.reported = True
                stdin = base64.b64encode(shim.stdin).decode()
                self._events.append({"heard": "script", "shim": shim.number, "argv": shim.argv, "stdin": stdin, "closed": shim.closed})
        if self._hearing is not None and (self._events or now > self._hearing[1]):
            (number, _), self._hearing = self._hearing, None
            self.agent.send({"reply": number, **(self._events.popleft() if self._events else {"heard": "nothing"})})

    def _watch(self, fd: int, handler: Callable[[], object]) -> None:
        self.agent.selector.register(fd, selectors.EVENT_READ, handler)

    def _close(self, program: _Program, stream: str) -> None:
        """Close a stream; -1 stands for it from then on, since a handler may still be due for the number that another file gets."""
        fd = getattr(program, stream)
        if fd >= 0:
            setattr(program, stream, -1)
            with contextlib.suppress(KeyError):
                self.agent.selector.unregister(fd)
            os.close(fd)

    # programs

    def _send(self, program: _Program) -> None:
        if program.stdin < 0:
            return
        with contextlib.suppress(KeyError):
            self.agent.selector.unregister(program.stdin)
        try:
            while program.unsent:
                del program.unsent[: os.write(program.stdin, program.unsent)]
            if program.last:
                self._close(program, "stdin")
        except BlockingIOError:
            self.agent.selector.register(program.stdin, selectors.EVENT_WRITE, partial(self._send, program))
        except OSError:
            program.unsent.clear()  # it has closed its stdin; that it does not answer will be seen

    def _stdout(self, program: _Program) -> bool:
        """Take a piece of what a program prints. Returns whether there was one."""
        data = self._piece(program, "stdout")
        if data:
            self._events.append({"heard": "data", "name": program.name, "data": base64.b64encode(data).decode()})
        return bool(data)

    def _stderr(self, program: _Program) -> bool:
        data = self._piece(program, "errors")
        program.stderr = bytearray((program.stderr + data)[-_STDERR_BYTES:])
        return bool(data)

    def _piece(self, program: _Program, stream: str) -> bytes:
        fd = getattr(program, stream)
        if fd < 0:
            return b""
        if len(self._events) >= _EVENTS_MAX:
            time.sleep(0.001)  # it prints faster than it is heard: the pipe holds it up
            return b""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return b""
        if not data:
            self._close(program, stream)
        return data

    def _ended(self, program: _Program, status: int) -> None:
        if self.programs.get(program.name) is not program:
            return  # it was dismissed
        while self._stdout(program):
            pass
        while self._stderr(program):
            pass
        stderr = program.stderr.decode(errors="replace")
        within = any(shim.call is not None for shim in self.shims.values())
        self._events.append({"heard": "ended", "name": program.name, "status": status, "stderr": stderr, "within": within})

    # shims

    def _listen(self) -> None:
        for _, listener in self.agent.starter.doors(socket.SOCK_STREAM, SHIM_PORT):
            self._watch(listener.fileno(), partial(self._accept, listener))

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        self._watch(connection.fileno(), partial(self._introduced, connection, bytearray()))

    def _introduced(self, connection: socket.socket, buffer: bytearray) -> None:
        """The first line of a shim: its process, its descriptor of this connection, its directory."""
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        buffer += data
        if not data:
            self._forget(connection)
        if not data or not buffer.endswith(b"\n"):
            return
        self.agent.selector.unregister(connection.fileno())
        try:
            pid_text, own_fd, cwd = buffer.decode(errors="surrogateescape").rstrip("\n").split(" ", 2)
            pid = int(pid_text)
            clients.wait_for_own_stdout(pid, own_fd)
            fds = (sc.borrow_fd(pid, 0), sc.borrow_fd(pid, 1), sc.borrow_fd(pid, 2))
            argv = _words(pid, "cmdline")[2:]
            environment = dict(word.split("=", 1) for word in _words(pid, "environ") if "=" in word)
        except (ValueError, OSError):
            connection.close()  # what came was no shim, or it has gone already
            return
        shim = Shim(self._next, connection, argv, cwd, environment, fds, time.monotonic() + _STDIN_S)
        self._next += 1
        self.shims[shim.number] = shim
        self._watch(connection.fileno(), partial(self._left, shim))
        try:
            self._watch(fds[0], partial(self._input, shim))
        except PermissionError:  # a file, which is always ready
            while not shim.closed:
                self._input(shim)

    def _input(self, shim: Shim) -> None:
        if shim.number not in self.shims:
            return
        try:
            data = os.read(shim.fds[0], 1 << 16)
        except OSError:
            data = b""
        shim.stdin += data[: _STDIN_MAX - len(shim.stdin)]
        if not data:
            shim.closed = True
            with contextlib.suppress(KeyError, ValueError):
                self.agent.selector.unregister(shim.fds[0])

    def _left(self, shim: Shim) -> None:
        """The program has killed the shim, or its process has gone: the script that runs for it gets what a process group gets."""
        if shim.number not in self.shims:
            return
        with contextlib.suppress(KeyError, ValueError):
            self.agent.selector.unregister(shim.connection.fileno())
        if shim.call is not None and shim.call.leader:
            with contextlib.suppress(OSError):
                os.killpg(shim.call.leader, signal.SIGTERM)

    def finished(self, call: calls.Call) -> None:
        """The script of a shim has ended as a call: its output goes to the program, then the shim ends with its status (255 if it had none)."""
        shim = next((one for one in self.shims.values() if one.call is call), None)
        if shim is None:
            return
        status = call.status if call.status is not None and call.status >= 0 and not call.ended_by else 255
        child = os.fork()
        if child == 0:
            for fd, data in ((shim.fds[1], call.streams["stdout"]), (shim.fds[2], call.streams["stderr"])):
                view = memoryview(bytes(data))
                with contextlib.suppress(OSError):
                    while view:
                        view = view[os.write(fd, view) :]
            os._exit(0)
        self.agent.waiting[child] = lambda _: self._end(shim, status)

    def _end(self, shim: Shim, status: int) -> None:
        self.shims.pop(shim.number, None)
        with contextlib.suppress(KeyError, ValueError):
            self.agent.selector.unregister(shim.fds[0])
        with contextlib.suppress(OSError):
            shim.connection.setblocking(True)
            shim.connection.sendall(f"{status}\n".encode())
        self._forget(shim.connection)
        for fd in shim.fds:
            os.close(fd)

    def _forget(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.agent.selector.unregister(connection.fileno())
        connection.close()


def _words(pid: int, name: str) -> list[str]:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return [word.decode(errors="surrogateescape") for word in file.read().split(b"\0")[:-1]]
