"""In which contracts a row of the specification holds, and how that is said in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from onesim.contracts import in_range
from onesim.rows import Range
from onesim.spec import ContractSpec, Spec

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Group(Generic[T]):
    """Contracts in which a value is the same, and how to name them together."""

    contracts: tuple[str, ...]
    label: str
    value: T


@cache
def contract_specs(spec: Spec) -> dict[str, ContractSpec]:
    """Return the tables decided for every contract, by alias, in the order of the table."""
    return {row.name: ContractSpec(spec, row) for row in spec.contracts}


@cache
def held_in(spec: Spec, since: Range, until: Range) -> tuple[str, ...]:
    """Return the aliases of the contracts in which a row with this range holds."""
    return tuple(row.name for row in spec.contracts if in_range(row.version, since, until))


def span(spec: Spec, names: Collection[str], *, exact: bool = True) -> str:
    """Return contracts as a reader says them: `all contracts`, `6.6 – 7.4`, `6.4-stdin, 6.6-stdin`.

    A contract with an option is named only where it differs from the one without it; where that one alone is meant, `exact` says so.
    """
    if len(names) == len(spec.contracts):
        return "all contracts"
    plain = [row for row in spec.contracts if not row.option]
    special = [row for row in spec.contracts if row.option]
    runs: list[list[str]] = []
    open_ = False
    for row in plain:
        if row.name in names:
            if open_:
                runs[-1].append(row.name)
            else:
                runs.append([row.name])
        open_ = row.name in names
    parts = [run[0] if len(run) == 1 else f"{run[0]} – {run[-1]}" for run in runs]
    base = {row.version: row.name for row in plain}
    if any((row.name in names) != (base.get(row.version) in names) for row in special):
        inside = [row.name for row in special if row.name in names]
        outside = [row.name for row in special if row.name not in names and base.get(row.version) in names]
        if outside and parts and exact:
            parts[-1] += f" (not {', '.join(outside)})"
        parts += inside
    return ", ".join(parts) or "no contract"


def grouped(spec: Spec, held: dict[str, ContractSpec], value: Callable[[ContractSpec], T | None]) -> tuple[Group[T], ...]:
    """Return the contracts grouped by a value, in the order of their first; those without a value (None) are left out."""
    found: dict[T, list[str]] = {}
    for name, one in held.items():
        said = value(one)
        if said is not None:
            found.setdefault(said, []).append(name)
    return tuple(Group(tuple(names), span(spec, names, exact=False), said) for said, names in found.items())


def releases(bound: Range) -> str:
    """Return a threshold in words: `6.5.80`, `6.4.2 and 6.5.80`."""
    thresholds = [bound] if isinstance(bound, str) else list(bound)
    return " and ".join(thresholds)


def range_words(since: Range, until: Range) -> str:
    """Return a row's range in words; empty where it always holds."""
    parts = [f"since {releases(since)}"] if since else []
    return ", ".join([*parts, f"before {releases(until)}"] if until else parts)


def merged(values: Sequence[T]) -> list[tuple[T, int]]:
    """Return the cells of a table row in which equal neighbours are one cell: value and how many columns it spans."""
    cells: list[tuple[T, int]] = []
    for value in values:
        if cells and cells[-1][0] == value:
            cells[-1] = (value, cells[-1][1] + 1)
        else:
            cells.append((value, 1))
    return cells
