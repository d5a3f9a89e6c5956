"""Verification: recorded documents pass, those broken in one place are refused there, hostile ones end in a problem."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lxml import etree

from onesim import schemas
from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.explaining import form
from onesim.rows import Contract
from onesim.spec import for_contract, load
from onesim.validation import MAX_BYTES, MAX_PROBLEMS, Problem, kinds, parse, recognise, validate, validate_or_raise

Sample = Callable[[str], str]

RECORDED = [
    ("oned-7.4.0-cp", "ds/cp", "7.4.0"),
    ("oned-7.4.0-mkfs", "ds/mkfs", "7.4.0"),
    ("oned-7.4.0-clone", "ds/clone", "7.4.0"),
    ("oned-7.4.0-rm", "ds/rm", "7.4.0"),
    ("oned-7.4.0-rm-snapshots", "ds/rm", "7.4.0"),
    ("oned-7.4.0-stat", "ds/stat", "7.4.0"),
    ("oned-7.4.0-stat-with-size", "ds/stat", "7.4.0"),
    ("oned-7.4.0-monitor", "ds/monitor", "7.4.0"),
    ("oned-7.4.0-monitor-system", "tm/monitor", "7.4.0"),
    ("oned-7.4.0-premigrate", "VM", "7.4.0"),
    ("oned-6.4.0-cp", "ds/cp", "6.4.0"),
    ("oned-6.4.0-clone", "ds/clone", "6.4.0"),
    ("oned-6.4.0-stat", "ds/stat", "6.4.0"),
    ("oned-6.4.0-monitor", "ds/monitor", "6.4.0"),
    ("oned-6.4.0-postmigrate", "VM", "6.4.0"),
    ("oned-7.4.0-snap_flatten", "ds/snap_flatten", "7.4.0"),
    ("oned-7.4.0-increment_flatten", "ds/increment_flatten", "7.4.0"),
    ("oned-7.4.0-restore", "ds/restore", "7.4.0"),
    ("oned-7.4.0-backup", "ds/backup", "7.4.0"),
    ("oned-7.4.0-prebackup_live", "tm/prebackup_live", "7.4.0"),
    ("oned-7.4.0-export", "ds/export", "7.4.0"),
    ("oned-7.4.0-attach_disk", "VMM_DRIVER_ACTION_DATA", "7.4.0"),
    ("oned-7.4.0-market-import", "MARKET_DRIVER_ACTION_DATA", "7.4.0"),
    ("oned-7.0.1-cp", "ds/cp", "7.0.1"),
    ("oned-7.0.1-backup_cancel", "ds/backup_cancel", "7.0.1"),
    ("oned-6.4.0-snap_delete", "ds/snap_delete", "6.4.0"),
    ("oned-6.4.0-save", "VMM_DRIVER_ACTION_DATA", "6.4.0"),
]
#: Documents that their content alone cannot tell from those of another action.
ALIKE = {"ds/export": "ds/rm", "ds/snap_flatten": "ds/snap_delete", "tm/prebackup_live": "VM", "ds/backup_cancel": "VM"}
KINDS = {name: (kind, version) for name, kind, version in RECORDED}

ROOT = "/DS_DRIVER_ACTION_DATA"
LOCATION = "<DATASTORE_LOCATION>/srv/one/var//datastores</DATASTORE_LOCATION>"
#: sample, what to replace (first place), by what, path of the element that must be named
BROKEN = [
    ("oned-7.4.0-cp", "<STATE>4</STATE>", "<STATE>11</STATE>", f"{ROOT}/IMAGE/STATE"),
    ("oned-7.4.0-cp", "<STATE>4</STATE>", "<STATE>LOCKED</STATE>", f"{ROOT}/IMAGE/STATE"),
    ("oned-7.4.0-cp", "<PERSISTENT>0", "<PERSISTENT>NO", f"{ROOT}/IMAGE/PERSISTENT"),
    ("oned-7.4.0-cp", "<TYPE>0", "<TYPE>8", f"{ROOT}/IMAGE/TYPE"),
    ("oned-7.4.0-cp", "<DISK_TYPE>0", "<DISK_TYPE>11", f"{ROOT}/IMAGE/DISK_TYPE"),
    ("oned-7.4.0-cp", "<SIZE>10", "<SIZE>-10", f"{ROOT}/IMAGE/SIZE"),
    ("oned-7.4.0-cp", "<SIZE>10", "<SIZE>10M", f"{ROOT}/IMAGE/SIZE"),
    ("oned-7.4.0-cp", "<OWNER_U>1", "<OWNER_U>2", f"{ROOT}/IMAGE/PERMISSIONS/OWNER_U"),
    ("oned-7.4.0-cp", "<NAME>A-os", "<NAME>A/os", f"{ROOT}/IMAGE/NAME"),
    ("oned-7.4.0-cp", "<CLONING_ID>-1", "<CLONING_ID>-2", f"{ROOT}/IMAGE/CLONING_ID"),
    ("oned-7.4.0-cp", "<MODTIME>1795238824</MODTIME>", "", f"{ROOT}/IMAGE/SOURCE"),
    ("oned-7.4.0-cp", "<FORMAT><![CDATA[]]></FORMAT><FS><![CDATA[]]></FS>", "<FSTYPE/>", f"{ROOT}/IMAGE/FSTYPE"),
    ("oned-7.4.0-cp", "<VMS></VMS>", "<VMS><ID>x</ID></VMS>", f"{ROOT}/IMAGE/VMS/ID"),
    (
        "oned-7.4.0-cp",
        "<NEXT_SNAPSHOT><![CDATA[0",
        "<NEXT_SNAPSHOT><![CDATA[-1",
        f"{ROOT}/IMAGE/SNAPSHOTS/NEXT_SNAPSHOT",
    ),
    ("oned-7.4.0-cp", "<BACKUP_DISK_IDS></BACKUP_DISK_IDS>", "", f"{ROOT}/IMAGE"),
    ("oned-7.4.0-cp", "<IMAGE>", "<IMAGE version='1'>", f"{ROOT}/IMAGE"),
    ("oned-7.4.0-cp", "<IMAGE>", "<IMAGE>text", f"{ROOT}/IMAGE"),
    (
        "oned-7.4.0-cp",
        "</DATASTORE></DS",
        "</DATASTORE><SOURCE_BRIDGE_LIST>a</SOURCE_BRIDGE_LIST></DS",
        f"{ROOT}/SOURCE_BRIDGE_LIST",
    ),
    ("oned-7.4.0-mkfs", "</DATASTORE></DS", "</DATASTORE><MARKETPLACE/></DS", f"{ROOT}/MARKETPLACE"),
    ("oned-7.4.0-clone", "</DATASTORE></DS", f"</DATASTORE>{LOCATION}</DS", f"{ROOT}/DATASTORE_LOCATION"),
    (
        "oned-7.4.0-rm-snapshots",
        "<PARENT><![CDATA[-1",
        "<PARENT><![CDATA[none",
        f"{ROOT}/IMAGE/SNAPSHOTS/SNAPSHOT[1]/PARENT",
    ),
    ("oned-7.4.0-stat", "<PATH>", "<ID>0</ID><PATH>", f"{ROOT}/IMAGE/ID"),
    ("oned-7.4.0-stat", "<PATH>/srv/oracle/rec/dummy.img</PATH>", "", f"{ROOT}/IMAGE"),
    ("oned-7.4.0-stat-with-size", "<SIZE>", "<SIZE>big", f"{ROOT}/IMAGE/SIZE"),
    ("oned-7.4.0-monitor", "</DATASTORE></DS", f"</DATASTORE>{LOCATION}</DS", f"{ROOT}/DATASTORE_LOCATION"),
    ("oned-7.4.0-monitor", "<TYPE>0", "<TYPE>4", f"{ROOT}/DATASTORE/TYPE"),
    ("oned-7.4.0-monitor", "<FREE_MB>0", "<FREE_MB>-1", f"{ROOT}/DATASTORE/FREE_MB"),
    (
        "oned-7.4.0-monitor",
        "<CLUSTERS><ID>0</ID></CLUSTERS>",
        "<CLUSTER_ID>-1</CLUSTER_ID>",
        f"{ROOT}/DATASTORE/CLUSTER_ID",
    ),
    ("oned-7.4.0-monitor-system", "<MONITOR_VM_DISKS>1", "<MONITOR_VM_DISKS>10", f"{ROOT}/MONITOR_VM_DISKS"),
    ("oned-7.4.0-monitor-system", LOCATION, "", f"{ROOT}/MONITOR_VM_DISKS"),
    ("oned-7.4.0-premigrate", "<STATE>3", "<STATE>7", "/VM/STATE"),
    (
        "oned-7.4.0-premigrate",
        "<DISK_ID><![CDATA[2]]></DISK_ID>",
        "<DISK_ID><![CDATA[1]]></DISK_ID>",
        "/VM/TEMPLATE/DISK[3]",
    ),
    ("oned-7.4.0-premigrate", "<DISK_ID><![CDATA[2]]></DISK_ID>", "", "/VM/TEMPLATE/DISK[3]"),
    ("oned-7.4.0-premigrate", "<CLONE><![CDATA[YES", "<CLONE><![CDATA[1", "/VM/TEMPLATE/DISK[1]/CLONE"),
    ("oned-7.4.0-premigrate", "<LN_TARGET><![CDATA[NONE", "<LN_TARGET><![CDATA[FILE", "/VM/TEMPLATE/DISK[1]/LN_TARGET"),
    ("oned-7.4.0-premigrate", "<HOSTNAME>host02", "<HOSTNAME>", "/VM/HISTORY_RECORDS/HISTORY/HOSTNAME"),
    ("oned-7.4.0-premigrate", "<PLAN_ID>-2</PLAN_ID>", "", "/VM/HISTORY_RECORDS/HISTORY/ACTION_ID"),
    ("oned-6.4.0-cp", "<SOURCE>", "<MODTIME>1</MODTIME><SOURCE>", f"{ROOT}/IMAGE/MODTIME"),
    ("oned-6.4.0-clone", "</DATASTORE></DS", "</DATASTORE><SOURCE_BRIDGE_LIST/></DS", f"{ROOT}/SOURCE_BRIDGE_LIST"),
    ("oned-6.4.0-postmigrate", "<TEMPLATE>", "<SCHED_ACTIONS/><TEMPLATE>", "/VM/SCHED_ACTIONS"),
    ("oned-7.4.0-premigrate", "<LCM_STATE>4", "<LCM_STATE>72", "/VM/LCM_STATE"),
    ("oned-6.4.0-postmigrate", "<LCM_STATE>4", "<LCM_STATE>69", "/VM/LCM_STATE"),
    ("oned-6.4.0-cp", "<TYPE>1", "<TYPE>6", f"{ROOT}/IMAGE/TYPE"),
    ("oned-7.0.1-cp", "<TYPE>0", "<TYPE>7", f"{ROOT}/IMAGE/TYPE"),
    ("oned-6.4.0-monitor", "<TYPE>0", "<TYPE>3", f"{ROOT}/DATASTORE/TYPE"),
    ("oned-6.4.0-stat", "</PATH>", "</PATH><SIZE/>", f"{ROOT}/IMAGE/SIZE"),
    ("oned-7.4.0-snap_flatten", "<TARGET_SNAPSHOT>1", "<TARGET_SNAPSHOT>-1", f"{ROOT}/IMAGE/TARGET_SNAPSHOT"),
    ("oned-7.4.0-restore", "<DESTINATION_DS_ID>100</DESTINATION_DS_ID>", "", f"{ROOT}/TEMPLATE"),
    ("oned-7.4.0-increment_flatten", "<KEEP_LAST>2", "<KEEP_LAST>all", f"{ROOT}/EXTRA_DATA/KEEP_LAST"),
    ("oned-7.4.0-increment_flatten", "<![CDATA[FULL]]>", "PART", f"{ROOT}/IMAGE/BACKUP_INCREMENTS/INCREMENT[1]/TYPE"),
    ("oned-7.4.0-backup", "<BACKUPS>", "<BACKUP>0</BACKUP><BACKUPS>", f"{ROOT}/VM/BACKUP"),
    ("oned-7.4.0-attach_disk", "<MIGR_HOST/>", "", "/VMM_DRIVER_ACTION_DATA/DEPLOY_ID"),
    ("oned-6.4.0-save", "<VM>", "<VIRTUAL_NETWORK_ID>0</VIRTUAL_NETWORK_ID><VM>", "/VMM_DRIVER_ACTION_DATA/VIRTUAL_NETWORK_ID"),
]


def broken(sample: Sample, name: str, old: str, new: str) -> bytes:
    """Return the sample broken in one place."""
    text = sample(name)
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(("name", "kind", "version"), RECORDED)
def test_recorded_documents_are_valid(sample: Sample, name: str, kind: str, version: str) -> None:
    """What the real oned wrote is valid, by its action and by its root alone, and its kind is told."""
    xml = sample(name).encode()
    assert validate(kind, version, xml) == []
    assert validate(xml[1 : xml.index(b">")].decode(), version, xml) == []
    assert recognise(xml) == ALIKE.get(kind, kind)


@pytest.mark.parametrize(("name", "old", "new", "path"), BROKEN)
def test_broken_documents_are_refused(sample: Sample, name: str, old: str, new: str, path: str) -> None:
    """A document broken in one place has one problem, and the problem names that place."""
    kind, version = KINDS[name]
    problems = validate(kind, version, broken(sample, name, old, new))
    assert [problem.path for problem in problems] == [path]
    assert problems[0].line == (3 if name == "oned-7.4.0-backup" else 1) and problems[0].message and problems[0].remedy


@pytest.mark.parametrize("version", ["6.4.0", "7.0.1", "7.4.0"])
def test_another_processor_agrees(sample: Sample, version: str) -> None:
    """A second XSD processor gives the same verdicts on all recorded and all broken documents: this is plain XSD."""
    for name, kind, of in RECORDED:
        if of == version:
            assert form(schemas.schema_text(kind, of)).is_valid(sample(name)), name
    for name, old, new, path in BROKEN:
        kind, of = KINDS[name]
        if of == version:
            assert not form(schemas.schema_text(kind, of)).is_valid(broken(sample, name, old, new).decode()), path


@pytest.mark.parametrize("contract", load().contracts, ids=lambda contract: str(contract.name))
def test_every_document_has_a_schema(contract: Contract) -> None:
    """Whatever an action of a contract gets on stdin or as an argument has a schema there, and so has all that is not an action's.

    Hypervisor drivers share one document, and a domain is for libvirt to judge.
    """
    spec = for_contract(contract.name)
    storage = [action for action in spec.actions.values() if action.family != "vmm"]
    wanted = {action.key for action in storage if spec.stdin(action) != "nothing" or "dump" in spec.argv(action)}
    assert wanted <= set(kinds(contract.version))
    assert {"VM", "IMPORT_INFO", "VMM_DRIVER_ACTION_DATA"} <= set(kinds(contract.version))
    for kind in kinds(contract.version):
        assert [problem.path for problem in validate(kind, contract.version, _wrong_root(kind))] == ["/HOST"]


def _wrong_root(kind: str) -> bytes:
    xml = b"<HOST/>"
    return base64.b64encode(xml) if kind == "backup/vm.xml" else xml


def test_every_type_is_used() -> None:
    """Every type of a root in the XSD files is named by a row, every release file too, and every row's type is there."""
    root = data_dir("schemas")
    names = {element.get("name") for element in etree.parse(str(root / "actions.xsd")).getroot() if element.tag.endswith("complexType")}
    inner = {"NewImage", "NewImageOfJob", "NewImageWithSize", "Marketplace"}
    assert names - inner == {row.type for row in schemas.tables().document} - {"", "Datastore"}
    assert {row.file for row in schemas.tables().release} == {f"releases/{path.name}" for path in (root / "releases").iterdir()}


