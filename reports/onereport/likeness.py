"""What was seen of a trace twice, set side by side: byte for byte, by the contract, or by the contract where the order of independent calls does not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from lxml import etree

from onereport.callchanges import ArgumentChange, CallChange
from onesim.seen import Seen
from onesim.spec import ContractSpec

#: By name: what a mode asks for.
MODES = {
    "exact": "the same calls in the same order, byte for byte: arguments, document, standard input, output, exit status",
    "contract": "the same calls in the same order, by what the contract says: arguments, elements of the document, what oned reads of the output, outcome",
    "permissive": "as contract, in any order of calls that have no object in common",
}
#: Elements that name the driver itself, and attributes of datastores that are declared for it: a driver of another name is no other behaviour.
_OWN = frozenset({"DS_MAD", "TM_MAD", "TM_MAD_SYSTEM"})
_VALUE_MAX = 160
#: Calls of one operation.
Calls = Sequence[Seen]


def differences(
    mode: str, case: str, before: Sequence[Calls], after: Sequence[Calls], specs: tuple[ContractSpec, ContractSpec]
) -> tuple[list[CallChange], list[ArgumentChange]]:
    """Return what two plays of one trace have otherwise. Calls are given by operation; `specs` are the contracts of the two, which name the arguments.

    The same change of an argument in many calls is one row.
    """
    changes: list[CallChange] = []
    found: dict[tuple[str, str, str | None, str | None], ArgumentChange] = {}
    number = 0
    for old, new in zip(before, after, strict=True):
        for one, other in _pairs(mode, old, new):
            told = other or one
            assert told is not None, "one of the two has the call"
            if one is None or other is None or _outcome(mode, one) != _outcome(mode, other):
                change = "added" if one is None else "removed" if other is None else "ended otherwise"
                changes.append(CallChange(case, number, told.seen, change, _ended(one), _ended(other)))
            if one is not None and other is not None:
                for name, was, now in _values(mode, one, other, specs):
                    key = (told.action, name, was, now)
                    known = found.get(key)
                    found[key] = ArgumentChange(*key, known.calls + 1 if known else 1, *((known.case, known.call) if known else (case, number)))
            number += other is not None
    return changes, list(found.values())


def _key(call: Seen) -> tuple[str, str, int, str]:
    return call.seen, call.vm, call.disk, call.image


def _pairs(mode: str, old: Calls, new: Calls) -> Iterator[tuple[Seen | None, Seen | None]]:
    """Yield the calls of an operation side by side, those that only one has alone."""
    if mode == "permissive":
        old, new = settled(old), settled(new)
    before, after = [_key(one) for one in old], [_key(one) for one in new]
    if before == after:
        yield from zip(old, new, strict=True)
        return
    for what, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            yield from zip(old[a:b], new[c:d], strict=True)
        else:
            yield from ((one, None) for one in old[a:b])
            yield from ((None, one) for one in new[c:d])


def settled(calls: Calls) -> list[Seen]:
    """Return calls in the order that stands for all which differ from it by exchanging neighbours without an object in common: the least that may goes first."""
    left, ordered = list(calls), []
    while left:
        free = [one for n, one in enumerate(left) if not any(_dependent(one, earlier) for earlier in left[:n])]
        first = min(free, key=lambda one: (_key(one), one.argv))
        left.remove(first)
        ordered.append(first)
    return ordered


def _dependent(one: Seen, other: Seen) -> bool:
    """Whether two calls concern one VM or one image. Those that concern neither, such as monitoring, depend on all of their kind."""
    objects, others = ({("vm", call.vm), ("image", call.image)} - {("vm", ""), ("image", "")} for call in (one, other))
    return bool(objects & others) or (not objects and not others and one.seen == other.seen)


def _outcome(mode: str, call: Seen) -> tuple[object, ...]:
    if mode == "exact":
        return call.success, call.ended_by, call.status, call.signal, call.stdout
    return call.success, call.ended_by if call.ended_by != "signal" else call.signal


def _ended(call: Seen | None) -> str:
    if call is None:
        return ""
    ended = f"exit status {call.status}" if call.ended_by == "exit" else f"signal {call.signal}" if call.ended_by == "signal" else call.ended_by
    said = call.error if not call.success else call.stdout.strip()
    return _short(f"{ended}: {said}" if said else ended)


def _values(mode: str, one: Seen, other: Seen, specs: tuple[ContractSpec, ContractSpec]) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the values that differ: their names, what they were and are."""
    if (
        one.argv == other.argv
        and one.stdin == other.stdin
        and one.document == other.document
        and one.carried == other.carried
        and one.parsed == other.parsed
    ):
        return
    was, now = (_given(mode, call, spec) for call, spec in zip((one, other), specs, strict=True))
    if mode == "exact" and was == now and one.document != other.document:
        yield "the document", "the same elements", "written otherwise"
    for name in dict.fromkeys((*was, *now)):
        if was.get(name) != now.get(name):
            yield name, _told(was.get(name)), _told(now.get(name))


def _told(value: str | None) -> str | None:
    return None if value is None else _short(value)


def _given(mode: str, call: Seen, spec: ContractSpec) -> dict[str, str]:
    """Return all that a call was given and, by the contract, gave back, by name."""
    found = {name: word for name, word in _arguments(call, spec).items() if mode == "exact" or (word != "${document}" and name != "dash")}
    if mode == "exact":
        found |= {"standard input": call.stdin, "how the document travels": call.carried}
    else:
        found |= {f"what oned read: {name}": value for name, value in call.parsed.items()}
    elements = _elements(call.document, ordered=mode == "exact") if call.document else {}
    if elements is None:
        return found | {"the document": call.document}
    return found | {path: value for path, value in elements.items() if mode == "exact" or path.rpartition("/")[2].partition("[")[0] not in _OWN}


def _arguments(call: Seen, spec: ContractSpec) -> dict[str, str]:
    """Return the arguments of a call by their names in the tables; those that the tables do not tell apart by their place."""
    row = spec.actions.get(call.action)
    names = spec.argv(row) if row is not None else ()
    if len(names) != len(call.argv):
        names = [f"argument {n}" for n in range(1, len(call.argv) + 1)]
    counts = Counter(names)
    return {name if counts[name] == 1 else f"{name} {n}": word for n, (name, word) in enumerate(zip(names, call.argv, strict=True), 1)}


def _elements(document: str, *, ordered: bool) -> Mapping[str, str] | None:
    """Return the texts of a document's leaves by their paths, those of one path numbered: in their order, or, where it does not count, in that of their texts.

    None for what is no document.
    """
    try:
        root = etree.fromstring(document.encode(), etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except (etree.XMLSyntaxError, ValueError):
        return None
    found: dict[str, list[str]] = {}

    def walk(element: etree._Element, path: str) -> None:
        children = [child for child in element if isinstance(child.tag, str)]
        for child in children:
            walk(child, f"{path}/{child.tag!s}")
        if not children:
            found.setdefault(path, []).append(element.text or "")

    walk(root, str(root.tag))
    told = {path: texts if ordered else sorted(texts) for path, texts in found.items()}
    return {path if n == 0 else f"{path}[{n + 1}]": text for path, texts in told.items() for n, text in enumerate(texts)}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _VALUE_MAX else f"{line[:_VALUE_MAX]}…"
