"""The agent's doors inside a world: gates and stubs (TCP 7411), XML-RPC (TCP 2633), datagrams (UDP 4124). Standard library only."""

from __future__ import annotations

import base64
import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from onesim.world import calls
from onesim.world import syscalls as sc
from onesim.world.senders import process_at
from onesim.world.spawning import NotStarted

if TYPE_CHECKING:
    from onesim.world.agent import Agent
    from onesim.world.calls import Call

GATE_PORT, RPC_PORT, DATAGRAM_PORT = 7411, 2633, 4124
_REQUEST_MAX = 16 << 20
_WITH_ARGUMENT = "BbcDEeFIiJLlmOopQRSWw"
_LOGIN = {
    "HOME": "/var/lib/one",
    "USER": "oneadmin",
    "LOGNAME": "oneadmin",
    "SHELL": "/bin/bash",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
    "LANG": "C.UTF-8",
}
_SUDO_WITH_ARGUMENT = frozenset({"-u", "-g", "-p", "-h", "-C", "-U", "-r", "-t", "-D", "-R", "-T"})


def ssh_words(words: list[str]) -> tuple[str, bool, bool, list[str]]:
    """Read the arguments of an OpenSSH client: host, whether stdin is closed (-n), whether a subsystem is asked (-s), the command.

    Options may follow the host.
    """
    host, quiet, subsystem = "", False, False
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--" or not word.startswith("-") or word == "-":
            if word == "--":
                at += 1
            if host or at >= len(words):
                break
            host = words[at].rpartition("@")[2]
            at += 1
            if word == "--":
                break
            continue
        for place, letter in enumerate(word[1:], 1):
            quiet, subsystem = quiet or letter == "n", subsystem or letter == "s"
            if letter in _WITH_ARGUMENT:
                at += 0 if word[place + 1 :] else 1
                break
        at += 1
    return host, quiet, subsystem, words[at:]


