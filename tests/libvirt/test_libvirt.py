"""Verification of libvirt's storage documents. What pools need, take and name is written here by hand from libvirt's pages, not read from the table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from lxml import etree

from onesim.data import data_dir
from onesim.errors import SpecError, TraceError
from onesim.libvirt import DOCUMENTS, parse_size, validate_libvirt
from onesim.libvirt_tables import Direction, load_tables, tables
from onesim.validation import MAX_PROBLEMS

UUID = "2ec115d7-3a88-3ceb-bc12-0ac909a6fd87"
PATH = "<target><path>/x</path></target>"
HOST, DEVICE = "<host name='h'/>", "<device path='/dev/sda'/>"
#: The smallest pool of each type, and what it may not lack.
MINIMAL: dict[str, tuple[str, tuple[str, ...]]] = {
    "dir": (f"<name>n</name>{PATH}", ("target/path",)),
    "fs": (f"<name>n</name><source>{DEVICE}</source>{PATH}", ("source/device", "target/path")),
    "netfs": (f"<name>n</name><source>{HOST}<dir path='/srv'/></source>{PATH}", ("source/host", "source/dir", "target/path")),
    "disk": (f"<name>n</name><source>{DEVICE}</source>{PATH}", ("source/device", "target/path")),
    "logical": ("<name>n</name><source/><target/>", ("source", "target")),
    "iscsi": (
        f"<name>n</name><source>{HOST}<device path='iqn.2013-06.com.example:p'/></source>{PATH}",
        ("source/host", "source/device", "target/path"),
    ),
    "iscsi-direct": (
        f"<name>n</name><source>{HOST}<device path='iqn.2013-06.com.example:p'/><initiator><iqn name='iqn.2013-06.com.example:i'/></initiator></source>",
        ("source/host", "source/device", "source/initiator"),
    ),
    "scsi": (f"<name>n</name><source><adapter name='host0'/></source>{PATH}", ("source/adapter", "target/path")),
    "mpath": (f"<name>n</name>{PATH}", ("target/path",)),
    "rbd": (f"<source><name>p</name>{HOST}</source>", ("source/name", "source/host")),
    "sheepdog": (f"<source><name>p</name>{HOST}</source>", ("source/name", "source/host")),
    "gluster": (f"<source><name>p</name>{HOST}</source>", ("source/name", "source/host")),
    "zfs": ("<source><name>p</name></source>", ("source/name",)),
    "vstorage": (f"<source><name>p</name></source>{PATH}", ("source/name", "target/path")),
}
FILES = "raw bochs cloop cow dmg iso qcow qcow2 vmdk vpc qed vdi vhd ploop fat dir"
SOURCE_FORMATS = {
    "fs": "auto ext2 ext3 ext4 ufs iso9660 udf gfs gfs2 vfat hfs+ xfs ocfs2 vmfs",
    "netfs": "auto nfs glusterfs cifs",
    "disk": "unknown dos dvh gpt mac bsd pc98 sun lvm2",
    "logical": "unknown lvm2",
}
VOLUME_FORMATS = {
    **dict.fromkeys(("dir", "fs", "netfs", "gluster", "vstorage"), FILES),
    "disk": "none linux fat16 fat32 linux-swap linux-lvm linux-raid extended",
    "rbd": "raw",
}
EVERY_FORMAT = sorted({one for text in (*SOURCE_FORMATS.values(), *VOLUME_FORMATS.values()) for one in text.split()} | {"luks", "ntfs"})


def told(xml: str, direction: Direction = "any", pool_type: str = "") -> str:
    """Return what is said about a document, one problem a line."""
    return "\n".join(str(one) for one in validate_libvirt(xml.encode(), direction=direction, pool_type=pool_type))


def test_examples_of_libvirts_pages(examples: list[dict[str, Any]]) -> None:
    """Every example validates in its direction; what the pages show and libvirt does not read is refused where it stands."""
    for row in examples:
        found = validate_libvirt(row["xml"].encode(), direction=row.get("direction", "input"), pool_type=row.get("pool", ""))
        if "wrong" in row:
            assert row["wrong"] in [one.path for one in found], row["name"]
            assert any("libvirt reads " in one.remedy for one in found), row["name"]
        else:
            assert [str(one) for one in found] == [], row["name"]


@pytest.mark.parametrize("kind", MINIMAL)
def test_the_smallest_pool_of_a_type(kind: str) -> None:
    """It validates as input; without any of what it needs the type, the path and the way out are named."""
    inner, needs = MINIMAL[kind]
    xml = f"<pool type='{kind}'>\n{inner}\n</pool>"
    assert told(xml, "input") == ""
    for path in needs:
        root = etree.fromstring(xml)
        node = root.find(path)
        assert node is not None
        parent = node.getparent()
        assert parent is not None
        parent.remove(node)
        found = validate_libvirt(etree.tostring(root))
        assert any(one.path == f"/pool/{path}" and f"a pool of type '{kind}' needs" in one.message for one in found), (path, found)
        assert all(one.line >= 1 and one.remedy for one in found)


def test_what_an_rbd_pool_needs_is_said_in_full() -> None:
    """The message tells all that the type needs, which of it is missing, where, and what to do."""
    assert told("<pool type='rbd'>\n<name>n</name>\n<source>\n<name>p</name></source></pool>") == (
        "line 3, /pool/source/host: a pool of type 'rbd' needs source/name and at least one source/host; source/host is missing; add it"
    )


@pytest.mark.parametrize("kind", MINIMAL)
def test_source_formats(kind: str) -> None:
    """A type takes the formats of its list and no other; a type without formats takes none."""
    inner = MINIMAL[kind][0]
    allowed = SOURCE_FORMATS.get(kind, "").split()
    for name in EVERY_FORMAT:
        format_ = f"<format type='{name}'/>"
        source = inner.replace("</source>", f"{format_}</source>").replace("<source/>", f"<source>{format_}</source>")
        source = source if "<source>" in source else f"{source}<source>{format_}</source>"
        text = told(f"<pool type='{kind}'>{source}</pool>")
        assert (not text) is (name in allowed), (name, text)
        assert not text or f"a pool of type '{kind}'" in text


@pytest.mark.parametrize("kind", MINIMAL)
def test_volume_formats(kind: str) -> None:
    """A volume has a format of the list of its pool's type and no other; `unknown` is for output."""
    allowed = VOLUME_FORMATS.get(kind, "").split()
    for name in EVERY_FORMAT:
        text = told(f"<volume><name>v</name><capacity>1</capacity><target><format type='{name}'/></target></volume>", "input", kind)
        assert (not text) is (name in allowed), (name, text)
        assert not text or f"a volume in a pool of type '{kind}' has no target/format" in text


