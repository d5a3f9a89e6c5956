"""Results as JUnit XML, for CI systems: one test case for each requirement and case, with real failure, error and skipped elements.

A failure that is waived is skipped, and says who answers for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from onereport.results import FAILURES, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader

_ILLEGAL = {code: None for code in range(32) if code not in (9, 10, 13)} | {0xFFFE: None, 0xFFFF: None}


def _clean(text: str) -> str:
    return text.translate(_ILLEGAL)


def _mark(row: TestCase, verdict: str, message: str) -> None:
    if verdict in FAILURES:
        row.result = [Failure(_clean(message), verdict)]
    elif verdict == "error":
        row.result = [Error(_clean(message), verdict)]
    elif verdict not in ("pass", "warn"):
        row.result = [Skipped(_clean(f"{verdict}: {message}"), verdict)]
    elif verdict == "warn":
        row.system_out = _clean(f"warning: {message}")


def write_junit(records: Iterable[ResultRecord], path: Path) -> None:
    """Write the results to `path`. A requirement that no case reached is one skipped test case."""
    suite = TestSuite("onetck")
    actions: dict[str, str] = {}
    waived: dict[str, str] = {}
    results: list[Result] = []
    lonely: list[RequirementVerdict] = []
    for record in records:
        match record:
            case ResultsHeader():
                for name in ("tool", "contract", "version", "driver", "driver_sha256", "profile", "profile_sha256"):
                    suite.add_property(name, str(getattr(record, name)))
            case Result():
                results.append(record)
            case RequirementVerdict():
                actions[record.requirement] = record.action.replace("/", ".").replace("*", "all")
                if record.waived:
                    waived[record.requirement] = record.waived
                if not record.cases:
                    lonely.append(record)
            case ResultsFooter():
                suite.add_property("verdict", record.verdict)
    for result in results:
        row = TestCase(f"{result.requirement} [{result.case}]", f"onetck.{actions[result.requirement]}")
        said = "; ".join(f"{one.sentence} [{one.place}]" if one.place else one.sentence for one in result.evidence)
        if result.requirement in waived and result.verdict in FAILURES:
            row.result = [Skipped(_clean(f"waived: {waived[result.requirement]}; {said}"), "waived")]
        else:
            _mark(row, result.verdict, said)
        suite.append(row)  # type: ignore[no-untyped-call]
    for verdict in lonely:
        row = TestCase(verdict.requirement, f"onetck.{actions[verdict.requirement]}")
        _mark(row, verdict.verdict, verdict.reason)
        suite.append(row)  # type: ignore[no-untyped-call]
    xml = JUnitXml()
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    xml.write(str(path), pretty=True)
