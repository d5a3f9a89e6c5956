"""Volumes that are in a storage pool of libvirt before a driver knows of them: made by the harness, with bytes that it knows."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from onesim.content import Version, pattern
from onesim.errors import HarnessError
from onesim.model import Datastore
from onesim.pool_datastores import lent_source
from onesim.seats import Probes, source_seat
from onesim.world.interface import World

MIB = 1024 * 1024
#: The group of block devices.
_DISK = 6


def lend(world: World, datastore: Datastore, probes: Probes, case: str, arguments: Mapping[str, Any]) -> tuple[str, Version]:
    """Make the volume that a line of a trace describes; one at an address of QEMU is there already, of that size, and gets its bytes.

    Returns its SOURCE and what it holds. Raises HarnessError if the world refuses it.
    """
    source, format, size = lent_source(datastore, int(arguments["volume"])), str(arguments["format"]), int(arguments["size_mb"]) * MIB
    seat = source_seat(datastore, source, format, probes)
    version = Version(size, pattern(f"{case}:{source}", size))
    if seat.path.startswith("/") and not seat.path.startswith("/dev/"):
        world.make_disk(seat.host, seat.path, format, size, version.writes)
        return source, version
    # what simulated arrays hold belongs to root and the group of block devices
    rows: tuple[tuple[str, dict[str, object]], ...] = (
        ("mkdir", {"path": posixpath.dirname(seat.path), "mode": 0o755}),
        ("create", {"path": seat.path, "size": size, "allocate": 0, "mode": 0o660}),
        ("own", {"path": seat.path, "mode": 0o660, "uid": -1, "gid": _DISK}),
    )
    for deed, what in rows if seat.path.startswith("/") else ():
        world.libvirt(seat.host, deed, what, root=True)
    failed = world.write_disk(seat.host, seat.path, format, version.writes)
    if failed:
        raise HarnessError(f"volume.make {seat.path}: {failed}")
    return source, version
