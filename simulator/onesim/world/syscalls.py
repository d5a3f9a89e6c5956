"""The system calls that Python 3.11 lacks: namespaces, mounts, borrowed file descriptors. Errors are OSError. Standard library only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 19, 1 << 21
MNT_DETACH = 2
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_IN_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800  # modified, attributes, written and closed, moved, created, deleted
_IN_ONLYDIR, _IN_DONT_FOLLOW = 0x01000000, 0x02000000
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438  # the same numbers on every architecture


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    """Leave namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int) -> None:
    """Enter the namespace that a descriptor refers to."""
    _checked(_libc.setns(fd, 0), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount."""
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _checked(_libc.mount(*arguments), f"mount {kind or 'bind'} {target}")


def bind(source: str, target: str, *, recursive: bool = False, readonly: bool = False) -> None:
    """Bind a file or directory; read-only keeps the flags that a user namespace may not drop."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if readonly:
        seen = os.statvfs(target).f_flag
        kept = sum(flag for flag in (MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME) if seen & flag)
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | kept | (MS_RELATIME if seen & 4096 else 0))


def pivot(root: str) -> None:
    """Make `root` (a mount point) the root directory and detach the old one."""
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def unmount(path: str) -> None:
    """Detach what is mounted at a path."""
    _checked(_libc.umount2(path.encode(), MNT_DETACH), f"umount {path}")


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    _checked(_libc.sethostname(name.encode(), len(name.encode())), "sethostname")


def inotify() -> int:
    """Return a descriptor on which the kernel tells of changes in watched directories. Reading it never waits."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def watch(fd: int, directory: str) -> int:
    """Have changes in a directory told, and of itself. Returns the number by which they are."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(directory), _IN_CHANGES | _IN_ONLYDIR | _IN_DONT_FOLLOW), f"watch {directory}")


def unwatch(fd: int, number: int) -> None:
    """Have no more told of a directory; it may be gone."""
    _libc.inotify_rm_watch(fd, number)


def no_new_privileges() -> None:
    """Programs run from now on gain no rights."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def bound_capabilities(kept: Collection[int]) -> None:
    """Programs run from now on have no other capabilities than these, by their numbers."""
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if number not in kept:
            _checked(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")
        number += 1


def be_dumpable() -> None:
    """Let the files of this process below /proc be its own again after its ids have changed."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def borrow_fd(pid: int, fd: int) -> int:
    """Return a duplicate of another process's file descriptor."""
    pidfd = _checked(_libc.syscall(_PIDFD_OPEN, pid, 0), "pidfd_open")
    try:
        return _checked(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0), "pidfd_getfd")
    finally:
        os.close(pidfd)
