"""Schedules: which of several outstanding calls goes on next. Picked by a seed, or repeated as a history recorded it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from onesim.errors import ConfigError
from onesim.journal import read
from onesim.records import Header, Record, Together, Turn

#: The schedules of a history: those of each case, by the operation that each begins with.
Recorded = dict[tuple[str, int], tuple[Turn, ...]]


class Chooser(Protocol):
    """Chooses the next turn. `patience_s`: how long a call that was let go is waited for before another one gets its turn."""

    patience_s: float
    diverged: str

    def choose(self, ready: Sequence[Turn], moving: Collection[int]) -> Turn | None:
        """Return one of `ready`, or None to wait for the calls that are `moving`."""


class Seeded:
    """Picks by chance, from a seed: the same text gives the same choices."""

    patience_s = 1.0

    def __init__(self, seed: str) -> None:
        self.diverged = ""
        self._random = random.Random(seed)

    def choose(self, ready: Sequence[Turn], moving: Collection[int]) -> Turn | None:
        """Pick one of what is ready, once nothing moves any more."""
        return self._random.choice(sorted(ready, key=_order)) if ready and not moving else None


class Replayed:
    """Repeats the order of a history as far as the driver goes the same way; from where it does not, what is left keeps its order."""

    patience_s = 5.0

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.diverged = ""
        self._left = deque(turn for turn in turns if turn.what != "begin")

    def choose(self, ready: Sequence[Turn], moving: Collection[int]) -> Turn | None:
        """Return the recorded turn that is next. One that the history does not know goes on at once; one that does not come is left out."""
        if not ready:
            return None
        unknown = [turn for turn in sorted(ready, key=_order) if turn not in self._left]
        if unknown:
            self._leave(f"{_said(unknown[0])} is not in the schedule")
            return unknown[0]
        while self._left[0] not in ready:
            if self._left[0].call in moving:
                return None
            self._leave(f"{_said(self._left[0])} did not come")
            self._left.popleft()
        return self._left.popleft()

    def _leave(self, why: str) -> None:
        self.diverged = self.diverged or why


def _order(turn: Turn) -> tuple[int, str, str, int]:
    return turn.call, turn.what, turn.command, turn.ordinal


def _said(turn: Turn) -> str:
    return f"call {turn.call}: {turn.command} {turn.ordinal}" if turn.what == "pass" else f"the end of call {turn.call}"


def recorded(path: Path) -> Recorded:
    """Return the schedules of a history. Raises ConfigError if the file is no history that can be read."""
    found: Recorded = {}
    known = False
    for record in read(path, Record):
        known = known or isinstance(record, Header)
        if isinstance(record, Together):
            found[record.case, record.operation] = record.turns
    if not known:
        raise ConfigError(f"{path}: is no history; give the history.jsonl of a run")
    return found


def diverged(path: Path) -> list[tuple[str, str]]:
    """Return the cases of a history that left the schedule they were to repeat, and where."""
    return [(record.case, record.diverged) for record in read(path, Record) if isinstance(record, Together) and record.diverged]