DIRECTED = [
    ("pool", "capacity", f"<pool type='dir'><name>n</name><capacity>1</capacity>{PATH}</pool>", "output"),
    ("pool", "allocation", f"<pool type='dir'><name>n</name><allocation>1</allocation>{PATH}</pool>", "output"),
    ("pool", "available", f"<pool type='dir'><name>n</name><available>1</available>{PATH}</pool>", "output"),
    (
        "pool",
        "source/device/freeExtent",
        f"<pool type='disk'><name>n</name><source><device path='/d'><freeExtent start='1' end='2'/></device></source>{PATH}</pool>",
        "output",
    ),
    ("volume", "@type", "<volume type='file'><name>v</name><capacity>1</capacity></volume>", "output"),
    ("volume", "key", "<volume><name>v</name><key>k</key><capacity>1</capacity></volume>", "output"),
    ("volume", "physical", "<volume><name>v</name><physical>1</physical><capacity>1</capacity></volume>", "output"),
    ("volume", "source", "<volume><name>v</name><source/><capacity>1</capacity></volume>", "output"),
    ("volume", "target/timestamps", "<volume><name>v</name><capacity>1</capacity><target><timestamps/></target></volume>", "output"),
    (
        "volume",
        "target/nocow",
        "<volume><name>v</name><key/><allocation>1</allocation><capacity>1</capacity><target><nocow/></target></volume>",
        "input",
    ),
]


