"""What is asked for by --hypervisor: what this machine lacks is told with the remedy, and is no fault of the driver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from onesim.data import data_dir

REFERENCE = data_dir("reference_driver")
#: A machine on which no libvirtd is installed.
BARE = "from onesim.world import libvirtd; libvirtd._PATH = '/nonexistent'; from onetck.cli import main; main()"


def onetck(*words: str, program: str = BARE) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120, check=False)


def test_without_libvirt_there_is_no_verdict(tmp_path: Path) -> None:
    """A case with a VM is not tested, with the remedy in the report, and exit status 3; nothing fails. One that needs no VM is judged as ever."""
    words = ("run", "--config", str(REFERENCE / "onetck.toml"), "--case", "vm-example", "--case", "image-make", "--hypervisor", "qemu")
    run = onetck(*words, "--out", str(tmp_path / "out"), "--json")
    assert run.returncode == 3, run.stdout + run.stderr
    assert "apt-get install libvirt-daemon-system" in (tmp_path / "out" / "report.html").read_text()
    rows = [json.loads(line)["data"] for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    results = {(row["case"], row["verdict"]) for row in rows if row["record"] == "result"}
    assert {case: {verdict for one, verdict in results if one == case} - {"pass"} for case, _ in results} == {
        "vm-example": {"not_tested"},
        "image-make": set(),
    }
    (why,) = {one["sentence"] for row in rows if row.get("case") == "vm-example" and row["verdict"] == "not_tested" for one in row["evidence"]}
    assert why == "no QEMU on host01: libvirtd is not there; apt-get install libvirt-daemon-system"


def test_a_fault_that_a_backend_cannot_make_is_not_tested(tmp_path: Path) -> None:
    """The case is not begun; what it is there for has the reason, and no verdict follows."""
    program = f"from onesim.world.namespaces import NamespaceWorld; NamespaceWorld.unable = {{'down': 'nobody may cut them off'}}; {BARE}"
    words = ("run", "--config", str(REFERENCE / "onetck.toml"), "--case", "host-down", "--case", "image-make")
    run = onetck(*words, "--out", str(tmp_path / "out"), "--json", program=program)
    assert run.returncode == 3, run.stdout + run.stderr
    rows = [json.loads(line)["data"] for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    down = [row for row in rows if row.get("case") == "host-down"]
    assert {row["verdict"] for row in down} == {"not_tested"}
    assert {one["sentence"] for row in down for one in row["evidence"]} == {
        "the hosts of this backend cannot have the fault down: nobody may cut them off"
    }
    assert "pass" in {row["verdict"] for row in rows if row.get("case") == "image-make"}


def test_the_doctor_tells_what_qemu_needs() -> None:
    """Each thing that lacks, with the package that has it; nothing runs worse for the lack."""
    run = onetck("doctor", "--json")
    rows = {row["name"]: row for row in json.loads(run.stdout)}
    for name, package in (("libvirtd", "libvirt-daemon-system"), ("virsh", "libvirt-clients"), ("qemu-system-x86_64", "qemu-system-x86")):
        assert (rows[name]["ok"], rows[name]["needed"], rows[name]["remedy"]) == (False, False, f"apt-get install {package}")
    assert "KVM" in rows
    assert run.returncode == 0


def test_words_that_are_none_are_refused(tmp_path: Path) -> None:
    """An unknown hypervisor, and QEMU beside a libvirtd that the set-up starts, are mistakes in the words: exit status 4."""
    unknown = onetck("run", "--config", str(REFERENCE / "onetck.toml"), "--hypervisor", "xen", "--out", str(tmp_path / "out"))
    assert (unknown.returncode, "give simulated or qemu" in unknown.stderr) == (4, True)
    twice = onetck("run", "--config", str(REFERENCE / "libvirt_pool_real.toml"), "--hypervisor", "qemu", "--out", str(tmp_path / "out"))
    assert (twice.returncode, "leave one out" in twice.stderr) == (4, True)
