"""Which call a datagram comes from: by the port of its sender. Standard library only."""

from __future__ import annotations

import contextlib
import os

from onesim.world import calls
from onesim.world.calls import Call

_LOCAL, _INODE = 1, 9


def sender(port: int, running: dict[str, Call]) -> Call | None:
    """Return the call of the process that holds a UDP port; None if none does any more."""
    inode = _socket(port)
    if not inode:
        return None
    for pid in calls.processes():
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{name}") == f"socket:[{inode}]":
                    return calls.owner(pid, running)
    return None


def _socket(port: int) -> str:
    """Return the inode of the socket that is bound to a port, empty if there is none."""
    for table in ("udp", "udp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{table}") as file:
            for line in file:
                words = line.split()
                if words[_LOCAL].endswith(f":{port:04X}"):
                    return words[_INODE]
    return ""
