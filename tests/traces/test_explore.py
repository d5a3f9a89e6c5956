"""`onetck explore`: walks are legal and repeat with their seed, what is found is made as short as can be, and miniatures that break rarely are found."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from commanded import run
from rare import ROWS, build

from onesim.data import data_dir
from onesim.errors import HarnessError, TraceError
from onesim.spec import load
from onesim.trace import Step, Trace, TraceHeader, read_trace
from onesim.tracetext import render
from onetck import certify
from onetck.exploring import Explorer
from onetck.nullplay import NullPlay
from onetck.plan import file_sizes, foresee
from onetck.setting import Given, Setting, settle
from onetck.shortening import shorter

#: Those that are found soon enough for each run of CI.
SHORT = ("a-vm-moves-eight-times", "a-failed-snapshot-keeps-its-lock")


@pytest.fixture(scope="module")
def setting() -> Setting:
    """The reference driver in its plain role."""
    return settle(Given(config=data_dir("reference_driver") / "onetck.toml", lines=False))


class InMemory(Explorer):
    """An explorer whose walks are not played: a trace breaks TM-CLONE-001 if `breaks` says so of it. It stops after `walks` walks."""

    def __init__(self, setting: Setting, seed: int, breaks: Callable[[Trace], bool], walks: int = 6, *, faults: bool = False) -> None:
        profile = certify.certified(setting, certify.Wish(Path("x"), "core"))
        super().__init__(setting, profile, seed, 3600, 1, lambda line: None, faults=faults)
        self.breaks, self.walks, self.seen = breaks, walks, list[Trace]()

    def _play(self, traces: Sequence[Trace]) -> list[frozenset[str]]:
        self.seen += traces
        if self.found.trace is None and len(self.seen) >= self.walks:
            self.deadline_s = 0.0
        self.found.runs += len(traces)
        return [frozenset({"TM-CLONE-001"} if self.breaks(one) else ()) for one in traces]


def test_walks_are_legal_and_the_same_with_the_same_seed(setting: Setting) -> None:
    """oned refuses no step of any; the seed picks them all; operations overlap, faults strike, and many kinds of operation are walked."""
    first, again, other = (InMemory(setting, seed, lambda trace: False, faults=True) for seed in (3, 3, 4))
    for explorer in (first, again, other):
        explorer.explore()
    spec = setting.spec.spec
    texts = [[render(one, spec) for one in explorer.seen] for explorer in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]
    steps = [step for trace in first.seen + other.seen for step in trace.steps]
    assert any(step.beside for step in steps) and any(step.op == "fault.next" for step in steps)
    assert len({step.op for step in steps}) >= 12
    for trace in first.seen:
        played = NullPlay(setting.spec, trace, setting.subject)
        assert not [why for n, why in played.refused.items() if trace.steps[n].expect == "success" and not trace.steps[n].after]


def test_what_fails_in_a_walk_is_no_find(setting: Setting) -> None:
    """What the machine or a table is to blame for ends the exploration as what it is."""

    def broken(trace: Trace) -> bool:
        raise HarnessError("a world cannot be made: no room")

    with pytest.raises(HarnessError, match="no room"):
        InMemory(setting, 1, broken).explore()


def test_a_trace_that_cannot_be_spoils_none_beside_it(setting: Setting) -> None:
    """Of traces that are played together one asks for what cannot be: it breaks nothing, and what another one breaks is told."""

    class Judging(InMemory):
        """An explorer whose traces are played after all, by a stand-in."""

        _play = Explorer._play

        def _judge(self, new: Mapping[str, Trace]) -> None:
            if any(len(one.steps) == 1 for one in new.values()):
                raise TraceError("explored:0: oned refuses vm.deploy")
            self._known |= dict.fromkeys(new, frozenset({"TM-CLONE-001"}))

    steps = tuple(Step(0, op, arguments) for op, arguments in SAVED)
    traces = [Trace("x", TraceHeader(1, "x", "x"), steps[:n]) for n in (1, 2)]
    assert Judging(setting, 1, lambda trace: False)._play(traces) == [frozenset(), {"TM-CLONE-001"}]


def test_a_guest_that_does_not_run_is_foreseen(setting: Setting) -> None:
    """A trace in which it is to write is refused before anything is played."""
    trace = Trace(
        "x", TraceHeader(1, "x", "x"), (*(Step(0, op, arguments) for op, arguments in SAVED[:2]), Step(3, "guest.write", {"vm": "v", "disk": 0}))
    )
    with pytest.raises(TraceError, match=r"3: guest\.write needs a RUNNING VM; v is PENDING"):
        foresee(setting.spec, setting.subject, trace)


def test_a_file_that_a_walk_registers_has_its_own_size(setting: Setting) -> None:
    """A disk of it grows to more than the file has, when oned takes it to have what the file has."""
    explorer = InMemory(setting, 12, lambda trace: False, walks=60)
    explorer.explore()
    grown = []
    for trace in explorer.seen:
        sizes = file_sizes(trace.steps)
        of = {step.arguments["image"]: int(sizes[step.arguments["path"]]) for step in trace.steps if step.op == "image.register"}
        disks = {step.arguments["vm"]: step.arguments["disks"] for step in trace.steps if step.op == "vm.create"}
        for step in trace.steps:
            image = (
                disks[step.arguments["vm"]][step.arguments["disk"]].get("image", "")
                if step.op == "vm.disk_resize" and step.arguments["disk"] < len(disks[step.arguments["vm"]])
                else ""
            )
            grown += [(of[image], step.arguments["size_mb"])] if image in of else []
    assert grown and all(size < new for size, new in grown)


def two_snapshots(trace: Trace) -> bool:
    """Whether some disk gets a second snapshot."""
    taken = [(step.arguments["vm"], step.arguments["disk"]) for step in trace.steps if step.op == "vm.snapshot_create"]
    return len(taken) > len(set(taken))


def test_what_breaks_is_made_as_short_as_can_be(setting: Setting) -> None:
    """Of a walk in which some disk gets a second snapshot only what that needs is left: an image, a VM, its deployment, and two snapshots."""

    found = InMemory(setting, 1, two_snapshots, walks=200).explore()
    assert found.trace is not None and found.whole and found.requirement == "TM-CLONE-001"
    ops = [step.op for step in found.trace.steps if step.op not in ("file.make", "vm.poweroff", "vm.suspend")]
    assert ops in ([birth, "vm.create", "vm.deploy", "vm.snapshot_create", "vm.snapshot_create"] for birth in ("image.register", "image.make")), (
        render(found.trace, setting.spec.spec)
    )
    assert found.steps[1] == len(found.trace.steps) <= found.steps[0]


SAVED = [
    ("image.make", {"image": "a", "size_mb": 1, "format": "qcow2", "persistent": False}),
    ("vm.create", {"vm": "v", "disks": [{"image": "a"}]}),
    ("vm.deploy", {"vm": "v", "host": "host02"}),
    ("vm.disk_saveas", {"vm": "v", "disk": 0, "image": "b"}),
    ("image.clone", {"image": "c", "of": "b"}),
    ("vm.create", {"vm": "w", "disks": [{"image": "c"}]}),
    ("vm.deploy", {"vm": "w", "host": "host02"}),
    ("vm.snapshot_create", {"vm": "w", "disk": 0}),
    ("vm.snapshot_create", {"vm": "w", "disk": 0}),
]


def test_an_image_that_comes_of_much_gives_way_to_another_one(setting: Setting) -> None:
    """A disk whose image is a copy of what was saved of another VM's gets the plain image, and that VM goes."""
    trace = Trace("x", TraceHeader(1, "x", "x"), tuple(Step(n, op, arguments) for n, (op, arguments) in enumerate(SAVED)))

    def first(candidates: Iterator[Trace]) -> tuple[int, Trace] | None:
        for n, one in enumerate(candidates):
            with contextlib.suppress(TraceError):
                foresee(setting.spec, setting.subject, one)
                if two_snapshots(one):
                    return n, one
        return None

    assert [step.op for step in list(shorter(trace, -1, first))[-1].steps] == [
        "image.make",
        "vm.create",
        "vm.deploy",
        "vm.snapshot_create",
        "vm.snapshot_create",
    ]


