"""The namespaces backend, harness side: starts the agent, speaks with it. Linux only; needs no rights and no set-up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from onesim.errors import HarnessError
from onesim.world.control import Control
from onesim.world.interface import Question, Reply
from onesim.world.served import AgentWorld, Wanted, settings

_ROOT = Path(__file__).parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from onesim.world.agent import main; main(int(sys.argv[2]))"


def wide() -> bool:
    """Whether a range of user ids can be mapped: real root of the machine, with the ids at hand."""
    if os.geteuid() != 0:
        return False
    rows = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(start <= 0x6F6E0000 and start + count >= 0x6F6E0000 + 65536 for start, _, count in rows)


def obtainable() -> dict[str, str]:
    """Return what this backend isolates on this machine, for the record."""
    return {
        "backend": "namespaces",
        "users": "a range of ids of its own" if wide() else "one id, and a user namespace for the driver",
        "network": "loopback only",
        "limits": "rlimits and the agent's watch",
    }


class NamespaceWorld(AgentWorld):
    """A world of namespaces."""

    @classmethod
    def start(cls, *, on_question: Callable[[Question], Reply | None], **wanted: Unpack[Wanted]) -> NamespaceWorld:
        """Start a world. Raises HarnessError with the remedy if the machine refuses."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno())]
        if not os.access(sys.executable, os.X_OK):
            command[0] = "/usr/bin/python3"
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            umask=0o022,
        )
        theirs.close()
        world = cls(Control(ours), process, on_question)
        world._control.send(settings(wanted, wide=wide()))
        try:
            world._ready("namespaces")
        except HarnessError:
            world.close()
            raise
        return world
