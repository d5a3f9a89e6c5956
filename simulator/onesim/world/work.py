"""Short work inside a host's view: files and disks. Each function runs in a child of the agent, with the driver's rights; standard library only."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from collections.abc import Callable
from typing import Any

from onesim.world import disk, libvirt, usage

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


def _mkdir(message: Message) -> Message:
    os.makedirs(message["path"], exist_ok=True)
    return {}


def _unpack(message: Message) -> Message:
    os.umask(0)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(message["data"]))) as archive:
        for member in archive:
            if member.name.startswith("/") or ".." in member.name.split("/"):
                return {"error": f"{member.name}: outside the tree"}
            target = f"{message['path']}/{member.name}"
            os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
            content = archive.extractfile(member) if member.isfile() else None
            if member.issym():
                os.symlink(member.linkname, target)
            elif content is not None:
                with open(target, "wb") as file:
                    file.write(content.read())
                os.chmod(target, member.mode)
    return {}


def _exists(message: Message) -> Message:
    if message.get("means") or not message["path"].startswith("/"):
        return disk.exists(message["path"], message.get("means", {}))
    return {"value": os.path.lexists(message["path"])}


def _capacity(message: Message) -> Message:
    seen = os.statvfs(message["path"])
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
    "mkdir": _mkdir,
    "unpack": _unpack,
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
}
