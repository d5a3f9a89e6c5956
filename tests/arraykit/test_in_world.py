"""A driver whose array is not there is certified from the array's tape; what the tape lacks is no failure of the driver."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.errors import ConfigError
from onetck.config import ArrayTable
from onetck.taped import furniture

#: What the array was asked in the lab, by its command line and by its API.
TAPE = [
    row
    for name in ("one-7", "one-8")
    for row in (
        {"request": f"arrayctl create {name}", "answer": {"status": 0, "stdout": {"text": f"{name} made\n"}, "stderr": {"text": ""}}},
        {"request": f"GET /volumes/{name}", "answer": {"status": 200, "headers": {}, "body": {"text": f'{{"name": "{name}"}}'}}},
    )
]
#: What the driver does besides what it does: the volume has to be told by the API under the name that it was given by the command line.
ASKS = """
/opt/array/arrayctl create "one-${@: -1}" >&2
curl -sf --max-time 20 "http://127.0.0.1:8780/volumes/one-${@: -1}" | grep -q "one-${@: -1}"
"""


def played(root: Path, asks: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Run a case with a driver that asks the array. Returns the exit status and the results that did not pass, by requirement."""
    shutil.copytree(data_dir("reference_driver") / "remotes", root / "remotes")
    script = root / "remotes/datastore/fs/mkfs"
    script.write_text(script.read_text().replace("\nset -euo pipefail\n", f"\nset -euo pipefail\n{asks}", 1))
    (root / "tape.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TAPE))
    (root / "onetck.toml").write_text('[driver]\npaths = ["remotes"]\n[array]\ntape = "tape.jsonl"\ncommand = "/opt/array/arrayctl"\n')
    command = [sys.executable, "-m", "onetck.cli", "run", root, "--datastore", "fs", "--tm", "shared", "--case", "image-make", "--out", root / "out"]
    for requirement in ("DS-MKFS-001", "DS-MON-001"):
        command += ["--requirement", requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (root / "out/results.jsonl").is_file(), done.stdout + done.stderr
    rows = [json.loads(line)["data"] for line in (root / "out/results.jsonl").read_text().splitlines()]
    results = [row for row in rows if row["record"] == "result"]
    assert results
    return done.returncode, {row["requirement"]: row for row in results if row["verdict"] != "pass"}


@pytest.mark.components
def test_a_driver_speaks_to_its_array_in_a_world(tmp_path: Path) -> None:
    """Proves that a command line and curl are answered in a world without a way out, under the names of the case, and that the case passes."""
    status, others = played(tmp_path, ASKS)
    assert status == 0, others


@pytest.mark.components
def test_what_is_not_on_the_tape_is_not_tested(tmp_path: Path) -> None:
    """Proves that a request which the tape lacks is named, gives no verdict and fails nothing, though the driver ends with an error for it."""
    status, others = played(tmp_path, ASKS + '/opt/array/arrayctl resize "one-${@: -1}" 9\n')
    assert status == 3
    assert {row["verdict"] for row in others.values()} == {"not_tested"}
    assert "arrayctl resize one-" in json.dumps(others["DS-MKFS-001"])


@pytest.mark.parametrize(
    "table, said",
    [
        (ArrayTable("none.jsonl"), "correct `tape` of"),
        (ArrayTable("cut.jsonl"), "cut.jsonl:1: no exchange"),
        (ArrayTable("good.jsonl", command="arrayctl"), "absolute path"),
        (ArrayTable("good.jsonl", command="/usr/local/bin/arrayctl"), "cannot be written"),
        (ArrayTable("good.jsonl", names=("(",)), "no regular expression"),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path: Path, table: ArrayTable, said: str) -> None:
    """Proves one message for a tape that is away or cut, a command that is no path, and an expression that is none."""
    (tmp_path / "cut.jsonl").write_text('{"request": "run')
    (tmp_path / "good.jsonl").write_text(json.dumps(TAPE[0]) + "\n")
    with pytest.raises(ConfigError, match=said):
        furniture(table, tmp_path)
