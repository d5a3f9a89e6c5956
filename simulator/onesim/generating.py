"""Makes documents from the XSD files: valid ones, as hypothesis strategies. Needs the extra `generate`.

Drawn is what the XSD leaves open: how often an element stands there, what stands where anything may, and texts. Numbers and words of short lists come
from a seed, which is drawn once for a document: it costs little, and shrinks to the first value of each.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

from hypothesis import strategies as st
from xmlschema.validators import XsdAnyElement, XsdElement, XsdGroup, XsdSimpleType

from onesim import schemas
from onesim.explaining import form
from onesim.trees import Node, content, value_type, written

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]

#: The most times that an unbounded element is repeated.
MANY = 2
#: Elements within elements where anything may stand.
DEPTH = 3

_TEXT = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"), include_characters="\n\t")
_NAMES = ("PUBLIC", "DEV_PREFIX", "BRIDGE_LIST", "POOL_NAME", "NOTE", "SECTION", "X", "_1")
_SAMPLES = ("", "YES", "0", "-1", "/var/tmp", "a b", "&<>\"'", "]]>", "<!DOCTYPE a>", "é\U0001f4be", "\n\t")
_WORDS = (
    "oneadmin",
    "a",
    "x-1.example.org",
    "209 21-Nov 05.35.35",
    "/var/lib/one//datastores/1",
    "YES",
    "no",
    "Mixed",
    "0,1",
    "d41d8cd98f00b204e9800998ecf8427e",
)
#: How often a text of a pattern is one of the words; to draw one costs a hundred times more.
_OFTEN = (True, True, True, True, True, True, True, False)
_VALUES = st.one_of(st.sampled_from(_SAMPLES), st.text(_TEXT, max_size=6))
#: Numbers to try where a type has no list of words. A type that takes few of them is a list of numbers.
_SMALL = tuple(map(str, range(-2, 256)))
_LARGE = ("1024", "2147483648", "1000000000000000000")


@cache
def documents(kind: str, version: str) -> st.SearchStrategy[bytes]:
    """Return valid documents of a kind in a release. Raises SpecError if the release has no such document."""
    row = schemas.document(kind, version)
    return trees(kind, version).map(lambda root: encoded(written(root).encode(), row.encoding))


@cache
def trees(kind: str, version: str) -> st.SearchStrategy[Node]:
    """Return valid documents of a kind in a release, as trees. Raises SpecError if the release has no such document."""
    row = schemas.document(kind, version)
    declared = form(schemas.roots_text(version)).elements[row.type or row.root]

    @st.composite
    def tree(draw: Draw) -> Node:
        root = _Maker(draw).element(declared, DEPTH)
        root.tag = row.root
        return root

    return tree()


def encoded(xml: bytes, encoding: str) -> bytes:
    """Return a document as it travels: plain, or base64 in lines of 60 characters."""
    if encoding == "plain":
        return xml
    line = base64.b64encode(xml)
    return b"".join(line[at : at + 60] + b"\n" for at in range(0, len(line), 60))


class _Maker:
    """Makes one document."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        seed = draw(st.integers(0, 2**32 - 1))
        self.random = random.Random(seed) if seed else None

    def element(self, declared: XsdElement, depth: int) -> Node:
        """Return an element with what its declaration allows."""
        node = Node(declared.name, declared)
        type, within = value_type(declared), content(declared)
        if type is not None:
            choices, texts = _values(type)
            node.text = self._one_of(choices) if texts is None or (choices and self._one_of(_OFTEN)) else self.draw(texts)
            node.section = self._one_of((False, True))
            return node
        node.children = list(self._particle(within, depth)) if within is not None else []
        for identity in declared.identities:
            if identity.selector is not None:
                self._identify(node, identity.selector.path, identity.fields[0].path, declared, depth)
        return node

    def _one_of(self, choices: tuple[Any, ...]) -> Any:
        return self.random.choice(choices) if self.random else choices[0]

    def _particle(self, particle: XsdElement | XsdAnyElement | XsdGroup, depth: int) -> Iterator[Node]:
        """Yield what a particle stands for, as often as is drawn."""
        least = particle.min_occurs
        most = least + MANY if particle.max_occurs is None else particle.max_occurs
        for _ in range(least if least == most else self.draw(st.integers(least, most))):
            if isinstance(particle, XsdElement):
                yield self.element(particle.ref or particle, depth)
            elif isinstance(particle, XsdAnyElement):
                yield self._anything(particle, depth - 1)
            else:
                parts = self.draw(st.permutations(list(particle))) if particle.model == "all" else list(particle)
                for part in parts:
                    yield from self._particle(part, depth)

    def _identify(self, node: Node, selector: str, field: str, declared: XsdElement, depth: int) -> None:
        """Give each selected element a field of its own, as the identity constraint wants, and add some where anything may stand: to tell them apart."""
        holders, _, name = selector.rpartition("/")
        for holder in node.find(holders):
            if holder.declared is not None and name in declared.maps.elements:
                holder.children += [self.element(declared.maps.elements[name], depth - 2) for _ in range(self.draw(st.integers(0, MANY)))]
        for number, chosen in enumerate(node.find(selector)):
            chosen.children = [child for child in chosen.children if child.tag != field]
            chosen.children.insert(0, Node(field, declared.maps.elements.get(field), str(number)))

    def _anything(self, wildcard: XsdAnyElement, depth: int) -> Node:
        """Return any element: one that is declared somewhere is as declared, where that is verified (lax)."""
        known = _attributes(wildcard) if wildcard.process_contents == "lax" and depth > 0 else ()
        name = self.draw(st.sampled_from((*known, *_NAMES)))
        if name in known:
            return self.element(wildcard.maps.elements[name], depth)
        if depth > 0 and self._one_of((False, False, True)):
            return Node(name, children=[self._anything_plain() for _ in range(self.draw(st.integers(1, MANY)))])
        return self._anything_plain(name)

    def _anything_plain(self, name: str = "") -> Node:
        return Node(name or self._one_of(_NAMES), text=self.draw(_VALUES), section=self._one_of((False, True)))


