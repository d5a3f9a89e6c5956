"""`onetck trace` and its commands, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commanded import run

from onesim.spec import load
from onesim.trace import read_trace, shipped
from onetck import nullplay, retracing
from onetck.tracing import timeline


def test_without_a_command_the_operations_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its arguments and what it means."""
    assert run("trace") == 0
    said = capsys.readouterr().out
    assert "vm.deploy vm [host] [datastore]  from HOLD, PENDING, STOPPED, UNDEPLOYED" in said and "fault.next action act" in said


def test_a_new_trace_is_in_order_and_never_replaces_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the file's name, and the title asked for; where a file is, the message says so."""
    path = tmp_path / "mine.jsonl"
    assert run("trace", "new", str(path), "--title", "Of my own") == 0
    assert run("trace", "check", str(path)) == 0
    trace = read_trace(path, load())
    assert (trace.name, trace.header.title) == ("mine", "Of my own")
    assert run("trace", "new", str(path)) == 4
    assert "is there already" in capsys.readouterr().err


def test_check_says_what_oned_would_refuse_and_goes_on_with_the_next_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace that is well formed and cannot be played is named with its line; the others are checked all the same."""
    (tmp_path / "bad.jsonl").write_text('{"trace": 1, "name": "bad", "title": "t"}\n{"op": "vm.create", "vm": "a"}\n{"op": "vm.resume", "vm": "a"}\n')
    assert run("trace", "new", str(tmp_path / "good.jsonl")) == 0
    assert run("trace", "check", str(tmp_path)) == 4
    said = capsys.readouterr()
    assert f"{tmp_path}/bad.jsonl:3: oned refuses vm.resume" in said.err and "good.jsonl: in order" in said.out


def test_normalise_is_idempotent_and_orders_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments in the order of the table; what is said by leaving it out is left out."""
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"title": "t", "trace": 1, "name": "x", "profile": "core"}\n{"host": "host01", "expect": "success", "op": "vm.deploy", "vm": "a"}\n'
    )
    assert run("trace", "normalise", str(path), "--write") == 0
    text = path.read_text()
    assert text == '{"trace":1,"name":"x","title":"t"}\n{"op":"vm.deploy","vm":"a","host":"host01"}\n'
    capsys.readouterr()
    assert run("trace", "normalise", str(path)) == 0 and capsys.readouterr().out == text


def test_the_timeline_shows_states_calls_and_what_overlaps(capsys: pytest.CaptureFixture[str]) -> None:
    """Operations that are asked beside each other are bracketed; each object has a lane with its states."""
    assert run("trace", "show", "vms-together") == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("┌", "└", "● RUNNING", "tm/clone", "╵ GONE"))
    moments = timeline(next(one for one in shipped(load()) if one.name == "vm-plain"), "")
    assert [moment.states.get("vm01") for moment in moments if "vm01" in moment.states] == ["PENDING", "RUNNING", "POWEROFF", "RUNNING", "DONE"]
    assert run("trace", "show", "no-such") == 4 and "onetck trace list" in capsys.readouterr().err


@pytest.mark.components
def test_a_history_becomes_a_trace_that_tells_all_calls(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Operations as they were played, under each its calls with documents in clear; no id, host, place or time of that world is left in a call's arguments."""
    assert run("trace", "from", str(example)) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    clone = next(row for row in rows if row.get("seen") == "tm/clone")
    assert clone["argv"][:2] == ["${host:frontend}:${source:os}", "${host:host01}:${location}/${datastore:system}/${vm:vm01}/disk.0"]
    assert clone["argv"][2:] == ["${vm:vm01}", "${datastore:images}"]
    copied = next(row for row in rows if row.get("seen") == "ds/cp")
    assert copied["stdin"] == "${document}" and "<ID>${image:os}</ID>" in copied["document"] and "${time}" in copied["document"]
    assert copied["parsed"]["source"] == "${source:os}"
    (trace,) = retracing.traces_of(retracing.history_of(example))
    called = [one.seen for step in trace.steps for one in step.seen]
    assert called == [one.seen for step in nullplay.NullPlay(retracing.for_contract(), trace).trace.steps for one in step.seen]
