"""Snapshots, growth and saving of disks, and the snapshots of images, on a scratch front-end with real disks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.driver.conftest import FrontEnd

MIB = 1 << 20


def row(disk: int, format: str = "raw") -> str:
    """What oned says of a disk of 1 MiB."""
    return f"<DISK_ID>{disk}</DISK_ID><FORMAT>{format}</FORMAT><SIZE>1</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>"


@pytest.fixture
def kept(fe: FrontEnd) -> Path:
    """A persistent image, which is disk 0 of VM 7."""
    source = fe.registered(fe.file("a", b"0" * MIB))
    fe.vm(row(0))
    assert fe.run("tm/shared/ln", f"fe:{source}", f"h:{fe.datastore(0)}/7/disk.0", "7", "1").quiet
    return source


def test_snapshots_belong_to_the_image(fe: FrontEnd, kept: Path) -> None:
    """Those of a persistent disk lie beside its image; each can be gone back to, and the others stay, whatever goes."""
    disk = f"h:{fe.datastore(0)}/7/disk.0"
    for snapshot in ("0", "9", "10"):
        kept.write_bytes(snapshot.encode() * MIB)
        assert fe.run("tm/shared/snap_create", disk, snapshot, "7", "1").quiet
    for _ in range(2):
        assert fe.run("tm/shared/snap_delete", disk, "9", "7", "1").quiet
    for snapshot in ("0", "10", "0"):
        assert fe.run("tm/shared/snap_revert", disk, snapshot, "7", "1").quiet
        assert kept.read_bytes() == snapshot.encode() * MIB
        kept.write_bytes(b"later")
    fe.run("tm/shared/snap_revert", disk, "9", "7", "1").refused("snapshot is not there")
    assert kept.read_bytes() == b"later"
    assert {one.name for one in (fe.datastore(0) / "7").iterdir()} == {"disk.0"}
    assert fe.run("tm/shared/mvds", disk, str(kept), "7", "1").quiet
    assert {one.name for one in fe.datastore(1).rglob("*")} == {kept.name, f"{kept.name}.snap", "0", "10"}


@pytest.mark.parametrize("action", ["snap_create", "snap_create_live", "snap_delete", "snap_revert"])
def test_snapshot_ids_and_places_are_checked(fe: FrontEnd, action: str) -> None:
    """An id becomes part of a path, and only disks of the VM are worked on."""
    for disk, snapshot in (("7/disk.0", "../../x"), ("7/disk.0", ""), ("8/disk.0", "0"), ("7/../8/disk.0", "0")):
        assert fe.run(f"tm/shared/{action}", f"h:{fe.datastore(0)}/{disk}", snapshot, "7", "1").status == 1
    assert not (fe.root / "ssh.log").exists()


def test_a_disk_grows_and_never_shrinks(fe: FrontEnd, kept: Path) -> None:
    """The size is absolute and may be there already; a running VM's disk is left alone."""
    disk = f"h:{fe.datastore(0)}/7/disk.0"
    for size, bytes_ in (("3", 3 * MIB), ("3", 3 * MIB)):
        assert fe.run("tm/shared/resize", disk, size, "7", "1").quiet
        assert kept.stat().st_size == bytes_
    assert fe.run("tm/shared/resize", disk, "2", "7", "1").status == 1
    fe.vm(row(0), lcm=62)
    assert fe.run("tm/shared/resize", disk, "9", "7", "1").quiet
    assert kept.read_bytes() == b"0" * MIB + bytes(2 * MIB)


def test_a_saved_overlay_stands_by_itself(fe: FrontEnd) -> None:
    """An overlay, and a snapshot of it, are saved with what they have from the image."""
    image, vm = fe.datastore(1) / "image", fe.datastore(0) / "7"
    raw = fe.file("raw", b"x" * MIB)
    fe.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, image)
    fe.vm(row(0, "qcow2"))
    assert fe.run("tm/shared/clone", f"fe:{image}", f"h:{vm}/disk.0", "7", "1").quiet
    assert fe.run("tm/shared/snap_create", f"h:{vm}/disk.0", "0", "7", "1").quiet
    for snapshot in ("-1", "0"):
        saved = fe.datastore(1) / f"saved{snapshot}"
        assert fe.run("tm/shared/cpds", f"h:{vm}/disk.0", str(saved), snapshot, "7", "1").quiet
        assert "backing file" not in fe.qemu_img("info", saved)
        assert fe.qemu_img("compare", "-f", "qcow2", "-F", "raw", saved, raw) == "Images are identical.\n"
    fe.run("tm/shared/cpds", f"h:{vm}/disk.0", f"{fe.datastore(1)}/none", "5", "7", "1").refused("Cannot save")
    assert fe.stored() == {"image", "saved-1", "saved0"}


def test_snapshots_of_an_image(fe: FrontEnd, kept: Path) -> None:
    """Revert and flatten give the content of the snapshot; flatten leaves none; what is not there is refused and changes nothing."""
    for snapshot in range(3):
        kept.write_bytes(bytes([snapshot]) * MIB)
        assert fe.run("tm/shared/snap_create", f"h:{fe.datastore(0)}/7/disk.0", str(snapshot), "7", "1").quiet

    def asked(snapshot: str) -> str:
        return f"<SOURCE>{kept}</SOURCE><TARGET_SNAPSHOT>{snapshot}</TARGET_SNAPSHOT>"

    assert fe.image("snap_revert", asked("0")).quiet
    assert kept.read_bytes() == bytes(MIB)
    assert fe.image("snap_delete", asked("2")).quiet
    for action in ("snap_revert", "snap_delete", "snap_flatten"):
        fe.image(action, asked("2")).refused("2")
        fe.image(action, asked("../../0")).refused("not the id")
        fe.image(action, "<SOURCE>/etc/hostname</SOURCE><TARGET_SNAPSHOT>0</TARGET_SNAPSHOT>").refused("left alone")
    assert kept.read_bytes() == bytes(MIB)
    assert fe.image("snap_flatten", asked("1")).quiet
    assert (kept.read_bytes(), fe.stored()) == (b"\1" * MIB, {kept.name})


def test_export_tells_where_and_what(fe: FrontEnd, kept: Path) -> None:
    """The document names the image, its sum, size and format, and disposes of nothing."""
    ended = fe.image("export", f"<SOURCE>{kept}</SOURCE><FORMAT>raw</FORMAT><SIZE>1</SIZE>")
    sum = hashlib.md5(kept.read_bytes(), usedforsecurity=False).hexdigest()
    told = (("IMPORT_SOURCE", kept), ("MD5", sum), ("SIZE", 1), ("FORMAT", "raw"))
    elements = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in told)
    assert ended.stdout == f"<IMPORT_INFO>{elements}<DISPOSE>NO</DISPOSE></IMPORT_INFO>\n"
    fe.image("export", f"<SOURCE>{kept}x</SOURCE>").refused("Cannot read the image")