@pytest.mark.parametrize(("document", "path", "xml", "only"), DIRECTED, ids=[f"{row[0]} {row[1]}" for row in DIRECTED])
def test_input_and_output(document: str, path: str, xml: str, only: str) -> None:
    """What stands in one direction alone is refused in the other, and passes where the direction is not known."""
    other: Direction = "input" if only == "output" else "output"
    assert told(xml) == ""
    assert f"has {path} as {only} alone" in told(xml, other)
    assert f"has {path} as" not in told(xml, "output" if only == "output" else "input")


REQUIRED = [
    ("<volume><name>v</name><key>k</key><capacity>1</capacity></volume>", "output", "needs allocation as output"),
    ("<volume><name>v</name></volume>", "input", "needs capacity as input"),
    ("<volume><name>v</name><capacity>1</capacity></volume>", "output", "needs key as output"),
    ("<pool type='zfs'><source><name>p</name></source></pool>", "output", "needs uuid as output"),
    ("<secret/>", "output", "needs uuid as output"),
]


@pytest.mark.parametrize(("xml", "direction", "words"), REQUIRED, ids=[row[2] for row in REQUIRED])
def test_what_a_direction_needs(xml: str, direction: Direction, words: str) -> None:
    """What must stand in one direction is missed there and only there."""
    assert words in told(xml, direction)
    assert told(xml) == ""


#: What libvirt does with pools (b: build) and their volumes (c: create, l: clone, r: resize, d: delete, w: wipe, t: bytes by upload and download).
ABILITIES = {
    "dir": "bclrdwt",
    "fs": "bclrdwt",
    "netfs": "bclrdwt",
    "vstorage": "bclrdwt",
    "logical": "bcldwt",
    "disk": "bcldwt",
    "zfs": "bcdt",
    "rbd": "clrdw",
}
ABILITIES |= {"sheepdog": "crd", "gluster": "d", "iscsi": "wt", "iscsi-direct": "w", "scsi": "wt", "mpath": "wt"}
RELEASES = {"mpath": "0.7.1", "rbd": "0.9.13", "sheepdog": "0.10.0", "gluster": "1.2.0", "zfs": "1.2.8", "vstorage": "3.1.0", "iscsi-direct": "4.7.0"}


def test_what_libvirt_does_with_a_type() -> None:
    """Pools that only show what others made create nothing; the types have the releases of the page."""
    letters = {"build": "b", "create": "c", "clone": "l", "resize": "r", "delete": "d", "wipe": "w", "transfer": "t"}
    assert {row.type: "".join(letters[one] for one in row.can) for row in tables().pool} == ABILITIES
    assert {row.type: row.since for row in tables().pool} == dict.fromkeys(MINIMAL, "0.4.1") | RELEASES


def test_capacity_may_come_from_the_backing_store() -> None:
    """A volume on a backing store needs no capacity."""
    xml = "<volume><name>v</name><target><format type='qcow2'/></target><backingStore><path>/b</path></backingStore></volume>"
    assert told(xml, "input", "dir") == ""


SIZES = [
    ("B", 1),
    ("bytes", 1),
    ("KB", 10**3),
    ("K", 2**10),
    ("KiB", 2**10),
    ("MB", 10**6),
    ("M", 2**20),
    ("MiB", 2**20),
    ("GB", 10**9),
    ("G", 2**30),
]
SIZES += [
    ("GiB", 2**30),
    ("TB", 10**12),
    ("T", 2**40),
    ("TiB", 2**40),
    ("PB", 10**15),
    ("P", 2**50),
    ("PiB", 2**50),
    ("EB", 10**18),
    ("E", 2**60),
    ("EiB", 2**60),
]


@pytest.mark.parametrize(("unit", "factor"), SIZES)
def test_units(unit: str, factor: int) -> None:
    """Every unit of the page, in any case, as a size and in a document; a size without unit is in bytes."""
    for name in (unit, unit.lower(), unit.upper()):
        assert parse_size("3", name) == 3 * factor
        assert told(f"<volume><name>v</name><capacity unit='{name}'>3</capacity></volume>") == ""
    assert parse_size(" 42\n") == 42


