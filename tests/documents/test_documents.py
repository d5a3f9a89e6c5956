"""Documents of every contract are valid, hold any text that XML can hold, and refuse what oned could not write."""

from __future__ import annotations

import json

import pytest
from lxml import etree

from onesim import documents
from onesim.cloud import Cloud, MadConf
from onesim.errors import SpecError
from onesim.model import Datastore, Disk, History, Host, Image, Vm
from onesim.spec import for_contract, load
from onesim.validation import validate

CONTRACTS = [contract.name for contract in load().contracts]
TRICKY = [
    '/var/tmp/it\'s a $(touch /tmp/x) "file"; a&b é.raw',
    "<IMAGE>&amp;</IMAGE>",
    "]] >",
    "]]&gt;",
    "a\nb\tc",
    "\U0001f4be",
    " blanks ",
    "<!DOCTYPE a [<!ENTITY b 'c'>]>&b;",
]


def datastore(**template: str) -> Datastore:
    """Return an image datastore."""
    return Datastore(
        1,
        "images",
        "IMAGE_DS",
        "fs",
        "shared",
        "/var/lib/one//datastores/1",
        {"TYPE": "IMAGE_DS", **template},
        {0, 4, 7},
        100,
        90,
        10,
    )


def one_vm() -> tuple[Vm, Cloud]:
    """Return a VM with a disk of each kind and two history records, and its cloud."""
    disks = [
        Disk(
            0,
            "nonpersistent",
            "sda",
            20,
            10,
            0,
            "os",
            1,
            "images",
            "qcow2",
            "ssh",
            "/s/0",
            "qcow2",
            "",
            "SYSTEM",
            "NONE",
        ),
        Disk(1, "persistent", "sdb", 10, 10, 4, "data", 1, "images", "qcow2", "", "/s/4", "raw", "", "SYSTEM", "NONE"),
        Disk(2, "cdrom", "hdc", 10, 10, 7, "cd", 1, "images", "qcow2", "", "/s/7", "raw", "", "SYSTEM", "NONE"),
        Disk(3, "volatile", "sdd", 5, format="qcow2", fs="ext4"),
        Disk(4, "swap", "sde", 5, format="raw"),
    ]
    history = [History(0, 0, "host01", 0, "ssh", stime_s=1000), History(1, 1, "host02", 0, "ssh", stime_s=2000)]
    cloud = Cloud("frontend", hosts={0: Host(0, "host01"), 1: Host(1, "host02")}, tm_conf={"qcow2": MadConf(driver="qcow2")})
    vm = Vm(9, "vm", "RUNNING", disks, history, {"NETWORK": "YES"}, 5, "hda", deploy_id="one-9", stime_s=1000, tm_mad_system="ssh")
    cloud.vms[9] = vm
    return vm, cloud


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("state", ["LOCKED", "READY", "ERROR", "USED_PERS"])
def test_image_documents_are_valid(contract: str, state: str) -> None:
    """An image in any state gives a valid document in every contract; the table and the schema are written apart."""
    spec = for_contract(contract)
    image = Image(
        4,
        "image",
        "DATABLOCK",
        1,
        "/p",
        "/s",
        "raw",
        "ext4",
        10,
        state,
        persistent=True,
        vms={9},
        clones=[5, 6],
        error="it broke",
    )
    xml = documents.action_data(
        [
            documents.image_xml(image, datastore(), spec.version, spec),
            documents.datastore_xml(datastore(), spec.version),
        ]
    )
    assert validate("ds/rm", spec.version, xml.encode()) == []


@pytest.mark.parametrize("contract", CONTRACTS)
def test_other_documents_are_valid(contract: str) -> None:
    """stat, both monitors and VMs (with all kinds of disks, and without any) give valid documents in every contract."""
    spec = for_contract(contract)
    store = documents.datastore_xml(datastore(), spec.version)
    stat = documents.action_data([documents.image_path_xml("/p"), store])
    system = [
        store,
        documents.element("DATASTORE_LOCATION", "/var/lib/one//datastores"),
        documents.element("MONITOR_VM_DISKS", "0"),
    ]
    vm, cloud = one_vm()
    assert validate("ds/stat", spec.version, stat.encode()) == []
    assert validate("ds/monitor", spec.version, documents.action_data([store]).encode()) == []
    assert validate("tm/monitor", spec.version, documents.action_data(system).encode()) == []
    assert validate("VM", spec.version, documents.vm_xml(vm, cloud, spec).encode()) == []
    assert validate("VM", spec.version, documents.vm_xml(Vm(0, "new", "PENDING"), cloud, spec).encode()) == []


