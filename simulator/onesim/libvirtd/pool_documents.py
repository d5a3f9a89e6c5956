"""Documents of pools, volumes and secrets: read as libvirt reads them, written as it writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from onesim.libvirt_tables import tables
from onesim.libvirtd.domain_documents import read, text, written
from onesim.libvirtd.effects import Refused
from onesim.libvirtd.model import Pool, Volume
from onesim.libvirtd.sizes import scaled

_LACKS = {
    "target": "missing storage pool target path",
    "target/path": "missing storage pool target path",
    "source/device": "missing storage pool source device name",
    "source/host": "missing storage pool source host name",
    "source/dir": "missing storage pool source path",
    "source/adapter": "missing storage pool source adapter",
    "source/name": "missing mandatory 'name' field for RBD pool name",
}
#: What stands for the format of a source that names none.
_FORMATS = {"fs": "auto", "netfs": "auto", "disk": "unknown", "logical": "lvm2"}
#: Types whose volumes libvirt finds at a place of its own.
_OWN_TARGET = {"logical": "/dev/{}", "zfs": "/dev/zvol/{}"}


def pool(data: bytes, uuid: str) -> Pool:
    """Read the document of a pool. Raises Refused."""
    root = read(data, "storage_pool_definition")
    if root.tag != "pool":
        raise Refused(f"XML error: unexpected root element <{root.tag}>, expecting <pool>")
    kind = root.get("type", "")
    row = next((one for one in tables().pool if one.type == kind and not one.removed), None)
    if row is None:
        raise Refused(f"XML error: Invalid value for attribute 'type' in element 'pool': '{kind}'.")
    name = text(root, "name") or (text(root, "source/name") if row.name == "source" else "")
    if not name:
        raise Refused("XML error: missing pool source name element")
    target = text(root, "target/path")
    if "source/initiator" in row.needs and root.find("source/initiator/iqn") is None:
        raise Refused("unsupported configuration: missing initiator IQN")
    for path in row.needs:
        absent = root.find(path) is None or (path.endswith("path") and not target)
        if path not in ("source", "target", "source/initiator") and absent:
            raise Refused(f"XML error: {_LACKS[path]}")
    source = root.find("source")
    if source is None:
        source = etree.SubElement(root, "source")
    if row.name == "source" and kind in _OWN_TARGET:
        if source.find("name") is None:
            etree.SubElement(source, "name").text = name
        target = _OWN_TARGET[kind].format(text(source, "name"))
    if kind in _FORMATS and source.find("format") is None:
        etree.SubElement(source, "format").set("type", _FORMATS[kind])
    return Pool(name, text(root, "uuid") or uuid, kind, etree.tostring(root, encoding="unicode"), target.rstrip("/") or target)


def source(pool: Pool) -> Any:
    """Return the source of a pool."""
    return etree.fromstring(pool.document).find("source")


def permissions(pool: Pool) -> tuple[int, int, int]:
    """Return mode, owner and group that the document of a pool gives to its directory; owner and group are -1 where it says nothing."""
    found = etree.fromstring(pool.document).find("target/permissions")
    mode, owner, group = ("" if found is None else text(found, name) for name in ("mode", "owner", "group"))
    return int(mode or "711", 8), int(owner or -1), int(group or -1)


def pool_xml(pool: Pool) -> str:
    """Return the document of a pool as pool-dumpxml prints it."""
    root = etree.fromstring(pool.document)
    sizes = (("capacity", pool.capacity), ("allocation", pool.allocation), ("available", pool.available))
    lines = [f"<pool type='{pool.type}'>", f"  <name>{pool.name}</name>", f"  <uuid>{pool.uuid}</uuid>"]
    lines += [f"  <{name} unit='bytes'>{size}</{name}>" for name, size in sizes]
    children = [written(child, 2).rstrip("\n") for child in root.iterfind("source/*")]
    lines += ["  <source>", *children, "  </source>"]
    if pool.target:
        lines += ["  <target>", f"    <path>{pool.target}</path>", *_permissions(pool.look, 4), "  </target>"]
    return "\n".join([*lines, "</pool>"]) + "\n"


def _permissions(look: dict[str, Any], indent: int) -> list[str]:
    if not look:
        return []
    rows = (
        "<permissions>",
        f"  <mode>0{look['mode']:o}</mode>",
        f"  <owner>{look['uid']}</owner>",
        f"  <group>{look['gid']}</group>",
        "</permissions>",
    )
    return [" " * indent + row for row in rows]


@dataclass(frozen=True)
class Wanted:
    """A volume that is to be made. `allocation` is -1 where the document has none; a mode, owner or group of -1 is left as it comes."""

    name: str
    capacity: int
    allocation: int
    format: str
    backing: str = ""
    backing_format: str = ""
    mode: int = -1
    owner: int = -1
    group: int = -1
    features: tuple[str, ...] = field(default_factory=tuple)


def volume(data: bytes, pool: Pool) -> Wanted:
    """Read the document of a volume. Raises Refused."""
    root = read(data, "storage_volume_definition")
    if root.tag != "volume":
        raise Refused(f"XML error: unexpected root element <{root.tag}>, expecting <volume>")
    name = text(root, "name")
    if not name:
        raise Refused("XML error: missing volume name element")
    capacity = _size(root, "capacity")
    if capacity is None and root.find("backingStore") is None:
        raise Refused("XML error: missing capacity element")
    allocation = _size(root, "allocation")
    format = root.find("target/format")
    backing_format = root.find("backingStore/format")
    chosen = "" if format is None else format.get("type", "")
    known = _formats(pool)
    if chosen and known and chosen not in known:
        raise Refused(f"unsupported configuration: unknown volume format type {chosen}")
    mode = text(root, "target/permissions/mode")
    return Wanted(
        name,
        capacity or 0,
        -1 if allocation is None else allocation,
        chosen or ("raw" if pool.type != "disk" else "none"),
        text(root, "backingStore/path"),
        "" if backing_format is None else backing_format.get("type", ""),
        int(mode, 8) if mode else -1,
        int(text(root, "target/permissions/owner") or -1),
        int(text(root, "target/permissions/group") or -1),
    )


def _formats(pool: Pool) -> frozenset[str]:
    row = next(one for one in tables().pool if one.type == pool.type)
    return tables().formats(row.volumes) if row.volumes else frozenset()


def _size(root: Any, name: str) -> int | None:
    node = root.find(name)
    if node is None:
        return None
    size = scaled(f"{(node.text or '').strip()}{node.get('unit', '')}")
    if size is None:
        raise Refused(f"XML error: malformed {name} element")
    return size


def volume_xml(volume: Volume, below: Volume | None) -> str:
    """Return the document of a volume as vol-dumpxml prints it; `below` is what is known of its backing file."""
    lines = [f"<volume type='{volume.kind}'>", f"  <name>{volume.name}</name>", f"  <key>{volume.key or volume.path}</key>"]
    sizes = (("capacity", volume.capacity), ("allocation", volume.allocation), ("physical", volume.physical))
    lines += [f"  <{name} unit='bytes'>{size}</{name}>" for name, size in sizes if name != "physical" or volume.kind != "network"]
    lines += ["  <target>", f"    <path>{volume.path}</path>", *_inside(volume.format, volume.look), "  </target>"]
    if below is not None:
        lines += ["  <backingStore>", f"    <path>{below.path}</path>", *_inside(below.format, below.look), "  </backingStore>"]
    return "\n".join([*lines, "</volume>"]) + "\n"


def _inside(format: str, look: dict[str, Any]) -> list[str]:
    lines = [*([f"    <format type='{format}'/>"] if format else []), *_permissions(look, 4)]
    if look:
        times = [f"      <{name}time>{ns // 10**9}.{ns % 10**9:09}</{name}time>" for name, ns in zip("amc", look["times"], strict=True)]
        lines += ["    <timestamps>", *times, "      <btime>0</btime>", "    </timestamps>"]
    return lines
