"""What calls tell of backups, also where the first of them were not recorded, or not all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from front_end import play
from kept_files import daemon_log, keep, recordings
from lxml import etree
from rehearsed import of_backups, played, printed

from onesim.events import CallFinished, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.recording.calls import SeenCall
from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.rehearsal import rehearse
from onesim.spec import for_contract, load
from onesim.trace import Trace, library, parse_trace

CHAINS = ("backup-increments", "backup-flatten", "backup-merged", "backup-restore", "backup-live-increments", "backup-keep")


def trace(name: str, contract: str = "7.4") -> Trace:
    return next(one for one in library(load(), for_contract(contract).contract.version) if one.name == name)


def parsed(steps: Iterable[dict[str, Any]]) -> Trace:
    lines = [{"trace": 1, "name": "again", "title": "again"}, *steps]
    return parse_trace("\n".join(map(json.dumps, lines)), Path("again"), load())


def begins(seen: list[SeenCall]) -> list[int]:
    return [n for n, call in enumerate(seen) if call.action.startswith("prebackup")]


@pytest.mark.parametrize("name", [*CHAINS, "backup-off", "backup-live"])
def test_what_was_backed_up_before_is_told(name: str) -> None:
    """Proves that a recording which begins with any later backup leads to the same calls: the backups before are made first, the disks are of their kinds."""
    _, seen, _ = played(trace(name), "7.4")
    for first in begins(seen)[1:]:
        retold = retell(seen[first:])
        _, again, refused = played(parsed(retold.steps), "7.4")
        wanted = of_backups(seen[first:])
        assert not refused and of_backups(again[len(again) - len(seen[first:]) :]) == wanted, first
        assert not +Counter({what: count for what, count in retold.left_out.items() if "monitor" not in what})


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("family, mad", [("tm", "shared"), ("ds", "rsync")])
def test_one_driver_suffices(name: str, family: str, mad: str) -> None:
    """Proves that the calls of the transfer driver alone, or of the backup driver alone, lead to the same calls of it."""
    _, seen, _ = played(trace(name), "7.4")
    _, again, refused = played(parsed(retell([call for call in seen if call.mad == mad and call.family == family]).steps), "7.4")
    before, after = (of_backups([call for call in calls if call.mad == mad and call.action != "restore"]) for calls in (seen, again))
    assert not refused and before == after


#: Two chains, the second one asked for; disks put back from an increment, which ends the chain; images made of one.
RESET: list[dict[str, Any]] = [
    {"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 1},
    {"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"},
    {"op": "vm.create", "vm": "vm", "disks": [{"image": "os"}], "backup": {"mode": "INCREMENT", "keep_last": 3}},
    {"op": "vm.deploy", "vm": "vm", "host": "host01"},
    *({"op": "vm.backup", "vm": "vm", "datastore": "backups", "image": "first"} for _ in range(2)),
    {"op": "vm.backup", "vm": "vm", "datastore": "backups", "image": "second", "reset": True},
    *({"op": "vm.backup", "vm": "vm", "datastore": "backups", "image": "second"} for _ in range(4)),
    {"op": "vm.poweroff", "vm": "vm"},
    {"op": "image.restore", "image": "first", "increment_id": 1},
    {"op": "vm.restore", "vm": "vm", "image": "second", "increment": 3, "disk": 0},
    {"op": "vm.backup", "vm": "vm", "datastore": "backups", "image": "third"},
    {"op": "vm.backup", "vm": "vm", "datastore": "backups", "image": "third", "job": 4},
]
GONE: list[dict[str, Any]] = [
    {"op": "vm.terminate", "vm": "vm"},
    *({"op": "image.delete", "image": name} for name in ("second", "third", "first", "os")),
]


def told(steps: Iterable[dict[str, Any]]) -> list[list[object]]:
    """Return the steps about backups, with their images in the order in which they are named."""
    order: dict[str, int] = {}
    found = []
    for step in steps:
        if step["op"] in ("vm.backup", "vm.restore", "image.restore"):
            words = [step.get(name) for name in ("reset", "increment", "increment_id", "disk", "job")]
            found.append([step["op"], order.setdefault(step["image"], len(order)), *words])
    return found


def test_a_chain_that_was_asked_for_is_told_by_calls() -> None:
    """Proves that calls tell where a new chain was asked for, where a restore began one, the increments that were restored, and the number of a job."""
    _, seen, refused = played(parsed([*RESET, *GONE]), "7.4")
    assert not refused and told(retell(seen).steps) == told(RESET)
    for first in begins(seen)[1:]:
        _, again, refused = played(parsed(retell(seen[first:]).steps), "7.4")
        assert not refused and of_backups(again[len(again) - len(seen[first:]) :]) == of_backups(seen[first:])


@pytest.mark.parametrize("log", [True, False], ids=["with oned.log", "without oned.log"])
def test_a_chain_that_was_asked_for_is_told_by_documents(tmp_path: Path, log: bool) -> None:
    """Proves the same of what a front-end keeps, also where no oned.log tells of requests: then documents tell where the last chain began."""
    assert play(parsed([*RESET, *GONE]), "7.4", tmp_path, documents=True)
    if not log:
        (tmp_path / "oned.log").unlink()
    found = read_kept([tmp_path], load())
    retold = retell(found.calls, found.documents, found.images.values())
    wanted = [[*row[:-1], None] for row in told(RESET) if log or row[0] != "image.restore"]
    assert told(retold.steps) == wanted and not +retold.left_out and not found.notes


@pytest.mark.parametrize("log", [True, False], ids=["with oned.log", "without oned.log"])
@pytest.mark.parametrize("name", [*CHAINS, "backup-full", "backup-live", "backup-live-agent", "backup-snapshots"])
def test_documents_of_a_front_end_tell_of_chains(tmp_path: Path, name: str, log: bool) -> None:
    """Proves that scripts, logs and documents together lead to the same calls of backups; oned.log cuts the increments of which new images are made."""
    _, seen, _ = played(trace(name), "7.4")
    assert play(trace(name), "7.4", tmp_path, documents=True)
    if not log:
        (tmp_path / "oned.log").unlink()
    found = read_kept([tmp_path], load())
    assert not found.notes
    _, again, refused = played(parsed(retell(found.calls, found.documents, found.images.values()).steps), "7.4")
    before, after = (of_backups([call for call in calls if (call.family, call.action) != ("ds", "restore")]) for calls in (seen, again))
    assert not refused and before == after


def test_logs_alone_tell_of_no_mode(tmp_path: Path) -> None:
    """Proves that backups whose mode nothing tells are counted: told as full ones, or as increments where one is restored."""
    for name, mode in (("backup-increments", "full"), ("backup-restore", "increments")):
        play(trace(name), "7.4", tmp_path / name)
        retold = retell(read_kept([tmp_path / name], load()).calls)
        assert retold.left_out[f"VMs of whose backups no document tells the mode: told as {mode}"] == 1
        created = next(step for step in retold.steps if step["op"] == "vm.create")
        assert created.get("backup", {}).get("mode", "FULL") == ("FULL" if mode == "full" else "INCREMENT")


def vm(last: int, chain: int = 9, mode: str = "INCREMENT", ids: Iterable[int] = (9,)) -> str:
    config = f"<MODE>{mode}</MODE><KEEP_LAST>3</KEEP_LAST><INCREMENTAL_BACKUP_ID>{chain}</INCREMENTAL_BACKUP_ID><LAST_INCREMENT_ID>{last}</LAST_INCREMENT_ID>"
    there = "".join(f"<ID>{id}</ID>" for id in ids)
    return f"<VM><ID>7</ID><BACKUPS><BACKUP_CONFIG>{config}</BACKUP_CONFIG><BACKUP_IDS>{there}</BACKUP_IDS></BACKUPS></VM>"


def image(number: int, more: str = "", what: str = "") -> bytes:
    """Return the action document of a backup of VM 7."""
    text = f"<IMAGE><ID>{number}</ID><TYPE>6</TYPE><SOURCE>b{number}</SOURCE><VMS><ID>7</ID></VMS>{more}</IMAGE>{what}"
    return f"<DS_DRIVER_ACTION_DATA>{text}</DS_DRIVER_ACTION_DATA>".encode()


PLACE = ("node1:/var/lib/one/datastores/0/7", "0", "one-7", "-", "7", "0")


def backup(at_s: float, document: str, stdout: str = "b9 1", status: int = 0) -> list[SeenCall]:
    """Return the calls of a backup of VM 7."""
    rows = (("tm", "prebackup", b"", 0), ("ds", "backup", stdout.encode(), status), ("tm", "postbackup", b"", 0))
    made = [
        (at_s + n, at_s + n + 0.9, family, "x", name, PLACE, document.encode(), out, b"", failed)
        for n, (family, name, out, failed) in enumerate(rows)
    ]
    return [SeenCall(*row) for row in made]


def restore(at_s: float, increment: int, number: int = 9) -> SeenCall:
    return SeenCall(at_s, at_s, "tm", "x", "restore", (PLACE[0], "7", str(number), str(increment), "-1"))


def test_of_a_long_chain_the_last_increments_are_told() -> None:
    """Proves that of 41 increments before the recording eight are told, that those restored are counted from there, and that one of the others is counted."""
    retold = retell([*backup(10, vm(40)), restore(20, 41), restore(30, 40), restore(40, 3)])
    steps = [step for step in retold.steps if step["op"] in ("vm.backup", "vm.restore")]
    assert [step["op"] for step in steps] == ["vm.backup"] * 9 + ["vm.restore"] * 3 and len({step["image"] for step in steps}) == 1
    assert [step.get("increment") for step in steps[-3:]] == [8, 7, None]
    assert retold.left_out == {"increments that are older than those which the trace tells: the newest is restored": 1}


def test_a_log_that_begins_late_is_told_with_what_was_before() -> None:
    """Proves that where a log tells of two backups of a chain of four, and there is an older chain, those that are missing are told first."""
    states = [SeenCall(at_s, at_s, "vm", "", state, ("7",)) for at_s, state in ((10, "BACKUP"), (11, "RUNNING"), (20, "BACKUP"), (21, "RUNNING"))]
    steps = [step for step in retell(states, {7: etree.fromstring(vm(3, ids=(5, 9)))}).steps if step["op"] == "vm.backup"]
    older, newer = steps[0]["image"], steps[1]["image"]
    assert older != newer and [(step["image"], step.get("reset")) for step in steps] == [
        (older, None),
        (newer, True),
        *((newer, None) for _ in range(3)),
    ]


def test_a_backup_that_was_there_before_is_no_later_one() -> None:
    """Proves that images made of an older backup than those that were recorded are told as of one that was made before."""
    older = SeenCall(20, 21, "ds", "x", "restore", ("0",), image(5, what="<TEMPLATE/>"), b"5 12")
    steps = [step for step in retell([*backup(10, vm(-1, -1, "FULL", ())), older]).steps if step["op"] in ("vm.backup", "image.restore")]
    assert [step["op"] for step in steps] == ["vm.backup", "vm.backup", "image.restore"] and steps[0]["image"] == steps[2]["image"] != steps[1][
        "image"
    ]


def test_a_backup_that_failed_is_no_increment() -> None:
    """Proves that after a backup that failed the chain goes on where it was, and that the first of a chain is asked for anew if it failed."""
    steps = retell([*backup(10, vm(-1, -1, ids=())), *backup(20, vm(0), status=1), *backup(30, vm(0)), restore(40, 1)]).steps
    assert [(step["op"], step.get("expect"), step.get("reset")) for step in steps if step["op"].startswith("vm.b")] == [
        ("vm.backup", None, None),
        ("vm.backup", "any", None),
        ("vm.backup", None, None),
    ]
    assert len({step["image"] for step in steps if step["op"] in ("vm.backup", "vm.restore")}) == 1
    steps = retell([*backup(10, vm(-1, -1, ids=()), status=1), *backup(20, vm(-1, -1, ids=()))]).steps
    assert [(step["image"], step.get("reset")) for step in steps if step["op"] == "vm.backup"] == [("backup2", None), ("backup3", True)]


def test_what_keep_last_does_is_part_of_the_backup() -> None:
    """Proves that merging and removal are no operations of their own; that the backup may fail where they did; and that a user's deletion is one."""
    full = [call for n in range(4) for call in backup(10 * n, vm(-1, -1, "FULL", range(9, 9 + n)), f"b{9 + n} 1")]
    removed = [
        SeenCall(at_s, at_s, "ds", "x", "rm", (str(id),), image(id), status=status) for at_s, id, status in ((40, 9, 1), (41, 9, 0), (42, 11, 0))
    ]
    steps = [step for step in retell([*full, *removed]).steps if step["op"] in ("vm.backup", "image.delete")]
    labels = [step["image"] for step in steps[:4]]
    assert len(set(labels)) == 4 and [step.get("expect") for step in steps] == [None, None, None, "any", None, None]
    assert [(step["op"], step["image"]) for step in steps[4:]] == [("image.delete", labels[0]), ("image.delete", labels[2])]
    merged = SeenCall(15, 15, "ds", "x", "increment_flatten", ("9",), image(9), status=1)
    steps = retell([*backup(10, vm(2)), merged, restore(20, 0)]).steps
    expected = [step.get("expect") for step in steps if step["op"] in ("vm.backup", "vm.restore")]
    assert expected == [None, None, None, "any", "any"], "the increment may be merged when this is played again"


