"""Several runs of the same cases as one judgement: what passed and failed is flaky."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from onereport.results import FAILURES, Evidence, RequirementVerdict, Result, ResultsFooter, ScriptLines, decide, worst
from onesim.rows import Profile
from onesim.spec import ContractSpec
from onetck import conclude
from onetck.judge import Judgement
from onetck.waivers import Waiver


def runs_of(out: Path) -> tuple[str, ...]:
    """Return the names of the directories of a run that was repeated, in order; none if it was not."""
    found = (path.parent.name for path in out.glob("run-*/history.jsonl"))
    return tuple(sorted((name for name in found if name[4:].isdigit()), key=lambda name: int(name[4:])))


def judge_runs(spec: ContractSpec, out: Path, profile: Profile, repeat: str, waivers: Sequence[Waiver] = ()) -> Judgement:
    """Judge the history in `out`, or those of a run that was repeated as one; nothing is written."""
    judgements = [conclude.judged(spec, out / run, profile, repeat, waivers) for run in runs_of(out) or ("",)]
    return combined(judgements) if runs_of(out) else judgements[0]


def combined(judgements: Sequence[Judgement]) -> Judgement:
    """Return one judgement: each case of each requirement with its worst verdict over all runs, and `flaky` where only some of them failed."""
    first = judgements[0]
    results = [_result([_index(one).get(key) for one in judgements]) for key in dict.fromkeys(key for one in judgements for key in _index(one))]
    verdicts = [_verdict([one.requirements[n] for one in judgements], results) for n in range(len(first.requirements))]
    header = msgspec.structs.replace(first.header, history="run-1/history.jsonl")
    made = Judgement(header, results, verdicts, _scripts(judgements), profiles=first.profiles, conf=first.conf)
    footers = [one.footer for one in judgements if one.footer is not None]
    if len(footers) == len(judgements):
        decision = decide(verdicts, first.header.waivers)
        made.footer = ResultsFooter(
            decision.verdict,
            decision.sentence,
            decision.exit_code,
            decision.counts,
            decision.required,
            decision.executed,
            sum(one.cases for one in footers),
            sum(one.calls for one in footers),
            round(sum(one.wall_s for one in footers), 3),
            footers[0].level if decision.exit_code == 0 else "",
        )
    return made


def _scripts(judgements: Sequence[Judgement]) -> list[ScriptLines]:
    """Return the scripts of all runs, each with the lines that none of them has run."""
    found: dict[str, ScriptLines] = {}
    for one in (one for judgement in judgements for one in judgement.scripts):
        known = found.setdefault(one.file, one)
        found[one.file] = msgspec.structs.replace(known, unrun=tuple(line for line in known.unrun if line in one.unrun))
    return list(found.values())


def _index(judgement: Judgement) -> dict[tuple[str, str], Result]:
    return {(row.requirement, row.case): row for row in judgement.results}


def _result(rows: Sequence[Result | None]) -> Result:
    there = [row for row in rows if row is not None]
    told = {row.verdict for row in there}
    bad = next((row for row in there if row.verdict in FAILURES), None)
    if bad is None or (len(told) == 1 and len(there) == len(rows)):
        return next(row for row in there if row.verdict == worst(told))
    runs = ", ".join(f"run {n}: {row.verdict if row else 'not reached'}" for n, row in enumerate(rows, 1))
    return msgspec.structs.replace(bad, verdict="flaky", evidence=(Evidence(runs), *bad.evidence))


def _verdict(rows: Sequence[RequirementVerdict], results: Sequence[Result]) -> RequirementVerdict:
    """Return the verdict on one requirement over all runs; where no case of any run reached it, that of the first."""
    mine = [row for row in results if row.requirement == rows[0].requirement]
    if not mine:
        return rows[0]
    verdict = worst(row.verdict for row in mine)
    said = next(row for row in mine if row.verdict == verdict)
    reason = said.evidence[0].sentence if said.evidence and verdict != "pass" else ""
    waived = next((row.waived for row in rows if row.waived), "") if verdict in FAILURES else ""
    return msgspec.structs.replace(rows[0], verdict=verdict, reason=reason, cases=tuple(row.case for row in mine), waived=waived)
