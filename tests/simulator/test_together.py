"""Calls that overlap: how a trace says so, who goes on next, how many run at once, and that a schedule repeats. With a world of scripted drivers, in memory."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from onesim.datagrams import Message, encode
from onesim.errors import ConfigError, TraceError
from onesim.events import Answer, CallAsked, CallFinished, OperationAsked, Refused
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.records import Call, CaseEnd, Header, Observation, Operation, Question, Record, StateChange, Together, Turn
from onesim.records import Datagram as SeenDatagram
from onesim.rehearsal import rehearse
from onesim.schedule import Chooser, Replayed, Seeded, recorded
from onesim.spec import for_contract
from onesim.trace import Trace, parse_trace
from onesim.world.interface import Change, Datagram, DiskContent, Ended, Held, Means, Place, Run, Strays
from onesim.world.interface import Question as WorldQuestion

SPEC = for_contract("7.4")
HEAD = '{"trace": 1, "name": "t", "title": "T"}\n'
PRINTED = {"cp": b"/ds/%d raw\n", "mkfs": b"/ds/%d\n", "stat": b"2\n", "monitor": b"USED_MB=1 TOTAL_MB=3 FREE_MB=2\n"}


def making(names: Sequence[str]) -> str:
    """Return a trace that makes images, all at once."""
    lines = [json.dumps({"op": "image.make", "image": name, "size_mb": 1} | ({"beside": True} if name != names[0] else {})) for name in names]
    return HEAD + "\n".join(lines) + "\n"


THREE = making("abc")
REMOVED = Change("frontend", "/var/tmp/x", "removed", "f", (), 1, "")


class ScriptedWorld:
    """A world whose drivers pass `gates` and end; `waits` names a call that moves on only when another one has ended, by their numbers."""

    def __init__(self, gates: Sequence[str] = ("cp", "mv"), waits: dict[int, int] | None = None) -> None:
        self.broken = False
        self.unable: dict[str, str] = {}
        self.gates, self.waits = gates, waits or {}
        self.holding = False
        self.left: dict[str, deque[str]] = {}
        self.events: deque[Held | Ended] = deque()
        self.ended: set[int] = set()
        self.most = 0
        self.printed: dict[str, str] = {}
        self.held: dict[int, str] = {}
        self.answers: dict[int, Any] = {}
        self.asks: Callable[[str], None] = lambda call: None
        self.on_datagram: Callable[[Datagram], None] = lambda sent: None

    def begin(self, host: str, argv: Sequence[str], *, call_id: str = "", **more: Any) -> None:
        """Start a call."""
        self.left[call_id] = deque(self.gates if self.holding else ())
        self.printed[call_id] = argv[0].rsplit("/", 1)[-1]
        self.most = max(self.most, len(self.left))
        self.move(call_id)

    def move(self, call: str) -> None:
        """Let a call come to its next gate, or end."""
        n = int(call.rpartition("/")[2])
        if self.waits.get(n, -1) in range(n) and self.waits[n] not in self.ended:
            return
        if self.left[call]:
            number = len(self.held)
            self.held[number] = call
            command = self.left[call].popleft()
            self.events.append(Held(number, call, command, 1))
            return
        del self.left[call]
        self.ended.add(n)
        text = PRINTED.get(self.printed[call], b"")
        self.events.append(Ended(call, Run("exit", stdout=text % n if b"%d" in text else text)))
        for other in [one for one in self.left if self.waits.get(int(one.rpartition("/")[2])) == n]:
            self.move(other)

    def wait(self, timeout_s: float | None = None) -> Held | Ended | None:
        """Tell what comes next."""
        if not self.events:
            assert timeout_s is not None, "nothing will ever happen"
            time.sleep(timeout_s)
            return None
        event = self.events.popleft()
        if isinstance(event, Ended):
            self.asks(event.call)
        return event

    def release(self, number: int) -> None:
        """Let a command go on."""
        if self.held[number] in self.left:
            self.move(self.held[number])

    def hold(self) -> None:
        """Hold commands."""
        self.holding = True

    def let_go(self) -> Strays:
        """Hold nothing."""
        self.holding = False
        self.on_datagram(Datagram(b"datagram"))
        return Strays(("sleep 300",))

    def answer(self, number: int, reply: Any) -> None:
        """Keep an answer."""
        self.answers[number] = reply

    def changes(self) -> list[Change]:
        """Return one difference."""
        return [REMOVED]

    def read_disk(self, host: str, path: str, format: str, means: Means | None = None) -> DiskContent:
        """Read nothing."""
        return DiskContent(problem="missing")

    def read_disks(self, places: Sequence[Place]) -> list[DiskContent]:
        """Read nothing."""
        return [self.read_disk(one.host, one.path, one.format) for one in places]

    def exist(self, places: Sequence[Place]) -> list[bool]:
        """Have everything but scripts with a suffix."""
        return [self.exists(one.host, one.path) for one in places]

    def exists(self, host: str, path: str, means: Means | None = None) -> bool:
        """Have everything but scripts with a suffix."""
        return "." not in path.rsplit("/", 1)[-1] or "disk" in path

    def put_all(self, host: str, files: Mapping[str, bytes], needed: Sequence[Place]) -> list[bool]:
        """Keep nothing."""
        return self.exist(needed)

    def capacity_mb(self, host: str, path: str) -> tuple[int, int]:
        """Return some capacity."""
        return 3, 2

    def __getattr__(self, name: str) -> Any:
        if name in ("unpack", "put", "mkdir", "must_run", "picture", "make_disk", "host_down", "host_up"):
            return lambda *words, **more: None
        raise AttributeError(name)


def trace_of(text: str) -> Trace:
    """Return the trace of a text."""
    return parse_trace(text, Path("t.jsonl"), SPEC.spec)


def played(
    text: str, world: ScriptedWorld, out: Path, seed: int = 0, chooser: Callable[[int], Chooser] | None = None, scripts: int = 15
) -> list[Any]:
    """Play a trace in a scripted world and return the records."""
    writer = Writer(out / "history.jsonl")
    writer.write(Header(1, "test", "7.4", "7.4.0", "", "fs", "shared", "shared", seed, 0.0, "", ""))
    run = CaseRun(
        SPEC,
        Subjected(b"", "fs", "shared", "shared", scripts=scripts),
        trace_of(text),
        world,
        writer,
        BlobStore(out / "blobs"),
        chooser=chooser or (lambda operation: Seeded(f"{seed}:{operation}")),
    )
    run.run()
    writer.close()
    return list(read(out / "history.jsonl", Record))


def of(kind: type[Any], records: list[Any]) -> list[Any]:
    """Return the records of a kind."""
    return [one for one in records if isinstance(one, kind)]


# what a trace says


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"op": "image.make", "image": "a", "size_mb": 1, "beside": true}', "needs an operation above it"),
        ('{"op": "image.make", "image": "a", "size_mb": 1, "beside": "tm/fly"}', "or an action such as \"tm/clone\", not 'tm/fly'"),
        ('{"op": "image.make", "image": "a", "size_mb": 1, "beside": 3}', "not 3"),
    ],
)
def test_a_wrong_beside_is_the_traces_error(line: str, complaint: str) -> None:
    """File, line and remedy."""
    with pytest.raises(TraceError, match=r"t\.jsonl:2: ") as error:
        trace_of(HEAD + line)
    assert complaint in str(error.value)


@pytest.mark.parametrize("alone", ['{"op": "host.probe", "host": "host01"}', '{"op": "monitor.encrypt"}'])
def test_nothing_is_asked_beside_what_runs_commands_of_its_own(alone: str) -> None:
    """Neither it beside others nor others beside it."""
    first = '{"op": "image.make", "image": "a", "size_mb": 1'
    for text in (f'{first}}}\n{alone[:-1]}, "beside": true}}\n', f'{alone}\n{first}, "beside": true}}\n'):
        with pytest.raises(TraceError, match=r"t\.jsonl:3: nothing can be asked beside (host\.probe|monitor\.encrypt)"):
            trace_of(HEAD + text)


def test_lines_with_beside_join_those_above_to_a_group() -> None:
    """A step without it waits for all before it."""
    text = THREE + '{"op": "image.delete", "image": "a"}\n{"op": "image.delete", "image": "b", "beside": "ds/rm"}\n'
    assert [[n for n, _ in group] for group in trace_of(text).groups()] == [[0, 1, 2], [3, 4]]


def test_a_plan_asks_beside_as_early_as_it_may() -> None:
    """All three are made at once: each image's first call comes before the second call of any."""
    oned = Oned(SPEC, make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
    played = rehearse(oned, trace_of(THREE), lambda asked: CallFinished(asked.call, True, "/x" if asked.image >= 0 else "", ""))
    calls = [one for _, one in played if isinstance(one, CallAsked | Refused)]
    assert [one.action.name for one in calls if isinstance(one, CallAsked)] == ["mkfs", "mkfs", "mkfs", "monitor", "monitor", "monitor"]


# who goes on


def test_without_beside_no_call_overlaps(tmp_path: Path) -> None:
    """Nothing is held, no schedule is recorded, and every difference of the trees is that of its call."""
    world = ScriptedWorld()
    records = played(THREE.replace(', "beside": true', ""), world, tmp_path)
    assert world.most == 1 and not of(Together, records)
    assert all(call.observed and len(call.tree) == 1 for call in of(Call, records))


def test_operations_beside_others_overlap_and_their_differences_are_told_of_none(tmp_path: Path) -> None:
    """Three scripts at once; every begin, gate and end stands in the schedule; leftovers and datagrams of nobody knows whom are kept apart."""
    world = ScriptedWorld()
    records = played(THREE, world, tmp_path)
    (together,) = of(Together, records)
    assert world.most >= 3
    assert together.operation == 0 and together.calls == tuple(range(6)) and together.leftovers == ("sleep 300",)
    assert [(one.call, one.problem != "") for one in of(SeenDatagram, records)] == [(-1, True)]
    assert [one.path for one in together.tree] == ["/var/tmp/x"] and not together.diverged
    assert sorted((turn.what, turn.call, turn.command) for turn in together.turns) == sorted(
        (what, n, command) for n in range(6) for what, command in (("begin", ""), ("pass", "cp"), ("pass", "mv"), ("end", ""))
    )
    assert not any(call.observed or call.tree for call in of(Call, records))
    assert {seen.operation: seen.label for seen in of(Observation, records)} == {0: "a", 1: "b", 2: "c"}
    assert {(one.label, one.operation) for one in of(StateChange, records)} == {("a", 0), ("b", 1), ("c", 2)}


def turns(records: list[Any]) -> tuple[Turn, ...]:
    """Return the schedule of the only stretch."""
    (together,) = of(Together, records)
    return tuple(together.turns)


def test_a_seed_makes_the_schedule_and_another_seed_another(tmp_path: Path) -> None:
    """The same seed twice, and ten others."""
    schedules = []
    for n, seed in enumerate((7, 7, *range(10))):
        (tmp_path / str(n)).mkdir()
        schedules.append(turns(played(THREE, ScriptedWorld(), tmp_path / str(n), seed)))
    assert schedules[0] == schedules[1]
    assert len(set(schedules)) > 5


def test_a_schedule_is_repeated(tmp_path: Path) -> None:
    """Whatever the seed of the second run."""
    (tmp_path / "again").mkdir()
    first = turns(played(THREE, ScriptedWorld(), tmp_path, 3))
    known = recorded(tmp_path / "history.jsonl")
    records = played(THREE, ScriptedWorld(), tmp_path / "again", 4, lambda operation: Replayed(known["t", operation]))
    assert turns(records) == first
    assert not of(Together, records)[0].diverged


def test_a_driver_that_goes_another_way_leaves_the_schedule_and_still_ends(tmp_path: Path) -> None:
    """Commands that the history does not know, and commands that do not come."""
    (tmp_path / "again").mkdir()
    played(THREE, ScriptedWorld(), tmp_path, 3)
    known = recorded(tmp_path / "history.jsonl")
    records = played(THREE, ScriptedWorld(("cp", "ln")), tmp_path / "again", 3, lambda operation: Replayed(known["t", operation]))
    assert "not in the schedule" in of(Together, records)[0].diverged or "did not come" in of(Together, records)[0].diverged
    assert of(CaseEnd, records)[0].outcome == "completed"


def test_a_call_that_waits_for_another_lets_it_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call 1 comes to no gate before call 0 has ended; in the repeated run it is not waited for either."""
    monkeypatch.setattr(Seeded, "patience_s", 0.02)
    (tmp_path / "again").mkdir()
    records = played(THREE, ScriptedWorld(waits={1: 0}), tmp_path)
    schedule = turns(records)
    assert schedule.index(Turn("end", 0)) < schedule.index(Turn("pass", 1, "cp", 1))
    assert of(CaseEnd, records)[0].outcome == "completed"
    again = played(THREE, ScriptedWorld(waits={1: 0}), tmp_path / "again", 0, lambda operation: _impatient(schedule))
    assert turns(again) == schedule and not of(Together, again)[0].diverged


def _impatient(schedule: tuple[Turn, ...]) -> Replayed:
    chooser = Replayed(schedule)
    chooser.patience_s = 0.02
    return chooser


def test_no_more_scripts_run_at_once_than_the_helper_has_places(tmp_path: Path) -> None:
    """Twenty images: fifteen scripts at once, or as many as are configured; the others wait in the order in which they were asked."""
    twenty = making([f"i{n}" for n in range(20)])
    for limit in (15, 4):
        out = tmp_path / str(limit)
        out.mkdir()
        world = ScriptedWorld()
        records = played(twenty, world, out, scripts=limit)
        assert world.most == limit
        assert of(CaseEnd, records)[0].outcome == "completed"
        mkfs = [call for call in of(Call, records) if call.action == "mkfs"]
        assert [call.operation for call in sorted(mkfs, key=lambda call: call.n)] == list(range(20))


def test_an_operation_on_a_busy_object_is_refused(tmp_path: Path) -> None:
    """As oned refuses it; in a trace in which nothing has failed that is the trace's error."""
    text = HEAD + '{"op": "image.make", "image": "a", "size_mb": 1}\n{"op": "image.delete", "image": "a", "beside": true}\n'
    with pytest.raises(TraceError, match=r"t\.jsonl:3: oned refuses image\.delete: image 'a' is LOCKED and busy"):
        played(text, ScriptedWorld(), tmp_path)


def test_an_operation_beside_an_action_waits_until_that_has_begun(tmp_path: Path) -> None:
    """The monitor is asked when cp runs, not while stat does."""
    text = HEAD + '{"op": "image.register", "image": "a", "path": "/x"}\n' + '{"op": "datastore.monitor", "datastore": "images", "beside": "ds/cp"}\n'
    records = played(text, ScriptedWorld(), tmp_path)
    assert [(call.n, call.action) for call in sorted(of(Call, records), key=lambda call: call.n)][:3] == [(0, "stat"), (1, "cp"), (2, "monitor")]
    asked = next(at for at, one in enumerate(records) if isinstance(one, Operation) and one.op == "datastore.monitor")
    assert any(isinstance(one, Call) and one.action == "stat" for one in records[:asked])
    assert not any(isinstance(one, Call) and one.action == "cp" for one in records[:asked])


# scripts that oned has given up


@pytest.mark.parametrize(
    ("recovery", "actions"),
    [("recover_delete", ["mkimage", "delete", "delete", "delete"]), ("recover_retry", ["mkimage", "mkimage", "mkswap", "mkswap"])],
)
def test_a_script_that_oned_has_given_up_runs_on_beside_its_successor(recovery: str, actions: list[str], tmp_path: Path) -> None:
    """Its end is taken and recorded, the stretch ends only when it has; delete calls no more of the old transfer script, retry leaves it to go on."""
    text = HEAD + "\n".join(
        [
            '{"op": "vm.create", "vm": "a", "disks": [{"volatile": "fs", "size_mb": 1}, {"volatile": "swap", "size_mb": 1}]}',
            '{"op": "vm.deploy", "vm": "a", "host": "host01"}',
            json.dumps({"op": f"vm.{recovery}", "vm": "a", "beside": "tm/mkimage"}),
        ]
    )
    records = played(text, ScriptedWorld(), tmp_path)
    assert of(CaseEnd, records)[0].outcome == "completed"
    calls = [call for call in of(Call, records) if call.family == "tm"]
    assert sorted(call.action for call in calls) == sorted(actions)
    assert {call.operation for call in calls if call.action == "mkimage"} >= {1}
    assert {call.n for call in of(Call, records)} == set(of(Together, records)[0].calls)
    assert not [one for one in of(Observation, records) if one.subject == "vm_gone"], "the script that went on may have made something again"


# questions


def test_a_question_is_part_of_the_call_that_asked_it(tmp_path: Path) -> None:
    """Also when several calls run; one that nobody is known to have asked is of no call."""
    world = ScriptedWorld()
    holder: list[CaseRun] = []

    def asks(call: str) -> None:
        run = holder[0]
        answer = run.question(WorldQuestion("command", ("onedatastore", "show", "-x", "1"), call=call, number=1))
        assert isinstance(answer, Answer) and answer.status == 0
        run.question(WorldQuestion("command", ("oneimage", "list", "-x"), call="", number=2))

    world.asks = asks
    original = CaseRun.__init__

    def remembering(self: CaseRun, *words: Any, **more: Any) -> None:
        original(self, *words, **more)
        holder.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaseRun, "__init__", remembering)
        records = played(THREE, world, tmp_path)
    assert {question.call for question in of(Question, records) if question.argv[0] == "onedatastore"} == set(range(6))
    assert {question.call for question in of(Question, records) if question.argv[0] == "oneimage"} == {-1}


