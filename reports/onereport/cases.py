"""The cases of a run for the HTML report: what stands on the page, and what is packed beside it until somebody asks for it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from markupsafe import Markup

from onereport.timeline import Timeline, draw
from onesim.records import Call, CaseBegin, CaseEnd, FaultInjected, GuestWrite, Observation, Operation, Record, StateChange

#: Calls of cases that stand on the page itself, and as many of cases in which something is wrong: a browser lays these out in well under a second.
_DRAWN_CALLS = 3000
#: Calls whose documents and output are packed with the page; of larger runs only the cases in which something is wrong have theirs.
_PACKED_CALLS = 20_000
#: What may be packed with the page in all, in characters.
_PACKED_MAX = 24 << 20


@dataclass
class CaseView:
    """The records of a case."""

    begin: CaseBegin
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    writes: list[GuestWrite] = field(default_factory=list)
    faults: list[FaultInjected] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    end: CaseEnd | None = None

    def timeline(self) -> Timeline:
        """Lay out the case."""
        return draw(self.begin, self.operations, self.calls, self.states, self.writes, self.faults)

    def seen_after(self, call: Call) -> list[Observation]:
        """Return what was observed of images and disks when the operation of a call had ended: what is wrong first."""
        return sorted((one for one in self.observations if one.operation == call.operation), key=lambda one: not one.problem)


_LISTS: dict[type, str] = {
    Operation: "operations",
    Call: "calls",
    StateChange: "states",
    GuestWrite: "writes",
    FaultInjected: "faults",
    Observation: "observations",
}


def views(history: Iterable[Record]) -> Iterator[CaseView]:
    """Yield the cases of a history as they end; at last those that never did."""
    begun: dict[str, CaseView] = {}
    for line in history:
        if isinstance(line, CaseBegin):
            begun[line.case] = CaseView(line)
        elif isinstance(line, CaseEnd):
            begun[line.case].end = line
            yield begun.pop(line.case)
        elif (name := _LISTS.get(type(line))) is not None:
            getattr(begun[line.case], name).append(line)  # type: ignore[union-attr]
    yield from begun.values()


@dataclass(frozen=True)
class CasePart:
    """A case on the page. `body` is its timeline and calls, empty where they are packed; `packed` what JavaScript unpacks: deflate, in base64."""

    name: str
    title: str
    calls: int
    actions: tuple[str, ...]
    outcome: str
    body: Markup
    packed: str
    wrong: bool


@dataclass
class Pages:
    """Decides what of each case stands on the page, and renders it. `wrong` are the cases in which something is wrong; `render` renders a part by its name."""

    wrong: Collection[str]
    render: Callable[[str, CaseView], str]
    _drawn: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    _calls: int = 0
    _packed: int = 0

    def part(self, view: CaseView) -> CasePart:
        """Render a case."""
        name, wrong = view.begin.case, view.begin.case in self.wrong
        self._calls += len(view.calls)
        drawn = self._drawn[wrong] + len(view.calls) <= _DRAWN_CALLS
        body = self.render("case", view) if drawn else ""
        if drawn:
            self._drawn[wrong] += len(view.calls)
        packed = ""
        if (wrong or self._calls <= _PACKED_CALLS) and self._packed < _PACKED_MAX:
            packed = pack(self.render("details", view) if drawn else self.render("case", view) + self.render("details", view))
            self._packed += len(packed)
        outcome = "" if view.end and view.end.outcome == "completed" else f"{view.end.outcome}: {view.end.reason}" if view.end else "cut off"
        actions = tuple(sorted({f"{call.family}/{call.plain}" for call in view.calls if call.family != "vmm"}))
        return CasePart(name, view.begin.title, len(view.calls), actions, outcome, Markup(body), packed, wrong)


def pack(text: str) -> str:
    """Return a text as raw deflate in base64: what a browser's DecompressionStream unpacks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(packer.compress(text.encode(errors="replace")) + packer.flush()).decode()
