"""The tree that a driver program sees in place of the remotes: a shim for each driver script. Runs in a child of the agent; standard library only."""

from __future__ import annotations

import os
import shutil
from typing import Any

REMOTES, TREE = "/var/lib/one/remotes", "/run/onetck/shims"
_FAMILIES = ("datastore", "tm")


def lay(script: bytes) -> dict[str, Any]:
    """Lay a tree like remotes in which a shim with the same mode stands in place of each driver script. Directories that are links stay links."""
    made: dict[int, str] = {}
    for directory, folders, files in os.walk(REMOTES):
        where = os.path.relpath(directory, REMOTES).split("/")
        target = os.path.normpath(f"{TREE}/{'/'.join(where)}")
        os.makedirs(target, exist_ok=True)
        for name in folders:
            if os.path.islink(f"{directory}/{name}"):
                os.symlink(os.readlink(f"{directory}/{name}"), f"{target}/{name}")
        for name in files:
            source, copy = f"{directory}/{name}", f"{target}/{name}"
            if len(where) == 2 and where[0] in _FAMILIES and os.path.isfile(source):
                _shim(script, os.stat(source).st_mode & 0o777, copy, made)
            elif os.path.islink(source):
                os.symlink(os.readlink(source), copy)
            elif os.path.isfile(source):
                shutil.copy(source, copy)
    return {}


def _shim(script: bytes, mode: int, path: str, made: dict[int, str]) -> None:
    """Make a shim; those of one mode are one file, for a datastore on the same memory reports what is free."""
    if mode in made:
        os.link(made[mode], path)
        return
    with open(path, "wb") as file:
        file.write(script)
    os.chmod(path, mode)
    made[mode] = path
