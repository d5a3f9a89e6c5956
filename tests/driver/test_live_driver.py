"""Snapshots and copies of the disks of a running guest, with a libvirtd and a QEMU of the test's own: what is kept is of one moment, and the guest goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.driver.conftest import FrontEnd

MIB = 1 << 20
_NEEDED = ("libvirtd", "virsh", "qemu-system-x86_64", "qemu-io", "unshare", "nsenter")

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(os.geteuid() != 0, reason="a libvirtd of its own needs root"),
    pytest.mark.skipif(not all(map(shutil.which, _NEEDED)), reason="libvirt and QEMU are not installed"),
]

# a libvirtd that shares nothing with one that the machine may have
_DAEMON = """
for one in /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt; do mkdir -p $one && mount -t tmpfs none $one; done
mkdir -p /var/lib/libvirt/qemu /var/log/libvirt/qemu
printf 'auth_unix_rw="none"\\nauth_unix_ro="none"\\n' >/etc/libvirt/libvirtd.conf
printf '%s\\n' 'user="root"' 'group="root"' dynamic_ownership=0 remember_owner=0 'security_driver="none"' 'cgroup_controllers=[]' 'namespaces=[]' \\
    'stdio_handler="file"' >/etc/libvirt/qemu.conf
exec libvirtd
"""
_DISK = "<disk type='file' device='disk'><driver name='qemu' type='{}'/><source file='{}'/><target dev='{}' bus='virtio'/></disk>"
_DOMAIN = (
    "<domain type='qemu'><name>one-7</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>"
    "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{}</devices></domain>"
)


class Guest:
    """A domain in the libvirtd of the test."""

    def __init__(self, fe: FrontEnd, daemon: int) -> None:
        self.fe = fe
        wrapper = fe.root / "bin" / "virsh"
        wrapper.write_text(f'#!/bin/bash\nexec nsenter -t {daemon} -m /usr/bin/virsh "$@"\n')
        wrapper.chmod(0o755)

    def virsh(self, *arguments: str) -> str:
        """Run virsh and return what it prints."""
        done = subprocess.run([self.fe.root / "bin" / "virsh", "-q", *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *disks: tuple[str, Path]) -> None:
        """Start the domain, with its processor stopped: only its disks are wanted."""
        text = "".join(_DISK.format(format, path, f"vd{letter}") for (format, path), letter in zip(disks, "abc", strict=False))
        (self.fe.root / "domain.xml").write_text(_DOMAIN.format(text))
        self.virsh("create", "--paused", str(self.fe.root / "domain.xml"))

    def write(self, disk: int, byte: int) -> None:
        """Have the guest's device write the first 64 KiB."""
        self.virsh(
            "qemu-monitor-command", "one-7", "--hmp", f'qemu-io -d /machine/peripheral/virtio-disk{disk}/virtio-backend "write -P {byte} 0 64k"'
        )

    def files(self) -> list[str]:
        """The files that the guest writes to."""
        return [line.split()[1] for line in self.virsh("domblklist", "one-7").splitlines() if line.strip()]


