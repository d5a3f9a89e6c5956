"""Plays one case with a driver in a world of its own, and says which verdicts are bad."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from onereport.results import FAILURES
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import Subjected
from onesim.records import Call, CaseBegin, Record
from onesim.spec import ContractSpec
from onetck.driver import Driver
from onetck.execution import start_world
from onetck.judge import History, cases_of, judge_case
from onetck.plan import PlannedCase


@dataclass(frozen=True)
class Played:
    """What came of a case: bad verdicts by the ids of requirements, of all profiles and of none,
    broken SHOULDs, the harness's own error, seconds of the case and of its longest call, and the lines that it has run where they are told.
    """

    bad: Mapping[str, str]
    warned: tuple[str, ...] = ()
    error: str = ""
    duration_s: float = 0.0
    longest_s: float = 0.0
    lines: Mapping[str, list[int]] = field(default_factory=dict)


class _Enough(Exception):
    """A call hangs: the rest of the case would only take time."""


def with_file(subject: Subjected, driver: Driver, spec: ContractSpec, file: str, path: Path) -> Subjected:
    """Return the driver under test with another file in place of one."""
    changed = replace(driver, files={**driver.files, file: path})
    return replace(subject, archive=changed.archive(spec.version), helpers=changed.helpers(), sources=None)


def play(
    spec: ContractSpec,
    subject: Subjected,
    case: PlannedCase,
    required: frozenset[str],
    *,
    to_the_end: bool = False,
    seen: Callable[[Call], None] = lambda call: None,
) -> Played:
    """Play a case; a call that hangs ends it unless it is to go `to_the_end`. `seen` is told of each call."""
    longest = 0.0

    def ended(call: Call) -> None:
        nonlocal longest
        seen(call)
        longest = max(longest, call.duration_ns / 1e9)
        if call.ended_by == "timeout" and not to_the_end:
            raise _Enough

    holder: list[CaseRun] = []
    world = start_world(subject, case.trace.header.shared, case.trace.header.gates, holder)
    try:
        with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
            out = Path(scratch)
            writer = Writer(out / "history.jsonl")
            run = CaseRun(spec, subject, case.trace, world, writer, BlobStore(out / "blobs"), case.expects, ended)
            holder.append(run)
            error, duration = "", 0.0
            try:
                summary = run.run()
                error, duration = summary.reason if summary.outcome == "error" else "", summary.duration_s
            except _Enough:
                duration = run.scripts.at() / 1e9
            writer.close()
            lines = {file: sorted(rows) for file, rows in sorted(run.scripts.lines.items())}
            return replace(_judged(out / "history.jsonl", spec, required), error=error, duration_s=duration, longest_s=longest, lines=lines)
    finally:
        world.close()


def _judged(history: Path, spec: ContractSpec, required: frozenset[str]) -> Played:
    rows = list(spec.requirements.values())
    records = (record for record in read(history, Record) if isinstance(record, CaseBegin) or hasattr(record, "case"))
    bad: dict[str, str] = {}
    warned: list[str] = []
    for case in cases_of(records, spec, History()):
        for result in judge_case(case, rows, required, ""):
            if result.verdict in FAILURES:
                bad[result.requirement] = result.verdict
            elif result.verdict == "warn":
                warned.append(result.requirement)
    return Played(bad, tuple(warned))
