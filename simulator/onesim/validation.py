"""Verifies documents against the XSD files of `schemas/`, safely: no DTD, no entities, no network, and limits on everything.

A document that a driver or a stranger made may be anything: what is wrong with it is a list of problems, never an exception.
"""

from __future__ import annotations

import re
import threading
import tomllib
from dataclasses import dataclass
from functools import cache

import msgspec
from lxml import etree

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import SpecError

#: A document of oned has some 10 kB; a VM with hundreds of disks stays below this.
MAX_BYTES = 1024 * 1024
MAX_PROBLEMS = 20

_BLANK = re.compile(rb"[ \t\r\n]*")
_ROOT = re.compile(rb"<[A-Za-z_]")
#: What may stand before the root besides white space.
_MISC = ((b"<?", b"?>"), (b"<!--", b"-->"))

_REMEDIES = {
    "SCHEMAV_ELEMENT_CONTENT": "put the elements there that the schema lists, each once and in its order",
    "SCHEMAV_CVC_ELT_1": "choose the kind of document that has this root",
    "SCHEMAV_CVC_IDC": "give every such element its own id",
    "SCHEMAV_CVC_PATTERN_VALID": "write the value as the schema's pattern says",
    "SCHEMAV_CVC_ENUMERATION_VALID": "choose one of the listed values",
    "SCHEMAV_CVC_MAXINCLUSIVE_VALID": "choose a number within the range",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_1": "remove what this element holds",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_3": "remove the text between the elements",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "remove the attribute",
    "SCHEMAV_CVC_TYPE_3_1_1": "remove the attribute",
    "SCHEMAV_CVC_TYPE_3_1_2": "remove the elements from within this value",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a document: line (from 1), path of the element from the root, what it is, and what to do."""

    line: int
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.path}: {self.message}; {self.remedy}"


class _Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kinds: tuple[str, ...]
    file: str
    since: str | tuple[str, ...] = ()
    until: str | tuple[str, ...] = ()


class _Recognise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    root: str
    kind: str
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class _Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: tuple[_Schema, ...]
    recognise: tuple[_Recognise, ...]


class _Compiled(threading.local):
    """libxml2 keeps the errors of a run in the schema: one set of compiled schemas for each thread."""

    def __init__(self) -> None:
        self.schemas: dict[str, etree.XMLSchema] = {}


_compiled = _Compiled()


def validate(kind: str, version: str, xml: bytes) -> list[Problem]:
    """Return what is wrong with a document, at most one problem for each element and 20 in all; nothing if it is valid.

    `kind` is an action such as `ds/cp`, the root `VM`, or the root `DS_DRIVER_ACTION_DATA` if the action is not known: then it is told from the
    content. `version` is an exact release. Raises SpecError if no schema is specified for them.
    """
    root = _parsed(xml)
    if isinstance(root, Problem):
        return [root]
    schema = _schema(schema_file(_kind(kind, root), version))
    if schema.validate(root):
        return []
    problems: dict[str, Problem] = {}
    for entry in schema.error_log:
        path = entry.path or f"/{root.tag!s}"
        remedy = _REMEDIES.get(entry.type_name, "write what the schema wants there")
        problems.setdefault(path, Problem(max(entry.line, 1), path, entry.message, remedy))
        if len(problems) == MAX_PROBLEMS:
            break
    return list(problems.values())


def validate_or_raise(kind: str, version: str, xml: bytes) -> None:
    """Verify a document that we made. Raises SpecError: a wrong one is our fault, never the driver's."""
    problems = validate(kind, version, xml)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SpecError(f"our own document {kind} for {version} is wrong, {problems[0]}{more}")


@cache
def schema_file(kind: str, version: str) -> str:
    """Return the XSD of a kind of document, relative to `schemas/`. Raises SpecError where not exactly one is specified for that release."""
    found = [row.file for row in _tables().schema if kind in row.kinds and in_range(version, row.since, row.until)]
    if len(found) != 1:
        raise SpecError(f"schemas/schemas.toml: {len(found)} schemas for {kind} in {version}, not one; add a row or part the ranges")
    return found[0]


@cache
def _tables() -> _Tables:
    path = data_dir("schemas") / "schemas.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Tables)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


def _kind(kind: str, root: etree._Element) -> str:
    for row in _tables().recognise:
        if row.root == kind and all(root.find(path) is not None for path in row.has) and all(root.find(path) is None for path in row.lacks):
            return row.kind
    return kind


def _schema(file: str) -> etree.XMLSchema:
    found = _compiled.schemas.get(file)
    if found is None:
        path = data_dir("schemas") / file
        try:
            found = etree.XMLSchema(etree.parse(str(path)))
        except (OSError, etree.LxmlError) as error:
            raise SpecError(f"{path}: {error}; correct the schema") from error
        _compiled.schemas[file] = found
    return found


def _root_at(xml: bytes) -> int:
    """Return where the prolog ends, found before any XML parser sees the document: what a parser does with a DTD cannot matter then."""
    at = 3 if xml.startswith(b"\xef\xbb\xbf") else 0
    while True:
        blank = _BLANK.match(xml, at)
        at = blank.end() if blank else at
        closing = next((end for begin, end in _MISC if xml.startswith(begin, at)), b"")
        end = xml.find(closing, at) if closing else -1
        if end < 0:
            return at
        at = end + len(closing)


def _parsed(xml: bytes) -> etree._Element | Problem:
    if len(xml) > MAX_BYTES:
        return Problem(1, "/", f"the document has {len(xml)} bytes", f"keep it below {MAX_BYTES}")
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError as error:
        return Problem(xml.count(b"\n", 0, error.start) + 1, "/", f"byte {error.start} is not UTF-8", "write the document in UTF-8")
    start = _root_at(xml)
    if not _ROOT.match(xml, start):
        what = "a document type declaration" if xml.startswith(b"<!DOCTYPE", start) else "no element"
        line = xml.count(b"\n", 0, start) + 1
        return Problem(line, "/", f"the document begins with {what}", "begin with the root element; DTDs and entities are refused")
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        return etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        return Problem(error.lineno or 1, "/", f"the document is not well-formed: {error.msg}", "close every element and escape & and <")
