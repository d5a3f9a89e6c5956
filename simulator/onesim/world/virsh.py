"""The agent's side of a simulated virsh: a command at its gate becomes a question, and its files are read and written for it. Standard library only.

What a command names it opens with its own rights, from its own directory and with its own descriptors, as virsh does; what libvirtd does on the host is
another matter (`onesim.world.libvirt`).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onesim.world import syscalls as sc

if TYPE_CHECKING:
    from onesim.world.agent import Agent
    from onesim.world.calls import Call

_OWN = re.compile(r"/dev/(?:stdin|fd/(\d{1,4}))|/proc/self/fd/(\d{1,4})")
_FILE_MAX = 256 << 20
_URIS = ("VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI")


@dataclass
class _Client:
    """A virsh that waits for its answer."""

    pid: int
    host: str
    root: bool


class Virsh:
    """The clients that wait. `do_*` are requests of the harness about one of them."""

    VERBS = frozenset({"client_read", "client_write"})

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.clients: dict[int, _Client] = {}

    def ask(self, pid: int, argv: list[str], host: str, call: Call | None, answered: Callable[[dict[str, Any]], None]) -> None:
        """Ask the harness what a virsh prints and how it ends; `answered` gets it."""
        client = _Client(pid, host, _is_root(pid, self.agent.starter.wide))
        number = self.agent.next_question
        self.clients[number] = client

        def done(message: dict[str, Any]) -> None:
            del self.clients[number]
            answered(message)

        question = {"kind": "virsh", "argv": argv, "call": call.id if call else "", "host": host, "root": client.root, "uri": _default_uri(pid)}
        self.agent.ask(question, done)

    def do_client_read(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Read a file that a command names; the reply follows when all of it has come."""
        client = self.clients[message["client"]]
        own = _own_descriptor(message["path"])
        borrowed = -1
        if own >= 0:
            try:
                borrowed = sc.borrow_fd(client.pid, own)
            except OSError:
                return {"errno": 2, "data": ""}

        def work(out: int) -> None:
            source = borrowed if borrowed >= 0 else os.open(message["path"], os.O_RDONLY)
            seen = 0
            while (chunk := os.read(source, 1 << 20)) and seen < _FILE_MAX:
                seen += os.write(out, chunk)

        self._in_child(client, work, message["id"], borrowed)
        if borrowed >= 0:
            os.close(borrowed)
        return None

    def do_client_write(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Write a file that a command names, made anew or emptied."""
        client = self.clients[message["client"]]

        def work(out: int) -> None:
            fd = os.open(message["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            data = memoryview(base64.b64decode(message["data"]))
            while data:
                data = data[os.write(fd, data) :]

        self._in_child(client, work, message["id"])
        return None

    def _in_child(self, client: _Client, work: Callable[[int], None], request: int, kept: int = -1) -> None:
        """Do something where a client is, with its rights, beside the loop: what it reads may come from another command of the driver."""
        out = os.memfd_create("virsh")
        cwd = _directory(client.pid)
        mount_view, uts_view = self.agent.starter.views[client.host]
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.alarm(60)
                sc.setns(mount_view)
                sc.setns(uts_view)
                self.agent.starter.take_rights(client.root)
                _close_all_but(out, kept)
                os.chdir(cwd)
                work(out)
            except OSError as error:
                status = error.errno or 5
            os._exit(min(status, 255))

        def ended(status: int) -> None:
            with open(out, "rb") as file:
                file.seek(0)
                data = file.read()
            self.agent.send({"reply": request, "errno": abs(status), "data": base64.b64encode(data).decode()})

        self.agent.waiting[pid] = ended


def _close_all_but(*kept: int) -> None:
    """Close what other commands wrote to or read from: a pipe that stays open here would never end for them."""
    low = 3
    for fd in sorted(fd for fd in kept if fd >= low):
        os.closerange(low, fd)
        low = max(low, fd + 1)
    os.closerange(low, 1024)


def _own_descriptor(path: str) -> int:
    """Return which descriptor of its own a path means to a command; -1 for a path like any other."""
    found = _OWN.fullmatch(path)
    return int(found[1] or found[2] or 0) if found else -1


def _directory(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return "/"


def _default_uri(pid: int) -> str:
    """Return the connection that a command's environment names."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.decode(errors="replace").partition("=")
            if name in _URIS:
                found[name] = value
    return next((found[name] for name in _URIS if found.get(name)), "")


def _is_root(pid: int, wide: bool) -> bool:
    """Whether a command runs as the world's root. Where one id alone is mapped, drivers are in a user namespace of their own."""
    with contextlib.suppress(OSError):
        if not wide:
            return os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")
        with open(f"/proc/{pid}/status") as file:
            return any(line.split()[2] == "0" for line in file if line.startswith("Uid:"))
    return False
