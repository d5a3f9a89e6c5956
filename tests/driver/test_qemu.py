"""VMs that are QEMUs under a real libvirtd: the same calls and verdicts as with the simulated one, and nothing that outlives a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from certified import bad, certified

from onesim.data import data_dir
from onesim.events import Answer
from onesim.journal import read
from onesim.qemu import Qemu
from onesim.records import Call, CaseEnd, Record
from onesim.world.libvirtd import keep_found, lacking
from onesim.world.namespaces import NamespaceWorld

REFERENCE = data_dir("reference_driver")
LACKING = lacking()

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif("range of ids" in LACKING or "root" in LACKING, reason=LACKING),
    pytest.mark.skipif(bool(LACKING) and "CI" not in os.environ, reason=LACKING),
]


def calls(out: Path) -> list[tuple[object, ...]]:
    """Return what was called for what, and whether it succeeded; without what differs from run to run, as the order of calls that overlap."""
    records = list(read(out / "history.jsonl", Record))
    assert {one.outcome for one in records if isinstance(one, CaseEnd)} == {"completed"}
    rows = [one for one in records if isinstance(one, Call)]
    return sorted((one.case, one.operation, one.family, one.mad, one.action, one.success, one.vm, one.disk) for one in rows)


@pytest.mark.turns(4)
@pytest.mark.parametrize(
    ("role", "cases", "kept"),
    [
        ("onetck.toml", ("live-persistent",), ("TM-SNAPLIVE-001", "TM-SNAPLIVE-002", "TM-CPDS-001")),
        ("ssh.toml", ("nodes-live-migration-failed",), ("TM-PREMIG-001", "TM-FAILMIG-001")),
        ("mixed.toml", ("mixed-live-migration",), ("TM-PREMIG-001", "TM-POSTMIG-001")),
        ("backup.toml", ("backup-live-failed",), ("TM-PREBK-002", "TM-PREBK-004")),
        pytest.param("onetck.toml", ("live", "live-cut", "resize-running", "saveas", "vm-live-migration"), (), marks=pytest.mark.exhaustive),
        pytest.param("ssh.toml", ("live", "live-persistent", "nodes-attach", "nodes-live-migration"), (), marks=pytest.mark.exhaustive),
        pytest.param("backup.toml", ("backup-live", "backup-live-increments", "backup-snapshots"), (), marks=pytest.mark.exhaustive),
    ],
)
def test_qemu_and_the_simulated_hypervisor_agree(role: str, cases: tuple[str, ...], kept: tuple[str, ...], tmp_path: Path) -> None:
    """Snapshots, saved disks and a suspended VM that goes on elsewhere; live migrations, one of which fails; backups that fail at each step: calls and
    verdicts are the same. The slow ones are all others in which a guest runs.
    """
    words = [word for case in cases for word in ("--case", case)]
    sides = {kind: certified(REFERENCE / role, tmp_path / kind, "--hypervisor", kind, *words) for kind in ("simulated", "qemu")}
    (_, simulated), (_, real) = sides["simulated"], sides["qemu"]
    assert bad(real) == {}
    assert calls(tmp_path / "qemu") == calls(tmp_path / "simulated")
    assert {id: row.verdict for id, row in real.items()} == {id: row.verdict for id, row in simulated.items()}
    assert {id: real[id].verdict for id in kept} == dict.fromkeys(kept, "pass")


SHORT = """{"trace": 1, "name": "short", "title": "A VM that runs for a while", "shared": true}
{"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 1}
{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}
{"op": "vm.create", "vm": "vm", "disks": [{"image": "os"}]}
{"op": "vm.deploy", "vm": "vm", "host": "host01"}
{"op": "guest.write", "vm": "vm", "disk": 0}
{"op": "vm.terminate", "vm": "vm"}
"""


def played(folder: Path, remotes: Path, *, before: str = "") -> tuple[CaseEnd, list[Call]]:
    """Play a VM's short life on QEMU, with the command line in which `before` has been done. Returns how it ended, and its calls."""
    folder.mkdir(exist_ok=True)
    (folder / "short.jsonl").write_text(SHORT)
    words = [
        "run",
        str(remotes),
        "--trace",
        str(folder / "short.jsonl"),
        "--hypervisor",
        "qemu",
        "--out",
        str(folder / "out"),
        "--datastore",
        "fs",
        "--tm",
        "shared",
    ]
    program = f"import sys; {before or 'pass'}; from onetck.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *words], capture_output=True, timeout=300, check=False)
    records = list(read(folder / "out" / "history.jsonl", Record))
    (end,) = (one for one in records if isinstance(one, CaseEnd))
    return end, [one for one in records if isinstance(one, Call)]


def test_a_disk_that_qemu_cannot_open_is_the_drivers_doing(tmp_path: Path) -> None:
    """The same domain starts without its disks: so the case stops for what the driver has left, and is no error of the world."""
    remotes = tmp_path / "remotes"
    shutil.copytree(REFERENCE / "remotes", remotes)
    with (remotes / "tm" / "shared" / "clone").open("a") as script:
        script.write('ssh "$host" chmod 000 "$disk"\n')
    end, made = played(tmp_path, remotes)
    assert end.outcome == "stopped", end
    assert "Permission denied" in next(one.error for one in made if one.action == "deploy")


def test_a_qemu_that_starts_nothing_is_not_the_drivers_doing(tmp_path: Path) -> None:
    """Without disks it does not start either: the case ends with an error of the world."""
    end, _ = played(tmp_path, REFERENCE / "remotes", before="from onesim import guestless; guestless._MEMORY_MIB = 1 << 40")
    assert end.outcome == "error" and "not even without disks" in end.reason, end


def test_what_libvirtd_has_found_out_of_qemu_is_taken_over() -> None:
    """The libvirtd of another world leaves the file as it was lent: it has not asked QEMU again."""
    seen = []
    for _ in range(2):
        with NamespaceWorld.start(on_question=lambda asked: Answer()) as world:
            qemu = Qemu(world, ("frontend", "host01"))
            qemu.open()
            assert qemu._virsh("host01", "domcapabilities", "--virttype", "qemu")[0] == 0
            keep_found(world, "host01")
            script = 'cd /var/cache/libvirt/qemu/capabilities; for one in *; do stat -c "%n %a" "$one"; done'
            seen.append(world.run("host01", ["/bin/bash", "-c", script], root=True).stdout.decode().split())
    name, mode = seen[0]
    assert mode == "600" and seen[1] == [name, "644"]


def worlds() -> dict[str, list[str]]:
    """Return the command lines of all QEMUs and libvirtds, by the process namespace that they live in."""
    found: dict[str, list[str]] = {}
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            with contextlib.suppress(OSError):
                line = (one / "cmdline").read_bytes()
                if b"guest=one-" in line or line.startswith(b"/usr/sbin/libvirtd\0"):
                    found.setdefault(str((one / "ns" / "pid").readlink()), []).append(line.decode(errors="replace"))
    return found


def inhabitants(world: str) -> list[str]:
    """Return the processes that still live in a process namespace."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            with contextlib.suppress(OSError):
                if str((one / "ns" / "pid").readlink()) == world:
                    found.append(one.name)
    return found


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_domain_outlives_its_run(end: signal.Signals, tmp_path: Path) -> None:
    """A run that is interrupted or killed while a VM runs leaves no process of its world, and so no mount of it."""
    before = set(worlds())
    (tmp_path / "short.jsonl").write_text(SHORT)
    words = ["run", "--config", str(REFERENCE / "onetck.toml"), "--trace", str(tmp_path / "short.jsonl"), "--hypervisor", "qemu"]
    words += ["--out", str(tmp_path / "out")]
    run = subprocess.Popen([sys.executable, "-m", "onetck.cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ours, until = "", time.monotonic() + 120
        while not ours and time.monotonic() < until:
            mine = {world for world, lines in worlds().items() if world not in before and any("guest=one-" in line for line in lines)}
            ours = next((world for world in mine if descends(inhabitants(world), run.pid)), "")
            time.sleep(0.1)
        assert ours, "no QEMU came up"
        run.send_signal(end)
        run.wait(60)
        until = time.monotonic() + 20
        while inhabitants(ours) and time.monotonic() < until:
            time.sleep(0.1)
        assert inhabitants(ours) == []
    finally:
        run.kill()
        run.wait()


def descends(pids: list[str], above: int) -> bool:
    """Whether one of some processes was started by another, or by one that that started."""
    for pid in pids:
        at = pid
        while at not in ("0", "1"):
            if int(at) == above:
                return True
            try:
                at = Path(f"/proc/{at}/stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                break
    return False
