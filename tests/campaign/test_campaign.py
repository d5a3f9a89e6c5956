"""A matrix becomes rows, once each, whatever is killed meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import distributed
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from onesim.data import data_dir
from onetck.campaign import cluster, command, playing
from onetck.campaign.matrix import Job, Plan, read_matrix
from onetck.cli import application


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of the reference driver: two contracts, two seeds, one short case."""
    path = tmp_path / "campaign.toml"
    tree = data_dir("reference_driver") / "remotes"
    driver = f'[[driver]]\nname = "reference"\npaths = ["{tree}"]\ndatastore = "fs"\ntm = "shared"\n'
    path.write_text(f'contracts = ["6.4", "7.4"]\ncases = ["datastore-monitor"]\nseeds = 2\n{driver}')
    return path


def row(job: dict[str, Any], outcome: str = "passed") -> dict[str, Any]:
    return {**playing.lost(job), "outcome": outcome, "worker": "w"}


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a campaign, as other programs read them."""
    found: list[dict[str, Any]] = parquet.read_table(file.with_suffix(".runs")).to_pylist()
    return found


def invoke(file: Path) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(application(), ["campaign", str(file), "--json"])
    return done.exit_code, json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))


def test_runs_are_made_once_and_lost_ones_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that each run has one row, that a second campaign makes those only of which nothing is known, and what the exit status says."""
    made: list[str] = []

    def play(job: dict[str, Any]) -> dict[str, Any]:
        made.append(job["key"])
        return row(job, "lost" if job["seed"] == 1 and len(made) <= 4 else "passed")

    monkeypatch.setattr(command, "play", play)
    assert invoke(file) == (3, {"runs": 4, "made": 4, "outcomes": {"lost": 2, "passed": 2}, "store": str(file.with_suffix(".runs"))})
    assert invoke(file) == (0, {"runs": 4, "made": 2, "outcomes": {"passed": 4}, "store": str(file.with_suffix(".runs"))})
    assert invoke(file)[1]["made"] == 0
    assert len(made) == 6 and len(set(made)) == 4
    assert len({one["key"] for one in rows(file)}) == 4 == len(rows(file))


def test_an_interrupted_campaign_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that rows of runs that ended before Ctrl-C are in a Parquet file, and that the others are made by the next campaign."""
    made: list[str] = []

    def play(job: dict[str, Any]) -> dict[str, Any]:
        made.append(job["key"])
        if len(made) == 3:
            raise KeyboardInterrupt
        return row(job)

    monkeypatch.setattr(command, "play", play)
    monkeypatch.setattr(command, "_AHEAD", 1)
    interrupted = CliRunner().invoke(application(), ["campaign", str(file), "-j", "1"])
    assert interrupted.exit_code == 2 and [one["key"] for one in rows(file)] == made[:2]
    assert invoke(file)[1] == {"runs": 4, "made": 2, "outcomes": {"passed": 4}, "store": str(file.with_suffix(".runs"))}
    assert len({one["key"] for one in rows(file)}) == len(rows(file)) == 4


def test_a_million_failures_are_not_a_million_lines(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the first ones are named, the others counted, and that seeds which are named twice are made once."""
    monkeypatch.setattr(command, "play", lambda job: row(job, "failed"))
    monkeypatch.setattr(command, "_NAMED", 5)
    file.write_text(file.read_text().replace("seeds = 2", f"seeds = {[*range(10), *range(10)]}"))
    done = CliRunner().invoke(application(), ["campaign", str(file)])
    assert done.exit_code == 1 and done.output.count("failed: reference") == 5 and done.output.count("further ones") == 1
    assert "20 of 20 runs: 20 failed" in done.output


def test_a_plan_is_made_as_it_is_asked_for(file: Path, tmp_path: Path) -> None:
    """Proves that the runs of a campaign are counted, and begun, without a list of them: this one would fill the memory of any machine."""
    file.write_text(file.read_text().replace("seeds = 2", "seeds = 1_000_000_000_000"))
    plan = Plan(read_matrix(file), tmp_path)
    assert len(plan) == 2_000_000_000_000
    assert [one.seed for one in islice(plan, 3)] == [one.seed for one in islice(plan, 3)] == [0, 1, 2]