def test_what_has_nothing_to_do_with_the_failure_goes_at_once(setting: Setting) -> None:
    """Of twelve VMs and their images one is left after the first try: the one that the operation is about, with what it was made from."""
    steps = list[Step]()
    for n in range(12):
        steps += [
            Step(0, "image.make", {"image": f"image{n}", "size_mb": 1, "format": "raw", "persistent": False}),
            Step(0, "vm.create", {"vm": f"vm{n}", "disks": [{"image": f"image{n}"}]}),
            Step(0, "vm.deploy", {"vm": f"vm{n}", "host": "host01"}, beside="*" if n else ""),
        ]
    steps.append(Step(0, "vm.disk_saveas", {"vm": "vm3", "disk": 0, "image": "saved"}))
    tried = list[Trace]()

    def first(candidates: Iterator[Trace]) -> tuple[int, Trace] | None:
        for n, one in enumerate(candidates):
            tried.append(one)
            if any(step.op == "vm.disk_saveas" for step in one.steps):
                foresee(setting.spec, setting.subject, one)
                return n, one
        return None

    alone, concerned = itertools.islice(shorter(Trace("x", TraceHeader(1, "x", "x"), tuple(steps)), len(steps) - 1, first), 2)
    assert len(alone.steps) == len(steps) and len(tried) == 2
    assert [(step.op, step.arguments.get("image", step.arguments.get("vm"))) for step in concerned.steps] == [
        ("image.make", "image3"),
        ("vm.create", "vm3"),
        ("vm.deploy", "vm3"),
        ("vm.disk_saveas", "saved"),
    ]


