"""The judge: from a history to results, case by case. It runs nothing and reads nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from onereport.results import (
    FAILURES,
    VERDICTS,
    ConfLine,
    Evidence,
    ProfileRow,
    RequirementVerdict,
    Result,
    ResultRecord,
    ResultsFooter,
    ResultsHeader,
    ScriptLines,
    decide,
    worst,
)
from onesim import __version__
from onesim.records import (
    SCHEMA,
    Call,
    CaseBegin,
    CaseEnd,
    Datagram,
    FaultInjected,
    Footer,
    GuestWrite,
    Header,
    Imported,
    Lines,
    MadEnd,
    MadFault,
    Observation,
    Operation,
    Question,
    Record,
    Script,
    StateChange,
    Together,
)
from onesim.rows import Profile, Requirement
from onesim.spec import ContractSpec
from onetck import claims, levels
from onetck import waivers as waiving
from onetck.checks import CHECKS
from onetck.checks.base import Case, Finding
from onetck.checks.content import counting
from onetck.evidence import evident
from onetck.waivers import Waiver

_EVIDENCE_LIMIT = 3
#: The check of what driver programs do.
_ON_PROGRAMS = "keeps_protocol"
#: The verdict on what a case did not come to, by how it ended; any other end was the driver's doing.
_UNFINISHED = {"error": "error", "lacking": "not_tested"}
_ROW_LISTS = {
    Operation: "operations",
    Call: "calls",
    StateChange: "states",
    Observation: "observations",
    Imported: "imports",
    GuestWrite: "writes",
    FaultInjected: "faults",
    Question: "questions",
    Datagram: "datagrams",
    Together: "stretches",
    MadFault: "mad_faults",
    MadEnd: "mads",
}


@dataclass
class History:
    """What the judge keeps of a history besides the open cases. `begins` are those of cases whose disks nobody sees in the same way, one of each."""

    header: Header | None = None
    footer: Footer | None = None
    cases: int = 0
    calls: int = 0
    shared: set[str] = field(default_factory=set)
    struck: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    begins: dict[tuple[object, ...], CaseBegin] = field(default_factory=dict)
    scripts: dict[str, Script] = field(default_factory=dict)
    ran: dict[str, set[int]] = field(default_factory=dict)


def cases_of(records: Iterable[Record], spec: ContractSpec, history: History) -> Iterator[Case]:
    """Yield the cases of a history as they end; those that never ended last. Fills `history`."""
    open_cases: dict[str, Case] = {}
    for record in records:
        match record:
            case Header():
                history.header = record
            case Footer():
                history.footer = record
            case Script():
                history.scripts[record.file] = record
            case Lines():
                for file, lines in record.ran.items():
                    history.ran.setdefault(file, set()).update(lines)
            case CaseBegin():
                open_cases[record.case] = Case(record.case, spec, record)
                history.shared.add("YES" if record.shared else "NO")
                history.begins.setdefault((record.pool, record.driver, record.volumes, record.probed), record)
            case CaseEnd():
                case = open_cases.pop(record.case)
                case.end = record
                case.observations = counting(case.observations)
                history.cases += 1
                if any(row.kind for row in case.faults):
                    (history.missed if case.missed else history.struck).append(case.name)
                yield case
            case _:
                name = _ROW_LISTS.get(type(record))
                if name:
                    getattr(open_cases[record.case], name).append(record)
                history.calls += isinstance(record, Call)
    yield from open_cases.values()


def judge_case(case: Case, requirements: Sequence[Requirement], required: Collection[str], repeat: str) -> list[Result]:
    """Return the results of one case: one for every requirement that the case reached, or would have reached had it not been stopped.

    Only what is `required` can be blocked: of the others nobody knows whether the case would have reached their special condition. A case that was to make a
    fault, which did not strike, passes nothing. Where the recording of a storage array had no answer, what went wrong or was not reached is not tested: the
    driver was given something that no array says.
    """
    requirements = [row for row in requirements if row.id not in case.spec.spec.quarantine]
    results: list[Result] = []
    found: dict[str, list[Finding]] = {}
    for requirement in requirements:
        if not requirement.check or _unseen(requirement, case.begin):
            continue
        try:
            found[requirement.id] = list(CHECKS[requirement.check](case, requirement))
        except Exception as error:  # noqa: BLE001 - a check that raises is our fault, never the driver's
            results.append(_result(requirement, case, "error", [Finding("error", f"check {requirement.check} raised {error!r}")], repeat))
    failed = [row.id for row in requirements if row.level == "MUST" and any(one.verdict not in ("pass", "warn") for one in found.get(row.id, []))]
    complete = case.end is not None and case.end.outcome == "completed"
    unanswered = case.end.unanswered if case.end is not None else ()
    for requirement in requirements:
        findings = found.get(requirement.id, [])
        bad = [one for one in findings if one.verdict != "pass"]
        if unanswered and (bad or (not complete and requirement.id in required and expected(requirement, case.begin.expects))):
            results.append(Result(requirement.id, case.name, "not_tested", requirement.check, (Evidence(unanswered[0]),), "", repeat))
        elif bad:
            verdict = "warn" if requirement.level != "MUST" else worst(one.verdict for one in bad)
            results.append(_result(requirement, case, verdict, bad, repeat))
        elif not complete and requirement.id in required and not _unseen(requirement, case.begin) and expected(requirement, case.begin.expects):
            # what did run was right, but the case did not get to its end: that is not a pass
            why = case.end.reason if case.end else "the run was interrupted"
            verdict = _UNFINISHED.get(case.end.outcome if case.end else "", "blocked")
            blocked = Result(requirement.id, case.name, verdict, requirement.check, (Evidence(why),), ", ".join(failed[:3]), repeat)
            results.append(blocked if not findings or verdict != "blocked" else _result(requirement, case, "pass", findings[:1], repeat))
        elif findings and not case.missed:
            results.append(_result(requirement, case, "pass", findings[:1], repeat))
    return results


def _result(requirement: Requirement, case: Case, verdict: str, findings: list[Finding], repeat: str) -> Result:
    evidence = tuple(evident(one, case) for one in findings[:_EVIDENCE_LIMIT])
    return Result(requirement.id, case.name, verdict, requirement.check, evidence, "", repeat)


def expected(requirement: Requirement, expects: Collection[str]) -> bool:
    """Whether a correct driver is called for this requirement in a case in which it is called for these actions."""
    if requirement.action == "*":
        return False
    family, _, name = requirement.action.partition("/")
    return any(one == requirement.action or (name == "*" and one.startswith(f"{family}/")) for one in expects)


@dataclass
class Judgement:
    """All results of a history, in the order of the file: header, results, requirements, profiles, rows for oned.conf, scripts, footer."""

    header: ResultsHeader
    results: list[Result] = field(default_factory=list)
    requirements: list[RequirementVerdict] = field(default_factory=list)
    scripts: list[ScriptLines] = field(default_factory=list)
    footer: ResultsFooter | None = None
    profiles: list[ProfileRow] = field(default_factory=list)
    conf: list[ConfLine] = field(default_factory=list)

    def records(self, taken: Iterable[Result] = ()) -> Iterator[ResultRecord]:
        """Yield the records in the order of the file. `taken` are the results that were handed on and are not kept here."""
        yield self.header
        yield from self.results
        yield from taken
        yield from self.requirements
        yield from self.profiles
        yield from self.conf
        yield from self.scripts
        if self.footer is not None:
            yield self.footer


def judge(
    records: Iterable[Record],
    spec: ContractSpec,
    profile: Profile,
    history_name: str,
    chain: str,
    repeat: str,
    waivers: Sequence[Waiver] = (),
    alone: Mapping[str, str] = MappingProxyType({}),
    take: Callable[[Result], None] | None = None,
    known: Mapping[str, Sequence[Result]] = MappingProxyType({}),
) -> Judgement:
    """Judge a history against a profile; `waivers` hold or do not on the day of the run.

    `repeat` is the command that repeats a case, with `{case}` for its name; `alone` are those of cases that have one of their own. A history without footer,
    or one that says it was interrupted, is partial. With `take` each result is handed to it, and none is kept: then no more memory is needed than for a case
    and for the names of cases, however long the history is. `known` are the results of cases that were judged when they ended.
    """
    history = History()
    requirements = list(spec.requirements.values())
    results: list[Result] = []
    tallies = {row.id: _Tally() for row in requirements}
    for case in cases_of(records, spec, history):
        command = (alone.get(case.name) or repeat).format(case=case.name)
        mine = known.get(case.name)
        for one in judge_case(case, requirements, frozenset(profile.requirements), command) if mine is None else mine:
            tallies[one.requirement].count(one)
            (take or results.append)(one)
    header = history.header
    assert header is not None, "a history begins with its header"
    demanding = _demanding(spec, profile)
    verdicts = [_verdict(row, tallies[row.id], demanding.get(row.id), _elsewhere(row, spec, history)) for row in requirements]
    verdicts = [_with_references(_quarantined(row, spec), spec) for row in verdicts]
    partial = history.footer is None or history.footer.interrupted
    verdicts, uses = waiving.apply(verdicts, waivers, datetime.datetime.fromtimestamp(header.started_s, datetime.UTC).date())
    decision = decide(verdicts, uses, partial=partial)
    judgement = Judgement(
        ResultsHeader(
            SCHEMA,
            f"onetck {__version__}",
            header.contract,
            header.version,
            header.driver,
            profile.name,
            history_name,
            chain,
            header.started_s,
            header.isolation,
            header.environment,
            header.driver_sha256,
            header.spec_sha256,
            uses,
            tuple(f"{row.requirement} since {row.since}: {row.reason} ({row.issue})" for row in spec.spec.quarantine.values()),
            profile.digest,
            _faults(history, header.seed),
            stated=header.described.stated,
            disagreements=header.described.disagreements,
        ),
        results,
        verdicts,
        [_lines(one, history.ran.get(one.file, set())) for one in history.scripts.values()],
        profiles=list(claims.profile_rows(spec, header, profile, history.shared)),
        conf=list(claims.conf_lines(spec, header)),
    )
    if history.footer is not None:
        judgement.footer = ResultsFooter(
            decision.verdict,
            decision.sentence,
            decision.exit_code,
            decision.counts,
            decision.required,
            decision.executed,
            history.cases,
            history.calls,
            history.footer.wall_s,
            levels.reached(spec.spec, header, profile, decision),
        )
    return judgement


def _faults(history: History, seed: int) -> str:
    """Return what is to be said of the fault cases of a history; empty if it has none."""
    if not history.struck and not history.missed:
        return ""
    text = f"{len(history.struck) + len(history.missed)} cases with faults, seed {seed}"
    if not history.missed:
        return text
    names = ", ".join(history.missed[:5]) + (" and others" if history.missed[5:] else "")
    return f"{text}; in {len(history.missed)} the fault did not strike, and nothing passed: {names}"


def _lines(script: Script, ran: Collection[int]) -> ScriptLines:
    unrun = tuple(line for line in script.lines if line not in ran) if script.traced else ()
    return ScriptLines(script.file, script.sha256, len(script.lines), unrun, script.traced)


def _quarantined(verdict: RequirementVerdict, spec: ContractSpec) -> RequirementVerdict:
    """Let no verdict rest on a requirement whose check is known to be wrong."""
    held = spec.spec.quarantine.get(verdict.requirement)
    if held is None:
        return verdict
    return msgspec.structs.replace(
        verdict, verdict="not_tested", required=False, reason=f"its check is in quarantine since {held.since}: {held.reason}"
    )


def _elsewhere(row: Requirement, spec: ContractSpec, history: History) -> str:
    """Return where a requirement applies, if it cannot in this run: to another layout of system datastores, or to driver programs; empty if it can."""
    if row.check == _ON_PROGRAMS and not (history.header and history.header.mads):
        return "the run brings no driver program"
    unseen = [_unseen(row, begin) for begin in history.begins.values()]
    if unseen and all(unseen):
        return unseen[0]
    action = spec.actions.get(row.action)
    wanted = set(row.when.get("shared", ())) or ({action.shared} if action is not None and action.shared else set())
    return f"it is for system datastores with SHARED of {' or '.join(sorted(wanted))}" if wanted and not wanted & history.shared else ""


#: Checks that need to know what lies in the store.
_ON_INVENTORY = frozenset({"image_taken_away", "changes_nothing"})


def _unseen(row: Requirement, begin: CaseBegin) -> str:
    """Return why nobody sees in a case whether a driver keeps a requirement, if its disks are no files; empty if it is seen."""
    if begin.pool == "lent" and "lent" not in row.when.get("pool", ("lent",)):
        return "it is for storage pools of libvirt in which libvirt makes volumes; those of this type are made elsewhere"
    if begin.pool in ("blocks", "lent") and row.check == "capacity_true" and "capacity" not in begin.probed:
        return "the storage pool is no file system, and no [probe] capacity tells how full it is"
    formats = row.when.get("format", ())
    if begin.driver and formats and begin.driver not in formats:
        return f"all disks of this driver are {begin.driver}, as DRIVER in TM_MAD_CONF says"
    if not begin.volumes:
        return ""
    if row.when.get("disks") == ("files",):
        return "it is for drivers whose disks are files in the system datastore"
    if row.check == "capacity_true" and "capacity" not in begin.probed:
        return "the storage is no file system, and no [probe] capacity tells how full it is"
    if (row.check in _ON_INVENTORY or "clone_target" in row.when) and "inventory" not in begin.probed:
        return "disks are no files, and no [probe] inventory tells what lies in their store"
    return ""


def _demanding(spec: ContractSpec, profile: Profile) -> dict[str, tuple[str, ...]]:
    """Return the requirements of a run, each with the profiles among those chosen that demand it."""
    chosen = {name: frozenset(spec.spec.profiles[name].requirements) for name in profile.name.split(", ") if name in spec.spec.profiles}
    return {id: tuple(name for name, ids in chosen.items() if id in ids) for id in profile.requirements}


@dataclass
class _Tally:
    """What is known of a requirement: the worst verdict of its cases, what the first case with it says, and the cases."""

    verdict: str = "not_tested"
    reason: str = ""
    cases: list[str] = field(default_factory=list)

    def count(self, one: Result) -> None:
        """Take a result."""
        if not self.cases or VERDICTS.index(one.verdict) < VERDICTS.index(self.verdict):
            self.verdict = one.verdict
            self.reason = one.evidence[0].sentence if one.evidence and one.verdict != "pass" else ""
        self.cases.append(one.case)


def _verdict(row: Requirement, mine: _Tally, profiles: tuple[str, ...] | None, elsewhere: str) -> RequirementVerdict:
    """Return the verdict of a run on a requirement, from its results. Those that driver programs show are required where the run has brought one."""
    required = profiles is not None or (row.check == _ON_PROGRAMS and not elsewhere)
    verdict, reason = mine.verdict, mine.reason
    if not mine.cases:
        reason = row.untestable or elsewhere or "no case that ran reaches it"
        verdict = "not_applicable" if row.untestable or elsewhere else "not_tested"
    return RequirementVerdict(
        row.id,
        verdict,
        row.level,
        row.sentence,
        row.source,
        row.action.partition("/")[0],
        row.action,
        required and row.level == "MUST",
        reason,
        tuple(mine.cases),
        profiles=profiles or (),
    )


def _with_references(row: RequirementVerdict, spec: ContractSpec) -> RequirementVerdict:
    """Tell with a failure where drivers have broken the requirement before."""
    known = spec.spec.known_breaks.get(row.requirement, ())
    return msgspec.structs.replace(row, broken_before=known) if known and (row.verdict in FAILURES or row.verdict == "warn") else row
