"""Sizes as virsh takes them: a number, and a unit behind it."""

from __future__ import annotations

import re

from onesim.libvirtd.effects import Refused

_UNITS = {
    "": 0,
    "b": 0,
    "byte": 0,
    "bytes": 0,
    "k": 1,
    "kib": 1,
    "m": 2,
    "mib": 2,
    "g": 3,
    "gib": 3,
    "t": 4,
    "tib": 4,
    "p": 5,
    "pib": 5,
    "e": 6,
    "eib": 6,
}
_DECIMAL = {"kb": 1, "mb": 2, "gb": 3, "tb": 4, "pb": 5, "eb": 6}


def scaled(text: str, *, unit: int = 1) -> int | None:
    """Return a size in bytes; `unit` is how many bytes a bare number counts. None where it is none."""
    found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)", text)
    if not found:
        return None
    number, name = int(found[1]), found[2].lower()
    if not name:
        return number * unit
    if name in _UNITS:
        return int(number * 1024 ** _UNITS[name])
    return int(number * 1000 ** _DECIMAL[name]) if name in _DECIMAL else None


def volume_size(text: str) -> int:
    """Return the size of a volume in bytes. Raises Refused as virsh does."""
    size = scaled(text)
    if size is not None:
        return size
    found = re.fullmatch(r"\s*\d+\s*(\S+)", text)
    raise Refused(f"Malformed size {text}", *([f"invalid argument: unknown suffix '{found[1]}'"] if found else []))


def option_size(text: str, option: str, unit: int) -> int:
    """Return the size that an option of a command gives, in bytes. Raises Refused."""
    size = scaled(text, unit=unit)
    if size is None:
        raise Refused(f"Scaled numeric value '{text}' for <{option}> option is malformed or out of range")
    return size
