"""Runs with faults: the cases that follow, how each is repeated, and what is said of a fault that did not strike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onereport.results import Result, ResultRecord
from onesim.data import data_dir
from onesim.journal import read
from onesim.records import CaseBegin, FaultInjected, Operation, Record

REFERENCE = data_dir("reference_driver")
#: What a run of one case can show.
CERTIFIED = ("--requirement", "GEN-FAULT-001", "--requirement", "GEN-EXEC-007", "--requirement", "GEN-ERR-001")
pytestmark = pytest.mark.components


def onetck(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `onetck run` with these words."""
    command = [sys.executable, "-m", "onetck.cli", "run", *words, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def faults_of(out: Path) -> list[FaultInjected]:
    """Return the faults of a run."""
    return [record for record in read(out / "history.jsonl", Record) if isinstance(record, FaultInjected)]


@pytest.mark.turns(4)
def test_the_reference_driver_loses_nothing(tmp_path: Path) -> None:
    """Basic faults on the life of an image and its copy: conformant; every case is a trace that can be played alone, every fault has struck."""
    run = onetck(tmp_path, str(REFERENCE), "--faults", "basic", "--seed", "3", "--case", "image-clone", *CERTIFIED)
    assert run.returncode == 0, run.stdout + run.stderr
    traces = sorted(path.stem for path in (tmp_path / "faults").iterdir())
    struck = faults_of(tmp_path)
    assert sorted(one.case for one in struck) == traces
    assert all(one.hit for one in struck)
    assert {one.kind for one in struck} == {"fails", "cut", "storage-full", "host-lost", "terminated", "killed"}
    begun = [record.case for record in read(tmp_path / "history.jsonl", Record) if isinstance(record, CaseBegin)]
    assert begun[0] == "image-clone" and sorted(begun[1:]) == traces
    assert (
        f"{len(traces)} cases with faults, seed 3" in run.stdout
        and f"{len(traces)} cases with faults, seed 3" in (tmp_path / "summary.md").read_text()
    )
    again = [
        record
        for record in read(tmp_path / "history.jsonl", Record)
        if isinstance(record, Operation) and record.op == "image.clone" and not record.refused
    ]
    assert len({one.case for one in again}) < len(again), "what failed is asked again"


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """Return the reference driver with a clone that refuses what is there, and leaves half a copy."""
    shutil.copytree(REFERENCE, tmp_path / "driver")
    script = tmp_path / "driver/remotes/tm/shared/ln"
    script.rename(script.with_name("ln.orig"))
    script.write_text('#!/bin/bash\nmkdir /var/tmp/ln.lock || exit 1\n"$0.orig" "$@" || { echo \'no link\' >&2; exit 1; }\nrmdir /var/tmp/ln.lock\n')
    script.chmod(0o755)
    return tmp_path / "driver"


@pytest.mark.turns(4)
def test_a_failure_is_repeated_from_its_own_trace(hasty: Path, tmp_path: Path) -> None:
    """A lock that outlives a failure breaks GEN-FAULT-001; the report gives the command, which fails in the same way without the rest of the run."""
    first = onetck(tmp_path / "a", str(hasty), "--faults", "basic", "--case", "image-clone")
    assert first.returncode == 1
    failed = [one for one in read(tmp_path / "a/results.jsonl", ResultRecord) if isinstance(one, Result) and one.verdict == "fail"]
    one = next(row for row in failed if row.requirement == "GEN-FAULT-001")
    trace = tmp_path / "a" / "faults" / f"{one.case}.jsonl"
    assert one.repeat.endswith(f"--faults basic --trace {trace}")
    alone = onetck(tmp_path / "b", str(hasty), "--faults", "basic", "--trace", str(trace))
    assert alone.returncode == 1 and "GEN-FAULT-001" in alone.stdout
    only = onetck(tmp_path / "c", str(hasty), "--faults", "basic", "--only", "fail", "--from", str(tmp_path / "a/results.jsonl"))
    assert only.returncode == 1
    assert {row.case for row in faults_of(tmp_path / "c")} == {row.case for row in failed}


def test_a_fault_that_does_not_strike_passes_nothing(tmp_path: Path) -> None:
    """The driver never runs cp a hundred times: the case is played, and said to have missed."""
    rows = [json.loads(line) for line in (data_dir("spec") / "traces" / "image-clone.jsonl").read_text().splitlines()]
    at = next(n for n, row in enumerate(rows) if row.get("op") == "image.clone")
    rows[0]["gates"] = ["cp"]
    rows[at]["expect"] = "any"
    rows.insert(at, {"op": "fault.next", "action": "ds/clone", "act": "fail", "kind": "fails", "command": "cp", "ordinal": 100})
    trace = tmp_path / "missed.jsonl"
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = onetck(tmp_path / "b", str(REFERENCE), "--trace", str(trace))
    assert "in 1 the fault did not strike, and nothing passed" in run.stdout
    results = [one for one in read(tmp_path / "b/results.jsonl", ResultRecord) if isinstance(one, Result)]
    assert not any(one.verdict == "pass" for one in results)
    assert run.returncode == 5, "a verdict about nothing is none"
