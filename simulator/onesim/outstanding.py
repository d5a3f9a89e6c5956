"""The calls that are outstanding: one after the other as oned asks for them, or several at once, as a schedule lets them go on.

Operations of a group overlap, and so do calls that a driver's question has led to. Then every gated command waits at its gate; one call after the other is
let go on until it comes to its next gate, and the end of each is told to oned in its turn. That order is the schedule. A call that comes to no gate for a
while goes on beside the next one: it may be waiting for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onesim import hypervisor
from onesim.events import Answer, CallAsked, CallFinished, Cancelled, Changed, EmptyTransfer, Outcome, Output
from onesim.oned import Oned
from onesim.records import Together, Turn
from onesim.schedule import Chooser
from onesim.scripts import Begun, Scripts
from onesim.trace import Step
from onesim.world.interface import Ended, Held, Run


@dataclass(frozen=True)
class Told:
    """Told as calls go on: a script will begin, an object changed in an operation, a script ended, the hypervisor failed, a question got its answer."""

    begins: Callable[[CallAsked], None]
    changed: Callable[[int, Changed], None]
    ended: Callable[[Begun, Run, Outcome], None]
    failed: Callable[[str], None]
    answered: Callable[[Answer], None]


@dataclass
class _Stretch:
    """Calls that overlap: who chooses, what has gone on so far, and which calls have been waited for in vain."""

    operation: int
    chooser: Chooser
    turns: list[Turn]
    stuck: set[int]
    first: int


class Outstanding:
    """What oned has asked for and is not done. `chooser` makes the schedule of a stretch that begins with an operation."""

    def __init__(self, oned: Oned, scripts: Scripts, told: Told, chooser: Callable[[int], Chooser], limit: int) -> None:
        self.oned, self.scripts, self.told, self.limit = oned, scripts, told, limit
        self.world, self.observer = scripts.world, scripts.observer
        self.running: dict[str, Begun] = {}
        self.calls = 0
        self.lost_world = False
        self._chooser = chooser
        self._outputs: deque[tuple[int, Output]] = deque()
        self._queue: list[CallAsked] = []
        self._nested = -1
        self._together: _Stretch | None = None

    def play(self, group: Sequence[tuple[int, Step]], ask: Callable[[int, Step], list[Output] | None]) -> None:
        """Ask the operations of a group in their time, and run all calls that follow. `ask` returns None if no more can be asked."""
        pending = deque(group)
        if len(group) > 1:
            self._come_together(group[0][0])
        while True:
            self._drain()
            if pending and self._may_ask(pending[0][1]):
                n, step = pending.popleft()
                outputs = ask(n, step)
                if outputs is None:
                    pending.clear()
                self._outputs.extend((n, one) for one in outputs or ())
            elif self.running:
                self._advance()
            elif self._queue:
                self._begin(self._queue.pop(0))  # nothing is left that it could wait for
            elif not pending:
                break
        self._part()

    def nested(self, id: str, outputs: Sequence[Output]) -> None:
        """Take what a question has led to, besides its answer: calls that run while the call `id`, which asked, still does."""
        self._nested = self.running[id].asked.operation
        self._outputs.extendleft((self._nested, one) for one in reversed(outputs))

    def _may_ask(self, step: Step) -> bool:
        if not self.running:
            return True
        return bool(step.beside) and any(step.beside in ("*", one.asked.action.key) for one in self.running.values())

    # what oned wants

    def _drain(self) -> None:
        if self._nested >= 0 and self._together is None:
            self._come_together(self._nested)
        self._nested = -1
        while self._outputs and (self._together or not self.running):
            operation, output = self._outputs.popleft()
            match output:
                case CallAsked():
                    self._queue.append(output)
                    self._begin_queued()
                case Changed():
                    self.told.changed(operation, output)
                case Answer():
                    self.told.answered(output)
                case Cancelled(call):
                    self._cancel(call)
                case EmptyTransfer():
                    self.scripts.runner.empty(output, self.scripts.subject.limits.time_s)
                case _:
                    pass

    def _cancel(self, call: int) -> None:
        for begun in self.running.values():
            if begun.asked.call == call:
                self.scripts.runner.cancel(begun.start)

    def _begin_queued(self) -> None:
        """Begin what waits for a place, in the order in which it was asked; each of oned's helpers has as many places."""
        for asked in list(self._queue):
            family = asked.action.family
            places = self.limit - sum(one.asked.action.family == family for one in self.running.values())
            if places > 0 and self.scripts.free(asked):
                self._queue.remove(asked)
                self._begin(asked)

    def number(self) -> int:
        """Return the number of the next call; the calls of a case are numbered from 0."""
        self.calls += 1
        return self.calls - 1

    def _begin(self, asked: CallAsked) -> None:
        if asked.action.family != "vmm" and not self.lost_world:
            self.told.begins(asked)
        n = self.number()
        if asked.action.family == "vmm":
            error = self.scripts.hypervisor(n, asked)
            if error:
                self.told.failed(error)
            self._finished(asked, CallFinished(asked.call, not error, hypervisor.printed(asked), error))
        elif self.lost_world:
            self._finished(asked, CallFinished(asked.call, False))
        else:
            begun = self.scripts.begin(n, asked)
            self.running[begun.id] = begun
            if self._together:
                self._together.turns.append(Turn("begin", n))
                self._watch(begun)

    def _finished(self, asked: CallAsked, event: CallFinished) -> Outcome:
        """Feed the end of a call. Returns what oned made of it; where it had given up the call, no more than that it ended."""
        outputs = self.oned.feed(event)
        self._outputs.extend((asked.operation, one) for one in outputs if not isinstance(one, Outcome))
        return next((one for one in outputs if isinstance(one, Outcome)), Outcome(event.call, event.ok, {}, "", ""))

    # what runs

    def _advance(self) -> None:
        if self._together is None:
            begun = next(iter(self.running.values()))
            if begun.run is None:
                self._listen(None)
            else:
                self._end(begun, begun.run)
            return
        ready: dict[Turn, tuple[Begun, Held | None]] = {}
        for begun in self.running.values():
            if begun.run is not None:
                ready[Turn("end", begun.n)] = begun, None
            else:
                ready |= {Turn("pass", begun.n, one.command, one.ordinal): (begun, one) for one in begun.held}
        moving = {begun.n for begun in self.running.values() if begun.moving} - self._together.stuck
        turn = self._together.chooser.choose(list(ready), moving)
        if turn is None:
            if not moving:
                self._listen(None)
            elif not self._patiently():
                self._together.stuck |= moving
            return
        self._together.turns.append(turn)
        self._go_on(*ready[turn])

    def _go_on(self, begun: Begun, held: Held | None) -> None:
        if held is not None:
            begun.held.remove(held)
            self.world.release(held.number)
            if not begun.held:  # else the others of its pipeline stand still, and it may wait for them
                self._watch(begun)
        elif begun.run is not None:
            self._end(begun, begun.run)

    def _watch(self, begun: Begun) -> None:
        """Let a call move until it comes to a gate, ends, or has been waited for long enough."""
        assert self._together is not None
        begun.moving = begun.run is None
        self._together.stuck.discard(begun.n)
        while begun.moving and self._nested < 0:
            if not self._patiently():
                self._together.stuck.add(begun.n)
                return

    def _patiently(self) -> bool:
        """Take what happens next, if it happens before patience ends. A question that leads to calls is something, too."""
        assert self._together is not None
        until = time.monotonic() + self._together.chooser.patience_s
        while self._nested < 0:
            if self._listen(max(until - time.monotonic(), 0)):
                return True
            if time.monotonic() >= until:
                return False
        return True

    def _listen(self, timeout_s: float | None) -> bool:
        """Take what happens next. Returns False if that is nothing, or a question."""
        event = self.world.wait(timeout_s)
        begun = self.running.get(event.call) if event is not None else None
        if begun is None:
            return False
        begun.moving = False
        if self._together:
            self._together.stuck.discard(begun.n)
        if isinstance(event, Held):
            begun.held.append(event)
        elif isinstance(event, Ended):
            begun.run = event.run
            for one in begun.held:
                self.world.release(one.number)
            begun.held.clear()
        return True

    def _end(self, begun: Begun, run: Run) -> None:
        """Tell oned that a call has ended, and write down what was seen of it."""
        self.scripts.runner.ended(begun.start, run)
        del self.running[begun.id]
        tree = () if self._together else self.observer.changes()
        ok = run.ended_by == "exit" and run.status == 0
        wait_s = self.scripts.wait_s(begun.asked)
        late = wait_s > 0 and run.duration_ns / 1e9 > wait_s
        outcome = self._finished(
            begun.asked, CallFinished(begun.asked.call, ok, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace"), late)
        )
        self.scripts.record(begun, run, outcome, tree, self._together is None)
        self.lost_world = self.lost_world or run.ended_by == "world_lost" or self.world.broken
        self.told.ended(begun, run, outcome)
        self._begin_queued()

    # stretches in which calls overlap

    def _come_together(self, operation: int) -> None:
        self._together = _Stretch(operation, self._chooser(operation), [], set(), self.calls)
        for begun in self.running.values():
            self._together.turns.append(Turn("begin", begun.n))
            self._together.first = min(self._together.first, begun.n)
        self.observer.paused = True
        self.world.hold()

    def _part(self) -> None:
        """End a stretch: what the calls together have changed and left is told of all of them."""
        if self._together is None:
            return
        stretch, self._together = self._together, None
        strays = self.world.let_go()
        self.observer.paused = False
        case = self.scripts.trace.name
        calls = tuple(range(stretch.first, self.calls))
        tree = self.observer.changes()
        self.scripts.writer.write(Together(case, stretch.operation, calls, tuple(stretch.turns), stretch.chooser.diverged, tree, strays.leftovers))
