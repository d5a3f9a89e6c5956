"""Our verdict on examples and generated documents beside that of libvirt's own RELAX NG schemas: every difference is known, and none is stale."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from named_changes import POOL_BREAKS, POOL_TRAITS, VOLUME_BREAKS, VOLUME_TRAITS, breaks_by_type
from strategies import ADAPTERS, POOLS, Change, in_order, pools, volumes

from onesim.libvirt import validate_libvirt

SCHEMAS = Path("/usr/share/libvirt/schemas")
FILES = {"pool": "storagepool.rng", "volume": "storagevol.rng", "secret": "secret.rng"}
LISTED = tomllib.loads((Path(__file__).parent / "data/disagreements.toml").read_text(encoding="utf-8"))["disagreement"]

pytestmark = pytest.mark.components
Disagreements = set[tuple[str, str, str, str]]


@pytest.fixture(scope="module")
def theirs() -> Callable[[bytes], bool]:
    """Return the verdict of libvirt's schemas on a document."""
    missing = [name for name in FILES.values() if not (SCHEMAS / name).is_file()]
    if missing:
        pytest.fail(f"{SCHEMAS}: no {', '.join(missing)}; install the Debian package libvirt0")
    schemas = {root: etree.RelaxNG(file=str(SCHEMAS / name)) for root, name in FILES.items()}

    def verdict(xml: bytes) -> bool:
        root = etree.fromstring(xml)
        return schemas[str(root.tag)].validate(root)

    return verdict


def _each(strategy: st.SearchStrategy[bytes], look: Callable[[bytes], None], times: int) -> None:
    @settings(max_examples=times, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def run(xml: bytes) -> None:
        look(xml)

    run()


class _Judge:
    """Judges documents by both, and keeps what differs and how many there were."""

    def __init__(self, theirs: Callable[[bytes], bool]) -> None:
        self.theirs = theirs
        self.found: Disagreements = set()
        self.seen: Counter[str] = Counter()

    def __call__(self, name: str, kind: str, xml: bytes, *, valid: bool, pool_type: str = "") -> None:
        problems = validate_libvirt(xml, pool_type=pool_type)
        assert (not problems) is valid, (name, kind, xml, [str(one) for one in problems])
        ordered = in_order(xml)
        assert (not validate_libvirt(ordered, pool_type=pool_type)) is valid, ("the order matters", name, kind, xml)
        self.seen["valid" if valid else "broken"] += 1
        self.seen[name] += 1
        if self.theirs(ordered) is not valid:
            self.found.add((str(etree.fromstring(xml).tag), name, kind, "accepts" if valid else "refuses"))

    def changed(self, change: Change, kind: str, base: st.SearchStrategy[bytes], *, valid: bool, pool_type: str = "") -> None:
        """Judge documents with one change, where it applies."""

        def look(xml: bytes) -> None:
            changed = change.apply(xml)
            if changed is not None:
                self(change.name, kind, changed, valid=valid, pool_type=pool_type)

        _each(base, look, 2)


def _listed(document: str) -> Disagreements:
    rows = [row for row in LISTED if row["document"] == document and "xml" not in row and not row["name"].startswith("example: ")]
    return {(document, row["name"], kind, row["ours"]) for row in rows for kind in row.get("types", ["dir"])}


def test_pools(theirs: Callable[[bytes], bool]) -> None:
    """Generated pools of every type, valid, with a trait, or broken in one place: ours are right, and differ from theirs as listed."""
    judge = _Judge(theirs)
    for kind, row in POOLS.items():
        _each(pools(kind), lambda xml, kind=kind: judge("valid", kind, xml, valid=True), 20)  # type: ignore[misc]
        for adapter in ADAPTERS if "source/adapter" in row.needs else [""]:
            for change in (*breaks_by_type(kind), *POOL_BREAKS):
                judge.changed(change, kind, pools(kind, full=True, adapter=adapter), valid=False)
            for change in POOL_TRAITS:
                judge.changed(change, kind, pools(kind, full=True, adapter=adapter), valid=True)
    assert judge.found == _listed("pool")
    assert [one.name for one in (*POOL_BREAKS, *POOL_TRAITS) if not judge.seen[one.name]] == [], "a change that never applied proves nothing"
    assert judge.seen["valid"] >= 300
    assert judge.seen["broken"] >= 1000


def test_volumes(theirs: Callable[[bytes], bool]) -> None:
    """Generated volumes of every type of pool, valid, with a trait, or broken in one place: ours are right, and differ from theirs as listed."""
    judge = _Judge(theirs)
    for kind in POOLS:
        _each(volumes(kind), lambda xml, kind=kind: judge("valid", kind, xml, valid=True, pool_type=kind), 15)  # type: ignore[misc]
    for changes, valid in ((VOLUME_BREAKS, False), (VOLUME_TRAITS, True)):
        for change in changes:
            judge.changed(change, "dir", volumes("dir", full=True), valid=valid, pool_type="dir")
    assert judge.found == _listed("volume")
    assert [one.name for one in (*VOLUME_BREAKS, *VOLUME_TRAITS) if not judge.seen[one.name]] == [], "a change that never applied proves nothing"
    assert judge.seen["valid"] >= 150


def test_examples(theirs: Callable[[bytes], bool], examples: list[dict[str, Any]]) -> None:
    """Examples of libvirt's pages: ours and theirs agree but for the listed ones."""
    differ = set()
    for row in examples:
        xml = row["xml"].encode()
        ours = not validate_libvirt(xml, direction=row.get("direction", "input"), pool_type=row.get("pool", ""))
        if ours is not theirs(xml):
            differ.add((f"example: {row['name']}", "accepts" if ours else "refuses"))
    assert differ == {(row["name"], row["ours"]) for row in LISTED if row["name"].startswith("example: ")}


@pytest.mark.parametrize("row", [row for row in LISTED if "xml" in row], ids=lambda row: row["name"])
def test_single_documents(theirs: Callable[[bytes], bool], row: dict[str, Any]) -> None:
    """A document that shows one disagreement is still judged differently."""
    ours = "refuses" if validate_libvirt(row["xml"].encode()) else "accepts"
    assert (ours, theirs(row["xml"].encode())) == (row["ours"], row["ours"] == "refuses")


def test_every_disagreement_has_a_reason() -> None:
    """No two rows speak of the same, and each says why theirs is not followed."""
    assert all(row["reason"].strip() for row in LISTED)
    assert not [name for name, times in Counter((row["document"], row["name"]) for row in LISTED).items() if times > 1]
