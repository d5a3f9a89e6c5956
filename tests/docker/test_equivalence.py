"""The same driver gets the same verdict for every requirement, whatever makes the hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from build import Miniature, all_miniatures, play
from msgspec.structs import replace

from onetck.judge import Judgement
from onetck.machines import agree

pytestmark = pytest.mark.components

_NAMES = ("mkfs-makes-nothing", "clone-is-empty", "tm-clone-keeps-the-size")
_REFERENCE = Miniature("reference", "", ("host-down", "image-clone"), "")
_ROWS = pytest.mark.parametrize("row", [_REFERENCE, *(one for one in all_miniatures() if one.name in _NAMES)], ids=lambda row: row.name)
_embedded: dict[str, Judgement] = {}


@_ROWS
def test_namespaces_and_containers_give_the_same_verdicts(row: Miniature, image: str, tmp_path: Path) -> None:
    """Requirement by requirement, and case by case."""
    _alike(row, "docker", tmp_path)


@_ROWS
def test_namespaces_and_machines_give_the_same_verdicts(row: Miniature, lab: Any, tmp_path: Path) -> None:
    """Those of a lab, too."""
    agree(lab.machines, yes=True)
    _alike(replace(row, more=f"{row.more}\n{lab.rows}"), "ssh", tmp_path)


def _alike(row: Miniature, backend: str, tmp_path: Path) -> None:
    if row.name not in _embedded:  # played once, and compared with each of the others
        _embedded[row.name] = play(row, tmp_path / "namespaces", "namespaces")
    judged = {"namespaces": _embedded[row.name], backend: play(row, tmp_path / backend, backend)}
    whole = {name: {one.requirement: one.verdict for one in judgement.requirements} for name, judgement in judged.items()}
    assert whole[backend] == whole["namespaces"]
    each = {name: {(one.requirement, one.case): one.verdict for one in judgement.results} for name, judgement in judged.items()}
    assert each[backend] == each["namespaces"]
    assert "pass" in whole[backend].values()
    assert row.breaks in ("", *(id for id, verdict in whole[backend].items() if verdict == "fail")), row.breaks
