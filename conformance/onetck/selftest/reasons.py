"""Why some mutants are equivalent: rows of `equivalent.toml`, which name them by id. A row whose mutant is not made any more is stale."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from onesim.errors import SpecError

FILE = Path(__file__).parent / "equivalent.toml"


class Equivalent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mutants of a file that do nothing wrong that anyone could see, and why."""

    file: str
    ids: tuple[str, ...]
    reason: str


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    equivalent: tuple[Equivalent, ...] = ()


def read_reasons(path: Path = FILE) -> dict[str, Equivalent]:
    """Return the rows by the ids of mutants. Raises SpecError for a file that cannot be read, a reason that is empty, or an id that stands twice."""
    try:
        table = msgspec.toml.decode(path.read_bytes(), type=_Table)
    except (OSError, msgspec.DecodeError) as error:
        raise SpecError(f"{path}: {error}") from None
    found: dict[str, Equivalent] = {}
    for row in table.equivalent:
        for id in row.ids:
            if id in found or not row.reason.strip():
                raise SpecError(f"{path}: {id} of {row.file} {'stands twice' if id in found else 'has no reason'}")
            found[id] = row
    return found


def stale(rows: dict[str, Equivalent], made: Iterable[tuple[str, str]]) -> list[str]:
    """Return the ids of rows that name no mutant any more; `made` are id and file of all that are."""
    there = dict(made)
    return sorted(id for id, row in rows.items() if there.get(id) != row.file)
