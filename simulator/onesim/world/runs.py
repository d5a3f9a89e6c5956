"""Runs of the harness on this machine: each has a name and holds a lock while it lives, so that what it made elsewhere can be told from what a dead one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

from onesim.errors import ConfigError


def runtime_directory() -> Path:
    """Return the directory of this user for sockets and locks. Raises ConfigError where it cannot be."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = base / f"onetck-{os.geteuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; set XDG_RUNTIME_DIR to a directory of yours") from None
    if path.stat().st_uid != os.geteuid():
        raise ConfigError(f"{path}: belongs to somebody else; set XDG_RUNTIME_DIR to a directory of yours")
    return path


@cache
def run_id() -> str:
    """Return the name of this process among runs; its lock is held until the process ends."""
    name = f"{os.getpid()}-{random.randbytes(4).hex()}"
    _locks[name] = lock_path(name).open("ab")
    fcntl.flock(_locks[name], fcntl.LOCK_EX | fcntl.LOCK_NB)
    return name


_locks: dict[str, IO[bytes]] = {}


def lock_path(run: str) -> Path:
    """Return the file that a run locks while it lives. What the run makes is labelled with it, as others may have directories of their own for such files."""
    return runtime_directory() / f"run-{run}.lock"


def abandoned(lock: str, kept: str = "") -> bool:
    """Whether nobody holds on to a run: its lock is free or gone, and no kept world answers. What cannot be told is not abandoned."""
    if kept:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as control:
            control.connect(kept)
            return False
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
