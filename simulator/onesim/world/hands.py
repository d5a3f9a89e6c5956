"""Hands: children of the agent, each in the view of a host with some user's rights, that do short work there for as long as the world lives.

A fork for each piece of work costs several times what the work itself does. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

Message = dict[str, Any]
_WORK_S = 60
_LATE_S = 5
_FDS = 1 << 16


class Hand:
    """One such child. `enter` brings it to its place, in the child; `work` is what it does with each message.

    It does one piece of work after the other; one that takes more than a minute ends it.
    """

    def __init__(self, enter: Callable[[], None], work: Callable[[Message], Message]) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):  # nothing of the agent's may run here
                _serve(theirs, enter, work)
            os._exit(0)
        theirs.close()
        self._socket = ours
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _WORK_S + _LATE_S, 0))

    def gone(self) -> bool:
        """Whether it has ended: a driver may kill what its user runs."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def do(self, message: Message) -> Message:
        """Have a piece of work done and return its result; `error` says what went wrong."""
        try:
            self._socket.sendall(packed(message))
            answer = receive(self._socket)
            if answer is not None:
                return answer
        except BlockingIOError:  # somebody has stopped it, and its alarm with it
            os.kill(self.pid, signal.SIGKILL)
        except OSError:
            pass
        return {"error": "did not end in time"}

    def close(self) -> None:
        """End it."""
        self._socket.close()


def attempted(work: Callable[[], Message]) -> Message:
    """Return the result of a piece of work; `error` tells what it raised."""
    try:
        return work()
    except OSError as error:
        return {"error": f"{error.strerror}: {error.filename}"}
    except ValueError as error:
        return {"error": str(error)}


def _serve(connection: socket.socket, enter: Callable[[], None], work: Callable[[Message], Message]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def entered() -> Message:
        enter()
        os.chdir("/")
        return {}

    refused = attempted(entered)
    keep_only(connection.fileno())  # a pipe of a call that stays open here would never end
    while (message := receive(connection)) is not None:
        signal.alarm(_WORK_S)
        answer = refused or attempted(partial(work, message))
        signal.alarm(0)
        connection.sendall(packed(answer))


def keep_only(*fds: int) -> None:
    """Close all descriptors of this process but its standard ones and these."""
    at = 3
    for fd in sorted(fds):
        os.closerange(at, fd)
        at = fd + 1
    os.closerange(at, _FDS)


def packed(message: Message) -> bytes:
    """Return a message as it goes over a connection: its length and its text."""
    data = json.dumps(message).encode()
    return struct.pack(">I", len(data)) + data


def receive(connection: socket.socket, begun: bytes = b"") -> Message | None:
    """Return the next message, of which the beginning may have been read; None when the other side has gone."""
    head = begun + connection.recv(4 - len(begun), socket.MSG_WAITALL)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    data = connection.recv(length, socket.MSG_WAITALL)
    if len(data) < length:
        return None
    message: Message = json.loads(data)
    return message
