"""How a call of oned becomes a script that runs: started by the harness itself, or by a driver program that the user brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onesim.events import CallAsked, EmptyTransfer
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

    def open(self) -> None:
        """Get ready; called when the world is furnished."""

    def free(self, asked: CallAsked, transfer: str) -> bool:
        """Whether a call can begin now; `transfer` is the end of the name of its transfer script."""

    def begin(self, start: Start) -> Run | None:
        """Begin a call, whose end the world tells. Returns what was seen at once of one that did not begin."""

    def empty(self, asked: EmptyTransfer, time_s: float) -> None:
        """Have a transfer script read that holds no line. It must be answered within the time."""

    def ended(self, start: Start, run: Run) -> None:
        """Take note that the script of a call has ended."""

    def cancel(self, start: Start) -> None:
        """oned gives up a call that runs, and with it the rest of its transfer script."""

    def abandon(self, start: Start) -> None:
        """oned gives up a call before it has run, and with it the rest of its transfer script."""

    def close(self) -> None:
        """The case has ended."""


class DirectRunner:
    """Starts each script itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken = ""

    def open(self) -> None:
        """Nothing to do."""

    def free(self, asked: CallAsked, transfer: str) -> bool:
        """Nothing but oned sets a bound."""
        return True

    def begin(self, start: Start) -> Run | None:
        """Start the script on the front-end."""
        self.world.begin(
            FRONTEND,
            [start.script, *start.argv],
            stdin=start.stdin,
            env=dict(start.environment),
            limits=start.limits,
            call_id=start.id,
            faults=start.faults,
        )
        return None

    def empty(self, asked: EmptyTransfer, time_s: float) -> None:
        """Nothing to do."""

    def ended(self, start: Start, run: Run) -> None:
        """Nothing to do."""

    def cancel(self, start: Start) -> None:
        """Nothing to do: the script goes on."""

    def abandon(self, start: Start) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
