"""Tells what a document is, and what is wrong with it: every kind that crosses a driver's boundary, by its schema, its grammar, or its reader.

What a driver or a stranger made may be anything: what is wrong is a list of problems, never an exception.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import tomli

from onesim import grammars, schemas, validation
from onesim.data import data_dir
from onesim.errors import ConfigError, SpecError, TraceError
from onesim.spec import ContractSpec
from onesim.trace import parse_trace
from onesim.validation import Problem

#: Larger inputs are refused unread: nothing at the boundary comes near.
MAX_BYTES = 8 * 1024 * 1024

_ROOT = re.compile(rb"<([A-Za-z_]+)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]{16,}\Z")


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `schemas/kinds.toml`."""

    name: str
    by: Literal["xml", "libvirt", "grammar", "ls", "trace"]
    title: str
    begins: str = ""
    requirement: str = ""


class _Kinds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: tuple[Kind, ...]


@dataclass(frozen=True)
class Recognised:
    """What a document is and what is wrong with it. `encoding` is plain or base64; `kind` is empty where nobody can tell."""

    kind: str
    title: str
    encoding: Literal["plain", "base64"]
    requirement: str
    problems: tuple[Problem, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """Return the table of kinds. Raises SpecError where it is wrong."""
    path = data_dir("schemas") / "kinds.toml"
    try:
        return msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), _Kinds).kind
    except (OSError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


def known(spec: ContractSpec) -> list[str]:
    """Return the names that a user may give: the kinds of the table, and every XML document that the contract has."""
    others = [row.name for row in kinds() if row.by in ("libvirt", "ls", "trace")]
    return [*schemas.kinds(spec.version), *others, *grammars.names(spec.version)]


def recognise(data: bytes, spec: ContractSpec, kind: str = "", path: str = "-", *, deep: bool = False) -> Recognised:
    """Verify a document for a contract. `kind` says what it is; else it is told from the content. `path` names it in messages.

    `deep` looks at what the form alone cannot tell, such as snapshots that refer to each other.

    Raises ConfigError for a kind that the contract does not have.
    """
    if kind and kind not in known(spec):
        raise ConfigError(f"--as {kind}: contract {spec.contract.name} has no such document; choose one of {', '.join(known(spec))}")
    if len(data) > MAX_BYTES:
        return _unknown(f"the document has {len(data)} bytes", f"keep it below {MAX_BYTES}")
    whole = bool(kind) and kind in schemas.kinds(spec.version) and schemas.document(kind, spec.version).encoding == "base64"
    text, encoding = _decoded(data)
    if whole:
        text, encoding = data, "base64"
    if not text.strip():
        return _unknown("the document is empty", "give what the driver printed, or what it was given")
    row = _row(text, kind, spec)
    if row is None and text.lstrip().startswith(b"<"):
        root = validation.parse(text)
        if isinstance(root, Problem):
            return Recognised("XML", "XML", encoding, "", (root,))
    if row is None:
        return _unknown("what this is cannot be told from its content", f"say it with --as: {', '.join(known(spec))}")
    problems = _verify(row, text, spec, Path(path))
    if deep and not problems and row.by == "xml":
        from onesim.explaining import explain

        problems = explain(row.name, spec.version, text)
    return Recognised(row.name, row.title, encoding, row.requirement, tuple(problems))


def _unknown(message: str, remedy: str) -> Recognised:
    return Recognised("", "unknown", "plain", "", (Problem(1, "/", message, remedy),))


def _decoded(data: bytes) -> tuple[bytes, Literal["plain", "base64"]]:
    if _BASE64.match(data) and data.lstrip()[:1] not in b"<{":
        try:
            plain = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error:
            return data, "plain"
        if plain.lstrip()[:1] == b"<":
            return plain, "base64"
    return data, "plain"


def _row(text: bytes, kind: str, spec: ContractSpec) -> Kind | None:
    found = {row.name: row for row in kinds()}
    if kind:
        return found.get(kind) or Kind(kind, "grammar" if kind in grammars.names(spec.version) else "xml", kind)
    if text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        root = _ROOT.search(text[:4096])
        name = root.group(1).decode() if root and root.group(1).decode() in found else validation.recognise(text)
        return found.get(name) or (Kind(name, "xml", name) if name else None)
    start = text[:4096].decode("utf-8", "replace")
    return next((row for row in kinds() if row.begins and re.match(rf"\s*(?:{row.begins})", start)), None)


def _verify(row: Kind, text: bytes, spec: ContractSpec, path: Path) -> list[Problem]:
    if row.by == "xml":
        return validation.validate(row.name, spec.version, text)
    if row.by == "libvirt":
        from onesim.libvirt import validate_libvirt

        return validate_libvirt(text)
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError as error:
        return [Problem(text.count(b"\n", 0, error.start) + 1, "/", f"byte {error.start} is not UTF-8", "write it in UTF-8")]
    if row.by == "trace":
        return _trace(words, spec, path)
    return grammars.validate_ls(words, spec.version) if row.by == "ls" else grammars.problems(row.name, words, spec.version)


def _trace(text: str, spec: ContractSpec, path: Path) -> list[Problem]:
    try:
        parse_trace(text, path, spec.spec)
    except TraceError as error:
        where, _, message = str(error).removeprefix(f"{path}").lstrip(":").partition(": ")
        return [Problem(int(where) if where.isdigit() else 1, "/", message or where, "correct the line")]
    return []
