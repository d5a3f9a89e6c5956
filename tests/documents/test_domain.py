"""The deployment file: byte for byte what oned wrote, for each kind of storage what libvirt takes, and laid into the VM directory as one_vmm_exec lays it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from lxml import etree

from onesim.cloud import MadConf, Mode
from onesim.domain import domain_xml
from onesim.events import CallAsked, OperationAsked
from onesim.hypervisor import Files, act
from onesim.layout import Subjected, make_cloud
from onesim.model import BootFile, Disk, History, Vm
from onesim.oned import Oned
from onesim.seats import Seat
from onesim.spec import for_contract, for_release
from onesim.world.interface import Means

RNG = Path("/usr/share/libvirt/schemas/domain.rng")


def machine(*disks: Disk, id: int = 3) -> Vm:
    """Return a VM on host01 with a context after its disks."""
    return Vm(id, "vm-A", "BOOT", list(disks), [History(0, 0, "host01", 0, "shared")], {"FOO": "BAR"}, len(disks), "hdb")


def cloud_with(disk_type: str = "", **template: str) -> Oned:
    """Return an oned whose image datastore has these attributes."""
    cloud = make_cloud(Subjected(b"", "fs", "shared", "shared", image_template={**({"DISK_TYPE": disk_type} if disk_type else {}), **template}), True)
    return Oned(for_contract("7.4"), cloud)


def built(oned: Oned, vm: Vm, version: str = "7.4") -> etree._Element:
    """Return the domain of a VM as it is parsed."""
    return etree.fromstring(domain_xml(vm, oned.cloud, for_contract(version)).encode())


def image_disk(kind: str = "nonpersistent", source: str = "/ds/1/abc", target: str = "sda", format: str = "raw") -> Disk:
    """Return a disk of an image."""
    return Disk(0, kind, target, 10, 10, 7, "os", 1, "images", "shared", "", source, format, clone_target="SYSTEM", ln_target="NONE")


@pytest.mark.parametrize(("version", "id"), [("6.4.0", 203), ("7.0.1", 226)])
def test_a_domain_is_what_oned_wrote(version: str, id: int, sample: Callable[[str], str]) -> None:
    """A copy, a persistent image, a volatile disk, a swap area, a CDROM and the context; only the UUID and the times are our own."""
    oned = cloud_with()
    oned.cloud.location = "/srv/one/var//datastores"
    kinds = (("nonpersistent", "sda"), ("persistent", "sdb"), ("volatile", "sdc"), ("swap", "sdd"), ("cdrom", "hda"))
    disks = [Disk(n, kind, target, 10, tm_mad="shared", format="raw") for n, (kind, target) in enumerate(kinds)]
    vm = Vm(id, "vm-A", "BOOT", disks, [History(0, 0, "host01", 102, "shared")], {"FOO": "BAR"}, 5, "hdb")
    oned.cloud.datastores[102] = oned.cloud.datastores[0]

    def general(text: str) -> str:
        text = re.sub(r"<uuid>[0-9a-f-]{36}</uuid>", "<uuid/>", text.rstrip("\n"))
        return re.sub(r"<one:(stime|deployment_time)>[0-9]+<", r"<one:\1><", text)

    assert general(domain_xml(vm, oned.cloud, for_release(version))) == general(sample(f"domain-{version}"))


CEPH = {"CEPH_HOST": "mon1 mon2:6790", "CEPH_USER": "libvirt", "CEPH_SECRET": "6f88b54b-5dae-41fe-a43e-b2763f601cfc", "POOL_NAME": "pool"}
ISCSI = {"ISCSI_HOST": "array", "ISCSI_USER": "me", "ISCSI_USAGE": "libvirtiscsi"}
GLUSTER = {"GLUSTER_HOST": "g1", "GLUSTER_VOLUME": "vol"}


@pytest.mark.parametrize(
    ("disk_type", "template", "disk", "source"),
    [
        ("", {}, image_disk(format="qcow2"), {"file": "/var/lib/one//datastores/0/3/disk.0"}),
        ("BLOCK", {}, image_disk(), {"dev": "/var/lib/one//datastores/0/3/disk.0"}),
        ("BLOCK", {}, image_disk("cdrom", target="hda"), {"dev": "/var/lib/one//datastores/0/3/disk.0"}),
        ("RBD", CEPH, image_disk(source="pool/one-7"), {"protocol": "rbd", "name": "pool/one-7-3-0"}),
        ("RBD", CEPH, image_disk("persistent", "pool/one-7"), {"protocol": "rbd", "name": "pool/one-7"}),
        ("RBD", CEPH, image_disk("cdrom", "pool/one-7", "hda"), {"protocol": "rbd", "name": "pool/one-7"}),
        ("RBD", CEPH, Disk(0, "volatile", "sda", 5, datastore=1, tm_mad="shared"), {"protocol": "rbd", "name": "pool/one-sys-3-0"}),
        ("ISCSI", ISCSI, image_disk("persistent", "iqn.2020-01.org:disk/1"), {"protocol": "iscsi", "name": "iqn.2020-01.org:disk/1"}),
        ("GLUSTER", GLUSTER, image_disk(), {"protocol": "gluster", "name": "vol/3/disk.0"}),
        ("GLUSTER", GLUSTER, image_disk("persistent"), {"protocol": "gluster", "name": "vol/abc"}),
    ],
)
def test_each_kind_of_storage_is_what_libvirt_takes(disk_type: str, template: dict[str, str], disk: Disk, source: dict[str, str]) -> None:
    """The source of the disk, its hosts and who asks; and the whole domain by libvirt's RELAX NG, in each contract."""
    oned = cloud_with(disk_type, **template)
    vm = machine(disk)
    found = built(oned, vm).find("devices/disk")
    assert found is not None
    assert dict(found.find("source").attrib) == source  # type: ignore[union-attr]
    assert found.get("type") == {"file": "file", "dev": "block"}.get(next(iter(source)), "network")
    assert found.get("device") == ("cdrom" if disk.kind == "cdrom" else "disk") and (found.find("readonly") is not None) == (disk.kind == "cdrom")
    hosts = [(one.get("name"), one.get("port")) for one in found.iterfind("source/host")]
    assert hosts == {"RBD": [("mon1", "6789"), ("mon2", "6790")], "ISCSI": [("array", "3260")], "GLUSTER": [("g1", "24007")]}.get(disk_type, [])
    secret = found.find("auth/secret")
    assert (secret.get("type") if secret is not None else "") == {"RBD": "ceph", "ISCSI": "iscsi"}.get(disk_type, "")
    driver = found.find("driver")
    assert driver is not None and driver.get("type") == (disk.format or "raw") and driver.get("cache") == "none"
    for version in ("5.12", "6.4", "6.10", "7.0", "7.4"):
        assert_valid(built(oned, vm, version))


