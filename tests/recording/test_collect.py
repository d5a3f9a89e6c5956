"""From an installed driver to a trace, through the commands: without secrets, and with what was left out."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from installed_driver import SCRIPTS, Installed
from typer.testing import CliRunner

from onesim.spec import load
from onesim.trace import parse_trace
from onetck.cli import application

DOCUMENT = (
    "<DS_DRIVER_ACTION_DATA><IMAGE><ID>12</ID><TYPE>0</TYPE><PERSISTENT>1</PERSISTENT></IMAGE>"
    "<DATASTORE><TEMPLATE><API_TOKEN>open sesame</API_TOKEN></TEMPLATE></DATASTORE></DS_DRIVER_ACTION_DATA>"
)


def test_what_was_recorded_becomes_a_trace_without_secrets(installed: Installed, tmp_path: Path) -> None:
    """Proves that recorded calls come back as operations, that a call that failed is marked, and that a secret of a document stands in nothing that is written."""
    for side in (installed.root, installed.bare):
        (side / "datastore/x/cp").write_text("#!/bin/sh\ncat >/dev/null; echo /ds/1/abc qcow2; echo 'token open sesame' >&2\n")
        (side / "tm/x/mvds").write_text("#!/bin/sh\nexit 0\n")
    assert SCRIPTS["tm/x/clone"].endswith("exit 3")
    installed.install()
    assert installed.call("datastore/x/cp", "12", data=base64.b64encode(DOCUMENT.encode()))[1] == b"/ds/1/abc qcow2\n"
    installed.recorded(1)
    installed.call("tm/x/clone", "fe:/ds/1/abc", "node7:/d/0/3/disk.0", "3", "1")
    installed.recorded(2)
    out, calls = tmp_path / "trace.jsonl", tmp_path / "calls.jsonl"
    done = CliRunner().invoke(application(), ["record", "collect", str(installed.spool), "--out", str(out), "--calls", str(calls), "--json"])
    assert done.exit_code == 0, done.output
    trace = parse_trace(out.read_text(), out, load())
    assert [(step.op, step.expect) for step in trace.steps] == [
        ("file.make", "success"),
        ("image.register", "success"),
        ("vm.create", "success"),
        ("vm.deploy", "any"),
    ]
    assert trace.steps[1].arguments["persistent"] is True and trace.steps[2].arguments["disks"] == [{"image": "image12"}]
    rows = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [(row["call"], row["status"]) for row in rows] == [("ds/cp", 0), ("tm/clone", 3)]
    assert rows[1]["argv"] == ["fe:/ds/1/abc", "node7:/d/0/3/disk.0", "3", "1"]
    written = out.read_text() + calls.read_text() + done.output
    assert "open sesame" not in written and base64.b64encode(DOCUMENT.encode()).decode() not in written
    assert "REDACTED-API_TOKEN" in rows[0]["stderr"]


def test_a_recorded_chain_of_backups_becomes_one_of_a_trace(installed: Installed, tmp_path: Path) -> None:
    """Proves that what the shim keeps of backups suffices: two increments after one that was made before, and a restore of the second of these three."""
    for side in (installed.root, installed.bare):
        for name in ("tm/x/prebackup", "tm/x/postbackup", "tm/x/restore", "datastore/x/backup"):
            (side / name).write_text("#!/bin/sh\ncat >/dev/null; echo 7f3a 1 raw\n")
            (side / name).chmod(0o755)
    installed.install()
    config = "<MODE>INCREMENT</MODE><KEEP_LAST>4</KEEP_LAST><INCREMENTAL_BACKUP_ID>9</INCREMENTAL_BACKUP_ID><LAST_INCREMENT_ID>{}</LAST_INCREMENT_ID>"
    backups = f"<BACKUPS><BACKUP_CONFIG>{config}</BACKUP_CONFIG><BACKUP_IDS><ID>9</ID></BACKUP_IDS></BACKUPS>"
    disk = "<DISK><CLONE>NO</CLONE><DISK_ID>0</DISK_ID><FORMAT>qcow2</FORMAT><IMAGE_ID>4</IMAGE_ID><SOURCE>/ds/1/abc</SOURCE><TYPE>FILE</TYPE></DISK>"
    made = 0
    for last in (0, 1):
        document = f"<VM><ID>3</ID><TEMPLATE>{disk}</TEMPLATE>{backups.format(last)}</VM>".encode()
        for name in ("tm/x/prebackup", "datastore/x/backup", "tm/x/postbackup"):
            installed.call(name, "node7:/d/0/3", "0", "one-3", "-", "3", "0", data=document)
            made += 1
            installed.recorded(made)
    installed.call("tm/x/restore", "node7:/d/0/3", "3", "9", "1", "-1")
    installed.recorded(made + 1)
    out = tmp_path / "trace.jsonl"
    done = CliRunner().invoke(application(), ["record", "collect", str(installed.spool), "--out", str(out)])
    assert done.exit_code == 0, done.output
    steps = [step for step in parse_trace(out.read_text(), out, load()).steps if not step.op.startswith("file.")]
    assert [step.op for step in steps] == [
        "image.register",
        "vm.create",
        "vm.deploy",
        "vm.backup",
        "vm.poweroff",
        "vm.backup",
        "vm.backup",
        "vm.restore",
    ]
    assert steps[0].arguments["persistent"] is True and steps[1].arguments["backup"] == {"mode": "INCREMENT", "keep_last": 4}
    assert len({step.arguments["image"] for step in steps[3:] if "image" in step.arguments}) == 1 and steps[-1].arguments["increment"] == 1


def test_no_spool_is_said(tmp_path: Path) -> None:
    """Proves one line and status 4 where there is no spool."""
    done = CliRunner().invoke(application(), ["record", "collect", str(tmp_path)])
    assert done.exit_code == 4 and "no spool" in done.output
