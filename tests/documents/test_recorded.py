"""Documents built from the field values of a recording equal what the real oned wrote, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest
from lxml import etree

from onesim import documents
from onesim.cloud import Cloud, MadConf
from onesim.model import Datastore, Disk, History, Host, Image, Vm
from onesim.snapshots import Snapshot, Snapshots
from onesim.spec import ContractSpec, for_contract
from onesim.validation import validate

Sample = Callable[[str], str]

BASE = "/srv/one/var//datastores"
DUMMY = "/srv/oracle/rec/dummy.img"
COMMON = {
    "ALLOW_ORPHANS": "FORMAT",
    "DISK_TYPE": "FILE",
    "RESTRICTED_DIRS": "/",
    "SAFE_DIRS": "/var/tmp",
    "TM_MAD": "recshared",
}
IMAGE_DS = COMMON | {
    "CLONE_TARGET": "SYSTEM",
    "CLONE_TARGET_RECSSH": "SYSTEM",
    "DISK_TYPE_RECSSH": "FILE",
    "DS_MAD": "recds",
    "LN_TARGET": "NONE",
    "LN_TARGET_RECSSH": "SYSTEM",
    "TM_MAD_SYSTEM": "recssh",
    "TYPE": "IMAGE_DS",
}
SYSTEM_DS = COMMON | {
    "DS_LIVE_MIGRATE": "NO",
    "DS_MIGRATE": "YES",
    "DS_MIGRATE_SNAP": "NO",
    "SHARED": "YES",
    "TYPE": "SYSTEM_DS",
}
SNAP = {"PERSISTENT_SNAPSHOTS": "YES"}


def at(version: str) -> ContractSpec:
    """Return the tables as they hold for an exact release."""
    newest = for_contract("7.4")
    return ContractSpec(newest.spec, msgspec.structs.replace(newest.contract, version=version))


def images(
    version: str,
    id: int = 100,
    name: str = "A_img",
    members: list[int] | None = None,
    mb: tuple[int, int, int] = (100000, 99000, 1000),
) -> Datastore:
    """Return the recorded image datastore."""
    template = IMAGE_DS if version == "6.4.0" else IMAGE_DS | SNAP
    return Datastore(id, name, "IMAGE_DS", "recds", "recshared", f"{BASE}/{id}", template, set(members or []), *mb)


def image_document(image: Image, datastore: Datastore, version: str) -> str:
    """Return the driver action document of cp, mkfs, clone and rm."""
    spec = at(version)
    made = image.id if image.state == "LOCKED" else -1
    return documents.action_data(
        [
            documents.image_xml(image, datastore, version, spec),
            documents.datastore_xml(datastore, version, without=made),
        ]
    )


RECORDED_IMAGES = [
    (
        "7.4.0",
        "cp",
        Image(
            0,
            "A-os-1-8824136",
            "OS",
            100,
            path=DUMMY,
            size_mb=10,
            state="LOCKED",
            regtime_s=1795238824,
            template={"DEV_PREFIX": "sd"},
        ),
        [0],
    ),
    (
        "7.4.0",
        "mkfs",
        Image(
            3,
            "A-db-4-8827109",
            "DATABLOCK",
            100,
            format="raw",
            size_mb=128,
            state="LOCKED",
            regtime_s=1795238827,
            template={"DEV_PREFIX": "sd"},
        ),
        [3],
    ),
    (
        "7.4.0",
        "clone",
        Image(
            28,
            "clone-238849943",
            "DATABLOCK",
            100,
            path=f"{BASE}/100/rec-mkfs-000146",
            format="raw",
            size_mb=128,
            state="LOCKED",
            persistent=True,
            cloning_id=27,
            regtime_s=1795238849,
            template={"DEV_PREFIX": "sd"},
        ),
        [27, 28],
    ),
    (
        "7.4.0",
        "rm",
        Image(
            34,
            "A-os-25-8853784",
            "OS",
            100,
            path=DUMMY,
            source=f"{BASE}/100/rec-cp-000180",
            format="raw",
            size_mb=10,
            state="READY",
            prev_state="LOCKED",
            regtime_s=1795238853,
            template={"FORCE_DELETE": "YES", "DEV_PREFIX": "sd"},
        ),
        [34],
    ),
    (
        "6.4.0",
        "cp",
        Image(
            444,
            "A-cdrom-4-8062146",
            "CDROM",
            100,
            path=DUMMY,
            size_mb=10,
            state="LOCKED",
            regtime_s=1795238062,
            template={"DEV_PREFIX": "hd"},
        ),
        [444],
    ),
    (
        "6.4.0",
        "clone",
        Image(
            455,
            "clone-238073915",
            "OS",
            100,
            path=f"{BASE}/100/rec-cp-004521",
            format="raw",
            size_mb=10,
            state="LOCKED",
            cloning_id=454,
            regtime_s=1795238073,
            template={"DEV_PREFIX": "sd"},
        ),
        [454, 455],
    ),
]


@pytest.mark.parametrize(("version", "name", "image", "members"), RECORDED_IMAGES, ids=lambda value: value if isinstance(value, str) else "")
def test_image_documents(sample: Sample, version: str, name: str, image: Image, members: list[int]) -> None:
    """cp, mkfs, clone and rm: the whole document is what oned wrote."""
    assert image_document(image, images(version, members=members), version) == sample(f"oned-{version}-{name}")


@pytest.mark.parametrize(("version", "name", "size"), [("7.4.0", "stat", None), ("7.4.0", "stat-with-size", ""), ("6.4.0", "stat", None)])
def test_stat(sample: Sample, version: str, name: str, size: str | None) -> None:
    """stat: the reduced IMAGE, and SIZE only where the request names it."""
    built = documents.action_data([documents.image_path_xml(DUMMY, size), documents.datastore_xml(images(version), version)])
    assert built == sample(f"oned-{version}-{name}")


@pytest.mark.parametrize(("version", "id", "name"), [("7.4.0", 106, "ds238880365"), ("6.4.0", 105, "ds237145393")])
def test_monitor(sample: Sample, version: str, id: int, name: str) -> None:
    """The document of an image datastore's monitor action."""
    built = documents.action_data([documents.datastore_xml(images(version, id, name, mb=(0, 0, 0)), version)])
    assert built == sample(f"oned-{version}-monitor")