def test_what_came_later_is_no_document() -> None:
    """A release that does not have an action has no document of it: that is said with the release and what there is."""
    with pytest.raises(SpecError, match=r"ds/restore in 6\.4\.7.*choose one of ds/cp"):
        validate("ds/restore", "6.4.7", b"<DS_DRIVER_ACTION_DATA/>")
    with pytest.raises(SpecError, match=r"backup_cancel in 6\.10\.5"):
        validate("ds/backup_cancel", "6.10.5", b"<VM/>")


def test_backup_has_two_forms(sample: Sample) -> None:
    """Up to 6.10.0 backup gets the datastore alone, from 6.10.1 on with the VM; each form is refused in the other releases."""
    both = sample("guide-backup").encode()
    alone = both[both.index(b"<DATASTORE>") : both.index(b"</DATASTORE>") + len(b"</DATASTORE>")]
    assert validate("ds/backup", "6.10.5", both) == [] == validate("ds/backup", "6.10.0", alone)
    assert [problem.path for problem in validate("ds/backup", "6.10.0", both)] == ["/DS_DRIVER_ACTION_DATA"]
    assert [problem.path for problem in validate("ds/backup", "6.10.1", alone)] == ["/DATASTORE"]
    assert recognise(both) == recognise(alone) == "ds/backup"


