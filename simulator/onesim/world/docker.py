"""The docker backend: hosts are containers with an SSH server of their own, and their agent lives in one more container, whose processes are all of theirs."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Unpack

from onesim.errors import HarnessError
from onesim.world import fleet, runs
from onesim.world.control import Control
from onesim.world.fleet import CONTROL, IMAGE, KEPT, LOCK, RUN, WORLD, Fleet
from onesim.world.interface import Question, Reply
from onesim.world.losing import LosingWorld
from onesim.world.served import Wanted, settings

_CONNECT_S = 60.0
_numbers = itertools.count(1)


def obtainable(image: str = IMAGE) -> dict[str, str]:
    """Return what this backend isolates, for the record."""
    return {
        "backend": "docker",
        "image": image,
        "users": "oneadmin of the containers, a user of the machine without a name",
        "network": "one of its own, without a way out",
        "limits": "rlimits and the agent's watch",
    }


@cache
def ready(image: str) -> tuple[str, ...]:
    """Look whether worlds of this image can be made, and remove what killed runs have left; returns that. Raises HarnessError with the remedy."""
    client = fleet.connect()
    try:
        fleet.require_image(client, image)
        return tuple(fleet.sweep(client))
    finally:
        client.close()


class DockerWorld(LosingWorld):
    """A world of containers. A host that is down is off the network."""

    def __init__(self, control: Control, ships: Fleet, on_question: Callable[[Question], Reply | None]) -> None:
        super().__init__(control, on_question)
        self._fleet = ships

    @classmethod
    def start(cls, image: str = IMAGE, *, on_question: Callable[[Question], Reply | None], **wanted: Unpack[Wanted]) -> DockerWorld:
        """Start a world from an image of hosts. Raises HarnessError with the remedy."""
        ready(image)
        keep = wanted.get("keep")
        run = runs.run_id()
        name = f"{run}-{next(_numbers)}"
        labels = {RUN: run, LOCK: str(runs.lock_path(run)), WORLD: name} | ({KEPT: str(keep)} if keep else {})
        directory = Path(tempfile.mkdtemp(prefix="onetck-")) if keep is None else keep.parent
        path = directory / f"{name}.start"
        ships = Fleet(fleet.connect(), image, name, labels)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen(1)
                listener.settimeout(_CONNECT_S)
                described = settings(wanted)
                ships.up(described, path)
                world = cls(Control(_accepted(listener)), ships, on_question)
                where = f"{CONTROL}/{keep.name}" if keep else ""
                world._control.send({**described, "socket": where, "addresses": ships.addresses})
            world._ready("containers")
        except BaseException:
            ships.down()
            raise
        finally:
            path.unlink(missing_ok=True)
            if keep is None:
                shutil.rmtree(directory, ignore_errors=True)
        return world

    def container(self, host: str) -> str:
        """Return the name of the container that is a host. Raises HarnessError for a host that this world does not have."""
        if host not in self._fleet.addresses:
            raise HarnessError(f"host {host!r} is not in this world; there are {', '.join(self._fleet.addresses)}")
        return str(self._fleet.containers[host].name)

    def cut_off(self, host: str) -> None:
        """Take a host off the network."""
        self._fleet.cut_off(host)

    def rejoin(self, host: str) -> None:
        """Bring it back."""
        self._fleet.rejoin(host)

    def host_down(self, host: str) -> None:
        """Take a host off the network."""
        super().host_down(host)
        self.cut_off(host)

    def host_up(self, host: str) -> None:
        """Bring it back."""
        self.rejoin(host)
        super().host_up(host)

    def close(self) -> None:
        """End the world and remove its containers, network and volumes."""
        super().close()
        self._fleet.down()


def _accepted(listener: socket.socket) -> socket.socket:
    try:
        return listener.accept()[0]
    except TimeoutError:
        raise HarnessError(f"the agent of a world of containers did not answer within {_CONNECT_S:g} s; see `docker ps -a`") from None


def remove_kept(path: Path) -> None:
    """Remove the containers of a kept world, if its hosts are containers."""
    with contextlib.suppress(HarnessError):
        client = fleet.connect()
        for world in {labels.get(WORLD, "") for labels in fleet.labels_of(client, f"{KEPT}={path}")}:
            fleet.remove_world(client, world)
        client.close()
