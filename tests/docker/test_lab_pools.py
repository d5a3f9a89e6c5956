"""Storage pools of the real libvirt on the machines of a lab, where it may mount file systems and make partitions: what holds on the simulated ones holds there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from certified import bad, certified
from pool_types import described, described_in_lab

_ABSENT = [name for name in ("libvirtd", "virsh", "parted", "losetup") if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin") is None]

#: What is told of the files on a file system that is mounted: what stands for it in the model is in no picture of the hosts' trees.
_UNSEEN = ("GEN-TREE-002",)

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(bool(_ABSENT), reason=f"no {', '.join(_ABSENT)} here; Debian: libvirt-daemon-system, libvirt-clients, parted"),
]


@pytest.mark.turns(4)
@pytest.mark.parametrize("kind", ["fs", "disk"])
def test_a_pool_on_a_block_device_is_worked_on_alike(kind: str, disks: Any, tmp_path: Path) -> None:
    """Requirement by requirement the same on a file system and on partitions of a loop device as on the model of them; and nothing is left on the machines."""
    words = ("--profile", "core,libvirt-pool", "--case", "pool-work")
    _, simulated = certified(described(kind, tmp_path), tmp_path / "simulated", *words)
    description = described_in_lab(kind, disks.device, disks.lab.rows, tmp_path)
    _, real = certified(description, tmp_path / "real", "--backend", "ssh", "--yes", *words)
    assert bad(real) == {}
    verdicts = [{id: row.verdict for id, row in found.items() if id not in _UNSEEN} for found in (real, simulated)]
    assert verdicts[0] == verdicts[1]
    assert {real[id].verdict for id in ("LIBVIRT-VOL-001", "LIBVIRT-VOL-002", "LIBVIRT-VOL-003", "TM-CLONE-002", "TM-MVDS-002")} == {"pass"}
    assert disks.lab.left() == ""
