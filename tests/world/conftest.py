"""Worlds for the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onesim.events import Answer
from onesim.world.interface import Question
from onesim.world.namespaces import NamespaceWorld


def answer(question: Question) -> Answer:
    """Answer any question with 6 kB that name it."""
    return Answer(f"<VM>{' '.join(question.argv)}{'x' * 6000}</VM>\n".encode() if question.kind == "command" else b"<methodResponse/>")


@pytest.fixture
def world() -> Iterator[NamespaceWorld]:
    """A world with shared datastores and gates at cp and mv."""
    with NamespaceWorld.start(gates=("cp", "mv"), on_question=answer) as made:
        yield made


@pytest.fixture
def local_world() -> Iterator[NamespaceWorld]:
    """A world in which every host has datastores of its own."""
    with NamespaceWorld.start(shared=(), on_question=answer) as made:
        yield made
