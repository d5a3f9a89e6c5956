"""The agent: process 1 of a world. It starts and ends every process, is the far end of ssh, holds the gates, and takes the pictures.

Started by `onesim.world.namespaces` as a small program of its own, because a small process forks fast. One thread, one loop; it dies with the
control connection, and everything in the world with it. Messages are a length (4 bytes) and JSON; bytes travel as base64. Standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import tarfile
import termios
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from onesim.world import calls, clients, nsview, tree
from onesim.world.calls import Call
from onesim.world.containers import Containers
from onesim.world.holding import CROWD, Holding
from onesim.world.lines import Lines
from onesim.world.links import Links
from onesim.world.programs import Programs
from onesim.world.services import Services
from onesim.world.spawning import NotStarted
from onesim.world.starting import Starter, embedded
from onesim.world.striking import Striking
from onesim.world.virsh import Virsh
from onesim.world.visiting import Visiting
from onesim.world.web import Web
from onesim.world.work import WORK, lay, members

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/var/lib/one",
    "USER": "oneadmin",
    "LOGNAME": "oneadmin",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}
_WATCHED = ("/var/lib/one", "/etc", "/var/tmp", "/tmp")
_WATCH_S = 0.1
_PIPE_BYTES = 65536  # what a pipe holds
_AIDES = 4  # a hand and a spawner for either user of a host
_ROUND = 16  # so that what starts programs may stay when a thread comes or goes beside them
_GRACE_S = 1.0


class Agent:
    """The world's owner."""

    def __init__(self, settings: dict[str, Any], starter: Starter, control: socket.socket, listener: socket.socket | None) -> None:
        self.hosts: list[str] = settings["hosts"]
        self.shared: list[str] = settings["shared"]
        self.sharing = frozenset(self.hosts) - frozenset(settings["apart"])
        self.kept = listener is not None
        self.selector = selectors.DefaultSelector()
        self.running: dict[str, Call] = {}
        self.waiting: dict[int, Callable[[int], None]] = {}
        self.down: set[str] = set()
        self.broken = False
        self.before: tree.Picture = {}
        self.links: dict[tuple[str, str], int] = {}
        self.control: socket.socket | None = control
        self.buffer = b""
        self.fds: list[int] = []
        self.questions: dict[int, Callable[[dict[str, Any]], None]] = {}
        self.next_question = 0
        self.simulated = frozenset(settings["simulated"])
        self.starter, self.gates = starter, starter.gates
        self.lines = Lines(base64.b64decode(settings["tracer"]), settings["left_alone"], starter.lines_at)
        self.holding = Holding(self.send)
        self.striking = Striking(self, settings["disk_mb"])
        self.unclaimed: list[bytes] = []
        self.doors = clients.Doors(self)
        self.network = Links(self, settings["links"])
        self.programs = Programs(self, _ENVIRONMENT)
        self.web = Web(self)
        self.virsh = Virsh(self)
        self.services = Services(self, _ENVIRONMENT)
        self.visiting = Visiting(self)
        self.starter.attend(self.selector, self._ended, self.waiting)
        self.selector.register(control, selectors.EVENT_READ, self._control_ready)
        if listener is not None:
            self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writer)
        self.selector.register(reader, selectors.EVENT_READ, lambda: self._reap(reader))

    # the loop

    def serve(self) -> None:
        """Serve until the harness is gone."""
        watched = time.monotonic()
        while True:
            for key, _ in self.selector.select(self.holding.patience_s(_WATCH_S / 2 if self.running or self.programs.waiting else 5)):
                key.data()
            self.holding.due()
            self.programs.tick()
            if self.running and time.monotonic() - watched > _WATCH_S:
                watched = time.monotonic()
                self.starter.unstick()
                for call in self.running.values():
                    self.lines.trim(call.id, call.leader)
            for call in list(self.running.values()):
                self._watch(call, watched)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if self.control is not None:
            self.selector.unregister(self.control)
            self.control.close()
        self.control, self.buffer = connection, b""
        self.selector.register(connection, selectors.EVENT_READ, self._control_ready)

    def _control_ready(self) -> None:
        assert self.control is not None
        try:
            data, fds, _, _ = socket.recv_fds(self.control, 1 << 20, 3)
        except OSError:
            data, fds = b"", []
        self.fds += fds
        if not data:
            self.selector.unregister(self.control)
            self.control.close()
            self.control = None
            if not self.kept:
                os._exit(0)  # process 1 ends, and the kernel ends the world
            return
        self.buffer += data
        while len(self.buffer) >= 4:
            (length,) = struct.unpack(">I", self.buffer[:4])
            if len(self.buffer) < 4 + length:
                return
            message = json.loads(self.buffer[4 : 4 + length])
            self.buffer = self.buffer[4 + length :]
            self._message(message)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the harness."""
        if self.control is None:
            return
        data = json.dumps(message).encode()
        with contextlib.suppress(OSError):
            self.control.sendall(struct.pack(">I", len(data)) + data)

    def _message(self, message: dict[str, Any]) -> None:
        if message["do"] == "answer":
            handler = self.questions.pop(message["question"], None)
            if handler is not None:
                handler(message)
            return
        if message["do"] == "release":
            self.holding.release(message["held"])
            return
        try:
            do = message["do"]
            if do in WORK:
                result = self.starter.do(message)
            else:
                owner = next((one for one in (self.programs, self.web, self.virsh, self.services, self.visiting) if do in one.VERBS), self)
                result = getattr(owner, f"do_{do}")(message)
        except OSError as error:
            result = {"error": f"{error.strerror or error}: {error.filename or ''}"}
        except (tarfile.TarError, ValueError) as error:
            result = {"error": str(error)}
        if result is not None:
            self.send({"reply": message["id"], **result})

    def ask(self, question: dict[str, Any], handler: Callable[[dict[str, Any]], None]) -> None:
        """Ask the harness a question that a driver asks; the answer goes to `handler`."""
        number, self.next_question = self.next_question, self.next_question + 1
        self.questions[number] = handler
        self.send({"question": number, **question})

    def _reap(self, reader: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, status: int) -> None:
        self.starter.aides.discard(pid)
        handler = self.waiting.pop(pid, None)
        if handler is not None:
            handler(status)

    def do_run(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Start a call; the reply follows when it has ended."""
        if message["host"] not in self.starter.views:
            return {"error": f"host {message['host']!r} is not in this world; there are {', '.join(self.hosts)}"}
        call = Call(message["id"], message["call"] or f"#{message['id']}", message["host"], message["limits"], message["faults"])
        call.asks = frozenset(message.get("asks", ()))
        if self.broken:
            return {"ended_by": "world_lost"}
        if self.running:
            for one in (call, *self.running.values()):
                one.alone = False
        shim = self.programs.shims.get(message["shim"])
        given = shim.environment if shim is not None else {**_ENVIRONMENT, **message["env"]}
        traced = self.lines.environment(call.id, message["argv"][0], given) if message["call"] else {}
        data = bytes(shim.stdin) if shim is not None else base64.b64decode(message["stdin"])
        stdin = self._input(data)
        self.network.prepare(call)
        out, err = os.pipe(), os.pipe()
        environment = {**given, **traced, "ONETCK_CALL": call.id}
        cwd = shim.cwd if shim is not None else message["cwd"]
        try:
            fds = stdin, out[1], err[1]
            call.leader = self.starter.spawn(call.host, message["argv"], fds, environment, root=message["root"], limits=self.bounds(call), cwd=cwd)
        except NotStarted as error:
            call.ended_by = _exec_failure(error, message["argv"][0], call.host, self)
        for fd in (out[1], err[1]):
            os.close(fd)
        if len(data) <= _PIPE_BYTES:
            call.stdin = stdin  # kept, so that what the script leaves in it can be counted
        else:
            os.close(stdin)
        if shim is not None:
            shim.call = call
        self.running[call.id] = call
        for name, fd in (("stdout", out[0]), ("stderr", err[0])):
            os.set_blocking(fd, False)
            call.open_streams[name] = fd
            self.selector.register(fd, selectors.EVENT_READ, partial(self._output, call, name, fd))
        if call.leader:
            call.sessions.add(call.leader)
            self.waiting[call.leader] = partial(self._leader_ended, call)
        else:
            self._leader_ended(call, 127)
        return None

    def _input(self, data: bytes) -> int:
        """Return a pipe that yields `data`; a child feeds it if it does not fit at once."""
        reader, writer = os.pipe()
        if len(data) <= _PIPE_BYTES:
            os.write(writer, data) if data else None
        else:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(OSError):
                    os.close(reader)
                    view = memoryview(data)
                    while view:
                        view = view[os.write(writer, view) :]
                os._exit(0)
            self.waiting[pid] = lambda status: None
        os.close(writer)
        return reader

    # a call under way

    def bounds(self, call: Call) -> dict[str, float]:
        """Return the bounds that the kernel holds for a process of a call, with room for the programs that live beside it.

        Where other calls may run beside it, the watch alone counts its processes.
        """
        crowd = CROWD if self.holding.on else 1
        beside = self.programs.tasks() + self.services.tasks() + _AIDES * len(self.hosts)
        return {**call.limits, "processes": call.limits["processes"] * crowd + _ROUND * -(-beside // _ROUND)}

    def _alone(self, call: Call) -> bool:
        return call.alone and not self.kept and not self.programs.active

    def _output(self, call: Call, name: str, fd: int) -> None:
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        if data and call.take(name, data):
            self._end(call, "output")
        if not data:
            self._close_stream(call, name, fd)
            self.finish(call)

    def _leader_ended(self, call: Call, status: int) -> None:
        call.status = status
        call.ended_ns = time.monotonic_ns()
        if call.stdin >= 0:
            call.stdin_left = struct.unpack("i", fcntl.ioctl(call.stdin, termios.FIONREAD, b"\0\0\0\0"))[0]
            os.close(call.stdin)
        self.finish(call)

    def finish(self, call: Call) -> None:
        """Finish a call whose script has ended, once its processes are gone or have had their grace."""
        if call.status is None or call.id not in self.running:
            return
        left = [pid for pid in calls.members(call, self._alone(call), self.services.pids) if pid != call.leader]
        late = time.monotonic_ns() - call.ended_ns > _GRACE_S * 1e9
        if (left or call.open_streams) and not late:
            return
        if left and not call.ended_by:
            call.leftovers = [line for line in (calls.command_line(pid) for pid in left[:20]) if line]
        if left:
            self._kill(call)
        self.doors.take_datagrams()
        for name, fd in list(call.open_streams.items()):
            with contextlib.suppress(OSError):
                while data := os.read(fd, 1 << 16):
                    call.take(name, data)
            self._close_stream(call, name, fd)
        del self.running[call.id]
        self.striking.over(call)
        self.network.over(call)
        self._reply(call)

    def _close_stream(self, call: Call, name: str, fd: int) -> None:
        self.selector.unregister(fd)
        os.close(fd)
        del call.open_streams[name]

    def _kill(self, call: Call) -> None:
        if not calls.kill(call, self._alone(call), self.services.pids):
            self.broken = True

    def _end(self, call: Call, why: str) -> None:
        if not call.ended_by:
            call.ended_by = why
            self._kill(call)

    def _watch(self, call: Call, now: float) -> None:
        if call.status is not None:
            self.finish(call)
            return
        elapsed = call.elapsed_ns(time.monotonic_ns()) / 1e9
        if call.killed_at and time.monotonic() > call.killed_at:
            call.killed_at = 0.0
            self._kill(call)
        elif elapsed > call.limits["time_s"] and not call.ended_by:
            call.ended_by = "timeout"
            call.killed_at = time.monotonic() + 1
            with contextlib.suppress(OSError):
                os.killpg(call.leader, signal.SIGTERM)
        elif elapsed > _WATCH_S and not call.ended_by:
            count, resident = calls.usage(call, self._alone(call), self.services.pids)
            if count >= call.limits["processes"] - 4:
                self._end(call, "processes")
            elif resident > call.limits["memory_mb"]:
                self._end(call, "memory")

    def _reply(self, call: Call) -> None:
        status = call.status or 0
        ended_by = call.ended_by or ("signal" if status < 0 else "exit")
        self.send(
            {
                "reply": call.request,
                "ended_by": ended_by,
                "status": max(status, 0),
                "signal": max(-status, 0),
                "stdout": base64.b64encode(call.streams["stdout"]).decode(),
                "stderr": base64.b64encode(call.streams["stderr"]).decode(),
                "stdout_seen": call.seen["stdout"],
                "stderr_seen": call.seen["stderr"],
                "duration_ns": call.elapsed_ns(call.ended_ns),
                "commands": call.commands,
                "datagrams": [base64.b64encode(one).decode() for one in call.datagrams],
                "leftovers": call.leftovers,
                "stdin_left": call.stdin_left,
                "lines": self.lines.told(call.id, call.leader, success=ended_by == "exit" and status == 0),
                "broken": self.broken,
            }
        )
        self.programs.finished(call)

    # the other requests

    def do_host(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take a host down or up."""
        (self.down.discard if message["up"] else self.down.add)(message["host"])
        self.starter.admit(message["host"], self.services.pids(), up=message["up"])
        return {}

    def do_hold(self, message: dict[str, Any]) -> dict[str, Any]:
        """Hold gated commands from now on."""
        self.holding.on = True
        return {}

    def do_let_go(self, message: dict[str, Any]) -> dict[str, Any]:
        """Hold nothing any more, and end what no call under way has started."""
        self.holding.release_all()
        self.doors.take_datagrams()
        self.unclaimed = []
        leftovers = [] if self.kept else calls.end_strays(self.running, self.programs.sessions(), self.services.pids)
        return {"leftovers": leftovers}

    def do_unpack(self, message: dict[str, Any]) -> dict[str, Any]:
        """Unpack a tar in places."""
        files = members(base64.b64decode(message["data"]))
        for host, path in message["places"]:
            failed = self.starter.within(host, partial(lay, path, files))
            if failed:
                return failed
        return {}

    def do_picture(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take a picture, and return how it differs from the last one if that is asked."""
        after: tree.Picture = {}
        for host in self.starter.hosts:
            self.starter.picture(host, _WATCHED, after, self.links)
        for path in self.shared:
            tree.take(after, self.hosts[0], self.starter.common(path), path, frozenset(), self.links)
        before, self.before = self.before, after
        owners = {0: "root", nsview.ONEADMIN: "oneadmin"} if self.starter.wide else {0: "oneadmin"}
        return {"changes": tree.differences(before, after, owners) if message["compare"] else []}

    def do_shell(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Start a shell on the three descriptors that came with the message; the reply follows when it ends."""
        fds, self.fds = self.fds[:3], []
        if message["host"] not in self.hosts:
            return {"error": "this world has no such host"}
        environment = {**_ENVIRONMENT, "TERM": message["term"], "PS1": f"oneadmin@{message['host']}:\\w$ "}
        words = ["/bin/bash", "--norc", "-i"]
        pid = self.starter.spawn(message["host"], words, (fds[0], fds[1], fds[2]), environment, root=False, limits={}, cwd="/var/lib/one")
        for fd in fds:
            os.close(fd)
        self.waiting[pid] = lambda status: self.send({"reply": message["id"], "status": status})
        return None

    def do_close(self, message: dict[str, Any]) -> dict[str, Any]:
        """End the world."""
        self.send({"reply": message["id"]})
        self.starter.dismiss()
        os._exit(0)


def _exec_failure(error: NotStarted, path: str, host: str, agent: Agent) -> str:
    if error.stage != "exec":
        return "world_lost"
    if error.errno == errno.EACCES:
        return "not_executable"
    if error.errno == errno.ENOENT and not agent.starter.within(host, lambda: {"value": os.path.exists(path)})["value"]:
        return "missing"
    return "bad_interpreter"


def main(control_fd: int) -> None:
    """Become the agent: read the settings from the control connection, make the world, serve it."""
    control = socket.socket(fileno=control_fd)
    (length,) = struct.unpack(">I", control.recv(4, socket.MSG_WAITALL))
    settings = json.loads(control.recv(length, socket.MSG_WAITALL))
    become(settings, control, _embedded)


def main_in_container(path: str) -> None:
    """Become the agent of hosts that are containers, in a container whose process namespace is theirs: the harness listens at the socket `path`."""
    control = socket.socket(socket.AF_UNIX)
    control.connect(path)
    (length,) = struct.unpack(">I", control.recv(4, socket.MSG_WAITALL))
    settings = json.loads(control.recv(length, socket.MSG_WAITALL))
    become(settings, control, lambda settings, control: Containers(settings))


def _embedded(settings: dict[str, Any], control: socket.socket) -> Starter:
    """Make the namespaces and become their process 1."""
    nsview.enter_namespaces(settings["wide"])
    child = os.fork()
    if child:
        _report(control, {"pid": child})
        control.close()
        os.waitpid(child, 0)
        os._exit(0)
    nsview.loopback_up()
    return embedded(settings)


def become(settings: dict[str, Any], control: socket.socket, prepared: Callable[[dict[str, Any], socket.socket], Starter]) -> None:
    """Take possession of the hosts that are `prepared`, and serve them."""
    listener = None
    if settings["socket"]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(settings["socket"])
        listener.listen(4)
    try:
        agent = Agent(settings, prepared(settings, control), control, listener)
    except nsview.Refused as error:
        _report(control, {"refused": str(error)})
        os._exit(1)
    except OSError as error:
        _report(control, {"refused": f"{error.filename or 'set-up'}: {error.strerror}; see `onetck doctor`"})
        os._exit(1)
    agent.send({"ready": True, "gates": agent.gates})
    try:
        agent.serve()
    except Exception as error:  # noqa: BLE001 - our own fault, told to the harness
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
        agent.send({"crashed": f"{error!r} at {place}"})
        os._exit(1)


def _report(control: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    control.sendall(struct.pack(">I", len(data)) + data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
