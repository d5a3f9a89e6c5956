"""The rows of `spec/libvirt.toml`, typed, and what makes the loader refuse them. What each column means stands at the top of the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import tomli

from onesim.data import data_dir
from onesim.errors import SpecError

Direction = Literal["input", "output", "any"]
Ability = Literal["build", "create", "clone", "resize", "delete", "wipe", "transfer"]
#: Values that a path must have: it is one of them, "" stands for absent.
Values = dict[str, tuple[str, ...]]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row: unknown columns are refused."""


class Element(_Row, frozen=True):
    """Elements and attributes by their paths from the root, with what holds for all of them."""

    paths: tuple[str, ...]
    meaning: str
    source: str
    direction: Literal["input", "output", "both"] = "both"
    required: tuple[Literal["input", "output"], ...] = ()
    unless: str = ""
    size: bool = False
    since: str = ""


class Unit(_Row, frozen=True):
    """A unit by its names, and how many bytes it has."""

    names: tuple[str, ...]
    factor: int


class Format(_Row, frozen=True):
    """Formats of a list."""

    list: str
    names: tuple[str, ...]
    source: str
    default: bool = False
    direction: Literal["output", "both"] = "both"
    creates: Literal["always", "tool", "never"] = "never"


class Pool(_Row, frozen=True):
    """A type of pool. Paths are from `pool`."""

    type: str
    since: str
    needs: tuple[str, ...]
    volume: tuple[str, ...]
    can: tuple[Ability, ...]
    source: tuple[str, ...]
    takes: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    name: Literal["own", "source"] = "own"
    formats: str = ""
    volumes: str = ""
    removed: str = ""


class Grammar(_Row, frozen=True):
    """A pattern for the whole of a value."""

    name: str
    pattern: str
    meaning: str


class Rule(_Row, frozen=True):
    """What one element says about others. `at` is from the root, all other paths are from there."""

    at: str
    remedy: str
    source: str
    when: Values = {}
    unless: Values = {}
    needs: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    values: Values = {}
    grammar: dict[str, str] = {}
    direction: Literal["", "input", "output"] = ""


class History(_Row, frozen=True):
    """What other times or faulty pages show, and what libvirt reads."""

    kind: Literal["path", "text"]
    old: str
    new: str
    meaning: str
    source: tuple[str, ...]
    accepted: bool = False


class Tables(_Row, frozen=True):
    """The whole file."""

    common: tuple[str, ...]
    sources: dict[str, str]
    namespaces: dict[str, str]
    element: tuple[Element, ...]
    unit: tuple[Unit, ...]
    format: tuple[Format, ...]
    pool: tuple[Pool, ...]
    grammar: tuple[Grammar, ...]
    rule: tuple[Rule, ...]
    history: tuple[History, ...]

    def formats(self, name: str, direction: Direction = "any") -> frozenset[str]:
        """Return the formats of a list that may stand in a document of this direction; those of all lists that volumes have if the name is empty."""
        lists = {name} if name else {row.volumes for row in self.pool}
        return frozenset(one for row in self.format if row.list in lists and (direction != "input" or row.direction == "both") for one in row.names)


@cache
def tables() -> Tables:
    """Return the rows of `spec/libvirt.toml`. Raises SpecError where the table contradicts itself."""
    return load_tables(data_dir("spec") / "libvirt.toml")


def load_tables(path: Path) -> Tables:
    """Read the table. Raises SpecError naming file and row where it cannot be read or contradicts itself."""
    try:
        tables = msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), Tables)
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error
    for where, what in _contradictions(tables):
        raise SpecError(f"{path}: {where}: {what}; correct the row")
    return tables


Found = Iterator[tuple[str, str]]


def _contradictions(tables: Tables) -> Found:
    yield from _elements(tables)
    yield from _units(tables)
    yield from _formats(tables)
    yield from _pools(tables)
    yield from _rules(tables)
    yield from _history(tables)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _known(tables: Tables) -> frozenset[str]:
    return frozenset(path for row in tables.element for path in row.paths)


def _sources(tables: Tables, where: str, names: Iterable[str]) -> Found:
    yield from ((where, f"no source {name!r}") for name in names if name not in tables.sources)


def _elements(tables: Tables) -> Found:
    known = _known(tables)
    for path in _twice(path for row in tables.element for path in row.paths):
        yield f"element {path}", "it has two rows"
    for number, row in enumerate(tables.element, 1):
        where = f"element {number} ({row.paths[0] if row.paths else 'no path'})"
        yield from _sources(tables, where, [row.source])
        for path in row.paths:
            if "/" in path and path.rpartition("/")[0] not in known:
                yield where, f"{path} stands within an element that has no row"
            prefix = path.rpartition("/")[2].rpartition(":")[0]
            if prefix and prefix not in tables.namespaces:
                yield where, f"no namespace {prefix!r}"
        if row.direction != "both" and set(row.required) - {row.direction}:
            yield where, f"required as {', '.join(row.required)}, but it stands in {row.direction} alone"
        if row.unless and row.unless not in known:
            yield where, f"unless: no element {row.unless}"
        if row.unless and not row.required:
            yield where, "unless without required"


