"""Documents for QEMU: of what oned says a VM is, a small domain without a guest that has the VM's disks. Pure.

What is kept is what storage drivers have to do with: name, UUID, metadata, disks with their targets and formats, controllers, the channel of the guest's
agent. Networks of storage are left out: a disk with an address is reached as without QEMU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

_Element = etree._Element
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_KEPT = ("name", "title", "uuid", "metadata")
_OWN = ("name", "title", "uuid", "metadata", "seclabel", "disk", "channel")
_MEMORY_MIB = 32
#: Disks are read while QEMU has them open: through the host's cache both see the same.
_CACHE = "writeback"
_OURS = ("file", "block")


@dataclass(frozen=True)
class Attached:
    """A disk of a domain that runs: what QEMU calls its device, and the layer that the guest writes to."""

    alias: str
    path: str
    format: str


def _parsed(text: str) -> _Element:
    return etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True))


def _text(root: _Element) -> str:
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def domain(document: str, *, kvm: bool, environment: Mapping[str, str]) -> str:
    """Return the domain for a deployment file. `environment` is what its QEMU gets besides."""
    given = _parsed(document)
    made = etree.Element("domain", {"type": "kvm" if kvm else "qemu"}, nsmap={"qemu": _QEMU})
    made.extend(node for name in _KEPT for node in given.findall(name))
    etree.SubElement(made, "memory", unit="MiB").text = str(_MEMORY_MIB)
    etree.SubElement(etree.SubElement(made, "os"), "type", arch="x86_64", machine="pc").text = "hvm"
    etree.SubElement(etree.SubElement(made, "features"), "acpi")
    devices = etree.SubElement(made, "devices")
    etree.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
    for node in given.iterfind("devices/*"):
        if node.tag in ("controller", "channel"):
            devices.append(node)
        elif node.tag == "disk" and node.get("type") in _OURS:
            devices.append(_for_us(node))
    for name, attribute in (("controller", {"type": "usb", "model": "none"}), ("memballoon", {"model": "none"})):
        etree.SubElement(devices, name, attribute)
    etree.SubElement(etree.SubElement(devices, "video"), "model", type="none")
    words = etree.SubElement(made, f"{{{_QEMU}}}commandline")
    for name, value in environment.items():
        etree.SubElement(words, f"{{{_QEMU}}}env", name=name, value=value)
    return _text(made)


def _for_us(disk: _Element) -> _Element:
    driver = disk.find("driver")
    if driver is not None:
        driver.set("cache", _CACHE)
    bus = disk.find("target")
    if bus is not None and bus.get("bus") == "sata":
        bus.set("bus", "ide")
    return disk


def bare(document: str, name: str) -> str:
    """Return the document of a domain like another one, but for its disks, its name and what is its own alone."""
    given = _parsed(document)
    for parent in (given, *given.findall("devices")):
        for node in [one for one in parent if one.tag in _OWN]:
            parent.remove(node)
    given.attrib.pop("id", None)
    etree.SubElement(given, "name").text = name
    return _text(given)


def plugging(target: str, format: str, *, cdrom: bool) -> list[str]:
    """Return the words of `virsh attach-disk` for a disk with a target."""
    bus = {"hd": "ide", "sd": "scsi"}.get(target[:2], "virtio")
    kind = ["--type", "cdrom", "--mode", "readonly"] if cdrom else []
    return ["--targetbus", bus, "--driver", "qemu", "--subdriver", format if format not in ("", "swap") else "raw", "--cache", _CACHE, *kind]


def moved(document: str, places: Mapping[str, str]) -> str:
    """Return the document of a saved domain whose disks, by target, lie elsewhere; what their chains are libvirt finds again."""
    given = _parsed(document)
    for node in given.iterfind("devices/disk"):
        target, source = node.find("target"), node.find("source")
        for known in node.findall("backingStore"):
            node.remove(known)
        place = places.get(str(target.get("dev")), "") if target is not None else ""
        if source is not None and place:
            source.set("file" if node.get("type") == "file" else "dev", place)
    return _text(given)


def disks(document: str) -> dict[str, Attached]:
    """Return the disks of a domain that runs, by target."""
    found = {}
    for node in _parsed(document).iterfind("devices/disk"):
        target, source, driver, alias = (node.find(name) for name in ("target", "source", "driver", "alias"))
        if target is not None and source is not None and alias is not None:
            path = source.get("file") or source.get("dev") or ""
            found[str(target.get("dev"))] = Attached(str(alias.get("name")), path, str(driver.get("type", "raw")) if driver is not None else "raw")
    return found
