"""From a stored history back to traces: what was done, and under each operation the calls that were seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from onesim.errors import ConfigError
from onesim.journal import read
from onesim.layout import LABELS
from onesim.records import Call, CaseBegin, CaseEnd, Header, Record, StateChange
from onesim.seen import FAMILIES, Seen, names_of, seen_of
from onesim.spec import ContractSpec, for_contract
from onesim.trace import Trace, library, parse_trace


@dataclass
class _Open:
    """A case of which more is to come."""

    begin: CaseBegin
    states: list[StateChange] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def history_of(path: Path) -> Path:
    """Return the history in the directory of a run, or the file itself. Raises ConfigError where there is none."""
    found = path / "history.jsonl" if path.is_dir() else path
    if not found.is_file():
        raise ConfigError(f"{path}: holds no history; give the directory of a run, or its history.jsonl")
    return found


def traces_of(history: Path, cases: Collection[str] = ()) -> Iterator[Trace]:
    """Yield the traces of a history with what was seen of them; only those of `cases`, if any are named.

    Raises ConfigError for a case that is not in it, and for a history that kept no traces.
    """
    header: Header | None = None
    spec = for_contract()
    missing = dict.fromkeys(cases)
    going: dict[str, _Open] = {}
    for record in read(history, Record):
        match record:
            case Header():
                header, spec = record, for_contract(record.version)
            case CaseBegin() if not cases or record.case in cases:
                going[record.case] = _Open(record)
                missing.pop(record.case, None)
            case StateChange() if record.case in going:
                going[record.case].states.append(record)
            case Call() if record.case in going:
                going[record.case].calls.append(record)
            case CaseEnd() if record.case in going:
                yield _trace(going.pop(record.case), spec, history)
    if header is None:
        raise ConfigError(f"{history}: is no history; give the history.jsonl of a run")
    for one in going.values():  # a run that was interrupted
        yield _trace(one, spec, history)
    if missing:
        raise ConfigError(f"{history}: no case {next(iter(missing))!r} was run there")


def _trace(case: _Open, spec: ContractSpec, history: Path) -> Trace:
    trace = _played(case.begin, spec, history)
    names = names_of([*case.states, *case.calls], case.begin.hosts, LABELS)
    seen: dict[int, list[Seen]] = {}
    for call in case.calls:
        if call.family in FAMILIES:
            seen.setdefault(call.operation, []).append(seen_of(call, names, spec, history.parent / "blobs"))
    steps = tuple(replace(step, seen=tuple(seen.get(n, ()))) for n, step in enumerate(trace.steps))
    header = msgspec.structs.replace(trace.header, seen_under=spec.version, shared=case.begin.shared)
    return replace(trace, header=header, steps=steps)


def _played(begin: CaseBegin, spec: ContractSpec, history: Path) -> Trace:
    """Return the trace that a case has played."""
    kept = history.parent / "blobs" / begin.trace_sha256
    if begin.trace_sha256.isalnum() and kept.is_file():
        return parse_trace(kept.read_text(encoding="utf-8"), Path(f"{history}, case {begin.case}"), spec.spec)
    found = next((one for one in library(spec.spec, spec.version) if one.name == begin.case), None)
    if found is None:
        raise ConfigError(f"{history}: the trace of case {begin.case} does not lie beside it; replay a history that this version of onetck has made")
    return found