def test_image_elements_of_5_12() -> None:
    """An IMAGE of 5.12 has FSTYPE where later ones have FORMAT and FS, and nothing that came after it."""
    spec = for_contract("5.12")
    image = etree.fromstring(documents.image_xml(Image(0, "i", "OS", 1, format="qcow2"), datastore(), spec.version, spec))
    names = {child.tag for child in image}
    assert image.findtext("FSTYPE") == "qcow2"
    assert not names & {"FORMAT", "FS", "PREV_STATE", "MODTIME", "BACKUP_INCREMENTS", "BACKUP_DISK_IDS"}


@pytest.mark.parametrize("text", TRICKY)
def test_any_text_comes_back(text: str) -> None:
    """What a driver reads is what was put in, in CDATA, in escaped text and in a TEMPLATE."""
    spec = for_contract("7.4")
    image = Image(0, "i", "OS", 1, path=text, template={"NOTE": text})
    full = etree.fromstring(documents.image_xml(image, datastore(), spec.version, spec))
    assert (full.findtext("PATH"), full.findtext("TEMPLATE/NOTE")) == (text, text)
    assert etree.fromstring(documents.image_path_xml(text)).findtext("PATH") == text
    assert etree.fromstring(documents.element("DATASTORE_LOCATION", text)).text == text


def test_escapes_and_sections_are_those_of_oned() -> None:
    """PATH is one CDATA section in cp, and escaped with five entities in stat."""
    spec = for_contract("7.4")
    path = "/a&b<c>\"d\"'e'"
    assert f"<PATH><![CDATA[{path}]]></PATH>" in documents.image_xml(Image(0, "i", "OS", 1, path=path), datastore(), spec.version, spec)
    assert documents.image_path_xml(path) == "<IMAGE><PATH>/a&amp;b&lt;c&gt;&quot;d&quot;&apos;e&apos;</PATH></IMAGE>"