def test_what_is_no_history_gives_no_schedule(tmp_path: Path) -> None:
    """The user's error, with the remedy."""
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(ConfigError, match=r"history\.jsonl of a run"):
        recorded(tmp_path / "x.jsonl")


def test_oned_refuses_what_is_busy_and_lets_others_run() -> None:
    """Two images at once; the same one not."""
    oned = Oned(SPEC, make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
    assert isinstance(oned.feed(OperationAsked(0, "image.make", {"image": "a", "size_mb": 1}))[-1], CallAsked)
    assert isinstance(oned.feed(OperationAsked(1, "image.make", {"image": "b", "size_mb": 1}))[-1], CallAsked)
    (refused,) = oned.feed(OperationAsked(2, "image.delete", {"image": "a"}))
    assert isinstance(refused, Refused) and "busy" in refused.reason


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "alone"])
def test_a_datagram_reaches_oned_before_its_call_has_ended(tmp_path: Path, beside: bool) -> None:
    """What the first call sends is known to oned, and in the history, when nothing has ended yet; each datagram once, with its call."""
    world = ScriptedWorld()
    text = THREE if beside else THREE.replace(', "beside": true', "")
    heard: list[tuple[int, int]] = []
    begin = world.begin

    def sends(host: str, argv: Sequence[str], *, call_id: str = "", **more: Any) -> None:
        begin(host, argv, call_id=call_id, **more)
        n = int(call_id.rpartition("/")[2])
        room = f"DS_LOCATION_TOTAL_MB = 9\nDS_LOCATION_FREE_MB = {n}\nDS_LOCATION_USED_MB = 1\n"
        world.on_datagram(Datagram(encode(Message("SYSTEM_HOST", "SUCCESS", 0, 0, room)), call_id))
        owner = world.on_datagram.__self__  # type: ignore[attr-defined]
        heard.append((n, owner.cloud.hosts[0].location.free_mb))

    world.begin = sends  # type: ignore[method-assign]
    records = played(text, world, tmp_path)
    calls = [one.n for one in of(Call, records)]
    assert heard == [(n, n) for n in range(len(calls))]
    assert [one.call for one in of(SeenDatagram, records) if one.call >= 0] == sorted(calls)
    place = {one.n: at for at, one in enumerate(records) if isinstance(one, Call)}
    for at, one in enumerate(records):
        if isinstance(one, SeenDatagram) and one.call >= 0:
            assert at < place[one.call] and not one.problem
            (call,) = (call for call in of(Call, records) if call.n == one.call)
            assert call.at_ns <= one.at_ns
    if beside:
        first = [type(one) for one in records].index(Call)
        assert sum(isinstance(one, SeenDatagram) for one in records[:first]) >= 3, "those that run beside it have been heard, too"
