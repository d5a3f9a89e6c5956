"""Pictures of directory trees, and their differences. Run inside the agent; standard library only."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping

#: mode with the kind, uid, gid, size, blocks of 512 bytes, mtime_ns, ino, target
Entry = tuple[int, int, int, int, int, int, int, str]
#: (host, path) -> entry
Picture = dict[tuple[str, str], Entry]
_FIELDS = ("uid", "gid", "size", "allocated", "mtime", "inode", "target")
_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s", stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
_ENTRIES_MAX = 200_000


def take(picture: Picture, host: str, real: str, shown: str, skip: frozenset[str], links: dict[tuple[str, str], int]) -> None:
    """Add everything below `real` to a picture, under the paths that begin with `shown`. Never follows a link.

    The view's own links to the machine's /etc are left out; `links` keeps their inodes from one picture to the next, as nobody can change where a link leads.
    A picture is taken after every call: entries are looked up in their directory, and nothing is worked out that a comparison does not need.
    """
    waiting = [(real, shown)]
    while waiting:
        directory, prefix = waiting.pop()
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            waiting += _entries(picture, host, fd, directory, prefix, skip, links)
        finally:
            os.close(fd)


def _entries(
    picture: Picture, host: str, fd: int, directory: str, prefix: str, skip: frozenset[str], links: dict[tuple[str, str], int]
) -> list[tuple[str, str]]:
    """Add the entries of an open directory, and return the directories among them: where they are, and under what path they are shown."""
    deeper = []
    for row in os.scandir(fd):
        name = row.name
        if links.get((directory, name)) == row.inode():
            continue
        path = f"{prefix}/{name}"
        if path in skip or len(picture) > _ENTRIES_MAX:
            continue
        try:
            seen = row.stat(follow_symlinks=False)
            target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(seen.st_mode) else ""
        except OSError:
            continue
        if target.startswith("/run/onetck/"):
            links[directory, name] = seen.st_ino
            continue
        picture[host, path] = _entry(seen, target)
        if stat.S_ISDIR(seen.st_mode):
            deeper.append((f"{directory}/{name}", path))
    return deeper


def _entry(seen: os.stat_result, target: str) -> Entry:
    if stat.S_ISDIR(seen.st_mode):
        return seen.st_mode, seen.st_uid, seen.st_gid, 0, 0, 0, seen.st_ino, ""
    return seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_blocks, seen.st_mtime_ns, seen.st_ino, target


def take_top(picture: Picture, host: str, real: str, shown: str) -> None:
    """Add the top of a tree itself to a picture, whatever it is."""
    with contextlib.suppress(OSError):
        seen = os.lstat(real)
        picture[host, shown] = _entry(seen, os.readlink(real) if stat.S_ISLNK(seen.st_mode) else "")


def differences(before: Picture, after: Picture, owners: Mapping[int, str]) -> list[list[object]]:
    """Return [host, path, change, kind, fields, size, target, mode, owner] for every difference, in the order of host and path.

    The mode is in octal, such as 0660. `owners` has the names of ids; others are numbers. What was removed has neither.
    """
    rows: list[list[object]] = []
    other = [key for key, row in after.items() if before.get(key) != row]
    for key in sorted((*other, *(before.keys() - after.keys()))):
        old, new = before.get(key), after.get(key)
        row = new or old or (0, 0, 0, 0, 0, 0, 0, "")
        kind = _KINDS.get(stat.S_IFMT(row[0]), "?")
        if old is None or new is None:
            rows.append([*key, "created" if old is None else "removed", kind, [], row[3], row[7]])
        else:
            rows.append([*key, "changed", kind, _changed(old, new), row[3], row[7]])
        rows[-1] += ["", ""] if new is None else [f"{stat.S_IMODE(new[0]):04o}", owners.get(new[1], str(new[1]))]
    return rows


def _changed(old: Entry, new: Entry) -> list[str]:
    kind = ["kind"] if stat.S_IFMT(old[0]) != stat.S_IFMT(new[0]) else []
    mode = ["mode"] if stat.S_IMODE(old[0]) != stat.S_IMODE(new[0]) else []
    return [*kind, *mode, *(name for name, a, b in zip(_FIELDS, old[1:], new[1:], strict=True) if a != b)]
