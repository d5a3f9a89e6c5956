"""The agent's side of a simulated virsh: a command at its gate becomes a question, and its files are read and written for it. Standard library only.

What a command names it opens with its own rights, from its own directory and with its own descriptors, as virsh does; what libvirtd does on the host is
another matter (`onesim.world.libvirt`).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onesim.world import syscalls as sc

if TYPE_CHECKING:
    from onesim.world.agent import Agent
    from onesim.world.calls import Call

_OWN = re.compile(r"/dev/(?:(stdin|stdout|stderr)|fd/(\d{1,4}))|/proc/self/fd/(\d{1,4})")
_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
_STDERR = 2
_PLAIN = {"LC_ALL": "C", "HOME": "/root"}
_FILE_MAX = 256 << 20
_VIRSH = "/run/onetck/usr/bin/virsh"
_URIS = ("VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI")


@dataclass
class _Client:
    """A virsh that waits for its answer. `held` is what it was given on descriptors of its own, by the words that name them."""

    pid: int
    host: str
    root: bool
    argv: list[str]
    held: dict[str, bytes] = field(default_factory=dict)


class Virsh:
    """The clients that wait. `do_*` are requests of the harness about one of them."""

    VERBS = frozenset({"client_read", "client_write", "client_run", "host_virsh"})

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.clients: dict[int, _Client] = {}

    def ask(self, pid: int, argv: list[str], host: str, call: Call | None, answered: Callable[[dict[str, Any]], None]) -> None:
        """Ask the harness what a virsh prints and how it ends; `answered` gets it."""
        client = _Client(pid, host, _is_root(pid, self.agent.starter.wide), argv)
        question = {"kind": "virsh", "argv": argv, "call": call.id if call else "", "host": host, "root": client.root, "uri": _default_uri(pid)}

        def asks() -> None:
            number = self.agent.next_question
            self.clients[number] = client

            def done(message: dict[str, Any]) -> None:
                del self.clients[number]
                answered(message)

            self.agent.ask(question, done)

        self._hold(client, argv, asks)

    def _hold(self, client: _Client, argv: list[str], then: Callable[[], None]) -> None:
        """Read what a command is given on a descriptor that it names, before the harness is asked: it may come from a command that asks too."""
        word = next((word for word in argv if _own_descriptor(word) >= 0), "")
        borrowed = -1
        with contextlib.suppress(OSError):
            borrowed = sc.borrow_fd(client.pid, _own_descriptor(word)) if word else -1
        if borrowed < 0 or fcntl.fcntl(borrowed, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
            then()
        else:

            def read(status: int, data: bytes) -> None:
                if status == 0:
                    client.held[word] = data
                then()

            self._in_child(client, lambda out: _copied(borrowed, out), read, borrowed)
        if borrowed >= 0:
            os.close(borrowed)

    def do_client_read(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Read a file that a command names; the reply follows when all of it has come."""
        client = self.clients[message["client"]]
        if message["path"] in client.held:
            return {"errno": 0, "data": base64.b64encode(client.held[message["path"]]).decode()}
        try:
            borrowed = _borrowed(client.pid, message["path"])
        except OSError:
            return {"errno": 2, "data": ""}

        def work(out: int) -> None:
            _copied(borrowed if borrowed >= 0 else os.open(message["path"], os.O_RDONLY), out)

        self._in_child(client, work, self._replier(message["id"]), borrowed)
        if borrowed >= 0:
            os.close(borrowed)
        return None

    def do_client_write(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Write a file that a command names, made anew or emptied."""
        client = self.clients[message["client"]]
        try:
            borrowed = _borrowed(client.pid, message["path"])
        except OSError:
            return {"errno": 2, "data": ""}

        def work(out: int) -> None:
            fd = borrowed if borrowed >= 0 else os.open(message["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            data = memoryview(base64.b64decode(message["data"]))
            while data:
                data = data[os.write(fd, data) :]

        self._in_child(client, work, self._replier(message["id"]), borrowed)
        if borrowed >= 0:
            os.close(borrowed)
        return None

    def do_client_run(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Run the machine's own virsh in place of a command that waits; the reply follows when it has ended. It starts no daemon of its own."""
        client = self.clients[message["client"]]
        self._run(message["id"], client, _environment(client.pid), self._given(client))
        return None

    def do_host_virsh(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Run the machine's own virsh for the harness, as root of a host; the reply follows when it has ended."""
        stdin = os.memfd_create("stdin")
        os.write(stdin, message["stdin"].encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        self._run(message["id"], _Client(os.getpid(), message["host"], True, message["argv"]), _PLAIN, [(0, stdin)])
        return None

    def _run(self, request: int, client: _Client, environment: dict[str, str], given: list[tuple[int, int]]) -> None:
        """Run virsh beside the loop, which goes on reaping: libvirtd waits until a QEMU that it ends is gone. `given` are its descriptors by number."""
        errors = os.memfd_create("stderr")

        def work(out: int) -> None:
            for number, fd in ((1, out), (2, errors), *given):
                os.dup2(fd, number, inheritable=True)
            os.execve(_VIRSH, client.argv, {**environment, "LIBVIRT_AUTOSTART": "0"})

        def ended(status: int, data: bytes) -> None:
            with open(errors, "rb") as file:
                file.seek(0)
                said = file.read()
            printed = {"stdout": base64.b64encode(data).decode(), "stderr": base64.b64encode(said).decode()}
            self.agent.send({"reply": request, "status": status, **printed})

        self._in_child(client, work, ended, errors, *(fd for _, fd in given))
        for _, fd in given:
            os.close(fd)

    def _given(self, client: _Client) -> list[tuple[int, int]]:
        """Return what a command was given: descriptors of the agent's by the numbers that they have there. What was read in advance comes again."""
        found = []
        for number in sorted({0, *(number for word in client.argv if (number := _own_descriptor(word)) > _STDERR)}):
            held = next((data for word, data in client.held.items() if _own_descriptor(word) == number), None)
            with contextlib.suppress(OSError):
                fd = sc.borrow_fd(client.pid, number) if held is None else os.memfd_create("held")
                for at in range(0, len(held or b""), _FILE_MAX):
                    os.write(fd, (held or b"")[at : at + _FILE_MAX])
                if held is not None:
                    os.lseek(fd, 0, os.SEEK_SET)
                found.append((number, fd))
        return found

    def _replier(self, request: int) -> Callable[[int, bytes], None]:
        def reply(status: int, data: bytes) -> None:
            self.agent.send({"reply": request, "errno": status, "data": base64.b64encode(data).decode()})

        return reply

    def _in_child(self, client: _Client, work: Callable[[int], None], done: Callable[[int, bytes], None], *kept: int) -> None:
        """Do something where a client is, with its rights, beside the loop: what it reads may come from another command of the driver.

        `done` gets the number of the error, 0 for none, and what was written.
        """
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
                _close_all_but(out, *kept)
                os.chdir(cwd)
                work(out)
            except OSError as error:
                status = error.errno or 5
            os._exit(min(status, 255))

        def ended(status: int) -> None:
            with open(out, "rb") as file:
                file.seek(0)
                data = file.read()
            done(abs(status), data)

        self.agent.waiting[pid] = ended


def _copied(source: int, out: int) -> None:
    seen = 0
    while (chunk := os.read(source, 1 << 20)) and seen < _FILE_MAX:
        seen += os.write(out, chunk)


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
    return _STREAMS[found[1]] if found and found[1] else int(found[2] or found[3]) if found else -1


def _borrowed(pid: int, path: str) -> int:
    """Return a copy of a command's own descriptor if that is what a path means to it, else -1. Raises OSError if it has none such."""
    own = _own_descriptor(path)
    return sc.borrow_fd(pid, own) if own >= 0 else -1


def _directory(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return "/"


def _environment(pid: int) -> dict[str, str]:
    """Return the environment of a command."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        entries = file.read().decode(errors="surrogateescape").split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)
    return {}


def _default_uri(pid: int) -> str:
    """Return the connection that a command's environment names."""
    found = _environment(pid)
    return next((found[name] for name in _URIS if found.get(name)), "")


def _is_root(pid: int, wide: bool) -> bool:
    """Whether a command runs as the world's root. Where one id alone is mapped, drivers are in a user namespace of their own."""
    with contextlib.suppress(OSError):
        if not wide:
            return os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")
        with open(f"/proc/{pid}/status") as file:
            return any(line.split()[2] == "0" for line in file if line.startswith("Uid:"))
    return False
