"""Services: the daemons of a vendor's world, such as a storage cluster or the controller of an array. Part of the agent; standard library only.

They live as long as the world and belong to no call. Their processes are told by a mark in their environment, which children inherit: a daemon may leave
its session and its parent.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any

from onesim.world import calls
from onesim.world.calls import SERVICES
from onesim.world.spawning import NotStarted

if TYPE_CHECKING:
    from onesim.world.agent import Agent

_LIMITS = {"processes": 4096.0, "memory_mb": 4096.0}
_SAID_BYTES = 4096


class Services:
    """The services of a world. `do_*` are requests of the harness."""

    VERBS = frozenset({"serve", "service"})

    def __init__(self, agent: Agent, environment: dict[str, str]) -> None:
        self.agent = agent
        self.environment = environment
        self._mark = f"ONETCK_SERVICE={os.urandom(8).hex()}".encode()
        self._status: dict[str, int] = {}
        self._said: dict[str, bytearray] = {}

    def do_serve(self, message: dict[str, Any]) -> dict[str, Any]:
        """Start a service in a directory of its own. `failed` says why it could not be started."""
        name, home = message["path"], f"{SERVICES}/{message['path']}"
        made = self.agent.starter.do({"do": "mkdir", "host": message["host"], "paths": [home]})
        if "error" in made:
            return {"failed": made["error"]}
        null, output = os.open("/dev/null", os.O_RDONLY), os.pipe()
        variable, _, value = self._mark.decode().partition("=")
        try:
            pid = self.agent.starter.spawn(
                message["host"],
                ["/bin/bash", "-c", message["command"]],
                (null, output[1], output[1]),
                {**self.environment, variable: value},
                root=message.get("root", False),
                limits=_LIMITS,
                cwd=home,
            )
        except NotStarted as error:
            os.close(output[0])
            return {"failed": error.strerror}
        finally:
            for fd in (null, output[1]):
                os.close(fd)
        self._said[name], self._status[name] = bytearray(), 0
        os.set_blocking(output[0], False)
        self.agent.selector.register(output[0], selectors.EVENT_READ, partial(self._heard, name, output[0]))
        self.agent.waiting[pid] = partial(self._ended, name)
        return {}

    def do_service(self, message: dict[str, Any]) -> dict[str, Any]:
        """Tell how the command of a service has ended (0 while it runs) and the end of what the service has said."""
        name = message["name"]
        return {"status": self._status.get(name, 0), "said": self._said.get(name, bytearray()).decode(errors="replace").strip()[-400:]}

    def _heard(self, name: str, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 1 << 16)
            self._said[name] = (self._said[name] + data)[-_SAID_BYTES:]
            if not data:
                self.agent.selector.unregister(fd)
                os.close(fd)

    def _ended(self, name: str, status: int) -> None:
        self._status[name] = status

    def pids(self) -> frozenset[int]:
        """Return the processes of all services, those of the hosts themselves, and those that do the agent's work."""
        return self._told() | self.agent.starter.aides

    def _told(self) -> frozenset[int]:
        marked = frozenset(pid for pid in calls.processes() if self._marked(pid)) if self._status else frozenset()
        return marked | self.agent.starter.daemons()

    def tasks(self) -> int:
        """Return how many processes and threads services and hosts have: they count against the bound of a script, whose user is theirs."""
        count = 0
        for pid in self._told():
            with contextlib.suppress(OSError):
                count += len(os.listdir(f"/proc/{pid}/task"))
        return count

    def _marked(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self._mark in file.read().split(b"\0")
        except OSError:
            return False
