"""The outcome of a run as one JSON-ready object, for `--json`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onereport.results import Evidence, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader, ScriptLines


def summary(records: Iterable[ResultRecord]) -> dict[str, Any]:
    """Return verdict, exit code, counts, and every requirement with its verdict and evidence. Without a footer the verdict is PARTIAL."""
    rows: dict[str, Any] = {"verdict": "PARTIAL", "exit_code": 2, "counts": {}, "requirements": []}
    results: list[Result] = []
    for record in records:
        match record:
            case ResultsHeader():
                rows |= {
                    "tool": record.tool,
                    "contract": record.contract,
                    "version": record.version,
                    "driver": record.driver,
                    "profile": record.profile,
                    "profile_sha256": record.profile_sha256,
                }
            case Result():
                results.append(record)
            case RequirementVerdict():
                mine = [one for one in results if one.requirement == record.requirement and one.verdict == record.verdict]
                evidence = [_evidence(one, said) for one in mine for said in one.evidence]
                repeat = mine[0].repeat if mine else ""
                row = {
                    "id": record.requirement,
                    "verdict": record.verdict,
                    "level": record.level,
                    "required": record.required,
                    "sentence": record.sentence,
                    "repeat": repeat,
                    "evidence": evidence,
                }
                if record.waived:
                    row["waived"] = record.waived
                if record.broken_before:
                    row["broken_before"] = list(record.broken_before)
                rows["requirements"].append(row)
            case ScriptLines() if record.lines:
                rows.setdefault("scripts", []).append(
                    {"file": record.file, "lines": record.lines, "never_ran": list(record.unrun), "traced": record.traced}
                )
            case ResultsFooter():
                rows |= {
                    "verdict": record.verdict,
                    "sentence": record.sentence,
                    "exit_code": record.exit_code,
                    "counts": record.counts,
                    "required": record.required,
                    "executed": record.executed,
                    "cases": record.cases,
                    "calls": record.calls,
                    "wall_s": record.wall_s,
                    "level": record.level,
                }
    return rows


def _evidence(result: Result, said: Evidence) -> dict[str, Any]:
    row: dict[str, Any] = {"case": result.case, "sentence": said.sentence, "call": said.call}
    if said.at:
        row["at"] = said.at
    if said.last:
        row["ran_last"] = list(said.last)
    if said.code:
        row["code"] = said.code
    return row
