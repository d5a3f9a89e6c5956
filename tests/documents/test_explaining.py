"""The explaining verdict: what must agree within a document. Every check fails alone where it is broken, and on nothing that was recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.explaining import explain
from onesim.validation import MAX_PROBLEMS, validate

Sample = Callable[[str], str]

ROOT = "/DS_DRIVER_ACTION_DATA"
SNAPSHOTS = f"{ROOT}/IMAGE/SNAPSHOTS"
INCREMENTS = f"{ROOT}/IMAGE/BACKUP_INCREMENTS"
VM_SNAPSHOTS = "<SNAPSHOTS><ALLOW_ORPHANS>NO</ALLOW_ORPHANS><CURRENT_BASE>-1</CURRENT_BASE><DISK_ID>9</DISK_ID><NEXT_SNAPSHOT>0</NEXT_SNAPSHOT></SNAPSHOTS><BACKUPS>"
#: check -> sample, kind, what to replace (a pattern, first place), by what, path of the element that must be named
CHECKS = {
    "ready-source": ("oned-7.4.0-cp", "ds/cp", r"<STATE>4", "<STATE>1", f"{ROOT}/IMAGE"),
    "persistent-state": ("oned-7.4.0-cp", "ds/cp", r"<STATE>4", "<STATE>8", f"{ROOT}/IMAGE"),
    "target-snapshot": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<TARGET_SNAPSHOT>1", "<TARGET_SNAPSHOT>7", f"{ROOT}/IMAGE"),
    "backup-source": ("oned-7.4.0-restore", "ds/restore", r"<SOURCE>.*?</SOURCE>(.*?)<STATE>1", r"<SOURCE/>\1<STATE>4", f"{ROOT}/IMAGE"),
    "snapshot-ids": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<ID><!\[CDATA\[2\]\]>", "<ID>0", SNAPSHOTS),
    "next-snapshot": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"(<NEXT_SNAPSHOT><!\[CDATA\[)3", r"\g<1>2", SNAPSHOTS),
    "snapshot-parent": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<PARENT><!\[CDATA\[-1", "<PARENT><![CDATA[5", SNAPSHOTS),
    "own-parent": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<PARENT><!\[CDATA\[-1", "<PARENT><![CDATA[0", SNAPSHOTS),
    "active-snapshot": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<SNAPSHOT><DATE>", "<SNAPSHOT><ACTIVE>YES</ACTIVE><DATE>", SNAPSHOTS),
    "increment-ids": ("oned-7.4.0-increment_flatten", "ds/increment_flatten", r"<ID><!\[CDATA\[2\]\]>", "<ID>1", INCREMENTS),
    "increment-parent": ("oned-7.4.0-increment_flatten", "ds/increment_flatten", r"<PARENT_ID><!\[CDATA\[1\]\]>", "<PARENT_ID>8", INCREMENTS),
    "increment-type": ("oned-7.4.0-increment_flatten", "ds/increment_flatten", r"<!\[CDATA\[FULL\]\]>", "INCREMENT", INCREMENTS),
    "vm-template": ("oned-7.4.0-premigrate", "VM", r"(<VMID><!\[CDATA\[)48", r"\g<1>49", "/VM"),
    "vm-history": ("oned-7.4.0-premigrate", "VM", r"<OID>48", "<OID>49", "/VM"),
    "vm-snapshots": ("oned-7.4.0-premigrate", "VM", r"<BACKUPS>", VM_SNAPSHOTS, "/VM"),
    "vm-context": ("oned-7.4.0-premigrate", "VM", r"(<CONTEXT><DISK_ID><!\[CDATA\[)5", r"\g<1>0", "/VM"),
    "disk-image": ("oned-7.4.0-premigrate", "VM", r"<SAVE><!\[CDATA\[NO\]\]></SAVE>", "", "/VM/TEMPLATE/DISK[1]"),
    "disk-save": ("oned-7.4.0-premigrate", "VM", r"<SAVE><!\[CDATA\[NO", "<SAVE><![CDATA[YES", "/VM/TEMPLATE/DISK[1]"),
    "datastore-id": ("oned-7.4.0-cp", "ds/cp", r"<DATASTORE_ID>100", "<DATASTORE_ID>101", ROOT),
    "datastore-name": ("oned-7.4.0-cp", "ds/cp", r"<DATASTORE>A_img", "<DATASTORE>B_img", ROOT),
    "cp-path": ("oned-7.4.0-cp", "ds/cp", r"<PATH>.*?</PATH>", "<PATH/>", ROOT),
    "mkfs-size": ("oned-7.4.0-mkfs", "ds/mkfs", r"<SIZE>\d+", "<SIZE>0", ROOT),
    "clone-path": ("oned-7.4.0-clone", "ds/clone", r"<PATH>.*?</PATH>", "<PATH/>", ROOT),
    "clone-of": ("oned-7.4.0-clone", "ds/clone", r"<CLONING_ID>\d+", "<CLONING_ID>-1", ROOT),
    "stored-source": ("oned-7.4.0-rm", "ds/rm", r"<SOURCE>.*?</SOURCE>(.*?)<STATE>\d+", r"<SOURCE/>\1<STATE>5", ROOT),
    "snapshots": ("oned-7.4.0-snap_flatten", "ds/snap_flatten", r"<SNAPSHOT>.*</SNAPSHOT>", "", ROOT),
    "backup-image": ("oned-7.4.0-restore", "ds/restore", r"<TYPE>6", "<TYPE>0", ROOT),
    "backup-store": ("oned-7.4.0-restore", "ds/restore", r"<TYPE>3", "<TYPE>0", ROOT),
    "stat-path": ("oned-7.4.0-stat", "ds/stat", r"<PATH>.*?</PATH>", "<PATH/>", ROOT),
    "system-store": ("oned-7.4.0-monitor-system", "tm/monitor", r"<TYPE>1", "<TYPE>0", ROOT),
    "backup-target": ("oned-7.4.0-backup", "ds/backup", r"<TYPE>3", "<TYPE>0", ROOT),
    "backup-root": ("oned-7.4.0-backup", "ds/backup", r"(?s).*?(<DATASTORE>.*?<TYPE>)3(.*?</DATASTORE>)\s*<VM>.*", r"\g<1>0\2", "/DATASTORE"),
    "import-source": ("import", "IMPORT_INFO", r"<IMPORT_SOURCE>.*?</IMPORT_SOURCE>", "", "/IMPORT_INFO"),
    "import-size": ("import", "IMPORT_INFO", r"<SIZE>10", "<SIZE>", "/IMPORT_INFO"),
    "import-dispose": ("import", "IMPORT_INFO", r"<DISPOSE>NO", "<DISPOSE>YES", "/IMPORT_INFO"),
}
IMPORT = "<IMPORT_INFO><IMPORT_SOURCE>/ds/1/a</IMPORT_SOURCE><SIZE>10</SIZE><FORMAT>raw</FORMAT><DISPOSE>NO</DISPOSE></IMPORT_INFO>"
#: Checks that say the same of one wrong document: a snapshot action without snapshots has no target either.
BESIDES = {"snapshots": ["target-snapshot"]}


def text_of(sample: Sample, name: str) -> str:
    """Return the sample to break."""
    return IMPORT if name == "import" else sample(name)


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_finds_what_it_is_for(sample: Sample, check: str) -> None:
    """A document that breaks one check is valid in form, and explained by that check, at its place, with what to do."""
    name, kind, old, new, path = CHECKS[check]
    version = "6.8.3" if check == "backup-root" else "7.4.0"
    text = text_of(sample, name)
    wrong = re.sub(old, new, text, count=1)
    assert wrong != text
    assert validate(kind, version, wrong.encode()) == []
    problems = explain(kind, version, wrong.encode())
    assert {found for problem in problems for found in re.findall(r"\(([a-z-]+)\)$", problem.message)} == {check, *BESIDES.get(check, [])}
    assert path in [problem.path for problem in problems] and all(problem.remedy for problem in problems)


def test_every_check_is_tested() -> None:
    """The checks of assertions.xsd and those tested here are the same, and each says what should be and what to do."""
    xs = "{http://www.w3.org/2001/XMLSchema}"
    asserts = list(etree.parse(str(data_dir("schemas") / "assertions.xsd")).iter(f"{xs}assert"))
    assert {one.get("id") for one in asserts} == set(CHECKS)
    assert all(one.findtext(f".//{xs}documentation") and one.findtext(f".//{xs}appinfo") for one in asserts)


@pytest.mark.parametrize("name", sorted(path.stem for path in (Path(__file__).parent / "data").glob("oned-*.xml")))
def test_recorded_documents_agree(sample: Sample, name: str) -> None:
    """No check finds anything in what the real oned wrote."""
    version, what = name.split("-", 2)[1:]
    special = {"monitor-system": "tm/monitor", "attach_disk": "VMM_DRIVER_ACTION_DATA", "save": "VMM_DRIVER_ACTION_DATA"}
    special |= {"market-import": "MARKET_DRIVER_ACTION_DATA", "rm-snapshots": "ds/rm", "stat-with-size": "ds/stat"}
    transfer = what.startswith(("pre", "post"))
    assert explain(special.get(what, f"tm/{what}" if transfer else f"ds/{what}"), version, sample(name).encode()) == []


def test_form_comes_first(sample: Sample) -> None:
    """A document that is wrong in form is explained by its form, in words, and not by checks that need a right form."""
    xml = sample("oned-7.4.0-cp").replace("<SIZE>10", "<SIZE>ten").replace("<STATE>4", "<STATE>1").encode()
    problems = explain("ds/cp", "7.4.0", xml)
    assert {problem.path for problem in problems} == {f"{ROOT}/IMAGE/SIZE"}
    missing = explain("ds/cp", "7.4.0", sample("oned-7.4.0-cp").replace("<SIZE>10</SIZE>", "").encode())
    assert missing[0].path == f"{ROOT}/IMAGE" and "'SIZE' expected" in missing[0].message


def test_explained_are_hostile_documents_too(sample: Sample) -> None:
    """What cannot be read, has another root or too much of anything ends in a problem here too, and base64 is decoded."""
    assert [problem.path for problem in explain("VM", "7.4.0", b"<!DOCTYPE VM><VM/>")] == ["/"]
    assert [problem.path for problem in explain("VM", "7.4.0", b"<HOST/>")] == ["/HOST"]
    assert "5000 elements" in str(explain("VM", "7.4.0", b"<VM>" + b"<x/>" * 20_000 + b"</VM>")[0])
    assert (
        len(
            explain("VM", "7.4.0", sample("oned-7.4.0-premigrate").replace("<DISK>", "<DISK><DISK_ID/>" * 30 + "</DISK>" * 30 + "<DISK>", 1).encode())
        )
        <= MAX_PROBLEMS
    )
    assert [problem.path for problem in explain("backup/vm.xml", "7.4.0", b"PEhPU1QvPg==\n")] == ["/HOST"]
    with pytest.raises(SpecError, match=r"ds/ls in 6\.4\.7"):
        explain("ds/ls", "6.4.7", b"<a/>")
