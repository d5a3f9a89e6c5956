"""The small domain that QEMU gets of a deployment file: the VM's disks as the file says, and no guest."""

from __future__ import annotations

from lxml import etree

from onesim import guestless

DEPLOYMENT = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>one-7</name><uuid>3b9d6c3e-0000-4000-8000-000000000007</uuid>
  <cputune><shares>1024</shares></cputune><memory>4194304</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>/var/lib/one/datastores/0/7/kernel</kernel></os>
  <devices>
    <emulator>/usr/bin/qemu-kvm-one</emulator>
    <disk type='file' device='disk'><source file='/var/lib/one/datastores/0/7/disk.0'/><target dev='sda'/><driver name='qemu' type='qcow2' cache='none'/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='one/one-1'/><target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><source file='/var/lib/one/datastores/0/7/disk.1'/><target dev='hda' bus='sata'/><readonly/></disk>
    <filesystem type='mount'><target dir='share'/></filesystem>
  </devices>
  <devices><channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices>
</domain>"""

RUNNING = """<domain type='qemu' id='1'><name>one-7</name><devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/d/disk.0.live' index='3'/>
    <backingStore type='file'><source file='/d/disk.0'/></backingStore><target dev='sda' bus='scsi'/><alias name='scsi0-0-0-0'/></disk>
  <disk type='file' device='cdrom'><target dev='hdb' bus='ide'/><alias name='ide0-0-1'/></disk>
</devices></domain>"""


def test_the_domain_has_the_disks_of_the_deployment_file() -> None:
    """Name, UUID, files with their targets and formats, the agent's channel; no disk with an address, no kernel, no share, and little memory."""
    made = etree.fromstring(guestless.domain(DEPLOYMENT, kvm=False, environment={"MARK": "m"}))
    assert (made.get("type"), made.findtext("name"), made.findtext("uuid")) == ("qemu", "one-7", "3b9d6c3e-0000-4000-8000-000000000007")
    rows = [(one.find("source").get("file"), one.find("target").get("dev"), one.get("device")) for one in made.iterfind("devices/disk")]
    assert rows == [("/var/lib/one/datastores/0/7/disk.0", "sda", "disk"), ("/var/lib/one/datastores/0/7/disk.1", "hda", "cdrom")]
    assert made.find("devices/disk/driver").attrib == {"name": "qemu", "type": "qcow2", "cache": "writeback"}
    assert made.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
    assert [made.find(path) for path in ("os/kernel", "devices/filesystem", "cputune")] == [None, None, None]
    assert int(made.findtext("memory")) < 64
    assert made.find("{*}commandline/{*}env").attrib == {"name": "MARK", "value": "m"}
    assert etree.fromstring(guestless.domain(DEPLOYMENT, kvm=True, environment={})).get("type") == "kvm"


def test_the_disks_of_a_running_domain_are_its_active_layers() -> None:
    """By target: the device's name and the layer on top; a drive without a medium is none."""
    assert guestless.disks(RUNNING) == {"sda": guestless.Attached("scsi0-0-0-0", "/d/disk.0.live", "qcow2")}


def test_a_saved_domain_opens_its_disks_where_they_are_now() -> None:
    """Sources change by target, and what was known of chains is forgotten: a snapshot may have been taken or merged since."""
    moved = etree.fromstring(guestless.moved(RUNNING, {"sda": "/e/disk.0"}))
    assert moved.find("devices/disk/source").get("file") == "/e/disk.0"
    assert moved.find("devices/disk/backingStore") is None


def test_a_domain_without_disks_shows_what_is_the_machines_own() -> None:
    """It is the same but for its disks, its name and what two domains cannot both have."""
    given = guestless.domain(DEPLOYMENT, kvm=False, environment={"MARK": "m"})
    bare = etree.fromstring(guestless.bare(given, "probe"))
    assert bare.findtext("name") == "probe"
    assert [bare.find(path) for path in ("uuid", "metadata", "devices/disk", "devices/channel")] == [None] * 4
    assert [bare.findtext(path) for path in ("memory", "os/type", "devices/emulator")] == [
        etree.fromstring(given).findtext(path) for path in ("memory", "os/type", "devices/emulator")
    ]
    assert bare.find("{*}commandline/{*}env").attrib == {"name": "MARK", "value": "m"}
    assert etree.fromstring(guestless.bare(RUNNING, "probe")).get("id") is None


def test_a_disk_is_plugged_in_by_its_target_and_format() -> None:
    """The bus follows from the target; a swap disk is raw, a cdrom read-only."""
    assert guestless.plugging("sdb", "qcow2", cdrom=False)[:6] == ["--targetbus", "scsi", "--driver", "qemu", "--subdriver", "qcow2"]
    assert "raw" in guestless.plugging("vdb", "swap", cdrom=False)
    assert guestless.plugging("hdb", "raw", cdrom=True)[-2:] == ["--mode", "readonly"]
