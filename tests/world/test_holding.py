"""Several calls at once in a real world: commands are held at gates, and what is seen belongs to the call that did it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from onesim.events import Answer
from onesim.world.interface import Ended, Fault, Held, Limits, Question, Run
from onesim.world.namespaces import NamespaceWorld

RPC = """
body='<?xml version="1.0"?><methodCall><methodName>%s</methodName><params/></methodCall>'
exec 3<>/dev/tcp/127.0.0.1/2633
printf 'POST /RPC2 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %%d\\r\\n\\r\\n%%s' ${#body} "$body" >&3
cat <&3
"""


class Asked:
    """Answers questions and keeps them; those of the API later, if told so."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.later = False
        self.heard: Callable[[Question], None] = lambda question: None

    def __call__(self, question: Question) -> Answer | None:
        self.questions.append(question)
        self.heard(question)
        return None if self.later and question.kind == "xmlrpc" else Answer(b"<x/>")


@pytest.fixture
def asked() -> Asked:
    """Who answers."""
    return Asked()


@pytest.fixture
def world(asked: Asked) -> Iterator[NamespaceWorld]:
    """A world with gates at cp and mv."""
    with NamespaceWorld.start(gates=("cp", "mv"), on_question=asked) as made:
        yield made


def begin(world: NamespaceWorld, call: str, script: str, **more: object) -> None:
    """Start a shell script as a call."""
    world.begin("frontend", ["/bin/bash", "-c", script], call_id=call, **more)  # type: ignore[arg-type]


def ends(world: NamespaceWorld, *calls: str) -> dict[str, Run]:
    """Wait until calls have ended, letting everything go that is held. Returns what was seen of each."""
    seen: dict[str, Run] = {}
    while set(calls) - set(seen):
        event = world.wait(20)
        if isinstance(event, Held):
            world.release(event.number)
        elif isinstance(event, Ended):
            seen[event.call] = event.run
    return seen


def held(world: NamespaceWorld) -> Held:
    """Wait for a command at a gate."""
    event = world.wait(20)
    assert isinstance(event, Held), event
    return event


def test_commands_wait_at_their_gates_for_their_turn(world: NamespaceWorld) -> None:
    """The order in which they go is ours; nothing of a held command has happened; files in between can be read."""
    world.hold()
    for call in ("a", "b"):
        begin(world, call, f"echo {call} >/tmp/{call}; cp /tmp/{call} /tmp/last; mv /tmp/{call} /tmp/gone.{call}")
    first = {one.call: one for one in (held(world), held(world))}
    assert {one.command for one in first.values()} == {"cp"} and world.exists("frontend", "/tmp/a")
    assert not world.exists("frontend", "/tmp/last")
    world.release(first["b"].number)
    second = held(world)
    assert (second.call, second.command, second.ordinal) == ("b", "mv", 1)
    world.release(second.number)
    event = world.wait(20)
    assert isinstance(event, Ended) and event.call == "b" and event.run.status == 0
    world.release(first["a"].number)
    ends(world, "a")
    assert world.run("frontend", ["/bin/cat", "/tmp/last"]).stdout == b"a\n"


def test_the_time_at_a_gate_is_not_the_drivers(world: NamespaceWorld) -> None:
    """A call with a limit of one second that is held for two does not time out; one that sleeps does."""
    world.hold()
    begin(world, "a", "cp /etc/hostname /tmp/x", limits=Limits(time_s=1))
    begin(world, "b", "sleep 5", limits=Limits(time_s=1))
    one = held(world)
    event = world.wait(10)
    assert isinstance(event, Ended) and event.call == "b" and event.run.ended_by == "timeout"
    time.sleep(1)
    world.release(one.number)
    run = ends(world, "a")["a"]
    assert run.ended_by == "exit" and run.duration_ns < 1e9


def test_questions_datagrams_and_output_belong_to_the_call_they_come_from(world: NamespaceWorld, asked: Asked) -> None:
    """Commands, requests of the API and datagrams of three scripts that run at once; also from a host behind ssh."""
    script = "echo {0}; onevm show -x {0}; exec 5>/dev/udp/127.0.0.1/4124; echo -n {0} >&5; " + RPC % "one.{0}" + "sleep 0.3"
    calls = ("a", "b", "c")
    for call in calls[:2]:
        begin(world, call, script.replace("{0}", call))
    begin(world, "c", f"ssh host01 bash -s <<'END'\n{script.replace('{0}', 'c')}\nEND")
    seen = ends(world, *calls)
    for call in calls:
        assert seen[call].stdout.startswith(f"{call}\n".encode())
        assert seen[call].datagrams == (call.encode(),)
        mine = [one for one in asked.questions if one.call == call]
        assert [one.argv for one in mine if one.kind == "command"] == [("onevm", "show", "-x", call)]
        assert [f"one.{call}<".encode() in one.body for one in mine if one.kind == "xmlrpc"] == [True]
    assert len(asked.questions) == 6


def test_a_datagram_is_told_at_once_and_before_what_follows_it(world: NamespaceWorld, asked: Asked) -> None:
    """Of two scripts that run at once: the datagram of each is told before the question that it asks next, and while both still run."""
    told: list[str] = []
    world.on_datagram = lambda sent: told.append(f"{sent.call} sent {sent.data.decode()}")
    asked.heard = lambda question: told.append(f"{question.call} asked")
    script = "exec 5>/dev/udp/127.0.0.1/4124; echo -n {0} >&5; onevm show {0}; cp /etc/hostname /tmp/{0}; echo -n last >&5; sleep 0.3"
    world.hold()
    for call in ("a", "b"):
        begin(world, call, script.replace("{0}", call))
    for one in (held(world), held(world)):
        assert one.command == "onevm" and f"{one.call} sent {one.call}" in told
        world.release(one.number)
    copies: list[Held] = []
    while len(copies) < 2:
        event = world.wait(20)
        copies += [event] if isinstance(event, Held) else []
    for call in ("a", "b"):
        assert [line for line in told if line.startswith(call)] == [f"{call} sent {call}", f"{call} asked"]
    one, other = copies
    world.release(one.number)
    event = world.wait(20)
    assert isinstance(event, Ended) and event.call == one.call and event.run.datagrams == (one.call.encode(), b"last")
    assert told.count(f"{one.call} sent last") == 1 and f"{other.call} sent last" not in told
    world.release(other.number)
    ends(world, other.call)
    assert told.count(f"{other.call} sent last") == 1 and len(told) == 6


def test_an_answer_may_come_later_while_other_calls_run(world: NamespaceWorld, asked: Asked) -> None:
    """The one that asks waits; a call that is begun meanwhile ends first."""
    asked.later = True
    begin(world, "a", RPC % "one.x")
    while not asked.questions:
        world.wait(1)
    begin(world, "b", "echo b")
    assert set(ends(world, "b")) == {"b"}
    world.answer(asked.questions[0].number, Answer(b"<late/>"))
    assert b"<late/>" in ends(world, "a")["a"].stdout


def test_what_a_call_leaves_behind_is_not_blamed_on_another(world: NamespaceWorld) -> None:
    """A process that hides from its call outlives it beside another one: neither that one nor the next is told to have left it."""
    world.hold()
    begin(world, "b", "cp /etc/hostname /tmp/x")
    one = held(world)
    begin(world, "a", "env -i setsid setsid sleep 77 >/dev/null 2>&1 </dev/null & sleep 0.2")
    event = world.wait(20)
    assert isinstance(event, Ended) and event.call == "a"
    world.release(one.number)
    assert ends(world, "b")["b"].leftovers == ()
    assert event.run.leftovers + world.let_go().leftovers == ("sleep 77",)
    assert world.run("frontend", ["/bin/true"]).leftovers == ()


def test_a_slow_command_does_not_slow_the_others(world: NamespaceWorld) -> None:
    """A fault that makes a command of one call slow leaves the other one its pace."""
    begin(world, "a", "cp /etc/hostname /tmp/x", faults=[Fault("cp", 1, "slow", "1500")])
    begin(world, "b", "cp /etc/hostname /tmp/y")
    event = world.wait(20)
    assert isinstance(event, Ended) and event.call == "b" and event.run.duration_ns < 1.2e9
    assert ends(world, "a")["a"].duration_ns >= 1.4e9


def test_a_call_that_is_killed_while_it_is_held_ends(world: NamespaceWorld) -> None:
    """Its command goes nowhere when it is released afterwards."""
    world.hold()
    begin(world, "a", "kill -9 $$ & cp /etc/hostname /tmp/x")
    event = world.wait(20)
    late = event if isinstance(event, Held) else None
    run = ends(world, "a")["a"] if late else event.run  # type: ignore[union-attr]
    assert run.ended_by == "signal" and run.signal == 9
    world.let_go()
    assert world.run("frontend", ["/bin/true"]).ended_by == "exit"
