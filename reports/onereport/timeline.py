"""The lifecycle of a case as a picture: one lane for each host, calls as bars in their order. Pure; the template draws what is computed here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onesim.records import Call, CaseBegin, FaultInjected, GuestWrite, Operation, StateChange

LANE, TOP, LEFT, GAP, MINIMUM = 34, 58, 92, 4, 15


@dataclass(frozen=True)
class Bar:
    """A call: a bar in the lane of the host that it works for."""

    call: int
    x: float
    y: float
    width: float
    label: str
    title: str
    failed: bool
    hypervisor: bool
    fault: bool


@dataclass(frozen=True)
class Mark:
    """Something above the lanes: an operation with its states, or a guest's write as a tick in a lane."""

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
    faulty = {fault.call for fault in faults}
    x = float(LEFT)
    bars: list[Bar] = []
    marks: list[Mark] = []
    shown: list[Mark] = []
    ticks: list[Mark] = []
    for operation in operations:
        began = x
        names = [str(operation.arguments[key]) for key in ("vm", "image", "datastore", "host") if key in operation.arguments][:2]
        label = operation.op.partition(".")[2] if operation.op.startswith(("vm.", "image.")) else operation.op
        mine = [call for call in calls if call.operation == operation.n]
        for call in mine:
            host = call.facts.get("host", call.host)
            width = max(_width(call.duration_ns), 6.4 * len(call.action) + 9)
            place = f" disk.{call.disk}" if call.disk >= 0 else ""
            title = f"call {call.n}: {call.family}/{call.action}{place} for {host}, {call.duration_ns / 1e6:.1f} ms, " + (
                "succeeded" if call.success else "failed"
            )
            y = rows.get(host, TOP)
            bars.append(Bar(call.n, x, y, width, call.action, title, not call.success, call.family == "vmm", call.n in faulty))
            x += width + GAP
        for write in writes:
            if write.operation == operation.n:
                ticks.append(Mark(x + 5, rows.get(write.host, TOP), "w", f"the guest writes to disk.{write.disk} of VM {write.vm}"))
                x += 14
        if mine or operation.op == "guest.write":
            least = 6.2 * len(label) + 10
            x = max(x, began + least)
            marks.append(Mark(began, 14, label, f"{operation.op} {' '.join(names)}"))
            last = [one for one in states if one.operation == operation.n and one.object in ("vm", "image")]
            if last:
                shown.append(Mark(began, 32, last[-1].state, f"{last[-1].object} {last[-1].label} is {last[-1].state}"))
                x = max(x, began + 6.2 * len(last[-1].state) + 10)
            x += 10
    lanes = tuple(Mark(4, y, host, host) for host, y in rows.items())
    return Timeline(x + 10, TOP + LANE * len(rows) + 4, lanes, tuple(marks), tuple(shown), tuple(bars), tuple(ticks))
