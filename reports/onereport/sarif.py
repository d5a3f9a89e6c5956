"""Findings whose line in a driver's script is known, as SARIF 2.1.0: for code hosts that show them beside the code.

The counts over all requirements stand in the properties of the run: findings without a line are not here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from onereport.html import visible
from onereport.results import FAILURES, Evidence, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
#: What the paths of findings are relative to: the remotes tree of the driver.
BASE = "REMOTES"
#: The levels of SARIF by those of a finding.
LEVELS = {"error": "error", "warn": "warning", "note": "note"}


def log(tool: str, driver: str, rules: Mapping[str, dict[str, Any]], results: list[dict[str, Any]], properties: dict[str, Any]) -> bytes:
    """Return a SARIF log of one run. `tool` is name and version, `driver` the directory of the driver, `rules` are by id in the order of their index."""
    name, _, version = tool.partition(" ")
    component = {"name": name, "version": version, "rules": list(rules.values())}
    run = {
        "tool": {"driver": {key: value for key, value in component.items() if value != ""}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"uri": _directory(driver)}},
        "results": results,
        "properties": properties,
    }
    return msgspec.json.format(msgspec.json.encode({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]})) + b"\n"


def rule(id: str, sentence: str, help: str, level: str = "error") -> dict[str, Any]:
    """Return a rule: what is demanded, and where that comes from or what to do."""
    return {"id": id, "shortDescription": {"text": visible(sentence)}, "help": {"text": visible(help)}, "defaultConfiguration": {"level": level}}


def result(id: str, index: int, level: str, message: str, place: tuple[str, int, str]) -> dict[str, Any]:
    """Return a finding. `place` is a file of the remotes tree, a line from 1 (0 = the whole file) and the text of the line, if it is known."""
    file, line, code = place
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(file), "uriBaseId": BASE}}
    if line:
        location["region"] = {"startLine": line, **({"snippet": {"text": visible(code)}} if code else {})}
    print_ = hashlib.sha256(f"{id}\0{file}\0{code or line}".encode()).hexdigest()
    return {
        "ruleId": id,
        "ruleIndex": index,
        "level": level,
        "message": {"text": visible(message)},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"onetck/v1": print_},
    }


def render_sarif(records: Iterable[ResultRecord]) -> bytes:
    """Return the failures and warnings of a run whose line is known, each once for every line of a case."""
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    found: list[Result] = []
    verdicts: dict[str, RequirementVerdict] = {}
    for record in records:
        match record:
            case ResultsHeader():
                header = record
            case Result() if record.verdict in FAILURES or record.verdict == "warn":
                found.append(record)
            case RequirementVerdict():
                verdicts[record.requirement] = record
            case ResultsFooter():
                footer = record
    placed = [(one, said, place) for one in found for said in one.evidence if (place := _place(said))]
    rules = {id: rule(id, verdicts[id].sentence, verdicts[id].source) for id in dict.fromkeys(one.requirement for one, _, _ in placed)}
    numbers = {id: n for n, id in enumerate(rules)}
    results = []
    for one, said, place in placed:
        level = "warning" if one.verdict == "warn" else "error"
        row = result(one.requirement, numbers[one.requirement], level, f"{one.case}: {said.sentence}", place)
        row["properties"] = {"verdict": one.verdict, "case": one.case, "repeat": one.repeat}
        waived = verdicts[one.requirement].waived
        if waived:
            row["suppressions"] = [{"kind": "external", "justification": waived}]
        results.append(row)
    properties = {"verdict": footer.verdict if footer else "PARTIAL", "counts": footer.counts if footer else {}}
    return log(header.tool if header else "onetck", header.driver if header else "", rules, results, properties)


def _place(said: Evidence) -> tuple[str, int, str] | None:
    """Return the line that failed, or the one that ran last, of the places that evidence names as `tm/shared/mv:41 on host01`."""
    for text in (said.at, *said.last):
        file, _, rest = text.rpartition(":")
        number = rest.partition(" ")[0]
        if file and number.isdigit() and int(number):
            return file, int(number), said.code
    return None


def _uri(path: str) -> str:
    return "".join(_escaped(path))


def _escaped(path: str) -> Iterator[str]:
    for byte in path.encode(errors="replace"):
        letter = chr(byte)
        yield letter if byte < 128 and (letter.isalnum() or letter in "/._-~+@") else f"%{byte:02X}"


def _directory(path: str) -> str:
    return f"file://{_uri(path.rstrip('/'))}/" if path.startswith("/") else f"{_uri(path.rstrip('/') or '.')}/"
