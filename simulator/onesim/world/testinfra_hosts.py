"""testinfra's `Host` for a host of a world, whatever makes it: files, users, modes, mounts, processes, packages and sockets as the driver finds them there.

Needs the package `pytest-testinfra` (extra `testinfra`). Raises HarnessError with the remedy where it is not here.
"""

from __future__ import annotations

import shutil
from typing import Any

from onesim.errors import HarnessError
from onesim.world.docker import DockerWorld
from onesim.world.interface import Limits
from onesim.world.served import AgentWorld
from onesim.world.ssh import SshWorld

try:
    import testinfra
    from testinfra.backend.base import BaseBackend, CommandResult
    from testinfra.host import Host
except ImportError:
    raise HarnessError("the Python package pytest-testinfra is not here; install it with `pip install 'onetck[testinfra]'`") from None

#: A command may print a whole file.
_LIMITS = Limits(time_s=60.0, output_bytes=64 << 20)


def host(world: AgentWorld, name: str, *, root: bool = False) -> Host:
    """Return testinfra's view of a host; its commands are run as oneadmin, or with `root` as the world's root.

    A container is reached by `docker://`, a machine by `ssh://`, at the SSH server that it has for this world. What is made of namespaces, and a kept world of
    any kind, is reached through the world's agent. Raises HarnessError for a host that the world does not have, at the latest when the first command is run.
    """
    if isinstance(world, DockerWorld):
        if shutil.which("docker") is None:
            raise HarnessError("testinfra reaches containers by the command docker, which is not here; install it (apt-get install docker.io)")
        return testinfra.get_host(f"docker://{'' if root else 'oneadmin@'}{world.container(name)}")
    if isinstance(world, SshWorld):
        return testinfra.get_host(f"ssh://{name}", ssh_config=str(world.ssh_config(name)), sudo=root, controlpersist=0)
    return Host(_Agent(world, name, root))


class _Agent(BaseBackend):
    """Runs commands through a world's agent."""

    NAME = "onetck"

    def __init__(self, world: AgentWorld, name: str, root: bool) -> None:
        super().__init__(name)
        self._world = world
        self._root = root

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        words = self.get_command(command, *args)
        seen = self._world.run(self.hostname, ["/bin/sh", "-c", words], limits=_LIMITS, cwd="/", root=self._root)
        if seen.ended_by != "exit":
            raise HarnessError(f"{self.hostname}: {words}: ended by {seen.ended_by}")
        return self.result(seen.status, self.encode(words), seen.stdout, seen.stderr)
