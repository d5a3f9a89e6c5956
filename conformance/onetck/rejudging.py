"""Every check run again over a run that was recorded, and where it says something else than the results that lie beside it."""

from __future__ import annotations

import base64
import datetime
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onereport.results import Evidence, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader, ScriptLines
from onesim.journal import read
from onesim.records import CaseEnd, Header, Record
from onesim.rows import Profile
from onesim.spec import ContractSpec, for_contract
from onetck import conclude, provenance
from onetck.judge import Judgement
from onetck.repeating import judge_runs, runs_of
from onetck.waivers import Waiver

#: Verdicts that leave open whether a requirement is kept.
_OPEN = ("not_tested", "blocked", "error")
#: Fields that do not follow from the history: the words that repeat a case, and by whom it was judged.
_GIVEN = {Result: ("repeat",), ResultsHeader: ("schema", "tool", "tool_sha256", "tables_sha256")}


@dataclass(frozen=True)
class Again:
    """What judging again has found. `other` names the tool or the tables that have judged, if they are not those of the recorded results.

    `missing` are requirements of the profile, and cases of the plan, without an outcome; `differences` sentences.
    """

    profile: str
    contract: str
    other: str
    missing: list[str]
    differences: list[str]
    results: int
    calls: int
    footer: ResultsFooter | None


def rejudge(root: Path, against: str = "") -> Again:
    """Judge the history in a directory (of a repeated run: in those of its runs) as its results say they were, then against the whole of a frozen profile:
    that of the run, or the one named.

    Raises ConfigError for a profile that there is not.
    """
    recorded: list[ResultRecord] = list(read(root / "results.jsonl", ResultRecord))
    header = recorded[0]
    assert isinstance(header, ResultsHeader), "results begin with their header"
    spec = for_contract(header.version)
    demands = conclude.recorded_demands(spec, root / "results.jsonl")
    waivers = _waivers(spec, header)
    judgement = judge_runs(spec, root, demands, "", waivers)
    other = _other(header, spec)
    found = [*differences(recorded, list(judgement.records()))]
    if not other and not found:
        found += _reports(spec, root, recorded, root / header.history)
    frozen = conclude.find_profile(spec, against or header.profile)
    certified = judgement if frozen == demands else judge_runs(spec, root, frozen, "", waivers)
    calls = certified.footer.calls if certified.footer else 0
    missing = [*(name for run in runs_of(root) or ("",) for name in _not_played(root / run / "history.jsonl")), *_missing(frozen, certified)]
    return Again(frozen.name, header.contract, other, missing, found, len(judgement.results), calls, certified.footer)


def _waivers(spec: ContractSpec, header: ResultsHeader) -> list[Waiver]:
    """Return the waivers with which a run was judged."""
    checks = {row.id: row.check for row in spec.spec.requirements}
    days = datetime.date.fromisoformat
    rows = (one for one in header.waivers if one.requirement in checks)
    return [Waiver(one.requirement, checks[one.requirement], one.reason, one.owner, one.issue, days(one.expires)) for one in rows]


def _other(header: ResultsHeader, spec: ContractSpec) -> str:
    """Return what judges here, if it is not what has judged there."""
    if header.tables_sha256 == spec.spec.sha256 and header.tool_sha256 == provenance.tool_sha256():
        return ""
    tables = "other tables" if header.tables_sha256 != spec.spec.sha256 else "the same tables"
    return f"onetck {provenance.tool_sha256()[:12]} with {tables}"


def _missing(profile: Profile, judgement: Judgement) -> Iterator[str]:
    """Yield the requirements that a profile demands and that have no outcome, each with why; what is no MUST may be missing."""
    found = {row.requirement: row for row in judgement.requirements}
    for id in profile.requirements:
        row = found.get(id)
        if row is not None and row.required and row.verdict in _OPEN:
            yield f"{id}: {row.verdict.replace('_', ' ')}" + (f", {row.reason}" if row.reason else "")


def _not_played(history: Path) -> Iterator[str]:
    """Yield the cases that a run had planned and that did not end."""
    planned: dict[str, None] = {}
    for record in read(history, Record):
        if isinstance(record, Header):
            planned = dict.fromkeys(record.plan)
        elif isinstance(record, CaseEnd):
            planned.pop(record.case, None)
    for name in planned:
        yield f"case {name}: planned, and not played to its end"


def differences(recorded: Iterable[ResultRecord], judged: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield a sentence for everything that two judgements on one history say otherwise."""
    old, new = _index(recorded), _index(judged)
    for key, row in old.items():
        if key not in new:
            yield f"{_named(row)}: recorded, and judging again yields no such result"
        elif _plain(row) != _plain(new[key]):
            yield f"{_named(row)}: {_told(row, new[key])}"
    for key, row in new.items():
        if key not in old:
            yield f"{_named(row)}: {getattr(row, 'verdict', 'a record')} is missing in the recorded results"


def _index(records: Iterable[ResultRecord]) -> dict[tuple[str, ...], ResultRecord]:
    return {_key(record): record for record in records}


def _key(record: ResultRecord) -> tuple[str, ...]:
    match record:
        case Result():
            return ("result", record.requirement, record.case)
        case RequirementVerdict():
            return ("requirement", record.requirement)
        case ScriptLines():
            return ("script", record.file)
    return (type(record).__name__,)


def _plain(record: ResultRecord) -> ResultRecord:
    empty = {name: type(getattr(record, name))() for name in _GIVEN.get(type(record), ())}
    return msgspec.structs.replace(record, **empty)


def _named(record: ResultRecord) -> str:
    match record:
        case Result():
            return f"{record.requirement} in {record.case}"
        case RequirementVerdict():
            return record.requirement
        case ScriptLines():
            return record.file
        case ResultsFooter():
            return "the verdict"
    return "the header"


def _told(old: ResultRecord, new: ResultRecord) -> str:
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name, None)
        if before != after and name not in _GIVEN.get(type(old), ()):
            return f"recorded {name} {_short(before)}, judged {_short(after)}"
    return "differs"


def _short(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], Evidence):
        value = value[0].sentence
    text = str(value)
    return repr(text if len(text) <= 120 else f"{text[:120]}…")


def _reports(spec: ContractSpec, root: Path, records: Sequence[ResultRecord], history: Path) -> Iterator[str]:
    """Yield the reports that do not show what the results say."""
    with tempfile.TemporaryDirectory(prefix="onetck-verify-") as scratch:
        conclude.write_reports(spec, Path(scratch), records, history)
        for path in sorted(Path(scratch).iterdir()):
            stored = root / path.name
            if stored.is_file() and _unpacked(stored.read_bytes()) != _unpacked(path.read_bytes()):
                yield f"{path.name}: does not show what the results say"


def _unpacked(page: bytes) -> bytes:
    """Return a page with the parts unpacked that lie packed in it: two machines may pack the same text into other bytes."""

    def part(found: re.Match[bytes]) -> bytes:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            text = stream.decompress(base64.b64decode(found.group(), validate=True))
        except (ValueError, zlib.error):
            return found.group()
        return text if stream.eof and not stream.unused_data else found.group()

    return re.sub(rb"[A-Za-z0-9+/]{24,}={0,2}", part, page)
