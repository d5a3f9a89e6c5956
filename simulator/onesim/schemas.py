"""Reads `schemas/schemas.toml`: which kinds of documents a release has, which XSD verifies each, and how a kind is told from a content."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import tomli

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import SpecError

Range: TypeAlias = str | tuple[str, ...]

_SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:include schemaLocation="{file}"/>{element}</xs:schema>"""
_ELEMENT = """<xs:element name="{root}" type="{type}"/>"""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of some releases."""

    file: str
    since: Range = ()
    until: Range = ()


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document; columns are explained at the top of `schemas/schemas.toml`."""

    kinds: tuple[str, ...]
    root: str
    type: str = ""
    checks: str = ""
    encoding: Literal["plain", "base64"] = "plain"
    since: Range = ()
    until: Range = ()


class Recognise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document with this root for which `when` (XPath 1.0, from the root; none = always) is true is of this kind."""

    root: str
    kind: str
    when: str = "true()"


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of `schemas/schemas.toml`."""

    release: tuple[Release, ...]
    document: tuple[Document, ...]
    recognise: tuple[Recognise, ...]


@cache
def tables() -> Tables:
    """Return the rows. Raises SpecError where the file is no such table."""
    path = data_dir("schemas") / "schemas.toml"
    try:
        return msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), Tables)
    except (OSError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


@cache
def kinds(version: str = "") -> list[str]:
    """Return the kinds of documents that a release has, in the table's order; without a release, all."""
    return list(dict.fromkeys(kind for row in tables().document if not version or in_range(version, row.since, row.until) for kind in row.kinds))


@cache
def document(kind: str, version: str) -> Document:
    """Return the row of a kind in a release. Raises SpecError where the release has no such document, or the table has two."""
    found = [row for row in tables().document if kind in row.kinds and in_range(version, row.since, row.until)]
    if len(found) == 1:
        return found[0]
    remedy = "part the ranges" if found else f"choose one of {', '.join(kinds(version))}"
    raise SpecError(f"schemas/schemas.toml: {len(found)} documents {kind} in {version}, not one; {remedy}")


@cache
def release_file(version: str) -> str:
    """Return the file of a release, relative to `schemas/`. Raises SpecError where there is not exactly one."""
    found = [row.file for row in tables().release if in_range(version, row.since, row.until)]
    if len(found) != 1:
        raise SpecError(f"schemas/schemas.toml: {len(found)} files for release {version}, not one; part the ranges")
    return found[0]


@cache
def schema_text(kind: str, version: str) -> str:
    """Return the XSD 1.0 of a document; its includes are relative to `schemas/`. Raises SpecError where the release has no such document."""
    row = document(kind, version)
    element = _ELEMENT.format(root=row.root, type=row.type) if row.type else ""
    return _SCHEMA.format(file=release_file(version), element=element)


@cache
def roots_text(version: str) -> str:
    """Return the XSD 1.0 of all documents of a release, for tools that walk it: the type of a root is declared as an element of the type's name."""
    types = dict.fromkeys(row.type for row in tables().document if row.type and in_range(version, row.since, row.until))
    return _SCHEMA.format(file=release_file(version), element="".join(_ELEMENT.format(root=type, type=type) for type in types))


def export(folder: Path, version: str) -> list[Path]:
    """Write the schemas of a release for other tools: one XSD 1.0 a document and one XSD 1.1 with its assertions, libvirt's, and the JSON Schema of `ls`.

    Returns the files that can be used by themselves.
    """
    source = data_dir("schemas")
    for file in sorted([*source.rglob("*.xsd"), source / "ls.schema.json"]):
        goal = folder / file.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(file.read_bytes())
    written = [folder / "ls.schema.json", *(folder / "libvirt" / f"{name}.xsd" for name in ("pool", "volume", "secret"))]
    for kind in kinds(version):
        name = kind.replace("/", "-")
        for suffix, text in (("xsd", schema_text(kind, version)), ("assertions.xsd", checks_text(kind, version))):
            path = folder / f"{name}.{suffix}"
            path.write_text(text + "\n", encoding="utf-8")
            written.append(path)
    return written


def checks_text(kind: str, version: str) -> str:
    """Return the XSD 1.1 with the assertions on a document, relative to `schemas/`. Raises SpecError where the release has no such document."""
    row = document(kind, version)
    element = _ELEMENT.format(root=row.root, type=row.checks or "Content") if row.type else ""
    return _SCHEMA.format(file="assertions.xsd", element=element)
