"""The harness's end of the connection to an agent: messages are a length (4 bytes) and JSON, some with file descriptors."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from onesim.errors import HarnessError


class Control:
    """A connection. Raises HarnessError where the agent is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._next = 0

    def fileno(self) -> int:
        """Return the descriptor to wait at."""
        return self._connection.fileno()

    def post(self, do: str, fds: Sequence[int] = (), **arguments: Any) -> int:
        """Send a request. Returns its number, which the reply names."""
        number, self._next = self._next, self._next + 1
        self.send({"do": do, "id": number, **arguments}, fds)
        return number

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message."""
        data = json.dumps(message).encode()
        frame = struct.pack(">I", len(data)) + data
        try:
            if fds:
                socket.send_fds(self._connection, [frame], list(fds))
            else:
                self._connection.sendall(frame)
        except OSError:
            raise HarnessError("the world is gone: its agent does not answer") from None

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Return the next message; None if it has not come when `timeout_s` is over."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if len(self._buffer) >= 4:
                (length,) = struct.unpack(">I", self._buffer[:4])
                if len(self._buffer) >= 4 + length:
                    message: dict[str, Any] = json.loads(self._buffer[4 : 4 + length])
                    self._buffer = self._buffer[4 + length :]
                    if "crashed" in message:
                        raise HarnessError(f"the world is gone: its agent failed: {message['crashed']}")
                    return message
            if until is not None and not select.select([self._connection], [], [], max(until - time.monotonic(), 0))[0]:
                return None
            try:
                data = self._connection.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                raise HarnessError("the world is gone: its agent has ended")
            self._buffer += data

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