@pytest.fixture
def guest(fe: FrontEnd) -> Iterator[Guest]:
    """A guest that is not started yet."""
    daemon = subprocess.Popen(["unshare", "-m", "bash", "-c", _DAEMON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = Guest(fe, daemon.pid)
    try:
        for _ in range(200):
            if subprocess.run([fe.root / "bin" / "virsh", "-q", "uri"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.virsh("destroy", "one-7")
        daemon.terminate()
        daemon.wait(20)


def first(path: Path, format: str) -> int:
    """The first byte of a disk."""
    raw = path.with_name(f"{path.name}.read")
    subprocess.run(["qemu-img", "convert", "-U", "-f", format, "-O", "raw", path, raw], check=True)
    byte = raw.read_bytes()[0]
    raw.unlink()
    return byte


def test_live_snapshots_and_copies(fe: FrontEnd, guest: Guest) -> None:
    """Of a qcow2 disk upon its image and of a persistent raw disk: each copy is of its moment, and the guest writes to its own disk afterwards."""
    image, kept, disks = fe.datastore(1) / "image", fe.datastore(1) / "kept", fe.datastore(0) / "7"
    fe.qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    kept.write_bytes(bytes(MIB))
    untouched = image.read_bytes()
    rows = ("<DISK_ID>0</DISK_ID><FORMAT>qcow2</FORMAT><SIZE>1</SIZE>", "<DISK_ID>1</DISK_ID><FORMAT>raw</FORMAT><SIZE>1</SIZE>")
    fe.vm(*rows, deploy_id="one-7")
    assert fe.run("tm/shared/clone", f"fe:{image}", f"h:{disks}/disk.0", "7", "1").quiet
    assert fe.run("tm/shared/ln", f"fe:{kept}", f"h:{disks}/disk.1", "7", "1").quiet
    guest.start(("qcow2", disks / "disk.0"), ("raw", disks / "disk.1"))
    before = guest.files()
    for disk, format, snapshots in ((0, "qcow2", disks / "disk.0.snap"), (1, "raw", kept.with_name("kept.snap"))):
        for snapshot in (0, 1):
            guest.write(disk, 10 + snapshot)
            assert fe.run("tm/shared/snap_create_live", f"h:{disks}/disk.{disk}", str(snapshot), "7", "1").quiet
        guest.write(disk, 20)
        fe.vm(*rows, lcm=26, deploy_id="one-7")
        assert fe.run("tm/shared/cpds", f"h:{disks}/disk.{disk}", f"{fe.datastore(1)}/saved{disk}", "-1", "7", "1").quiet
        guest.write(disk, 30)
        assert fe.run("tm/shared/snap_delete", f"h:{disks}/disk.{disk}", "0", "7", "1").quiet
        assert [one.name for one in snapshots.iterdir()] == ["1"]
        assert first(snapshots / "1", format) == 11
        assert first(fe.datastore(1) / f"saved{disk}", format) == 20
        assert first(disks / f"disk.{disk}", format) == 30
    assert guest.files() == before
    assert image.read_bytes() == untouched
    assert "backing file" not in fe.qemu_img("info", fe.datastore(1) / "saved0")
    assert {one.name for one in disks.iterdir()} == {"disk.0", "disk.0.snap", "disk.1"}


def test_live_work_that_fails(fe: FrontEnd, guest: Guest) -> None:
    """A copy that finds no room leaves no layer and no snapshot; a layer that an earlier attempt has left is merged first."""
    disk = fe.datastore(0) / "7" / "disk.0"
    disk.parent.mkdir()
    disk.write_bytes(bytes(MIB))
    fe.vm("<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>1</SIZE>", deploy_id="one-7")
    guest.start(("raw", disk))
    guest.write(0, 1)
    copy = fe.root / "bin" / "cp"
    copy.write_text("#!/bin/bash\necho 'cp: No space left on device' >&2\nexit 1\n")
    copy.chmod(0o755)
    fe.run("tm/shared/snap_create_live", f"h:{disk}", "0", "7", "1").refused("No space left")
    copy.unlink()
    assert guest.files() == [str(disk)]
    layer = f"{disk}.live"
    guest.virsh("snapshot-create-as", "one-7", "--no-metadata", "--disk-only", "--diskspec", f"vda,snapshot=external,file={layer}")
    guest.write(0, 2)
    assert fe.run("tm/shared/snap_create_live", f"h:{disk}", "1", "7", "1").quiet
    guest.write(0, 3)
    assert guest.files() == [str(disk)]
    assert (first(disk, "raw"), first(disk.with_name("disk.0.snap") / "1", "raw")) == (3, 2)
    assert {one.name for one in disk.parent.iterdir()} == {"disk.0", "disk.0.snap"}
    fe.vm("<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>1</SIZE>", deploy_id="one-8")
    fe.run("tm/shared/snap_create_live", f"h:{disk}", "2", "7", "1").refused("one-8")
