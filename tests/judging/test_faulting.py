"""Fault cases follow from what a case's calls ran, by the table; each is a trace that oned takes, whether the fault makes its call fail or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from onesim.data import data_dir
from onesim.errors import SpecError, TraceError
from onesim.records import Call, Command
from onesim.spec import Spec, load
from onesim.trace import Trace, library, parse_trace
from onesim.tracetext import renamed, render
from onetck.faulting import Place, alike, derive, names, order, places, widened
from onetck.plan import foresee
from onetck.setting import Given, settle

SETTING = settle(Given(config=data_dir("reference_driver") / "onetck.toml"))
SPEC = SETTING.spec.spec
TRACES = {one.name: one for one in library(SPEC, SETTING.spec.version)}


def call(n: int, operation: int, action: str, *commands: str, **told: object) -> Call:
    """Return a call that went well and ran commands: `host:name`."""
    family, _, name = action.partition("/")
    ran = tuple(Command(one.partition(":")[2], (), one.partition(":")[0]) for one in commands)
    facts: dict[str, object] = {"success": True, "ended_by": "exit", "commands": ran, **told}
    return Call("c", n, operation, family, "shared", name, "", "frontend", (), {}, **facts)  # type: ignore[arg-type]


def index(trace: Trace, op: str) -> int:
    """Return the number of the first step with an operation."""
    return next(n for n, step in enumerate(trace.steps) if step.op == op)


def found(level: str, trace: Trace, *calls: Call) -> list[Place]:
    """Return the places of a case."""
    return list(places(SPEC, level, trace, calls))


def deploy(*commands: str) -> tuple[Trace, Call]:
    """Return the example case and the call of its clone."""
    trace = TRACES["vm-example"]
    return trace, call(3, index(trace, "vm.deploy"), "tm/clone", *commands)


def test_places_are_what_the_table_says() -> None:
    """Every gated command gives a place for each kind that applies to it: by class, by host, by level; its ordinal counts on its host alone."""
    trace, clone = deploy("frontend:ssh", "host01:cp", "frontend:cp", "host01:cp", "host01:awk")
    basic = {(one.host, one.command, one.ordinal, one.kind.name) for one in found("basic", trace, clone)}
    assert {kind for host, name, n, kind in basic if (host, name, n) == ("host01", "cp", 2)} == {
        "fails", "cut", "storage-full", "host-lost", "terminated", "killed",
    }  # fmt: skip
    assert {kind for _, name, _, kind in basic if name == "ssh"} == {"host-lost", "terminated", "killed"}
    assert {n for host, name, n, _ in basic if (host, name) == ("frontend", "cp")} == {1}
    assert ("frontend", "cp", 1, "host-lost") not in basic
    assert not any(name == "awk" for _, name, _, _ in basic), "a command of no class is not struck"
    full = {one.kind.name for one in found("full", trace, clone)}
    assert full >= {"slow", "hangs", "locked"} - {"locked"} | {"never-began", "storage-readonly", "storage-fills", "broken-off"}


def test_no_host_is_lost_under_a_guest_that_runs() -> None:
    """It would be gone with its host, and nothing could be asked again."""
    trace, clone = deploy("host01:virsh", "host01:cp")
    kinds = {one.kind.name for one in found("full", trace, clone)}
    assert "host-lost" not in kinds and "killed" in kinds


@pytest.mark.parametrize("told", [{"success": False}, {"ended_by": "timeout"}, {"observed": False}, {"operation": -1}])
def test_only_what_went_well_alone_is_struck(told: dict[str, object]) -> None:
    """A call that failed, overlapped with others or belongs to no operation gives no place."""
    trace, clone = deploy("host01:cp")
    assert found("full", trace, msgspec.structs.replace(clone, **told)) == []


@pytest.mark.parametrize("case", ["vm-retry", "vms-together", "host-down"])
def test_a_case_with_faults_or_overlaps_of_its_own_gives_none(case: str) -> None:
    """It has been thought out for one special thing."""
    trace = TRACES[case]
    assert found("full", trace, call(0, index(trace, "vm.deploy"), "tm/clone", "host01:cp")) == []


def test_calls_that_run_the_same_count_once_where_they_cost_least() -> None:
    """Places of two calls that run the same commands are one, on whatever host; those of calls that run others are others."""
    trace, clone = deploy("host01:cp")
    mine = found("basic", trace, clone)
    dear = [replace(one, case="dear", cost=9) for one in found("basic", trace, deploy("host02:cp")[1])]
    longer = found("basic", trace, deploy("host01:mkdir", "host01:cp")[1])
    assert {one.case for one in alike([*dear, *mine])} == {"vm-example"}
    assert len(alike([*dear, *mine, *longer])) == len(mine) + len(longer)


def test_it_does_not_matter_which_end_of_a_pipe_came_first() -> None:
    """The two ends of a pipe start in any order: the places, those that count once and what the seed picks of them stay the same."""
    trace, one = deploy("frontend:dd", "frontend:cp", "frontend:mv")
    _, other = deploy("frontend:cp", "frontend:dd", "frontend:mv")
    for level in ("basic", "full"):
        here, there = (
            alike(found(level, trace, *calls)) for calls in ((one, msgspec.structs.replace(other, n=9)), (other, msgspec.structs.replace(one, n=9)))
        )
        assert {place.key for place in here} == {place.key for place in there} == {place.key for place in found(level, trace, one)}
        assert order(level, 3, here) == order(level, 3, there)


def test_cases_that_cost_much_come_last_at_level_basic() -> None:
    """Chance picks among those that cost up to twice as much as the least."""
    trace, clone = deploy("host01:mkdir", "host01:cp", "host01:mv")
    mine = [replace(one, cost=10 + 9 * one.ordinal if one.command != "mv" else 99) for one in found("basic", trace, clone)]
    for seed in range(20):
        for group in order("basic", seed, mine):
            assert group[0].command != "mv" or len({one.command for one in group}) == 1


def test_the_seed_picks_one_place_for_each_action_and_kind() -> None:
    """basic: the same seed picks the same, others pick others; full takes all."""
    trace, clone = deploy("host01:mkdir", "host01:cp", "host01:mv", "host01:chmod")
    all_of = found("basic", trace, clone)
    first = {seed: [group[0].key for group in order("basic", seed, all_of)] for seed in range(8)}
    assert first[3] == [group[0].key for group in order("basic", 3, all_of)]
    assert len({tuple(keys) for keys in first.values()}) > 1
    groups = [(group[0].action, group[0].kind.name) for group in order("basic", 0, all_of)]
    assert len(set(groups)) == len(groups)
    assert sorted(len(group) for group in order("full", 0, all_of)) == [1] * len(all_of)


def kind(name: str, trace: Trace, struck: Call) -> Place:
    """Return the first place of a kind."""
    return next(one for one in found("full", trace, struck) if one.kind.name == name)


def derived(name: str, trace: Trace, struck: Call) -> list[dict[str, object]]:
    """Return what a derived trace does that its case does not, in order; the trace is read again from its text, and oned takes it."""
    made = derive(SETTING.spec, SETTING.subject, trace, kind(name, trace, struck))
    assert made is not None
    again = parse_trace(render(renamed(made, "fault-x"), SPEC), Path("x"), SPEC)
    foresee(SETTING.spec, SETTING.subject, again)
    assert (again.name, again.header.profile, again.header.shared) == ("fault-x", trace.header.profile, trace.header.shared)
    known = [(step.op, step.arguments) for step in trace.steps]
    return [
        {"op": one.op, "expect": one.expect, "after": one.after, "about": one.about, **one.arguments}
        for one in again.steps
        if (one.op, one.arguments) not in known or one.expect != "success" or one.after
    ]


def test_a_prolog_is_recovered() -> None:
    """After a deploy that failed oned has vm.recover_retry; it is asked only where the fault made a call fail."""
    trace, clone = deploy("host01:cp")
    fault, spoiled, again = derived("cut", trace, clone)
    assert {key: fault[key] for key in ("op", "action", "act", "command", "ordinal", "host", "arg", "kind")} == {
        "op": "fault.next", "action": "tm/clone", "act": "cut", "command": "cp", "ordinal": 1, "host": "host01", "arg": "64", "kind": "cut",
    }  # fmt: skip
    assert (spoiled["op"], spoiled["expect"]) == ("vm.deploy", "any")
    assert (again["op"], again["after"], again["about"], again["expect"]) == ("vm.recover_retry", "failure", "retry", "success")


def test_an_image_is_deleted_and_registered_again() -> None:
    """The image that a failed cp leaves in error has the name, so it goes first."""
    trace = TRACES["vm-example"]
    steps = derived("fails", trace, call(1, index(trace, "image.register"), "ds/cp", "frontend:cp"))
    assert [one["op"] for one in steps] == ["fault.next", "image.register", "image.delete", "image.register"]
    assert [one["after"] for one in steps] == ["", "", "failure", "failure"]


def test_what_only_takes_longer_must_succeed() -> None:
    """slow: the operation is expected to succeed, and nothing is done again."""
    trace, clone = deploy("host01:cp")
    assert [one["op"] for one in derived("slow", trace, clone)] == ["fault.next"]


def test_a_vm_is_given_up_and_the_rest_goes_on_without_it() -> None:
    """given-up: the VM is deleted beside the call, and what names it afterwards is left out."""
    trace, clone = deploy("host01:cp")
    made = derive(SETTING.spec, SETTING.subject, trace, kind("given-up", trace, clone))
    assert made is not None
    again = parse_trace(render(renamed(made, "fault-x"), SPEC), Path("x"), SPEC)
    at = index(again, "vm.recover_delete")
    assert (again.steps[at].beside, again.steps[at - 1].op) == ("tm/clone", "vm.deploy")
    assert [(step.op, step.arguments["image"]) for step in again.steps[at + 1 :]] == [("image.delete", "os"), ("image.delete", "data")]


def test_the_second_call_of_an_action_is_struck_by_letting_one_pass() -> None:
    """`skip` counts the calls of that action in the operation before."""
    trace, clone = deploy("host01:cp")
    second = call(4, clone.operation, "tm/clone", "host01:mkdir")
    made = derive(SETTING.spec, SETTING.subject, trace, next(one for one in found("full", trace, clone, second) if one.command == "mkdir"))
    assert made is None, "the example's deploy clones one disk: no second clone can fail"
    assert next(one for one in found("full", trace, clone, second) if one.command == "mkdir").skip == 1


def test_a_snapshot_that_is_made_again_has_another_id() -> None:
    """What names snapshots by id is left out of the rest, and the case still ends."""
    trace = TRACES["snapshots-raw"]
    made = derive(
        SETTING.spec, SETTING.subject, trace, kind("fails", trace, call(9, index(trace, "vm.snapshot_create"), "tm/snap_create", "host01:cp"))
    )
    assert made is not None
    after = made.steps[[step.after for step in made.steps].index("failure") + 1 :]
    assert not any("snapshot" in step.arguments for step in after)
    assert after[-1].op == "image.delete"


def test_names_tell_action_command_ordinal_and_kind_and_are_unlike() -> None:
    """The host stands in the name where it is not the front-end."""
    trace, clone = deploy("frontend:cp", "host01:cp")
    picked = [one for one in found("basic", trace, clone) if one.kind.name == "cut"]
    assert names(picked) == ["fault-tm-clone-cp-1-cut", "fault-tm-clone-host01-cp-1-cut"]
    assert names([picked[0], picked[0]]) == ["fault-tm-clone-cp-1-cut", "fault-tm-clone-cp-1-cut-2"]


def test_every_class_is_gated_in_a_run_with_faults() -> None:
    """The gates of the case itself stay."""
    trace = TRACES["backup-cut"]
    gates = widened(SPEC, trace).header.gates
    assert set(gates) >= {*trace.header.gates, *(name for row in SPEC.command_classes.values() for name in row.commands)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"op": "fault.next", "action": "tm/clown", "act": "cut", "command": "cp"}', "no action 'tm/clown'"),
        ('{"op": "fault.next", "action": "tm/clone", "act": "burn", "command": "cp"}', "act 'burn' is unknown"),
        ('{"op": "fault.next", "action": "tm/clone", "act": "cut"}', "needs a command"),
        ('{"op": "fault.next", "action": "tm/clone", "act": "lost", "command": "cp"}', "takes no command"),
        ('{"op": "fault.next", "action": "tm/clone", "act": "cut", "command": "cp", "kind": "x"}', "kind 'x' of fault is unknown"),
        ('{"op": "fault.next", "action": "vmm/migrate", "act": "cut", "command": "cp"}', "it can only fail, and at no command"),
        ('{"op": "vm.resume", "vm": "a", "after": "success"}', '"after" is failure'),
    ],
)
def test_traces_with_impossible_faults_are_refused(line: str, said: str) -> None:
    """One line names file, place and remedy."""
    text = f'{{"trace": 1, "name": "x", "title": "x"}}\n{{"op": "vm.create", "vm": "a", "disks": []}}\n{line}\n'
    with pytest.raises(TraceError, match=said) as raised:
        parse_trace(text, Path("x.jsonl"), SPEC)
    assert str(raised.value).startswith("x.jsonl:3: ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('act = "cut"', 'act = "burn"', "kind cut: unknown act 'burn'"),
        ('arg = "TERM"', 'arg = "STOP"', "kind terminated: 'STOP' is no argument of die"),
        ('at = ["remote"]', 'at = ["far"]', "kind broken-off: unknown class of commands 'far'"),
        ('name = "cut"', 'name = "fails"', "kind fails: stands twice"),
        ('act = "lost"', 'act = "readonly"', "kind never-began: names in `at` where it strikes"),
        ('ends = "success"', 'ends = "never"', "Invalid enum value 'never'"),
        ('act = "slow"\narg = "500"', 'act = "full"\narg = "500"', "kind slow: an action struck by full need not succeed"),
        ('holds = ["time"]', 'holds = ["grace"]', "Invalid enum value 'grace'"),
        ("\naway = true", '\naway = true\nactions = ["tm/clown"]', "kind host-lost: unknown action 'tm/clown'"),
        ('beside = "vm.recover_delete"', 'beside = "vm.fly"', "kind given-up: 'vm.fly' is no operation of a VM"),
        ('commands = ["ssh"]', "commands = []", "class remote: lists commands by their names"),
    ],
)
def test_the_table_refuses_nonsense(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The loader names file and row."""
    root = data_dir("spec")
    for path in root.iterdir():
        if path.name != "faults.toml":
            (tmp_path / path.name).symlink_to(path)
    text = (root / "faults.toml").read_text()
    assert old in text
    (tmp_path / "faults.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(SpecError, match=r"faults\.toml") as raised:
        load(tmp_path)
    assert said in str(raised.value)


def test_the_table_of_the_installation_is_whole() -> None:
    """It loads, and has kinds of both levels."""
    assert isinstance(SETTING.spec.spec, Spec)
    assert {one.level for one in SPEC.faults.values()} == {"basic", "full"}
