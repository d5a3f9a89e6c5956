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


def test_no_spool_is_said(tmp_path: Path) -> None:
    """Proves one line and status 4 where there is no spool."""
    done = CliRunner().invoke(application(), ["record", "collect", str(tmp_path)])
    assert done.exit_code == 4 and "no spool" in done.output