def test_ls_has_the_three_objects(sample: Sample) -> None:
    """ls gets datastore, VM and image in this order, with white space between them."""
    backup, restore = sample("oned-7.4.0-backup"), sample("oned-7.4.0-restore")
    image = restore[restore.index("<IMAGE>") : restore.index("</IMAGE>") + len("</IMAGE>")]
    xml = backup.replace("</VM>", f"</VM>\n  {image}\n").encode()
    assert validate("ds/ls", "7.4.0", xml) == []
    assert recognise(xml) == "ds/ls"


def test_vm_of_a_backup_folder_is_base64(sample: Sample) -> None:
    """vm.xml is base64 in lines of 60 characters: what is verified is the VM within; the XML itself is refused."""
    xml = sample("oned-7.4.0-prebackup_live").encode()
    line = base64.b64encode(xml)
    lines = b"\n".join(line[at : at + 60] for at in range(0, len(line), 60)) + b"\n"
    assert validate("backup/vm.xml", "7.4.0", lines) == []
    assert [str(problem) for problem in validate("backup/vm.xml", "7.4.0", xml)] == ["line 1, /: the document is no base64; encode it in base64"]
    assert "bytes" in str(validate("backup/vm.xml", "7.4.0", line * 1000)[0])
    wrong = base64.b64encode(xml.replace(b"<STATE>3", b"<STATE>7"))
    assert [problem.path for problem in validate("backup/vm.xml", "7.4.0", wrong)] == ["/VM/STATE"]


