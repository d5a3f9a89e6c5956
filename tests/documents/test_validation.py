"""Verification: recorded documents pass, those broken in one place are refused there, hostile ones end in a problem."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xmlschema

from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.validation import MAX_BYTES, MAX_PROBLEMS, schema_file, validate, validate_or_raise

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
]
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
]


def broken(sample: Sample, name: str, old: str, new: str) -> bytes:
    """Return the sample broken in one place."""
    text = sample(name)
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(("name", "kind", "version"), RECORDED)
def test_recorded_documents_are_valid(sample: Sample, name: str, kind: str, version: str) -> None:
    """What the real oned wrote is valid, by its action and by its root alone."""
    xml = sample(name).encode()
    assert validate(kind, version, xml) == []
    assert validate(xml[1 : xml.index(b">")].decode(), version, xml) == []


@pytest.mark.parametrize(("name", "old", "new", "path"), BROKEN)
def test_broken_documents_are_refused(sample: Sample, name: str, old: str, new: str, path: str) -> None:
    """A document broken in one place has one problem, and the problem names that place."""
    kind, version = KINDS[name]
    problems = validate(kind, version, broken(sample, name, old, new))
    assert [problem.path for problem in problems] == [path]
    assert problems[0].line == 1 and problems[0].message and problems[0].remedy


@pytest.mark.parametrize("version", ["6.4.0", "7.4.0"])
def test_another_processor_agrees(sample: Sample, version: str) -> None:
    """A second XSD processor gives the same verdicts on all recorded and all broken documents: this is plain XSD."""
    files = {kind: str(data_dir("schemas") / schema_file(kind, version)) for kind, of in KINDS.values() if of == version}
    compiled = {kind: xmlschema.XMLSchema10(file) for kind, file in files.items()}
    for name, kind, of in RECORDED:
        if of == version:
            assert compiled[kind].is_valid(sample(name)), name
    for name, old, new, path in BROKEN:
        kind, of = KINDS[name]
        if of == version:
            assert not compiled[kind].is_valid(broken(sample, name, old, new).decode()), path


def test_every_schema_is_for_a_document() -> None:
    """Every XSD file compiles, and every root file is named by a row; other files are parts of them."""
    root = data_dir("schemas")
    parts = {"types.xsd", "vm-types.xsd", "5.12/image.xsd", "6.4/image.xsd", "7.4/image.xsd"}
    kinds = ("ds/cp", "ds/mkfs", "ds/rm", "ds/clone", "ds/stat", "ds/monitor", "tm/monitor", "VM")
    named = {schema_file(kind, version) for kind in kinds for version in ("5.12.13", "6.4.0", "7.0.1", "7.4.0")}
    assert named | parts == {path.relative_to(root).as_posix() for path in root.rglob("*.xsd")}


def test_release_without_schema() -> None:
    """A release for which no schema is specified is refused, not verified by that of another one."""
    with pytest.raises(SpecError, match=r"ds/cp in 6\.8\.0"):
        validate("ds/cp", "6.8.0", b"<DS_DRIVER_ACTION_DATA/>")


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
    started_s = time.monotonic()
    problems = validate("VM", "7.4.0", xml)
    assert time.monotonic() - started_s < 1
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
