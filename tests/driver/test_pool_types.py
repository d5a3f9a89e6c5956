"""The driver for storage pools of libvirt on pools of every kind, with the simulated libvirt of the world."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from certified import bad, certified
from pool_types import described, described_on_ceph, described_on_target

from onesim.journal import read
from onesim.records import Call, Record
from onesim.world.namespaces import wide
from onetck.plan import choose
from onetck.setting import Given, settle

#: What libvirt makes volumes in; images and disks of a VM's whole life, and volumes that were there before.
MADE = {"fs": ("pool-work", "pool-before"), "logical": ("pool-work", "pool-lent"), "disk": ("pool-work", "pool-fresh"), "rbd": ("pool-work",)}
REACHED = ("DS-CP-004", "DS-CLONE-003", "DS-RM-002", "TM-CLONE-002", "TM-CLONE-003", "TM-LN-002", "TM-MVDS-002", "TM-MKSWAP-002", "TM-DELETE-002")
LENT = ("LIBVIRT-POOL-004", "LIBVIRT-VOL-002", "TM-LN-001", "TM-LN-002", "TM-MVDS-001", "TM-MVDS-002")
KEPT = ("LIBVIRT-POOL-001", "LIBVIRT-VOL-001", "LIBVIRT-VOL-002", "LIBVIRT-VOL-003", "LIBVIRT-VOL-004")


@pytest.mark.turns(4)
@pytest.mark.parametrize("kind", MADE)
def test_a_pool_is_worked_on_as_its_type_wants_it(kind: str, tmp_path: Path) -> None:
    """Images, clones, persistent and volatile disks are volumes of the pool and hold what they must; others stay.

    Partitions get their numbers from libvirt, also where two actions make one at the same time.
    """
    words = [word for case in MADE[kind] for word in ("--case", case)]
    _, verdicts = certified(described(kind, tmp_path), tmp_path / "out", "--profile", "core,libvirt-pool", *words)
    assert bad(verdicts) == {}
    assert {id: verdicts[id].verdict for id in REACHED + KEPT} == dict.fromkeys(REACHED + KEPT, "pass")


_ON_CEPH = shutil.which("ceph-mon") and list(Path("/usr/lib").glob("*/libvirt/storage-backend/*_rbd.so"))


@pytest.mark.turns(4)
@pytest.mark.components
@pytest.mark.skipif(not wide(), reason="libvirtd gives volumes to oneadmin, which takes a range of user ids: real root")
@pytest.mark.skipif(
    not _ON_CEPH and "CI" not in os.environ,
    reason="no ceph-mon here, or no libvirt that knows its pools; Debian: ceph-mon, ceph-mgr, ceph-osd, libvirt-daemon-driver-storage-rbd",
)
def test_a_pool_of_the_real_libvirt_on_a_real_cluster_is_worked_on_alike(tmp_path: Path) -> None:
    """What holds on the simulated pool of Ceph holds on a real one, requirement by requirement."""
    _, verdicts = certified(described_on_ceph(tmp_path), tmp_path / "out", "--profile", "core,libvirt-pool", "--case", "pool-work")
    assert bad(verdicts) == {}
    assert {id: verdicts[id].verdict for id in REACHED + KEPT} == dict.fromkeys(REACHED + KEPT, "pass")


@pytest.mark.parametrize(("kind", "grows"), [("fs", True), ("rbd", True), ("logical", False), ("disk", False)])
def test_disks_are_asked_to_grow_where_libvirt_makes_them_larger(kind: str, grows: bool, tmp_path: Path) -> None:
    """Neither a logical volume nor a partition can be: no case of what is claimed has one grow, nor one that is about snapshots."""
    setting = settle(Given(config=described(kind, tmp_path)))
    claimed = setting.claimed.split(",")
    assert {"tm-snapshots": True, "tm-resize": grows}.items() <= {name: name in claimed for name in ("tm-snapshots", "tm-resize")}.items()
    planned = choose(setting.spec, setting.subject, [], [], claimed)
    assert ("snapshots-grown" in [case.trace.name for case in planned]) is grows
    assert any("tm/resize" in case.expects for case in planned) is grows


_ON_TARGET = shutil.which("tgtd", path=f"{os.environ['PATH']}:/usr/sbin") and list(
    Path("/usr/lib").glob("*/libvirt/storage-backend/*_iscsi-direct.so")
)


@pytest.mark.components
@pytest.mark.skipif(not wide(), reason="libvirtd gives volumes to oneadmin, which takes a range of user ids: real root")
@pytest.mark.skipif(
    not _ON_TARGET and "CI" not in os.environ,
    reason="no tgtd here, or no libvirt that knows pools of its units; Debian: tgt, libvirt-daemon-driver-storage-iscsi-direct, qemu-block-extra",
)
def test_units_of_a_real_target_are_used_alike_through_the_real_libvirt(tmp_path: Path) -> None:
    """The logical units that tgt serves and those of the simulated array: requirement by requirement the same, bytes included."""
    words = ("--profile", "core,libvirt-pool", "--case", "pool-lent")
    (_, simulated), (_, real) = (
        certified(write(tmp_path), tmp_path / name, *words)
        for name, write in (("simulated", lambda where: described("iscsi-direct", where)), ("real", described_on_target))
    )
    assert bad(real) == {}
    assert {id: row.verdict for id, row in simulated.items()} == {id: row.verdict for id, row in real.items()}
    assert {id: real[id].verdict for id in LENT} == dict.fromkeys(LENT, "pass")


def test_volumes_that_others_made_are_used_as_they_are(tmp_path: Path) -> None:
    """Where libvirt makes no volumes the whole run is about those that are there: what cannot be done is refused, and does not apply."""
    description = described("iscsi-direct", tmp_path)
    assert settle(Given(config=description)).claimed == "libvirt-pool"
    footer, verdicts = certified(description, tmp_path / "out")
    assert footer.exit_code == 0
    assert bad(verdicts) == {}
    _, judged = certified(description, tmp_path / "bytes", "--profile", "core,libvirt-pool", "--case", "pool-lent")
    assert {id: judged[id].verdict for id in LENT} == dict.fromkeys(LENT, "pass")
    made = ("LIBVIRT-VOL-001", "LIBVIRT-VOL-003", "LIBVIRT-VOL-004")
    assert {id: verdicts[id].verdict for id in made} == dict.fromkeys(made, "not_applicable")


REFUSED = {
    "iscsi-direct": (
        ({"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}, "register those that are there with SOURCE"),
        ({"op": "image.make", "image": "data", "size_mb": 2}, "register those that are there with SOURCE"),
    ),
    "logical": (
        ({"op": "image.make", "image": "layered", "size_mb": 2, "format": "qcow2"}, "format 'qcow2' cannot be made in a pool of type logical"),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_libvirt_does_not_do_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    """The action fails and says why; the run is not at fault for it."""
    steps = [
        {"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 2},
        *({**step, "expect": "failure"} for step, _ in REFUSED[kind]),
    ]
    header = {"trace": 1, "name": "refused", "title": "What libvirt does not do with volumes", "profile": "libvirt-pool"}
    trace = tmp_path / "refused.jsonl"
    trace.write_text("".join(json.dumps(row) + "\n" for row in (header, *steps)))
    certified(described(kind, tmp_path), tmp_path / "out", "--profile", "libvirt-pool", "--trace", str(trace))
    calls = [one for one in read(tmp_path / "out/history.jsonl", Record) if isinstance(one, Call) and not one.success]
    assert len(calls) == len(REFUSED[kind])
    for call, (_, why) in zip(calls, REFUSED[kind], strict=True):
        said = call.stderr.text.strip()
        assert call.ended_by == "exit"
        assert why in said
        assert "\n" not in said