IMPORTS = {
    "": "",
    "<SIZE><![CDATA[10]]></SIZE><IMPORT_SOURCE>/ds/1/a b</IMPORT_SOURCE>": "",
    "\n <DISPOSE>NO</DISPOSE>\n <DISPOSE_CMD><![CDATA[rm -f '<x>']]></DISPOSE_CMD>\n": "",
    "<SIZE>10 MB</SIZE>": "/IMPORT_INFO/SIZE",
    "<MD5>none</MD5>": "/IMPORT_INFO/MD5",
    "<DISPOSE>yes</DISPOSE>": "/IMPORT_INFO/DISPOSE",
    "<SHA1>0</SHA1>": "/IMPORT_INFO/SHA1",
    "<MD5/><MD5/>": "/IMPORT_INFO/MD5[2]",
    "<FORMAT><![CDATA[raw]></FORMAT>": "/",
    "<DISPOSE_CMD><<![CDATA[rm]]>/DISPOSE_CMD>": "/",
}


@pytest.mark.parametrize("inner", IMPORTS)
def test_import_info(inner: str) -> None:
    """What export prints: any order, all optional, sections or text; the two ill-formed lines of the guide's sample are refused."""
    path = IMPORTS[inner]
    for version in ("5.12.13", "7.4.0"):
        assert [problem.path for problem in validate("IMPORT_INFO", version, f"<IMPORT_INFO>{inner}</IMPORT_INFO>".encode())] == (
            [path] if path else []
        )


