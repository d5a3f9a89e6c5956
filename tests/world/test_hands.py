"""Hands: short work is done by children that live as long as the world; who kills one, or has one hang, does not disturb the next piece of work."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onesim.errors import HarnessError
from onesim.world import hands
from onesim.world.hands import Hand
from onesim.world.namespaces import NamespaceWorld


def nowhere() -> None:
    """Enter nothing."""


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand(nowhere, work)
    yield made
    made.close()
    os.waitpid(made.pid, 0)


def work(message: dict[str, Any]) -> dict[str, Any]:
    match message["do"]:
        case "hang":
            time.sleep(60)
        case "refuse":
            raise ValueError("not so")
        case "fail":
            raise FileNotFoundError(2, "No such file or directory", "/nowhere")
        case "crash":
            raise KeyError("crash")
    return {"told": message["text"], "by": os.getpid(), "in": str(Path.cwd())}


def test_one_child_does_one_piece_of_work_after_the_other(hand: Hand) -> None:
    said = [hand.do({"do": "tell", "text": "x" * size}) for size in (1, 100_000, 3_000_000)]
    assert [len(one["told"]) for one in said] == [1, 100_000, 3_000_000]
    assert {(one["by"], one["in"]) for one in said} == {(hand.pid, "/")}
    assert not hand.gone()


@pytest.mark.parametrize(("what", "error"), [("fail", "No such file or directory: /nowhere"), ("refuse", "not so")])
def test_what_goes_wrong_is_told_and_the_next_piece_is_done(hand: Hand, what: str, error: str) -> None:
    assert hand.do({"do": what}) == {"error": error}
    assert hand.do({"do": "tell", "text": "on"})["told"] == "on"


def test_work_that_hangs_ends_its_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "_WORK_S", 1)
    hand = Hand(nowhere, work)
    assert hand.do({"do": "hang"}) == {"error": "did not end in time"}
    assert hand.gone()
    assert os.waitpid(hand.pid, 0)[1] == signal.SIGALRM


def test_a_hand_that_somebody_has_stopped_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "_WORK_S", 1)
    monkeypatch.setattr(hands, "_LATE_S", 0)
    hand = Hand(nowhere, work)
    os.kill(hand.pid, signal.SIGSTOP)
    assert hand.do({"do": "tell", "text": "x"}) == {"error": "did not end in time"}
    assert os.waitpid(hand.pid, 0)[1] == signal.SIGKILL
    assert hand.gone()
    hand.close()


def test_a_hand_that_crashes_is_gone_and_says_no_more(hand: Hand) -> None:
    assert hand.do({"do": "crash"}) == {"error": "did not end in time"}
    assert hand.gone()


def test_a_place_that_cannot_be_entered_is_told() -> None:
    def enter() -> None:
        raise PermissionError(1, "Operation not permitted", "/proc/1/ns/mnt")

    hand = Hand(enter, work)
    assert hand.do({"do": "tell", "text": "x"}) == {"error": "Operation not permitted: /proc/1/ns/mnt"}
    hand.close()
    os.waitpid(hand.pid, 0)


def test_a_hand_holds_no_pipe_open_that_was_there_before_it() -> None:
    reader, writer = os.pipe()
    hand = Hand(nowhere, work)
    hand.do({"do": "tell", "text": "x"})
    os.close(writer)
    assert select.select([reader], [], [], 5)[0], "the end of the pipe is seen"
    assert os.read(reader, 1) == b""
    os.close(reader)
    hand.close()
    os.waitpid(hand.pid, 0)


# in a world


def test_a_driver_that_kills_all_processes_of_its_user_disturbs_no_later_work(world: NamespaceWorld) -> None:
    world.put("frontend", "/var/tmp/a", b"one")
    ran = world.run("frontend", ["/bin/bash", "-c", "trap '' TERM; kill -KILL -1; echo survived"])
    assert (ran.ended_by, ran.leftovers) in (("exit", ()), ("signal", ()))
    world.put("frontend", "/var/tmp/b", b"two")
    assert (world.read("frontend", "/var/tmp/a"), world.read("frontend", "/var/tmp/b")) == (b"one", b"two")


def test_hands_are_nobodys_leftovers_and_count_against_no_bound(world: NamespaceWorld) -> None:
    for host in ("frontend", "host01", "host02"):
        world.put(host, "/var/tmp/a", b"")
        world.put(host, "/run/a", b"")
    assert world.run("frontend", ["/bin/true"]).leftovers == ()
    ran = world.run("frontend", ["/bin/bash", "-c", "sleep 60 & disown"])
    assert len(ran.leftovers) == 1, ran.leftovers
    assert "sleep" in ran.leftovers[0]


def test_files_are_laid_with_the_drivers_rights_and_by_the_worlds_root_elsewhere(world: NamespaceWorld) -> None:
    world.put("host01", "/var/tmp/mine", b"")
    world.put("host01", "/run/other", b"")
    said = world.run("host01", ["/usr/bin/stat", "-c", "%U", "/var/tmp/mine", "/run/other"]).stdout.split()
    assert said[0] == b"oneadmin"
    assert said[1] in (b"root", b"oneadmin"), "where only one id is mapped, root is oneadmin"


def test_a_host_that_is_not_there_is_told(world: NamespaceWorld) -> None:
    with pytest.raises(HarnessError, match="host 'host99' is not in this world"):
        world.put("host99", "/var/tmp/a", b"")
    world.put("host01", "/var/tmp/a", b"")
