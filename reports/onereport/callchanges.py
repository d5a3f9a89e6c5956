"""What was asked of the drivers in two runs, call by call: calls that came or went, ended otherwise, or got other arguments or documents."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import msgspec
from lxml import etree

from onesim.errors import ConfigError
from onesim.journal import read
from onesim.records import Blob, Call, CaseBegin, Header, Record, Together

_VALUE_MAX = 160


class CallChange(msgspec.Struct, frozen=True):
    """A call that only one of the runs has (`change` is added or removed), or that ended otherwise. `call` is its number in the case, after or else before."""

    case: str
    call: int
    action: str
    change: str
    before: str = ""
    after: str = ""


class ArgumentChange(msgspec.Struct, frozen=True):
    """An argument of an action, or an element of its document, with another value, None where it is not there: in how many calls, and the first of them.

    Names that the driver chose for images are alike: `SOURCE 2` is the second one of the case in either run.
    """

    action: str
    name: str
    before: str | None
    after: str | None
    calls: int
    case: str
    call: int


@dataclass(frozen=True)
class Played:
    """The calls of a run by case, in their order; those that overlapped in an order that does not depend on which was faster. `blobs` lie beside the log."""

    calls: Mapping[str, list[Call]]
    blobs: Path


def read_played(history: Path) -> tuple[Header, Played]:
    """Return the header and the calls of a history. Raises ConfigError for a file without header."""
    header: Header | None = None
    calls: dict[str, list[Call]] = {}
    for record in read(history, Record):
        match record:
            case Header():
                header = record
            case CaseBegin():
                calls[record.case] = []
            case Call():
                calls[record.case].append(record)
            case Together():
                _settle(calls[record.case], set(record.calls))
    if header is None:
        raise ConfigError(f"{history}: holds no history; give the directory of a run")
    return header, Played(calls, history.parent / "blobs")


def _settle(calls: list[Call], beside: set[int]) -> None:
    """Put calls that overlapped into an order that is the same in every run."""
    places = [n for n, call in enumerate(calls) if call.n in beside]
    settled = sorted((calls[n] for n in places), key=lambda call: (call.operation, _key(call), sorted(call.arguments.items())))
    for n, call in zip(places, settled, strict=True):
        calls[n] = call


def _key(call: Call) -> tuple[str, str, int, int, int]:
    return (f"{call.family}/{call.action}", call.mad, call.vm, call.disk, call.image)


def _pairs(old: Played, new: Played) -> Iterator[tuple[str, Call | None, Call | None]]:
    """Yield the calls of the cases that both runs have, those side by side that are the same."""
    for case, before in old.calls.items():
        after = new.calls.get(case)
        if after is None:
            continue
        matcher = SequenceMatcher(None, [_key(one) for one in before], [_key(one) for one in after], autojunk=False)
        for what, a, b, c, d in matcher.get_opcodes():
            if what == "equal":
                yield from ((case, one, other) for one, other in zip(before[a:b], after[c:d], strict=True))
            else:
                yield from ((case, one, None) for one in before[a:b])
                yield from ((case, None, one) for one in after[c:d])


def call_changes(old: Played, new: Played) -> Iterator[CallChange]:
    """Yield the calls that only one run has, and those that ended otherwise."""
    for case, before, after in _pairs(old, new):
        match before, after:
            case Call(), None:
                yield CallChange(case, before.n, f"{before.family}/{before.action}", "removed", _ended(before))
            case None, Call():
                yield CallChange(case, after.n, f"{after.family}/{after.action}", "added", "", _ended(after))
            case Call(), Call() if _outcome(before) != _outcome(after):
                yield CallChange(case, after.n, f"{after.family}/{after.action}", "ended otherwise", _ended(before), _ended(after))


def _outcome(call: Call) -> tuple[object, ...]:
    return (call.success, call.ended_by, call.status, call.signal, bool(call.parse_error))


def _ended(call: Call) -> str:
    ended = f"exit status {call.status}" if call.ended_by == "exit" else f"signal {call.signal}" if call.ended_by == "signal" else call.ended_by
    said = call.parse_error or call.error
    return _short(f"{ended}: {said}" if said and not call.success else ended)


def argument_changes(old: Played, new: Played) -> Iterator[ArgumentChange]:
    """Yield what the calls of both runs were given otherwise; the same change in many calls is one row. What hypervisor drivers get is none of it."""
    found: dict[tuple[str, str, str | None, str | None], ArgumentChange] = {}
    chosen = {(run, case): _Chosen(calls) for run, played in enumerate((old, new)) for case, calls in played.calls.items()}
    for case, before, after in _pairs(old, new):
        if before is None or after is None or after.family == "vmm":
            continue
        had, has = chosen[0, case].alike(_given(before, old.blobs)), chosen[1, case].alike(_given(after, new.blobs))
        for name in dict.fromkeys((*had, *has)):
            if had.get(name) == has.get(name):
                continue
            values = tuple(None if one is None else _short(one) for one in (had.get(name), has.get(name)))
            action = f"{after.family}/{after.plain}"
            key = (action, name, values[0], values[1])
            known = found.get(key)
            first = (known.case, known.call) if known else (case, after.n)
            found[key] = ArgumentChange(*key, known.calls + 1 if known else 1, *first)
    yield from found.values()


class _Chosen:
    """The names that a driver has chosen for the images of a case."""

    def __init__(self, calls: Sequence[Call]) -> None:
        sources = dict.fromkeys(source for call in calls if (source := call.parsed.get("source", "")))
        self._words = {source: f"SOURCE {n}" for n, source in enumerate(sources, 1)}
        longest = sorted(map(re.escape, self._words), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest)) if longest else None

    def alike(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return values in which each name stands as its number."""
        if self._pattern is None:
            return dict(values)
        return {name: self._pattern.sub(lambda found: self._words[found.group()], value) for name, value in values.items()}


