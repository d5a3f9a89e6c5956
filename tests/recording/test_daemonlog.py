"""What `oned.log` tells, and transfer scripts do not: work on images, and what is done to VMs that run."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kept_files import daemon_log, keep, recordings, stamp

from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.spec import load
from onesim.trace import parse_trace

VM = {
    "one.vm.attach": "vm.attach_disk",
    "one.vm.detach": "vm.detach_disk",
    "one.vm.diskresize": "vm.disk_resize",
    "one.vm.disksnapshotcreate": "vm.snapshot_create",
    "one.vm.disksnapshotdelete": "vm.snapshot_delete",
    "one.vm.backup": "vm.backup",
}
IMAGE = {
    "one.image.clone": "image.clone",
    "one.image.delete": "image.delete",
    "one.image.snapshotdelete": "image.snapshot_delete",
    "one.image.snapshotrevert": "image.snapshot_revert",
    "one.image.snapshotflatten": "image.snapshot_flatten",
    "one.image.allocate": "image.register",
}


def scriptless(version: str) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """Return the records of one request that succeeded, and for which oned wrote no transfer script; the request; the operation."""
    found = []
    for row in recordings():
        asked = [one for one in row["rpc"] if one["ok"] and "args" in one]
        if row["oned_version"] != version or len(asked) != 1 or any(one.get("transfer_script") for one in row["mad"]):
            continue
        op = (VM | IMAGE).get(asked[0]["rpc"], "") + ("_forced" if asked[0]["rpc"] == "one.image.delete" and asked[0]["args"][1] else "")
        if op and (op.startswith("image.") or any(one.get("vm") == str(asked[0]["args"][0]) for one in row["states"])):
            found.append((row, asked[0], op))
    return found


def subject(op: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a step must tell of a request: VM and disk, or image, and snapshot."""
    words = asked["args"]
    if op in VM.values():
        which = {"disk": words[1]} if op not in ("vm.attach_disk", "vm.backup") else {}
        return {"vm": f"vm{words[0]}", **which} | ({"snapshot": words[2]} if op == "vm.snapshot_delete" else {})
    number = asked["result"] if op in ("image.register", "image.clone") else words[0]
    return {"image": f"image{number}"} | ({"snapshot": words[1]} if "snapshot" in op else {})


def told(root: Path) -> list[dict[str, Any]]:
    found = read_kept([root], load())
    assert not found.notes, found.notes
    steps = retell(found.calls).steps
    parse_trace("\n".join(json.dumps(one) for one in ({"trace": 1, "name": "x", "title": "x"}, *steps)), Path("x"), load())
    return steps


@pytest.mark.parametrize("version, least", [("6.4.0", 50), ("7.0.1", 380), ("7.4.0", 110)])
def test_what_stands_in_no_transfer_script_is_found(tmp_path: Path, version: str, least: int) -> None:
    """Proves that of recorded runs of a real oned, each request without a transfer script is told, on the same VM or image and disk, failures as such."""
    right, wrong = 0, Counter[str]()
    for n, (row, asked, op) in enumerate(scriptless(version)):
        root, words = tmp_path / str(n), asked["args"]
        daemon_log(root, row)
        if op in VM.values():
            keep(root, str(words[0]), row)
        steps = [one for one in told(root) if one["op"] == op]
        failed = any(" FAILURE " in one["line"] for one in row["mad"])
        if any(subject(op, asked).items() <= one.items() and (not failed or one.get("expect") == "any") for one in steps):
            right += 1
        else:
            wrong[f"{row['operation']} ({op}) {asked} {steps}"] += 1
    assert right >= least and not wrong, (right, wrong)


#: Lines of logs, the second before each; times stand in for it.
LOGS = {
    "vms/7/vm.log": """0 [VM][I]: New LCM state is PROLOG
1 [VM][I]: New LCM state is RUNNING
10 [VM][I]: New LCM state is BACKUP
12 [VMM][I]: Successfully execute datastore driver operation: backup_cancel.
13 [VM][I]: New LCM state is RUNNING
20 [VM][I]: New LCM state is HOTPLUG
21 [VMM][E]: DETACHDISK: it is in use
22 [VM][I]: New LCM state is RUNNING
30 [VM][I]: New LCM state is SHUTDOWN_POWEROFF
31 [VM][I]: New state is POWEROFF
40 [VM][I]: New LCM state is BACKUP_POWEROFF
41 [VM][I]: New state is POWEROFF
50 [VM][I]: New LCM state is RESTORE
51 [VM][I]: New state is POWEROFF""",
    "vms/8/vm.log": """2 [VM][I]: New LCM state is PROLOG
3 [VM][I]: New LCM state is RUNNING
20 [VM][I]: New LCM state is HOTPLUG
22 [VM][I]: New LCM state is RUNNING
23 [VM][I]: New LCM state is HOTPLUG
24 [VM][I]: New LCM state is RUNNING""",
    "oned.log.1": """8 [ReM][D]: Req:9 UID:0 one.image.clone result SUCCESS, 5
8 [ReM][D]: Req:8 UID:0 IP:10.0.0.1 one.vmpool.info invoked , -2
9 [ReM][D]: Req:1 UID:0 IP:10.0.0.1 one.vm.backup invoked , 7, 105, false, -1, "FULL"
9 [ReM][D]: Req:1 UID:0 one.vm.backup result SUCCESS, 7
19 [ReM][D]: Req:2 UID:0 IP:10.0.0.1 one.vm.detach invoked , 7, 1""",
    "oned.log": """19 [ReM][D]: Req:2 UID:0 one.vm.detach result SUCCESS, 7
20 [ReM][D]: Req:3 UID:0 IP:10.0.0.1 one.vm.attach invoked , 8, "DISK=[IMAGE_ID=44]"
20 [ReM][D]: Req:3 UID:0 one.vm.attach result SUCCESS, 8
23 [ReM][D]: Req:4 UID:0 IP:10.0.0.1 one.vm.attach invoked , 8, "DISK=[IMAGE_ID=12345..."
23 [ReM][D]: Req:4 UID:0 one.vm.attach result SUCCESS, 8
25 [ReM][D]: Req:5 UID:0 IP:10.0.0.1 one.vm.disksnapshotrevert invoked , 8, 0, 0
25 [ReM][E]: Req:5 UID:0 one.vm.disksnapshotrevert result FAILURE [one.vm.disksnapshotrevert] Could not revert
60 [ReM][D]: Req:6 UID:0 IP:10.0.0.1 one.image.delete invoked , 44
61 [ImM][E]: Error cloning from Image 3: no space""",
}


