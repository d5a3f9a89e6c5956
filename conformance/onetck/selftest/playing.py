"""Plays one case with a driver in a world of its own, and says which verdicts are bad."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onereport.results import FAILURES
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import Subjected, shared_of
from onesim.records import Call, CaseBegin, Record
from onesim.spec import ContractSpec
from onesim.world.interface import World
from onetck.driver import Driver
from onetck.execution import start_world
from onetck.judge import History, cases_of, judge_case
from onetck.plan import PlannedCase


@dataclass(frozen=True)
class Played:
    """What came of a case: bad verdicts by the ids of requirements, of all profiles and of none,
    broken SHOULDs, the harness's own error, seconds of the case and of its longest call.
    """

    bad: Mapping[str, str]
    warned: tuple[str, ...] = ()
    error: str = ""
    duration_s: float = 0.0
    longest_s: float = 0.0


class _Enough(Exception):
    """A call hangs: the rest of the case would only take time."""


def with_file(subject: Subjected, driver: Driver, spec: ContractSpec, file: str, path: Path) -> Subjected:
    """Return the driver under test with another file in place of one."""
    changed = replace(driver, files={**driver.files, file: path})
    return replace(subject, archive=changed.archive(spec.version), helpers=changed.helpers())


def play(
    spec: ContractSpec,
    subject: Subjected,
    case: PlannedCase,
    required: frozenset[str],
    *,
    login: Mapping[str, str] | None = None,
    furnished: Callable[[World], None] = lambda world: None,
    ended: Callable[[World], None] = lambda world: None,
    to_the_end: bool = False,
) -> Played:
    """Play a case. `furnished` and `ended` are told of the world before and after it; a call that hangs ends it unless it is to go `to_the_end`."""
    longest = 0.0

    def seen(call: Call) -> None:
        nonlocal longest
        longest = max(longest, call.duration_ns / 1e9)
        if call.ended_by == "timeout" and not to_the_end:
            raise _Enough

    holder: list[CaseRun] = []
    world = start_world(subject, shared_of(subject, case.trace.header.shared), case.trace.header.gates, holder, login=login)
    try:
        with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
            out = Path(scratch)
            writer = Writer(out / "history.jsonl")
            run = CaseRun(spec, subject, case.trace, world, writer, BlobStore(out / "blobs"), case.expects, seen)
            holder.append(run)
            furnished(world)
            error, duration = "", 0.0
            try:
                summary = run.run()
                error, duration = summary.reason if summary.outcome == "error" else "", summary.duration_s
            except _Enough:
                duration = run.scripts.at() / 1e9
            ended(world)
            writer.close()
            return replace(_judged(out / "history.jsonl", spec, required), error=error, duration_s=duration, longest_s=longest)
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
