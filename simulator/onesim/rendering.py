"""Writes elements as oned does: which ones an object has in which release, and in which form, are the rows of `schemas/documents.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

import msgspec
import tomli

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import SpecError

Range: TypeAlias = str | tuple[str, ...]

_BITS = tuple(f"{who}_{what}" for who in ("OWNER", "GROUP", "OTHER") for what in "UMA")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Element(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An element of a document. Columns are explained at the top of `schemas/documents.toml`."""

    name: str
    form: Literal["text", "cdata", "bits", "markup", "elements"] = "text"
    default: str | None = None
    optional: bool = False
    kinds: tuple[str, ...] = ()
    inherited: bool = False
    since: Range = ()
    until: Range = ()


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document: its children in order."""

    elements: tuple[Element, ...]
    tag: str = ""
    short_empty: bool = False


class _Tables(msgspec.Struct, frozen=True):
    documents: dict[str, Document]
    numbers: dict[str, dict[str, int]]


@cache
def _tables() -> _Tables:
    path = data_dir("schemas") / "documents.toml"
    try:
        raw = tomli.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert({"numbers": raw.pop("numbers"), "documents": raw}, _Tables)
    except (OSError, KeyError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


@cache
def elements(document: str, version: str, kind: str = "") -> tuple[Element, ...]:
    """Return the elements that a document has in a release, in order, for an object of that kind (a row of the disk-kind table, or none).

    Raises SpecError if a release has an element twice.
    """
    rows = _tables().documents[document].elements
    found = tuple(row for row in rows if (not row.kinds or kind in row.kinds) and in_range(version, row.since, row.until))
    twice = {row.name for n, row in enumerate(found) if row.name in {other.name for other in found[:n]}}
    if twice:
        raise SpecError(f"schemas/documents.toml: {document} has {', '.join(sorted(twice))} twice in {version}; part their ranges")
    return found


def element_names(document: str, version: str) -> list[str]:
    """Return the names of the elements that a document can have in a release; none for what is no document of the table."""
    found = _tables().documents.get(document)
    return [row.name for row in found.elements if in_range(version, row.since, row.until)] if found else []


@cache
def inherited(document: str) -> tuple[str, ...]:
    """Return the attributes that oned copies from a datastore into such an object which lacks them (INHERIT_DATASTORE_ATTR of its configuration)."""
    return tuple(row.name for row in _tables().documents[document].elements if row.inherited)


def number(kind: str, word: str) -> str:
    """Return the number, as text, that stands for a word such as the image type OS. Raises SpecError for an unknown one."""
    known = _tables().numbers[kind]
    if word not in known:
        raise SpecError(f"{kind} {word!r} has no number; choose one of {', '.join(known)}")
    return str(known[word])


def unwritable(text: str, section: bool = True) -> str:
    """Return why a document that holds this text could not be read, or nothing. XML 1.0 has no control characters.

    In a CDATA section (`section`) oned does not split an inner `]]>`; where it escapes text there is no such limit.
    """
    if section and "]]>" in text:
        return "the text contains ]]>"
    illegal = _ILLEGAL.search(text)
    return f"the text contains the character U+{ord(illegal.group()):04X}" if illegal else ""


def element(name: str, text: str) -> str:
    """Return an element with character data; entities as oned escapes them. Raises SpecError if no document can hold the text."""
    return f"<{_tag(name)}>{escape(_writable(name, text, section=False), _QUOTES)}</{name}>"


def render(document: str, version: str, values: Mapping[str, str], kind: str = "") -> str:
    """Return an object as an element: `document` is a table of the file, `values` are texts or markup by tag, as the rows' forms want.

    Raises SpecError where a value is missing that has no default, or cannot be written.
    """
    tag = _tables().documents[document].tag or document
    return f"<{tag}>{inner(document, version, values, kind)}</{tag}>"


def inner(document: str, version: str, values: Mapping[str, str], kind: str = "") -> str:
    """Return the children of such an element."""
    short = _tables().documents[document].short_empty
    parts = []
    for row in elements(document, version, kind):
        value = values.get(row.name, row.default)
        if value is not None:
            parts.append(_written(row, value, short))
        elif not row.optional:
            raise SpecError(f"schemas/documents.toml: {document}/{row.name} has neither a value nor a default; give it one or make it optional")
    return "".join(parts)


def _written(row: Element, value: str, short: bool) -> str:
    name = row.name
    match row.form:
        case "elements":
            return value
        case "cdata":
            return f"<{name}><![CDATA[{_writable(name, value)}]]></{name}>"
        case "bits":
            within = "".join(f"<{bit}>{digit}</{bit}>" for bit, digit in zip(_BITS, value, strict=True))
        case "markup":
            within = value
        case "text":
            within = value if value.isalnum() else escape(_writable(name, value, section=False), _QUOTES)
    return f"<{name}/>" if short and not within else f"<{name}>{within}</{name}>"


def template_xml(values: Mapping[str, str]) -> str:
    """Return attributes as elements in alphabetical order. Raises SpecError for what cannot be a tag or a text."""
    return "".join(f"<{_tag(name)}><![CDATA[{_writable(name, values[name])}]]></{name}>" for name in sorted(values))


def ids_xml(ids: Sequence[int]) -> str:
    """Return a list of ids."""
    return "".join(f"<ID>{id}</ID>" for id in ids)


@cache
def _tag(name: str) -> str:
    if not _TAG.fullmatch(name):
        raise SpecError(f"{name!r} cannot be the tag of an element; use letters, digits and underscores")
    return name


def _writable(name: str, text: str, section: bool = True) -> str:
    reason = "" if text.isalnum() else unwritable(text, section)  # most texts are numbers and names, which every document can hold
    if reason:
        raise SpecError(f"element {name}: {reason}, and oned's document would be unreadable; use another text")
    return text
