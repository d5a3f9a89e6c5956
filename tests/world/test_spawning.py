"""Spawners: programs are started by children of the agent, and none is lost when a driver kills, stops or crowds out what its user runs."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onesim.world.interface import Limits
from onesim.world.namespaces import NamespaceWorld
from onesim.world.spawning import NotStarted, Spawner

QUIET = os.open("/dev/null", os.O_RDWR)
FDS = (QUIET, QUIET, QUIET)


class Ends(dict[int, int]):
    """What a spawner has told: the status of each process id."""

    def note(self, pid: int, status: int) -> None:
        assert pid not in self, "told once"
        self[pid] = status


def until(spawner: Spawner, ends: Ends, count: int) -> bool:
    """Hear until so many programs have ended. Returns whether the spawner was there to the end."""
    with selectors.DefaultSelector() as selector:
        selector.register(spawner.reports, selectors.EVENT_READ)
        while len(ends) < count:
            assert selector.select(10), f"{count - len(ends)} programs were not heard of"
            if not spawner.hear():
                return False
    return True


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def spawner(ends: Ends) -> Iterator[Spawner]:
    made = Spawner(lambda: None, ends.note)
    yield made
    made.dismiss()
    os.close(made.reports)
    os.waitpid(made.pid, 0)


def test_each_program_is_told_once_with_its_status(spawner: Spawner, ends: Ends) -> None:
    """Exit statuses and signals, of programs that run at the same time."""
    pids = [spawner.start(["/bin/sh", "-c", f"exit {n}"], FDS, {}, "/") for n in range(40)]
    pids.append(spawner.start(["/bin/sh", "-c", "kill -TERM $$"], FDS, {}, "/"))
    assert until(spawner, ends, 41)
    assert ends == {**{pid: n for n, pid in enumerate(pids[:40])}, pids[40]: -signal.SIGTERM}


def test_each_is_heard_of_though_nothing_else_happens(spawner: Spawner, ends: Ends) -> None:
    """However its end and the wait for the next program meet."""
    for n in range(500):
        spawner.start(["/bin/true"], FDS, {}, "/")
        assert until(spawner, ends, n + 1)


def test_a_program_has_its_own_descriptors_directory_environment_session_and_signals(spawner: Spawner, ends: Ends, tmp_path: Path) -> None:
    """And nothing else: no descriptor of the spawner's, no signal that Python ignores."""
    with (tmp_path / "said").open("w+b") as file:
        script = 'pwd; ls -x /proc/$$/fd; echo "$A|$(cut -d" " -f6 /proc/$$/stat)|$$"; cat'
        reader, writer = os.pipe()
        os.write(writer, b"given")
        os.close(writer)
        pid = spawner.start(["/bin/sh", "-c", script], (reader, file.fileno(), file.fileno()), {"A": "\udcff é", "PATH": "/usr/bin"}, str(tmp_path))
        assert until(spawner, ends, 1)
        spawner.start(["/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status"], (reader, file.fileno(), file.fileno()), {}, "/")
        os.close(reader)
        assert until(spawner, ends, 2)
        file.seek(0)
        said = file.read().decode(errors="surrogateescape").splitlines()
    assert [said[0], said[1].split(), said[2]] == [str(tmp_path), ["0", "1", "2"], f"\udcff é|{pid}|{pid}"]
    assert said[3].startswith("givenSigBlk")
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in said[3:]] == [0, 0], "of the signals that are not the C library's own"


@pytest.mark.parametrize(
    ("argv", "cwd", "stage", "number"),
    [
        (["/no/such"], "/", "exec", 2),
        (["/etc/passwd"], "/", "exec", 13),
        (["/bin/true"], "/no/such", "cwd", 2),
        (["/bin/echo", "x" * 200_000], "/", "exec", 7),
    ],
)
def test_what_cannot_be_started_is_told_with_its_reason(spawner: Spawner, ends: Ends, argv: list[str], cwd: str, stage: str, number: int) -> None:
    """The next program is started all the same."""
    with pytest.raises(NotStarted) as told:
        spawner.start(argv, FDS, {}, cwd)
    assert (told.value.stage, told.value.errno) == (stage, number)
    pid = spawner.start(["/bin/true"], FDS, {}, "/")
    assert until(spawner, ends, 1)
    assert ends == {pid: 0}


def test_a_place_that_cannot_be_entered_is_told() -> None:
    def enter() -> None:
        raise PermissionError(1, "Operation not permitted")

    spawner = Spawner(enter, lambda pid, status: None)
    with pytest.raises(NotStarted) as told:
        spawner.start(["/bin/true"], FDS, {}, "/")
    assert (told.value.stage, told.value.errno) == ("view", 1)
    spawner.dismiss()
    os.waitpid(spawner.pid, 0)


def test_a_spawner_that_somebody_has_stopped_is_ended(spawner: Spawner, ends: Ends) -> None:
    """The programs that it started are the agent's own then, and it has no more to tell."""
    pid = spawner.start(["/bin/sleep", "0.2"], FDS, {}, "/")
    os.kill(spawner.pid, signal.SIGSTOP)
    time.sleep(0.1)
    spawner.unstick()
    assert not until(spawner, ends, 1)
    until_s = time.monotonic() + 5
    while not spawner.gone() and time.monotonic() < until_s:
        time.sleep(0.01)
    assert spawner.gone()
    assert ends == {} or ends == {pid: -signal.SIGKILL}


# in a world


def test_the_first_deed_of_a_program_may_be_to_kill_whatever_its_user_runs(world: NamespaceWorld) -> None:
    """Its status is its own: the program goes on, and what started it is gone before it could tell the process id."""
    for _ in range(20):
        ran = world.run("frontend", ["/usr/bin/perl", "-e", "kill 9, -1; print 7; exit 7"])
        assert (ran.ended_by, ran.status, ran.stdout, ran.leftovers) == ("exit", 7, b"7", ())
    assert not world.broken


def test_a_program_that_stops_whatever_its_user_runs_is_heard_of(world: NamespaceWorld) -> None:
    ran = world.run("frontend", ["/bin/bash", "-c", "kill -STOP -1; exit 7"], limits=Limits(time_s=20))
    assert (ran.ended_by, ran.status) == ("exit", 7)
    assert ran.duration_ns < 5e9
    assert world.run("frontend", ["/bin/true"]).status == 0


def test_bounds_may_differ_from_one_call_to_the_next(world: NamespaceWorld) -> None:
    """Each has its own, and a running one keeps them."""
    told = [
        world.run("frontend", ["/bin/bash", "-c", "ulimit -u; ulimit -v"], limits=Limits(memory_mb=size)).stdout.split() for size in (100, 200, 100)
    ]
    assert [int(row[1]) for row in told] == [400 << 10, 800 << 10, 400 << 10]
    assert len({row[0] for row in told}) == 1
