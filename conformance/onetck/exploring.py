"""Exploration: random lifecycles are played and judged until one breaks a requirement or the time is over; what breaks it is made as short as can be."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from onereport.results import FAILURES
from onesim.errors import ConfigError, TraceError
from onesim.journal import head, read
from onesim.records import Record
from onesim.rows import Profile
from onesim.trace import Step, Trace
from onesim.tracetext import renamed, render
from onetck import execution
from onetck.execution import Progress
from onetck.judge import judge
from onetck.plan import PlannedCase, foresee
from onetck.setting import Setting

_STEPS = 12
#: Walks between two looks at the shortest of them would only wait: so many are played at once.
_AT_ONCE = 2


@dataclass
class Explored:
    """What came of it. `requirement` is empty where nothing broke; `steps` are those of the trace as found and as made short; `runs` the cases played."""

    seed: int
    requirement: str = ""
    sentence: str = ""
    trace: Trace | None = None
    steps: tuple[int, int] = (0, 0)
    walks: int = 0
    runs: int = 0
    calls: int = 0
    seconds: float = 0.0
    whole: bool = True
    others: tuple[str, ...] = field(default_factory=tuple)


class _Enough(BaseException):
    """Nothing more is to be walked."""


class Explorer:
    """Explores one driver. `told` gets a line now and then; `deadline_s` is on the monotonic clock."""

    def __init__(
        self, setting: Setting, profile: Profile, seed: int, budget_s: float, jobs: int, told: Callable[[str], None], *, faults: bool
    ) -> None:
        self.setting, self.profile, self.seed, self.jobs, self.told, self.faults = setting, profile, seed, jobs, told, faults
        self.began = time.monotonic()
        self.deadline_s = self.began + budget_s
        self.found = Explored(seed)
        self._known: dict[str, frozenset[str]] = {}
        self._said: dict[str, str] = {}
        self._batch: list[Trace] = []

    def explore(self) -> Explored:
        """Walk until something breaks or the time is over; then make it short in what time is left."""
        with contextlib.suppress(_Enough):
            self._walk()
        if self.found.trace is not None:
            try:
                self._shorten(self.found.trace)
            except KeyboardInterrupt:
                self.found.whole = False  # what has been found is told all the same
        self.found.sentence = self._said.get(self.found.requirement, "")
        self.found.seconds = round(time.monotonic() - self.began, 1)
        return self.found

    def _walk(self) -> None:
        try:
            import hypothesis
            from hypothesis.stateful import run_state_machine_as_test
        except ImportError:
            raise ConfigError("exploring needs hypothesis; pip install 'onetck[generate]'") from None
        from onetck.walking import machine

        settings = hypothesis.settings(
            max_examples=1_000_000,
            stateful_step_count=_STEPS,
            phases=[hypothesis.Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        walk = hypothesis.seed(self.seed)(machine(self.setting, self._take, faults=self.faults))
        run_state_machine_as_test(walk, settings=settings)

    def _take(self, trace: Trace) -> None:
        """Take a walk; play those that have gathered once there are enough."""
        if time.monotonic() > self.deadline_s:
            raise _Enough
        if len(trace.steps) < 6 or not self._possible(trace):
            return
        self.found.walks += 1
        self._batch.append(trace)
        if len(self._batch) < max(self.jobs, _AT_ONCE):
            return
        batch, self._batch = self._batch, []
        self.told(
            f"walk {self.found.walks}: {self.found.runs} cases, {self.found.calls} calls, {time.monotonic() - self.began:.0f} s, nothing broken yet"
        )
        for one, broken in zip(batch, self._play(batch), strict=True):
            if broken:
                self.found.trace, self.found.requirement = one, min(broken)
                self.found.steps = len(one.steps), len(one.steps)
                self.told(f"{min(broken)} is broken in a walk of {len(one.steps)} steps; it is made shorter")
                raise _Enough

    def _possible(self, trace: Trace) -> bool:
        try:
            foresee(self.setting.spec, self.setting.subject, trace)
        except TraceError:
            return False
        return True

    def _play(self, traces: Sequence[Trace]) -> list[frozenset[str]]:
        """Play traces beside each other, each in a world of its own, and return the requirements that each breaks."""
        texts = [render(one, self.setting.spec.spec) for one in traces]
        new = {text: one for text, one in zip(texts, traces, strict=True) if text not in self._known}
        if new:
            cases = {f"explored-{n}": text for n, text in enumerate(new)}
            plan = [
                PlannedCase(renamed(new[text], name), foresee(self.setting.spec, self.setting.subject, new[text])) for name, text in cases.items()
            ]
            broken: dict[str, set[str]] = {name: set() for name in cases}
            with tempfile.TemporaryDirectory(prefix="onetck-explore-") as scratch:
                out = Path(scratch)
                ran = execution.execute(
                    self.setting.spec,
                    self.setting.driver,
                    self.setting.subject,
                    plan,
                    out,
                    jobs=self.jobs,
                    progress=Progress(),
                    command=sys.argv,
                    seed=self.seed,
                )
                if len(ran) < len(plan):
                    raise KeyboardInterrupt
                history = out / "history.jsonl"
                judged = judge(read(history, Record), self.setting.spec, self.profile, history.name, head(history), "")
                required = {row.requirement: row for row in judged.requirements if row.required}
                for result in judged.results:
                    if result.verdict in FAILURES and result.requirement in required:
                        broken[result.case].add(result.requirement)
                        if result.evidence:
                            self._said[result.requirement] = f"{required[result.requirement].sentence} {result.evidence[0].sentence}"
            self.found.runs += len(ran)
            self.found.calls += sum(one.calls for one in ran)
            self._known |= {text: frozenset(broken[name]) for name, text in cases.items()}
        return [self._known[text] for text in texts]

    # shorter

    def _shorten(self, trace: Trace) -> None:
        """Leave out steps as long as the same requirement still breaks: large pieces first, then one by one, until no step more can go."""
        target = self.found.requirement
        size = max(len(trace.steps) // 2, 1)
        while size:
            smaller = self._first(_without(trace, size), target)
            if smaller is not None:
                trace = self.found.trace = smaller
                self.found.steps = self.found.steps[0], len(trace.steps)
                self.told(f"{target}: {len(trace.steps)} steps")
            elif time.monotonic() > self.deadline_s:
                self.found.whole = False
                break
            else:
                size //= 2
            size = min(size, len(trace.steps) // 2 or 1) if size else 0
        self.found.others = tuple(sorted(self._known.get(render(trace, self.setting.spec.spec), frozenset()) - {target}))

    def _first(self, candidates: Iterator[Trace], target: str) -> Trace | None:
        """Return the first of the candidates that breaks the requirement."""
        batch: list[Trace] = []
        for one in candidates:
            if time.monotonic() > self.deadline_s:
                return None
            if self._possible(one):
                batch.append(one)
            if len(batch) == self.jobs:
                found = self._breaking(batch, target)
                if found is not None:
                    return found
                batch = []
        return self._breaking(batch, target) if batch else None

    def _breaking(self, batch: Sequence[Trace], target: str) -> Trace | None:
        return next((one for one, broken in zip(batch, self._play(batch), strict=True) if target in broken), None)


def with_title(trace: Trace, title: str) -> Trace:
    """Return a trace with another title."""
    return replace(trace, header=msgspec.structs.replace(trace.header, title=title))


def _without(trace: Trace, size: int) -> Iterator[Trace]:
    """Yield the trace without what belongs to one object, then without each piece of so many steps."""
    if size > 1:
        labels = dict.fromkeys(str(step.arguments[kind]) for step in trace.steps for kind in ("vm", "image") if kind in step.arguments)
        yield from (_kept(trace, [step for step in trace.steps if not _concerns(step, label)]) for label in labels)
    for start in range(len(trace.steps) - size, -1, -size):
        yield _kept(trace, [*trace.steps[:start], *trace.steps[start + size :]])
    if size == 1:
        for n, step in enumerate(trace.steps):
            if step.op == "vm.create" and len(step.arguments.get("disks", ())) > 1:
                for disk in range(len(step.arguments["disks"])):
                    disks = [row for m, row in enumerate(step.arguments["disks"]) if m != disk]
                    yield _kept(trace, [*trace.steps[:n], replace(step, arguments={**step.arguments, "disks": disks}), *trace.steps[n + 1 :]])
            if step.beside:
                yield _kept(trace, [*trace.steps[:n], replace(step, beside=""), *trace.steps[n + 1 :]])


def _concerns(step: Step, label: str) -> bool:
    named = [step.arguments.get(kind) for kind in ("vm", "image", "of")] + [row.get("image") for row in step.arguments.get("disks", ())]
    return label in named


def _kept(trace: Trace, steps: Sequence[Step]) -> Trace:
    """Return a trace of some of the steps of another; the first is beside nothing."""
    kept = [replace(step, beside="", after="") if n == 0 else step for n, step in enumerate(steps)]
    return replace(trace, steps=tuple(kept))
