"""Which cases run, how often, and under which contracts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onereport.results import RequirementVerdict, Result, ResultsFooter, ResultsHeader
from onesim.data import data_dir
from onesim.spec import load
from onetck.judge import Judgement
from onetck.repeating import combined

REFERENCE = data_dir("reference_driver")


def onetck(*words: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `onetck run` with these words."""
    return subprocess.run([sys.executable, "-m", "onetck.cli", "run", *words], capture_output=True, text=True, timeout=200, check=False, cwd=at)


def cases_of(run: Path) -> list[str]:
    """Return the plan of a run."""
    with (run / "history.jsonl").open() as lines:
        cases: list[str] = json.loads(next(lines))["data"]["plan"]
    return cases


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return the reference driver with a monitor that prints too little."""
    shutil.copytree(REFERENCE, tmp_path / "driver")
    (tmp_path / "driver/remotes/datastore/fs/monitor").write_text("#!/bin/bash\ncat >/dev/null\necho USED_MB=1\n")
    return tmp_path / "driver"


def test_a_text_chooses_cases_by_name(tmp_path: Path) -> None:
    """-k is a part of the name; nothing of that name is exit code 5."""
    onetck(str(REFERENCE), "-k", "TORE-limit", "--out", str(tmp_path / "a"))
    assert cases_of(tmp_path / "a") == ["datastore-limit"]
    none = onetck(str(REFERENCE), "-k", "no such", "--out", str(tmp_path / "b"))
    assert none.returncode == 5
    assert none.stderr.count("\n") == 1


def test_a_requirement_alone_is_certified(tmp_path: Path) -> None:
    """Only cases that reach it run, and the verdict is about it alone; an unknown one is exit code 4."""
    run = onetck(str(REFERENCE), "--requirement", "DS-CLONE-001", "--profile", "core", "--out", str(tmp_path / "a"), "--json")
    told: dict[str, Any] = json.loads(run.stdout)
    assert (run.returncode, told["required"], told["executed"]) == (0, 1, 1)
    assert set(cases_of(tmp_path / "a")) == {"image-clone", "image-datastores", "image-documents", "image-large", "image-qcow2", "images-together"}
    assert onetck(str(REFERENCE), "--requirement", "DS-CLONE-999").returncode == 4


@pytest.mark.whole
def test_a_part_of_a_profile_plays_its_own_cases_and_judges_its_own_requirements(tmp_path: Path) -> None:
    """The quick one plays the cases that it names; that of one driver all of the core, and requires nothing of the other driver."""
    for profile, count in (("quick", 6), ("ds-core", 0)):
        out = tmp_path / profile
        done = onetck(str(REFERENCE / "remotes"), "--profile", profile, "--out", str(out), "--json", *(() if count else ("--case", "image-raw")))
        told = json.loads(done.stdout)
        required = {row["id"] for row in told["requirements"] if row["required"]}
        assert len(cases_of(out)) == (count or 1) and told["profile_sha256"] == load().profiles[profile].digest
        assert required and (count or not any(id.startswith("TM-") for id in required))
        assert (done.returncode == 0) == bool(count), done.stderr


def test_what_failed_runs_again(broken: Path, tmp_path: Path) -> None:
    """--only takes the cases of these verdicts from an earlier run; --fail-fast begins nothing after a failure."""
    first = onetck(str(broken), "-k", "datastore-", "--jobs", "1", "--out", str(tmp_path / "a"), "--fail-fast")
    assert first.returncode == 1
    assert (tmp_path / "a/history.jsonl").read_text().count('"case_end"') == 1
    onetck(str(broken), "--case", "datastore-monitor", "--case", "image-make", "--out", str(tmp_path / "b"))
    again = onetck(
        str(broken), "--only", "fail", "--from", str(tmp_path / "b/results.jsonl"), "--requirement", "DS-MON-002", "--out", str(tmp_path / "c")
    )
    assert again.returncode == 1
    assert "datastore-monitor" in cases_of(tmp_path / "c")
    for words, said in ((("--only", "worse"), "no verdict"), (("--only", "fail", "--from", "nowhere"), "no such results")):
        wrong = onetck(str(broken), *words)
        assert wrong.returncode == 4
        assert said in wrong.stderr


def test_repeated_runs_are_one_verdict(tmp_path: Path) -> None:
    """Each run has its directory; the verdict and the reports over all of them stand above."""
    run = onetck(
        str(REFERENCE), "--case", "datastore-monitor", "--requirement", "DS-MON-002", "--repeat", "2", "--out", str(tmp_path / "a"), "--json"
    )
    told: dict[str, Any] = json.loads(run.stdout)
    assert (told["verdict"], told["cases"]) == ("CONFORMANT", 2)
    assert {path.name for path in (tmp_path / "a").iterdir()} >= {"run-1", "run-2", "results.jsonl", "report.html", "junit.xml"}


def test_several_contracts_are_compared(broken: Path, tmp_path: Path) -> None:
    """Each contract has its directory, and a table says which actions do not pass under all; the worst decides the exit code."""
    words = (str(broken), "--contract", "7.4,5.12", "--case", "datastore-monitor", "--requirement", "DS-MON-002", "--out", str(tmp_path / "a"))
    run = onetck(*words)
    assert run.returncode == 1
    assert "7.4  NOT CONFORMANT" in run.stdout
    assert "ds/monitor" in run.stdout
    assert "5.12/report.html#DS-MON-002" in (tmp_path / "a" / "overview.html").read_text()
    told: dict[str, Any] = json.loads(onetck(*words, "--json").stdout)
    assert told["exit_code"] == 1
    assert told["readiness"] == {"ds/monitor": {"7.4": "fail", "5.12": "fail"}}


def judgement(verdict: str, *, reached: bool = True) -> Judgement:
    """Return a judgement on one requirement in one case."""
    header = ResultsHeader(1, "onetck", "7.4", "7.4.0", "/d", "core", "history.jsonl", "", 0.0)
    results = [Result("A", "c", verdict)] if reached else []
    made = Judgement(header, results, [RequirementVerdict("A", verdict, "MUST", "", "", "tm", "tm/mv", True)])
    made.footer = ResultsFooter("", "", 0, {}, 1, 1, 1, 2, 0.5)
    return made


@pytest.mark.parametrize(
    ("runs", "verdict", "code"),
    [
        (("pass", "pass"), "pass", 0),
        (("pass", "fail"), "flaky", 1),
        (("fail", "fail"), "fail", 1),
        (("fail", "timeout"), "flaky", 1),
        (("pass", "blocked"), "blocked", 3),
        (("pass", "error", "pass"), "error", 3),
    ],
)
def test_what_passes_and_fails_is_flaky(runs: tuple[str, ...], verdict: str, code: int) -> None:
    """Only a failure that does not come every time is flaky; for the rest the worst counts."""
    made = combined([judgement(one) for one in runs])
    assert made.requirements[0].verdict == verdict
    assert made.footer is not None
    assert (made.footer.exit_code, made.footer.cases, made.footer.calls) == (code, len(runs), 2 * len(runs))
    if verdict == "flaky":
        assert made.results[0].evidence[0].sentence == ", ".join(f"run {n}: {one}" for n, one in enumerate(runs, 1))


def test_a_failure_that_another_run_did_not_reach_is_flaky() -> None:
    """A case that went another way is no pass."""
    assert combined([judgement("fail"), judgement("not_tested", reached=False)]).requirements[0].verdict == "flaky"