def test_monitor_of_a_system_datastore(sample: Sample) -> None:
    """The document of a shared system datastore's monitor action, with location and the wish for disk sizes."""
    datastore = Datastore(107, "ds238881468", "SYSTEM_DS", "-", "recshared", f"{BASE}/107", SYSTEM_DS | SNAP)
    children = [
        documents.datastore_xml(datastore, "7.4.0"),
        documents.element("DATASTORE_LOCATION", BASE),
        documents.element("MONITOR_VM_DISKS", "1"),
    ]
    assert documents.action_data(children) == sample("oned-7.4.0-monitor-system")


def migrated(
    vm: int,
    os: tuple[int, str, str],
    data: tuple[int, str, str],
    cdrom: tuple[int, str, str],
    stime_s: int,
    prefix: dict[str, str],
) -> tuple[Vm, Cloud]:
    """Return the recorded VM: a disk of each kind, on its way to its second host; an image is id, name, SOURCE."""
    conf = {"clone_target": "SYSTEM", "ln_target": "NONE", "allow_orphans": "FORMAT"}
    disks = [
        Disk(
            id,
            kind,
            target,
            size,
            size,
            image,
            name,
            100,
            "A_img",
            "recshared",
            source=f"{BASE}/100/{source}",
            format="raw",
            **conf,
        )
        for id, kind, target, size, (image, name, source) in (
            (0, "nonpersistent", "sda", 10, os),
            (1, "persistent", "sdb", 128, data),
            (4, "cdrom", "hda", 10, cdrom),
        )
    ]
    disks[2:2] = [
        Disk(
            id,
            kind,
            target,
            size,
            datastore=102,
            datastore_name="A_sys1",
            tm_mad="recshared",
            format="raw",
            allow_orphans="FORMAT",
        )
        for id, kind, target, size in ((2, "volatile", "sdc", 100), (3, "swap", "sdd", 64))
    ]
    history = [History(seq, seq, f"host0{seq + 1}", 102, "recshared", "recvmm", stime_s) for seq in (0, 1)]
    cloud = Cloud("frontend", hosts={0: Host(0, "host01"), 1: Host(1, "host02")}, tm_conf={"recshared": MadConf()})
    for id, name, _ in (os, data, cdrom):
        cloud.images[id] = Image(id, name, "OS", 100, template=prefix if id == cdrom[0] else {"DEV_PREFIX": "sd"})
    context = {"NETWORK": "YES", "FOO": "BAR"}
    made = Vm(vm, "vm-A", "RUNNING", disks, history, context, 5, "hdb", deploy_id=f"rec-deploy-{vm}", stime_s=stime_s)
    made.tm_mad_system = made.required_tm = "recshared"
    return made, cloud