def test_images_that_a_restore_made_are_told_with_it() -> None:
    """Proves that the calls for new images of a backup are no operations of their own, and that a VM of them has those that the restore will make again."""
    wanted = "<DESTINATION_DS_ID>1</DESTINATION_DS_ID><TEMPLATE><NAME>again</NAME><INCREMENT_ID>1</INCREMENT_ID><DISK_ID>0</DISK_ID><NO_IP>YES</NO_IP></TEMPLATE>"
    new = b"<DS_DRIVER_ACTION_DATA><IMAGE><ID>12</ID><NAME>again, disk 0</NAME><TYPE>0</TYPE></IMAGE></DS_DRIVER_ACTION_DATA>"
    calls = [
        *backup(10, vm(0)),
        SeenCall(20, 25, "ds", "x", "restore", ("0",), image(9, what=wanted), b"5 12"),
        SeenCall(21, 22, "ds", "y", "cp", ("12",), new, b"/ds/1/abc raw"),
        SeenCall(30, 31, "tm", "x", "clone", ("fe:/ds/1/abc", "node1:/var/lib/one/datastores/0/8/disk.0", "8", "1")),
    ]
    steps = retell(calls).steps
    restored = next(step for step in steps if step["op"] == "image.restore")
    assert {name: restored[name] for name in ("increment_id", "disk_id", "no_ip")} == {"increment_id": 1, "disk_id": 0, "no_ip": True}
    assert next(step for step in steps if step.get("vm") == "vm8")["disks"] == [{"image": f"{restored['name']}, disk 0"}]
    assert not any(step.get("image") in ("image12", "earlier3") for step in steps)