def _attributes(wildcard: XsdAnyElement) -> tuple[str, ...]:
    """Return the declared elements that are no documents of their own. What has a namespace is of XSD itself."""
    roots = {name for row in schemas.tables().document for name in (row.root, row.type)}
    return tuple(sorted(name for name in wildcard.maps.elements if name not in roots and not name.startswith("{")))


_known: dict[tuple[object, ...], tuple[tuple[str, ...], st.SearchStrategy[str] | None]] = {}


def signature(type: XsdSimpleType) -> tuple[object, ...]:
    """Return what tells types apart, also those of different schemas."""
    patterns = tuple(type.patterns.regexps) if type.patterns is not None else ()
    return type.name, patterns, tuple(type.enumeration or ()), type.max_value, type.max_length


def _values(type: XsdSimpleType) -> tuple[tuple[str, ...], st.SearchStrategy[str] | None]:
    """Return the values of a simple type: a choice of them, and a strategy for texts if it has any."""
    key = signature(type)
    if key not in _known:
        _known[key] = _made_values(type)
    return _known[key]


def _made_values(type: XsdSimpleType) -> tuple[tuple[str, ...], st.SearchStrategy[str] | None]:
    if type.enumeration:
        return tuple(map(str, type.enumeration)), None
    if type.is_decimal():
        return tuple(number for number in sorted((*_SMALL, *_LARGE), key=lambda one: one.startswith("-")) if type.is_valid(number)), None
    if type.patterns is not None:
        pattern = st.from_regex(type.patterns.regexps[0], fullmatch=True, alphabet=_TEXT)
        return tuple(filter(type.is_valid, ("", *_WORDS))), pattern.filter(type.is_valid)
    return (), _VALUES
