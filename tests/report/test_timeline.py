"""The picture of a case: what happened stands where it happened, and nothing covers anything else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from onereport.cases import views
from onereport.timeline import Timeline, draw
from onesim.journal import read
from onesim.records import Call, CaseBegin, FaultInjected, GuestWrite, Operation, Record, StateChange

MS = 1_000_000
HOSTS = ("frontend", "host01")


def call(n: int, action: str, at_ms: int, took_ms: float, family: str = "tm", success: bool = True) -> Call:
    """Return a call of operation 1 for host01."""
    moment = {"at_ns": at_ms * MS, "duration_ns": int(took_ms * MS)}
    return Call("c", n, 1, family, "acme", action, f"/{action}", "frontend", (), {}, success, "exit", facts={"host": "host01"}, **moment)


def state(name: str, at_ms: int, of: str = "vm") -> StateChange:
    """Return a change of state of a VM or an image in operation 1."""
    return StateChange("c", of, 0, "one", name, operation=1, at_ns=at_ms * MS)


def picture(calls: list[Call], states: list[StateChange], faults: tuple[FaultInjected, ...] = ()) -> Timeline:
    """Draw a deploy with these calls and states."""
    begin = CaseBegin("c", "a case", HOSTS)
    return draw(
        begin, [Operation("c", 1, "vm.deploy", {"vm": "one", "host": "host01"})], calls, states, [GuestWrite("c", 1, 0, 0, "host01", "", ())], faults
    )


def test_a_state_stands_above_the_call_before_which_it_was_reached() -> None:
    """Of those of one moment the last is shown and all are told; the last one of all stands behind the calls; those of the image are left out."""
    states = [state("LCM_INIT", 0), state("PROLOG", 1), state("BOOT", 60), state("USED", 61, "image"), state("RUNNING", 90)]
    made = picture([call(0, "clone", 2, 50), call(1, "deploy", 61, 20, family="vmm")], states)
    clone, deploy = made.bars
    assert [(one.label, one.x) for one in made.states[:2]] == [("PROLOG", clone.x), ("BOOT", deploy.x)]
    assert made.states[0].title == "vm one: LCM_INIT, PROLOG"
    assert made.states[2].label == "RUNNING" and made.states[2].x >= deploy.x + deploy.width
    assert [one.label for one in made.operations] == ["deploy one"]


def test_of_an_image_its_own_states_are_shown() -> None:
    """Where the operation is about no VM."""
    made = picture([call(0, "cp", 5, 3)], [state("LOCKED", 1, "image"), state("READY", 9, "image")])
    assert [one.label for one in made.states] == ["LOCKED", "READY"]


@pytest.mark.parametrize(("took_ms", "said"), [(0.4, "0.4 ms"), (54.5, "54 ms"), (9999.0, "9999 ms"), (61_000.0, "61.0 s")])
def test_a_duration_stands_below_its_bar(took_ms: float, said: str) -> None:
    """In few letters; a longer call has a longer bar."""
    short, long = picture([call(0, "mv", 0, took_ms), call(1, "mv", 1, took_ms * 1000)], []).bars
    assert short.duration == said and f"{took_ms:.1f} ms" in short.title
    assert long.width > short.width


def test_a_fault_is_marked_where_it_struck() -> None:
    """One that the call never reached was not injected."""
    faults = (FaultInjected("c", 0, "cp", 1, "cut", hit=True), FaultInjected("c", 1, "cp", 1, "fail", hit=False))
    struck, spared = picture([call(0, "mv", 0, 1, success=False), call(1, "mv", 1, 1)], [], faults).bars
    assert struck.fault == "cut at cp" and "injected fault: cut at cp" in struck.title and struck.failed
    assert spared.fault == "" and "fault" not in spared.title


def test_nothing_covers_anything_else() -> None:
    """In a run that was recorded: bars of one lane, states and operations follow each other, and all lies within the picture."""
    history = read(Path(__file__).parents[1] / "evidence" / "data" / "schema1" / "history.jsonl", Record)
    drawn = 0
    for view in views(history):
        made = view.timeline()
        drawn += len(made.bars)
        lanes = {lane.y for lane in made.lanes}
        for lane in lanes:
            for left, right in pairwise(sorted((bar.x, bar.width) for bar in made.bars if bar.y == lane)):
                assert left[0] + left[1] <= right[0]
        for marks in (made.states, made.operations):
            for before, after in pairwise(marks):
                assert before.x + 5 * len(before.label) <= after.x
        assert all(bar.x + bar.width <= made.width and bar.y in lanes for bar in made.bars)
        assert max(lanes) + 20 <= made.height
    assert drawn