def test_a_configuration_that_changes_is_counted() -> None:
    """Proves that the first configuration is told, that volatile disks are asked for from when they are backed up, and that other changes are counted."""
    later = vm(-1, -1, "FULL", (9,)).replace("<MODE>", "<BACKUP_VOLATILE>YES</BACKUP_VOLATILE><MODE>")
    retold = retell([*backup(10, vm(-1, -1, "FULL", ())), *backup(20, later, "b10 1")])
    assert [step.get("volatile") for step in retold.steps if step["op"] == "vm.backup"] == [None, True] and not +retold.left_out
    retold = retell([*backup(10, vm(-1, -1, "FULL", ())), *backup(20, vm(-1, -1, ids=(9,)), "b10 1")])
    assert retold.left_out == {"backups of VMs whose BACKUP_CONFIG had changed: told with the first one": 1}


def standing_after(steps: Iterable[dict[str, Any]], contract: str) -> tuple[object, ...]:
    """Return how the VM of a trace is backed up in the end: mode, KEEP_LAST, whether a chain goes on, its last increment, the number of images."""
    oned = Oned(for_contract(contract), make_cloud(Subjected(b"", "fs", "shared", "shared", backup_mad="rsync"), True))
    for _, output in rehearse(oned, parsed(steps), lambda call: CallFinished(call.call, True, printed(call))):
        assert not isinstance(output, Refused), output
    (vm,) = oned.cloud.vms.values()
    return vm.backup.mode, vm.backup.keep_last, vm.backup.chain >= 0, vm.backup.last_increment, len(vm.backups)


