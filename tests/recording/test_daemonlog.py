"""What `oned.log` tells, and transfer scripts do not: work on images, and what is done to VMs that run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kept_files import daemon_log, keep, recordings

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


@pytest.mark.parametrize("version, least", [("6.4.0", 20), ("7.0.1", 100), ("7.4.0", 30)])
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
