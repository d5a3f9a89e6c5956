"""On save the cases run again that ran a changed line, and no others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onesim.data import data_dir
from onetck.following import _whole_lines
from onetck.watching import _stamps, moved, texts, touched

BEFORE = {"tm/x/mv": ("#!/bin/bash", "one", "two", "three"), "tm/x/ln": ("#!/bin/bash", "link")}
RAN = {"first": {"tm/x/mv": {2, 3}}, "second": {"tm/x/mv": {4}, "tm/x/ln": {2}}, "third": {"tm/x/ln": {2}}}


@pytest.mark.parametrize(
    "file, lines, again",
    [
        ("tm/x/mv", ("#!/bin/bash", "one", "TWO", "three"), ["first"]),
        ("tm/x/mv", ("#!/bin/bash", "one", "three"), ["first"]),
        ("tm/x/mv", ("#!/bin/bash", "one", "two", "new", "three"), ["first", "second"]),
        ("tm/x/mv", ("#!/bin/bash", "one", "two", "three", "new"), ["second"]),
        ("tm/x/mv", ("#!/bin/bash", "# a comment", "one", "two", "three"), ["first"]),
        ("tm/x/ln", ("#!/bin/bash", "LINK"), ["second", "third"]),
        ("tm/x/helper.rb", ("puts 1",), ["first", "second", "third"]),
    ],
)
def test_the_lines_of_a_change_choose_the_cases(file: str, lines: tuple[str, ...], again: list[str]) -> None:
    """Proves for lines that change, go and come which cases have to run, and that a file of which no lines are known concerns all."""
    assert touched(RAN, BEFORE, {**BEFORE, file: lines}) == again


def test_lines_keep_their_cases_when_they_move() -> None:
    """Proves that after lines were added the next change finds the cases by the new numbers."""
    after = {**BEFORE, "tm/x/mv": ("#!/bin/bash", "# new", "one", "two", "three")}
    now = moved(RAN, BEFORE, after)
    assert now == {"first": {"tm/x/mv": {3, 4}}, "second": {"tm/x/mv": {5}, "tm/x/ln": {2}}, "third": {"tm/x/ln": {2}}}
    assert touched(now, after, {**after, "tm/x/mv": ("#!/bin/bash", "# new", "one", "two", "THREE")}) == ["second"]


def test_what_an_editor_leaves_beside_is_no_change(tmp_path: Path) -> None:
    """Proves that backup files of editors, and what is too large for a script, are not looked at."""
    (tmp_path / "mv~").write_text("x")
    (tmp_path / "large").write_text("x" * (1 << 21))
    (tmp_path / "mv").write_text("a\nb")
    assert texts(tmp_path) == {"mv": ("a", "b")}


def test_a_history_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Proves that each line is taken once, when it is whole."""
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"one\ntw")
    with path.open("rb") as file, path.open("ab") as writer:
        assert list(_whole_lines(file)) == [b"one\n"]
        writer.write(b"o\nthree\n")
        writer.flush()
        assert list(_whole_lines(file)) == [b"two\n", b"three\n"]
        assert list(_whole_lines(file)) == []


def test_a_save_is_seen_however_an_editor_writes(tmp_path: Path) -> None:
    """Proves that a file rewritten in place, one replaced by another of the same size and time, and one that goes away each change what is looked at."""
    script = tmp_path / "mv"
    script.write_text("one\n")
    first = _stamps(tmp_path)
    script.write_text("three\n")
    second = _stamps(tmp_path)
    other = tmp_path / "other"
    other.write_text("seven\n")
    info = script.stat()
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.rename(script)
    third = _stamps(tmp_path)
    script.unlink()
    assert len({str(one) for one in (first, second, third, _stamps(tmp_path))}) == 4


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Path]:
    tree = tmp_path / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", tree)
    yield tree


@pytest.mark.components
def test_a_save_runs_the_cases_that_it_touches(driver: Path) -> None:
    """Proves the whole way: two cases run, a break in the script that only one of them runs is found by that one alone, its repair too; Ctrl-C ends with 2."""
    command = [
        sys.executable,
        "-m",
        "onetck.cli",
        "watch",
        driver,
        "--datastore",
        "fs",
        "--tm",
        "shared",
        "--case",
        "vm-example",
        "--case",
        "image-make",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        said: list[str] = []
        assert running.stdout is not None
        reader = threading.Thread(target=said.extend, args=(running.stdout,))
        reader.start()
        try:
            _until(said, "watching", 1)
            script = driver / "tm/shared/mvds"
            whole = script.read_text()
            script.write_text(whole.replace("\nset -euo pipefail\n", "\nset -euo pipefail\nexit 1\n"))
            _until(said, "watching", 2)
            script.write_text(whole)
            _until(said, "watching", 3)
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(timeout=60)
            reader.join()
    text = "".join(said)
    assert running.returncode == 2, text
    assert "2 of 2 cases without a failure" in text and text.count("tm/shared/mvds: 1 of 2 cases") == 2
    assert text.count("FAIL  vm-example") == 1 and text.count("  ok  vm-example") == 2 and text.count("image-make") == 1


def _until(said: list[str], word: str, times: int) -> None:
    deadline = time.monotonic() + 120
    while sum(line.startswith(word) for line in said) < times:
        assert time.monotonic() < deadline, "".join(said)
        time.sleep(0.05)