@pytest.mark.parametrize(
    ("text", "unit"), [("-1", ""), ("1.5", "G"), ("", ""), ("1 G", ""), ("1", "Kb "), ("1", "kilo"), ("8", "E"), (str(2**63), ""), ("9" * 5000, "")]
)
def test_sizes_that_are_none(text: str, unit: str) -> None:
    """What is no size, has no such unit or is above 2^63-1 bytes is refused in one line, and by the document that holds it."""
    with pytest.raises(TraceError) as caught:
        parse_size(text, unit)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200 + len(text)
    assert told(f"<volume><name>v</name><capacity unit='{unit or 'B'}'>{text}</capacity></volume>")
    assert parse_size(str(2**63 - 1)) == 2**63 - 1


ADAPTED = f"<pool type='scsi'><name>n</name><source>%s</source>{PATH}</pool>"
WWN = "wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'"
MOUNTED = f"<pool type='netfs'><name>n</name><source>{HOST}%s</source>{PATH}</pool>"
VOLUME = "<volume><name>v</name><capacity>1</capacity><target>%s</target></volume>"
CEPH = f"<pool type='rbd'><source><name>p</name>{HOST}%s</source></pool>"
TARGETED = f"<pool type='iscsi'><name>n</name><source>{HOST}<device path='t'/>%s</source>{PATH}</pool>"
PASS, USED = "<secret type='passphrase'%s/>", " usage='u'"
BOUND = [
    (ADAPTED % "<adapter type='fc_host'/>", "'scsi', source/adapter with @type 'fc_host': @wwpn is missing"),
    (
        ADAPTED % f"<adapter type='fc_host' {WWN} parent_wwnn='20000000c9831b4c'/>",
        "needs all or none of @parent_wwnn, @parent_wwpn, and has @parent_wwnn",
    ),
    (ADAPTED % "<adapter type='scsi_host'/>", "needs exactly one of @name, parentaddr, and has none"),
    (ADAPTED % "<adapter/>", "'scsi', source/adapter with no @type: @name is missing"),
    (ADAPTED % "<adapter name='host0' parent='scsi_host1'/>", "@parent must not be there; these belong to type='fc_host'"),
    (MOUNTED % "<dir path='srv'/>", "'netfs' with no source/format/@type: source/dir/@path 'srv' is not an absolute path"),
    (MOUNTED % "<dir path='share'/><format type='cifs'/><protocol ver='3'/>", "with source/format/@type 'cifs': source/protocol must not be there"),
    (CEPH % f"<auth type='chap' username='u'><secret uuid='{UUID}'/></auth>", "a pool of type 'rbd': source/auth/@type must be ceph"),
    (CEPH % "<auth type='ceph' username='u'><secret/></auth>", "source/auth/secret: needs exactly one of @uuid, @usage, and has none"),
    (CEPH % f"<auth type='ceph' username='u'><secret uuid='{UUID}' usage='u'/></auth>", "exactly one of @uuid, @usage, and has @uuid, @usage"),
    (CEPH % f"<auth type='ceph' username='u'><secret type='iscsi' uuid='{UUID}'/></auth>", "secret/@type must be ceph"),
    (
        "<pool type='dir'><name>n</name><source><host name='h'/></source><target><path>/x</path></target></pool>",
        "a pool of type 'dir' takes no source/host",
    ),
    (f"<pool type='fs'><name>n</name><source>{DEVICE}{DEVICE}</source>{PATH}</pool>", "a pool of type 'fs' takes one source/device, not several"),
    (
        f"<pool type='netfs'><name>n</name><features><cow state='no'/></features><source>{HOST}<dir path='/s'/></source>{PATH}</pool>",
        "'netfs': features/cow must not be there",
    ),
    ("<pool type='logical'><source/><target/></pool>", "a pool of type 'logical' needs name or source/name"),
    (f"<pool type='mpath'>{PATH}</pool>", "a pool of type 'mpath' needs name"),
    ("<pool type='nfs'><name>n</name></pool>", "attribute 'type'"),
    (VOLUME % "<format type='raw'/><compat>1.1</compat>", "a volume, target: compat must not be there; these belong to format qcow2"),
    (
        VOLUME % "<format type='qcow2'/><compat>0.10</compat><features><lazy_refcounts/></features>",
        "features/lazy_refcounts must not be there; features need compat 1.1",
    ),
    (
        VOLUME % f"<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/><ivgen name='plain64'/></encryption>",
        "ivgen must not be there; say the cipher too",
    ),
    (
        VOLUME % f"<format type='vmdk'/><encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>",
        "format/@type must be raw or qcow2",
    ),
    ("<secret><usage type='ceph'><volume>/x</volume></usage></secret>", "a secret, usage with @type 'ceph': name is missing"),
    ("<secret><usage type='iscsi'><name>x</name></usage></secret>", "a secret, usage with @type 'iscsi': target is missing"),
    ("<secret private='true'/>", "attribute 'private'"),
    ("<secret><uuid>1</uuid></secret>", "Element 'uuid'"),
    (
        "<pool type='zfs'><source><name>p</name><device path='ada1'/></source></pool>",
        "'zfs': source/device/@path 'ada1' is not the path of a block device",
    ),
    (
        f"<pool type='iscsi'><name>n</name><source>{HOST}<device path='/dev/sda'/></source>{PATH}</pool>",
        "'/dev/sda' is not the name of an iSCSI target",
    ),
    (
        f"<pool type='iscsi'><name>n</name><source>{HOST}<device path='t'/><initiator><iqn name='i'/></initiator></source>{PATH}</pool>",
        "source/initiator/iqn/@name 'i' is not an iSCSI name",
    ),
    (
        f"<pool type='iscsi-direct'><name>n</name><source>{HOST}<device path='t'/><initiator><iqn name='i'/></initiator></source></pool>",
        "'iscsi-direct': source/device/@path 't' is not an iSCSI name",
    ),
    (
        f"<pool type='gluster'><source><name>p</name>{HOST}<dir path='sub'/></source></pool>",
        "'gluster': source/dir/@path 'sub' is not an absolute path",
    ),
    (TARGETED % f"<auth type='ceph' username='u'><secret uuid='{UUID}'/></auth>", "a pool of type 'iscsi': source/auth/@type must be chap"),
    (TARGETED % "<auth type='chap' username='u'><secret type='ceph' usage='u'/></auth>", "secret/@type must be iscsi"),
    (
        f"<pool type='dir'><name>n</name><target><path>/x</path><encryption format='luks'>{PASS % ''}</encryption></target></pool>",
        "target/encryption/secret: needs exactly",
    ),
    (
        f"<pool type='dir'><name>n</name><target><path>/x</path><encryption format='luks'>{PASS % USED}<ivgen name='p'/></encryption></target></pool>",
        "'dir', target/encryption with no cipher/@name: ivgen must not be there; say the cipher too",
    ),
    (
        VOLUME % f"<encryption format='luks'>{PASS % ''}</encryption>",
        "a volume, target/encryption/secret: needs exactly one of @uuid, @usage, and has none",
    ),
    (VOLUME % f"<encryption format='luks2'>{PASS % USED}<cipher name='aes' size='256'/></encryption>", "cipher must not be there; only luks"),
    ("<secret><usage type='volume'><name>x</name></usage></secret>", "a secret, usage with @type 'volume': volume is missing"),
]


