"""Makes documents that are broken in exactly one named way, and tells where: the counterpart of `onesim.generating`. Needs the extra `generate`.

A row of `BREAKS` is a way: where it can be done in a valid document, and doing it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st
from xmlschema.validators import XsdElement, XsdSimpleType

from onesim import schemas
from onesim.generating import encoded, signature, trees
from onesim.trees import Node, content, path_of, value_type, written

STRANGER = "NO_SUCH_ELEMENT"


@dataclass(frozen=True)
class Broken:
    """A document that is wrong in one way: the name of the way, and the path of the element at which a reader meets it."""

    xml: bytes
    name: str
    path: str


@dataclass(frozen=True)
class Place:
    """Where a document can be broken: a node, the tags down to it, its parent (none for the root), and its place among the parent's children."""

    node: Node
    names: str
    parent: Node | None = None
    at: int = 0


@dataclass(frozen=True)
class Break:
    """A way to break a document: the places where it can be done, and doing it there. Done, it returns the node that is wrong."""

    name: str
    fits: Callable[[Place], bool]
    done: Callable[[Place], Node]


@cache
def broken(kind: str, version: str) -> st.SearchStrategy[Broken]:
    """Return documents of a kind in a release that are broken in one way. Raises SpecError if the release has no such document."""
    encoding = schemas.document(kind, version).encoding

    @st.composite
    def made(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Broken:
        root = draw(trees(kind, version))
        places = list(_places(root, root.tag))
        ways = [(way, fitting) for way in BREAKS if (fitting := [place for place in places if way.fits(place)])]
        chosen = draw(st.integers(0, len(ways) + len(SPOILS) - 1))
        if chosen >= len(ways):
            name, spoil = SPOILS[chosen - len(ways)]
            return Broken(encoded(spoil(written(root).encode()), encoding), name, "/")
        way, fitting = ways[chosen]
        wrong = way.done(fitting[draw(st.integers(0, len(fitting) - 1))])
        return Broken(encoded(written(root).encode(), encoding), way.name, path_of(root, wrong))

    return made()


def _places(node: Node, names: str) -> Iterator[Place]:
    if "/" not in names:
        yield Place(node, names)
    for at, child in enumerate(node.children):
        yield Place(child, f"{names}/{child.tag}", node, at)
        yield from _places(child, f"{names}/{child.tag}")


def _is_value(place: Place) -> bool:
    return value_type(place.node.declared) is not None


def _parts(node: Node) -> dict[str, XsdElement]:
    """Return the declared children of an element by name; none where anything may stand."""
    within = content(node.declared)
    return {part.name: part for part in within.iter_elements() if isinstance(part, XsdElement)} if within is not None else {}


def _declared(place: Place) -> XsdElement | None:
    return _parts(place.parent).get(place.node.tag) if place.parent else None


def _in_sequence(place: Place) -> bool:
    within = content(place.parent.declared) if place.parent else None
    return _declared(place) is not None and within is not None and within.model == "sequence"


def _is_single(place: Place) -> bool:
    part = _declared(place)
    return part is not None and part.max_occurs == 1


def _is_needed(place: Place) -> bool:
    """An element that stands there just once, and whose group does too."""
    part = _declared(place)
    return part is not None and part.min_occurs == part.max_occurs == 1 and part.parent is not None and part.parent.min_occurs == 1


def _next(place: Place) -> Place | None:
    siblings = place.parent.children if place.parent else []
    return Place(siblings[place.at + 1], "", place.parent, place.at + 1) if place.at + 1 < len(siblings) else None


def _can_swap(place: Place) -> bool:
    following = _next(place)
    return _in_sequence(place) and _is_needed(place) and following is not None and _is_needed(following)


def _missing(place: Place) -> Node:
    """A reader meets what is missing at the element that stands in its place, or at the end of the parent."""
    assert place.parent is not None
    del place.parent.children[place.at]
    return place.parent.children[place.at] if place.at < len(place.parent.children) else place.parent


def _twice(place: Place) -> Node:
    assert place.parent is not None
    second = copy.copy(place.node)
    place.parent.children.insert(place.at + 1, second)
    return second


def _swapped(place: Place) -> Node:
    assert place.parent is not None
    siblings = place.parent.children
    siblings[place.at], siblings[place.at + 1] = siblings[place.at + 1], siblings[place.at]
    return siblings[place.at]


def _stranger(place: Place) -> Node:
    assert place.parent is not None
    place.parent.children.insert(place.at, Node(STRANGER))
    return place.parent.children[place.at]


def _renamed(place: Place) -> Node:
    place.node.tag = STRANGER
    return place.node


def _with_attribute(place: Place) -> Node:
    place.node.attribute = "version"
    return place.node


def _with_child(place: Place) -> Node:
    place.node.children = [Node(STRANGER)]
    return place.node


def _with_text(place: Place) -> Node:
    place.node.text = "text"
    return place.node


def _holds_elements(place: Place) -> bool:
    return content(place.node.declared) is not None


def _value(name: str, value: str, of: Callable[[XsdSimpleType], bool]) -> Break:
    """Return the way of writing a value that the type does not have, for types that it is meant for."""

    def fits(place: Place) -> bool:
        type = value_type(place.node.declared)
        return type is not None and of(type) and not _accepts(type, value)

    def done(place: Place) -> Node:
        place.node.text = value
        return place.node

    return Break(name, fits, done)


def _is_number(type: XsdSimpleType) -> bool:
    return type.is_decimal()


def _is_listed(type: XsdSimpleType) -> bool:
    return bool(type.enumeration)


def _is_text(type: XsdSimpleType) -> bool:
    return not _is_number(type) and not _is_listed(type)


_accepted: dict[tuple[object, ...], bool] = {}


def _accepts(type: XsdSimpleType, value: str) -> bool:
    key = (value, *signature(type))
    if key not in _accepted:
        _accepted[key] = type.is_valid(value)
    return _accepted[key]


def _is_later_id(place: Place) -> bool:
    return place.names.endswith("VM/TEMPLATE/DISK/DISK_ID") and place.node.text != "0"


def _id_again(place: Place) -> Node:
    """Give a disk the id of the first one: the disk is wrong then."""
    place.node.text = "0"
    assert place.parent is not None
    return place.parent


BREAKS = (
    Break("another root", lambda place: place.parent is None, _renamed),
    Break("missing element", _is_needed, _missing),
    Break("element twice", _is_single, _twice),
    Break("unknown element", _in_sequence, _stranger),
    Break("wrong order", _can_swap, _swapped),
    Break("attribute", lambda place: place.node.declared is not None, _with_attribute),
    Break("text between elements", _holds_elements, _with_text),
    Break("element within a value", _is_value, _with_child),
    Break("id twice", _is_later_id, _id_again),
    _value("no number", "ten", _is_number),
    _value("negative number", "-7", _is_number),
    _value("leading zeros", "007", _is_number),
    _value("number out of range", "256", _is_number),
    _value("not in the list", "NEITHER", _is_listed),
    _value("empty value", "", lambda declared: True),
    _value("blank in a word", "a b", _is_text),
    _value("relative path", "a/b", _is_text),
    _value("forbidden character", "a;b", _is_text),
    _value("too long", "n" * 129, _is_text),
)
#: Ways to spoil a document so that it cannot be read at all.
SPOILS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("cut short", lambda xml: xml[:-1]),
    ("two documents", lambda xml: xml + xml),
    ("document type declaration", lambda xml: b"<!DOCTYPE a []>" + xml),
    ("no UTF-8", lambda xml: xml.replace(b">", b">\xff", 1)),
    ("entity", lambda xml: xml.replace(b">", b">&secret;", 1)),
)
