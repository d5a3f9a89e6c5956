"""What a front-end keeps becomes a trace of what was done there; what is damaged is counted."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kept_files import keep, recordings, stamp
from typer.testing import CliRunner

from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.spec import load
from onesim.trace import parse_trace
from onetck.cli import application

ACTIONS = {
    "stop": "vm.stop",
    "undeploy": "vm.undeploy",
    "undeploy-hard": "vm.undeploy",
    "terminate": "vm.terminate",
    "terminate-hard": "vm.terminate",
}
METHODS = {"one.vm.deploy": "vm.deploy", "one.vm.diskresize": "vm.disk_resize", "one.vm.disksnapshotcreate": "vm.snapshot_create"}
METHODS |= {
    "one.vm.disksnapshotdelete": "vm.snapshot_delete",
    "one.vm.disksnapshotrevert": "vm.snapshot_revert",
    "one.vm.disksaveas": "vm.disk_saveas",
}


def recorded() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield what was recorded of the real oned, where a transfer script was run for one operation: VM, recording, and the operation as a trace names it."""
    for row in recordings():
        requests = [one for one in row.get("rpc", ()) if one["ok"]]
        scripts = [one for one in row.get("mad", ()) if one.get("transfer_script")]
        if len(requests) != 1 or not scripts:
            continue
        method, args = requests[0]["rpc"], requests[0]["args"]
        op = ACTIONS.get(str(args[0]), "") if method == "one.vm.action" else METHODS.get(method, "")
        if op:
            yield scripts[0]["line"].split()[1], row, op


@pytest.mark.parametrize("version", ["6.4.0", "7.0.1", "7.4.0"])
def test_what_the_real_oned_left_tells_what_was_asked(tmp_path: Path, version: str) -> None:
    """Proves that from transfer scripts and logs of recorded runs of a real oned, failures among them, the operation is found in at least 95 of 100."""
    spec, right, wrong = load(), 0, Counter[str]()
    for n, (vm, row, op) in enumerate(one for one in recorded() if one[1]["oned_version"] == version):
        keep(tmp_path / str(n), vm, row)
        found = read_kept([tmp_path / str(n)], spec)
        assert not found.notes, found.notes
        steps = retell(found.calls).steps
        if any(step["op"] == op for step in steps):
            right += 1
        else:
            wrong[f"{row['operation']} ({op}): {[step['op'] for step in steps][-1:]}"] += 1
        parse_trace("\n".join(json.dumps(one) for one in ({"trace": 1, "name": "x", "title": "x"}, *steps)), Path("x"), spec)
    assert right > 40
    assert right / (right + wrong.total()) >= 0.95, (right, wrong)


