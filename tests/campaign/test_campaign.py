"""A matrix becomes rows, once each, whatever is killed meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onesim.data import data_dir
from onetck.campaign import command
from onetck.campaign.matrix import jobs, read_matrix
from onetck.campaign.store import Store
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
    told = {
        "exit_code": 3,
        "outcome": outcome,
        "failed": "",
        "calls": 1,
        "seconds": 0.1,
        "history_bytes": 1,
        "started_s": 1.0,
        "worker": "w",
        "error": "",
    }
    return {**{name: job.get(name, "") for name in ("key", "driver", "contract", "case", "seed", "backend", "hypervisor")}, **told}


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
    assert len({one["key"] for one in Store(file.with_suffix(".runs")).rows()}) == 4 == len(Store(file.with_suffix(".runs")).rows())


def test_a_failure_is_the_exit_status(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a failure goes before a run of which nothing is known."""
    monkeypatch.setattr(command, "play", lambda job: row(job, "failed" if job["seed"] else "lost"))
    assert invoke(file)[0] == 1


def test_rows_are_gathered_and_none_is_doubled(file: Path, tmp_path: Path) -> None:
    """Proves that a store whose process was killed between gathering and removing has each row once, and half-written files are none."""
    job = {"key": "a", "driver": "d", "contract": "7.4", "case": "c", "seed": 0}
    store = Store(tmp_path / "store")
    store.add(row(job))
    single = (tmp_path / "store/run-a.parquet").read_bytes()
    store.add(row({**job, "key": "b"}))
    store.gather()
    (tmp_path / "store/run-a.parquet").write_bytes(single)
    (tmp_path / "store/run-c.new").write_bytes(b"half")
    again = Store(tmp_path / "store")
    assert sorted(one["key"] for one in again.rows()) == ["a", "b"]
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_keys_change_with_what_is_run(file: Path, tmp_path: Path) -> None:
    """Proves that the same run has the same key, and another one with another seed, contract or content of a trace."""
    first = [one.key for one in jobs(read_matrix(file), tmp_path)]
    assert first == [one.key for one in jobs(read_matrix(file), tmp_path)] and len(set(first)) == 4
    trace = tmp_path / "mine.jsonl"
    file.write_text(file.read_text().replace('cases = ["datastore-monitor"]', 'traces = ["mine.jsonl"]'))
    seen = set(first)
    for text in ("one", "two"):
        trace.write_text(text)
        keys = {one.key for one in jobs(read_matrix(file), tmp_path)}
        assert len(keys) == 4 and not keys & seen
        seen |= keys


def test_backends_and_hypervisors_are_axes(file: Path, tmp_path: Path) -> None:
    """Proves that each is a run of its own with the words for it, and that without them a run is the one that it was."""
    plain = list(jobs(read_matrix(file), tmp_path))
    assert {(one.backend, one.hypervisor) for one in plain} == {("namespaces", "simulated")} and not any("--backend" in one.words for one in plain)
    file.write_text('backends = ["namespaces", "docker"]\n' + file.read_text())
    wide = list(jobs(read_matrix(file), tmp_path))
    assert len({one.key for one in (*plain, *wide)}) == 12
    assert {one.words[one.words.index("--backend") + 1] for one in wide} == {one.backend for one in wide} == {"namespaces", "docker"}
    file.write_text(file.read_text().replace('backends = ["namespaces", "docker"]', 'hypervisors = ["simulated", "qemu"]'))
    assert {one.hypervisor for one in jobs(read_matrix(file), tmp_path)} == {"simulated", "qemu"}


def test_a_run_that_killed_its_workers_is_lost(file: Path, tmp_path: Path) -> None:
    """Proves that such a run has a row that says so, and is made again."""
    job = next(jobs(read_matrix(file), tmp_path))
    store = Store(tmp_path / "store")
    store.add(command._lost(job, "killed three workers"))
    assert store.done() == {job.key: "lost"}
    assert store.rows()[0]["error"] == "killed three workers"


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
def cluster(count: int) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
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
    with cluster(4) as (address, workers):
        command_line = [sys.executable, "-m", "onetck.cli", "campaign", file, "--scheduler", address, "--json"]
        with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            deadline = time.monotonic() + 60
            while not (begun := [one for one in workers if _children(one.pid)]) and time.monotonic() < deadline:
                time.sleep(0.05)
            begun[0].kill()
            out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert json.loads(out)["outcomes"] == {"passed": 4}
    rows = Store(file.with_suffix(".runs")).rows()
    assert len({one["key"] for one in rows}) == len(rows) == 4 and all(one["calls"] for one in rows)


def _children(process: int) -> list[str]:
    """Return the processes that a process has started."""
    return [line for path in Path(f"/proc/{process}/task").glob("*/children") for line in path.read_text().split()]
