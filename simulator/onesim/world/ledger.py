"""What runs make on a machine of a lab, written down there before it is made, so that whatever happens it can be told from what is somebody else's and removed.

Runs on that machine, as root; standard library only. The ledger is a file of JSON lines; the lock beside it is held while a world lives on the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from typing import IO, Any

from onesim.world import nsview

#: Where ledger and lock lie.
STATE = "/var/lib/onetck"
_LEDGER, _LOCK = f"{STATE}/ledger", f"{STATE}/lock"
#: Directories upon which the view of a host has its own ones; those that are not there are made for the time.
POINTS = ("/var/lib/one", "/etc/one", "/var/log/one", "/run/onetck", "/run/one", "/run/lock/one")
#: Directories of worlds begin so.
PREFIX = "onetck-"
_ENDS_S = 5.0
_ENTRIES_SHOWN = 3


def rows() -> list[dict[str, Any]]:
    """Return what is written down: run, world, kind (point or tree) and path of each thing."""
    with contextlib.suppress(OSError), open(_LEDGER) as file:
        return [json.loads(line) for line in file if line.endswith("\n")]
    return []


def _write(kept: list[dict[str, Any]]) -> None:
    with open(f"{_LEDGER}.new", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{_LEDGER}.new", _LEDGER)


def hold(label: dict[str, str]) -> IO[str]:
    """Take possession of the machine for a run. Raises Refused while another one has it; returns the lock."""
    os.makedirs(STATE, 0o755, exist_ok=True)
    lock = open(_LOCK, "a+")  # noqa: SIM115 - held until the world ends
    until = time.monotonic() + _ENDS_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > until:
                other = holder() or {}
                lock.close()
                where = f"run {other.get('run', '?')} of {other.get('machine', '?')}"
                raise nsview.Refused(f"{where} is using it; wait for its end, or `onetck hosts clean` where it was killed") from None
            time.sleep(0.1)
    lock.truncate(0)
    lock.write(json.dumps({**label, "pid": os.getpid()}))
    lock.flush()
    return lock


def holder() -> dict[str, Any] | None:
    """Return who has the machine; None if nobody does."""
    try:
        with open(_LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except OSError:
        with contextlib.suppress(OSError, ValueError), open(_LOCK) as lock:
            found: dict[str, Any] = json.loads(lock.read())
            return found
        return {}


def make(label: dict[str, str], kind: str, path: str) -> None:
    """Write a directory down and make it. It must not be there: what is there is somebody else's."""
    _write([*rows(), {**label, "kind": kind, "path": path}])
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        _write(rows()[:-1])
        raise nsview.Refused(f"{path}: {error.strerror}; give another place under [hosts]") from None


def foreign(path: str) -> list[str]:
    """Return the first entries of a directory for worlds that no run has written down. Raises Refused where it is none."""
    ours = {row["path"] for row in rows()}
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise nsview.Refused(f"{path}: {error.strerror}; make the directory, or name another one under [hosts]") from None
    found = [name for name in names if f"{path.rstrip('/')}/{name}" not in ours and not (name == "lost+found" and not os.listdir(f"{path}/{name}"))]
    return found[:_ENTRIES_SHOWN] + (["..."] if len(found) > _ENTRIES_SHOWN else [])


def clear(run: str = "") -> tuple[list[str], list[str]]:
    """Remove what a run has made (any run, if none is named). Returns what was removed, and what could not be, with the reason."""
    removed, stayed, kept = [], [], []
    for row in reversed(rows()):
        path = row["path"]
        if run and row["run"] != run:
            kept.append(row)
            continue
        try:
            if row["kind"] == "tree" and os.path.basename(path).startswith(PREFIX):
                shutil.rmtree(path)
            else:
                os.rmdir(path)
            removed.append(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            stayed.append(f"{path}: {error.strerror}")
            kept.append(row)
    if os.path.isdir(STATE):
        _write(kept[::-1])
    return removed, stayed


def clean(message: dict[str, Any]) -> dict[str, Any]:
    """Remove what dead runs have left. A run that has the machine is ended if it is one of those known to be `dead`; else it is left alone, and said to be.

    When nothing is written down any more, ledger and lock go too.
    """
    having = holder()
    if having is not None and having.get("run") in message["dead"]:
        with contextlib.suppress(OSError):
            os.kill(int(having["pid"]), signal.SIGTERM)  # the guard: it ends the world and removes what is its own
        until = time.monotonic() + _ENDS_S
        while holder() is not None and time.monotonic() < until:
            time.sleep(0.05)
        having = holder()
    if having is not None:
        return {"removed": [], "stayed": [f"run {having.get('run', '?')} of {having.get('machine', '?')} is using it"], "holder": having}
    removed, stayed = clear()
    if not stayed:
        for path in (_LEDGER, _LOCK):
            with contextlib.suppress(OSError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(STATE)
    return {"removed": removed, "stayed": stayed}
