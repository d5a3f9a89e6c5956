"""Parses the texts that cross a driver's boundary and are not XML, with the grammars of `schemas/grammars/`.

A text that a driver or a stranger made may be anything: what is wrong with it is a list of problems, never an exception. Nothing is compiled before it
is needed, and lark and the records are imported then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import msgspec
import tomli

from onesim.contracts import in_range, parse_version
from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.grammar_trees import Context, problem_at
from onesim.validation import Problem

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.exceptions import UnexpectedInput

    from onesim.grammar_values import Value

#: The default contract.
NEWEST = "7.4.0"


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `schemas/grammars.toml`; its columns are explained there."""

    name: str
    file: str
    start: str
    result: str
    reader: str
    about: str
    source: str
    build: str = ""
    since: str | tuple[str, ...] = ()
    until: str | tuple[str, ...] = ()
    max_chars: int = 65536
    max_line_chars: int = 65536


class _Scheme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[str, ...]
    source: str
    since: str | tuple[str, ...] = ()
    until: str | tuple[str, ...] = ()


class _Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grammar: tuple[Grammar, ...]
    scheme: tuple[_Scheme, ...]
    paths: dict[str, str]
    words: dict[str, str]


def names(version: str = NEWEST) -> list[str]:
    """Return what `parse` knows for a release."""
    return [row.name for row in _tables().grammar if in_range(version, row.since, row.until)]


def grammar(name: str, version: str = NEWEST) -> Grammar:
    """Return the row of a kind of text. Raises SpecError if a release has none, or more than one."""
    parse_version(version)
    found = [row for row in _tables().grammar if row.name == name and in_range(version, row.since, row.until)]
    if len(found) != 1:
        raise SpecError(
            f"schemas/grammars.toml: {len(found)} grammars of {name!r} for {version}, not one; ask for one of {', '.join(names(version))}"
        )
    return found[0]


def parse(name: str, text: str, version: str = NEWEST) -> Value | list[Problem]:
    """Return what a text says, or what is wrong with it; the record is the row's `result`.

    `name` is one of `names(version)`, `version` an exact release. Raises SpecError if that release has no such text.
    """
    from onesim import grammar_steps, grammar_values

    row = grammar(name, version)
    if len(text) > row.max_chars:
        return [Problem(1, "column 1", f"the text has {len(text)} characters", f"keep it to {row.max_chars}")]
    longest = max(map(len, text.split("\n")))
    if longest > row.max_line_chars:
        return [Problem(1, "column 1", f"a line has {longest} characters", f"keep each line to {row.max_line_chars}")]
    if row.file == "template.lark":
        # oned's scanner stops there
        text = text.partition("\0")[0]
    tree = _tree(row, text)
    if isinstance(tree, Problem):
        return [tree]
    if row.build:
        return grammar_steps.STEPS[row.build](
            tree, Context(text, version, _schemes(version), _tables().paths, lambda inner, part: parse(inner, part, version))
        )
    result: type[Value] = getattr(grammar_values, row.result)
    try:
        return msgspec.convert(_record(tree, result), result, strict=False)
    except msgspec.ValidationError as error:
        return [Problem(1, "column 1", f"a number is too large: {error}", "write a smaller number")]


def problems(name: str, text: str, version: str = NEWEST) -> list[Problem]:
    """Return what is wrong with a text, nothing if it is one of its kind; see `parse`."""
    found = parse(name, text, version)
    return found if isinstance(found, list) else []


def validate_ls(text: str, version: str = NEWEST) -> list[Problem]:
    """Return what is wrong with the output of the datastore action `ls`; see `onesim.listing`."""
    from onesim import listing

    return listing.validate_ls(text, version)


@cache
def _tables() -> _Tables:
    from onesim import grammar_values
    from onesim.grammar_steps import STEPS

    path = data_dir("schemas") / "grammars.toml"
    try:
        found = msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), _Tables)
    except (OSError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error
    for row in found.grammar:
        if (row.build and row.build not in STEPS) or not hasattr(grammar_values, row.result):
            raise SpecError(
                f"{path}: {row.name} names the step {row.build!r} and the record {row.result!r}, one of which is unknown; correct the row"
            )
    return found


@cache
def _schemes(version: str) -> frozenset[str]:
    return frozenset(name for row in _tables().scheme if in_range(version, row.since, row.until) for name in row.names)


@cache
def _compiled(file: str) -> Lark:
    from lark import Lark
    from lark.exceptions import LarkError

    folder = data_dir("schemas") / "grammars"
    starts = sorted({row.start for row in _tables().grammar if row.file == file})
    try:
        return Lark.open(str(folder / file), parser="lalr", start=starts, import_paths=[str(folder)], maybe_placeholders=False)
    except (OSError, LarkError) as error:
        raise SpecError(f"{folder / file}: {str(error).splitlines()[0]}; correct the grammar") from error


def _tree(row: Grammar, text: str) -> Tree[Token] | Problem:
    compiled = _compiled(row.file)
    from lark.exceptions import UnexpectedInput

    try:
        return compiled.parse(text, start=row.start)
    except UnexpectedInput as error:
        return _problem(row, text, error)


def _problem(row: Grammar, text: str, error: UnexpectedInput) -> Problem:
    """Say where a text stops being one of its kind, and what could stand there."""
    at: int = getattr(error, "pos_in_stream", None) or 0
    found = getattr(error, "token", None)
    if getattr(found, "type", "") == "$END":
        at = len(text)
    expected: Sequence[str] = sorted(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())
    there = repr(text[at : at + 20].split("\n", 1)[0] or text[at : at + 1]) if at < len(text) else "the end"
    return problem_at(text, at, f"{there} cannot stand there in {row.name}", f"write {_words(expected)} there")


def _words(expected: Sequence[str]) -> str:
    called = (_tables().words.get(name, name.strip("_").lower().replace("_", " ")) for name in expected)
    words = list(dict.fromkeys(word for word in called if word))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else "something else"


def _record(node: Tree[Token], result: Any) -> dict[str, Any]:
    """Return a tree as the fields of its record: the names of rules and terminals in small letters; what repeats is a list."""
    hints = get_type_hints(result)
    fields: dict[str, Any] = {}
    for child in node.children:
        name, value = _field(child, hints)
        if get_origin(hints.get(name)) is tuple:
            fields.setdefault(name, []).extend(value if isinstance(value, list) else [value])
        else:
            fields[name] = value
    return fields


def _field(child: Any, hints: Mapping[str, Any]) -> tuple[str, Any]:
    if not hasattr(child, "data"):
        return str(child.type).lower(), str(child)
    name = str(child.data)
    inner = hints.get(name)
    args = getattr(inner, "__args__", ())
    member = args[0] if args else inner
    if isinstance(member, type) and issubclass(member, msgspec.Struct):
        return name, _record(child, member)
    return name, str(child.children[0])