class Doors:
    """Listens inside the world and serves the processes that come."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._hung: list[socket.socket] = []
        doors = agent.starter.doors
        for port, handler in ((GATE_PORT, lambda host: self._gate), (RPC_PORT, lambda host: partial(self._rpc, host))):
            for host, listener in doors(socket.SOCK_STREAM, port):
                agent.selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, handler(host)))
        self.datagrams = doors(socket.SOCK_DGRAM, DATAGRAM_PORT)
        for _, receiver in self.datagrams:
            receiver.setblocking(False)
            agent.selector.register(receiver, selectors.EVENT_READ, self.take_datagrams)

    def _accept(self, listener: socket.socket, handler: Any) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        self.agent.selector.register(connection, selectors.EVENT_READ, partial(self._ready, connection, bytearray(), handler))

    def _ready(self, connection: socket.socket, buffer: bytearray, handler: Any) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        buffer += data
        if not data or len(buffer) > _REQUEST_MAX:
            self._leave(connection)
        elif handler(connection, buffer):
            self.agent.selector.unregister(connection)

    def _leave(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.agent.selector.unregister(connection)
        connection.close()

    def take_datagrams(self) -> None:
        """Tell the harness at once of each datagram that has arrived, with the call that sent it, where that is known; and keep it with the call.

        What exceeds a thousand of one call is dropped, as UDP may. So is what comes while no call runs.
        """
        for host, receiver in self.datagrams:
            self._take_datagrams(host, receiver)

    def _take_datagrams(self, host: str, receiver: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(calls.DATAGRAMS_MAX):
                payload, peer = receiver.recvfrom(65536)
                call = self.behind("udp", host, peer)
                kept = call.datagrams if call is not None else self.agent.unclaimed
                if self.agent.running and len(kept) < calls.DATAGRAMS_MAX:
                    kept.append(payload)
                    self.agent.send({"datagram": base64.b64encode(payload).decode(), "call": call.id if call is not None else ""})

    def behind(self, table: str, host: str, peer: tuple[str, int]) -> Call | None:
        """Return the call that speaks to a door on `host` from an address and port: the only one that runs, or that of the process whose socket it is."""
        running = self.agent.running
        if len(running) < 2:
            return next(iter(running.values()), None)
        pids = calls.processes()
        port, tables = peer[1], self.agent.starter.peer(host, peer[0])[1]
        pid = process_at(table, port, pids, tables) or process_at(f"{table}6", port, pids, tables)
        return calls.owner(pid, running) if pid else None

    def _answer(self, connection: socket.socket, text: str) -> None:
        connection.setblocking(True)
        with contextlib.suppress(OSError):
            connection.sendall(text.encode() + b"\n")
        connection.close()

    # gates

    def _gate(self, connection: socket.socket, buffer: bytearray) -> bool:
        if b"\n" not in buffer:
            return False
        self.take_datagrams()  # what was sent before is told before
        try:
            pid_text, own_fd, name = buffer.decode().split()
            pid = int(pid_text)
        except ValueError:
            connection.close()
            return True
        wait_for_own_stdout(pid, own_fd)
        words = _arguments(pid)
        host = self._host_of(pid)
        call = calls.owner(pid, self.agent.running)
        act, argument = self.record(call, name, words, host)
        strikes = partial(self._strike, connection, pid, [name, *words], host, call)
        if call is not None and name in call.asks:
            self.agent.ask({"kind": "gate", "argv": [name], "call": call.id}, partial(self._told, call, len(call.commands) - 1, strikes))
        else:
            strikes(act, argument)
        return True

    def _told(self, call: Call, row: int, strikes: Callable[[str, str], None], told: dict[str, Any]) -> None:
        """Take the harness's word for what is done to a command."""
        call.commands[row]["fault"] = told["act"]
        strikes(told["act"], told["arg"])

    def _strike(self, connection: socket.socket, pid: int, argv: list[str], host: str, call: Call | None, act: str, argument: str) -> None:
        """Let a command pass in its turn, with what is to be done to it."""
        passes = partial(self._pass, connection, pid, argv, host, call, act, argument)
        if act == "slow":
            delay_s = min(int(argument or 0), 5000) / 1000
            passes = partial(self.agent.holding.later, delay_s, pid, passes)
        if call is not None and self.agent.holding.on:
            self.agent.holding.hold(call, pid, argv[0], passes)
        else:
            passes()

    def _pass(self, connection: socket.socket, pid: int, argv: list[str], host: str, call: Call | None, act: str, argument: str) -> None:
        """Do to a command what is to be done. One that hangs is never answered: the connection stays open with the process."""
        name, words = argv[0], argv[1:]
        if act == "hang":
            self._hung.append(connection)
            if call is not None and argument:
                call.ends_within(int(argument) / 1000)
            return
        reached = ssh_words(words)[0] if name == "ssh" else ""
        goes = partial(self._go_on, connection, pid, argv, host, call, act, argument, reached)
        lost = self.agent.striking.lost(act, reached or host)
        if lost and call is not None and self.agent.starter.own_ssh:
            self.agent.ask({"kind": "host", "argv": ["lose", lost], "call": call.id}, lambda message: goes())
        else:
            goes()

    def _go_on(
        self, connection: socket.socket, pid: int, argv: list[str], host: str, call: Call | None, act: str, argument: str, reached: str
    ) -> None:
        """Strike the world if that is to be done, and answer the command."""
        name, words = argv[0], argv[1:]
        if call is not None:
            self.agent.striking.strike(act, argument, call, pid, argv, host, reached)
        if act == "die" and call is not None:
            with contextlib.suppress(OSError):
                os.kill(call.leader, 9 if argument == "KILL" else 15)
            self._answer(connection, "exit 143")
        elif act == "fail":
            status, _, text = argument.partition(" ")
            self._answer(connection, f"fail {status or 1} {text or name + ': failed by the harness'}")
        elif name == "ssh":
            self._ssh(connection, pid, words, host, call, instead=argument if act == "unheard" else "")
        elif name == "sudo":
            self._sudo(connection, pid, words, host, call)
        elif name.startswith("one"):
            self.agent.ask({"kind": "command", "argv": argv, "call": call.id if call else ""}, self._printer(connection, pid))
        elif name in self.agent.simulated:
            self.agent.virsh.ask(pid, argv, host, call, self._printer(connection, pid))
        else:
            real = self.agent.starter.real(host, name)
            self._answer(connection, f"cut {real} {argument}" if act == "cut" else f"run {real}")

    def record(self, call: Call | None, name: str, words: list[str], host: str) -> tuple[str, str]:
        """Note that a command passed a gate, and return what is to be done to it."""
        if call is None:
            return "", ""
        there = f"{host}:{name}"
        for counted in (name, there):
            call.counts[counted] = call.counts.get(counted, 0) + 1
        act = argument = ""
        for fault in call.faults:
            if fault["command"] == name and fault["host"] in ("", host) and fault["ordinal"] == call.counts[there if fault["host"] else name]:
                act, argument = str(fault["act"]), str(fault["arg"])
        if len(call.commands) < 1000:
            row = {
                "name": name,
                "argv": [word[:2000] for word in words[:200]],
                "host": host,
                "at_ns": time.monotonic_ns() - call.began_ns,
                "fault": act,
            }
            call.commands.append(row)
        return act, argument

    def _host_of(self, pid: int) -> str:
        with contextlib.suppress(OSError):
            return self.agent.starter.namespaces.get(os.readlink(f"/proc/{pid}/ns/mnt"), "")
        return ""

    def _borrow(self, pid: int) -> tuple[int, int, int] | None:
        fds: list[int] = []
        for number in range(3):
            try:
                fds.append(sc.borrow_fd(pid, number))
            except OSError:
                fds.append(os.open("/dev/null", os.O_RDWR))
        return fds[0], fds[1], fds[2]

    def _attach(
        self,
        connection: socket.socket,
        pid: int,
        host: str,
        argv: list[str],
        environment: dict[str, str],
        call: Call | None,
        *,
        root: bool,
        quiet: bool = False,
        instead: str = "",
    ) -> None:
        """Run a program with the client's own descriptors; the client is answered with its exit status, or with status and message given `instead`."""
        fds = self._borrow(pid)
        if fds is None:
            self._answer(connection, "exit 255")
            return
        if quiet:
            os.close(fds[0])
            fds = (os.open("/dev/null", os.O_RDONLY), fds[1], fds[2])
        if call is not None:
            environment = {**environment, "ONETCK_CALL": call.id}
        limits = self.agent.bounds(call) if call is not None else {}
        try:
            child = self.agent.starter.spawn(host, argv, fds, environment, root=root, limits=limits, cwd="/" if root else "/var/lib/one")
        except NotStarted:
            self._answer(connection, "exit 127")
            return
        finally:
            for fd in fds:
                os.close(fd)
        if call is not None:
            call.sessions.add(child)
        connection.setblocking(True)
        self.agent.waiting[child] = lambda status: self._answer(connection, f"fail {instead}" if instead else f"exit {255 if status < 0 else status}")

    def _ssh(self, connection: socket.socket, pid: int, words: list[str], client: str, call: Call | None, instead: str) -> None:
        if self.agent.starter.own_ssh:
            real = self.agent.starter.real(client, "ssh")
            if instead:
                self._attach(connection, pid, client, [real, *words], _environment(pid), call, root=False, instead=instead)
            else:
                self._answer(connection, f"run {real}")
            return
        host, quiet, subsystem, command = ssh_words(words)
        if host not in self.agent.hosts:
            self._answer(connection, f"fail 255 ssh: Could not resolve hostname {host}: Name or service not known")
            return
        if host in self.agent.down:
            self._answer(connection, f"fail 255 ssh: connect to host {host} port 22: No route to host")
            return
        paused_s = self.agent.striking.paused_s(host)
        if paused_s:
            self.agent.holding.later(paused_s, pid, partial(self._ssh, connection, pid, words, client, call, instead))
            return
        if subsystem and command == ["sftp"]:
            argv = ["/usr/lib/openssh/sftp-server"]
        elif command:
            argv = ["/bin/bash", "-c", " ".join(command)]
        else:
            argv = ["/bin/bash", "-s"]
        environment = {**_LOGIN, **self.agent.lines.inherited(pid), "SSH_CONNECTION": "127.0.0.1 50000 127.0.0.1 22"}
        self._attach(connection, pid, host, argv, environment, call, root=False, quiet=quiet, instead=instead)

    def _sudo(self, connection: socket.socket, pid: int, words: list[str], host: str, call: Call | None) -> None:
        at, environment = (
            0,
            {**_LOGIN, "HOME": "/root", "USER": "root", "LOGNAME": "root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SUDO_USER": "oneadmin"},
        )
        while at < len(words) and (words[at].startswith("-") or "=" in words[at]):
            if words[at] in ("-l", "-v", "-k"):
                self._answer(connection, "exit 0")
                return
            if "=" in words[at] and not words[at].startswith("-"):
                name, _, value = words[at].partition("=")
                environment[name] = value
            at += 2 if words[at] in _SUDO_WITH_ARGUMENT else 1
        command = words[at:]
        if not command or host not in self.agent.hosts:
            self._answer(connection, "fail 1 sudo: no command given")
            return
        argv = [command[0], *command[1:]] if command[0].startswith("/") else ["/usr/bin/env", *command]
        self._attach(connection, pid, host, argv, environment, call, root=True)

    def _printer(self, connection: socket.socket, pid: int) -> Callable[[dict[str, Any]], None]:
        """Return what takes the answer to a command: it is printed to the command's own descriptors, and the command ends with its status."""
        fds = self._borrow(pid)

        def answered(message: dict[str, Any]) -> None:
            child = os.fork()
            if child == 0:
                if fds is not None:
                    for fd, text in ((fds[1], message["stdout"]), (fds[2], message["stderr"])):
                        data = memoryview(base64.b64decode(text))
                        with contextlib.suppress(OSError):
                            while data:
                                data = data[os.write(fd, data) :]
                os._exit(0)
            for fd in fds or ():
                os.close(fd)
            self.agent.waiting[child] = lambda status: self._answer(connection, f"exit {message['status']}")

        return answered

    # XML-RPC

    def _rpc(self, host: str, connection: socket.socket, buffer: bytearray) -> bool:
        head, separator, body = bytes(buffer).partition(b"\r\n\r\n")
        if not separator:
            return False
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
            if name.strip().lower() == b"expect":
                with contextlib.suppress(OSError):
                    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(body) < length:
            return False
        self.take_datagrams()

        def answered(message: dict[str, Any]) -> None:
            data = base64.b64decode(message["stdout"])
            connection.setblocking(True)
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            connection.close()

        call = self.behind("tcp", host, connection.getpeername())
        self.agent.ask({"kind": "xmlrpc", "body": base64.b64encode(body).decode(), "argv": [], "call": call.id if call else ""}, answered)
        return True


def _arguments(pid: int) -> list[str]:
    """Return the arguments that a stub was given: those after bash, its option and the script's path."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0")[3:-1]]
    except OSError:
        return []


def _environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        pairs = [entry.decode(errors="surrogateescape").partition("=") for entry in file.read().split(b"\0")]
        return {name: value for name, _, value in pairs if name}
    return dict(_LOGIN)


def wait_for_own_stdout(pid: int, own_fd: str) -> None:
    """Wait until bash has put its stdout back: while it writes the request, its descriptor 1 is the connection itself."""
    for _ in range(500):
        try:
            if os.readlink(f"/proc/{pid}/fd/1") != os.readlink(f"/proc/{pid}/fd/{own_fd}"):
                return
        except OSError:
            return
        time.sleep(0.0001)
