"""The fault cases of a run: made of the cases that passed, written as traces that can be played alone, and told of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from onereport.results import FAILURES
from onesim.journal import read
from onesim.records import Call, Record
from onesim.rows import Profile
from onesim.spec import ContractSpec
from onesim.trace import Trace, read_trace
from onesim.tracetext import renamed, render
from onetck import backends, faulting
from onetck.checks.base import Case
from onetck.conclude import FAULTS
from onetck.faulting import Place
from onetck.judge import History, cases_of, judge_case
from onetck.plan import PlannedCase, foresee
from onetck.setting import Setting

#: The profile that a run with faults certifies besides those that are claimed.
PROFILE = "faults"


def widened(spec: ContractSpec, cases: Sequence[PlannedCase]) -> list[PlannedCase]:
    """Return cases that show every command at which a fault may strike."""
    return [PlannedCase(faulting.widened(spec.spec, case.trace), case.expects) for case in cases]


def follow(
    setting: Setting,
    cases: Sequence[PlannedCase],
    profile: Profile,
    out: Path,
    level: str,
    seed: int,
    told: Callable[[int, str], None] = lambda cases, words: None,
    only: Collection[str] = (),
) -> list[PlannedCase]:
    """Return the fault cases that follow from the cases of a run that have passed, each written to a file below `out`; of those, `only` the named ones.

    `told` is told how many there are, and in words what they are.
    """
    whole = _passed(setting, profile, out)
    traces = {case.trace.name: case.trace for case in cases if case.trace.name in whole}
    cannot = backends.cannot(setting.subject)
    found = [place for name, trace in traces.items() for place in faulting.places(setting.spec.spec, level, trace, whole[name], cannot)]
    found = [place for place in found if not only or place.name in only]
    alike = faulting.alike(found)
    derived: list[tuple[Place, Trace]] = []
    groups = faulting.order(level, seed, alike)
    for group in groups:
        derived += islice(_derived(setting, traces, group, brief=level == "basic"), 1)
    words = _words(level, seed, len(traces), len(cases), len(alike), len(groups), len(derived))
    told(len(derived), "; ".join([words, *(f"not made: {why}" for why in cannot.values())]))
    return _written(setting, out / FAULTS, derived)


def _derived(setting: Setting, traces: Mapping[str, Trace], group: Sequence[Place], *, brief: bool) -> Iterator[tuple[Place, Trace]]:
    """Yield the places for which there is a trace, with it."""
    for place in group:
        made = faulting.derive(setting.spec, setting.subject, traces[place.case], place, brief=brief)
        if made is not None:
            yield place, made


def _passed(setting: Setting, profile: Profile, out: Path) -> dict[str, list[Call]]:
    """Return the calls of the cases in which nothing failed."""
    rows = [setting.spec.requirements[id] for id in profile.requirements if id in setting.spec.requirements]

    def whole(case: Case) -> bool:
        complete = case.end is not None and case.end.outcome == "completed"
        return complete and not any(result.verdict in FAILURES for result in judge_case(case, rows, (), ""))

    return {case.name: case.calls for case in cases_of(read(out / "history.jsonl", Record), setting.spec, History()) if whole(case)}


def _words(level: str, seed: int, whole: int, cases: int, places: int, groups: int, derived: int) -> str:
    text = f"faults {level}, seed {seed}: {derived} cases, from {places} places in {whole} of {cases} cases (those that passed)"
    lacking = groups - derived
    return f"{text}; for {lacking} there is no way back that a user could ask" if lacking else text


def _written(setting: Setting, folder: Path, derived: Sequence[tuple[Place, Trace]]) -> list[PlannedCase]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    planned = []
    for name, (_, trace) in zip(faulting.names([place for place, _ in derived]), derived, strict=True):
        path = folder / f"{name}.jsonl"
        path.write_text(render(renamed(trace, name), setting.spec.spec), encoding="utf-8")
        made = read_trace(path, setting.spec.spec)
        planned.append(PlannedCase(made, foresee(setting.spec, setting.subject, made)))
    return planned
