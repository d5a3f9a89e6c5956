"""How full a host's storage is, and with what: what du, df and a node's probe see. Runs inside a host's view with the driver's rights; standard library only."""

from __future__ import annotations

import base64
import contextlib
import os
import re
from typing import Any

Message = dict[str, Any]
_BLOCK = 512
_DISK = re.compile(r"disk\.[0-9]{1,9}")
_SNAPSHOTS = re.compile(r"disk\.[0-9]{1,9}\.snap")
_NUMBER = re.compile(r"[0-9]{1,9}")
_DISKS_MAX = 10_000
_MARK_BYTES = 4096


def disk_sizes(message: Message) -> Message:
    """Return allocated and apparent bytes of every disk and snapshot in the VM directories below `path`; links are followed, dangling ones left out."""
    found: dict[str, tuple[int, int]] = {}
    base = message["path"]
    for vm in _names(base, _NUMBER):
        for name in _names(f"{base}/{vm}", _DISK):
            _measure(found, base, f"{vm}/{name}")
        for folder in _names(f"{base}/{vm}", _SNAPSHOTS):
            for name in _names(f"{base}/{vm}/{folder}", _NUMBER):
                _measure(found, base, f"{vm}/{folder}/{name}")
    return {"disks": found}


def _names(path: str, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if pattern.fullmatch(name))
    except OSError:
        return []


def _measure(found: dict[str, tuple[int, int]], base: str, name: str) -> None:
    with contextlib.suppress(OSError):
        seen = os.stat(f"{base}/{name}")
        if len(found) < _DISKS_MAX:
            found[name] = (seen.st_blocks * _BLOCK, seen.st_size)


def datastores(message: Message) -> Message:
    """Return the room below `path`, and of each directory there that is named like a datastore and marked, with the mark's content.

    They come in the order of their names as texts, as Ruby's glob gives them.
    """
    location = message["path"]
    marked = []
    for name in _names(location, re.compile(message["directories"])):
        mark = f"{location}/{name}/{message['mark']}"
        if os.path.isdir(f"{location}/{name}") and os.path.exists(mark):
            content = read({"path": mark, "most": _MARK_BYTES})
            marked.append({"name": name, "mark": content["data"], "room": _room(f"{location}/{name}")})
    return {"room": _room(location), "marked": marked}


def _room(path: str) -> list[int]:
    """Return used, total and free MiB as `df -B1M -P` prints them."""
    try:
        seen = os.statvfs(path)
    except OSError:
        return [0, 0, 0]
    blocks = (seen.f_blocks - seen.f_bfree, seen.f_blocks, seen.f_bavail)
    return [-(-count * seen.f_frsize // (1 << 20)) for count in blocks]


def read(message: Message) -> Message:
    """Return the beginning of a file in base64."""
    try:
        fd = os.open(message["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {"data": ""}
    with open(fd, "rb") as file, contextlib.suppress(OSError):
        return {"data": base64.b64encode(file.read(message["most"])).decode()}
    return {"data": ""}
