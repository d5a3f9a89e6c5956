"""Reading and writing the bytes of disks inside a host's view, with the driver's rights. Run in a child of the agent; standard library only.

Formats are always given, never probed by a tool: a raw disk that begins like a qcow2 one must not be taken for one. A disk is a file or block device
at an absolute path, or at an address that QEMU opens (rbd:, nbd:, iscsi: and the like), or what a vendor's own commands read and write (`means`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from typing import Any

from onesim.world import qcow2

BLOCK = 64 * 1024
_QCOW2 = b"QFI\xfb"
_TOOLS = "/run/onetck/usr/bin"
_SCRATCH = "/run/onetck/tmp"
_BYTES_MAX = 1 << 30
_PIPE_BYTES = 65536
_DISK = re.compile(r"/disk\.[0-9]+$")
_PLAIN = {"LANG": "C", "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/one"}
_ABSENT = re.compile(
    r"(reading header from|opening pool|opening image) .*No such file or directory"
    r"|Could not open '[^']*': No such file or directory|export '.*' not (present|available)"
    # what is no address: a driver has printed something else as SOURCE
    r"|Unknown protocol|error parsing address|missing remote path|name is required|must be specified|Could not parse"
    r"|requires (a file name|both)|cannot handle the URL"
)

#: A vendor's commands for one disk as they travel: read, write, exists, environment; empty where there are none.
Means = dict[str, Any]


class Unreadable(Exception):
    """A disk cannot be read: problem and detail."""


def _open(path: str, flags: int) -> int:
    try:
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        problem = "missing" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "unreadable"
        raise Unreadable(problem, os.strerror(error.errno or 0)) from None
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        os.close(fd)
        raise Unreadable("unreadable", "neither a regular file nor a block device")
    return fd


def _spawned(program: str, words: list[str], environment: dict[str, str], stdin: int = -1, stdout: int = -1) -> tuple[int, str]:
    """Run a program; standard input and output are nothing unless given. Returns its status and the end of what it said on stderr."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    given = (null if stdin < 0 else stdin, null if stdout < 0 else stdout, writer)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given)]
        pid = os.posix_spawn(program, words, environment, file_actions=actions)
    except OSError as error:
        return 127, f"{words[0]}: {os.strerror(error.errno or 0)}"
    finally:
        os.close(writer)
        os.close(null)
    text = b""
    while chunk := os.read(reader, 4096):
        text = (text + chunk)[-2000:]
    os.close(reader)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(errors="replace").strip()


def _tool(name: str, *arguments: str) -> str:
    """Run a tool with its output thrown away. Returns why it failed, empty if it did not."""
    status, said = _spawned(f"{_TOOLS}/{name}", [name, *arguments], _PLAIN)
    return "" if status == 0 else said or f"{name} ended with {status}"


def _command(means: Means, what: str, stdin: int = -1, stdout: int = -1, **more: str) -> tuple[int, str]:
    """Run one of a vendor's commands for a disk. Returns its status and what it said."""
    text = means[what]
    if not text:
        return 127, f"the description has no command to {what} it"
    return _spawned("/bin/bash", ["bash", "-c", text], {**_PLAIN, **means["environment"], **more}, stdin, stdout)


def exists(path: str, means: Means) -> dict[str, object]:
    """Tell whether there is a disk at an address, or one that a vendor's command looks for."""
    if means:
        status, said = _command(means, "exists")
        return {"value": status == 0} if status in (0, 1) else {"error": f"{said or 'the command'} (status {status})"}
    failed = _tool("qemu-img", "info", "-U", "-f", "raw", "--", path)
    if failed and not _ABSENT.search(failed):
        return {"error": failed}
    return {"value": not failed}


def _fetched(path: str, format: str, means: Means) -> str:
    """Copy a disk that is no file into a scratch file, raw. Returns its path."""
    scratch = f"{_SCRATCH}/read.{os.getpid()}"
    if means:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        status, said = _command(means, "read", stdout=fd)
        os.close(fd)
        failed = "" if status == 0 else said or f"the command ended with {status}"
        there = exists(path, means).get("value", True) if means["exists"] else True
    else:
        failed = _tool("qemu-img", "convert", "-U", "-f", format, "-O", "raw", "--", path, scratch)
        there = not _ABSENT.search(failed)
    if failed:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise Unreadable("unreadable" if there else "missing", failed[-300:])
    return scratch


def _followed(path: str) -> str:
    """Return what the hypervisor opens of a VM's disk: where it is a link, what that leads to, from where names of backing files are looked for.

    Source: 7.4.0, src/vmm_mad/remotes/kvm/deploy:45; since 6.6.3. Before, the link itself was opened; releases are not told apart here.
    """
    if _DISK.search(path) and os.path.islink(path):
        there = os.path.join(os.path.dirname(path), os.readlink(path))
        return there if os.path.exists(there) else path
    return path


