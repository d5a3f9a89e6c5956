"""The results of a self-test: a file of JSON lines that grows with every mutant, so that one that was interrupted goes on where it stood; and the counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from onesim.errors import ConfigError
from onetck.selftest.baseline import CaseSeen
from onetck.selftest.striking import Struck
from onetck.selftest.trial import OUTCOMES, Trial

_Row = TypeVar("_Row", CaseSeen, Struck, Trial)
#: The share of mutants that the suite is to kill, of those that neither are equivalents nor break no more than a SHOULD.
FLOOR = 0.95


class _Head(msgspec.Struct, frozen=True):
    suite: str


class Results:
    """A directory: `baseline.jsonl` with a line per case of the reference driver, `faults.jsonl` with one per fault case, and
    `trials.jsonl` with one per mutant.

    A trial holds for one `suite`: those of another one are dropped. A case of the baseline says itself what it holds for.
    """

    def __init__(self, directory: Path, suite: str) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{directory}: {error.strerror}; choose another --out") from None
        self._baseline, self._faults, self._trials = (directory / f"{name}.jsonl" for name in ("baseline", "faults", "trials"))
        self._lock = threading.Lock()
        head = msgspec.json.encode(_Head(suite))
        rows = _rows(self._trials)
        if rows[:1] != [head]:
            self._trials.write_bytes(head + b"\n")
        kept = (_decoded(row, Trial) for row in rows[1:] if rows[:1] == [head])
        # what the harness did wrong is tried again
        self.done = {one.mutant.id: one for one in kept if one is not None and one.outcome != "error"}
        self.struck = {one.key: one for one in (_decoded(row, Struck) for row in _rows(self._faults)) if one is not None}
        self.cases = {one.key: one for one in (_decoded(row, CaseSeen) for row in _rows(self._baseline)) if one is not None}

    def keep(self, seen: CaseSeen) -> None:
        """Append a case of the baseline."""
        self._append(self._baseline, seen)

    def keep_struck(self, struck: Struck) -> None:
        """Append a fault case."""
        self._append(self._faults, struck)

    def add(self, trial: Trial) -> None:
        """Append the result of a mutant."""
        self._append(self._trials, trial)

    def _append(self, path: Path, row: msgspec.Struct) -> None:
        with self._lock, path.open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")


def _rows(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


def _decoded(line: bytes, kind: type[_Row]) -> _Row | None:
    """Return the row of a line; None for one that was cut off."""
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        return None


class Counts(msgspec.Struct, frozen=True):
    """How many mutants came to what, and the share that was killed of those that are to be (1 if there are none)."""

    killed: int
    warned: int
    survived: int
    not_covered: int
    equivalent: int
    error: int
    rate: float


def count(trials: Iterable[Trial]) -> Counts:
    """Count outcomes. What no case runs is not killed. What breaks no more than a SHOULD counts neither way: with that a driver is conformant."""
    counted = Counter(one.outcome for one in trials)
    killed, warned, survived, not_covered, equivalent, error = (counted[name] for name in OUTCOMES)
    real = killed + survived + not_covered
    return Counts(killed, warned, survived, not_covered, equivalent, error, killed / real if real else 1.0)