def test_a_cluster_is_given_a_few_runs_ahead(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves on a scheduler with a worker, later with two, that it is never given more runs than they have use for, that those who come later have some, that all
    runs have their row, and that one whose execution itself fails is lost with the reason.
    """
    file.write_text(file.read_text().replace("seeds = 2", "seeds = 30"))
    taken, most = 0, 0

    def left() -> Iterator[Job]:
        nonlocal taken, most
        for job in Plan(read_matrix(file), tmp_path):
            taken += 1
            most = max(most, taken - len(ended))
            yield job

    def play(job: dict[str, Any]) -> dict[str, Any]:
        if job["seed"] == 7:
            raise OSError("no room")
        return row(job)

    ended: list[dict[str, Any]] = []
    monkeypatch.setattr(cluster, "play", play)
    monkeypatch.setattr(cluster, "_COUNT_S", 0.0)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as local:
        for one in cluster.on_cluster(left(), local.scheduler_address):
            ended.append(one)
            if len(ended) == 20:
                assert most == cluster._AHEAD
                local.scale(2)
                local.wait_for_workers(2)
    assert len({one["key"] for one in ended}) == len(ended) == 60 and most == 2 * cluster._AHEAD
    assert [(one["seed"], one["error"]) for one in ended if one["outcome"] == "lost"] == [(7, "OSError('no room')")] * 2


def test_a_failure_is_the_exit_status(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a failure goes before a run of which nothing is known."""
    monkeypatch.setattr(command, "play", lambda job: row(job, "failed" if job["seed"] else "lost"))
    assert invoke(file)[0] == 1


def test_keys_change_with_what_is_run(file: Path, tmp_path: Path) -> None:
    """Proves that the same run has the same key, and another one with another seed, contract or content of a trace."""
    first = [one.key for one in Plan(read_matrix(file), tmp_path)]
    assert first == [one.key for one in Plan(read_matrix(file), tmp_path)] and len(set(first)) == 4
    trace = tmp_path / "mine.jsonl"
    file.write_text(file.read_text().replace('cases = ["datastore-monitor"]', 'traces = ["mine.jsonl"]'))
    seen = set(first)
    for text in ("one", "two"):
        trace.write_text(text)
        keys = {one.key for one in Plan(read_matrix(file), tmp_path)}
        assert len(keys) == 4 and not keys & seen
        seen |= keys


def test_keys_change_with_the_description_of_the_world(file: Path, tmp_path: Path) -> None:
    """Proves that runs are made again when the onetck.toml that they are given says otherwise."""
    file.write_text(file.read_text() + 'config = "onetck.toml"\n')
    seen: set[str] = set()
    for limit in (60, 61):
        (tmp_path / "onetck.toml").write_text(f"[limits]\ntime_s = {limit}\n")
        keys = {one.key for one in Plan(read_matrix(file), tmp_path)}
        assert len(keys) == 4 and not keys & seen
        seen |= keys


def test_backends_and_hypervisors_are_axes(file: Path, tmp_path: Path) -> None:
    """Proves that each is a run of its own with the words for it, and that without them a run is the one that it was."""
    plain = list(Plan(read_matrix(file), tmp_path))
    assert {(one.backend, one.hypervisor) for one in plain} == {("namespaces", "simulated")} and not any("--backend" in one.words for one in plain)
    file.write_text('backends = ["namespaces", "docker"]\n' + file.read_text())
    wide = list(Plan(read_matrix(file), tmp_path))
    assert len({one.key for one in (*plain, *wide)}) == 12
    assert {one.words[one.words.index("--backend") + 1] for one in wide} == {one.backend for one in wide} == {"namespaces", "docker"}
    file.write_text(file.read_text().replace('backends = ["namespaces", "docker"]', 'hypervisors = ["simulated", "qemu"]'))
    assert {one.hypervisor for one in Plan(read_matrix(file), tmp_path)} == {"simulated", "qemu"}


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("contracts", "contract", "contract"),
        ('["6.4", "7.4"]', "[]", "no contracts"),
        ("seeds = 2", "seeds = 0", "no seeds"),
        ("seeds = 2", 'faults = "many"', "many"),
        ('["6.4", "7.4"]', '["1.0"]', "1.0"),
        ("seeds = 2", "seeds = [", "campaign.toml"),
        ("seeds = 2", 'backends = ["nowhere"]', "nowhere"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(file: Path, old: str, new: str, said: str) -> None:
    """Proves status 4 and what is wrong."""
    file.write_text(file.read_text().replace(old, new, 1))
    done = CliRunner().invoke(application(), ["campaign", str(file)])
    assert done.exit_code == 4 and said in done.output and "Traceback" not in done.output


@contextmanager
def machines(count: int) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A Dask scheduler and workers, each a process of its own."""
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
            stderr=subprocess.PIPE,
            text=True,
        )
    ]
    try:
        address = ""
        assert begun[0].stderr is not None
        while not address:
            line = begun[0].stderr.readline()
            assert line, "the scheduler has ended"
            found = re.search(r"tcp://\S+", line) if "Scheduler at" in line else None
            address = found.group().replace("0.0.0.0", "127.0.0.1") if found else ""
        worker = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            "--host",
            "127.0.0.1",
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
        ]
        begun += [subprocess.Popen([*worker, "--name", str(n)], stderr=subprocess.DEVNULL, text=True) for n in range(count)]
        yield address, begun[1:]
    finally:
        # a worker that is asked to end waits for its run and for the scheduler
        for one in begun:
            one.kill()
        for one in begun:
            one.wait(timeout=60)
            if one.stderr is not None:
                one.stderr.close()


@pytest.mark.components
def test_a_worker_that_is_killed_costs_no_run(file: Path) -> None:
    """Proves on a real scheduler with four workers, of which one is killed in mid-run, that every run has its row and was judged."""
    with machines(4) as (address, workers):
        command_line = [sys.executable, "-m", "onetck.cli", "campaign", file, "--scheduler", address, "--json"]
        with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            deadline = time.monotonic() + 60
            while not (begun := [one for one in workers if _children(one.pid)]) and time.monotonic() < deadline:
                time.sleep(0.05)
            begun[0].kill()
            out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert json.loads(out)["outcomes"] == {"passed": 4}
    found = rows(file)
    assert len({one["key"] for one in found}) == len(found) == 4 and all(one["calls"] for one in found)


def _children(process: int) -> list[str]:
    """Return the processes that a process has started."""
    return [line for path in Path(f"/proc/{process}/task").glob("*/children") for line in path.read_text().split()]
