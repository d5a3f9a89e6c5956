"""The traces that ship: every row of the lifecycle tables is asked in one of them, and every complaint that a run catches has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from build import all_miniatures
from commanded import run

from onereport.results import FAILURES, Result, ResultRecord
from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.events import CallAsked, CallFinished
from onesim.journal import read
from onesim.layout import make_cloud, shared_of
from onesim.oned import Oned
from onesim.records import CaseEnd, Record
from onesim.rehearsal import rehearse
from onesim.rows import OperationRow
from onesim.spec import ContractSpec, for_contract, load
from onesim.trace import Trace, shipped
from onetck.nullplay import NULL, NullPlay
from onetck.plan import null_output

SPEC = load()
TRACES = shipped(SPEC)
#: Those that CI plays on hosts.
A_FEW = ("operations-vm-ends", "operations-vm-leave-fails")


class Watched(Oned):
    """An oned that notes which rows of the tables operations have used."""

    used: set[OperationRow]

    def _holding(self, rows: list[OperationRow], subject: object, state: str) -> OperationRow | None:
        row = super()._holding(rows, subject, state)  # type: ignore[arg-type]
        self.used |= {row} if row is not None else set()
        return row


def rows_used(spec: ContractSpec, trace: Trace) -> set[OperationRow]:
    """Return the rows of the lifecycle tables that a trace uses; a fault that was planned for the first call of an action makes that one fail."""
    oned = Watched(spec, make_cloud(NULL, shared_of(NULL, trace.header.shared)))
    oned.used = set()
    failing = [(n, step.arguments["action"]) for n, step in enumerate(trace.steps) if step.op == "fault.next"]

    def answer(asked: CallAsked) -> CallFinished:
        planned = next((one for one in failing if one[0] < asked.operation and one[1] == asked.action.key), None)
        if planned is not None:
            failing.remove(planned)
        return CallFinished(asked.call, planned is None, null_output(spec, asked), "refused")

    for _ in rehearse(oned, trace, answer):
        pass
    for step in trace.steps:
        kind, _, name = step.op.partition(".")
        births = [row for row in spec.operations(kind, name) if not row.from_ or kind == "user"] if kind in SPEC.lifecycles else []
        oned.used.update(births[:1])
    return oned.used


def reachable(kind: str, row: OperationRow) -> bool:
    """Whether a trace can ask an operation: from a state of rest, or one in which scripts of storage drivers run.

    The hypervisor of a trace acts in no time, so nothing can be asked while it alone does; and no VM of a trace waits for an image to be copied (CLONING).
    """
    if row.by == "oned":
        return False
    phases = SPEC.lifecycles[kind].phase
    scripted = {
        phase.state or phase.name
        for phase in phases
        for script in phase.scripts
        if any(one.action.partition("/")[0] in ("ds", "tm") for one in SPEC.scripts if one.script == script)
    }
    return not row.from_ or any(SPEC.rests(kind, state) or state in scripted for state in row.from_)


def test_every_row_of_the_lifecycle_tables_is_asked_in_a_trace() -> None:
    """Under one of the contracts for which both the row and the trace hold; a few rows can be asked by no trace."""
    rows = {(kind, row) for kind, lifecycle in SPEC.lifecycles.items() for row in lifecycle.operation}
    left = {(kind, row) for kind, row in rows if reachable(kind, row)}
    assert len(rows) - len(left) == 7, "rows that no trace can ask"
    for contract in reversed(SPEC.contracts):
        spec = for_contract(contract.name)
        for trace in TRACES:
            if left and in_range(spec.version, trace.header.since, trace.header.until):
                used = rows_used(spec, trace)
                left = {one for one in left if one[1] not in used}
    assert not sorted(f"{kind}.{row.name} from {','.join(row.from_)} until {row.until}" for kind, row in left)


def test_every_complaint_that_a_run_catches_has_a_trace() -> None:
    """The one that its miniature plays, and in which the action of its requirement is called."""
    played = {row.name: row for row in all_miniatures()}
    traces = {one.name: one for one in TRACES}
    for complaint in (row for row in SPEC.complaints if row.miniature):
        miniature = played[complaint.miniature]
        assert complaint.trace in miniature.cases and complaint.trace in traces, complaint.number
        spec = for_contract(miniature.contract)
        about = spec.requirements[miniature.breaks].action
        called = {one.action for step in NullPlay(spec, traces[complaint.trace]).trace.steps for one in step.seen}
        assert called and (about in called or "/" not in about or about.endswith("/*") or miniature.role), (complaint.number, about)


@pytest.mark.components
@pytest.mark.parametrize(
    "name",
    [pytest.param(one.name, marks=() if one.name in A_FEW else pytest.mark.exhaustive) for one in TRACES if one.name.startswith("operations-")],
)
def test_the_reference_driver_breaks_nothing_in_the_traces_of_operations(name: str, tmp_path: Path) -> None:
    """Played to the end. What no driver was asked to take away, as an operator took it as done or oned asks nobody, is no finding."""
    trace = next(one for one in TRACES if one.name == name)
    contract = for_contract("6.4" if trace.header.until else "").contract.name
    words = ("--backup", "restic") if trace.header.profile == "tm-backup" else ()
    out = tmp_path / "run"
    run("run", str(data_dir("reference_driver") / "remotes"), *words, "--contract", contract, "--trace", trace.path, "--out", str(out), "--no-lines")
    results = [one for one in read(out / "results.jsonl", ResultRecord) if isinstance(one, Result)]
    assert results and not [(one.requirement, one.evidence) for one in results if one.verdict in FAILURES]
    assert [one.outcome for one in read(out / "history.jsonl", Record) if isinstance(one, CaseEnd)] == ["completed"]
