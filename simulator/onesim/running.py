"""How a call of oned becomes a script that runs: started by the harness itself, or by a driver program that the user brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onesim.events import CallAsked
from onesim.model import FRONTEND
from onesim.world.interface import Fault, Limits, Run, World


@dataclass(frozen=True)
class Start:
    """A call to run: `n` is its number in the case, `id` its name in the world. `script`, `argv` and `stdin` are what the driver gets.

    `transfer` is the transfer script that the call stands in: the end of its name, and the calls from this one on; empty for others.
    """

    asked: CallAsked
    n: int
    id: str
    script: str
    argv: tuple[str, ...]
    stdin: bytes
    environment: Mapping[str, str]
    limits: Limits
    faults: tuple[Fault, ...] = ()
    transfer: tuple[str, tuple[CallAsked, ...]] = ("", ())


class Runner(Protocol):
    """Runs the calls of a case. `broken` says why nothing can run any more; empty while all is well."""

    broken: str

    def begin(self) -> None:
        """Get ready; called when the world is furnished."""

    def run(self, start: Start) -> Run:
        """Run a call and return what was seen of the script."""

    def abandon(self, start: Start) -> None:
        """oned gives up a call before it has run, and with it the rest of its transfer script."""

    def end(self) -> None:
        """The case has ended."""


class DirectRunner:
    """Starts each script itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken = ""

    def begin(self) -> None:
        """Nothing to do."""

    def run(self, start: Start) -> Run:
        """Start the script on the front-end."""
        return self.world.run(
            FRONTEND,
            [start.script, *start.argv],
            stdin=start.stdin,
            env=dict(start.environment),
            limits=start.limits,
            call_id=start.id,
            faults=start.faults,
        )

    def abandon(self, start: Start) -> None:
        """Nothing to do."""

    def end(self) -> None:
        """Nothing to do."""
