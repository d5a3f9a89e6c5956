"""Pictures of directory trees, and their differences. Run inside the agent; standard library only."""

from __future__ import annotations

import os
import stat

#: path -> (kind, mode, uid, gid, size, allocated, mtime_ns, ino, target)
Picture = dict[tuple[str, str], tuple[str, int, int, int, int, int, int, int, str]]
_FIELDS = ("kind", "mode", "uid", "gid", "size", "allocated", "mtime", "inode", "target")
_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s", stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
_ENTRIES_MAX = 200_000


def take(picture: Picture, host: str, real: str, shown: str, skip: frozenset[str], links: dict[str, int]) -> None:
    """Add everything below `real` to a picture, under the paths that begin with `shown`. Never follows a link.

    The view's own links to the machine's /etc are left out; `links` keeps their inodes from one picture to the next, as nobody can change where a link leads.
    """
    waiting = [(real, shown)]
    while waiting:
        directory, prefix = waiting.pop()
        try:
            rows = list(os.scandir(directory))
        except OSError:
            continue
        for row in rows:
            if links.get(row.path) == row.inode():
                continue
            path = f"{prefix}/{row.name}"
            if path in skip or len(picture) > _ENTRIES_MAX:
                continue
            try:
                seen = row.stat(follow_symlinks=False)
                kind = _KINDS.get(stat.S_IFMT(seen.st_mode), "?")
                target = os.readlink(row.path) if kind == "l" else ""
            except OSError:
                continue
            if target.startswith("/run/onetck/"):
                links[row.path] = seen.st_ino
                continue
            if kind == "d":
                picture[host, path] = (kind, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, 0, 0, 0, seen.st_ino, "")
                waiting.append((row.path, path))
            else:
                picture[host, path] = (
                    kind,
                    stat.S_IMODE(seen.st_mode),
                    seen.st_uid,
                    seen.st_gid,
                    seen.st_size,
                    seen.st_blocks * 512,
                    seen.st_mtime_ns,
                    seen.st_ino,
                    target,
                )


def differences(before: Picture, after: Picture) -> list[list[object]]:
    """Return [host, path, change, kind, fields, size, target] for every difference, in the order of host and path."""
    rows: list[list[object]] = []
    other = [key for key, row in after.items() if before.get(key) != row]
    for key in sorted((*other, *(before.keys() - after.keys()))):
        old, new = before.get(key), after.get(key)
        kind, *_ = row = new or old or ("?", 0, 0, 0, 0, 0, 0, 0, "")
        if old is None or new is None:
            rows.append([*key, "created" if old is None else "removed", kind, [], row[4], row[8]])
        else:
            fields = [name for name, a, b in zip(_FIELDS, old, new, strict=True) if a != b]
            rows.append([*key, "changed", kind, fields, row[4], row[8]])
    return rows
