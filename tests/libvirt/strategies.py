"""Pool and volume documents made from the tables: valid ones in any order, with a trait on demand, and broken in exactly one named place.

The values and the breaks stand here, not in the tables, so that a wrong row shows as a disagreement with libvirt's own schemas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from lxml import etree

from onesim.libvirt_tables import Pool, tables

#: Types of pools that have a feature.
ON_BTRFS = ("dir", "fs")
POOLS = {row.type: row for row in tables().pool}
FS, RBD = tables().namespaces["fs"], tables().namespaces["rbd"]
UUID = "2ec115d7-3a88-3ceb-bc12-0ac909a6fd87"
PERMISSIONS = "<permissions><mode>0744</mode><owner>107</owner><group>-1</group><label>virt_image_t</label></permissions>"
TIMES = "<timestamps><atime>1341933637.273190990</atime><mtime>1341930622</mtime></timestamps>"
SECRET = f"<secret type='passphrase' uuid='{UUID}'/>"
LUKS = f"<encryption format='luks'>{SECRET}</encryption>"
IQN = "iqn.2013-06.com.example:iscsi-pool"

_hosts = st.sampled_from(["<host name='s.example.com'/>", "<host name='10.0.0.1' port='3260'/>", "<host name='fe80::1' port='65535'/>"])
_blocks = st.sampled_from(["<device path='/dev/sda'/>", "<device path='/dev/mapper/mpatha' part_separator='yes'/>"])
_extents = st.just("<device path='/dev/sdb'><freeExtent start='0' end='18446744073709551615'/><freeExtent start='5' end='9'/></device>")
ADAPTERS = [
    "<adapter name='host0'/>",
    "<adapter type='scsi_host' name='scsi_host1'/>",
    "<adapter type='scsi_host'><parentaddr unique_id='1'><address domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/></parentaddr></adapter>",
    "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b' managed='yes' parent='scsi_host5'/>",
    "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b' parent_wwnn='0x20000000c9831b4c' parent_wwpn='10000000c9831b4c'/>",
    "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b' parent_fabric_wwn='20000000c9831b4d'/>",
]
#: What stands at a path of a pool, by the type of the pool; "" for all other types.
PARTS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "features": {"": st.just("<features/>"), **dict.fromkeys(ON_BTRFS, st.sampled_from(["<features><cow state='no'/></features>", "<features/>"]))},
    "refresh": {"": st.sampled_from(["<refresh><volume allocation='capacity'/></refresh>", "<refresh/>"])},
    "fs:mount_opts": {"": st.just(f"<f:mount_opts xmlns:f='{FS}'><f:option name='sync'/></f:mount_opts>")},
    "rbd:config_opts": {"": st.just(f"<r:config_opts xmlns:r='{RBD}'><r:option name='a' value='1'/></r:config_opts>")},
    "source/host": {"": _hosts},
    "source/device": {
        "": _blocks | _extents,
        "iscsi": st.sampled_from([f"<device path='{IQN}'/>", "<device path='demo-target'/>"]),
        "iscsi-direct": st.just(f"<device path='{IQN}'/>"),
    },
    # libvirt's schema has no directory in the source of a dir pool (a trait)
    "source/dir": {"": st.just("<dir path='/srv/x'/>"), "dir": st.just("")},
    "source/adapter": {"": st.sampled_from(ADAPTERS)},
    "source/initiator": {"": st.just(f"<initiator><iqn name='{IQN}'/></initiator>")},
    "source/auth": {
        "": st.sampled_from(
            [
                f"<auth type='chap' username='me'><secret uuid='{UUID}'/></auth>",
                "<auth type='chap' username='me'><secret usage='x'/></auth>",
            ]
        ),
        "rbd": st.just(f"<auth username='admin' type='ceph'><secret uuid='{UUID.replace('-', '')}'/></auth>"),
    },
    "source/name": {"": st.sampled_from(["<name>volgroup</name>", "<name>a/b c</name>"])},
    "source/protocol": {"": st.just("<protocol ver='3'/>")},
    "source/vendor": {"": st.just("<vendor name='Acme'/>")},
    "source/product": {"": st.just("<product name='model'/>")},
    "target/path": {"": st.sampled_from(["<path>/var/lib/x</path>", "<path>/dev/disk/by-path</path>"])},
}


def _part(path: str, row: Pool) -> st.SearchStrategy[str]:
    if path == "source/format":
        return st.sampled_from(sorted(tables().formats(row.formats) - {"cifs", "glusterfs"})).map(lambda name: f"<format type='{name}'/>")
    return PARTS[path].get(row.type, PARTS[path].get("", st.nothing()))


@st.composite
def _size(draw: st.DrawFn, name: str) -> str:
    unit = draw(st.sampled_from(["", *(f" unit='{one}'" for row in tables().unit for one in row.names), " unit='kIb'"]))
    return f"<{name}{unit}>{draw(st.integers(0, 7))}</{name}>"


def _tag(name: str, parts: list[str], draw: st.DrawFn) -> str:
    return f"<{name}>{''.join(draw(st.permutations(parts)))}</{name}>"


@st.composite
def pools(draw: st.DrawFn, kind: str, *, full: bool = False, adapter: str = "") -> bytes:
    """A valid pool of a type, its children in any order. `full` = with everything that the type takes, once; `adapter` = with this adapter."""
    row = POOLS[kind]
    paths = [path for path in row.needs if path in PARTS or path == "source/format"]
    paths += [path for path in row.takes if (path in PARTS or path == "source/format") and (full or draw(st.booleans()))]
    inner: dict[str, list[str]] = {"source": [], "target": [], "": []}
    for path in paths:
        # libvirt's schema knows one device for zfs (a trait)
        times = draw(st.integers(1, 3)) if path in row.several and kind != "zfs" and not full else 1
        inner[path.rpartition("/")[0]] += [adapter if adapter and path == "source/adapter" else draw(_part(path, row)) for _ in range(times)]
    top = inner[""]
    if (full and kind in ON_BTRFS) or (not full and draw(st.booleans())):
        top.append(draw(_part("features", row)))
    named = row.name == "own" or full or not any(part.startswith("<name") for part in inner["source"]) or draw(st.booleans())
    top += ["<name>virtimages</name>"] if named else []
    top += [f"<uuid>{UUID}</uuid>"] if full or draw(st.booleans()) else []
    top += [draw(_size(name)) for name in ("allocation", "capacity", "available") if full or draw(st.booleans())]
    if inner["source"] or "source" in row.needs or ("source" in row.takes and draw(st.booleans())):
        top.append(_tag("source", inner["source"], draw))
    if inner["target"] or "target" in row.needs:
        top.append(_tag("target", [*inner["target"], *([PERMISSIONS] if full or draw(st.booleans()) else [])], draw))
    return f"<pool type='{kind}'>{''.join(draw(st.permutations(top)))}</pool>".encode()


@st.composite
def volumes(draw: st.DrawFn, kind: str, *, full: bool = False) -> bytes:
    """A valid volume of a pool of a type, as input or output; `full` = a qcow2 file with everything."""
    row = POOLS[kind]
    maybe: Callable[[list[str]], list[str]] = lambda parts: parts if full or draw(st.booleans()) else []  # noqa: E731
    formats = sorted(tables().formats(row.volumes)) if row.volumes else []
    name = "qcow2" if full else draw(st.sampled_from(["", *formats]))
    target = [f"<format type='{name}'/>"] if name else []
    path = "/var/lib/x/v.img" if "network" not in row.volume else draw(st.sampled_from(["rbd/v", "rbd:rbd/v", "/x"]))
    target += maybe([f"<path>{path}</path>"]) + maybe([PERMISSIONS]) + maybe([TIMES]) + maybe(["<nocow/>"])
    if name in ("qcow2", "raw"):
        target += maybe([LUKS])
    if name == "qcow2":
        target += maybe(["<compat>1.1</compat>"]) + maybe([draw(_size("clusterSize"))])
        target += maybe(["<features><lazy_refcounts/><extended_l2/></features>"])
    backing = f"<path>/var/lib/x/b.img</path>{f'<format type={name!r}/>' if name else ''}{PERMISSIONS}{TIMES}"
    top = ["<name>v.img</name>", _tag("target", target, draw)]
    top += maybe(["<key>k</key>"]) + maybe([draw(_size("capacity"))]) + maybe([draw(_size("allocation"))]) + maybe([draw(_size("physical"))])
    top += maybe(["<source><device path='/dev/sda1'><extent start='1' end='2'/></device></source>"])
    top += maybe([f"<backingStore>{backing}</backingStore>"])
    type_ = f" type='{draw(st.sampled_from(sorted(set(row.volume) - {'ploop'})))}'" if full or draw(st.booleans()) else ""
    return f"<volume{type_}>{''.join(draw(st.permutations(top)))}</volume>".encode()


@dataclass(frozen=True)
class Change:
    """One change of a document: at `path` (from the root) an attribute (`@x`), the text, or a child is set, added or dropped (`value` None)."""

    name: str
    path: str
    what: str
    value: str | None = None
    types: tuple[str, ...] = ()

    def apply(self, xml: bytes) -> bytes | None:
        """Return the changed document; None where the path is not there or nothing would change."""
        root = etree.fromstring(xml)
        node = root.find(self.path, tables().namespaces) if self.path else root
        if node is None or (self.types and root.get("type") not in self.types):
            return None
        before = etree.tostring(root)
        if self.what.startswith("@"):
            if self.value is None:
                node.attrib.pop(self.what[1:], None)
            else:
                node.set(self.what[1:], self.value)
        elif self.what == "text":
            node.text = self.value
        elif self.what == "drop":
            parent = node.getparent()
            assert parent is not None
            parent.remove(node)
        else:
            node.append(etree.fromstring(self.value or ""))
        after = etree.tostring(root)
        return after if after != before else None


_ORDER = (
    *("name", "key", "uuid", "capacity", "allocation", "available", "physical", "features", "host", "dir", "device", "adapter", "initiator"),
    *("format", "auth", "protocol", "vendor", "product", "source", "target", "refresh"),
)


def in_order(xml: bytes) -> bytes:
    """Return the document with the children of the root and of its source in one order.

    The schemas let them stand in any order, but libxml2 refuses some orders of them where a schema has alternatives that interleave.
    """
    root = etree.fromstring(xml)
    for node in (root, *root.findall("source")):
        node[:] = sorted(node, key=lambda child: _ORDER.index(child.tag) if child.tag in _ORDER else len(_ORDER))
    return etree.tostring(root)
