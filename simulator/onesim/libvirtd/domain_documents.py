"""Documents of domains: read as libvirt reads one, written as `dumpxml` does."""

from __future__ import annotations

from typing import Any

from lxml import etree

from onesim.libvirtd.effects import Refused
from onesim.libvirtd.model import Disk, Domain, Layer

_SOURCE = {"file": "file", "block": "dev", "network": "name"}


def _parser() -> etree.XMLParser:
    """Return a parser for one document: those of one parser share their table of names, which threads must not change at once."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True, remove_comments=True)


def read(data: bytes, what: str) -> Any:
    """Parse a document that a command was given. Raises Refused with libvirt's words about `what`."""
    try:
        return etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 1
        raise Refused(f"({what}):{line}: {(error.msg or '').partition(', line')[0]}\n(null)\n^") from None


def text(node: Any, path: str) -> str:
    """Return the text at a path, empty where nothing is."""
    return (node.findtext(path) or "").strip()


def domain(data: bytes, uuid: str) -> Domain:
    """Read the document of a domain; `uuid` is for one that brings none. Raises Refused."""
    root = read(data, "domain_definition")
    if root.tag != "domain":
        raise Refused(f"XML error: unexpected root element <{root.tag}>, expecting <domain>")
    name = text(root, "name")
    if not name:
        raise Refused("XML error: missing name information in domain definition" if root.find("name") is None else "XML error: name element is empty")
    disks = [_disk(one) for one in root.findall("devices/disk")]
    for one in list(root.findall("devices/disk")):
        one.getparent().remove(one)
    agent = any(one.get("name") == "org.qemu.guest_agent.0" for one in root.findall("devices/channel/target"))
    given = text(root, "uuid")
    for path in ("uuid", "name"):
        for one in root.findall(path):
            root.remove(one)
    return Domain(name, given or uuid, etree.tostring(root, encoding="unicode"), disks, agent=agent)


def written_empty() -> str:
    """Return the document of a domain of which nothing but its disks matters."""
    return (
        "<domain type='kvm'><memory unit='KiB'>65536</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>"
        "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"
    )


def _disk(node: Any) -> Disk:
    kind = node.get("type", "file")
    source, driver, target = node.find("source"), node.find("driver"), node.find("target")
    if target is None or not target.get("dev"):
        raise Refused("XML error: target dev name must not be empty" if target is not None else "XML error: missing target information for device")
    path = ""
    if source is not None:
        path = source.get(_SOURCE.get(kind, "file"), "")
    more = {} if driver is None else {name: value for name, value in driver.attrib.items() if name not in ("name", "type")}
    format = "raw" if driver is None else driver.get("type", "raw")
    chain = [Layer(path, format, kind)]
    readonly = node.find("readonly") is not None or node.get("device") == "cdrom"
    return Disk(target.get("dev"), chain, node.get("device", "disk"), target.get("bus", "virtio"), readonly, more)


def dump(domain: Domain, *, inactive: bool = False, kept: bool = False) -> str:
    """Return the document of a domain as dumpxml prints it; `inactive` as it will be started next, `kept` as snapshots and checkpoints keep it."""
    root = etree.fromstring(domain.document, _parser())
    live = domain.running and not inactive and not kept
    root.attrib.pop("id", None)
    if live:
        root.set("id", str(domain.id))
    for at, (name, value) in enumerate((("name", domain.name), ("uuid", domain.uuid))):
        node = etree.Element(name)
        node.text = value
        root.insert(at, node)
    devices = root.find("devices")
    if devices is None:
        devices = etree.SubElement(root, "devices")
    at = 1 if devices.find("emulator") is not None else 0
    for number, disk in enumerate(domain.disks):
        devices.insert(at + number, _disk_node(disk, number, live, kept and domain.running))
    return written(root)


def _disk_node(disk: Disk, number: int, live: bool, kept: bool) -> Any:
    node = etree.Element("disk", type=disk.active.kind, device=disk.device)
    driver = etree.SubElement(node, "driver", name="qemu", type=disk.active.format)
    for name, value in disk.more.items():
        driver.set(name, value)
    if disk.active.path:
        source = etree.SubElement(node, "source")
        source.set(_SOURCE[disk.active.kind], disk.active.path)
        if live:
            source.set("index", str(disk.active.index))
    if live or kept:
        _backing(node, disk.chain[1:], live)
    if live and disk.job is not None:
        node.append(_mirror(disk))
    etree.SubElement(node, "target", dev=disk.target, bus=disk.bus)
    if disk.readonly:
        etree.SubElement(node, "readonly")
    if live:
        etree.SubElement(node, "alias", name=f"{disk.bus}-disk{number}")
    return node


def _mirror(disk: Disk) -> Any:
    job = disk.job
    assert job is not None
    kind = "active-commit" if job.kind == "commit" else "copy"
    node = etree.Element("mirror", type=job.base.kind)
    if kind == "copy":
        node.set("file", job.base.path)
        node.set("format", job.base.format)
    node.set("job", kind)
    node.set("ready", "yes")
    etree.SubElement(node, "format", type=job.base.format)
    source = etree.SubElement(node, "source")
    source.set(_SOURCE[job.base.kind], job.base.path)
    source.set("index", str(job.base.index))
    if kind == "copy":
        etree.SubElement(node, "backingStore")
    return node


def _backing(node: Any, chain: list[Layer], live: bool) -> None:
    inner = etree.SubElement(node, "backingStore")
    if chain:
        layer = chain[0]
        inner.set("type", layer.kind)
        if live:
            inner.set("index", str(layer.index))
        etree.SubElement(inner, "format", type=layer.format)
        etree.SubElement(inner, "source").set(_SOURCE[layer.kind], layer.path)
        _backing(inner, chain[1:], live)


def written(node: Any, depth: int = 0) -> str:
    """Write an element as libvirt does: two blanks a level, attributes in single quotes."""
    pad = "  " * depth
    attributes = "".join(f" {name}='{_escaped(value)}'" for name, value in node.attrib.items())
    children = [child for child in node if isinstance(child.tag, str)]
    if children:
        inner = "".join(written(child, depth + 1) for child in children)
        return f"{pad}<{node.tag}{attributes}>\n{inner}{pad}</{node.tag}>\n"
    if node.text and node.text.strip():
        return f"{pad}<{node.tag}{attributes}>{_escaped(node.text)}</{node.tag}>\n"
    return f"{pad}<{node.tag}{attributes}/>\n"


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&apos;").replace('"', "&quot;")