@pytest.mark.parametrize("version, least", [("7.0.1", 60), ("7.4.0", 15)])
def test_backups_of_a_real_oned_leave_the_same(tmp_path: Path, version: str, least: int) -> None:
    """Proves that of recorded backups and restores of a real oned, in which nothing failed, logs and the document make a trace that ends as they did.

    Most VMs had backups before: those are told first.
    """
    right = 0
    for n, row in enumerate(recordings()):
        asked = [one for one in row["rpc"] if "args" in one and one["ok"]]
        backups = (row.get("post") or {}).get("backups", "")
        if row["oned_version"] != version or len(asked) != 1 or asked[0]["rpc"] not in ("one.vm.backup", "one.vm.restore"):
            continue
        if any(call["rc"] for call in row["calls"]) or not backups or "<LAST_BACKUP_ID>" in backups:
            continue  # it failed; or oned refused the image, as two backups of one second have one name (docs/fidelity.md)
        vm, root = str(asked[0]["args"][0]), tmp_path / str(n)
        keep(root, vm, row)
        daemon_log(root, row)
        (root / "vm.xml").write_text(f"<VM><ID>{vm}</ID>{backups}</VM>")
        found = read_kept([root], load())
        retold = retell(found.calls, found.documents, found.images.values())
        node = etree.fromstring(backups)
        values = {name: node.findtext(f"BACKUP_CONFIG/{name}") or "" for name in ("MODE", "KEEP_LAST", "INCREMENTAL_BACKUP_ID", "LAST_INCREMENT_ID")}
        seen = (values["MODE"], int(values["KEEP_LAST"]), values["INCREMENTAL_BACKUP_ID"] != "-1", int(values["LAST_INCREMENT_ID"]))
        assert standing_after(retold.steps, version.rpartition(".")[0]) == (*seen, len(node.findall("BACKUP_IDS/ID"))), (row["operation"], backups)
        assert not retold.left_out and not found.notes
        right += 1
    assert right >= least
