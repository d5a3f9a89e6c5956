"""The tables of actions against an independent list, read tag by tag in the source of OpenNebula: cell by cell, contract by contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from onesim.contracts import parse_version
from onesim.rows import Action
from onesim.spec import ContractSpec, for_contract, load

ROWS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "data" / "actions.jsonl").read_text().splitlines()[1:]]
CONTRACTS = [row.name for row in load().contracts]

# The list's words for an argument, and ours. Several of ours: the list tells variants of one action apart.
ARGUMENTS = {
    "dump_b64": {"dump"},
    "-": {"dash"},
    "-i": {"increment_flag"},
    "increment_id (-1 = last)": {"increment_id"},
    "increment_id": {"increment_id"},
    "image_id": {"id", "image_id"},
    "new_image_id": {"id"},
    "request_number": {"id"},
    "datastore_id": {"id"},
    "marketplace_app_id": {"id"},
    "host:remote_system_dir": {"directory"},
    "host:SYS": {"directory", "target"},
    'disks "0:1:"': {"disks"},
    "disks": {"disks"},
    'disks "0:1" (trailing colon before 6.9.80)': {"disks"},
    "deploy_id": {"deploy_id"},
    "backupjob_id|-": {"job_id"},
    "vmid": {"vm_id"},
    "dsid": {"ds_id"},
    "system_dsid": {"ds_id"},
    "disk_id": {"disk_id"},
    "fe:SOURCE (or SOURCE as is when it contains a colon)": {"source"},
    "fe:SOURCE": {"source"},
    "host:SYS/disk.N": {"destination", "disk", "target"},
    "host:SYS/{kernel|initrd}": {"destination"},
    "SOURCE (no fe:)": {"image_source"},
    "new image SOURCE (no fe:)": {"image_source"},
    "snap_id|-1": {"saved_snapshot_id"},
    "snap_id": {"snapshot_id"},
    "src_host:.../disk.N": {"source"},
    "dst_host:.../disk.N": {"destination"},
    "src_host:PSYS": {"source"},
    "dst_host:SYS": {"destination"},
    "size_mb": {"size_mb"},
    "format": {"format"},
    "context.sh path": {"files"},
    "file...": {"files"},
    "src_host": {"here"},
    "dst_host": {"there"},
    "SYS": {"directory_path"},
    "<DATASTORE_LOCATION>/<dsid>": {"location"},
    "disk_path": {"disk_path"},
    "frequency_s": {"frequency_s"},
    "replica_host": {"replica_host"},
    "vm_xml_b64": {"vm_document"},
}
STDIN = {
    "": ("nothing", ""),
    "base64(DS_DRIVER_ACTION_DATA), single line, no trailing newline": ("base64", "DS_DRIVER_ACTION_DATA"),
    "base64(<VM>), single line": ("base64", "VM"),
    "plain XML <VM>": ("plain", "VM"),
    "plain XML <DATASTORE> (backup DS)": ("plain", "DATASTORE"),
    "plain XML <DS_DRIVER_ACTION_DATA> DATASTORE VM": ("plain", "DS_DRIVER_ACTION_DATA"),
    "plain XML <DS_DRIVER_ACTION_DATA> DATASTORE VM IMAGE": ("plain", "DS_DRIVER_ACTION_DATA"),
}
IDS = {"image_id": "image", "new_image_id": "new_image", "request_number": "request", "datastore_id": "datastore", "marketplace_app_id": "app"}
BY = {"tm/<mad>/restore": "tm/restore", "node probe": "probe", "node boot unit": "boot"}
STDOUT = {
    "ignored": "ignored",
    "SOURCE": "source",
    "SOURCE (first token)": "source",
    "SOURCE (whole line)": "source_line",
    "SOURCE FORMAT": "source_format",
    "SOURCE [FORMAT]": "source_maybe_format",
    "SIZE_MB": "size",
    "USED_MB= TOTAL_MB= FREE_MB= (template syntax, MAD base64-encodes it)": "monitor",
    "USED_MB= TOTAL_MB= FREE_MB=; VM disk data by UDP MONITOR_VM when MONITOR_VM_DISKS=1": "monitor",
    "XML IMPORT_INFO (multi-line allowed)": "import_info",
    "TEMPLATE_ID IMAGE_ID...": "text",
    "SIZE_MB ID:SOURCE[,ID:SOURCE...] (empty accepted)": "increments",
    "BACKUP_ID SIZE_MB": "backup",
    "BACKUP_ID SIZE_MB [FORMAT=raw]": "backup_format",
    'one JSON object {"disk_id": url, "tpm"?: url}': "disk_urls",
    'VM = [ ID = n, MONITOR = "base64" ] lines (>=5.12.0); POLL="clear text" before': "vm_sizes",
    "epoch of the snapshot": "epoch",
}
MADS = {
    "DS_MAD of the datastore": "datastore",
    "DS_MAD of the backup datastore": "backup",
    "TM_MAD of the image datastore": "disk",
    "TM_MAD of the original disk": "disk",
    "TM_MAD of the system datastore": "system",
    "TM_MAD of the system datastore (destination)": "system",
    "TM_MAD of the system datastore (must be in one_datastore -s)": "system",
    "content of .monitor": "mark",
    "ssh": "own",
    "fs_lvm, fs_lvm_ssh, lvm": "own",
}
DS_IDS = {
    "image datastore": {"disk", "both"},
    "DATASTORE_ID of the original disk": {"disk"},
    "image datastore; system datastore for volatile disks": {"disk", "both"},
    "system datastore": {"system", "both"},
    "system datastore (new record)": {"both"},
    "system datastore (destination)": {"system"},
    None: {""},
}
# Where the list itself is wrong, or says less:
# - since of the rows with the stdin option: they entered the 6.4 line with 6.4.4 and the 6.6 line with 6.6.2 (one_datastore.rb over the tags); the list
#   names 6.4.4 alone for most. The contracts 6.4-stdin and 6.6-stdin have them both.
# - until of restore and increment_flatten as arguments: the list ends them with 6.4.3 | 6.6.1.1, but 6.4 never had these actions.
# - the variant kernel/initrd of clone is the same script with the driver and the id of the file datastore: scripts.toml has it, the action's row does not.


def before(text: str) -> tuple[int, ...]:
    """Return a release of the list as numbers; 5.8.x is the last of its line."""
    return parse_version(text.replace(".x", ".999"))


def in_list(row: dict[str, Any], spec: ContractSpec) -> bool:
    """Tell whether a row of the list is about a contract: by generation for actions with a driver action document, else by its releases."""
    if row["argv"] and ("dump_b64" in row["argv"] or row["argv"][0] == "-" or row["stdin"].startswith("base64(DS")):
        generation = "hybrid" if row["argv"][0] == "-" else row["generation"]
        return generation == spec.contract.generation and (row["family"], row["action"]) in {(one.family, one.name) for one in spec.actions.values()}
    version = parse_version(spec.version)
    since = [before(one.strip()) for one in row["since"].removeprefix("before ").split("|")]
    same = [one for one in since if one[:2] == version[:2]]
    return version >= max(same or since) and (row["until"] is None or version <= before(row["until"]))


def pairs() -> list[Any]:
    """Every row of the list with every contract that it is about."""
    found = []
    for number, row in enumerate(ROWS):
        for name in CONTRACTS:
            if in_list(row, for_contract(name)):
                found.append(pytest.param(row, name, id=f"{number}-{row['family']}/{row['action']}-{name}"))
    return found


def test_the_list_and_the_tables_have_the_same_actions() -> None:
    """41 actions, 80 rows; none is missing in the tables and none is added."""
    assert len(ROWS) == 80
    listed = {f"{row['family']}/{row['action']}" for row in ROWS}
    assert len(listed) == 41
    assert listed == {row.key for row in load().actions if row.family != "vmm"}


def test_every_row_is_about_a_contract_or_older_than_all() -> None:
    """No row of the list goes unread: those without a contract ended before the first one began."""
    read = {id(param.values[0]) for param in pairs()}
    assert all(before(row["until"]) < parse_version("5.12.0") for row in ROWS if id(row) not in read)


@pytest.mark.parametrize(("row", "name"), pairs())
def test_each_cell_is_the_same(row: dict[str, Any], name: str) -> None:
    """Arguments in order, stdin, stdout, who runs it and where, whose directory, what the ids count, children, suffix."""
    spec = for_contract(name)
    action = spec.actions[f"{row['family']}/{row['action']}"]
    _arguments(row, spec, action)
    carriage = spec.spec.carriages[spec.stdin(action)]
    encoding, root = STDIN[row["stdin"]]
    assert (carriage.encoding.replace("none", "nothing"), carriage.root) == (encoding, root)
    assert spec.parser(action.key) == STDOUT[_stdout(row["stdout"], spec.version)]
    assert BY.get(row["executed_by"], row["executed_by"]) in action.by
    assert action.on == row["runs_on"]
    if row.get("variant") != "kernel/initrd":
        # a row for a directory is of the system driver; the table names the disk's, and ds_id = both says that there are two
        assert action.mad == MADS[row["mad"]] or (row["variant"].startswith("directory") and action.ds_id == "both" and MADS[row["mad"]] == "system")
        if "dsid_meaning" in row:
            assert action.ds_id in DS_IDS[row["dsid_meaning"]]
        if row["family"] == "tm" and "mixed_mode_suffix" in row and not row.get("variant", "").startswith("directory"):
            assert (action.suffix == "disk") == row["mixed_mode_suffix"]
    if row.get("idempotent"):
        assert ("must" in row["idempotent"]) == ("Must succeed" in action.again)


def _arguments(row: dict[str, Any], spec: ContractSpec, action: Action) -> None:
    ours = list(spec.argv(action))
    listed = [word for word in row["argv"] if word != "file..."]
    assert len(listed) == len(ours)
    for word, name in zip(listed, ours, strict=True):
        assert name in ARGUMENTS[word], f"{word} is {name} in the table"
    if action.passing:
        meaning = row.get("id_meaning") or row["argv"][-1]
        assert action.id == IDS[meaning]
    if "dump_children" in row and action.passing:
        assert [child.name for child in spec.children(action)] == list(_children(row["dump_children"], spec.version))


def _children(listed: list[str], version: str) -> list[str]:
    found = []
    for word in listed:
        since = re.search(r">=([\d.]+)", word)
        if since and parse_version(version) < parse_version(since.group(1)):
            continue
        found.append("IMAGE_PATH" if word.startswith("IMAGE(PATH") else re.sub(r"[?(/].*", "", word))
    return found


def _stdout(cell: str | dict[str, str], version: str) -> str:
    if isinstance(cell, str):
        return cell
    number = parse_version(version)
    for key, value in cell.items():
        if key.startswith("<") and number < parse_version(key[1:]):
            return value
        if ".." in key:
            low, high = key.split("..")
            if parse_version(low) <= number and number <= parse_version(high):
                return value
        if key.startswith(">=") and number >= max(_line(key[2:].split("|"), number)):
            return value
    raise AssertionError(f"no cell of {cell} is about {version}")


def _line(texts: list[str], number: tuple[int, ...]) -> list[tuple[int, ...]]:
    thresholds = [parse_version(text) for text in texts]
    return [one for one in thresholds if one[:2] == number[:2]] or thresholds


def test_what_triggers_an_action_is_an_operation_of_the_lifecycles() -> None:
    """Every trigger names an operation, and an action that the list calls triggered has one."""
    spec = load()
    operations = {f"{kind}.{row.name}" for kind, table in spec.lifecycles.items() for row in table.operation}
    for action in spec.actions:
        assert set(action.triggers) <= operations
        assert action.triggers or action.on == "node" or action.family == "vmm"
