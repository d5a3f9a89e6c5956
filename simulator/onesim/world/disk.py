"""Reading and writing the bytes of disks inside a host's view, with the driver's rights. Run in a child of the agent; standard library only.

Formats are always given, never probed by a tool: a raw disk that begins like a qcow2 one must not be taken for one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat

BLOCK = 64 * 1024
_QCOW2 = b"QFI\xfb"
_TOOLS = "/run/onetck/usr/bin"
_SCRATCH = "/run/onetck/tmp"
_BYTES_MAX = 1 << 30


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


def _tool(name: str, *arguments: str) -> str:
    """Run a tool with its output thrown away. Returns why it failed, empty if it did not."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    try:
        pid = os.posix_spawn(f"{_TOOLS}/{name}", [name, *arguments], {"LANG": "C", "PATH": "/usr/bin:/bin"}, file_actions=actions)
    except OSError as error:
        return f"{name}: {os.strerror(error.errno or 0)}"
    finally:
        os.close(writer)
        os.close(null)
    text = b""
    while chunk := os.read(reader, 4096):
        text = (text + chunk)[:2000]
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "" if status == 0 else text.decode(errors="replace").strip() or f"{name} ended with {status}"


def _opened(path: str, format: str) -> tuple[int, str]:
    """Open a disk for reading as raw bytes. Returns the descriptor and a scratch file to remove, if any."""
    fd = _open(path, os.O_RDONLY)
    found = "qcow2" if os.pread(fd, 4, 0) == _QCOW2 else "raw"
    if found != format:
        os.close(fd)
        raise Unreadable("format", f"it is {found}, {format} was said" if found != "raw" else f"it is no {format}")
    if format == "raw":
        return fd, ""
    os.close(fd)
    scratch = f"{_SCRATCH}/read.{os.getpid()}"
    failed = _tool("qemu-img", "convert", "-U", "-f", format, "-O", "raw", path, scratch)
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
        except OSError:
            break  # nothing but holes to the end
        block = os.pread(fd, min(BLOCK, size - at), at)
        if not block:
            break
        blocks[at // BLOCK] = hashlib.sha256(block).hexdigest()[:32] if block.strip(b"\0") else "0"
        at += BLOCK
    return blocks


def read(path: str, format: str) -> dict[str, object]:
    """Return size and block digests of a disk, or the problem."""
    try:
        fd, scratch = _opened(path, format)
    except Unreadable as error:
        return {"problem": error.args[0], "detail": error.args[1]}
    size = os.lseek(fd, 0, os.SEEK_END)
    try:
        if size > _BYTES_MAX:
            return {"problem": "size", "detail": f"{size} bytes, more than this harness reads", "virtual_size": size}
        return {"virtual_size": size, "blocks": _digests(fd, size)}
    finally:
        _closed(fd, scratch)


def peek(path: str, format: str, offset: int, length: int) -> bytes:
    """Return bytes of a disk; none if it cannot be read."""
    try:
        fd, scratch = _opened(path, format)
    except Unreadable:
        return b""
    try:
        return os.pread(fd, length, offset)
    finally:
        _closed(fd, scratch)


def write(path: str, format: str, patches: list[list[int]]) -> str:
    """Write stretches of one repeated byte, as a guest would. Returns why it failed."""
    if format == "raw":
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
    return write(path, format, patches)