@pytest.mark.parametrize(("xml", "words"), BOUND, ids=[row[1][-60:] for row in BOUND])
def test_what_elements_say_about_each_other(xml: str, words: str) -> None:
    """A document whose parts contradict each other is told which, in words that name the pool type."""
    assert words in told(xml)


BACKED = "<volume><name>v</name><target><format type='%s'/></target><backingStore><path>/b</path><format type='qcow2'/></backingStore></volume>"
INPUT_ONLY = [
    (VOLUME % "<encryption format='qcow'/>", "@format must be luks; since 4.5.0"),
    (VOLUME % "<encryption format='luks'/>", "secret is missing"),
    *((BACKED % name, f"backingStore/format/@type must be {name}") for name in ("cow", "qcow", "vmdk")),
    *(
        (BACKED % name, f"target/format/@type '{name}': backingStore must not be there")
        for name in ["raw", "bochs", "cloop", "dmg", "iso", "vpc", "vdi"]
    ),
]


@pytest.mark.parametrize(("xml", "words"), INPUT_ONLY, ids=[row[1] for row in INPUT_ONLY])
def test_what_cannot_be_created(xml: str, words: str) -> None:
    """What libvirt may show but does not create is refused as input alone."""
    assert words in told(xml, "input")
    assert told(xml) == ""


