"""The web server of a world (TCP 80): pages that a trace offers, for drivers that fetch images. Part of the agent; standard library only."""

from __future__ import annotations

import base64
import contextlib
import re
import selectors
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onesim.world.agent import Agent

PORT = 80
_REQUEST_MAX = 64 << 10
_RANGE = re.compile(rb"^range:\s*bytes=(\d*)-(\d*)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """What a path gives: bytes, of which the connection breaks off after `cut` (-1: never); or the address where it is instead."""

    data: bytes
    cut: int
    location: str

    def answer(self, head: bytes) -> bytes:
        """Return the response to a request, given by its head."""
        if self.location:
            return _response("302 Found", b"", f"Location: {self.location}\r\n")
        data, status, more = self.data, "200 OK", "Accept-Ranges: bytes\r\n"
        asked = _RANGE.search(head.replace(b"\r", b""))
        if asked and (asked[1] or asked[2]):
            first = int(asked[1]) if asked[1] else max(len(data) - int(asked[2]), 0)
            last = min(int(asked[2]), len(data) - 1) if asked[1] and asked[2] else len(data) - 1
            if first > last:
                return _response("416 Range Not Satisfiable", b"", f"Content-Range: bytes */{len(data)}\r\n")
            status, more = "206 Partial Content", more + f"Content-Range: bytes {first}-{last}/{len(data)}\r\n"
            data = data[first : last + 1]
        response = _response(status, data, more)
        if head.startswith(b"HEAD "):
            return response[: len(response) - len(data)]
        return response if self.cut < 0 else response[: len(response) - max(len(data) - self.cut, 0)]


def _response(status: str, data: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{more}Connection: close\r\n\r\n".encode() + data


class Web:
    """Listens from the first page on. `do_*` are requests of the harness."""

    VERBS = frozenset({"offer"})

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.pages: dict[str, Page] = {}

    def do_offer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Offer a page."""
        if not self.pages:
            for _, listener in self.agent.starter.doors(socket.SOCK_STREAM, PORT):
                self.agent.selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
        self.pages[message["page"]] = Page(base64.b64decode(message["data"]), message["cut"], message["location"])
        return {}

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        self.agent.selector.register(connection, selectors.EVENT_READ, partial(self._asked, connection, bytearray()))

    def _asked(self, connection: socket.socket, request: bytearray) -> None:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        request += data
        if not data or len(request) > _REQUEST_MAX:
            self._leave(connection)
        elif b"\r\n\r\n" in request:
            head = bytes(request).partition(b"\r\n\r\n")[0]
            words = head.split(b"\r\n")[0].split()
            page = self.pages.get(words[1].decode(errors="replace")) if len(words) == 3 and words[0] in (b"GET", b"HEAD") else None
            response = memoryview(page.answer(head) if page else _response("404 Not Found", b""))
            self.agent.selector.modify(connection, selectors.EVENT_WRITE, partial(self._tell, connection, response))

    def _tell(self, connection: socket.socket, response: memoryview) -> None:
        try:
            sent = connection.send(response[: 1 << 20])
        except OSError:
            self._leave(connection)
            return
        if sent < len(response):
            self.agent.selector.modify(connection, selectors.EVENT_WRITE, partial(self._tell, connection, response[sent:]))
            return
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        self._leave(connection)

    def _leave(self, connection: socket.socket) -> None:
        self.agent.selector.unregister(connection)
        connection.close()