def incident(root: Path) -> Path:
    """Write what is left of two VMs: one has a backup that is cancelled, one that is restored, and a disk that does not go; the other gets two disks."""
    for name, text in LOGS.items():
        lines = [f"{stamp(int(line.partition(' ')[0]))} [Z0]{line.partition(' ')[2]}" for line in text.splitlines()]
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n")
    # rotated between a request and its result, and cut
    (root / "oned.log.1.gz").write_bytes(gzip.compress((root / "oned.log.1").read_bytes()))
    (root / "oned.log.1").unlink()
    (root / "oned.log").write_text((root / "oned.log").read_text() + "Tue Nov 14 2")
    for vm in (7, 8):
        prolog = "".join(f"CLONE shared fe:/d/1/os host01:/d/0/{vm}/disk.{disk} {vm} 1\n" for disk in (0, 1))
        (root / f"vms/{vm}/transfer.0.prolog").write_text(prolog)
    (root / "vms/7/transfer.0.restore").write_text("RESTORE shared host01:/d/0/7 7 31 -1 -1 \n")
    return root


def test_backups_restores_and_disks_of_running_vms_are_told(tmp_path: Path) -> None:
    """Proves what logs tell of a cancelled backup, a restore, a disk that did not go and disks that came, of two VMs at once; what is missing is counted."""
    found = read_kept([incident(tmp_path)], load())
    retold = retell(found.calls)
    steps = [one for one in retold.steps if one["op"].startswith("vm.") and one["op"] not in ("vm.create", "vm.deploy")]
    assert [one for one in steps if one["vm"] == "vm7"] == [
        {"op": "vm.backup", "vm": "vm7", "datastore": "backups", "image": "backup2", "expect": "any"},
        {"op": "vm.backup_cancel", "vm": "vm7", "beside": "ds/backup", "expect": "any"},
        {"op": "vm.detach_disk", "vm": "vm7", "disk": 1, "expect": "any"},
        {"op": "vm.poweroff", "vm": "vm7"},
        {"op": "vm.backup", "vm": "vm7", "datastore": "backups", "image": "backup4"},
        {"op": "vm.restore", "vm": "vm7", "image": "backup4"},
    ]
    assert [one.get("disk") for one in steps if one["vm"] == "vm8"] == [{"image": "image44"}, {"image": "earlier3"}]
    assert retold.left_out == {
        "VMs of whose backups no document tells the mode: told as full": 1,
        "attached disks of which oned.log tells too little: told as an image of their own": 1,
        "requests that oned refused: one.vm.disksnapshotrevert": 1,
    }
    assert found.notes == {
        "lines of logs that are cut or damaged": 1,
        "requests in oned.log whose beginning is missing": 1,
        "requests in oned.log whose end is missing": 1,
        "errors of the image manager in oned.log that are of no request there": 1,
    }
    parse_trace("\n".join(json.dumps(one) for one in ({"trace": 1, "name": "x", "title": "x"}, *retold.steps)), Path("x"), load())


def test_without_oned_log_it_is_said_what_is_missing(tmp_path: Path) -> None:
    """Proves that disks which came to VMs that ran are counted where no oned.log tells of them, and that one VM can be asked for."""
    root = incident(tmp_path)
    asked = read_kept([root], load(), [8]).calls
    assert {one.argv[0] for one in asked if one.family == "rpc"} == {"8"} and not any(one.action.startswith("one.image.") for one in asked)
    for log in root.glob("oned.log*"):
        log.unlink()
    left_out = retell(read_kept([root], load()).calls).left_out
    assert sum(count for what, count in left_out.items() if what.startswith("states HOTPLUG")) == 3
