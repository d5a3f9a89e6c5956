"""What stands inside a qcow2 image, as QEMU's description of the format has it: dirty bitmaps, backing files. Standard library only."""

from __future__ import annotations

import os
import struct

_MAGIC = b"QFI\xfb"
_BITMAPS = 0x23852875
_BACKING_FORMAT = 0xE2792ACA
_NAME_MAX = 1023
_OFFSET = 0x00FFFFFFFFFFFE00
_ENTRIES_MAX = 1 << 16


def dirty(path: str, name: str) -> list[list[int]] | None:
    """Return offset and length of the stretches that a bitmap marks, None where the image has no such bitmap. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        head = os.pread(fd, 112, 0)
        magic, version, _, _, cluster_bits, size = struct.unpack(">4sIQIIQ", head[:32])
        if magic != _MAGIC or version < 3:
            return None
        place = _directory(fd, struct.unpack(">I", head[100:104])[0])
        return None if place is None else _found(fd, place, name, 1 << cluster_bits, size)
    finally:
        os.close(fd)


def circle(path: str) -> str:
    """Return the file at which a chain of backing files comes back to one of its own, empty if the chain ends.

    QEMU opens such a chain until it has no memory left. What cannot be read, and what is no path, ends the chain here.
    """
    seen: set[tuple[int, int]] = set()
    while path:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) in seen:
                return path
            seen.add((status.st_dev, status.st_ino))
            name = _backing(fd)
        except (OSError, struct.error):
            return ""
        finally:
            os.close(fd)
        path = "" if not name or ":" in name.partition("/")[0] else os.path.join(os.path.dirname(path), name)
    return ""


def _backing(fd: int) -> str:
    """Return the name of an image's backing file if that is a qcow2 image too, or may be one; else empty."""
    magic, version, at, length = struct.unpack(">4sIQI", os.pread(fd, 20, 0))
    if magic != _MAGIC or not at:
        return ""
    extension = struct.unpack(">I", os.pread(fd, 4, 100))[0] if version > 2 else 72
    while extension < at:
        kind, size = struct.unpack(">II", os.pread(fd, 8, extension))
        if kind == 0:
            break
        if kind == _BACKING_FORMAT and os.pread(fd, min(size, 16), extension + 8) != b"qcow2":
            return ""
        extension += 8 + (size + 7) // 8 * 8
    return os.fsdecode(os.pread(fd, min(length, _NAME_MAX), at))


def _directory(fd: int, at: int) -> tuple[int, int, int] | None:
    """Return number, offset and size of the directory of bitmaps."""
    while True:
        kind, length = struct.unpack(">II", os.pread(fd, 8, at))
        if kind == 0:
            return None
        if kind == _BITMAPS:
            count, _, size, offset = struct.unpack(">IIQQ", os.pread(fd, 24, at + 8))
            return count, offset, size
        at += 8 + (length + 7) // 8 * 8


def _found(fd: int, place: tuple[int, int, int], name: str, cluster: int, size: int) -> list[list[int]] | None:
    count, offset, length = place
    rows, at = os.pread(fd, length, offset), 0
    for _ in range(count):
        table, entries, _, _, granularity, name_size, extra = struct.unpack(">QIIBBHI", rows[at : at + 24])
        start = at + 24 + extra
        if rows[start : start + name_size].decode(errors="replace") == name:
            return _marked(fd, table, min(entries, _ENTRIES_MAX), 1 << granularity, cluster, size)
        at += (24 + extra + name_size + 7) // 8 * 8
    return None


def _marked(fd: int, table: int, entries: int, granularity: int, cluster: int, size: int) -> list[list[int]]:
    found: list[list[int]] = []
    covers = cluster * 8  # granules that one cluster of the bitmap speaks of
    for number, (entry,) in enumerate(struct.iter_unpack(">Q", os.pread(fd, entries * 8, table))):
        data = os.pread(fd, cluster, entry & _OFFSET) if entry & _OFFSET else b"\xff" * cluster if entry & 1 else b""
        for byte, bits in enumerate(data):
            for bit in range(8) if bits else ():
                start = (number * covers + byte * 8 + bit) * granularity
                if bits >> bit & 1 and start < size:
                    length = min(granularity, size - start)
                    if found and sum(found[-1]) == start:
                        found[-1][1] += length
                    else:
                        found.append([start, length])
    return found