LIVE = {
    "LCM_STATE": "4",
    "PREV_LCM_STATE": "4",
}


def test_premigrate(sample: Sample) -> None:
    """The VM document of premigrate in 7.4.0, with a disk of each kind."""
    vm, cloud = migrated(
        48,
        (143, "A-os-134-8956630", "rec-cp-001297"),
        (144, "A-db-p-135-8956768", "rec-mkfs-001300"),
        (145, "A-cdrom-136-8956815", "rec-cp-001309"),
        1795238957,
        {},
    )
    more = LIVE | {"OS": "<UUID><![CDATA[641b4b28-1d72-4d02-9ebc-6a66504c196e]]></UUID>"}
    assert documents.vm_xml(vm, cloud, at("7.4.0"), records="last", more=more) == sample("oned-7.4.0-premigrate")


def test_postmigrate_of_6_4(sample: Sample) -> None:
    """The VM document of 6.4.0 has neither SCHED_ACTIONS nor BACKUPS, PLAN_ID, ACTION_ID or PERSISTENT_SNAPSHOTS."""
    vm, cloud = migrated(
        278,
        (697, "A-os-255-8257943", "rec-cp-007190"),
        (698, "A-db-p-256-8258025", "rec-mkfs-007188"),
        (699, "A-cdrom-257-8258033", "rec-cp-007192"),
        1795238258,
        {"DEV_PREFIX": "hd"},
    )
    more = LIVE | {"OS": "<UUID><![CDATA[14d474b8-1078-4fe7-ac4e-39bd348d14bc]]></UUID>"}
    assert documents.vm_xml(vm, cloud, at("6.4.0"), records="last", more=more) == sample("oned-6.4.0-postmigrate")


@pytest.mark.parametrize(
    ("name", "id", "target", "label", "source", "times_s"),
    [
        ("rm-snapshots", 48, -1, "A-db-p-39-8873416", "rec-mkfs-000286", (1795238873, 1795238873, 1795238874, 1795238874)),
        ("snap_flatten", 47, 1, "A-db-p-38-8870899", "rec-mkfs-000272", (1795238870, 1795238871, 1795238871, 1795238871)),
    ],
)
def test_images_with_snapshots(sample: Sample, name: str, id: int, target: int, label: str, source: str, times_s: tuple[int, ...]) -> None:
    """An image with three snapshots, with and without a target: SNAPSHOTS is what oned wrote, and so is all but MODTIME, which is kept as REGTIME."""
    made_s, *dates_s = times_s
    known = {number: Snapshot(number, 128, date_s, f"s{number}") for number, date_s in enumerate(dates_s)}
    image = Image(id, label, "DATABLOCK", 100, source=f"{BASE}/100/{source}", format="raw", size_mb=128, persistent=True, regtime_s=made_s)
    image.state = image.prev_state = "READY"
    image.template, image.snapshots, image.target_snapshot = {"DEV_PREFIX": "sd"}, Snapshots("YES", active=2, next=3, known=known), target
    modified = re.compile("<MODTIME>[0-9]+")
    assert modified.sub("", image_document(image, images("7.4.0", members=[id]), "7.4.0")) == modified.sub("", sample(f"oned-7.4.0-{name}"))


def test_snapshots_of_disks() -> None:
    """A VM shows the snapshots of each disk that has any, with the disk's id and the tree: valid, and after the history."""
    vm, cloud = migrated(9, (1, "os", "a"), (2, "db", "b"), (3, "cd", "c"), 1, {})
    vm.disks[1].snapshots = Snapshots("NO", active=1, next=2, known={0: Snapshot(0, 128, 5, children=[1]), 1: Snapshot(1, 128, 6, "two", parent=0)})
    xml = documents.vm_xml(vm, cloud, at("7.4.0"))
    assert validate("VM", "7.4.0", xml.encode()) == []
    shown = etree.fromstring(xml.encode()).findall("SNAPSHOTS")
    assert [one.findtext("DISK_ID") for one in shown] == ["1"]
    assert [[child.tag for child in one] for one in shown[0].iter("SNAPSHOT")] == [
        ["CHILDREN", "DATE", "ID", "PARENT", "SIZE"],
        ["ACTIVE", "DATE", "ID", "NAME", "PARENT", "SIZE"],
    ]