def front_end(root: Path) -> Path:
    """Write what two VMs have left: one lived and one failed, at the same time; logs are rotated, packed and cut."""
    vms, log = root / "vms", root / "log"
    log.mkdir(parents=True)
    scripts = {
        "5/transfer.0.prolog": "CLONE shared fe:/d/1/os host01:/var/lib/one//datastores/0/5/disk.0 5 1\nLN shared fe:/d/1/data host01:/d/0/5/disk.1 5 1\n",
        "5/transfer.0.stop": "MV shared host01:/d/0/5/disk.0 fe:/d/0/5/disk.0 5 1\nMV shared host01:/d/0/5/disk.1 fe:/d/0/5/disk.1 5 1\n"
        "MV shared host01:/d/0/5 fe:/d/0/5 5 0\n",
        "5/transfer.1.epilog": "DELETE shared fe:/d/0/5/disk.0 5 1\nMVDS shared fe:/d/0/5/disk.1 /d/1/data 5 1\nDELETE shared fe:/d/0/5 5 0\nDELE",
        "6/transfer.0.prolog": "# made by oned\n\nCLONE shared fe:/d/1/os host02:/d/0/6/disk.0 6 1\nMKSWAP shared 64 host02:/d/0/6/disk.1 6 0\n",
    }
    for name, text in scripts.items():
        path = vms / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    states = ("PROLOG", "BOOT", "RUNNING", "SAVE_SUSPEND", "BOOT_SUSPENDED", "RUNNING", "SAVE_STOP", "EPILOG_STOP", "EPILOG")
    lines = [f"{stamp(10 * n)} [Z0][VM][I]: New LCM state is {state}" for n, state in enumerate(states)]
    (log / "5.log.1.gz").write_bytes(gzip.compress("\n".join(lines[:4]).encode()))
    (log / "5.log").write_text("\n".join(lines[4:]) + "\nTue Nov 14 22:1")
    failure = "Command execution failed (exit code: 1): /var/lib/one/remotes/tm/shared/mkswap 64 host02:/d/0/6/disk.1 6 0"
    lines = [
        f"{stamp(5)} [Z0][VM][I]: New LCM state is PROLOG",
        f"{stamp(6)} [Z0][TrM][I]: {failure}",
        f"{stamp(7)} [Z0][VM][I]: New LCM state is PROLOG_FAILURE",
    ]
    (log / "6.log").write_text("\n".join(lines))
    (root / "vm.xml").write_text("<VM><ID>5</ID><TEMPLATE><CONTEXT><NETWORK>YES</NETWORK></CONTEXT></TEMPLATE></VM>")
    return root


def test_two_vms_are_told_apart_and_damage_is_counted(tmp_path: Path) -> None:
    """Proves the whole way through the command: interleaved VMs, rotated and packed logs, a failed call, a document, and cut lines, which are counted."""
    out = tmp_path / "trace.jsonl"
    done = CliRunner().invoke(application(), ["import", str(front_end(tmp_path / "kept")), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    trace = parse_trace(out.read_text(), out, load())
    told = [(step.op, step.arguments.get("vm"), step.expect) for step in trace.steps if step.op.startswith("vm.")]
    assert told == [
        ("vm.create", "vm5", "success"),
        ("vm.deploy", "vm5", "success"),
        ("vm.create", "vm6", "success"),
        ("vm.deploy", "vm6", "any"),
        ("vm.suspend", "vm5", "success"),
        ("vm.resume", "vm5", "success"),
        ("vm.stop", "vm5", "success"),
        ("vm.terminate", "vm5", "success"),
    ]
    create = next(step for step in trace.steps if step.op == "vm.create")
    assert create.arguments["context"] == {"NETWORK": "YES"} and len(create.arguments["disks"]) == 2
    notes = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))["notes"]
    assert notes == {"lines of logs that are cut or damaged": 1, "lines of transfer scripts that are cut or damaged": 1}


def test_without_logs_the_times_of_the_scripts_are_taken(tmp_path: Path) -> None:
    """Proves that transfer scripts alone suffice, by the times at which they were written; what logs alone tell is missing then."""
    home = front_end(tmp_path) / "vms"
    for n, name in enumerate(("5/transfer.0.prolog", "5/transfer.0.stop", "5/transfer.1.epilog", "6/transfer.0.prolog")):
        os.utime(home / name, (1_700_000_000 + 60 * n,) * 2)
    steps = retell(read_kept([home], load()).calls).steps
    assert [step["op"] for step in steps if step["op"].startswith("vm.")] == [
        "vm.create",
        "vm.deploy",
        "vm.undeploy",
        "vm.terminate",
        "vm.create",
        "vm.deploy",
    ]


@pytest.mark.parametrize("what, status, said", [("nowhere", 4, "not there"), ("empty", 4, "no transfer"), ("bare", 5, "no operation")])
def test_nothing_to_import_is_said_in_one_line(tmp_path: Path, what: str, status: int, said: str) -> None:
    """Proves one line with the remedy, and the documented status, for a path that is not there, none that is known, and no operation in what is known."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "7.log").write_text("nonsense\n")
    done = CliRunner().invoke(application(), ["import", str(tmp_path / what)])
    assert done.exit_code == status and said in done.output.replace("\n", " ")