def assert_valid(root: etree._Element) -> None:
    """Verify a domain by libvirt's schema, if that is here. oned writes several DEVICES, which libvirt reads and its schema does not know: they are joined."""
    if not RNG.exists():
        pytest.skip("libvirt's schemas are not installed (libvirt-daemon or libvirt0)")
    first, *others = root.findall("devices")
    for other in others:
        first.extend(other)
        root.remove(other)
    schema = etree.RelaxNG(file=str(RNG))
    assert schema.validate(root), schema.error_log


def test_mixed_mode_has_the_storage_that_is_declared_for_it() -> None:
    """A disk of a Ceph datastore that was copied to files is a file."""
    oned = cloud_with("RBD", **CEPH)
    oned.cloud.tm_conf["shared"] = MadConf(modes={"ssh": Mode(disk_type="FILE")})
    disk = image_disk(source="pool/one-7")
    disk.tm_mad_system = "ssh"
    assert dict(built(oned, machine(disk)).find("devices/disk/source").attrib) == {"file": "/var/lib/one//datastores/0/3/disk.0"}  # type: ignore[union-attr]


def test_what_boots_and_what_is_shared() -> None:
    """Kernel and initrd in the VM directory, the order of the disks, a directory by virtiofs with shared memory; names are data."""
    oned = cloud_with(MOUNT_TAG="tag")
    disks = (
        image_disk(),
        Disk(1, "volatile", "vda", 5, tm_mad="shared"),
        Disk(2, "virtiofs", "", 0, 0, 7, "fs", 1, "images", "shared", "", "/export/'a & b'"),
    )
    vm = machine(*disks)
    vm.boot, vm.files = ("disk1", "disk0"), [BootFile("kernel", "/k", 2), BootFile("initrd", "/i", 2)]
    root = built(oned, vm)
    assert [root.findtext(f"os/{name}") for name in ("kernel", "initrd")] == [f"/var/lib/one//datastores/0/3/{name}" for name in ("kernel", "initrd")]
    orders = [one.find("boot") for one in root.iterfind("devices/disk")]
    assert [one.get("order") if one is not None else "" for one in orders] == ["2", "1", ""]
    assert [one.get("bus", "") for one in root.iterfind("devices/disk/target")] == ["", "virtio", "sata"]
    shared = root.find("devices/filesystem")
    assert shared is not None and shared.find("source").get("dir") == "/export/'a & b'" and shared.find("target").get("dir") == "tag"  # type: ignore[union-attr]
    assert root.find("memoryBacking/access").get("mode") == "shared"  # type: ignore[union-attr]


