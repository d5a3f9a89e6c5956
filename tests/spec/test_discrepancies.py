"""The discrepancies between the guides and oned, the helpers, the formats and the numbers: rows that are complete, and samples that are true."""

from __future__ import annotations

import base64
import json
import re
import shlex
import tomllib
import zlib
from collections import Counter
from typing import Any

import pytest
from lxml import etree

from onesim.contracts import in_range, parse_version
from onesim.data import data_dir
from onesim.spec import load

Row = dict[str, Any]

SPEC = data_dir("spec")
DISCREPANCIES: list[Row] = tomllib.loads((SPEC / "discrepancies.toml").read_text(encoding="utf-8"))["discrepancy"]
HELPERS: list[Row] = tomllib.loads((SPEC / "helpers.toml").read_text(encoding="utf-8"))["helper"]
FORMAT_TABLES: dict[str, list[Row]] = tomllib.loads((SPEC / "formats.toml").read_text(encoding="utf-8"))
FORMATS = {row["name"]: row for row in FORMAT_TABLES["format"]}
ENUMERATIONS = {row["name"]: row for row in FORMAT_TABLES["enumeration"]}
ACTIONS = {action.key for action in load().actions}

# the headings of the guides' pages on storage drivers
SECTIONS = {
    "5.x": "Tunning OpenNebula Core and Driver Integration",
    "6.x": "Backup Datastore Operations|Datastore Backup STDIN Example|Tuning OpenNebula Core and Driver Integration",
    "both": "Datastore Drivers Structure|TM Drivers Structure|The Monitoring Process|Image Datastores|Shared System Datastores"
    "|Non-shared System Datastores (SSH-like)|The monitor_ds script.|Mixed Transfer modes|An Example VM|Helper Scripts|Decoded Example|Export XML",
}
RELEASES_RECORDED = {"6.4.0", "7.0.1", "7.4.0"}
SOURCE = re.compile(r"oned \d+\.\d+\.\d+: [\w./-]+:\d+(, [\w./-]+:\d+)*(; oned \d+\.\d+\.\d+: [\w./-]+:\d+(, [\w./-]+:\d+)*)*")
XML_SAMPLES = ("ds_driver_action_data", "image", "datastore", "vm", "import_info", "vmm_driver_action_data", "backup_document")


def _headings(text: str) -> set[str]:
    """Return the headings that a `promised_source` names."""
    found: set[str] = set()
    for part in text.split("; "):
        match = re.fullmatch(r"guide (?:5\.x and 6\.x|5\.x|6\.x): Storage Driver, sections? (.+)", part)
        assert match, f"{part!r} does not name guide and section"
        found.update(re.split(r", | and (?=[A-Z])", match[1]) if match[1] not in _known("both", "5.x", "6.x") else [match[1]])
    return found


def _known(*guides: str) -> set[str]:
    return {heading for guide in guides for heading in SECTIONS[guide].split("|")}


def test_the_numbers_run_without_a_gap() -> None:
    """D-01 to D-47 are all there, more may follow, none is left out or stands twice."""
    assert [row["id"] for row in DISCREPANCIES] == [f"D-{number:02}" for number in range(1, len(DISCREPANCIES) + 1)]
    assert len(DISCREPANCIES) >= 47


@pytest.mark.parametrize("row", DISCREPANCIES, ids=lambda row: row["id"])
def test_a_discrepancy_is_complete(row: Row) -> None:
    """Every row has the same columns, texts in them, known actions, a heading of the guide it blames, and a line of oned's source."""
    assert set(row) == set(DISCREPANCIES[0])
    for column in ("topic", "promised", "holds", "promised_source", "holds_source", "advice"):
        assert row[column].strip(), f"{column} is empty"
    assert row["holds"] != row["promised"]
    assert set(row["actions"]) <= ACTIONS and len(set(row["actions"])) == len(row["actions"])
    assert row["guides"] and set(row["guides"]) <= {"5.x", "6.x"}
    assert _headings(row["promised_source"]) <= _known("both", *row["guides"])
    assert all(f"{guide}" in row["promised_source"] for guide in row["guides"])
    assert SOURCE.fullmatch(row["holds_source"]), row["holds_source"]
    assert set(row["recorded"]) <= RELEASES_RECORDED


def test_every_requirement_named_exists() -> None:
    """A discrepancy links to requirements that there are."""
    known = {row.id for row in load().requirements}
    assert {name for row in DISCREPANCIES for name in row["requirements"]} <= known


def test_the_seven_helpers() -> None:
    """The seven functions of the guides are there, once each, with the same columns."""
    names = ["log", "error_message", "arg_host", "arg_path", "exec_and_log", "ssh_exec_and_log", "timeout_exec_and_log"]
    assert [row["name"] for row in HELPERS] == names
    assert all(set(row) == set(HELPERS[0]) and row["arguments"] and row["does"] and SOURCE.fullmatch(row["source"]) for row in HELPERS)


@pytest.mark.parametrize("row", FORMATS.values(), ids=list(FORMATS))
def test_a_format_is_complete(row: Row) -> None:
    """Every format has the same columns, a sample, a source and known actions."""
    assert set(row) == set(FORMAT_TABLES["format"][0])
    assert row["sample"].strip() and row["meaning"] and row["title"] and SOURCE.fullmatch(row["source"])
    assert set(row["carried_by"]) <= ACTIONS
    assert row["encoding"] in {"base64", "plain", "base64 lines of 60"}


