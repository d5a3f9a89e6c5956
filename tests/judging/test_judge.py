"""The judge tells the harness's fault from the driver's, and never lets a case that was stopped look green."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from onereport.html import render_html
from onereport.markdown import render_markdown
from onereport.results import Result, ResultRecord
from onereport.text import render_text
from onesim.journal import Writer, read
from onesim.records import Call, CaseBegin, CaseEnd, Footer, Header, Record
from onesim.rows import Quarantined, Requirement
from onesim.spec import for_contract
from onetck import conclude
from onetck.checks import CHECKS
from onetck.checks.base import Case, Finding
from onetck.judge import Judgement, judge

SPEC = for_contract("7.4")


def history(outcome: str, *, footer: bool = True, status: int = 0) -> list[Record]:
    """Return a history of one case with one call of tm/clone, of which tm/mv was expected too."""
    call = Call(
        "c", 0, 0, "tm", "shared", "clone", "/clone", "frontend", ("a", "b", "0", "1"), {}, status == 0, "exit", status,
        facts={"kind": "nonpersistent", "expect": "success", "op": "vm.deploy", "vm_directory": "/var/lib/one//datastores/0/0", "system_base_path": "/var/lib/one//datastores/0"},
    )  # fmt: skip
    records: list[Record] = [
        Header(1, "onetck", "7.4", "7.4.0", "/driver", "fs", "shared", "shared", 0, 0.0, "", ""),
        CaseBegin("c", "A case", ("frontend",), True, ("tm/clone", "tm/mv")),
        call,
    ]
    if outcome:
        records.append(CaseEnd("c", outcome, "a reason", 1, 1))
    if footer:
        records.append(Footer(1, 1, 5, ""))
    return records


def judged(records: list[Record]) -> Judgement:
    """Judge a history with the core profile."""
    return judge(records, SPEC, SPEC.spec.profiles["core"], "history.jsonl", "", "repeat {case}")


def verdicts(judgement: Judgement) -> dict[str, str]:
    """Return verdicts by requirement."""
    return {row.requirement: row.verdict for row in judgement.requirements}


def test_a_stopped_case_blocks_what_it_did_not_reach() -> None:
    """The failing call fails its requirement; what the plan expected afterwards is blocked, and names its cause."""
    judgement = judged(history("stopped", status=1))
    seen = verdicts(judgement)
    assert (seen["TM-CLONE-001"], seen["TM-MV-001"], seen["DS-CP-001"]) == ("fail", "blocked", "not_tested")
    blocked = next(row for row in judgement.results if row.requirement == "TM-MV-001")
    assert blocked.blocked_by == "TM-CLONE-001" and blocked.repeat == "repeat c"
    assert judgement.footer is not None and judgement.footer.exit_code == 1


def test_a_fault_of_the_harness_accuses_nobody() -> None:
    """A case that ended by the harness's own fault gives errors, no failure and no verdict."""
    judgement = judged(history("error"))
    assert verdicts(judgement)["TM-MV-001"] == "error"
    assert "fail" not in verdicts(judgement).values()
    assert judgement.footer is not None and judgement.footer.exit_code == 3


def test_what_the_machine_cannot_do_is_not_tested() -> None:
    """A case that ended because something lacks gives `not_tested` with the reason, for what it had begun too: no failure, no error, no verdict."""
    judgement = judged(history("lacking"))
    rows = {row.requirement: row for row in judgement.requirements}
    for id in ("TM-CLONE-001", "TM-MV-001"):
        assert (rows[id].verdict, rows[id].reason) == ("not_tested", "a reason")
    assert {row.verdict for row in judgement.requirements} <= {"not_tested", "not_applicable", "pass"}
    assert judgement.footer is not None and (judgement.footer.verdict, judgement.footer.exit_code) == ("NO VERDICT", 3)


def test_a_check_in_quarantine_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have failed is not judged and not required; every report says so."""
    row = Quarantined("TM-CLONE-001", "2027-01-01", "It is wrong about links.", "https://example.org/1")
    monkeypatch.setitem(SPEC.spec.quarantine, row.requirement, row)
    judgement = judged(history("stopped", status=1))
    found = next(one for one in judgement.requirements if one.requirement == "TM-CLONE-001")
    assert (found.verdict, found.required) == ("not_tested", False)
    assert "in quarantine since 2027-01-01: It is wrong about links." in found.reason
    assert judgement.footer is not None and "TM-CLONE-001" not in judgement.footer.sentence
    console = Console(file=io.StringIO(), width=300)
    render_text(judgement.records(), console)
    assert isinstance(console.file, io.StringIO)
    for text in (render_html(judgement.records(), history("stopped", status=1), None), console.file.getvalue()):
        assert "TM-CLONE-001 since 2027-01-01: It is wrong about links. (https://example.org/1)" in text
    assert "TM\\-CLONE\\-001 since 2027" in render_markdown(judgement.records())


@pytest.mark.parametrize("outcome", ["completed", ""])
def test_a_history_without_footer_has_no_verdict(outcome: str) -> None:
    """It is partial, also in the middle of a case."""
    assert judged(history(outcome, footer=False)).footer is None


def test_an_exception_in_a_check_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a failure of the driver."""

    def broken(case: Case, requirement: Requirement) -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    monkeypatch.setitem(CHECKS, "succeeds", broken)
    judgement = judged(history("completed"))
    assert verdicts(judgement)["TM-CLONE-001"] == "error"
    assert "fail" not in verdicts(judgement).values()


def test_results_that_are_handed_on_are_not_kept() -> None:
    """Whoever takes them gets the same ones in the same order, and the judgement is the same without them."""
    records, taken = history("stopped", status=1), list[Result]()
    whole = judged(records)
    streamed = judge(records, SPEC, SPEC.spec.profiles["core"], "history.jsonl", "", "repeat {case}", take=taken.append)
    assert taken == whole.results and not streamed.results
    assert (streamed.requirements, streamed.footer, streamed.header) == (whole.requirements, whole.footer, whole.header)


def test_a_long_history_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Ten times the cases, whose results are written, in the same memory but for their names."""

    def peak(cases: int) -> int:
        header, *case, footer = history("completed")
        writer = Writer(tmp_path / "history.jsonl")
        for record in (header, *(msgspec.structs.replace(one, case=f"c{n}") for n in range(cases) for one in case), footer):
            writer.write(record)
        writer.close()
        tracemalloc.start()
        conclude.stream(SPEC, tmp_path, SPEC.spec.profiles["core"], "repeat {case}", (), lambda records: None)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)  # what is loaded once
    assert peak(300) - peak(30) < 270 * 1024
    assert sum(isinstance(one, Result) for one in read(tmp_path / "results.jsonl", ResultRecord)) > 300
