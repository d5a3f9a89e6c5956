"""The driver for storage pools of libvirt, against the real libvirtd that every world starts for itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from certified import bad, certified

from onesim.data import data_dir
from onesim.spec import load
from onesim.world.namespaces import wide

REFERENCE = data_dir("reference_driver")
ABSENT = [name for name in ("libvirtd", "virsh") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(
        bool(ABSENT) and "CI" not in os.environ, reason=f"no {', '.join(ABSENT)} here; Debian: libvirt-daemon-system, libvirt-clients"
    ),
    pytest.mark.skipif(not wide(), reason="libvirtd gives volumes to oneadmin, which takes a range of user ids: real root"),
]


def test_the_driver_passes_what_the_cases_reach(tmp_path: Path) -> None:
    """Images raw and qcow2, clones, persistent and volatile disks live through a VM's life under the oldest contract, and nothing is broken."""
    words = [word for case in ("image-clone", "image-qcow2", "vm-example", "vm-volatile") for word in ("--case", case)]
    footer, verdicts = certified(REFERENCE / "libvirt_pool_real.toml", tmp_path / "out", "--profile", "core", "--contract", "5.12", *words)
    assert bad(verdicts) == {}
    assert footer.calls > 80
    reached = ("DS-CP-004", "DS-CLONE-003", "DS-RM-002", "TM-CLONE-002", "TM-CLONE-003", "TM-MVDS-002", "TM-MKSWAP-002", "TM-DELETE-002")
    assert {id: verdicts[id].verdict for id in reached} == dict.fromkeys(reached, "pass")


@pytest.mark.turns(4)
def test_overlapping_and_interrupted_calls_leave_the_pool_in_order(tmp_path: Path) -> None:
    """VMs of one image that start and end at once, a prolog that is run again, a VM that is deleted while its clone still runs."""
    words = [word for case in ("vms-together", "vm-retry", "vm-given-up") for word in ("--case", case)]
    _, verdicts = certified(REFERENCE / "libvirt_pool_real.toml", tmp_path / "out", "--profile", "core", *words)
    assert bad(verdicts) == {}


def test_a_bridge_does_what_the_front_end_does_else(tmp_path: Path) -> None:
    """With BRIDGE_LIST virsh runs on that host, whose libvirtd keeps the pool, and the bytes go there over ssh."""
    shutil.copytree(REFERENCE, tmp_path / "driver")
    description = tmp_path / "driver" / "libvirt_pool_real.toml"
    text = description.read_text().replace('POOL_TYPE = "dir"\n', 'POOL_TYPE = "dir"\nBRIDGE_LIST = "host01"\n')
    text = text.replace('name = "libvirtd"\n', 'name = "libvirtd"\nhost = "host01"\n').replace('where = "frontend"', 'where = "host01"')
    description.write_text(text)
    _, verdicts = certified(description, tmp_path / "out", "--profile", "core", "--case", "image-clone", "--case", "vm-volatile")
    assert bad(verdicts) == {}


@pytest.mark.turns(4)
def test_the_simulated_libvirt_gives_the_verdicts_of_the_real_one(tmp_path: Path) -> None:
    """The same cases on both: every requirement has the same verdict, and those on pools and volumes are all put to the test, and kept."""
    cases = ("image-clone", "image-qcow2", "vm-example", "vm-volatile", "pool-before", "pool-fresh", "pool-work")
    words = [word for case in cases for word in ("--case", case)]
    (_, simulated), (_, real) = (
        certified(REFERENCE / name, tmp_path / name, "--profile", "core,libvirt-pool", *words)
        for name in ("libvirt_pool.toml", "libvirt_pool_real.toml")
    )
    assert {id: row.verdict for id, row in simulated.items()} == {id: row.verdict for id, row in real.items()}
    assert bad(real) == {}
    assert {real[id].verdict for id in load().profiles["libvirt-pool"].requirements} == {"pass"}
