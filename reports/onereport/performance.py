"""How long the calls of each action took, and those of the reference driver where it was played beside the driver."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from onesim.records import Call, FaultInjected


@dataclass(frozen=True)
class Figures:
    """Of the calls of an action: how many, their median, 95th percentile and longest in ms, and the median number of external commands."""

    calls: int
    median_ms: float
    p95_ms: float
    max_ms: float
    commands: float


@dataclass(frozen=True)
class Row:
    """An action with its figures, and those of the reference driver if it was played and called for it."""

    action: str
    own: Figures
    reference: Figures | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as long as the reference driver's median the driver's is; None where there is nothing to compare."""
        return self.own.median_ms / self.reference.median_ms if self.reference is not None and self.reference.median_ms else None


class Measured:
    """The durations of the calls of a history, by action. Counted is what says something of the driver: a call that succeeded, that no other call ran
    beside, and that no fault struck. The hypervisor is simulated and does not count.
    """

    def __init__(self) -> None:
        self._groups: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def take(self, calls: Iterable[Call], faults: Iterable[FaultInjected]) -> None:
        """Take the calls of a case, and the faults that were planned in it."""
        struck = {fault.call for fault in faults if fault.hit}
        for call in calls:
            if call.success and call.observed and call.family != "vmm" and call.n not in struck:
                self._groups[f"{call.family}/{call.action}"].append((call.duration_ns, len(call.commands)))

    def figures(self) -> dict[str, Figures]:
        """Return the figures by action."""
        return {action: _figures(rows) for action, rows in sorted(self._groups.items())}


def _figures(rows: list[tuple[int, int]]) -> Figures:
    durations = sorted(duration / 1e6 for duration, _ in rows)
    # the nearest rank: a duration that was measured
    p95 = durations[math.ceil(0.95 * len(durations)) - 1]
    return Figures(len(rows), statistics.median(durations), p95, durations[-1], statistics.median(count for _, count in rows))


def compared(own: Measured, reference: Measured) -> list[Row]:
    """Return a row for each action that the driver was called for."""
    beside = reference.figures()
    return [Row(action, figures, beside.get(action)) for action, figures in own.figures().items()]
