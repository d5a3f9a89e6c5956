"""Jobs and cores: where there is one core for each job, a job keeps to its own with all that it starts; else nothing is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from onetck import cores

_TOLD = "import os; print(*sorted(os.sched_getaffinity(0)))"


def seen(jobs: int) -> list[str]:
    """Return the cores of a process that each of some jobs starts."""
    everybody = Barrier(jobs)

    def job(n: int) -> str:
        everybody.wait()
        return subprocess.run([sys.executable, "-c", _TOLD], capture_output=True, text=True, check=True).stdout.strip()

    with ThreadPoolExecutor(jobs, initializer=cores.apart(jobs)) as pool:
        return sorted(pool.map(job, range(jobs)))


@pytest.fixture
def all_cores() -> str:
    return " ".join(map(str, sorted(os.sched_getaffinity(0))))


def test_one_core_for_each_job(monkeypatch: pytest.MonkeyPatch, all_cores: str) -> None:
    names = all_cores.split()
    if len(names) < 2:
        pytest.skip("this machine has one core")
    assert seen(len(names)) == sorted(names)
    assert " ".join(map(str, sorted(os.sched_getaffinity(0)))) == all_cores, "the thread that waits for them is where it was"


@pytest.mark.parametrize("more", [1, 2])
def test_with_more_jobs_than_cores_nobody_is_tied(all_cores: str, more: int) -> None:
    jobs = len(all_cores.split()) + more
    assert seen(jobs) == [all_cores] * jobs


def test_as_many_jobs_as_cores_are_left_to_this_process(all_cores: str) -> None:
    told = [sys.executable, "-c", "from onetck import cores; print(cores.count())"]
    one = subprocess.run(["taskset", "-c", all_cores.split()[-1], *told], capture_output=True, text=True, check=True).stdout
    assert (int(one), cores.count()) == (1, len(all_cores.split()))


def test_a_machine_with_many_cores_has_no_more_jobs_than_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(192)))
    assert (cores.count(), cores.jobs()) == (192, cores.JOBS_MAX)


def test_one_job_has_all_cores(all_cores: str) -> None:
    assert seen(1) == [all_cores]


def test_a_sandbox_that_forbids_it_only_makes_it_slower(monkeypatch: pytest.MonkeyPatch, all_cores: str) -> None:
    def forbidden(*words: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert set(seen(len(all_cores.split()))) == {all_cores}
