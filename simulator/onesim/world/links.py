"""Links of a world: a TCP port of every host leads to another one of the front-end, and what fails on the way is a fault of the network.

For drivers that speak with an array's API. A connection of a call counts as its command `tcp:PORT`. Part of the agent; standard library only.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onesim.world.agent import Agent
    from onesim.world.calls import Call

_PIECE = 1 << 16
_RESETS = struct.pack("ii", 1, 0)  # closed with what is unsent thrown away: the other end sees a reset


class Links:
    """Listens at the ports. Each leads from a port to another one."""

    def __init__(self, agent: Agent, links: list[tuple[int, int]]) -> None:
        self.agent = agent
        self._open: dict[int, list[socket.socket]] = {}
        self._leads: dict[int, int] = dict(links)
        for port in self._leads:
            self._listen(port)

    def _listen(self, port: int) -> None:
        """Take connections at a port, unless it does so already."""
        if port in self._open:
            return
        doors = self.agent.starter.doors(socket.SOCK_STREAM, port)
        for host, listener in doors:
            self.agent.selector.register(listener, selectors.EVENT_READ, partial(self._accept, port, host, listener))
        self._open[port] = [listener for _, listener in doors]

    def _refuse(self, port: int) -> None:
        """Nobody listens at a port any more."""
        for listener in self._open.pop(port, []):
            self.agent.selector.unregister(listener)
            listener.close()

    def prepare(self, call: Call) -> None:
        """Refuse what the next connection of a call is to find refused, to the end of the call: a port that nobody listens at tells of no connection."""
        for port in self._leads:
            name = f"tcp:{port}"
            if any(
                fault["act"] == "refuse" and fault["command"] == name and fault["ordinal"] == call.counts.get(name, 0) + 1 for fault in call.faults
            ):
                self._refuse(port)
                call.commands.append({"name": name, "argv": [], "host": call.host, "at_ns": 0, "fault": "refuse"})

    def over(self, call: Call) -> None:
        """A call has ended: every port is open again."""
        for port in self._leads if call.faults else ():
            self._listen(port)

    def _accept(self, port: int, host: str, listener: socket.socket) -> None:
        connection, peer = listener.accept()
        call = self.agent.doors.behind("tcp", host, peer)
        act, argument = self.agent.doors.record(call, f"tcp:{port}", [], self.agent.starter.peer(host, peer[0])[0])
        if call is not None:
            self.prepare(call)
        if act == "reset":
            self.agent.selector.register(connection, selectors.EVENT_READ, partial(self._reset, connection))
        elif act == "slow":
            self.agent.holding.later(int(argument or 0) / 1000, os.getpid(), partial(self._lead, connection, port))
        else:
            self._lead(connection, port)

    def _reset(self, connection: socket.socket) -> None:
        """What was asked has come, and the connection breaks off."""
        self.agent.selector.unregister(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        connection.close()

    def _lead(self, connection: socket.socket, port: int) -> None:
        """Join a connection to the one behind it."""
        try:
            beyond = self.agent.starter.reach(self._leads[port])
        except OSError:  # nobody is there: what the driver sees is a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
            connection.close()
            return
        _Joined(self.agent, connection, beyond)


class _Joined:
    """Two connections, of which each gets what the other one sends."""

    def __init__(self, agent: Agent, one: socket.socket, other: socket.socket) -> None:
        self.agent = agent
        self._beyond = {one: other, other: one}
        self._unsent = {one: bytearray(), other: bytearray()}
        self._ended: set[socket.socket] = set()
        for end in self._beyond:
            end.setblocking(False)
            agent.selector.register(end, selectors.EVENT_READ, partial(self._ready, end))

    def _ready(self, end: socket.socket) -> None:
        try:
            self._take(end)
            self._give(end)
        except OSError:
            self._leave()
            return
        for one, beyond in self._beyond.items():
            if beyond in self._ended and not self._unsent[one]:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_WR)
        if len(self._ended) == len(self._beyond) and not any(self._unsent.values()):
            self._leave()
        else:
            self._await()

    def _take(self, end: socket.socket) -> None:
        """Let an end have what is unsent, as much as it takes."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent[end]:
                del self._unsent[end][: end.send(self._unsent[end])]

    def _gives(self, end: socket.socket) -> bool:
        return end not in self._ended and not self._unsent[self._beyond[end]]

    def _give(self, end: socket.socket) -> None:
        """Take what an end sends, unless the other one has not had what came before."""
        with contextlib.suppress(BlockingIOError):
            if self._gives(end):
                data = end.recv(_PIECE)
                self._unsent[self._beyond[end]] += data
                if data:
                    self._take(self._beyond[end])
                else:
                    self._ended.add(end)

    def _await(self) -> None:
        """Wait for what each end can do: take what is unsent, or give more where the other one takes it."""
        for one in self._beyond:
            wanted = (selectors.EVENT_WRITE if self._unsent[one] else 0) | (selectors.EVENT_READ if self._gives(one) else 0)
            known = self.agent.selector.get_map().get(one)
            if known is not None and not wanted:
                self.agent.selector.unregister(one)
            elif known is None and wanted:
                self.agent.selector.register(one, wanted, partial(self._ready, one))
            elif known is not None and known.events != wanted:
                self.agent.selector.modify(one, wanted, known.data)

    def _leave(self) -> None:
        for one in self._beyond:
            with contextlib.suppress(KeyError, ValueError):
                self.agent.selector.unregister(one)
            one.close()
