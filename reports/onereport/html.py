"""The HTML report: one file that works offline and without JavaScript, safe against anything that a driver prints."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from onereport.cases import CasePart, Pages, views
from onereport.excerpts import Excerpts
from onereport.kills import Selftest, matrix
from onereport.results import FAILURES, VERDICTS, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader, ScriptLines, broken_before
from onereport.sections import Sections
from onesim.records import Blob, Call, Observation, Record

#: Verdicts of which the page tells the evidence.
_TELLING = FAILURES | {"warn", "error"}
#: Cases that the row of a requirement leads to.
_CASES_SHOWN = 4
_TEXT_MAX = 3000
_ARGUMENT_MAX = 160
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


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


#: What the problem of an observation is called; others are words already.
_PROBLEMS = {
    "bytes": "other bytes than it must have",
    "format": "of another format",
    "size": "of another size",
    "missing": "not there",
    "present": "still there",
}
_KINDS = {"f": "file", "d": "directory", "l": "link", "b": "block device", "c": "character device", "p": "pipe", "s": "socket"}
_ANY = {"*": "any action", "ds/*": "any datastore action", "tm/*": "any transfer action"}


@cache  # with the templates that it has compiled
def environment() -> Environment:
    """Return what renders the pages of reports: everything is escaped, and what comes from a driver is made visible by a filter."""
    made = Environment(loader=PackageLoader("onereport", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "visible": visible,
        "blob": _shown,
        "command_line": _command_line,
        "hexadecimal": _hexadecimal,
        "ended": _ended,
        "problem": lambda name: _PROBLEMS.get(name, name),
        "kind": lambda letter: _KINDS.get(letter, letter),
        "action": lambda name: _ANY.get(name, name),
        "ms": lambda ns: f"{ns / 1e6:.1f}",
        "date": lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return made


def prepare() -> None:
    """Compile the templates of the report; `render_html` then finds them compiled. Any thread may do this."""
    for name in environment().list_templates(filter_func=lambda name: name.startswith("report/") and name.endswith(".j2")):
        environment().get_template(name)


def _part(name: str) -> str:
    return (files("onereport") / "templates" / "report" / name).read_text(encoding="utf-8")


@dataclass
class _Results:
    """What the page needs of the results. Of what is right the first results are kept, and how many there are."""

    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    verdicts: list[RequirementVerdict] = field(default_factory=list)
    scripts: dict[str, ScriptLines] = field(default_factory=dict)
    by_requirement: dict[str, list[Result]] = field(default_factory=lambda: defaultdict(list))
    wrong_cases: set[str] = field(default_factory=set)
    some: str = ""

    def take(self, record: ResultRecord) -> None:
        match record:
            case ResultsHeader():
                self.header = record
            case Result():
                if record.verdict in _TELLING:
                    self.wrong_cases.add(record.case)
                if not self.some and record.case and record.repeat.endswith(f"--case {record.case}"):
                    self.some = f"{record.repeat.removesuffix(record.case)}NAME"
                if record.verdict in _TELLING or len(self.by_requirement[record.requirement]) < _CASES_SHOWN:
                    self.by_requirement[record.requirement].append(record)
            case RequirementVerdict():
                self.verdicts.append(record)
            case ScriptLines():
                self.scripts[record.file] = record
            case ResultsFooter():
                self.footer = record


def render_html(
    results: Iterable[ResultRecord],
    history: Iterable[Record],
    blobs: Path | None = None,
    links: Mapping[str, str] | None = None,
    beside: Iterable[Record] = (),
    selftest: Selftest | None = None,
) -> str:
    """Return the report as one HTML document.

    `blobs` is the directory of the large pieces, from which documents that travelled to the driver are shown; `links` leads from a requirement's id
    to its place in the specification, relative to the report. `beside` is the history of the reference driver, if it was played beside the driver;
    `selftest` is shown in an appendix.
    """
    found, sections = _Results(), Sections()
    for record in results:
        found.take(record)
        sections.take(record)
    wrong = [row for row in found.verdicts if row.verdict in _TELLING]
    kept = {row.requirement for row in wrong}
    evident = {(one.case, said.call) for id in kept for one in found.by_requirement[id] for said in one.evidence}
    templates = environment()
    excerpts = Excerpts(found.scripts, blobs)
    shared: dict[str, Any] = {"document": lambda blob: _document(blob, blobs), "excerpts": excerpts, "evident": evident}
    pages = Pages(found.wrong_cases, lambda name, view: templates.get_template(f"report/{name}.html.j2").render(shared, case=view))
    calls: dict[tuple[str, int], Call] = {}
    observations: dict[tuple[str, str], Observation] = {}
    cases: list[CasePart] = []
    for view in views(history):
        name = view.begin.case
        cases.append(pages.part(view))
        sections.measured.take(view.calls, view.faults)
        calls |= {(name, call.n): call for call in view.calls if (name, call.n) in evident}
        observations |= {(name, f"{one.host}:{one.path}"): one for one in reversed(view.observations) if one.problem}
    script = _part("report.js")
    values: dict[str, Any] = {
        **shared,
        "header": found.header,
        "footer": found.footer,
        "verdicts": found.verdicts,
        "wrong": wrong,
        "by_requirement": found.by_requirement,
        "cases": cases,
        "calls": calls,
        "observed": lambda case, said: observations.get((case, said.observation)),
        "failures": FAILURES,
        "told": sorted((one for one in found.scripts.values() if one.lines), key=lambda one: (-len(one.unrun), one.file)),
        "broken_before": broken_before,
        "link": (links or {}).get,
        "some": found.some,
        "profiles": sorted({name for row in found.verdicts for name in row.profiles}),
        "counts": [(name, count) for name in VERDICTS if (count := sum(row.verdict == name for row in found.verdicts))],
        **sections.values(beside),
        "selftest": selftest,
        "matrix": matrix(selftest.mutants) if selftest is not None else None,
        "linked": {row.requirement for row in found.verdicts},
        "script": Markup(script),
        "script_sha256": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return templates.get_template("report/page.html.j2").render(values)
