"""Runs on the machines of a lab, which containers play: consent, what is not ours, machines that are lost, a harness that is killed, the doctor."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.components


_CALLS = """
import sys
from pathlib import Path
from onesim.errors import HarnessError
from onesim.events import Answer
from onesim.world.ssh import SshWorld
from onetck.machines import described
with SshWorld.start(described(Path(sys.argv[1])), on_question=lambda asked: Answer()) as world:
    print("begins", flush=True)
    try:
        print(world.run("frontend", ["/bin/bash", "-c", "ssh host01 'sleep 60'"], call_id="call"))
    except HarnessError as error:
        print(error)
"""


def test_a_call_that_reaches_a_machine_that_is_cut_off_is_no_run_of_the_driver(lab: Any) -> None:
    """The harness notices before OpenSSH does between the machines: no exit status of the call is told, but which machine is lost."""
    with subprocess.Popen([sys.executable, "-c", _CALLS, str(lab.description)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(1)
        lab.cut_off("hv1")
        try:
            began = time.monotonic()
            said = process.stdout.readline()
            took_s = time.monotonic() - began
        finally:
            lab.rejoin("hv1")
    assert said.startswith("hv1 (") and took_s < 8, (said, took_s)
    assert onetck(lab, "hosts", "clean").returncode == 0
    assert lab.left() == ""


def onetck(lab: Any, *words: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of ours on the description of the lab, or another one."""
    command = [sys.executable, "-m", "onetck.cli", *words, "--config", str(config or lab.description)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def running(lab: Any, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run that takes its time on the lab, and wait until a script of it is under way on the first hypervisor."""
    words = ["run", "--config", str(lab.description), "--backend", "ssh", "--yes", "--case", "image-clone", "--out", str(out), *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "onetck.cli", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 60
    history = out / "history.jsonl"
    while not (history.exists() and '"record":"call"' in history.read_text()):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
        time.sleep(0.1)
    return process


def test_nothing_is_touched_without_consent(lab: Any, tmp_path: Path) -> None:
    """Where nobody can be asked the run ends with 4, after the list of what it would touch; the machines are as they were."""
    looked = "find /srv /var/lib/onetck /var/lib/one /etc/one 2>/dev/null"
    before = lab.sh("hv1", looked)
    done = onetck(lab, "run", "--backend", "ssh", "--case", "image-clone", "--out", str(tmp_path / "out"))
    assert done.returncode == 4 and "give --yes" in done.stderr, done
    assert f"hv1 ({lab.machines[1].address}) is host01: makes and removes /srv/own/onetck-*" in done.stderr
    assert lab.sh("hv1", looked) == before


def test_a_datastore_that_holds_what_is_not_ours_is_refused(lab: Any, tmp_path: Path) -> None:
    """One message names machine, directory and what it holds; the file stays, and nothing is made."""
    lab.sh("hv2", "touch /srv/own/precious")
    try:
        done = onetck(lab, "run", "--backend", "ssh", "--yes", "--case", "image-clone", "--out", str(tmp_path / "out"))
        doctor = onetck(lab, "doctor", "--hosts", "--json")
        assert lab.sh("hv2", "ls /srv/own") == "precious\n"
    finally:
        lab.sh("hv2", "rm /srv/own/precious")
    title = f"hv2 ({lab.machines[2].address})"
    assert done.returncode == 4, done
    assert f"{title}: /srv/own: holds precious, which onetck did not create; empty it, or name an empty directory" in done.stderr
    broken = [row for row in json.loads(doctor.stdout) if not row["ok"]]
    assert doctor.returncode == 3 and [row["name"] for row in broken] == ["hv2:/srv/own"]


def test_a_fault_that_takes_the_storage_of_a_lab_is_not_tested(lab: Any, tmp_path: Path) -> None:
    """A trace that somebody wrote asks for it: its case is not begun, says why, and no verdict follows from it; a fault that can be made is made."""
    acts = {"full": "64", "readonly": "", "fail": "1 cp: No space left on device"}
    steps = (
        {"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 1},
        {"op": "image.register", "image": "os", "path": "/var/tmp/os.raw", "expect": "failure"},
    )
    words: list[str] = []
    for act, arg in acts.items():
        header = {"trace": 1, "name": f"image-{act}", "title": f"An image is made, and storage is at its end: {act}", "gates": ["cp"]}
        fault = {"op": "fault.next", "action": "ds/cp", "act": act, "command": "cp", **({"arg": arg} if arg else {})}
        (tmp_path / f"{act}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (header, steps[0], fault, steps[1])))
        words += ["--trace", str(tmp_path / f"{act}.jsonl")]
    done = onetck(lab, "run", "--backend", "ssh", "--yes", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 3, done
    history, results = (
        [json.loads(line)["data"] for line in (tmp_path / "out" / name).read_text().splitlines()] for name in ("history.jsonl", "results.jsonl")
    )
    ended = {row["case"]: (row["outcome"], row.get("reason", "")) for row in history if "outcome" in row}
    for act, word in (("full", "filled"), ("readonly", "made read-only")):
        why = f"the hosts of this backend cannot have the fault {act}: storage of a vendor's lab cannot be {word} for the time of a call"
        assert ended[f"image-{act}"] == ("lacking", why)
        rows = [row for row in results if row.get("case") == f"image-{act}"]
        assert {row["verdict"] for row in rows} == {"not_tested"}
        assert {one["sentence"] for row in rows for one in row["evidence"]} == {why}
    assert ended["image-fail"] == ("completed", "")
    assert "fail" not in {row.get("verdict") for row in results}


def test_a_machine_that_is_cut_off_ends_the_run_without_a_verdict(lab: Any, tmp_path: Path) -> None:
    """Within seconds, naming the machine and no failure of the driver; what is left there is told, and removed once it is back."""
    with running(lab, tmp_path / "out") as process:
        try:
            lab.cut_off("hv1")
            began = time.monotonic()
            said, _ = process.communicate(timeout=60)
            took_s = time.monotonic() - began
            away = onetck(lab, "hosts", "clean")
        finally:
            lab.rejoin("hv1")
    assert process.returncode == 3, said
    assert "no verdict: hv1" in said or "NO VERDICT" in said, said
    assert "failed," not in said or " 0 failed" in said, said
    assert took_s < 12, said  # 4 s to the loss, and the tidying up of the other machines; with room for a machine that is busy
    assert away.returncode == 3 and "not removed: hv1" in away.stderr, away
    assert onetck(lab, "hosts", "clean").returncode == 0
    assert lab.left() == ""


def test_a_harness_that_is_killed_leaves_nothing(lab: Any, tmp_path: Path) -> None:
    """The machines notice that it is gone, and tidy up by themselves; one that could not is cleaned later."""
    with running(lab, tmp_path / "out") as process:
        lab.sh("hv1", "pkill -STOP -f '[o]nesim.world.guarding'")  # a machine that cannot tidy up
        process.send_signal(signal.SIGKILL)
        process.wait()
        lab.sh("hv1", "pkill -KILL -f '[o]nesim.world.guarding'")
    until = time.monotonic() + 10
    while lab.left("fe", "hv2") and time.monotonic() < until:
        time.sleep(0.2)
    assert lab.left("fe", "hv2") == ""
    assert "onetck-" in lab.left("hv1")
    assert "hv1:/srv/own/onetck-" in onetck(lab, "hosts", "clean").stdout
    assert lab.left() == ""


def test_the_doctor_tells_what_a_machine_lacks(lab: Any) -> None:
    """A tool that is not there, and a key that is not let in, with the remedy; the others are in order."""
    wrong = lab.description.with_name("wrong.toml")
    front, first, second = lab.description.read_text().rsplit("[hosts.", 2)
    wrong.write_text("[hosts.".join([front, first, second.replace('/key"', '/host_key"')]))
    lab.sh("hv1", "mv /usr/bin/qemu-io /usr/bin/qemu-io.away")
    try:
        done = onetck(lab, "doctor", "--hosts", "--json", config=wrong)
    finally:
        lab.sh("hv1", "mv /usr/bin/qemu-io.away /usr/bin/qemu-io")
    broken = {row["name"]: (row["detail"], row["remedy"]) for row in json.loads(done.stdout) if not row["ok"]}
    assert done.returncode == 3 and set(broken) == {"hv1 tools", "hv2 reached"}, broken
    assert broken["hv1 tools"] == ("without qemu-io", "apt-get install qemu-utils")
    assert "Permission denied" in broken["hv2 reached"][0] and "`key`" in broken["hv2 reached"][1]
