"""Images and disks are found as the hypervisor finds them, by the attributes of the VM's document."""

from __future__ import annotations

from typing import Any

import pytest

from onesim.cloud import Cloud, MadConf
from onesim.model import Datastore, Disk, History, Image, Vm
from onesim.seats import ProbeRow, Probes, Seat, disk_seat, image_seat, on_network
from onesim.world.interface import Means

RBD = {"DISK_TYPE": "RBD", "POOL_NAME": "fast", "CEPH_USER": "one", "CEPH_CONF": "/etc/a:b.conf", "BRIDGE_LIST": "host02 host01"}


def placed(kind: str, template: dict[str, str], state: str = "RUNNING", **disk: Any) -> tuple[Cloud, Vm, Disk]:
    """Return a VM 3 on host01 with one disk, whose datastore has the template."""
    cloud = Cloud("frontend", tm_conf={"x": MadConf()})
    cloud.datastores[1] = Datastore(1, "images", "IMAGE_DS", "x", "x", "/var/lib/one//datastores/1", template)
    inherited = {name: value for name, value in template.items() if name not in ("DISK_TYPE", "BRIDGE_LIST")}
    one = Disk(0, kind, "sda", 2, datastore=1, disk_type=template.get("DISK_TYPE", "FILE"), inherited=inherited, **disk)
    vm = Vm(3, "vm", state, [one], [History(0, 0, "host01", 0, "x")])
    return cloud, vm, one


@pytest.mark.parametrize(
    ("kind", "source", "address"),
    [
        ("nonpersistent", "fast/one-5", "rbd:fast/one-5-3-0:id=one:conf=/etc/a\\:b.conf"),
        ("persistent", "fast/one-5", "rbd:fast/one-5:id=one:conf=/etc/a\\:b.conf"),
        ("cdrom", "fast/one-5", "rbd:fast/one-5:id=one:conf=/etc/a\\:b.conf"),
        ("volatile", "", "rbd:fast/one-sys-3-0:id=one:conf=/etc/a\\:b.conf"),
    ],
)
def test_an_rbd_disk_has_the_name_that_libvirt_gets(kind: str, source: str, address: str) -> None:
    """A clone is SOURCE-VM-DISK, what comes from no image POOL/one-sys-VM-DISK, all others are the image; signs of QEMU's own are escaped."""
    assert disk_seat(*placed(kind, RBD, source=source), Probes()) == Seat("host01", address)


def test_without_a_configuration_file_the_monitors_are_named() -> None:
    """CEPH_HOST is what the hypervisor gets."""
    template = {"DISK_TYPE": "RBD", "CEPH_HOST": "a b:6789"}
    assert disk_seat(*placed("volatile", template), Probes()).path == "rbd:one/one-sys-3-0:mon_host=a\\;b\\:6789"


def test_a_disk_that_waits_is_reached_by_a_bridge() -> None:
    """A stopped VM has no host: the front-end need not reach the cluster."""
    assert disk_seat(*placed("nonpersistent", RBD, "STOPPED", source="fast/one-5"), Probes()).host == "host02"


def test_files_stay_files() -> None:
    """Whatever else the datastore says, a FILE or BLOCK disk is in the VM's directory, at the front-end while the VM is stopped."""
    for kind in ("FILE", "BLOCK"):
        seat = disk_seat(*placed("nonpersistent", {"DISK_TYPE": kind}, source="/a", format="qcow2"), Probes())
        assert seat == Seat("host01", "/var/lib/one//datastores/0/3/disk.0", "qcow2")
    assert disk_seat(*placed("nonpersistent", {}, "STOPPED", source="/a"), Probes()).host == "frontend"


def test_iscsi_and_gluster_disks_have_addresses() -> None:
    """As libvirt names them."""
    iscsi = {"DISK_TYPE": "ISCSI", "ISCSI_HOST": "san"}
    assert disk_seat(*placed("persistent", iscsi, source="iqn.2026-01.org:t/2"), Probes()).path == "iscsi://san/iqn.2026-01.org:t/2"
    assert disk_seat(*placed("persistent", iscsi, source="iqn.2026-01.org:t"), Probes()).path == "iscsi://san/iqn.2026-01.org:t/0"
    gluster = {"DISK_TYPE": "GLUSTER", "GLUSTER_HOST": "g", "GLUSTER_VOLUME": "v"}
    assert disk_seat(*placed("nonpersistent", gluster, source="/ds/1/abc"), Probes()).path == "gluster://g/v/3/disk.0"


def test_a_source_may_be_an_address() -> None:
    """Then it needs no probe."""
    assert disk_seat(*placed("persistent", {}, source="nbd://array/vol7"), Probes()).path == "nbd://array/vol7"


def test_a_vendors_probe_goes_before_what_is_built_in() -> None:
    """Attributes stand for themselves in an address; commands get them in their environment."""
    at = Probes(disk=ProbeRow(at="nbd://$ARRAY/$SOURCE-$VM_ID-$DISK_ID", host="host02"))
    assert disk_seat(*placed("nonpersistent", {"ARRAY": "a1"}, source="vol"), at) == Seat("host02", "nbd://a1/vol-3-0")
    commands = Probes(disk=ProbeRow(read="cat", write="put", exists="look"))
    means = disk_seat(*placed("nonpersistent", {"ARRAY": "a1"}, source="vol"), commands).means
    assert isinstance(means, Means)
    assert (means.read, means.write, means.exists) == ("cat", "put", "look")
    assert {"ARRAY": "a1", "SOURCE": "vol", "VM_ID": "3", "DISK_PATH": "/var/lib/one//datastores/0/3/disk.0"}.items() <= means.environment.items()


def test_images_are_found_by_their_datastore() -> None:
    """Through a bridge where they are on the network, else at their path on the front-end."""
    cloud, _, _ = placed("persistent", RBD)
    image = Image(5, "os", "OS", 1, source="fast/one-5", format="raw")
    assert image_seat(cloud, image, Probes()) == Seat("host02", "rbd:fast/one-5:id=one:conf=/etc/a\\:b.conf")
    assert on_network(cloud.datastores[1])
    cloud, _, _ = placed("persistent", {"BRIDGE_LIST": "host02"})
    assert image_seat(cloud, Image(5, "os", "OS", 1, source="/ds/1/a", format="qcow2"), Probes()) == Seat("frontend", "/ds/1/a", "qcow2")
    assert not on_network(cloud.datastores[1])