def test_parse_and_recognise_take_anything() -> None:
    """parse returns a root or a problem, recognise the empty word for what is no document."""
    root = parse(b"\xef\xbb\xbf<?xml version='1.0'?><!-- a --><VM>\xc3\xa9</VM>")
    assert not isinstance(root, Problem) and root.text == "é"
    assert isinstance(parse(b"<VM>"), Problem) and isinstance(parse(b"<!DOCTYPE a><a/>"), Problem)
    assert [recognise(xml) for xml in (b"", b"<VM>", b"<domain/>", b"<!DOCTYPE VM><VM/>")] == [""] * 4


def test_our_own_wrong_document_is_our_error(sample: Sample) -> None:
    """A wrong document that we made is a SpecError that names the place; a right one passes."""
    xml = sample("oned-7.4.0-cp").encode()
    validate_or_raise("ds/cp", "7.4.0", xml)
    with pytest.raises(SpecError, match=r"our own document ds/cp for 7\.4\.0 .*IMAGE/STATE"):
        validate_or_raise("ds/cp", "7.4.0", xml.replace(b"<STATE>4", b"<STATE>44"))


LAUGHS = "<!DOCTYPE a [" + "<!ENTITY l0 'ha'>" + "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12)) + "]><a>&l11;</a>"


def hostile(secret: Path) -> dict[str, bytes]:
    """Return documents that attack a parser."""
    return {
        "many laughs": LAUGHS.encode(),
        "many laughs behind a comment": b"<?xml version='1.0'?><!-- <a> -->\n" + LAUGHS.encode(),
        "one huge entity": f"<!DOCTYPE a [<!ENTITY x '{'x' * 100_000}'>]><a>{'&x;' * 200_000}</a>".encode(),
        "external entity": f"<!DOCTYPE VM [<!ENTITY x SYSTEM 'file://{secret}'>]><VM>&x;</VM>".encode(),
        "parameter entity": f"<!DOCTYPE VM [<!ENTITY % x SYSTEM 'file://{secret}'> %x;]><VM/>".encode(),
        "external DTD": b"<!DOCTYPE VM SYSTEM 'http://127.0.0.1:9/x.dtd'><VM/>",
        "undeclared entity": b"<VM>&secret;</VM>",
        "UTF-16": LAUGHS.encode("utf-16"),
        "UTF-16 without mark": LAUGHS.encode("utf-16-le"),
        "UTF-7": b"<?xml version='1.0' encoding='utf-7'?>+ADwAIQ-DOCTYPE a []><a/>",
        "not UTF-8": b"<VM>\xff</VM>",
        "too deep": b"<a>" * 100_000,
        "too large": b"<a>" + b" " * MAX_BYTES + b"</a>",
        "many wrong elements": b"<VM>" + b"<x/>" * 250_000 + b"</VM>",
        "long prolog": b"<!--" + b"-" * 1_000_000,
        "many attributes": b"<VM " + b" ".join(b"a%d='1'" % n for n in range(90_000)) + b"/>",
        "many comments": b"<!---->" * 140_000,
        "wrong ids": b"<VM><VMS>" + b"<ID a='1'/>" * 90_000 + b"</VMS></VM>",
        "one huge attribute": b"<VM a='" + b"x" * 1_000_000 + b"'/>",
        "10 MB of attribute": b"<VM a='" + b"x" * 10_000_000 + b"'/>",
        "one huge name": b"<" + b"a" * 1_000_000 + b"/>",
        "many namespaces": b"<VM " + b" ".join(b"xmlns:a%d='u'" % n for n in range(50_000)) + b"/>",
        "nothing": b"",
        "no XML": b"ERROR: no such file",
        "cut": b"<VM><ID>1</ID>",
        "NUL": b"<VM>\x00</VM>",
        "another root": b"<HOST/>",
    }


