"""What the steps between a tree and its record share: the text around it, places for problems, and access to a tree's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from onesim.validation import Problem

if TYPE_CHECKING:
    from lark import Token, Tree

    from onesim.grammar_values import Value

    Answer = Value | list[Problem]


class Context(msgspec.Struct, frozen=True):
    """What a step needs besides the tree."""

    text: str
    version: str
    schemes: frozenset[str]
    paths: Mapping[str, str]
    #: parses a text within the text, by its name, for the same release
    parse: Callable[[str, str], Answer]

    def wrong(self, message: str, remedy: str, at: int | None = 0) -> list[Problem]:
        """Return a problem at a position of the text."""
        return [problem_at(self.text, at or 0, message, remedy)]


def problem_at(text: str, at: int, message: str, remedy: str) -> Problem:
    """Return a problem at a position of a text, counted from 0, as line and column, counted from 1."""
    return Problem(text.count("\n", 0, at) + 1, f"column {at - text.rfind(chr(10), 0, at)}", message, remedy)


def children(tree: Tree[Token], name: str) -> Iterator[Tree[Token]]:
    """Return the trees of a rule's name directly below a tree."""
    return (child for child in cast("list[Any]", tree.children) if getattr(child, "data", None) == name)


def position(tree: Tree[Token], kind: str) -> int:
    """Return where the first token of a kind stands."""
    return next((token.start_pos or 0 for token in tree.scan_values(lambda child: getattr(child, "type", "") == kind)), 0)


def texts(tree: Tree[Token]) -> dict[str, str]:
    """Return the tokens of a tree by the names of their terminals, the deepest included."""
    return {token.type: str(token) for token in tree.scan_values(lambda child: hasattr(child, "type"))}