class Putting:
    """A host that keeps what is written to it."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}

    def put_all(self, host: str, files: Mapping[str, bytes], needed: Sequence[Seat]) -> list[bool]:
        """Keep files, and have every disk."""
        self.files |= {(host, path): data for path, data in files.items()}
        return [True for _ in needed]


def test_the_deployment_file_lies_where_it_is_laid() -> None:
    """deployment.N of the last history record, beside vm.xml and ds.xml, on the host; the documents of the calls that follow are whole."""
    oned = cloud_with()
    oned.feed(OperationAsked(0, "vm.create", {"vm": "a", "disks": [{"volatile": "fs", "size_mb": 2}], "boot": "disk0"}))
    oned.cloud.vms[0].context = None
    (call,) = (one for one in oned.feed(OperationAsked(1, "vm.deploy", {"vm": "a", "host": "host01"})) if isinstance(one, CallAsked))
    vm = oned.cloud.vms[0]
    world, domain = Putting(), domain_xml(vm, oned.cloud, oned.spec)
    deploy = CallAsked(9, 1, oned.spec.actions["vmm/deploy"], "kvm", "", (), {"deployment_file": "/x/deployment.0"}, "", "nothing", call.facts)
    assert act(world, deploy, {}, lambda: Files(domain, "<VM/>", "<DATASTORE/>")) == ""  # type: ignore[arg-type]
    directory = oned.cloud.directory(vm.history[-1], vm)
    assert world.files == {
        ("host01", f"{directory}/deployment.0"): domain.encode(),
        ("host01", f"{directory}/vm.xml"): b"<VM/>",
        ("host01", f"{directory}/ds.xml"): b"<DATASTORE/>",
    }


class Enlarging:
    """A host that takes down which tool is run, and ends it with a status."""

    def __init__(self, status: int) -> None:
        self.status, self.done = status, list[tuple[str, list[str], bool]]()

    def libvirt(self, host: str, deed: str, arguments: dict[str, list[str]], *, root: bool) -> dict[str, object]:
        """Take down what QEMU is to do."""
        assert deed == "tool"
        self.done.append((host, arguments["argv"], root))
        return {"status": self.status, "stderr": "refused\n" if self.status else ""}


@pytest.mark.parametrize(
    ("disk", "status", "enlarged", "error"),
    [
        ("2", 0, "rbd:p/one-sys-3-2:conf=/c", ""),
        ("2", 1, "rbd:p/one-sys-3-2:conf=/c", "host01:rbd:p/one-sys-3-2:conf=/c is not enlarged: refused"),
        # the simulated libvirt knows to which layer of a file the guest writes; a vendor's own commands cannot enlarge
        ("0", 0, "", ""),
        ("1", 0, "", ""),
    ],
)
def test_a_disk_with_an_address_grows_by_the_hypervisor(disk: str, status: int, enlarged: str, error: str) -> None:
    """QEMU enlarges the disk of that id where the guest runs, with its own rights, and what it refuses is the action's error."""
    seats = {0: Seat("host01", "/d/disk.0"), 1: Seat("host01", "rbd:p/x", means=Means("cat")), 2: Seat("host01", "rbd:p/one-sys-3-2:conf=/c")}
    action = for_contract("7.4").actions["vmm/resize_disk"]
    arguments = {"disk_id": disk, "size_mb": "5"}
    asked = CallAsked(9, 1, action, "kvm", "", (), arguments, "", "nothing", {"host": "host01", "vm_directory": "/d"})
    world = Enlarging(status)
    assert act(world, asked, seats, lambda: Files("", "", "")) == error  # type: ignore[arg-type]
    wanted = [("host01", ["qemu-img", "resize", "-q", "-f", "raw", enlarged, "5242880"], False)]
    assert world.done == (wanted if enlarged else [])
