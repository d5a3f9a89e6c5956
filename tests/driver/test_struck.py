"""What `onetck run --faults full` has found out of the reference driver, each as the trace that it wrote, so that it is not found again."""

from __future__ import annotations

from pathlib import Path

import pytest
from certified import bad, certified

from onesim.data import data_dir

STRUCK = Path(__file__).parent / "data" / "struck"

pytestmark = pytest.mark.components


PASSED = ("ds-cp-dd-1-fails", "ds-snap_delete-rmdir-1-not-removed", "ds-stat-curl-3-fails", "tm-cpds-virsh-5-fails")


@pytest.mark.parametrize("name", PASSED)
def test_a_fault_that_broke_the_driver_once_does_not_any_more(name: str, tmp_path: Path) -> None:
    """A copy that begins with a failure is none; what is tidied up behind the work is no reason to fail and to be asked again for what is gone.

    What could not be unpacked is told in one line. A disk that is saved from a running guest and cannot be given back to it leaves no image, and the layer to
    which the guest writes: nobody may take that away.
    """
    _, found = certified(data_dir("reference_driver") / "onetck.toml", tmp_path, "--trace", str(STRUCK / f"{name}.jsonl"))
    assert bad(found) == {}
    assert any(row.verdict == "pass" for id, row in found.items() if id.startswith(("DS-", "TM-")))


def test_nothing_is_removed_behind_a_flattened_image_any_more(tmp_path: Path) -> None:
    """The file beside the image has become the image: the second `rm` of this trace, whose failure failed what was done, has nothing to remove."""
    footer, found = certified(
        data_dir("reference_driver") / "onetck.toml", tmp_path, "--trace", str(STRUCK / "ds-snap_flatten-rm-2-not-removed.jsonl")
    )
    assert bad(found) == {}
    assert footer.verdict == "NOTHING RAN", "the fault finds no command to strike"
