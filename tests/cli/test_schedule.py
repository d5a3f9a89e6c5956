"""The order of calls that overlap, from the command line: a seed picks it, a history repeats it, and a failure comes again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.journal import read
from onesim.records import Call, Header, Record, Together, Turn
from onetck.cli import main

REFERENCE = data_dir("reference_driver") / "remotes"
# keeps what it is to do in a file that all share, so that the outcome depends on who comes between
CARELESS = """#!/bin/bash
echo "$2" >/var/lib/one/datastores/0/.destination
mkdir -p /var/lib/one/datastores/0
mkdir -p /var/lib/one/datastores/0
destination=$(cat /var/lib/one/datastores/0/.destination)
[[ $destination == "$2" ]] || { echo "this clone goes to ${destination##*/datastores}" >&2; exit 1; }
exec "$0.orig" "$@"
"""


PATIENT = """#!/bin/bash
exec 9>/var/tmp/clone.lock
flock 9
"$0.orig" "$@"
"""


def with_clone(remotes: Path, text: str) -> Path:
    """Copy the reference driver, with another clone around its own."""
    shutil.copytree(REFERENCE, remotes)
    script = remotes / "tm/shared/clone"
    script.rename(script.with_name("clone.orig"))
    script.write_text(text)
    script.chmod(0o755)
    return remotes


def run(remotes: Path, out: Path, *words: str) -> list[Record]:
    """Run the case and return the records of its history."""
    with pytest.raises(SystemExit):
        main(["run", str(remotes), "--datastore", "fs", "--tm", "shared", "--case", "vms-together", "--out", str(out), "--json", *words])
    return list(read(out / "history.jsonl", Record))


def schedules(records: list[Record]) -> list[tuple[object, ...]]:
    """Return the schedules of a history, without names that are made anew in each run."""
    return [one.turns for one in records if isinstance(one, Together)]


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals stay as they are."""
    monkeypatch.setattr("onetck.running.terminate_as_interrupt", lambda: None)


@pytest.mark.whole
@pytest.mark.usefixtures("quiet")
def test_a_seed_picks_the_order_and_a_history_repeats_it(tmp_path: Path) -> None:
    """The header keeps the seed; without one it is 0."""
    first = run(REFERENCE, tmp_path / "first", "--seed", "11")
    other = run(REFERENCE, tmp_path / "other")
    assert [one.seed for one in (*first, *other) if isinstance(one, Header)] == [11, 0]
    assert len(schedules(first)) == 4 and schedules(first) != schedules(other)
    again = run(REFERENCE, tmp_path / "again", "--schedule", str(tmp_path / "first" / "history.jsonl"))
    assert schedules(again) == schedules(first)
    assert not any(one.diverged for one in again if isinstance(one, Together))


@pytest.mark.usefixtures("quiet")
def test_a_failure_comes_again_with_its_schedule(tmp_path: Path) -> None:
    """Which call finds another's destination is the same in the repeated run."""
    remotes = with_clone(tmp_path / "remotes", CARELESS)
    failed = []
    for name, words in (("first", ("--seed", "2")), ("again", ("--schedule", str(tmp_path / "first" / "history.jsonl")))):
        records = run(remotes, tmp_path / name, *words)
        failed.append([(one.n, one.error) for one in records if getattr(one, "family", "") == "tm" and not one.success])  # type: ignore[union-attr]
    assert failed[0] and failed[0] == failed[1]


@pytest.mark.components
@pytest.mark.usefixtures("quiet")
def test_a_driver_that_waits_for_a_lock_is_let_wait(tmp_path: Path) -> None:
    """Of clones that begin at once one goes on, and the others after it; none fails, and none is told to be slow."""
    records = run(with_clone(tmp_path / "remotes", PATIENT), tmp_path / "out", "--timeout-s", "8")
    clones = [one for one in records if isinstance(one, Call) and one.action == "clone"]
    assert len(clones) == 3 and all(one.success for one in clones)
    turns = next(one.turns for one in records if isinstance(one, Together))
    ends = [turns.index(Turn("end", one.n)) for one in clones]
    begins = [next(at for at, turn in enumerate(turns) if turn.call == one.n and turn.what == "pass") for one in clones]
    assert sorted(ends)[0] < sorted(begins)[1] and sorted(ends)[1] < sorted(begins)[2]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["nowhere.jsonl", "out/history.jsonl"])
def test_a_schedule_that_cannot_be_had_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No such file, or one that this run would write over."""
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["run", str(REFERENCE), "--out", str(tmp_path / "out"), "--schedule", str(tmp_path / name)])
    assert end.value.code == 4
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("onetck: ")
