"""Every check is known to catch: each requirement is the root cause in a miniature, whose whole vector of verdicts is held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from build import HERE, Miniature, all_miniatures, play, vector

from onesim.spec import for_contract, load

MINIATURES = all_miniatures()
VECTORS: dict[str, dict[str, str]] = json.loads((HERE / "vectors.json").read_text())


def test_every_required_requirement_with_a_check_is_the_root_cause_in_a_miniature() -> None:
    """No verdict rests on a check that was never seen to fail: every requirement of a profile is broken by one miniature at least."""
    required = {id for profile in load().profiles.values() for id in profile.requirements}
    assert {row.id for row in load().requirements if row.check and row.id in required} <= {row.breaks for row in MINIATURES}


def test_every_miniature_declares_its_vector_with_its_root_cause_in_it() -> None:
    """The declared vectors and the miniatures are the same set, and each breaks what it says it breaks."""
    assert set(VECTORS) == {row.name for row in MINIATURES}
    for row in MINIATURES:
        wanted = "warn" if for_contract(row.contract).requirements[row.breaks].level == "SHOULD" else {"fail", "crash", "timeout"}
        assert VECTORS[row.name][row.breaks] in wanted, row.name


@pytest.mark.parametrize("miniature", MINIATURES, ids=lambda row: row.name)
def test_the_verdicts_on_a_miniature_are_the_declared_ones(miniature: Miniature, tmp_path: Path) -> None:
    """The root cause, what fails with it and what is blocked by it: exactly these, and nothing else."""
    assert vector(play(miniature, tmp_path)) == VECTORS[miniature.name]
