"""What a simulated libvirtd does on its host: files, directories, tools. Each function runs in a child of the agent; standard library only.

With libvirtd's rights (the world's root) for storage pools, with those of QEMU (oneadmin, as OpenNebula sets it up) for the disks of domains.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from typing import Any

from onesim.world import qcow2
from onesim.world import syscalls as sc

Message = dict[str, Any]
_TOOLS = ("/run/onetck/usr/bin", "/run/onetck/usr/sbin")
_OUTPUT_MAX = 4 << 20
_PIECE = 1 << 20
_CLUSTER = 64 * 1024


def _tool(message: Message) -> Message:
    """Run a tool of this machine. Returns status, stdout and stderr."""
    argv: list[str] = message["argv"]
    path = next((f"{folder}/{argv[0]}" for folder in _TOOLS if os.path.exists(f"{folder}/{argv[0]}")), "")
    if not path:
        return {"status": 127, "stdout": "", "stderr": f"{argv[0]}: not found"}
    out, err, given = os.memfd_create("out"), os.memfd_create("err"), os.memfd_create("in")
    os.write(given, message.get("stdin", "").encode())
    os.lseek(given, 0, os.SEEK_SET)
    actions = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    environment = {"LC_ALL": "C", "PATH": "/run/onetck/usr/sbin:/run/onetck/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    pid = os.posix_spawn(path, argv, environment, file_actions=actions)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = []
    for fd in (out, err):
        os.lseek(fd, 0, os.SEEK_SET)
        texts.append(os.read(fd, _OUTPUT_MAX).decode(errors="replace"))
    return {"status": status, "stdout": texts[0], "stderr": texts[1]}


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFBLK: "block", stat.S_IFLNK: "link"}


def _look(message: Message) -> Message:
    """Return what is known of a path; links are followed, a dangling one is a link."""
    try:
        seen = os.stat(message["path"])
    except FileNotFoundError:
        seen = os.lstat(message["path"])
    magic = b""
    kind = _KINDS.get(stat.S_IFMT(seen.st_mode), "other")
    if kind in ("file", "block"):
        fd = os.open(message["path"], os.O_RDONLY | os.O_NONBLOCK)
        magic = os.read(fd, 8)
        os.close(fd)
    return {
        "kind": kind,
        "size": seen.st_size,
        "allocated": seen.st_blocks * 512,
        "mode": stat.S_IMODE(seen.st_mode),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "times": [seen.st_atime_ns, seen.st_mtime_ns, seen.st_ctime_ns],
        "magic": magic.hex(),
    }


def _entries(message: Message) -> Message:
    return {"names": sorted(os.listdir(message["path"]))}


def _room(message: Message) -> Message:
    """Return capacity, what is taken and what is free of a file system, in bytes."""
    seen = os.statvfs(message["path"])
    total, free = seen.f_blocks * seen.f_frsize, seen.f_bfree * seen.f_frsize
    return {"total": total, "used": total - free, "free": free}


def _create(message: Message) -> Message:
    """Make a file of a size, with so many bytes of it allocated."""
    fd = os.open(message["path"], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(fd, message["mode"])
        os.ftruncate(fd, message["size"])
        if message["allocate"]:
            os.posix_fallocate(fd, 0, min(message["allocate"], message["size"]))
    except OSError:
        os.unlink(message["path"])
        raise
    finally:
        os.close(fd)
    return {}


def _own(message: Message) -> Message:
    if message["mode"] >= 0:
        os.chmod(message["path"], message["mode"])
    if message["uid"] >= 0 or message["gid"] >= 0:
        os.chown(message["path"], message["uid"], message["gid"])
    return {}


def _mkdir(message: Message) -> Message:
    os.makedirs(os.path.dirname(message["path"]), exist_ok=True)
    os.mkdir(message["path"], message["mode"])
    os.chmod(message["path"], message["mode"])
    return {}


def _remove(message: Message) -> Message:
    (os.rmdir if message["directory"] else os.unlink)(message["path"])
    return {}


def _resize(message: Message) -> Message:
    """Give a file another size; with `allocate` all of it is allocated."""
    fd = os.open(message["path"], os.O_RDWR)
    try:
        os.ftruncate(fd, message["size"])
        if message["allocate"]:
            os.posix_fallocate(fd, 0, message["size"])
    finally:
        os.close(fd)
    return {}


def _zero(message: Message) -> Message:
    """Overwrite what is allocated of a file with zeros; one with holes is emptied and made as long again."""
    fd = os.open(message["path"], os.O_RDWR)
    seen = os.fstat(fd)
    if seen.st_blocks * 512 < seen.st_size:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, seen.st_size)
    else:
        left = seen.st_blocks * 512
        while left:
            left -= os.write(fd, bytes(min(left, _PIECE)))
    os.fsync(fd)
    os.close(fd)
    return {}


def _copy(message: Message) -> Message:
    """Copy the bytes of a file into another that is there; pieces of zeros stay holes."""
    source, target = os.open(message["path"], os.O_RDONLY), os.open(message["target"], os.O_WRONLY)
    at = 0
    while piece := os.pread(source, message["piece"], at):
        if piece.strip(b"\0"):
            os.pwrite(target, piece, at)
        at += len(piece)
    if message["size"] > at:
        os.ftruncate(target, message["size"])
    os.close(source)
    os.close(target)
    return {}


def _read(message: Message) -> Message:
    fd = os.open(message["path"], os.O_RDONLY)
    with open(fd, "rb") as file:
        file.seek(message["offset"])
        data = file.read(message["length"] or -1)
    return {"data": base64.b64encode(data).decode()}


def _write(message: Message) -> Message:
    """Write bytes into a file at an offset; with `fresh` it is made, or emptied if it is there."""
    flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if message["fresh"] else 0)
    fd = os.open(message["path"], flags, 0o600)
    data, at = memoryview(base64.b64decode(message["data"])), message["offset"]
    while data:
        written = os.pwrite(fd, data, at)
        data, at = data[written:], at + written
    os.close(fd)
    return {}


def _mount(message: Message) -> Message:
    """Show a directory at another place of this host, as a file system or a share that is mounted there."""
    os.makedirs(message["path"], 0o755, exist_ok=True)
    sc.bind(message["path"], message["target"])
    return {}


def _unmount(message: Message) -> Message:
    sc.unmount(message["path"])
    return {}


def _dirty(message: Message) -> Message:
    """Return what a bitmap of a qcow2 image marks; nothing where it has no such bitmap."""
    found = qcow2.dirty(message["path"], message["bitmap"])
    return {} if found is None else {"extents": found}


def _sieve(message: Message) -> Message:
    """Copy the given stretches of a file into a new one of its size. Returns those pieces that hold nothing but zeros."""
    source = os.open(message["path"], os.O_RDONLY)
    target = os.open(message["target"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.ftruncate(target, os.fstat(source).st_size)
    zeros = []
    for start, length in message["extents"]:
        for at in range(start, start + length, _CLUSTER):
            piece = os.pread(source, min(_CLUSTER, start + length - at), at)
            if piece.strip(b"\0"):
                os.pwrite(target, piece, at)
            else:
                zeros.append([at, len(piece)])
    os.close(source)
    os.close(target)
    return {"zeros": zeros}


_DEEDS: dict[str, Callable[[Message], Message]] = {
    "tool": _tool,
    "look": _look,
    "entries": _entries,
    "room": _room,
    "create": _create,
    "own": _own,
    "mkdir": _mkdir,
    "remove": _remove,
    "resize": _resize,
    "zero": _zero,
    "copy": _copy,
    "read": _read,
    "write": _write,
    "mount": _mount,
    "unmount": _unmount,
    "dirty": _dirty,
    "sieve": _sieve,
}


def effect(message: Message) -> Message:
    """Carry out an effect. What the host refuses is its result: the number of the error and its text."""
    try:
        return _DEEDS[message["deed"]](message["arguments"])
    except OSError as error:
        return {"errno": error.errno or 5, "why": os.strerror(error.errno or 5)}
