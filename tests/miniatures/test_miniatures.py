"""Every check is known to catch: each requirement is the root cause in a miniature, whose whole vector of verdicts is held."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from build import HERE, Miniature, all_miniatures, play, vector

from onesim.spec import for_contract, load

MINIATURES = all_miniatures()
#: Programs of this machine that a role needs; where they are not, its miniatures are not played, except in CI, which is to have them.
NEEDS = {"libvirt_pool_real": ("libvirtd", "virsh")}
VECTORS: dict[str, dict[str, str]] = json.loads((HERE / "vectors.json").read_text())


def _marks(row: Miniature) -> list[pytest.MarkDecorator]:
    absent = [name for name in NEEDS.get(row.role, ()) if shutil.which(name) is None]
    return [pytest.mark.skipif(bool(absent) and "CI" not in os.environ, reason=f"no {', '.join(absent)} here")] if row.role in NEEDS else []


def test_every_required_requirement_with_a_check_is_the_root_cause_in_a_miniature() -> None:
    """No verdict rests on a check that was never seen to fail: every requirement of a profile is broken by one miniature at least."""
    required = {id for profile in load().profiles.values() for id in profile.requirements}
    assert {row.id for row in load().requirements if row.check and row.id in required} <= {row.breaks for row in MINIATURES}


def test_every_miniature_declares_its_vector_with_its_root_cause_in_it() -> None:
    """The declared vectors and the miniatures are the same set, and each breaks what it says it breaks."""
    assert sorted(VECTORS) == sorted(row.name for row in MINIATURES)
    for row in MINIATURES:
        wanted = "warn" if for_contract(row.contract).requirements[row.breaks].level == "SHOULD" else {"fail", "crash", "timeout"}
        assert VECTORS[row.name][row.breaks] in wanted, row.name


@pytest.mark.components
@pytest.mark.turns(8)
@pytest.mark.parametrize("miniature", [pytest.param(row, id=row.name, marks=_marks(row)) for row in MINIATURES])
def test_the_verdicts_on_a_miniature_are_the_declared_ones(miniature: Miniature, tmp_path: Path) -> None:
    """The root cause, what fails with it and what is blocked by it: exactly these, and nothing else."""
    assert vector(play(miniature, tmp_path)) == VECTORS[miniature.name]
