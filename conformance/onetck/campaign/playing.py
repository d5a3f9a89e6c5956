"""One run of a campaign, wherever it is carried out: a process of its own, and a row for the store."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from onereport.results import EXIT_NO_VERDICT, FAILURES

#: The columns of the store. `outcome` is passed, failed (`failed` names the requirements), or lost, where nothing is known of the driver (`error` says why). A
#: single case never suffices for a profile: `exit_code` is that of the run. Lists are parted by blanks, so that every reader has them.
COLUMNS = {
    "key": "string",
    "driver": "string",
    "contract": "string",
    "case": "string",
    "seed": "int64",
    "backend": "string",
    "hypervisor": "string",
    "outcome": "string",
    "exit_code": "int64",
    "failed": "string",
    "calls": "int64",
    "seconds": "double",
    "history_bytes": "int64",
    "started_s": "double",
    "worker": "string",
    "error": "string",
}
#: The outcome of a run that is to be made again.
LOST = "lost"
Row = dict[str, Any]
_ABOUT = ("key", "driver", "contract", "case", "seed", "backend", "hypervisor")


def lost(job: dict[str, Any], why: str = "") -> Row:
    """Return the row of a run of which nothing is known."""
    told = {"outcome": LOST, "exit_code": EXIT_NO_VERDICT, "failed": "", "calls": 0, "seconds": 0.0, "history_bytes": 0}
    return {**{name: job[name] for name in _ABOUT}, **told, "started_s": time.time(), "worker": "", "error": why[:400]}


def play(job: dict[str, Any]) -> Row:
    """Carry out a run, given as plain data so that it travels, and return its row. Whatever goes wrong with it is in the row."""
    begun, row = time.monotonic(), lost(job)
    with tempfile.TemporaryDirectory(prefix="onetck-campaign-") as out:
        command = [sys.executable, "-m", "onetck.cli", "run", *job["words"], "--out", out, "--jobs", "1", "--json"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=job["timeout_s"], check=False, stdin=subprocess.DEVNULL
            )
            row["exit_code"] = done.returncode
            row |= _told(done.stdout) or {"error": done.stderr.strip()[-400:] or f"ended with status {done.returncode}"}
        except subprocess.TimeoutExpired:
            row["error"] = f"not done in {job['timeout_s']} s"
        history = Path(out) / "history.jsonl"
        row["history_bytes"] = history.stat().st_size if history.is_file() else 0
    return {**row, "seconds": time.monotonic() - begun, "worker": socket.gethostname()}


def _told(text: str) -> Row:
    """Return what the outcome of a run says; nothing if there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    failed = [one["id"] for one in found["requirements"] if one["verdict"] in FAILURES]
    errors = [one["id"] for one in found["requirements"] if one["verdict"] == "error"]
    known = found.get("executed", 0) and not errors
    why = f"not judged, by a fault of the harness: {' '.join(errors)}" if errors else "" if known else "no requirement was reached"
    outcome = "failed" if failed else "passed" if known else LOST
    return {"outcome": outcome, "calls": found.get("calls", 0), "failed": " ".join(failed), "error": why}
