"""Verifies documents against the XSD files of `schemas/`, safely: no DTD, no entities, no network, and limits on everything.

A document that a driver or a stranger made may be anything: what is wrong with it is a list of problems, never an exception.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from lxml import etree

from onesim import limits, schemas
from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.schemas import kinds

__all__ = ["MAX_BYTES", "MAX_PROBLEMS", "Problem", "kinds", "parse", "parse_encoded", "recognise", "validate", "validate_or_raise"]

#: A document of oned has some 10 kB; a VM with hundreds of disks stays below this.
MAX_BYTES = 1024 * 1024
MAX_PROBLEMS = 20

_PATH_LENGTH = 200
_MESSAGE_LENGTH = 500

_BLANK = re.compile(rb"[ \t\r\n]*")
_ROOT = re.compile(rb"<[A-Za-z_]")
#: What may stand before the root besides white space.
_MISC = ((b"<?", b"?>"), (b"<!--", b"-->"))

_REMEDIES = {
    "SCHEMAV_ELEMENT_CONTENT": "put the elements there that the schema lists, each once and in its order",
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


@dataclass(frozen=True)
class _Verifier:
    root: str
    encoded: bool
    schema: etree.XMLSchema


class _Thread(threading.local):
    """What a thread keeps for itself: libxml2 keeps the errors of a run in the parser and in the schema."""

    def __init__(self) -> None:
        self.parser = etree.XMLParser(
            encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
        )
        self.verifiers: dict[tuple[str, str], _Verifier] = {}
        self.schemas: dict[str, etree.XMLSchema] = {}


_thread = _Thread()
#: libxml2 compiles the parts that schemas include one at a time, or not at all.
_compiling = threading.Lock()


def validate(kind: str, version: str, xml: bytes) -> list[Problem]:
    """Return what is wrong with a document, at most one problem for each element and 20 in all; nothing if it is valid.

    `kind` is one of `kinds(version)`, or a root such as `DS_DRIVER_ACTION_DATA` if the action is not known: then it is told from the content.
    `version` is an exact release. Raises SpecError if the release has no such document.
    """
    verifier = _thread.verifiers.get((kind, version))
    if verifier is None:
        told = _told_kind(kind, xml)
        verifier = _verifier(told, version)
        if told == kind:
            _thread.verifiers[kind, version] = verifier
    root = parse_encoded(xml) if verifier.encoded else parse(xml)
    if isinstance(root, Problem):
        return [root]
    if root.tag != verifier.root:
        return [wrong_root(root, verifier.root)]
    if len(xml) > limits.SMALL:
        too_much = limits.excess(root)
        if too_much:
            return [Problem(root.sourceline or 1, f"/{root.tag!s}", f"the document has {too_much}", "leave out what no driver needs")]
    if verifier.schema.validate(root):
        return []
    return _problems(root, verifier.schema.error_log)


def validate_or_raise(kind: str, version: str, xml: bytes) -> None:
    """Verify a document that we made. Raises SpecError: a wrong one is our fault, never the driver's."""
    problems = validate(kind, version, xml)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SpecError(f"our own document {kind} for {version} is wrong, {problems[0]}{more}")


def recognise(xml: bytes) -> str:
    """Return the kind of a document by its root and content, such as `ds/cp`, `VM` or `IMPORT_INFO`; empty for what is none.

    Actions whose documents are alike get the name of one of them: mkfs, rm and export, and the three snapshot actions.
    """
    root = parse(xml)
    if isinstance(root, Problem):
        return ""
    return next((kind for tag, when, kind in _recognisers() if tag == root.tag and when(root)), "")


def parse(xml: bytes) -> etree._Element | Problem:
    """Return the root of a document from anywhere, or why it is refused. A DTD never reaches the parser; entities are not resolved."""
    if len(xml) > MAX_BYTES:
        return Problem(1, "/", f"the document has {len(xml)} bytes", f"keep it below {MAX_BYTES}")
    if not (_ROOT.match(xml) and xml.isascii()):
        problem = _refusal(xml)
        if problem:
            return problem
    try:
        return etree.fromstring(xml, _thread.parser)
    except etree.XMLSyntaxError as error:
        message = f"the document is not well-formed: {error.msg}"
        return Problem(error.lineno or 1, "/", message[:_MESSAGE_LENGTH], "close every element and escape & and <")


def parse_encoded(data: bytes) -> etree._Element | Problem:
    """Return the root of a document within base64, in lines or not, or why it is refused."""
    if len(data) > 2 * MAX_BYTES:
        return Problem(1, "/", f"the encoded document has {len(data)} bytes", f"keep it below {2 * MAX_BYTES}")
    try:
        return parse(base64.b64decode(b"".join(data.split()), validate=True))
    except binascii.Error:
        return Problem(1, "/", "the document is no base64", "encode it in base64")


def wrong_root(root: etree._Element, wanted: str) -> Problem:
    """Return the problem of a document with another root."""
    return Problem(
        root.sourceline or 1, f"/{root.tag!s}"[:_PATH_LENGTH], f"the root is not {wanted}", "choose the kind of document that has this root"
    )


def bounded(line: int, path: str, message: str, remedy: str) -> Problem:
    """Return a problem of bounded length: a document may hold names and values of any."""
    return Problem(max(line, 1), path[:_PATH_LENGTH], message[:_MESSAGE_LENGTH], remedy)


def _problems(root: etree._Element, log: Iterable[etree._LogEntry]) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for entry in log:
        path = entry.path or f"/{root.tag!s}"
        if path not in problems:
            remedy = _REMEDIES.get(entry.type_name, "write what the schema wants there")
            problems[path] = bounded(entry.line, path, entry.message, remedy)
            if len(problems) == MAX_PROBLEMS:
                break
    return list(problems.values())


def _told_kind(kind: str, xml: bytes) -> str:
    """A root with several kinds of documents stands for the kind that the content tells; what cannot be parsed is refused later."""
    roots = [row for row in schemas.tables().recognise if row.root == kind]
    return (recognise(xml) or roots[-1].kind) if roots and kind not in kinds() else kind


def _verifier(kind: str, version: str) -> _Verifier:
    row = schemas.document(kind, version)
    text = schemas.schema_text(kind, version)
    schema = _thread.schemas.get(text)
    if schema is None:
        schema = _thread.schemas[text] = _compiled(text)
    return _Verifier(row.root, row.encoding == "base64", schema)


def _compiled(text: str) -> etree.XMLSchema:
    folder = data_dir("schemas")
    try:
        with _compiling:
            return etree.XMLSchema(etree.fromstring(text, base_url=str(folder / "document.xsd")))
    except etree.LxmlError as error:
        raise SpecError(f"{folder}: {error}; correct the schema") from error


@cache
def _recognisers() -> list[tuple[str, etree.XPath, str]]:
    return [(row.root, etree.XPath(f"boolean({row.when})"), row.kind) for row in schemas.tables().recognise]


def _refusal(xml: bytes) -> Problem | None:
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError as error:
        return Problem(xml.count(b"\n", 0, error.start) + 1, "/", f"byte {error.start} is not UTF-8", "write the document in UTF-8")
    start = _root_at(xml)
    if _ROOT.match(xml, start):
        return None
    what = "a document type declaration" if xml.startswith(b"<!DOCTYPE", start) else "no element"
    line = xml.count(b"\n", 0, start) + 1
    return Problem(line, "/", f"the document begins with {what}", "begin with the root element; DTDs and entities are refused")


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
