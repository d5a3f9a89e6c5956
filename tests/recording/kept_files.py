"""Writes what the real oned would have left of a recorded operation: transfer scripts, the log of the VM, and its own log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent.parent / "simulator/data/oned-recordings.jsonl.gz"


def recordings() -> Iterator[dict[str, Any]]:
    """Yield the records of the real oned."""
    with gzip.open(RECORDINGS, "rt") as lines:
        yield from map(json.loads, lines)


def stamp(second: int) -> str:
    return datetime.fromtimestamp(1_700_000_000 + second, UTC).strftime("%a %b %d %H:%M:%S %Y")


def keep(root: Path, vm: str, row: dict[str, Any]) -> None:
    """Write the transfer scripts, and the log of the VM: its states, and the failures of its hypervisor's driver."""
    home = root / vm
    home.mkdir(parents=True)
    for message in row["mad"]:
        if message.get("transfer_script"):
            (home / message["line"].split("/")[-1]).write_text(message["transfer_script"])
    lines = [stamp(0) + " [Z0][VM][I]: New LCM state is RUNNING"] if "RUNNING" in str(row["precondition"]) else []
    failed = [message["line"].split(" ", 3) for message in row["mad"] if " FAILURE " in message["line"]]
    for n, change in enumerate((one for one in row["states"] if one.get("vm") == vm), 1):
        state, lcm = change["state"].split("/")
        lines.append(f"{stamp(n)} [Z0][VM][I]: New {'LCM state' if state == 'ACTIVE' else 'state'} is {lcm if state == 'ACTIVE' else state}")
        if n == 1:
            lines += [f"{stamp(n)} [Z0][VMM][E]: {word[0]}: {word[-1]}" for word in failed if word[0] != "TRANSFER"]
        if n == 1 and any(call["action"] == "backup_cancel" for call in row["calls"]):
            lines.append(f"{stamp(n)} [Z0][VMM][I]: Successfully execute datastore driver operation: backup_cancel.")
    (home / "vm.log").write_text("\n".join(lines) + "\n")


#: What oned's image manager says of a driver's failure, by the message that told it of it.
FAILURES = {
    "CP": "Error copying image in the datastore: {text}",
    "MKFS": "Error creating datablock: {text}",
    "CLONE": "Error cloning from Image {first}: {text}",
    "RM": "Error removing image from datastore. Retry the operation or manually remove image source  and run the delete: {text}",
    "SNAP_DELETE": "Error removing snapshot {second} from image {first}: {text}",
    "SNAP_REVERT": "Error reverting image {first} to snapshot {second}: {text}",
    "SNAP_FLATTEN": "Error flattening image snapshot: {text}",
}


def daemon_log(root: Path, row: dict[str, Any], begun: int = 1) -> None:
    """Write `oned.log` with the recorded requests, texts cut after 20 characters, and what became of those for images."""
    lines = []
    for n, one in enumerate(one for one in row["rpc"] if "args" in one):
        request = f"[Z0][ReM][{{}}]: Req:{1000 + n} UID:0 {{}}{one['rpc']} "
        words = "".join(map(shown, one["args"]))
        lines.append(f"{stamp(begun)} {request.format('D', 'IP:127.0.0.1 ')}invoked {words}")
        end = "result SUCCESS" + shown(one["result"]) if one["ok"] else f"result FAILURE {one.get('error')}".replace("\n", " ")
        lines.append(f"{stamp(begun)} {request.format('D' if one['ok'] else 'E', '')}{end}")
    for word in (message["line"].split(" ", 3) for message in row["mad"] if " FAILURE " in message["line"]):
        if word[0] in FAILURES:
            first, second = (*next(one for one in row["rpc"] if "args" in one)["args"], "")[:2]
            lines.append(f"{stamp(begun)} [Z0][ImM][E]: {FAILURES[word[0]].format(text=word[-1], first=first, second=second)}")
    root.mkdir(parents=True, exist_ok=True)
    (root / "oned.log").write_text("\n".join(lines) + "\n")


def shown(value: object) -> str:
    if isinstance(value, bool):
        return f", {str(value).lower()}"
    if isinstance(value, int):
        return f", {value}"
    text = str(value)
    cut = text.partition("\n")[0][:20]
    return f', "{cut}{"..." if cut != text else ""}"'
