"""The generator: what it makes is valid, and what it breaks is found where it was broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from onesim import schemas
from onesim.breaking import BREAKS, SPOILS, Broken, broken
from onesim.generating import documents
from onesim.spec import load
from onesim.validation import validate

CONTRACTS = {contract.version: contract.name for contract in load().contracts}
#: Kinds and releases that share a schema share its documents: each schema once, with all that it is for.
SHARED: dict[tuple[str, str], list[tuple[str, str]]] = {}
for version in CONTRACTS:
    for kind in schemas.kinds(version):
        SHARED.setdefault((schemas.schema_text(kind, version), schemas.document(kind, version).encoding), []).append((kind, version))
FIRST = [pairs[0] for pairs in SHARED.values()]
CASES = pytest.mark.parametrize(("kind", "version"), FIRST, ids=[f"{kind} {CONTRACTS[version]}" for kind, version in FIRST])


def run(strategy: SearchStrategy[Any], examples: int, body: Callable[[Any], None]) -> None:
    """Run a body over some examples, always the same ones."""
    plain = settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    plain(given(strategy)(body))()


@CASES
def test_generated_documents_are_valid(kind: str, version: str) -> None:
    """Every document that is made from a schema is valid, for every kind and release that the schema is for."""

    made: list[bytes] = []

    def body(xml: bytes) -> None:
        made.append(xml)
        assert validate(kind, version, xml) == [], xml

    run(documents(kind, version), 20, body)
    for other, release in SHARED[schemas.schema_text(kind, version), schemas.document(kind, version).encoding]:
        assert validate(other, release, made[-1]) == []


@CASES
def test_broken_documents_are_found(kind: str, version: str) -> None:
    """Every document that is broken in one way is refused, at the place where it was broken."""

    def body(wrong: Broken) -> None:
        assert wrong.path in [problem.path for problem in validate(kind, version, wrong.xml)], wrong

    run(broken(kind, version), 12, body)


def test_every_way_of_breaking_is_used() -> None:
    """In enough broken VMs and image documents every way occurs: none of them is a way that fits nowhere. How many are enough is a matter of chance."""
    names: set[str] = set()
    every = {way.name for way in BREAKS} | {name for name, _ in SPOILS}
    for examples in (100, 200, 400, 800, 1600):
        for kind in ("VM", "ds/restore", "tm/monitor"):
            run(broken(kind, "7.4.0"), examples, lambda wrong: names.add(wrong.name))
        if names == every:
            break
    assert names == every


def test_generated_documents_differ() -> None:
    """Twenty documents of a kind are not one document twenty times: they differ in length, and have locks, sections and free attributes."""
    made: list[bytes] = []
    run(documents("ds/snap_revert", "7.4.0"), 40, lambda xml: made.append(xml))
    text = b"".join(made)
    assert len({len(xml) for xml in made}) > 15
    assert all(word in text for word in (b"<LOCK>", b"<![CDATA[", b"<SNAPSHOT>", b"<NOTE>", b"&amp;"))
