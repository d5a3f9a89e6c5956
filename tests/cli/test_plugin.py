"""The pytest front end has the verdicts of `onetck run`, item by item, in one process and in several."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from onereport.results import RequirementVerdict, Result, ResultRecord
from onesim.data import data_dir
from onesim.journal import read

pytestmark = pytest.mark.components
ROLE = ("fs", "shared", "tm-resize")


def by_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the driver in `remotes`, in a directory with a test that is none of its business."""
    (folder / "test_other.py").write_text("def test_other(): assert False\n")
    names = [word for name, value in zip(("datastore", "tm", "profile"), ROLE, strict=True) for word in (f"--onetck-{name}", value)]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--onetck-driver", "remotes", *names, "--onetck-out", "by-pytest", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def by_run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the same by the command line."""
    names = [word for name, value in zip(("datastore", "tm", "profile"), ROLE, strict=True) for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "onetck.cli", "run", "remotes", *names, "--out", "by-run", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def verdicts(out: Path) -> dict[tuple[str, str], str]:
    """Return the verdicts on requirements, alone and by case."""
    found = {}
    for one in read(out / "results.jsonl", ResultRecord):
        if isinstance(one, Result):
            found[one.requirement, one.case] = one.verdict
        elif isinstance(one, RequirementVerdict):
            found[one.requirement, ""] = one.verdict
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the reference driver."""
    shutil.copytree(data_dir("reference_driver") / "remotes", tmp_path / "remotes")
    return tmp_path


@pytest.mark.turns(4)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_right_driver_passes_both_ways(folder: Path, workers: tuple[str, ...]) -> None:
    """The same verdicts, exit status 0, all reports."""
    tested = by_pytest(folder, *workers)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "CONFORMANT: The driver keeps all 6 requirements that apply." in tested.stdout
    assert by_run(folder).returncode == 0
    assert verdicts(folder / "by-pytest") == verdicts(folder / "by-run")
    assert {path.name for path in (folder / "by-pytest").iterdir()} == {path.name for path in (folder / "by-run").iterdir()}


@pytest.mark.turns(4)
def test_faults_strike_both_ways(folder: Path) -> None:
    """The cases that passed are played again with faults: the same fault cases, verdicts and exit status."""
    asked = ("--profile", "ds-export", "--faults", "basic", "--seed", "3")
    tested = by_pytest(folder, "-n", "2", *(word.replace("--", "--onetck-") for word in asked))
    run = by_run(folder, *asked)
    assert (tested.returncode, run.returncode) == (0, 0), tested.stdout + tested.stderr
    found, ran = verdicts(folder / "by-pytest"), verdicts(folder / "by-run")
    assert {key: (found.get(key), ran.get(key)) for key in found.keys() | ran.keys() if found.get(key) != ran.get(key)} == {}
    assert {path.stem for path in (folder / "by-pytest/faults").iterdir()} <= {case for _, case in found}
    assert ("GEN-FAULT-001", "") in found


@pytest.mark.turns(4)
def test_a_broken_driver_fails_both_ways_and_says_why(folder: Path) -> None:
    """The same verdicts, exit status 1; the failed test tells the requirement, the case and the command, and no stack."""
    (folder / "remotes/tm/shared/resize").write_text("#!/bin/bash\nexit 0\n")
    tested = by_pytest(folder, "--junitxml", "own.xml")
    assert (tested.returncode, by_run(folder).returncode) == (1, 1), tested.stdout + tested.stderr
    assert verdicts(folder / "by-pytest") == verdicts(folder / "by-run")
    assert "TM-RESIZE-002 After resize the disk has the size asked" in tested.stdout and "--case resize" in tested.stdout
    assert "NOT CONFORMANT" in tested.stdout and "Traceback" not in tested.stdout and "conformance" not in tested.stdout
    failed = {row.attrib["name"] for row in ElementTree.parse(folder / "own.xml").iter("testcase") if row.find("failure") is not None}
    wrong = {requirement for (requirement, case), verdict in verdicts(folder / "by-run").items() if case and verdict == "fail"}
    assert "TM-RESIZE-002" in failed <= wrong


def test_tests_are_chosen_as_pytest_chooses(folder: Path) -> None:
    """-k takes cases and requirements, -m levels and families; what was not chosen is not run, and that is no verdict."""
    tested = by_pytest(folder, "-k", "resize-failed and TM-RESIZE-002", "-v")
    assert tested.returncode == 3
    assert "\nresize-failed::TM-RESIZE-002 PASSED" in tested.stdout and "NO VERDICT" in tested.stdout
    assert {case for _, case in verdicts(folder / "by-pytest") if case} == {"resize-failed"}
    listed = by_pytest(folder, "--collect-only", "-q", "-m", "must and tm")
    assert listed.returncode == 0 and "\nresize::TM-RESIZE-002\n" in listed.stdout


def test_a_mistake_is_one_line(folder: Path) -> None:
    """Hosts that nobody makes, and a driver that is not there: exit status 4, and what to do."""
    for words, said in ((("--onetck-backend", "lxc"), "namespaces, docker"), (("--onetck-hypervisor", "xen"), "simulated or qemu")):
        tested = by_pytest(folder, *words)
        assert (tested.returncode, said in tested.stderr.splitlines()[0]) == (4, True), tested.stderr
    shutil.rmtree(folder / "remotes")
    tested = by_pytest(folder)
    assert tested.returncode == 4
    assert tested.stderr.splitlines()[0].startswith("ERROR: onetck: remotes: ")
    assert "Traceback" not in tested.stderr