def _opened(path: str, format: str, means: Means) -> tuple[int, str]:
    """Open a disk for reading as raw bytes. Returns the descriptor and a scratch file to remove, if any."""
    if means or not path.startswith("/"):
        scratch = _fetched(path, format, means)
        fd = _open(scratch, os.O_RDONLY)
        if format == "raw" and os.pread(fd, 4, 0) == _QCOW2:
            _closed(fd, scratch)
            raise Unreadable("format", "it is qcow2, raw was said")
        return fd, scratch
    fd = _open(path, os.O_RDONLY)
    found = "qcow2" if os.pread(fd, 4, 0) == _QCOW2 else "raw"
    if found != format:
        os.close(fd)
        raise Unreadable("format", f"it is {found}, {format} was said" if found != "raw" else f"it is no {format}")
    if format == "raw":
        return fd, ""
    os.close(fd)
    path = _followed(path)
    if again := qcow2.circle(path):
        raise Unreadable("unreadable", f"its chain of backing files comes back to {again}")
    scratch = f"{_SCRATCH}/read.{os.getpid()}"
    failed = _tool("qemu-img", "convert", "-U", "-f", format, "-O", "raw", "--", path, scratch)
    if failed:
        raise Unreadable("unreadable", failed)
    return _open(scratch, os.O_RDONLY), scratch


def _closed(fd: int, scratch: str) -> None:
    os.close(fd)
    if scratch:
        os.unlink(scratch)


def _digests(fd: int, size: int) -> list[str]:
    blocks = ["0"] * ((size + BLOCK - 1) // BLOCK)
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA) // BLOCK * BLOCK
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # nothing but holes to the end
            # a block device knows of no holes: all of it is read
        block = os.pread(fd, min(BLOCK, size - at), at)
        if not block:
            break
        blocks[at // BLOCK] = hashlib.sha256(block).hexdigest()[:32] if block.strip(b"\0") else "0"
        at += BLOCK
    return blocks


def read(path: str, format: str, means: Means) -> dict[str, object]:
    """Return size and block digests of a disk, or the problem."""
    try:
        fd, scratch = _opened(path, format, means)
    except Unreadable as error:
        return {"problem": error.args[0], "detail": error.args[1]}
    size = os.lseek(fd, 0, os.SEEK_END)
    try:
        if size > _BYTES_MAX:
            return {"problem": "size", "detail": f"{size} bytes, more than this harness reads", "virtual_size": size}
        return {"virtual_size": size, "blocks": _digests(fd, size)}
    finally:
        _closed(fd, scratch)


def peek(path: str, format: str, offset: int, length: int, means: Means) -> bytes:
    """Return bytes of a disk; none if it cannot be read."""
    try:
        fd, scratch = _opened(path, format, means)
    except Unreadable:
        return b""
    try:
        return os.pread(fd, length, offset)
    finally:
        _closed(fd, scratch)


def _written(means: Means, patches: list[list[int]]) -> str:
    for offset, length, byte in patches:
        reader, writer = os.pipe()
        os.write(writer, bytes([byte]) * min(length, _PIPE_BYTES))
        os.close(writer)
        status, said = _command(means, "write", stdin=reader, OFFSET=str(offset), LENGTH=str(length))
        os.close(reader)
        if status:
            return said or f"the command ended with {status}"
    return ""


def write(path: str, format: str, patches: list[list[int]], means: Means) -> str:
    """Write stretches of one repeated byte, as a guest would. Returns why it failed."""
    if means:
        return _written(means, patches)
    if format == "raw" and path.startswith("/"):
        try:
            fd = _open(path, os.O_RDWR)
        except Unreadable as error:
            return f"{error.args[0]}: {error.args[1]}"
        size = os.lseek(fd, 0, os.SEEK_END)
        try:
            for offset, length, byte in patches:
                if offset + length > size:
                    return f"the disk ends at {size}, before offset {offset + length}"
                os.pwrite(fd, bytes([byte]) * length, offset)
        except OSError as error:
            return os.strerror(error.errno or 0)
        finally:
            os.close(fd)
        return ""
    path = _followed(path)
    if again := qcow2.circle(path):
        return f"its chain of backing files comes back to {again}"
    commands = [word for offset, length, byte in patches for word in ("-c", f"write -P {byte} {offset} {length}")]
    return _tool("qemu-io", "-f", format, *commands, path)


def make(path: str, format: str, size: int, patches: list[list[int]]) -> str:
    """Make a disk of that size with those bytes. Returns why it failed."""
    if format == "raw":
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            os.ftruncate(fd, size)
            os.close(fd)
        except OSError as error:
            return os.strerror(error.errno or 0)
    else:
        failed = _tool("qemu-img", "create", "-q", "-f", format, path, str(size))
        if failed:
            return failed
    return write(path, format, patches, {})
