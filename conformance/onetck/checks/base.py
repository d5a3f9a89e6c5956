"""What checks see, and what they yield."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from onesim.records import (
    Call,
    CaseBegin,
    CaseEnd,
    Datagram,
    FaultInjected,
    GuestWrite,
    Imported,
    MadEnd,
    MadFault,
    Observation,
    Operation,
    Question,
    StateChange,
    Together,
)
from onesim.rows import Requirement
from onesim.spec import ContractSpec


@dataclass(frozen=True)
class Finding:
    """What a check found at one place: a verdict (pass, fail, warn, timeout, crash), a sentence, and the call or observation behind it."""

    verdict: str
    sentence: str
    call: int = -1
    observation: str = ""


@dataclass
class Case:
    """The history of one case. Lists are in the order of the records."""

    name: str
    spec: ContractSpec
    begin: CaseBegin
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    imports: list[Imported] = field(default_factory=list)
    writes: list[GuestWrite] = field(default_factory=list)
    faults: list[FaultInjected] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    datagrams: list[Datagram] = field(default_factory=list)
    stretches: list[Together] = field(default_factory=list)
    mad_faults: list[MadFault] = field(default_factory=list)
    mads: list[MadEnd] = field(default_factory=list)
    end: CaseEnd | None = None

    @cached_property
    def scripts(self) -> list[Call]:
        """The calls of the driver under test that really ran."""
        return [call for call in self.calls if call.family != "vmm" and call.ended_by not in ("lost", "world_lost", "mad")]

    @cached_property
    def calls_of(self) -> dict[int, list[Call]]:
        """All calls by operation; none for one that called nothing."""
        found: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            found[call.operation].append(call)
        return found

    @cached_property
    def failed_in(self) -> frozenset[int]:
        """The operations of which a script failed."""
        return frozenset(call.operation for call in self.scripts if not call.success)

    @cached_property
    def _by_action(self) -> dict[str, list[Call]]:
        """The calls that really ran, by each of the ways in which a requirement may name their action."""
        found: dict[str, list[Call]] = {"*": self.scripts}
        for call in self.scripts:
            found.setdefault(f"{call.family}/*", []).append(call)
            found.setdefault(f"{call.family}/{call.plain}", []).append(call)
        return found

    def of(self, requirement: Requirement) -> Iterator[Call]:
        """Yield the calls that a requirement is about, narrowed by its `when`.

        `part` of it chooses what a check looks at; `command` and `act` which faults count.
        """
        wanted = [(name, values) for name, values in requirement.when.items() if name not in _LOOKED_AT]
        for call in self._by_action.get(requirement.action, ()):
            if all(_field(call, name) in values for name, values in wanted):
                yield call

    def watched(self, requirement: Requirement) -> Iterator[Call]:
        """Yield those of them that ran alone: only of these it is known what they have changed."""
        return (call for call in self.of(requirement) if call.observed)

    @property
    def missed(self) -> bool:
        """Whether the case was to make a fault, and none has struck."""
        return any(row.kind for row in self.faults) and not any(row.hit for row in self.faults)

    @cached_property
    def operation_names(self) -> dict[int, str]:
        """The name of each operation by its number."""
        return {row.n: row.op for row in self.operations}

    def excuses(self, call: Call, what: str) -> bool:
        """Whether a call was struck by a fault of a kind after which `what` need not hold: a word of the column `holds` of spec/faults.toml."""
        kinds = (self.spec.spec.faults.get(row.kind) for row in self.faults if row.call == call.n and row.hit)
        return any(kind is not None and what not in kind.holds for kind in kinds)

    def struck(self, requirement: Requirement) -> dict[int, FaultInjected]:
        """The faults that have struck calls, by call: those at a `command` and by an `act` that the requirement is about, where it names some."""
        commands, acts = requirement.when.get("command", ()), requirement.when.get("act", ())
        return {row.call: row for row in self.faults if row.hit and (not commands or row.command in commands) and (not acts or row.act in acts)}

    def expected(self, operation: int) -> str:
        """What the trace expects of an operation: success, failure or any."""
        return next((str(row.arguments.get("expect", "success")) for row in self.operations if row.n == operation), "success")


#: What the operation is labelled that does again what a fault has spoiled.
RETRY = "retry"

_LOOKED_AT = ("part", "command", "act")

Check = Callable[[Case, Requirement], Iterable[Finding]]


def about(action: str, call: Call) -> bool:
    """Tell whether a requirement's action covers a call: `*`, `ds/*` or one action; a mode's suffix does not matter."""
    name = call.plain
    return action in ("*", f"{call.family}/*", f"{call.family}/{name}")


def _field(call: Call, name: str) -> str:
    return call.plain if name == "action" else call.facts.get(name, "")


def words(call: Call) -> str:
    """Return a call for a sentence: its family and action."""
    return f"{call.family}/{call.action}"


def quoted(text: str, limit: int = 120) -> str:
    """Return a driver's text for a sentence: one line, cut, in quotes."""
    line = " ".join(text.split())
    return f"“{line[:limit]}{'…' if len(line) > limit else ''}”"
