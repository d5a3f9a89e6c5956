"""Exploration: random lifecycles are played and judged until one breaks a requirement or the time is over; what breaks it is made as short as can be."""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from onereport.results import FAILURES
from onesim.errors import ConfigError, TraceError
from onesim.journal import head, read
from onesim.records import Call, Record
from onesim.rows import Profile
from onesim.trace import Trace
from onesim.tracetext import renamed, render
from onetck import execution
from onetck.execution import Progress
from onetck.judge import judge
from onetck.plan import PlannedCase, foresee
from onetck.setting import Setting
from onetck.shortening import shorter

_NAME = "explored"
#: In how many ways calls that overlap take turns, before a shorter trace counts as one that breaks nothing.
_TURNS = 3
#: Walks from one state of hypothesis's chance; from more it makes variations of the same.
_WALKS = 4
#: So many walks for each world are gathered before they are played: the longest of them is waited for.
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
    """Nothing more is to be walked: something is found, or the time is over."""


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
        self._at: dict[tuple[str, str], int] = {}
        self._batch: list[Trace] = []
        self._broken: Exception | None = None

    def explore(self) -> Explored:
        """Walk until something breaks or the time is over; then make it short in what time is left."""
        with contextlib.suppress(_Enough):
            self._walk()
        if self._broken is not None:
            raise self._broken
        if self.found.trace is not None:
            try:
                self._shorten(self.found.trace)
            except (KeyboardInterrupt, _Enough):
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
        from onetck.walking import RULES, machine

        settings = hypothesis.settings(
            max_examples=_WALKS,
            stateful_step_count=RULES,
            phases=[hypothesis.Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        for n in itertools.count(self.seed << 32):
            run_state_machine_as_test(hypothesis.seed(n)(machine(self.setting, self._taken, faults=self.faults)), settings=settings)

    def _taken(self, trace: Trace) -> None:
        """Take a walk. What breaks there is raised when the walks are over: hypothesis would take it for what it looks for."""
        try:
            self._take(trace)
        except Exception as error:
            self._broken = error
            raise _Enough from error

    def _take(self, trace: Trace) -> None:
        """Take a walk; play those that have gathered once there are enough."""
        if time.monotonic() > self.deadline_s:
            raise _Enough
        if len(trace.steps) < 6 or not self._possible(trace):
            return
        self.found.walks += 1
        self._batch.append(trace)
        if len(self._batch) < self.jobs * (_AT_ONCE if self.found.runs else 1):
            return
        batch, self._batch = sorted(self._batch, key=lambda one: len(one.steps)), []
        self.told(
            f"walk {self.found.walks}: {self.found.runs} cases, {self.found.calls} calls, {time.monotonic() - self.began:.0f} s, nothing broken yet"
        )
        for one, broken in zip(batch, self._play(batch), strict=False):
            if broken:
                self.found.trace, self.found.requirement = one, self._cause(one, broken)
                self.found.steps = len(one.steps), len(one.steps)
                self.told(f"{self.found.requirement} is broken in a walk of {len(one.steps)} steps; it is made shorter")
                raise _Enough

    def _cause(self, trace: Trace, broken: frozenset[str]) -> str:
        """Return the requirement that broke first; of several in one operation one that is about a single action."""
        text, rows = render(trace, self.setting.spec.spec), self.setting.spec.requirements

        def rank(one: str) -> tuple[bool, int, bool, str]:
            at, action = self._at.get((text, one), -1), rows[one].action
            return at < 0, at, not action or action.endswith("*"), one

        return min(broken, key=rank)

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
            try:
                self._judge(new)
            except TraceError:  # what came about was something else than in memory: playing each alone tells whose it was
                if len(new) == 1:
                    self._known |= dict.fromkeys(new, frozenset[str]())
                for one in new.values() if len(new) > 1 else ():
                    self._play([one])
        return [self._known[text] for text in texts]

    def _judge(self, new: Mapping[str, Trace]) -> None:
        """Play traces, by their text, and note the requirements that each breaks. Raises TraceError where one asks for what cannot be in this run."""
        cases = {f"explored-{n}": text for n, text in enumerate(new)}
        plan = [PlannedCase(renamed(new[text], name), foresee(self.setting.spec, self.setting.subject, new[text])) for name, text in cases.items()]
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
                progress=Progress(call=self._in_time),
                command=sys.argv,
                seed=self.seed,
            )
            history = out / "history.jsonl"
            if len(ran) < len(plan):
                raise KeyboardInterrupt
            operations = {(one.case, one.n): one.operation for one in read(history, Record) if isinstance(one, Call)}
            judged = judge(read(history, Record), self.setting.spec, self.profile, history.name, head(history), "")
            required = {row.requirement: row for row in judged.requirements if row.required}
            for result in judged.results:
                if result.verdict in FAILURES and result.requirement in required:
                    broken[result.case].add(result.requirement)
                    self._at[cases[result.case], result.requirement] = max(
                        (operations.get((result.case, one.call), -1) for one in result.evidence), default=-1
                    )
                    if result.evidence:
                        self._said[result.requirement] = f"{required[result.requirement].sentence} {result.evidence[0].sentence}"
        self.found.runs += len(ran)
        self.found.calls += sum(one.calls for one in ran)
        self._known |= {text: frozenset(broken[name]) for name, text in cases.items()}

    def _in_time(self, call: Call) -> None:
        """Give up a case, whose world then goes, when the time is over."""
        if time.monotonic() > self.deadline_s:
            raise _Enough

    # shorter

    def _shorten(self, trace: Trace) -> None:
        """Make the trace shorter as long as the same requirement breaks, until no step more can go or the time is over."""
        target = self.found.requirement
        last = self._at.get((render(trace, self.setting.spec.spec), target), -1)
        for smaller in shorter(trace, last, self._first):
            trace = self.found.trace = smaller
            self.found.steps = self.found.steps[0], len(trace.steps)
            self.told(f"{target}: {len(trace.steps)} steps")
        self.found.whole = time.monotonic() <= self.deadline_s
        self.found.others = tuple(sorted(self._known.get(render(trace, self.setting.spec.spec), frozenset()) - {target}))

    def _first(self, candidates: Iterator[Trace]) -> tuple[int, Trace] | None:
        """Return the first of the candidates that breaks the requirement, as it is or taking other turns, and its number."""
        batch: list[tuple[int, Trace]] = []
        for n, one in enumerate(candidates):
            if time.monotonic() > self.deadline_s:
                return None
            if self._possible(one):
                batch += [(n, other) for other in _turning(one)]
            if len(batch) >= self.jobs:
                found = self._breaking(batch)
                if found is not None:
                    return found
                batch = []
        return self._breaking(batch) if batch else None

    def _breaking(self, batch: Sequence[tuple[int, Trace]]) -> tuple[int, Trace] | None:
        played = self._play([one for _, one in batch])
        return next((one for one, broken in zip(batch, played, strict=True) if self.found.requirement in broken), None)


def with_title(trace: Trace, title: str) -> Trace:
    """Return a trace with another title."""
    return replace(trace, header=msgspec.structs.replace(trace.header, title=title))


def _turning(trace: Trace) -> list[Trace]:
    """Return the trace as it is, and where operations overlap with their calls taking other turns: to leave out a step changes whose turn it is."""
    header = trace.header
    others = range(1, _TURNS) if any(step.beside for step in trace.steps) else ()
    return [trace, *(replace(trace, header=msgspec.structs.replace(header, bytes_of=f"{_NAME}.{n}")) for n in others)]