@pytest.mark.parametrize("attack", hostile(Path("/")))
def test_hostile_documents(tmp_path: Path, attack: str) -> None:
    """Bombs, entities and garbage end in few problems within a second; nothing of a foreign file appears in them."""
    secret = tmp_path / "secret"
    secret.write_text("swordfish")
    xml = hostile(secret)[attack]
    started_s = time.process_time()
    problems = validate("VM", "7.4.0", xml)
    assert time.process_time() - started_s < 1
    assert 1 <= len(problems) <= MAX_PROBLEMS
    assert "swordfish" not in "".join(map(str, problems))


def test_xinclude_is_text(sample: Sample, tmp_path: Path) -> None:
    """XInclude is not carried out: in a free TEMPLATE it is an element like any other."""
    include = f"<x:include xmlns:x='http://www.w3.org/2001/XInclude' href='{tmp_path}/none' parse='text'/>"
    assert validate("ds/cp", "7.4.0", sample("oned-7.4.0-cp").replace("<TEMPLATE>", f"<TEMPLATE>{include}", 1).encode()) == []


def test_doctype_as_text_is_no_doctype(sample: Sample) -> None:
    """The characters of a DTD inside a value are a value."""
    xml = sample("oned-7.4.0-cp").replace("<![CDATA[sd]]>", "<![CDATA[<!DOCTYPE a []>]]>", 1)
    assert "DOCTYPE" in xml
    assert validate("ds/cp", "7.4.0", xml.encode()) == []


