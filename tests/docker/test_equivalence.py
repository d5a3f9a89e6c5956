"""The same driver gets the same verdict for every requirement, whatever makes the hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
from build import Miniature, all_miniatures, play

pytestmark = pytest.mark.components

_NAMES = ("mkfs-makes-nothing", "clone-is-empty", "tm-clone-keeps-the-size")
_REFERENCE = Miniature("reference", "", ("host-down", "image-clone"), "")


@pytest.mark.parametrize("row", [_REFERENCE, *(one for one in all_miniatures() if one.name in _NAMES)], ids=lambda row: row.name)
def test_namespaces_and_containers_give_the_same_verdicts(row: Miniature, image: str, tmp_path: Path) -> None:
    """Requirement by requirement, and case by case."""
    judged = {backend: play(row, tmp_path / backend, backend) for backend in ("namespaces", "docker")}
    whole = {name: {one.requirement: one.verdict for one in judgement.requirements} for name, judgement in judged.items()}
    assert whole["docker"] == whole["namespaces"]
    each = {name: {(one.requirement, one.case): one.verdict for one in judgement.results} for name, judgement in judged.items()}
    assert each["docker"] == each["namespaces"]
    assert "pass" in whole["docker"].values()
    assert row.breaks in ("", *(id for id, verdict in whole["docker"].items() if verdict == "fail")), row.breaks
