"""Runs that tell lines and runs that do not: the same history, the same verdicts; and the place of a failure wherever it is shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onereport.results import RequirementVerdict, ResultRecord
from onesim.data import data_dir
from onesim.journal import read
from onesim.records import Call, Footer, Lines, Record, Script
from onetck.cli import main

pytestmark = pytest.mark.components

#: The transfer driver breaks in the middle of `delete`, on a host.
BROKEN = """#!/bin/bash
set -euo pipefail
source "${BASH_SOURCE[0]%/*}/../disk_common.sh"
host=$(arg_host "$1")
target=$(arg_path "$1")
ssh "$host" "rm -rf -- $(printf %q "$target"); exit 4" || fail "Cannot remove $target"
"""


def _run(out: Path, *words: str) -> list[Record]:
    with pytest.raises(SystemExit):
        main(["run", "--config", str(data_dir("reference_driver") / "onetck.toml"), "--out", str(out), *words])
    return list(read(out / "history.jsonl", Record))


def _verdicts(out: Path) -> dict[str, str]:
    return {one.requirement: one.verdict for one in read(out / "results.jsonl", ResultRecord) if isinstance(one, RequirementVerdict)}


def _lines(records: list[Record]) -> list[Lines | Script]:
    return [one for one in records if isinstance(one, Lines | Script)]


def test_a_run_is_the_same_whether_lines_are_told_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal histories in their normalised form, equal verdicts; the lines themselves are those of the last time. Of one case the terminal tells no lines."""
    words = ("--case", "image-clone", "--case", "vm-forced")
    first, second, without = (_run(tmp_path / name, *words, option) for name, option in (("a", "--lines"), ("b", "--lines"), ("c", "--no-lines")))
    assert len({one.normal_sha256 for records in (first, second, without) for one in records if isinstance(one, Footer)}) == 1
    assert _verdicts(tmp_path / "a") == _verdicts(tmp_path / "c")
    key = {json.dumps({one.case: one.ran for one in records if isinstance(one, Lines)}, sort_keys=True) for records in (first, second)}
    assert len(key) == 1 and _lines(first) and not _lines(without)
    assert any(isinstance(one, Call) and one.last_at for one in first)
    assert not any(isinstance(one, Call) and (one.last_at or one.failed_at) for one in without)
    assert "never ran" not in capsys.readouterr().out


def test_lines_are_told_of_scripts_that_driver_programs_start(tmp_path: Path) -> None:
    """The same lines as of those that the harness starts itself."""
    direct, through = (
        _run(tmp_path / "a", "--case", "vm-forced"),
        _run(tmp_path / "b", "--case", "vm-forced", "--mad", "tm=own", "--mad", "datastore=own"),
    )
    assert [one for one in direct if isinstance(one, Lines)] == [one for one in through if isinstance(one, Lines)] != []


def test_pytest_tells_the_line_that_failed(tmp_path: Path) -> None:
    """Below the sentence, as the terminal of `onetck run` does."""
    shutil.copytree(data_dir("reference_driver"), tmp_path / "driver")
    (tmp_path / "driver/remotes/tm/shared/delete").write_text(BROKEN)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--onetck-config", str(tmp_path / "driver/onetck.toml")]
    command += ["--onetck-out", str(tmp_path / "out"), "-k", "vm-forced and TM-DELETE-003"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False).stdout
    assert '\n    at tm/shared/delete:6  ssh "$host" "rm -rf -- $(printf %q "$target"); exit 4" || fail "Cannot remove $target"' in said, said