def _units(tables: Tables) -> Found:
    for name in _twice(name.casefold() for row in tables.unit for name in row.names):
        yield f"unit {name}", "it has two rows"
    for number, row in enumerate(tables.unit, 1):
        if row.factor < 1 or not row.names:
            yield f"unit {number} ({', '.join(row.names)})", f"factor {row.factor}"


def _formats(tables: Tables) -> Found:
    for name in dict.fromkeys(row.list for row in tables.format):
        rows = [row for row in tables.format if row.list == name]
        defaults = [one for row in rows if row.default for one in row.names]
        if len(defaults) > 1:
            yield f"format list {name!r}", f"several defaults: {', '.join(defaults)}"
        for one in _twice(one for row in rows for one in row.names):
            yield f"format {one} of list {name!r}", "it has two rows"
    for number, format_ in enumerate(tables.format, 1):
        where = f"format {number} ({format_.list})"
        yield from _sources(tables, where, [format_.source])
        if format_.direction == "output" and (format_.default or format_.creates != "never"):
            yield where, "an output format is neither a default nor made"


def _pools(tables: Tables) -> Found:
    known, lists = _known(tables), {row.list for row in tables.format}
    for name in _twice(row.type for row in tables.pool):
        yield f"pool {name}", "it has two rows"
    for number, row in enumerate(tables.pool, 1):
        where = f"pool {number} ({row.type})"
        yield from _sources(tables, where, row.source)
        yield from ((where, f"no element pool/{path}") for path in (*row.needs, *row.takes) if f"pool/{path}" not in known)
        yield from ((where, f"{path} is both needed and taken") for path in row.needs if path in row.takes)
        yield from ((where, f"several {path}, which it does not take") for path in row.several if path not in row.needs + row.takes)
        for name in filter(None, (row.formats, row.volumes)):
            if name not in lists:
                yield where, f"no format list {name!r}"
        if bool(row.formats) != ("source/format" in row.needs + row.takes):
            yield where, "formats and source/format must come together"
        if {"clone", "resize"} & set(row.can) and "create" not in row.can:
            yield where, "it clones or resizes volumes but creates none"
        if row.name == "source" and not any(path.startswith("source/name") for path in row.needs + row.takes):
            yield where, "named by a source/name that it does not take"
        if row.removed and _release(row.removed) <= _release(row.since):
            yield where, f"removed in {row.removed}, not after {row.since}"


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in text.split("."))


def _rules(tables: Tables) -> Found:
    known, grammars = _known(tables), {row.name for row in tables.grammar}
    for grammar in tables.grammar:
        try:
            re.compile(grammar.pattern)
        except re.error as error:
            yield f"grammar {grammar.name}", f"{error}"
    for number, row in enumerate(tables.rule, 1):
        where = f"rule {number} ({row.at})"
        yield from _sources(tables, where, [row.source])
        if row.at not in known:
            yield where, f"no element {row.at}"
        yield from ((where, f"no element {row.at}/{path}") for path in rule_paths(row) if f"{row.at}/{path}" not in known)
        yield from ((where, f"no grammar {name!r}") for name in row.grammar.values() if name not in grammars)
        yield from ((where, f"{path} is both needed and refused") for path in row.needs if path in row.refuses)
        if not any((row.needs, row.refuses, row.one_of, row.together, row.values, row.grammar)):
            yield where, "it asks for nothing"
        if any(len(group) == 1 for group in (row.one_of, row.together)):
            yield where, "one_of and together want two paths or more"


def rule_paths(row: Rule) -> tuple[str, ...]:
    """Return every path that a rule speaks of, from its `at`."""
    return (*row.when, *row.unless, *row.needs, *row.refuses, *row.one_of, *row.together, *row.values, *row.grammar)


def _history(tables: Tables) -> Found:
    known = _known(tables)
    for number, row in enumerate(tables.history, 1):
        where = f"history {number} ({row.old})"
        yield from _sources(tables, where, row.source)
        if row.kind == "path" and row.new not in known:
            yield where, f"no element {row.new}"
        if row.kind == "path" and (row.old in known) != row.accepted:
            yield where, "an accepted form has an element row, a refused one has none"
        if row.kind == "text" and row.accepted:
            yield where, "only paths are accepted"
