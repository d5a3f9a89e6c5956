"""The kill matrix: which requirement finds which kind of mistake, from a self-test that has broken the reference driver one line at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onesim.errors import ConfigError

#: The file beside a history that holds what the appendix of the report shows.
NAME = "selftest.json"


class Broken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mutant: where the reference driver was changed, by which operator, what came of it, and the requirement that a killed one broke first."""

    file: str
    line: int
    operator: str
    outcome: str
    requirement: str = ""


class Selftest(msgspec.Struct, frozen=True):
    """A self-test: the digest of the cases and the code that judged, and the mutants that were tried."""

    suite: str
    mutants: tuple[Broken, ...]


@dataclass(frozen=True)
class Row:
    """The mutants that a requirement has killed: by operator, in the order of the matrix, and in all."""

    requirement: str
    counts: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Matrix:
    """Requirements by operator, the strongest first; how many mutants came to what; those that nothing has killed. `rate` is None where none was to be killed."""

    operators: tuple[str, ...]
    rows: tuple[Row, ...]
    outcomes: dict[str, int]
    alive: tuple[Broken, ...]
    rate: float | None


def matrix(mutants: Iterable[Broken]) -> Matrix:
    """Return the matrix. As in the self-test, what is equivalent or breaks no more than a SHOULD counts neither way, and what no case runs is not killed."""
    tried = list(mutants)
    killed = [one for one in tried if one.outcome == "killed"]
    operators = tuple(sorted({one.operator for one in killed}))
    cells = Counter((one.requirement, one.operator) for one in killed)
    totals = Counter(one.requirement for one in killed)
    rows = (Row(id, tuple(cells[id, name] for name in operators), times) for id, times in sorted(totals.items(), key=lambda one: (-one[1], one[0])))
    outcomes = Counter(one.outcome for one in tried)
    alive = tuple(one for one in tried if one.outcome in ("survived", "not_covered"))
    real = len(killed) + len(alive)
    return Matrix(operators, tuple(rows), dict(outcomes), alive, len(killed) / real if real else None)


def read_selftest(path: Path) -> Selftest | None:
    """Return the self-test of a file; None if there is no such file. Raises ConfigError for one that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Selftest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}; `onetck report DIR --selftest DIR` writes it") from None
