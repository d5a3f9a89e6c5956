"""The HTML report: one file that works offline and without JavaScript, safe against anything that a driver prints."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from onereport.excerpts import Excerpts
from onereport.results import FAILURES, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader, ScriptLines, broken_before
from onereport.timeline import Timeline, draw
from onesim.records import Blob, Call, CaseBegin, CaseEnd, FaultInjected, GuestWrite, Observation, Operation, Record, StateChange

_TEXT_MAX = 3000
_ARGUMENT_MAX = 160
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass
class _CaseView:
    begin: CaseBegin
    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    writes: list[GuestWrite] = field(default_factory=list)
    faults: list[FaultInjected] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    end: CaseEnd | None = None

    def timeline(self) -> Timeline:
        return draw(self.begin, self.operations, self.calls, self.states, self.writes, self.faults)


_LISTS: dict[type, str] = {
    Operation: "operations",
    Call: "calls",
    StateChange: "states",
    GuestWrite: "writes",
    FaultInjected: "faults",
    Observation: "observations",
}


def visible(text: str) -> str:
    """Return a text with control and direction characters made visible, so that nothing printed by a driver can deceive."""
    return _INVISIBLE.sub(lambda found: f"\N{SYMBOL FOR ESCAPE}{ord(found.group()):02x}", text)


def _shown(blob: Blob) -> str:
    text = visible(blob.text[:_TEXT_MAX])
    if len(blob.text) > _TEXT_MAX or not blob.complete:
        where = f"; all that was kept is blobs/{blob.sha256}" if not blob.complete else ""
        text += f"\n… cut here: {blob.bytes_seen} bytes were printed{where}"
    return text


def _document(blob: Blob, blobs: Path | None) -> str:
    """Return what travelled on stdin: the XML behind the base64, one element a line."""
    data = blob.text.encode()
    if not blob.complete and blobs is not None and blob.sha256 and (blobs / blob.sha256).is_file():
        data = (blobs / blob.sha256).read_bytes()
    try:
        text = base64.b64decode(data, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return _shown(blob)
    return visible(re.sub(r"(>)(<[^/!])", r"\1\n\2", text)[: 4 * _TEXT_MAX])


def _command_line(call: Call) -> str:
    words = [word if len(word) <= _ARGUMENT_MAX else f"{word[:_ARGUMENT_MAX]}…" for word in call.argv]
    return visible(shlex.join([call.script or call.action, *words]))


def _hexadecimal(digits: str) -> str:
    return " ".join(digits[n : n + 2] for n in range(0, len(digits), 2))


def _ended(call: Call) -> str:
    if call.ended_by == "exit":
        return f"exit status {call.status}"
    return f"signal {call.signal}" if call.ended_by == "signal" else call.ended_by.replace("_", " ")


def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("onereport", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "visible": visible,
        "blob": _shown,
        "command_line": _command_line,
        "hexadecimal": _hexadecimal,
        "ended": _ended,
        "ms": lambda ns: f"{ns / 1e6:.1f}",
        "date": lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return environment


def render_html(results: Iterable[ResultRecord], history: Iterable[Record], blobs: Path | None = None, links: Mapping[str, str] | None = None) -> str:
    """Return the report as one HTML document.

    `blobs` is the directory of the large pieces, from which documents that travelled to the driver are shown; `links` leads from a requirement's id
    to its place in the specification, relative to the report.
    """
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    verdicts: list[RequirementVerdict] = []
    scripts: dict[str, ScriptLines] = {}
    by_requirement: dict[str, list[Result]] = defaultdict(list)
    for record in results:
        match record:
            case ResultsHeader():
                header = record
            case Result():
                by_requirement[record.requirement].append(record)
            case RequirementVerdict():
                verdicts.append(record)
            case ScriptLines():
                scripts[record.file] = record
            case ResultsFooter():
                footer = record
    cases: dict[str, _CaseView] = {}
    for line in history:
        match line:
            case CaseBegin():
                cases[line.case] = _CaseView(line)
            case CaseEnd():
                cases[line.case].end = line
            case _:
                name = _LISTS.get(type(line))
                if name is not None:
                    getattr(cases[line.case], name).append(line)  # type: ignore[union-attr]
    wrong = [row for row in verdicts if row.verdict in FAILURES or row.verdict in ("warn", "error")]
    evident = {(one.case, said.call) for row in wrong for one in by_requirement[row.requirement] for said in one.evidence}
    values: dict[str, Any] = {
        "header": header,
        "footer": footer,
        "verdicts": verdicts,
        "wrong": wrong,
        "by_requirement": by_requirement,
        "cases": cases,
        "calls": {(name, call.n): call for name, case in cases.items() for call in case.calls},
        "evident": evident,
        "document": lambda blob: _document(blob, blobs),
        "observed": lambda case, said: next(
            (one for one in cases[case].observations if f"{one.host}:{one.path}" == said.observation and one.problem), None
        ),
        "failures": FAILURES,
        "told": sorted((one for one in scripts.values() if one.lines), key=lambda one: (-len(one.unrun), one.file)),
        "excerpts": Excerpts(scripts, blobs),
        "broken_before": broken_before,
        "link": (links or {}).get,
    }
    return _environment().get_template("report.html.j2").render(values)
