"""Short work inside a host's view: files and disks. Each function runs in a child of the agent (`onesim.world.hands`), with the driver's rights;
standard library only."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from onesim.world import disk, libvirt, usage
from onesim.world.hands import attempted

Message = dict[str, Any]
_ONEADMINS = ("/var/lib/one", "/var/tmp", "/tmp", "/etc/one")


def needs_root(message: Message) -> bool:
    """Whether the world's root does it: a file where oneadmin may not write, and what libvirtd does as root."""
    return bool(message.get("as_root")) or (message["do"] == "put" and not message["path"].startswith(_ONEADMINS))


def _put(message: Message) -> Message:
    path, data = message["path"], base64.b64decode(message["data"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, message["mode"])
    with open(fd, "wb") as file:
        file.write(data)
    os.chmod(path, message["mode"])
    return {}


def _put_all(message: Message) -> Message:
    there = [_exists({"path": path})["value"] for path in message["needed"]]
    if all(there):
        for one in message["files"]:
            _put(one)
    return {"there": there}


def _mkdir(message: Message) -> Message:
    for path in message["paths"]:
        os.makedirs(path, exist_ok=True)
    return {}


@dataclass(frozen=True)
class Member:
    """A file of a tar, or a link."""

    name: str
    mode: int
    link: str
    data: bytes


def members(data: bytes) -> list[Member]:
    """Return what a tar holds. Raises ValueError for a name that leads out of it."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise ValueError(f"{member.name}: outside the tree")
            content = archive.extractfile(member) if member.isfile() else None
            if member.issym() or content is not None:
                found.append(Member(member.name, member.mode, member.linkname, content.read() if content is not None else b""))
    return found


def lay(path: str, files: list[Member]) -> Message:
    """Lay files and links down below a path."""
    os.umask(0)
    made: set[str] = set()
    for one in files:
        target = f"{path}/{one.name}"
        directory = os.path.dirname(target)
        if directory not in made:
            os.makedirs(directory, 0o755, exist_ok=True)
            made.add(directory)
        if one.link:
            os.symlink(one.link, target)
        else:
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, one.mode), "wb", buffering=0) as file:
                file.write(one.data)
    return {}


def _exists(message: Message) -> Message:
    if message.get("means") or not message["path"].startswith("/"):
        return disk.exists(message["path"], message.get("means", {}))
    return {"value": os.path.lexists(message["path"])}


def _capacity(message: Message) -> Message:
    path = message["path"]
    while not os.path.exists(path):
        path = os.path.dirname(path)
    seen = os.statvfs(path)
    return {"total": seen.f_blocks * seen.f_frsize >> 20, "free": seen.f_bavail * seen.f_frsize >> 20}


def _make_disk(message: Message) -> Message:
    return {"failed": disk.make(message["path"], message["format"], message["size"], message["patches"])}


def _read_disk(message: Message) -> Message:
    return disk.read(message["path"], message["format"], message["means"])


def _peek(message: Message) -> Message:
    data = disk.peek(message["path"], message["format"], message["stretch"]["offset"], message["stretch"]["length"], message["means"])
    return {"data": base64.b64encode(data).decode()}


def _write_disk(message: Message) -> Message:
    return {"failed": disk.write(message["path"], message["format"], message["patches"], message["means"])}


#: Requests of the harness by name.
WORK: dict[str, Callable[[Message], Message]] = {
    "put": _put,
    "put_all": _put_all,
    "mkdir": _mkdir,
    "exists": _exists,
    "capacity": _capacity,
    "make_disk": _make_disk,
    "read_disk": _read_disk,
    "peek": _peek,
    "write_disk": _write_disk,
    "disk_sizes": usage.disk_sizes,
    "datastores": usage.datastores,
    "read": usage.read,
    "libvirt": libvirt.effect,
    "several": lambda message: {"results": [attempted(partial(WORK[one["do"]], one)) for one in message["of"]]},
}