@pytest.mark.parametrize("name", XML_SAMPLES)
def test_xml_samples_are_well_formed(name: str) -> None:
    """A sample of a document parses, and its root is what the format is called after."""
    root = etree.fromstring(FORMATS[name]["sample"].encode())
    assert root.tag in {name.upper(), "DS_DRIVER_ACTION_DATA"} and len(root)


def test_the_sample_of_vm_xml_is_base64_of_a_vm() -> None:
    """vm.xml holds base64 in lines of at most 60 characters, and a VM within."""
    text = FORMATS["backup_vm_xml"]["sample"]
    assert max(map(len, text.splitlines())) <= 60
    assert etree.fromstring(base64.b64decode(text)).tag == "VM"


def test_the_sample_of_ls_is_what_restore_reads() -> None:
    """The answer of ls is one JSON object, from disks to pseudo-URLs whose fourth piece is the path."""
    for disk, url in json.loads(FORMATS["ls_answer"]["sample"]).items():
        protocol, rest = url.split("://", 1)
        datastore, _job, chain, path = rest.split("/", 3)
        assert disk.isdigit() and protocol == "rsync" and datastore.isdigit() and re.fullmatch(r"\d+:\w+(,\d+:\w+)*", chain)
        assert path.endswith(f"/disk.{disk}.0")


def test_the_sample_of_a_datagram_holds_sizes_of_disks() -> None:
    """A datagram is unpacked the way the monitor daemon does it, down to the sizes in MiB, which are those of the sample of disk sizes."""
    kind, result, oid, stamp, payload = FORMATS["datagram"]["sample"].split()
    assert (kind, result, oid, stamp) == ("MONITOR_VM", "SUCCESS", "-1", "0")
    text = zlib.decompress(base64.b64decode(payload)).decode()
    assert text.split() == FORMATS["vm_sizes"]["sample"].split()
    inner = re.search(r'ID = 7, MONITOR = "([^"]+)"', text)
    assert inner and re.findall(r"SIZE=(\d+)", base64.b64decode(inner[1]).decode()) == ["120", "40"]


def test_lines_of_a_transfer_script_are_calls() -> None:
    """Each line of the sample has an action of the tables, and as many arguments as its row says."""
    forms = {action.key: {len(form.argv) for form in action.form} for action in load().actions}
    for line in FORMATS["transfer_script"]["sample"].splitlines():
        action, _driver, *argv = line.split(" ")
        assert len(argv) in forms["tm/" + action.split(".")[0].lower()]


def test_a_file_of_context_keeps_its_quotes() -> None:
    """The words of context are split at blanks alone: the quotes of a name stay, where a shell would drop them."""
    sample = FORMATS["context_files"]["sample"]
    assert sample.split()[1].endswith(":'init.sh'")
    assert sample.split() != shlex.split(sample)


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_names_and_numbers_are_unique(name: str) -> None:
    """Within one enumeration no name and no number stands twice, and the numbers ascend."""
    values = ENUMERATIONS[name]["values"]
    assert all(set(row) == {"name", "number", "since", "until"} for row in values)
    numbers = [row["number"] for row in values]
    assert numbers == sorted(numbers)
    assert not [key for key, times in Counter([*numbers, *(row["name"] for row in values)]).items() if times > 1]


def test_the_numbers_of_states_are_those_of_the_lifecycles() -> None:
    """The states that the lifecycle tables number have the same numbers here: two tables, written apart."""
    lcm = {row["name"]: row["number"] for row in ENUMERATIONS["VM/LCM_STATE"]["values"]}
    vm = {row["name"]: row["number"] for row in ENUMERATIONS["VM/STATE"]["values"]}
    table = tomllib.loads((SPEC / "states.toml").read_text(encoding="utf-8"))["vm"]
    assert len(table) > 50
    for row in table:
        known = lcm if row["state"] == vm["ACTIVE"] else vm
        assert known[row["name"]] == (row["lcm"] if known is lcm else row["state"])


@pytest.mark.parametrize(
    ("name", "value", "first", "last"),
    [
        ("IMAGE/TYPE", "BACKUP", "6.6.0", ""),
        ("IMAGE/TYPE", "FILESYSTEM", "7.2.0", ""),
        ("DISK_TYPE", "FILE_SYSTEM", "7.2.0", ""),
        ("DATASTORE/TYPE", "BACKUP_DS", "6.6.0", ""),
        ("VM/LCM_STATE", "HOTPLUG_RESIZE", "6.0.0", ""),
        ("VM/LCM_STATE", "BACKUP", "6.6.0", ""),
        ("VM/LCM_STATE", "RESTORE", "6.10.0", ""),
        ("VM/LCM_STATE", "DISK_SNAPSHOT_REVERT_SUSPENDED", "", "6.6.2"),
    ],
)
def test_values_that_came_and_went(name: str, value: str, first: str, last: str) -> None:
    """A value is there in exactly the public releases whose headers have it, and always if no release is named."""
    row = next(one for one in ENUMERATIONS[name]["values"] if one["name"] == value)
    for release in ("5.12.13", "6.0.0", "6.4.7", "6.6.0", "6.6.2", "6.6.3", "6.8.0", "6.10.0", "7.0.2", "7.2.0", "7.4.0"):
        number = parse_version(release)
        expected = (not first or number >= parse_version(first)) and (not last or number <= parse_version(last))
        assert in_range(release, row["since"], row["until"]) == expected, release
