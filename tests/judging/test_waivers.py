"""Waivers excuse a failure until a day, never silently, and are found out when they no longer fit."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from junitparser import JUnitXml

from onereport.html import render_html
from onereport.jsonout import summary
from onereport.junit import write_junit
from onereport.results import VERDICTS, RequirementVerdict, decide
from onesim.errors import ConfigError
from onesim.journal import Writer
from onesim.records import Call, CaseBegin, CaseEnd, Footer, Header, Record
from onesim.rows import Profile
from onesim.spec import for_contract, load
from onetck.judge import Judgement, judge
from onetck.waivers import Waiver, add, apply, prune, read_waivers

SPEC = for_contract("7.4")
RUN_ON = datetime.date(2026, 3, 10)
ONLY_CLONE = Profile("clone", "Clones", ("TM-CLONE-001",))


def waiver(requirement: str = "TM-CLONE-001", days: int = 5) -> Waiver:
    """Return a waiver that holds so many days after the run."""
    check = next(row.check for row in SPEC.spec.requirements if row.id == requirement)
    return Waiver(requirement, check, "firmware 7 loses it", "Ada", "SAN-12", RUN_ON + datetime.timedelta(days=days))


def history(status: int) -> list[Record]:
    """Return a history with one clone, on the day of the run."""
    call = Call(
        "c", 0, 0, "tm", "shared", "clone", "/clone", "frontend", ("a", "b", "0", "1"), {}, status == 0, "exit", status,
        facts={"kind": "nonpersistent", "expect": "success", "op": "vm.deploy", "vm_directory": "/var/lib/one//datastores/0/0", "system_base_path": "/var/lib/one//datastores/0"},
    )  # fmt: skip
    started_s = datetime.datetime(RUN_ON.year, RUN_ON.month, RUN_ON.day, 23, 59, tzinfo=datetime.UTC).timestamp()
    return [
        Header(1, "onetck", "7.4", "7.4.0", "/driver", "fs", "shared", "shared", 0, started_s, "", ""),
        CaseBegin("c", "A case", ("frontend",), True, ("tm/clone",)),
        call,
        CaseEnd("c", "completed", "", 1, 1),
        Footer(1, 1, 5, ""),
    ]


def judged(status: int, *waivers: Waiver) -> Judgement:
    """Judge a clone that ended so, with waivers."""
    return judge(history(status), SPEC, ONLY_CLONE, "history.jsonl", "", "repeat {case}", waivers)


@pytest.mark.parametrize(
    ("status", "given", "verdict", "code"),
    [
        (1, [], "NOT CONFORMANT", 1),
        (1, [waiver()], "CONFORMANT WITH WAIVERS", 0),
        (1, [waiver(days=0)], "CONFORMANT WITH WAIVERS", 0),
        (1, [waiver(days=-1)], "NOT CONFORMANT", 1),
        (0, [], "CONFORMANT", 0),
        (0, [waiver()], "WAIVER DRIFT", 6),
        (0, [waiver(days=-1)], "WAIVER DRIFT", 6),
        (1, [waiver("TM-MV-001")], "NOT CONFORMANT", 1),
        (0, [waiver("TM-MV-001")], "CONFORMANT", 0),
    ],
)
def test_what_a_waiver_makes_of_a_run(status: int, given: list[Waiver], verdict: str, code: int) -> None:
    """It excuses its own requirement to its last day; then, and where nothing fails any more, it is told to go. One for what was not run changes nothing."""
    footer = judged(status, *given).footer
    assert footer is not None
    assert (footer.verdict, footer.exit_code) == (verdict, code)


def test_a_waived_failure_stays_a_failure_in_every_count(tmp_path: Path) -> None:
    """The verdict on the requirement is fail still; report, JSON and JUnit say who answers for it."""
    judgement = judged(1, waiver())
    assert judgement.footer is not None
    assert judgement.footer.counts["fail"] >= 1
    row = next(one for one in judgement.requirements if one.requirement == "TM-CLONE-001")
    assert row.verdict == "fail"
    assert row.waived == "firmware 7 loses it (Ada, SAN-12, until 2026-03-15)"
    page = render_html(judgement.records(), history(1))
    assert "CONFORMANT WITH WAIVERS" in page
    assert "firmware 7 loses it" in page
    assert "(5 days left)" in page
    (said,) = [one for one in summary(judgement.records())["requirements"] if one["id"] == "TM-CLONE-001"]
    assert (said["verdict"], said["waived"]) == ("fail", row.waived)
    write_junit(judgement.records(), tmp_path / "junit.xml")
    suite = next(iter(JUnitXml.fromfile(str(tmp_path / "junit.xml"))))
    (case,) = [one for one in suite if one.name == "TM-CLONE-001 [c]"]
    assert case.result[0].type == "waived"
    assert "Ada" in str(case.result[0].message)


def test_nothing_hides_a_failure() -> None:
    """Whatever else there is, waivers and their drift included, one failure that is not waived gives exit code 1."""
    rows = [
        RequirementVerdict(name, verdict, "MUST", "", "", "tm", "tm/mv", True, waived="w" if n % 2 else "")
        for n, verdict in enumerate(VERDICTS)
        for name in (verdict,)
    ]
    _, drifted = apply([], [waiver(days=-1)], RUN_ON)
    assert decide([*rows, RequirementVerdict("X", "fail", "MUST", "", "", "tm", "tm/mv", True)], drifted, partial=True).exit_code == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"requirement": "TM-CLONE-999"}, "no such requirement"),
        ({"check": "gone"}, "its check is"),
        ({"owner": " "}, "has no owner"),
        ({"issue": ""}, "has no issue"),
        ({"reason": ""}, "has no reason"),
    ],
)
def test_a_waiver_that_cannot_be_is_refused(changes: dict[str, str], said: str, tmp_path: Path) -> None:
    """Whether it is added or found in the file."""
    with pytest.raises(ConfigError, match=said):
        add(tmp_path / "waivers.toml", msgspec.structs.replace(waiver(), **changes), load())
    add(tmp_path / "waivers.toml", waiver(), load())
    text = (tmp_path / "waivers.toml").read_text()
    for name, value in changes.items():
        text = text.replace(f'{name} = "{getattr(waiver(), name)}"', f'{name} = "{value}"')
    (tmp_path / "waivers.toml").write_text(text)
    with pytest.raises(ConfigError, match=said) as raised:
        read_waivers(tmp_path / "waivers.toml", load())
    assert "waivers.toml" in str(raised.value)


def test_waivers_are_added_replaced_and_struck(tmp_path: Path) -> None:
    """One row for a requirement; what is struck is gone, the rest stays."""
    path = tmp_path / "waivers.toml"
    add(path, waiver(), load())
    add(path, waiver(days=9), load())
    add(path, waiver("TM-MV-001"), load())
    assert read_waivers(path, load()) == (waiver(days=9), waiver("TM-MV-001"))
    assert prune(path, ["TM-CLONE-001", "TM-LN-001"], load()) == ["TM-CLONE-001"]
    assert read_waivers(path, load()) == (waiver("TM-MV-001"),)


def test_the_commands_add_check_and_prune(tmp_path: Path) -> None:
    """On the command line: a waiver is written, found drifted by a run, and struck; a wrong day is one line and exit code 4."""

    def onetck(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "onetck.cli", "waive", *words], capture_output=True, text=True, cwd=tmp_path, check=False)

    why = ("--reason", "r", "--owner", "o", "--issue", "i")
    assert onetck("add", "TM-CLONE-001", *why, "--expires", "2026-03-09").returncode == 0
    wrong = onetck("add", "TM-CLONE-001", *why, "--expires", "soon")
    assert wrong.returncode == 4
    assert wrong.stderr == "onetck: --expires 'soon' is no day such as 2027-03-31\n"
    writer = Writer(tmp_path / "results.jsonl")
    for record in judged(1, *read_waivers(tmp_path / "waivers.toml", load())).records():
        writer.write(record)
    writer.close()
    checked = onetck("check", ".")
    assert (checked.returncode, checked.stdout.split()[:2]) == (6, ["expired", "TM-CLONE-001"])
    assert "struck TM-CLONE-001" in onetck("prune", ".").stdout
    assert read_waivers(tmp_path / "waivers.toml", load()) == ()
    assert onetck("check", "nowhere").returncode == 4
