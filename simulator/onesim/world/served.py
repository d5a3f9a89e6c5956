"""A world whose owner is an agent, harness side: what is asked of the agent, and what it tells. The backends differ in how they start one."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypedDict

from onesim.errors import HarnessError
from onesim.world import wire
from onesim.world.calls import SERVICES
from onesim.world.control import Control
from onesim.world.conversing import Conversing
from onesim.world.filing import Filing
from onesim.world.interface import (
    Change,
    Datagram,
    Ended,
    Fault,
    Held,
    Limits,
    Question,
    Reply,
    Run,
    Service,
    Strays,
)

HOSTS = ("frontend", "host01", "host02")
_START_S = 20.0
_READY_S = 0.05


class Wanted(TypedDict, total=False):
    """The world that is wanted. `shared` are the directories that the hosts have in common, as on a network file system; `simulated` are commands that the
    harness answers, `apart` further machines that share no directory; `tracer` is what every bash of a call reads first, for the lines that it runs; without
    it they are not told, nor are those of the scripts that are `left_alone`. `links` lead from a port of every host to one of the front-end. With `keep`
    the world survives this process and can be attached to at that socket.
    """

    shared: Sequence[str]
    gates: Sequence[str]
    simulated: Sequence[str]
    hosts: Sequence[str]
    apart: Sequence[str]
    disk_mb: int
    keep: Path | None
    links: Sequence[tuple[int, int]]
    tracer: bytes
    left_alone: Collection[str]


def settings(wanted: Wanted, **more: object) -> dict[str, Any]:
    """Return a world that is wanted as the agent reads it, with what the backend adds."""
    apart, keep = wanted.get("apart", ()), wanted.get("keep")
    return {
        "hosts": [*wanted.get("hosts", HOSTS), *apart],
        "apart": list(apart),
        "shared": list(wanted.get("shared", ("/var/lib/one/datastores",))),
        "gates": list(wanted.get("gates", ())),
        "simulated": list(wanted.get("simulated", ("virsh",))),
        "gate_script": base64.b64encode((Path(__file__).parent / "skel" / "gate").read_bytes()).decode(),
        "disk_mb": wanted.get("disk_mb", 1024),
        "tracer": base64.b64encode(wanted.get("tracer", b"")).decode(),
        "left_alone": sorted(wanted.get("left_alone", ())),
        "links": [list(one) for one in wanted.get("links", ())],
        "socket": str(keep) if keep else "",
        **more,
    }


class AgentWorld(Conversing, Filing):
    """A world that an agent owns. Requests may come from one thread at a time; questions are answered in the thread that waits.

    `on_question` returns None for a question that is answered later, by `answer`; `on_datagram` is told of each datagram as it comes.
    """

    unable: Mapping[str, str] = MappingProxyType({})

    def __init__(self, control: Control, process: subprocess.Popen[bytes] | None, on_question: Callable[[Question], Reply | None]) -> None:
        self.broken = False
        self.gates: tuple[str, ...] = ()
        self.pid = 0
        self._control = control
        self._process = process
        self.on_datagram: Callable[[Datagram], None] = lambda datagram: None
        self._on_question = on_question
        self._lock = threading.RLock()
        self._begun: dict[int, str] = {}
        self._events: deque[Held | Ended] = deque()
        self._replies: dict[int, dict[str, Any]] = {}
        self._asked: deque[dict[str, Any]] = deque()
        self._answering = False

    def _ready(self, kind: str) -> None:
        """Wait until the agent has the hosts. Raises HarnessError if it does not come to that."""
        while True:
            message = self._control.receive(_START_S)
            if message is None:
                raise HarnessError(f"the world did not come up within {_START_S:g} s")
            if "refused" in message:
                raise HarnessError(f"a world of {kind} cannot be made: {message['refused']}")
            if "pid" in message:
                self.pid = message["pid"]
            if "ready" in message:
                self.gates = tuple(message["gates"])
                return

    @classmethod
    def attach(cls, path: Path, on_question: Callable[[Question], Reply | None]) -> AgentWorld:
        """Attach to a kept world. Raises HarnessError if it is not there."""
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(path))
        except OSError as error:
            raise HarnessError(f"{path}: no kept world answers there ({error.strerror})") from None
        return cls(Control(control), None, on_question)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # messages

    def _request(self, do: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        with self._lock:
            number = self._control.post(do, fds, **arguments)
            while number not in self._replies:
                message = self._control.receive()
                assert message is not None, "without a time limit there is a message"
                self._take(message)
            return self._replies.pop(number)

    def _take(self, message: dict[str, Any]) -> None:
        """Deal with a message: answer a question, tell of a datagram, keep an event or a reply.

        A question that comes while another is being answered waits for its turn.
        """
        if "question" in message:
            self._asked.append(message)
            self._answer_asked()
        elif "datagram" in message:
            self.on_datagram(Datagram(base64.b64decode(message["datagram"]), message["call"]))
        elif "held" in message:
            self._events.append(Held(message["held"], message["call"], message["command"], message["ordinal"]))
        elif message.get("reply") in self._begun:
            self._events.append(Ended(self._begun.pop(message["reply"]), self._seen(message)))
        elif "reply" in message:
            self._replies[message["reply"]] = message

    def _answer_asked(self) -> None:
        while self._asked and not self._answering:
            self._answering = True
            try:
                self._ask(self._asked.popleft())
            finally:
                self._answering = False

    def _ask(self, message: dict[str, Any]) -> None:
        body = base64.b64decode(message.get("body", ""))
        place = message.get("host", ""), message.get("root", False), message.get("uri", "")
        reply = self._on_question(Question(message["kind"], tuple(message["argv"]), body, message["call"], message["question"], *place))
        if reply is not None:
            self.answer(message["question"], reply)

    # the interface

    def run(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        call_id: str = "",
        faults: Sequence[Fault] = (),
        cwd: str = wire.HOME,
        root: bool = False,
        shim: int = -1,
    ) -> Run:
        """Run a command; see `World.run`. `root` runs it as the world's own root. `shim`: see `begin`."""
        return self._seen(self._request("run", **wire.start(host, argv, stdin, env, limits, call_id, faults, cwd, root, shim)))

    def begin(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        call_id: str = "",
        faults: Sequence[Fault] = (),
        shim: int = -1,
    ) -> None:
        """Start a command; see `World.begin`. `shim`: the script that a program has started under this number, with the stdin, environment and directory that
        it was given; the program gets the output.
        """
        with self._lock:
            self._begun[self._control.post("run", **wire.start(host, argv, stdin, env, limits, call_id, faults, shim=shim))] = call_id

    def wait(self, timeout_s: float | None = None) -> Held | Ended | None:
        """Wait for an event; see `World.wait`."""
        with self._lock:
            until = None if timeout_s is None else time.monotonic() + timeout_s
            while not self._events:
                message = self._control.receive(None if until is None else max(until - time.monotonic(), 0))
                if message is None:
                    return None
                self._take(message)
                if "question" in message:
                    return None
            return self._events.popleft()

    def hold(self) -> None:
        """Hold gated commands from now on."""
        self._request("hold")

    def let_go(self) -> Strays:
        """Hold nothing from now on; see `World.let_go`."""
        answer = self._request("let_go")
        return Strays(tuple(answer["leftovers"]))

    def release(self, number: int) -> None:
        """Let a held command go on."""
        self._control.send({"do": "release", "held": number})

    def answer(self, number: int, reply: Reply) -> None:
        """Answer a question."""
        self._control.send(
            {
                "do": "answer",
                "question": number,
                "status": reply.status,
                "stdout": base64.b64encode(reply.stdout).decode(),
                "stderr": base64.b64encode(reply.stderr).decode(),
            }
        )

    def _seen(self, answer: dict[str, Any]) -> Run:
        if "error" in answer:
            raise HarnessError(answer["error"])
        run = wire.run_of(answer)
        self.broken = self.broken or run.ended_by == "world_lost" or answer["broken"]
        return run

    def must_run(self, host: str, argv: Sequence[str]) -> None:
        """Run a command that must succeed."""
        run = self.run(host, argv)
        if run.ended_by != "exit" or run.status:
            raise HarnessError(f"{' '.join(argv)}: ended by {run.ended_by} with {run.status}: {run.stderr.decode(errors='replace').strip()[:200]}")

    def picture(self) -> None:
        """Take a picture of the watched trees."""
        self._must("picture", compare=False)

    def changes(self) -> list[Change]:
        """Return what changed since the last picture."""
        rows = self._must("picture", compare=True)["changes"]
        return [Change(host, path, change, kind, tuple(fields), *rest) for host, path, change, kind, fields, *rest in rows]

    def serve(self, service: Service) -> None:
        """Start a service and wait until it is ready; see `World.serve`."""
        self._must("serve", host=service.host, path=service.name, command=service.command, root=service.root)
        until = time.monotonic() + service.ready_s
        while True:
            ready = self.run(service.host, ["/bin/bash", "-c", service.ready or "true"], cwd=f"{SERVICES}/{service.name}")
            state = self._request("service", name=service.name)
            if state["status"]:
                raise HarnessError(f"service {service.name} ended with {state['status']}: {state['said'] or 'it said nothing'}")
            if ready.ended_by == "exit" and ready.status == 0:
                return
            if time.monotonic() > until:
                said = ready.stderr.decode(errors="replace").strip()[-200:] or state["said"]
                raise HarnessError(f"service {service.name} was not ready after {service.ready_s:g} s: {said or 'it said nothing'}")
            time.sleep(_READY_S)

    def client_read(self, number: int, path: str) -> tuple[int, bytes]:
        """Read a file for a virsh that waits; see `World.client_read`. What it reads may be printed by a command that asks something itself."""
        with self._lock:
            busy, self._answering = self._answering, False
            try:
                self._answer_asked()
                answer = self._request("client_read", client=number, path=path)
            finally:
                self._answering = busy
        return int(answer["errno"]), base64.b64decode(answer["data"])

    def client_write(self, number: int, path: str, data: bytes) -> int:
        """Write a file for a virsh that waits."""
        return int(self._request("client_write", client=number, path=path, data=base64.b64encode(data).decode())["errno"])

    def client_run(self, number: int) -> tuple[int, bytes, bytes]:
        """Run the machine's own virsh for a client; see `World.client_run`."""
        return wire.printed(self._must("client_run", client=number))

    def host_virsh(self, host: str, argv: Sequence[str], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run the machine's own virsh as root; see `World.host_virsh`."""
        return wire.printed(self._must("host_virsh", host=host, argv=["virsh", *argv], stdin=stdin.decode()))

    def libvirt(self, host: str, deed: str, arguments: Mapping[str, object], *, root: bool) -> dict[str, Any]:
        """Do what libvirtd does on a host; see `World.libvirt`."""
        return self._request("libvirt", host=host, deed=deed, arguments=dict(arguments), as_root=root)

    def host_down(self, host: str) -> None:
        """Take a host down."""
        self._must("host", host=host, up=False)

    def host_up(self, host: str) -> None:
        """Bring a host up."""
        self._must("host", host=host, up=True)

    def shell(self, host: str, term: str) -> int:
        """Run a shell on this process's own terminal. Returns its exit status. Raises HarnessError for a host that this world does not have."""
        answer = self._request("shell", (0, 1, 2), host=host, term=term)
        if "error" in answer:
            raise HarnessError(f"shell {host}: {answer['error']}")
        return int(answer.get("status", 0))

    def detach(self) -> None:
        """Leave a kept world running."""
        self._control.close()

    def close(self) -> None:
        """End the world and everything in it."""
        with contextlib.suppress(HarnessError):
            self._control.send({"do": "close", "id": -1})
        self._control.close()
        if self._process is None:
            return
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            if self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
