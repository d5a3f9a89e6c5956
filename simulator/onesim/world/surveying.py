"""What a machine of a lab is like, as far as a world needs to know. Runs on that machine, as root; standard library only."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import sys
import time
from typing import Any

from onesim.world import ledger, nsview

#: Commands without which no world lives on a machine, with the packages of Debian that have them.
NEEDED = {"bash": "bash", "sshd": "openssh-server", "ssh": "openssh-client", "qemu-img": "qemu-utils", "qemu-io": "qemu-utils"}
#: Those that drivers often need.
USEFUL = {"sudo": "sudo", "rsync": "rsync", "jq": "jq", "genisoimage": "genisoimage", "curl": "curl"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REACH_S = 3.0


def occupied(path: str, entries: list[str]) -> str:
    """Return why a directory cannot be used: it holds what no run has made."""
    return f"{path}: holds {', '.join(entries)}, which onetck did not create; empty it, or name an empty directory under [hosts]"


def survey(message: dict[str, Any]) -> dict[str, Any]:
    """Return what is there: tools, oneadmin, clock, room, who has the machine, strange entries of its datastores, which of the `peers` are reached.

    A peer is reached where its port answers or refuses; what drops packets is a wall between them.
    """
    seen: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "root": os.geteuid() == 0,
        "time": time.time(),
        "merged": os.path.islink("/bin"),
        "tools": {name: shutil.which(name, path=_PATH) or "" for name in (*NEEDED, *USEFUL)},
        "oneadmin": [],
        "holder": ledger.holder(),
        "left": [row["path"] for row in ledger.rows()],
        "places": {path: _place(path) for path in message["places"]},
        "reached": {name: _reached(address, port) for name, (address, port) in message["peers"].items()},
    }
    with contextlib.suppress(KeyError):
        row = pwd.getpwnam("oneadmin")
        seen["oneadmin"] = [row.pw_uid, row.pw_gid]
    return seen


def _place(path: str) -> dict[str, Any]:
    try:
        strange = ledger.foreign(path)
        room = os.statvfs(path)
        return {"strange": strange, "free_mb": room.f_bavail * room.f_frsize >> 20, "writable": os.access(path, os.W_OK)}
    except (OSError, nsview.Refused) as error:
        return {"problem": str(error)}


def _reached(address: str, port: int) -> str:
    """Return why a machine is not reached; empty where it is."""
    try:
        socket.create_connection((address, port), _REACH_S).close()
    except ConnectionRefusedError:
        return ""
    except OSError as error:
        return str(error.strerror or error)
    return ""
