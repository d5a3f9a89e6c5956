"""Verifies libvirt's storage documents (pool, volume, secret): by the XSD files of `schemas/libvirt/`, then by the rows of `spec/libvirt.toml`.

What is wrong with a document is a list of problems, never an exception.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, islice
from typing import Literal

from lxml import etree

from onesim.data import data_dir
from onesim.errors import SpecError, TraceError
from onesim.libvirt_tables import Direction, Element, Pool, Rule, Values, tables
from onesim.validation import MAX_PROBLEMS, Problem, parse

Document = Literal["pool", "volume", "secret"]
DOCUMENTS: tuple[Document, ...] = ("pool", "volume", "secret")
#: The largest size that libvirt takes, in bytes: files have signed offsets.
MAX_SIZE = 2**63 - 1
#: More elements than any pool has; libxml2 looks for the path of each wrong one among all of them.
MAX_NODES = 10_000

_PATH_LENGTH = 200
_MESSAGE_LENGTH = 500

_NUMBER = re.compile(r"[ \t\r\n]*([0-9]{1,40})[ \t\r\n]*")


class _Compiled(threading.local):
    """libxml2 keeps the errors of a run in the schema: one set of compiled schemas for each thread."""

    def __init__(self) -> None:
        self.schemas: dict[str, etree.XMLSchema] = {}


_compiled = _Compiled()


def validate_libvirt(xml: bytes, *, direction: Direction = "any", pool_type: str = "") -> list[Problem]:
    """Return what is wrong with a pool, volume or secret document, at most 20 problems; nothing if it is valid.

    `direction` is `input` for a document that is given to libvirt, `output` for one that libvirt wrote; `any` leaves out what depends on it.
    `pool_type` tells in which type of pool a volume lies; it is of no account for other documents. Raises SpecError for a type that has no row.
    """
    pool = _pool(pool_type) if pool_type else None
    root = parse(xml)
    if isinstance(root, Problem):
        return [root]
    if sum(1 for _ in islice(root.iter(), MAX_NODES + 1)) > MAX_NODES:
        return [Problem(_line(root), "/", f"the document has more than {MAX_NODES} elements", "leave out what libvirt does not need")]
    document = next((name for name in DOCUMENTS if name == root.tag), None)
    if document is None:
        return [_short(Problem(_line(root), _path(root), f"the root is {root.tag!s}", f"write one of {', '.join(DOCUMENTS)}"))]
    found: dict[str, Problem] = {}
    for problem in chain(_history(document, root), _schema_problems(document, root)):
        found.setdefault(problem.path, problem)
        if len(found) == MAX_PROBLEMS:
            break
    # an element that is wrong by itself needs no word on what it does to others
    more = (problem for problem in _table_problems(document, root, direction, pool) if problem.path not in found)
    return [_short(problem) for problem in (*found.values(), *islice(more, MAX_PROBLEMS - len(found)))]


def _short(problem: Problem) -> Problem:
    """A document may hold names and values of any length: what is told of them is bounded."""
    return Problem(problem.line, problem.path[:_PATH_LENGTH], problem.message[:_MESSAGE_LENGTH], problem.remedy)


def parse_size(text: str, unit: str = "") -> int:
    """Return a size in bytes. `unit` is one of the table's names in any case, or empty for bytes.

    Raises TraceError for what is no number, an unknown unit, or more than 2^63-1 bytes.
    """
    number = _NUMBER.fullmatch(text)
    if number is None:
        raise TraceError(f"size {text[:40]!r}: it is no whole number; write digits alone")
    factor = _factors().get(unit.casefold()) if unit else 1
    if factor is None:
        raise TraceError(f"unit {unit[:40]!r}: there is no such unit; write one of {', '.join(name for row in tables().unit for name in row.names)}")
    size = int(number[1]) * factor
    if size > MAX_SIZE:
        raise TraceError(f"size {text.strip()} {unit or 'bytes'}: it is above 2^63-1 bytes; choose a smaller one")
    return size


@cache
def _factors() -> dict[str, int]:
    return {name.casefold(): row.factor for row in tables().unit for name in row.names}


def _pool(name: str) -> Pool:
    for row in tables().pool:
        if row.type == name:
            return row
    raise SpecError(f"spec/libvirt.toml: no row for a pool of type {name!r}; choose one of {', '.join(row.type for row in tables().pool)}")


def _table_problems(document: Document, root: etree._Element, direction: Direction, pool: Pool | None) -> Iterator[Problem]:
    subject = f"a {document}"
    if document == "pool":
        own = next((row for row in tables().pool if row.type == root.get("type")), None)
        if own is not None:
            subject = f"a pool of type {own.type!r}"
            yield from _pool_problems(own, root, subject)
    elif document == "volume":
        subject = f"a volume in a pool of type {pool.type!r}" if pool else subject
        yield from _volume_problems(pool, root, subject, direction)
    for row in tables().rule:
        if row.at.partition("/")[0] == document and (direction == row.direction or not row.direction):
            for node in _nodes(root, row.at):
                yield from _rule_problems(row, node, subject)
    for element in tables().element:
        yield from _element_problems(element, document, root, subject, direction)


def _history(document: Document, root: etree._Element) -> Iterator[Problem]:
    for row in tables().history:
        if row.kind == "path" and not row.accepted and row.old.partition("/")[0] == document:
            owner, _, last = row.old.rpartition("/")
            for node in _nodes(root, owner):
                if _has(node, last):
                    at = node if last.startswith("@") else _children(node, last)[0]
                    message = f"{row.old} is not what libvirt reads ({row.meaning})"
                    yield Problem(_line(at), _path(at), message, f"libvirt reads {row.new}")


def _schema_problems(document: Document, root: etree._Element) -> Iterator[Problem]:
    schema = _compiled.schemas.get(document)
    if schema is None:
        path = data_dir("schemas") / "libvirt" / f"{document}.xsd"
        try:
            schema = _compiled.schemas[document] = etree.XMLSchema(etree.parse(str(path)))
        except (OSError, etree.LxmlError) as error:
            raise SpecError(f"{path}: {error}; correct the schema") from error
    if not schema.validate(root):
        for entry in schema.error_log:
            yield Problem(max(entry.line, 1), entry.path or _path(root), entry.message, f"write what schemas/libvirt/{document}.xsd has there")


def _pool_problems(row: Pool, root: etree._Element, subject: str) -> Iterator[Problem]:
    """What a type of pool needs, takes, and takes once."""
    wanted = " and ".join(f"at least one {path}" if path in row.several else path for path in row.needs)
    for path in row.needs:
        if not _children(root, path):
            yield _missing(root, path, f"{subject} needs {wanted}; {path} is missing")
    if not _value(root, "name") and not (row.name == "source" and _value(root, "source/name")):
        either = "name or source/name" if row.name == "source" else "name"
        yield _missing(root, "name", f"{subject} needs {either}")
    allowed = {*tables().common, *row.needs, *row.takes}
    allowed |= {path.partition("/")[0] for path in allowed}
    for owner in ("", "source"):
        for parent in _children(root, owner) if owner else [root]:
            seen: set[str] = set()
            for child in parent.iterchildren(etree.Element):
                path = f"{owner}/{_name(child)}".removeprefix("/")
                if path not in allowed:
                    yield Problem(_line(child), _path(child), f"{subject} takes no {path}", "remove it, or choose another type of pool")
                elif path in seen and path not in row.several:
                    yield Problem(_line(child), _path(child), f"{subject} takes one {path}, not several", "keep one")
                seen.add(path)
    if row.formats:
        yield from _format_problems(root, "source/format", tables().formats(row.formats), subject)


def _volume_problems(pool: Pool | None, root: etree._Element, subject: str, direction: Direction) -> Iterator[Problem]:
    """What the pool of a volume says about its type, formats and path."""
    formats = frozenset[str]() if pool and not pool.volumes else tables().formats(pool.volumes if pool else "", direction)
    for owner in ("target", "backingStore"):
        yield from _format_problems(root, f"{owner}/format", formats, subject)
    if pool is None:
        return
    if root.get("type", pool.volume[0]) not in pool.volume:
        yield Problem(_line(root), "/volume", f"{subject} has a type of {', '.join(pool.volume)}, not {root.get('type')!r}", "correct the type")
    for path in _children(root, "target/path"):
        if "network" not in pool.volume and path.text and not path.text.startswith("/"):
            yield Problem(_line(path), _path(path), f"{subject} has an absolute path, not {path.text[:80]!r}", "write the full path or leave it out")


def _format_problems(root: etree._Element, path: str, formats: frozenset[str], subject: str) -> Iterator[Problem]:
    for node in _children(root, path):
        value = node.get("type", "")
        if value and value not in formats:
            remedy = f"choose one of {', '.join(sorted(formats))}" if formats else "leave it out"
            message = f"{subject} has no {path} {value[:40]!r}" if formats else f"{subject} has no {path}"
            yield Problem(_line(node), _path(node), message, remedy)


def _rule_problems(row: Rule, node: etree._Element, subject: str) -> Iterator[Problem]:
    if not _holds(row.when, node) or (row.unless and _holds(row.unless, node)):
        return
    where = row.at.partition("/")[2]
    guards = [f"{path} {_value(node, path)!r}" if _value(node, path) else f"no {path}" for path in row.when if (where or path != "@type")]
    about = f"{subject}{f', {where}' if where else ''}{' with ' + ' and '.join(guards) if guards else ''}"
    for path in row.needs:
        if not _has(node, path):
            yield Problem(_line(node), _path(node), f"{about}: {path} is missing", row.remedy)
    for path in row.refuses:
        if _has(node, path):
            at = node if "@" in path else _children(node, path)[0]
            yield Problem(_line(at), _path(at), f"{about}: {path} must not be there", row.remedy)
    for group, fits in ((row.one_of, _one), (row.together, _all_or_none)):
        there = [path for path in group if _has(node, path)]
        if group and not fits(len(there), len(group)):
            want = "exactly one of" if fits is _one else "all or none of"
            yield Problem(_line(node), _path(node), f"{about}: needs {want} {', '.join(group)}, and has {', '.join(there) or 'none'}", row.remedy)
    for path, values in row.values.items():
        if _value(node, path) not in values:
            yield _wrong(node, path, f"{about}: {path} must be {' or '.join(filter(None, values))}", row.remedy)
    patterns = {one.name: one for one in tables().grammar}
    for path, name in row.grammar.items():
        owner, _, attribute = path.rpartition("@")
        for child in _children(node, owner.rstrip("/")):
            value = child.get(attribute, "")
            if value and not re.fullmatch(patterns[name].pattern, value):
                yield Problem(_line(child), _path(child), f"{about}: {path} {value[:80]!r} is not {patterns[name].meaning}", row.remedy)


def _one(there: int, _: int) -> bool:
    return there == 1


def _all_or_none(there: int, every: int) -> bool:
    return there in (0, every)


def _holds(guard: Values, node: etree._Element) -> bool:
    return all(_value(node, path) in values for path, values in guard.items())


def _element_problems(row: Element, document: Document, root: etree._Element, subject: str, direction: Direction) -> Iterator[Problem]:
    """What holds for an element anywhere: its direction, that it must be there, how large its size may be."""
    paths = [path for path in row.paths if path.partition("/")[0] == document]
    if not paths:
        return
    if row.size:
        for path in paths:
            for node in _nodes(root, path):
                yield from _size_problems(node, subject)
    if direction == "any":
        return
    if direction in row.required and not (row.unless and _nodes(root, row.unless)):
        for path in paths:
            if not _nodes(root, path):
                inner = path.partition("/")[2]
                yield _missing(root, inner, f"{subject} needs {inner} as {direction}: {row.meaning}")
    if row.direction not in ("both", direction):
        for path in paths:
            owner, _, last = path.rpartition("/")
            for parent in _nodes(root, owner):
                if _has(parent, last):
                    at = parent if last.startswith("@") else _children(parent, last)[0]
                    message = f"{subject} has {path.partition('/')[2]} as {row.direction} alone: {row.meaning}"
                    yield Problem(_line(at), _path(at), message, "leave it out")


def _size_problems(node: etree._Element, subject: str) -> Iterator[Problem]:
    try:
        parse_size(node.text or "", node.get("unit", ""))
    except TraceError as error:
        message, _, remedy = str(error).rpartition("; ")
        yield Problem(_line(node), _path(node), f"{subject}: {_name(node)}: {message}", remedy)


def _wrong(node: etree._Element, path: str, message: str, remedy: str) -> Problem:
    owner = path.rpartition("@")[0].rstrip("/")
    at = next(iter(_children(node, owner)), node)
    return Problem(_line(at), _path(at), message, remedy)


def _missing(root: etree._Element, path: str, message: str) -> Problem:
    """A problem at the innermost element that is there."""
    node, rest = root, path
    while "/" in rest:
        first, _, rest = rest.partition("/")
        inner = _children(node, first)
        if not inner:
            break
        node = inner[0]
    return Problem(_line(node), f"{_path(node)}/{path.rpartition('/')[2]}", message, "add it")


def _nodes(root: etree._Element, path: str) -> list[etree._Element]:
    """Return the elements at a path that begins with the root."""
    return _children(root, path.partition("/")[2])


def _children(node: etree._Element, path: str) -> list[etree._Element]:
    return _finder(path)(node)


@cache
def _finder(path: str) -> Callable[[etree._Element], list[etree._Element]]:
    if not path:
        return lambda node: [node]
    return lambda node: node.findall(path, tables().namespaces)


def _has(node: etree._Element, path: str) -> bool:
    owner, at, attribute = path.rpartition("@")
    if at:
        return any(child.get(attribute) is not None for child in _children(node, owner.rstrip("/")))
    return bool(_children(node, path))


def _value(node: etree._Element, path: str) -> str:
    """Return the text or the attribute at a path, the first one; "" where there is none."""
    owner, at, attribute = path.rpartition("@")
    found = _children(node, owner.rstrip("/")) if at else _children(node, path)
    if not found:
        return ""
    return found[0].get(attribute, "") if at else (found[0].text or "").strip()


def _name(node: etree._Element) -> str:
    """Return the name of an element as paths have it: with the prefix of its namespace in the table."""
    name = etree.QName(node)
    prefix = next((prefix for prefix, uri in tables().namespaces.items() if uri == name.namespace), "")
    return f"{prefix}:{name.localname}" if prefix else f"{{{name.namespace}}}{name.localname}" if name.namespace else name.localname


def _line(node: etree._Element) -> int:
    line: int | None = node.sourceline
    return line or 1


def _path(node: etree._Element) -> str:
    return str(node.getroottree().getpath(node))