def test_lines_are_counted(sample: Sample) -> None:
    """The line of a problem is that of the element, also behind a prolog of several lines."""
    xml = "<?xml version='1.0'?>\n<!-- a\nb -->\n" + sample("oned-7.4.0-monitor").replace("<TYPE>0", "\n\n<TYPE>9")
    assert [problem.line for problem in validate("ds/monitor", "7.4.0", xml.encode())] == [6]


def test_threads_do_not_mix_their_problems(sample: Sample) -> None:
    """Verifications at the same time in many threads each find their own problem."""
    cases = [(name, broken(sample, name, old, new), path) for name, old, new, path in BROKEN] * 20

    def paths(case: tuple[str, bytes, str]) -> list[str]:
        return [problem.path for problem in validate(*KINDS[case[0]], case[1])]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(paths, cases)) == [[path] for _, _, path in cases]


def test_many_wrong_ids_are_told_within_a_second(sample: Sample) -> None:
    """A long list of ids is no matter while they are right; wrong ones end in a problem before the search for their places takes minutes."""
    text = sample("oned-7.4.0-cp")
    right = text.replace("<IMAGES></IMAGES>", "<IMAGES>" + "<ID>7</ID>" * 60_000 + "</IMAGES>").encode()
    wrong = text.replace("<IMAGES></IMAGES>", "<IMAGES>" + "<ID/>" * 90_000 + "</IMAGES>").encode()
    some = right.replace(b"<ID>7</ID></IMAGES>", b"<ID>x</ID></IMAGES>")
    started_s = time.process_time()
    assert validate("ds/cp", "7.4.0", right) == []
    assert "10000 elements" in str(validate("ds/cp", "7.4.0", wrong)[0])
    assert "'x' is not a valid value" in str(validate("ds/cp", "7.4.0", some)[0])
    assert time.process_time() - started_s < 2


MEASURED = """
import json, resource, sys, time
from onesim.validation import validate
makers = {
    "100 MB": lambda: b"<VM>" + b" " * 100_000_000 + b"</VM>",
    "depth": lambda: b"<a>" * 100_000 + b"</a>" * 100_000,
    "siblings": lambda: b"<VM>" + b"<x/>" * 262_000 + b"</VM>",
    "wrong ids": lambda: b"<DS_DRIVER_ACTION_DATA><IMAGE><VMS>" + b"<ID/>" * 200_000 + b"</VMS></IMAGE></DS_DRIVER_ACTION_DATA>",
    "attributes": lambda: b"<VM " + b" ".join(b"a%x=''" % n for n in range(110_000)) + b"/>",
    "attribute": lambda: b"<VM a='" + b"x" * 10_000_000 + b"'/>",
    "bomb": lambda: b"<!DOCTYPE a [<!ENTITY x '" + b"x" * 100_000 + b"'>]><a>" + b"&x;" * 200_000 + b"</a>",
}
validate("VM", "7.4.0", b"<VM/>")
xml = makers[sys.argv[1]]()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
at = time.process_time()
problems = validate("VM", "7.4.0", xml)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([len(problems), time.process_time() - at, peak // 1024, (peak - before) // 1024]))
"""


@pytest.mark.parametrize("attack", ["100 MB", "depth", "siblings", "wrong ids", "attributes", "attribute", "bomb"])
def test_hostile_documents_take_little(attack: str) -> None:
    """Measured in a process of its own: a problem within a second, and 200 MiB of memory at most, the document included."""
    # through a shell: a process counts the memory of the one that it was forked from
    command = ["/bin/sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-c", MEASURED, attack]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    problems, seconds, peak_mb, more_mb = json.loads(done.stdout)
    assert problems >= 1 and seconds < 1
    # making the 100 MB document takes twice its size
    assert peak_mb < (400 if attack == "100 MB" else 200) and more_mb < 100
