"""The tables of `spec/` that only documents read: discrepancies, attributes, default driver rows, helpers, formats, enumerations, pools.

A table that the installation lacks is empty here; one that cannot be read is refused with its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli

from onereport.spec_ranges import range_words
from onesim.errors import SpecError
from onesim.libvirt_tables import Tables, load_tables
from onesim.rows import Discrepancy, Range, Row
from onesim.spec import Spec


class _Row(msgspec.Struct, frozen=True):
    """A row of which these columns are shown."""


class Attribute(_Row, frozen=True):
    """An attribute of a driver's configuration, a datastore, a command line or an environment."""

    name: str
    where: str
    meaning: str
    values: tuple[str, ...] = ()
    default: str = ""
    changes: tuple[str, ...] = ()
    since: Range = ()
    until: Range = ()
    source: str = ""


class DriverRow(_Row, frozen=True):
    """A default row of oned.conf."""

    family: str
    name: str
    attributes: dict[str, str]
    release: str = ""
    since: Range = ()
    until: Range = ()
    source: str = ""


class ShownRow(_Row, frozen=True):
    """What a run shows of an attribute of oned.conf. Columns are explained at the top of `spec/attributes.toml`."""

    where: str
    name: str
    of: str
    requirement: str
    kept: str
    broken: str


class Helper(_Row, frozen=True):
    """A function of the shell library that guides promise to drivers."""

    name: str
    does: str
    arguments: str = ""
    promised: str = ""
    since: Range = ()
    source: str = ""
    note: str = ""


class FormatRow(_Row, frozen=True):
    """A data format at a driver's boundary."""

    name: str
    title: str
    meaning: str
    carried_by: tuple[str, ...] = ()
    encoding: str = ""
    sample: str = ""
    source: str = ""


class Enumeration(_Row, frozen=True):
    """Names and their numbers."""

    name: str
    values: tuple[tuple[str, str, str], ...]
    meaning: str = ""
    source: str = ""


@dataclass(frozen=True)
class Documents:
    """All tables that only documents read."""

    discrepancies: tuple[Discrepancy, ...]
    attributes: tuple[Attribute, ...]
    drivers: tuple[DriverRow, ...]
    shown: tuple[ShownRow, ...]
    helpers: tuple[Helper, ...]
    formats: tuple[FormatRow, ...]
    enumerations: tuple[Enumeration, ...]
    libvirt: Tables | None


_Shown = TypeVar("_Shown", bound="Row | _Row")


@lru_cache(maxsize=4)
def documents(spec: Spec) -> Documents:
    """Read the tables beside those of `spec`. Raises SpecError naming the file that cannot be read."""
    attributes, formats = spec.root / "attributes.toml", spec.root / "formats.toml"
    pools = spec.root / "libvirt.toml"
    return Documents(
        _rows(spec.root / "discrepancies.toml", "discrepancy", Discrepancy),
        _rows(attributes, "attribute", Attribute),
        _rows(attributes, "driver", DriverRow),
        _rows(attributes, "shown", ShownRow),
        _rows(spec.root / "helpers.toml", "helper", Helper),
        _rows(formats, "format", FormatRow),
        tuple(_enumeration(row) for row in _table(formats).get("enumeration", [])),
        load_tables(pools) if pools.is_file() else None,
    )


@lru_cache(maxsize=8)
def _table(path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


def _rows(path: Path, name: str, kind: type[_Shown]) -> tuple[_Shown, ...]:
    texts = {field.name for field in msgspec.structs.fields(kind) if field.type is str}
    try:
        return tuple(msgspec.convert(_plain(row, texts), kind) for row in _table(path).get(name, []))
    except msgspec.ValidationError as error:
        raise SpecError(f"{path}: {name}: {error}; correct the row") from error


def _plain(row: dict[str, Any], texts: set[str]) -> dict[str, Any]:
    """Return a row with every scalar as text, and a list as one text where the column is a text."""
    return {name: ", ".join(map(str, value)) if name in texts and isinstance(value, list) else _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    if isinstance(value, dict):
        return {name: _text(one) for name, one in value.items()}
    return value if isinstance(value, str) else str(value)


def _enumeration(row: dict[str, Any]) -> Enumeration:
    given = row.get("values", row.get("value", {}))
    if isinstance(given, dict):
        values = tuple((name, str(number), "") for name, number in given.items())
    else:
        values = tuple(
            (str(one.get("name", "")), str(one.get("number", "")), range_words(_range(one, "since"), _range(one, "until"))) for one in given
        )
    return Enumeration(str(row.get("name", "")), values, str(row.get("meaning", "")), str(row.get("source", "")))


def _range(row: dict[str, Any], column: str) -> Range:
    bound = row.get(column, ())
    return bound if isinstance(bound, str) else tuple(map(str, bound))