def test_a_volume_knows_its_pool() -> None:
    """Type and path of a volume must fit the type of its pool; a type of pool without a row is the caller's fault."""
    assert "in a pool of type 'logical' has a type of block, not 'file'" in told("<volume type='file'><name>v</name></volume>", pool_type="logical")
    assert "in a pool of type 'dir' has an absolute path, not 'v'" in told(VOLUME % "<path>v</path>", pool_type="dir")
    assert told(VOLUME % "<path>p/v</path>", pool_type="rbd") == ""
    with pytest.raises(SpecError, match="no row for a pool of type 'nfs'"):
        told(VOLUME % "", pool_type="nfs")


BOMB = b"<!DOCTYPE pool [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]><pool type='dir'>&b;</pool>"
HOSTILE = {
    "document type": BOMB,
    "entity of a file": b"<!DOCTYPE pool [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><pool type='dir'><name>&f;</name></pool>",
    "unknown entity": b"<pool type='dir'><name>&f;</name></pool>",
    "deep": b"<pool type='dir'>" * 50_000,
    "100 MB": b"<pool type='dir'><name>" + b"n" * 100_000_000 + b"</name></pool>",
    "many elements": b"<pool type='disk'><name>n</name><source>" + b"<device path='d'/>" * 50_000 + b"</source></pool>",
    "many wrong ones": b"<pool type='rbd'><source>" + b"<host name='x' port='0'/>" * 40_000 + b"</source></pool>",
    "as many wrong ones as may be": b"<pool type='rbd'><source>" + b"<host name='x' port='0'/>" * 9_990 + b"</source></pool>",
    "many attributes": b"<pool " + b" ".join(b"a%d=''" % number for number in range(80_000)) + b"/>",
    "long value": b"<pool type='dir'><name>" + b"/" * 1_000_000 + b"</name></pool>",
    "long names": b"<pool type='dir'><" + b"n" * 40_000 + b"/></pool>",
    "long type": b"<volume type='" + b"n" * 1_000_000 + b"'/>",
    "many children": b"<volume>" + b"<a/>" * 200_000 + b"</volume>",
    "other root": b"<domain/>",
    "other namespace": b"<pool xmlns='http://example.com' type='dir'/>",
    "not UTF-8": b"<pool type='dir'><name>\xff</name></pool>",
    "empty": b"",
    "not closed": b"<pool>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents(name: str) -> None:
    """Whatever comes ends within a second in a few problems that tell a line and a remedy."""
    begin = time.process_time()
    found = validate_libvirt(HOSTILE[name], direction="input")
    assert time.process_time() - begin < 1
    assert 1 <= len(found) <= MAX_PROBLEMS
    assert all(one.line >= 1 and one.message and one.remedy and len(str(one)) < 1000 for one in found)


def test_threads_do_not_mix_their_problems() -> None:
    """Documents judged at the same time get their own problems."""
    jobs = [f"<pool type='{kind}'/>" for kind in MINIMAL] * 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(told, jobs)) == [told(xml) for xml in jobs]


def _paths(component: Any, path: str) -> Iterator[str]:
    yield path
    yield from (f"{path}/@{name}" for name in component.attributes)
    if component.type.has_complex_content():
        for child in component.type.content.iter_elements():
            prefix = next((key for key, uri in tables().namespaces.items() if child.name.startswith(f"{{{uri}}}")), "")
            yield from _paths(child, f"{path}/{prefix}{':' if prefix else ''}{child.local_name}")


def test_the_table_has_a_row_for_every_element_of_the_schemas() -> None:
    """Elements and attributes of the XSD files are those of the table, one for one; the normative reader of XSD takes the files too."""
    schemas = {name: xmlschema.XMLSchema10(str(data_dir("schemas") / "libvirt" / f"{name}.xsd")) for name in DOCUMENTS}
    in_schemas = {path for name, schema in schemas.items() for path in _paths(schema.elements[name], name)}
    assert in_schemas == {path for row in tables().element for path in row.paths}
    assert set(schemas["pool"].types["PoolType"].enumeration) == {row.type for row in tables().pool} == set(MINIMAL)
    assert set(schemas["volume"].types["VolumeType"].enumeration) == {one for row in tables().pool for one in row.volume}


