"""The Ceph driver, against a real cluster that every world starts for itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from certified import bad, certified

from onesim.data import data_dir

REFERENCE = data_dir("reference_driver")
PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "rbd", "ceph")
ABSENT = [name for name in PROGRAMS if shutil.which(name) is None]

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(bool(ABSENT) and "CI" not in os.environ, reason=f"no {', '.join(ABSENT)} here; `onetck doctor` names the packages"),
]


@pytest.mark.turns(4)
def test_the_driver_passes_what_the_cases_reach(tmp_path: Path) -> None:
    """Images of all kinds, clones, persistent and volatile disks live through a VM's life, and nothing is broken."""
    words = [word for case in ("image-clone", "image-qcow2", "vm-example", "vm-volatile") for word in ("--case", case)]
    footer, verdicts = certified(REFERENCE / "ceph.toml", tmp_path / "out", "--profile", "core", *words)
    assert bad(verdicts) == {}
    assert footer.calls > 80
    reached = (
        "DS-CP-004",
        "DS-CLONE-003",
        "DS-RM-002",
        "TM-CLONE-002",
        "TM-CLONE-003",
        "TM-MVDS-002",
        "TM-MKSWAP-002",
        "TM-DELETE-002",
        "TM-CTX-002",
    )
    assert {id: verdicts[id].verdict for id in reached} == dict.fromkeys(reached, "pass")


@pytest.mark.turns(4)
def test_overlapping_and_interrupted_calls_leave_the_pool_in_order(tmp_path: Path) -> None:
    """VMs of one image that start and end at once, a prolog that is run again, a VM that is deleted while its clone still runs."""
    words = [word for case in ("vms-together", "vm-retry", "vm-given-up") for word in ("--case", case)]
    _, verdicts = certified(REFERENCE / "ceph.toml", tmp_path / "out", "--profile", "core", *words)
    assert bad(verdicts) == {}


@pytest.mark.turns(4)
def test_exports_and_running_guests_reach_the_pool(tmp_path: Path) -> None:
    """What an export names is fetched from the pool and is the image; disks of a running guest grow, are snapshot and saved, also when that is cut off."""
    words = [word for case in ("export", "resize-running", "live-cut") for word in ("--case", case)]
    _, verdicts = certified(REFERENCE / "ceph.toml", tmp_path / "out", "--profile", "core,ds-export,tm-live", *words)
    assert bad(verdicts) == {}
    reached = ("DS-EXPORT-010", "TM-RESIZE-002", "TM-SNAPLIVE-003", "TM-DELETE-008", "DS-TREE-001")
    assert {id: verdicts[id].verdict for id in reached} == dict.fromkeys(reached, "pass")


BROKEN = {
    # every volume stays in the pool although nobody has it any more
    "tm/ceph/delete": ('on_ceph "Cannot remove $volume"', ": on_ceph", {"TM-DELETE-002", "TM-DELETE-008"}),
    # the guest gets an empty disk of the right name and size
    "tm/ceph/clone": (
        'said=$(host_rbd clone "${@:5}" "$image@snap" "$volume" 2>&1) && break',
        'host_rbd create --size 64M "$volume" && break',
        {"TM-CLONE-002"},
    ),
    # the image stays in the pool
    "datastore/ceph/rm": ('on_ceph "Cannot remove the image $source"', ": on_ceph", {"DS-RM-002"}),
}


@pytest.mark.turns(4)
@pytest.mark.parametrize("script", BROKEN)
def test_what_is_no_file_is_judged_all_the_same(tmp_path: Path, script: str) -> None:
    """A driver that is broken in one way is caught by the bytes and the names in the pool."""
    right, wrong, expected = BROKEN[script]
    shutil.copytree(REFERENCE, tmp_path / "driver")
    path = tmp_path / "driver" / "remotes" / script
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    footer, verdicts = certified(
        tmp_path / "driver" / "ceph.toml", tmp_path / "out", "--profile", "core", "--case", "vm-larger", "--case", "vm-siblings"
    )
    assert footer.exit_code == 1
    assert expected <= {id for id, one in verdicts.items() if one.verdict == "fail"}, bad(verdicts)