def _given(call: Call, blobs: Path) -> dict[str, str]:
    """Return the arguments of a call by name, how its document travelled, and the elements of that by their paths."""
    found = dict(call.arguments)
    stdin = _bytes(call.stdin, blobs)
    given = [(word, f"argument {n}") for n, word in enumerate(call.argv, 1) if word not in call.arguments.values()]
    for text, where in (*given, (stdin.decode(errors="replace"), "stdin")):
        document, how = _document(text)
        if document is not None:
            found["the document"] = f"{how} as {where}" if where != "stdin" else f"{how} on stdin"
            found |= _elements(document)
    return found


def _bytes(blob: Blob, blobs: Path) -> bytes:
    path = blobs / blob.sha256
    return path.read_bytes() if not blob.complete and blob.sha256.isalnum() and path.is_file() else blob.text.encode()


def _document(text: str) -> tuple[etree._Element | None, str]:
    how = "plain"
    if not text.lstrip().startswith("<"):
        try:
            text, how = base64.b64decode(text, validate=True).decode(), "base64"
        except (binascii.Error, ValueError):
            return None, ""
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        return etree.fromstring(text.encode(), parser), how
    except (etree.XMLSyntaxError, ValueError):
        return None, ""


def _elements(root: etree._Element) -> dict[str, str]:
    """Return the texts of a document's leaves by their paths; those of the same path are numbered."""
    found: dict[str, str] = {}

    def walk(element: etree._Element, path: str) -> None:
        seen: dict[str, int] = {}
        children = [child for child in element if isinstance(child.tag, str)]
        for child in children:
            tag = str(child.tag)
            seen[tag] = seen.get(tag, 0) + 1
            walk(child, f"{path}/{tag}" + (f"[{seen[tag]}]" if seen[tag] > 1 else ""))
        if not children:
            found[path] = element.text or ""

    walk(root, str(root.tag))
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _VALUE_MAX else f"{line[:_VALUE_MAX]}…"
