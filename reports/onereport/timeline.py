"""The lifecycle of a case as a picture: one lane for each host, calls as bars in their order. Pure; the template draws what is computed here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onesim.records import Call, CaseBegin, FaultInjected, GuestWrite, Operation, StateChange

#: Pixels: the distance of lanes, where the first one lies, where bars begin, the gap between bars, the least width of one.
LANE, TOP, LEFT, GAP, MINIMUM = 42, 62, 92, 4, 15
#: Pixels that a letter takes at most: on a bar, in bold above, and of a state.
_ON_BAR, _BOLD, _STATE = 7.0, 7.4, 7.0


@dataclass(frozen=True)
class Bar:
    """A call: a bar in the lane of the host that it works for, with its duration below it. `fault` says what was done to it, empty if nothing was."""

    call: int
    x: float
    y: float
    width: float
    label: str
    duration: str
    title: str
    failed: bool
    hypervisor: bool
    fault: str


@dataclass(frozen=True)
class Mark:
    """Something above the lanes: an operation, or a state from where it was reached; or a guest's write as a tick in a lane."""

    x: float
    y: float
    label: str
    title: str


@dataclass(frozen=True)
class Timeline:
    """Everything that is drawn, in pixels."""

    width: float
    height: float
    lanes: tuple[Mark, ...]
    operations: tuple[Mark, ...]
    states: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    writes: tuple[Mark, ...]


def _width(duration_ns: int) -> float:
    """Return a bar's width: real time has gaps of thousands to one, so the width grows with the logarithm of the milliseconds."""
    return MINIMUM + 9 * math.log2(1 + duration_ns / 1e6 / 8)


def _duration(duration_ns: int) -> str:
    """Return a duration in few letters."""
    ms = duration_ns / 1e6
    return f"{ms / 1000:.1f} s" if ms >= 10_000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


class _States:
    """The states that an operation leads to, put above the calls in the moments in which they were reached. Of those of one moment the last is shown."""

    def __init__(self, states: Sequence[StateChange]) -> None:
        mine = [one for one in states if one.object == "vm"] or [one for one in states if one.object == "image"]
        self._coming = sorted(mine, key=lambda one: one.at_ns)
        self.marks: list[Mark] = []
        self._free = 0.0

    def reach(self, x: float, at_ns: float) -> float:
        """Put there what was reached until a moment. Return where what follows can be drawn."""
        reached = [one for one in self._coming if one.at_ns <= at_ns]
        if not reached:
            return x
        self._coming = self._coming[len(reached) :]
        x = max(x, self._free)
        last = reached[-1]
        passed = ", ".join(one.state for one in reached)
        self.marks.append(Mark(x, 32, last.state, f"{last.object} {last.label}: {passed}"))
        self._free = x + _STATE * len(last.state) + 8
        return x

    def end(self, x: float) -> float:
        """Put the last states behind all calls. Return where the operation ends."""
        self.reach(x, math.inf)
        return max(x, self._free)


def draw(
    begin: CaseBegin,
    operations: Sequence[Operation],
    calls: Sequence[Call],
    states: Sequence[StateChange],
    writes: Sequence[GuestWrite],
    faults: Sequence[FaultInjected],
) -> Timeline:
    """Lay out a case."""
    rows = {host: TOP + index * LANE for index, host in enumerate(begin.hosts)}
    struck = {fault.call: f"{fault.act} at {fault.command}" for fault in faults if fault.hit}
    x = float(LEFT)
    bars: list[Bar] = []
    marks: list[Mark] = []
    shown: list[Mark] = []
    ticks: list[Mark] = []
    for operation in operations:
        began = x
        mine = [call for call in calls if call.operation == operation.n]
        above = _States([one for one in states if one.operation == operation.n])
        for call in mine:
            x = above.reach(x, call.at_ns)
            bars.append(_bar(call, x, rows.get(call.facts.get("host", call.host), TOP), struck.get(call.n, "")))
            x += bars[-1].width + GAP
        for write in writes:
            if write.operation == operation.n:
                ticks.append(Mark(x + 5, rows.get(write.host, TOP), "w", f"the guest writes to disk.{write.disk} of VM {write.vm}"))
                x += 14
        if mine or operation.op == "guest.write":
            x = above.end(x)
            shown += above.marks
            label, title = _named(operation)
            marks.append(Mark(began, 14, label, title))
            x = max(x, began + _BOLD * len(label) + 6) + 10
    lanes = tuple(Mark(4, y, host, host) for host, y in rows.items())
    return Timeline(x + 10, TOP + LANE * (len(rows) - 1) + 26, lanes, tuple(marks), tuple(shown), tuple(bars), tuple(ticks))


def _bar(call: Call, x: float, y: float, fault: str) -> Bar:
    duration = _duration(call.duration_ns)
    width = max(_width(call.duration_ns), _ON_BAR * len(call.action) + 9, 5.6 * len(duration) + (16 if fault else 4))
    place = f" disk.{call.disk}" if call.disk >= 0 else ""
    host = call.facts.get("host", call.host)
    title = f"call {call.n}: {call.family}/{call.action}{place} for {host}, {call.duration_ns / 1e6:.1f} ms, "
    title += ("succeeded" if call.success else "failed") + (f"; injected fault: {fault}" if fault else "")
    return Bar(call.n, x, y, width, call.action, duration, title, not call.success, call.family == "vmm", fault)


def _named(operation: Operation) -> tuple[str, str]:
    """Return what stands above an operation, and all that is known of it."""
    names = [str(operation.arguments[key]) for key in ("vm", "image", "datastore", "host") if key in operation.arguments][:2]
    label = operation.op.partition(".")[2] if operation.op.startswith(("vm.", "image.")) else operation.op
    subject = next((str(operation.arguments[key]) for key in ("vm", "image") if key in operation.arguments), "")
    return f"{label} {subject}".strip() if len(subject) <= 16 else label, f"{operation.op} {' '.join(names)}".strip()