def test_objects_go_by_halves(setting: Setting) -> None:
    """Of 32 VMs of which two are needed, and nobody knows in which operation it shows, the others go in a few steps and not one by one."""
    steps = [Step(0, "image.make", {"image": "image", "size_mb": 1, "format": "raw", "persistent": False})]
    steps += [Step(0, "vm.create", {"vm": f"vm{n}", "disks": [{"image": "image"}]}) for n in range(32)]

    def first(candidates: Iterator[Trace]) -> tuple[int, Trace] | None:
        wanted = {"vm5", "vm20"}
        return next(((n, one) for n, one in enumerate(candidates) if wanted <= {step.arguments.get("vm") for step in one.steps}), None)

    found = list(shorter(Trace("x", TraceHeader(1, "x", "x"), tuple(steps)), -1, first))
    assert [step.arguments["vm"] for step in found[-1].steps] == ["vm5", "vm20"]
    assert len(found) <= 12, [len(one.steps) for one in found]


def test_of_several_requirements_the_one_that_broke_first_is_told(setting: Setting) -> None:
    """Of those in one operation the one about a single action, then the first by name; one of which nobody knows where it broke comes last."""
    explorer = InMemory(setting, 1, lambda trace: False)
    trace = Trace("x", TraceHeader(1, "x", "x"), tuple(Step(0, op, arguments) for op, arguments in SAVED))
    text = render(trace, setting.spec.spec)
    at = {"TM-ASK-004": 4, "TM-RESIZE-002": 4, "TM-RESIZE-001": 4, "TM-CLONE-001": 7}
    explorer._at = {(text, name): operation for name, operation in at.items()}
    assert explorer._cause(trace, frozenset({*at, "DS-CP-001"})) == "TM-RESIZE-001"
    assert explorer._cause(trace, frozenset({"DS-CP-001", "TM-CLONE-001"})) == "TM-CLONE-001"


@pytest.mark.parametrize(
    ("words", "said"), [(("--budget", "soon"), "--budget 'soon': give a time such as 90s, 10m or 1h"), (("--driver", "/nowhere"), "/nowhere")]
)
def test_what_cannot_be_explored_is_refused_in_one_line(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 4, with the remedy."""
    driver = () if "--driver" in words else ("--driver", str(data_dir("reference_driver") / "remotes"))
    assert run("explore", *driver, *words) == 4
    assert said in capsys.readouterr().err


@pytest.mark.components
@pytest.mark.turns(2)
@pytest.mark.parametrize("name", SHORT)
def test_a_miniature_that_breaks_rarely_is_found_within_its_budget(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A requirement is broken, and the trace that is written breaks it again when it is played by itself."""
    _is_found(name, tmp_path, capsys)


@pytest.mark.components
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in ROWS if name not in SHORT])
def test_every_miniature_that_breaks_rarely_is_found_within_its_budget(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same of those that take longer."""
    _is_found(name, tmp_path, capsys)


def _is_found(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row, out = ROWS[name], tmp_path / "found.jsonl"
    driver = str(build([name], tmp_path / "driver"))
    words = ["--seed", str(row["seed"]), "--budget", row["budget"], *([] if row.get("faults") else ["--no-faults"])]
    assert run("explore", "--driver", driver, *words, "--out", str(out), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert read_trace(out, load()).steps and found["steps"][1] <= found["steps"][0]
    assert run("trace", "check", str(out)) == 0
    repeat = shlex.split(found["repeat"])
    assert repeat[0] == "onetck" and run(*repeat[1:], "--out", str(tmp_path / "run")) == 1


@pytest.mark.components
@pytest.mark.exhaustive
def test_the_ordinary_cases_find_none_of_them(tmp_path: Path) -> None:
    """A driver with all the edits at once is conformant, in every profile that has to do with them."""
    driver, profiles = str(build(ROWS, tmp_path / "driver")), "core,concurrency,tm-snapshots,tm-resize,tm-monitor"
    assert run("run", driver, "--profile", profiles, "--no-lines", "--seed", "1", "--out", str(tmp_path / "run")) == 0