CONTRADICTIONS = [
    ('[[pool]]\ntype = "fs"', '[[pool]]\ntype = "dir"', "pool dir: it has two rows"),
    ('takes = ["source"]', 'takes = ["source", "target/path"]', "pool 9 (mpath): target/path is both needed and taken"),
    ('takes = ["source"]', 'takes = ["sauce"]', "pool 9 (mpath): no element pool/sauce"),
    (
        'several = ["source/host"]\nvolumes = "image"',
        'several = ["source/dir"]\nvolumes = "image"',
        "pool 10 (rbd): several source/dir, which it does not take",
    ),
    ('formats = "volume group"', 'formats = "volume groups"', "pool 4 (logical): no format list 'volume groups'"),
    ('formats = "volume group"\n', "", "pool 4 (logical): formats and source/format must come together"),
    ('can = ["build", "create", "delete", "transfer"]', 'can = ["clone"]', "pool 13 (zfs): it clones or resizes volumes but creates none"),
    ('removed = "8.8.0"', 'removed = "0.9.0"', "pool 11 (sheepdog): removed in 0.9.0, not after 0.10.0"),
    ('name = "source"\nneeds = ["source/name"]', 'name = "source"\nneeds = ["source/dir"]', "pool 13 (zfs): named by a source/name"),
    ('source = ["format", "drivers", "parser", "backend"]', 'source = ["hearsay"]', "pool 10 (rbd): no source 'hearsay'"),
    ('names = ["KB"]', 'names = ["kib"]', "unit kib: it has two rows"),
    ("factor = 1_000\n", "factor = 0\n", "unit 2 (KB): factor 0"),
    ('names = ["none"]', 'names = ["linux"]', "format linux of list 'partition': it has two rows"),
    (
        'list = "image"\nnames = ["unknown"]',
        'list = "image"\nnames = ["unknown"]\ndefault = true',
        "format list 'image': several defaults: raw, unknown",
    ),
    ('paths = ["volume/physical"]', 'paths = ["volume/key"]', "element volume/key: it has two rows"),
    ('paths = ["pool/name"]', 'paths = ["pool/names/name"]', "pool/names/name stands within an element that has no row"),
    (
        'direction = "output"\nrequired = ["output"]\nmeaning = "names',
        'direction = "output"\nrequired = ["input"]\nmeaning = "names',
        "required as input, but",
    ),
    ('unless = "volume/backingStore/path"', 'unless = "volume/base"', "unless: no element volume/base"),
    ('grammar = { "source/device/@path" = "device" }', 'grammar = { "source/device/@path" = "disk" }', "rule 1 (pool): no grammar 'disk'"),
    ('refuses = ["features/cow"]\n', "", "(pool): it asks for nothing"),
    ('refuses = ["features/cow"]', 'refuses = ["features/cows"]', "(pool): no element pool/features/cows"),
    ('one_of = ["@name", "parentaddr"]', 'one_of = ["@name"]', "(pool/source/adapter): one_of and together want two paths or more"),
    ("pattern = '/.+'", "pattern = '('", "grammar device: "),
    ('new = "pool/source/dir"', 'new = "pool/source/folder"', "history 1 (pool/source/directory): no element pool/source/folder"),
    ("accepted = true\n", "", "an accepted form has an element row, a refused one has none"),
    ('[[unit]]\nnames = ["KB"]', '[[unit]]\nsymbols = ["KB"]', "unknown field `symbols`"),
    ('can = ["wipe"]', 'can = ["fly"]', "Invalid enum value 'fly'"),
    ("[sources]", "[sources", "correct the table"),
]


@pytest.mark.parametrize(("old", "new", "words"), CONTRADICTIONS, ids=[row[2][:70] for row in CONTRADICTIONS])
def test_tables_that_contradict_themselves(tmp_path: Path, old: str, new: str, words: str) -> None:
    """A table with one wrong cell is refused in one line that names file and row."""
    text = (data_dir("spec") / "libvirt.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "libvirt.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_tables(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(SpecError, match=r"none\.toml"):
        load_tables(tmp_path / "none.toml")
