"""Messages to the monitor daemon, for the tests."""

from __future__ import annotations

import base64
import zlib

from onesim.events import DatagramReceived, Monitored
from onesim.oned import Oned


def entry(vm: int, inner: str) -> str:
    """Return an entry for a VM with this text within."""
    return f'VM = [ ID = {vm}, MONITOR = "{base64.b64encode(inner.encode()).decode()}" ]\n'


def wrapped(data: str | bytes, head: str = "MONITOR_VM SUCCESS -1 0") -> bytes:
    """Return a datagram around a payload."""
    raw = data if isinstance(data, bytes) else data.encode()
    return f"{head} {base64.b64encode(zlib.compress(raw)).decode()}".encode()


def received(oned: Oned, data: bytes) -> Monitored:
    """Return what oned makes of a datagram."""
    (made,) = oned.feed(DatagramReceived(data))
    assert isinstance(made, Monitored)
    return made