def test_end_of_section() -> None:
    """Text with ]]> cannot stand in a section of oned's, but escaped it can: stat works and cp is refused."""
    spec = for_contract("7.4")
    assert etree.fromstring(documents.image_path_xml("a]]>b")).findtext("PATH") == "a]]>b"
    with pytest.raises(SpecError, match="PATH"):
        documents.image_xml(Image(0, "i", "OS", 1, path="a]]>b"), datastore(), spec.version, spec)


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[1m", "\ud800", "\uffff"])
def test_unwritable_text_is_refused(text: str) -> None:
    """Text that would make a document unreadable is refused with the element named, and can be asked for beforehand."""
    spec = for_contract("7.4")
    assert documents.unwritable(text)
    with pytest.raises(SpecError, match="SOURCE"):
        documents.image_xml(Image(0, "i", "OS", 1, source=text), datastore(), spec.version, spec)
    with pytest.raises(SpecError, match="PATH"):
        documents.image_path_xml(text)


def test_wrong_words_are_refused() -> None:
    """A type, a tag or a state that no document can hold is refused by name."""
    spec = for_contract("7.4")
    with pytest.raises(SpecError, match="FLOPPY"):
        documents.image_xml(Image(0, "i", "FLOPPY", 1), datastore(), spec.version, spec)
    with pytest.raises(SpecError, match="POOL NAME"):
        documents.datastore_xml(datastore(**{"POOL NAME": "one"}), spec.version)
    with pytest.raises(SpecError, match="ASLEEP"):
        documents.image_xml(Image(0, "i", "OS", 1, state="ASLEEP"), datastore(), spec.version, spec)


def test_elements_are_never_twice() -> None:
    """A release has every element of a document once, for every kind of disk."""
    for version in ("5.4.0", "5.12.13", "6.0.0", "6.4.0", "6.6.1", "6.10.0", "7.0.1", "7.4.0"):
        for document in (
            "IMAGE",
            "STAT_IMAGE",
            "SNAPSHOTS",
            "DATASTORE",
            "VM",
            "VM_TEMPLATE",
            "HISTORY",
            "HOST",
            "CLUSTER",
        ):
            assert documents.elements(document, version)
        for kind in ("nonpersistent", "persistent", "cdrom", "volatile", "swap"):
            names = [row.name for row in documents.elements("DISK", version, kind)]
            assert names == sorted(names)


def test_new_image_is_left_out_of_its_datastore() -> None:
    """The datastore in the document of a new image does not list that image yet."""
    assert "<IMAGES><ID>0</ID><ID>7</ID></IMAGES>" in documents.datastore_xml(datastore(), "7.4.0", without=4)


def test_vm_disks() -> None:
    """DISK elements say what oned says about each kind of disk."""
    vm, cloud = one_vm()
    root = etree.fromstring(documents.vm_xml(vm, cloud, for_contract("7.4")))
    names = ("TYPE", "CLONE", "SAVE", "READONLY", "DRIVER", "FORMAT", "FS", "TM_MAD_SYSTEM")
    shown = [[disk.findtext(name) for name in names] for disk in root.iter("DISK")]
    assert shown == [
        ["FILE", "YES", "NO", "NO", "qcow2", "qcow2", None, "ssh"],
        ["FILE", "NO", "YES", "NO", "qcow2", "raw", None, None],
        ["CDROM", "NO", "NO", "YES", "qcow2", "raw", None, None],
        ["fs", None, None, None, "qcow2", "qcow2", "ext4", None],
        ["swap", None, None, None, "raw", "raw", None, None],
    ]
    assert [record.findtext("ETIME") for record in root.iter("HISTORY")] == ["2000", "0"]
    assert root.findtext("TEMPLATE/TM_MAD_SYSTEM") == "ssh"
    assert root.findtext("TEMPLATE/CONTEXT/DISK_ID") == "5"


def test_last_record_only() -> None:
    """Drivers get the last history record alone."""
    vm, cloud = one_vm()
    root = etree.fromstring(documents.vm_xml(vm, cloud, for_contract("7.4"), records="last"))
    assert [record.findtext("SEQ") for record in root.iter("HISTORY")] == ["1"]


def test_json_of_pools() -> None:
    """Repeated elements are lists, single ones are not; empty elements are {}, empty sections are empty text."""
    stores = [documents.datastore_xml(datastore(NOTE=""), "7.4.0") for _ in range(2)]
    pool = json.loads(documents.to_json(documents.pool_xml("datastore", stores)))["DATASTORE_POOL"]["DATASTORE"]
    assert [row["TEMPLATE"] for row in pool] == [{"NOTE": "", "TYPE": "IMAGE_DS"}] * 2
    assert pool[0]["IMAGES"] == {"ID": ["0", "4", "7"]} and pool[0]["CLUSTERS"] == {"ID": "0"}
    assert json.loads(documents.to_json(documents.pool_xml("datastore", stores[:1])))["DATASTORE_POOL"]["DATASTORE"]["NAME"] == "images"
    assert json.loads(documents.to_json(documents.pool_xml("vm", []))) == {"VM_POOL": {}}


def test_hosts_and_cluster() -> None:
    """A host lists the VMs that are on it, the cluster its hosts and datastores."""
    _, cloud = one_vm()
    cloud.datastores[1] = datastore()
    assert [etree.fromstring(documents.host_xml(host, cloud, "7.4.0")).findtext("VMS/ID") for host in cloud.hosts.values()] == [None, "9"]
    cluster = etree.fromstring(documents.cluster_xml(cloud))
    assert [id.text for id in cluster.iterfind("HOSTS/ID")] == ["0", "1"]
    assert cluster.findtext("DATASTORES/ID") == "1"
