"""A document as a tree that is easy to build, to break and to write: for the generator of documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from xmlschema.validators import XsdElement, XsdGroup, XsdSimpleType


@dataclass
class Node:
    """An element. `declared` is its declaration in the schema, none where anything may stand; `section` = its text is written as CDATA."""

    tag: str
    declared: XsdElement | None = None
    text: str = ""
    section: bool = False
    attribute: str = ""
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, path: str) -> list[Node]:
        """Return the nodes at a path of child tags, such as `TEMPLATE/DISK`."""
        found = [self]
        for step in path.split("/"):
            found = [child for node in found for child in node.children if child.tag == step]
        return found


def value_type(declared: XsdElement | None) -> XsdSimpleType | None:
    """Return the type of an element that holds a value; none for others."""
    return declared.type if declared is not None and isinstance(declared.type, XsdSimpleType) else None


def content(declared: XsdElement | None) -> XsdGroup | None:
    """Return what is declared to be within an element that holds elements; none for others."""
    if declared is None or isinstance(declared.type, XsdSimpleType) or not isinstance(declared.type.content, XsdGroup):
        return None
    return declared.type.content


def written(node: Node) -> str:
    """Return the document as text. Only the newline and the tab may stand in it besides visible characters."""
    text = node.text
    if text:
        text = f"<![CDATA[{text}]]>" if node.section and "]]>" not in text else escape(text)
    inner = text + "".join(map(written, node.children))
    attribute = f' {node.attribute}="1"' if node.attribute else ""
    return f"<{node.tag}{attribute}>{inner}</{node.tag}>" if inner else f"<{node.tag}{attribute}/>"


def path_of(root: Node, wanted: Node) -> str:
    """Return the path of a node as libxml2 writes it: with a number, from 1, only among siblings of one tag. Empty if it is not in the tree."""
    return f"/{root.tag}" if root is wanted else next((f"/{root.tag}{below}" for below in _below(root, wanted)), "")


def _below(parent: Node, wanted: Node) -> Iterator[str]:
    for child in parent.children:
        same = [one for one in parent.children if one.tag == child.tag]
        step = f"/{child.tag}" + (f"[{_place(same, child)}]" if len(same) > 1 else "")
        if child is wanted:
            yield step
        yield from (step + below for below in _below(child, wanted))


def _place(nodes: list[Node], wanted: Node) -> int:
    return next(place for place, node in enumerate(nodes, 1) if node is wanted)
