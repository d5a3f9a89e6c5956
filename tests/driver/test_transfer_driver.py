"""The transfer driver at work on a scratch front-end: fake `ssh` and `onevm`, real disks, retries, hosts that are down or see other storage."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
import zlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.driver.conftest import FrontEnd

MIB = 1 << 20


def test_clone_of_raw_and_qcow2_disks(fe: FrontEnd) -> None:
    """A raw disk is a copy, a qcow2 disk an overlay; both grow to the size asked, over what is left there, and the image stays as it is."""
    raw = fe.registered(fe.file("raw", os.urandom(MIB)))
    qcow2 = fe.root / "user" / "qcow2"
    fe.qemu_img("create", "-q", "-f", "qcow2", qcow2, "1M")
    qcow2 = fe.registered(qcow2)
    before = raw.read_bytes(), qcow2.read_bytes()
    fe.vm(
        "<DISK_ID>10</DISK_ID><FORMAT>qcow2</FORMAT><SIZE>9</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>",
        "<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>3</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>",
        "<DISK_ID>1</DISK_ID><FORMAT>qcow2</FORMAT><SIZE>1</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>",
    )
    (fe.datastore(0) / ".monitor").write_text("ssh\n")
    vm = fe.datastore(0) / "7"
    for _ in range(2):
        for source, number in ((raw, 0), (qcow2, 1), (qcow2, 10)):
            assert fe.run("tm/shared/clone", f"fe:{source}", f"h:{vm}/disk.{number}", "7", "1").quiet
        assert {one.name for one in vm.iterdir()} == {"disk.0", "disk.1", "disk.10"}
        assert (vm / "disk.0").read_bytes() == before[0] + bytes(2 * MIB)
        for disk, size in (("disk.1", 1), ("disk.10", 9)):
            told = fe.qemu_img("info", "-f", "qcow2", vm / disk)
            assert f"virtual size: {size} MiB" in told
            assert f"backing file: {qcow2}\nbacking file format: qcow2" in told
        (vm / "disk.0").unlink()
        (vm / "disk.0").symlink_to(raw)
        (vm / "disk.1.snap").mkdir()
    assert (raw.read_bytes(), qcow2.read_bytes()) == before
    assert not (fe.datastore(0) / ".monitor").exists()


def test_clone_needs_no_guess(fe: FrontEnd) -> None:
    """A raw image that a guest has made look like qcow2 is copied as it is: the format is oned's word."""
    source = fe.datastore(1) / "a"
    fe.qemu_img("create", "-q", "-f", "qcow2", source, "1M")
    fe.vm("<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>1</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>")
    fe.run("tm/shared/clone", f"fe:{source}", f"h:{fe.datastore(0)}/7/disk.0", "7", "1")
    assert (fe.datastore(0) / "7" / "disk.0").read_bytes() == source.read_bytes()


def test_hosts_that_do_not_answer(fe: FrontEnd) -> None:
    """A transfer to a host that is down fails with one line that names it, and leaves nothing."""
    source = fe.registered(fe.file("a", b"x"))
    fe.vm("<DISK_ID>0</DISK_ID><SIZE>1</SIZE>")
    disk = f"down:{fe.datastore(0)}/7/disk.0"
    script = fe.file("context.sh", b"A=1")
    calls = {
        "clone": [f"fe:{source}", disk],
        "ln": [f"fe:{source}", disk],
        "mkimage": ["1", "raw", disk],
        "mkswap": ["1", disk],
        "context": [str(script), disk],
    }
    calls |= {"mvds": [disk, str(source)], "delete": [disk]}
    for action, arguments in calls.items():
        fe.run(f"tm/shared/{action}", *arguments, "7", "0").refused("down", "No route to host")
    fe.run("tm/shared/clone", f"fe:{source}", disk.replace("disk.0", "disk.4"), "7", "1").refused("no disk 4")
    assert list(fe.datastore(0).iterdir()) == []


def test_ln_and_mvds(fe: FrontEnd) -> None:
    """A persistent disk is the image itself, again after a retry; mvds takes the link away, or brings a copy back, again after a retry."""
    source = fe.registered(fe.file("a", b"old"))
    fe.vm("<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>1</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>")
    disk = fe.datastore(0) / "7" / "disk.0"
    for _ in range(2):
        assert fe.run("tm/shared/ln", f"fe:{source}", f"h:{disk}", "7", "1").quiet
        assert disk.samefile(source)
    for content in (None, b"new"):
        if content:
            disk.write_bytes(content)
        for _ in range(2):
            assert fe.run("tm/shared/mvds", f"h:{disk}", f"{source.parent}//{source.name}", "7", "1").quiet
            assert not os.path.lexists(disk)
            assert source.read_bytes() == (content or b"old")
    disk.symlink_to("/etc/hostname")
    fe.run("tm/shared/mvds", f"h:{disk}", str(source), "7", "1").refused("something else")
    assert fe.stored() == {source.name}


@pytest.mark.parametrize("target", ["/", "/etc", "/etc/7", "{0}", "{0}/77", "{0}/7/../8", "{0}/7/kernel", "{0}/7/disk.*", "{0}/../images/7", ""])
def test_delete_refuses_what_is_not_the_vms(fe: FrontEnd, target: str) -> None:
    """Only <datastore>/<VM>[/disk.N] of this VM is ever removed."""
    fe.run("tm/shared/delete", "h:" + target.format(fe.datastore(0)), "7", "0").refused("left alone")
    assert not (fe.root / "ssh.log").exists()


def test_delete_takes_disks_and_directories(fe: FrontEnd) -> None:
    """A disk goes with its snapshots and left-overs, not what it links to; a directory goes whole; what is gone is success."""
    source, vm = fe.datastore(1) / "a", fe.datastore(0) / "7"
    source.write_text("x")
    (vm / "disk.1.snap" / "0").mkdir(parents=True)
    for name in ("disk.1.33.part", "disk.10", "checkpoint"):
        (vm / name).write_text("x")
    (vm / "disk.1").symlink_to(source)
    (fe.datastore(0) / "70").mkdir()
    for _ in range(2):
        assert fe.run("tm/shared/delete", f"h:{vm}/disk.1", "7", "1").quiet
        assert {one.name for one in vm.iterdir()} == {"disk.10", "checkpoint"}
    for _ in range(2):
        assert fe.run("tm/shared/delete", f"h:{vm}/", "7", "0").quiet
        assert [one.name for one in fe.datastore(0).iterdir()] == ["70"]
    assert source.exists()


@pytest.mark.parametrize(("here", "there"), [("h1", "h2"), ("h1", "h1"), ("fe", "h1")])
@pytest.mark.parametrize("ds", [0, 100])
def test_mv_on_shared_storage(fe: FrontEnd, here: str, there: str, ds: int) -> None:
    """The directory is at its new place with all that it held, over a stale one too; again after a retry; a call for a disk does nothing."""
    old, new = fe.datastore(0) / "7", fe.datastore(ds) / "7"
    old.mkdir()
    (old / "disk.0").write_text("bytes")
    (old / "disk.1").symlink_to("/etc/hostname")
    (old / "checkpoint").write_text("memory")
    if ds:
        new.mkdir()
        (new / "stale").write_text("x")
    assert fe.run("tm/shared/mv", f"{here}:{old}/disk.0", f"{there}:{new}/disk.0", "7", "1").quiet
    assert not (fe.root / "ssh.log").exists()
    for _ in range(2):
        assert fe.run("tm/shared/mv", f"{here}:{old}", f"{there}:{new}", "7", str(ds)).quiet
        assert {one.name for one in new.iterdir()} == {"disk.0", "disk.1", "checkpoint"}
        assert ((new / "disk.0").read_text(), (new / "disk.1").is_symlink()) == ("bytes", True)
        assert old.exists() == (ds == 0)


@pytest.mark.parametrize("ds", [0, 100])
@pytest.mark.parametrize("stale", [False, True])
def test_mv_does_not_pretend(fe: FrontEnd, ds: int, stale: bool) -> None:
    """To a host that sees other storage the move fails with the reason, and the source stays as it was."""
    old = fe.datastore(0) / "7"
    old.mkdir()
    (old / "disk.0").write_text("bytes")
    if stale:
        (fe.root / "elsewhere" / str(ds) / "7").mkdir()
    fe.run("tm/shared/mv", f"h1:{old}", f"far:{fe.datastore(ds)}/7", "7", str(ds)).refused("does not see the storage of h1")
    assert [one.name for one in old.iterdir()] == ["disk.0"]


@pytest.mark.parametrize(("lcm", "moved"), [(8, False), (60, True)])
def test_mv_from_a_lost_host(fe: FrontEnd, lcm: int, moved: bool) -> None:
    """A source that does not answer is a failure, but when oned moves the VM for that very reason."""
    old, new = fe.datastore(0) / "7", fe.datastore(100) / "7"
    old.mkdir()
    fe.vm(lcm=lcm)
    ended = fe.run("tm/shared/mv", f"down:{old}", f"h1:{new}", "7", "100")
    assert (ended.status == 0, old.exists(), new.exists()) == (moved, not moved, moved)


def test_volatile_disks(fe: FrontEnd) -> None:
    """mkimage and mkswap make disks of the size and format asked, again over what is left there."""
    fe.vm("<DISK_ID>0</DISK_ID><SIZE>5</SIZE>", "<DISK_ID>1</DISK_ID><SIZE>5</SIZE><FS>ext4</FS>")
    vm = fe.datastore(0) / "7"
    for _ in range(2):
        assert fe.run("tm/shared/mkimage", "5", "qcow2", f"h:{vm}/disk.0", "7", "0").status == 0
        assert fe.run("tm/shared/mkimage", "5", "raw", f"h:{vm}/disk.1", "7", "0").status == 0
        assert fe.run("tm/shared/mkswap", "2", f"h:{vm}/disk.2", "7", "0").status == 0
    assert "virtual size: 5 MiB" in fe.qemu_img("info", "-f", "qcow2", vm / "disk.0")
    assert ((vm / "disk.1").stat().st_size, (vm / "disk.1").read_bytes()[1080:1082]) == (5 * MIB, b"\x53\xef")
    assert ((vm / "disk.2").stat().st_size, (vm / "disk.2").read_bytes()[4086:4096]) == (2 * MIB, b"SWAPSPACE2")
    assert {one.name for one in vm.iterdir()} == {"disk.0", "disk.1", "disk.2"}


def test_context(fe: FrontEnd) -> None:
    """The ISO is labelled, holds the files by their names, and replaces an older one; no temporary file stays."""
    script, odd, folder = fe.file("context.sh", b"A='1'\n"), fe.file("we=ir\\d", b"x"), fe.root / "user" / "folder"
    folder.mkdir()
    (folder / "inside").write_text("x")
    disk, temporary = fe.datastore(0) / "7" / "disk.9", fe.root / "temporary"
    temporary.mkdir()
    here = fe.with_environment(TMPDIR=str(temporary))
    for files in ([f"{script}:'other-name'"], [str(odd), str(folder)]):
        assert here.run("tm/shared/context", str(script), *files, f"h:{disk}", "7", "0").quiet
    assert disk.read_bytes()[32808:32816] == b"CONTEXT "
    listed = (
        subprocess.run(["xorriso", "-indev", disk, "-find"], capture_output=True, text=True, check=True).stdout if shutil.which("xorriso") else ""
    )
    assert not listed or {"'./context.sh'", "'./we=ir\\d'", "'./folder/inside'"} <= set(listed.split())
    here.run("tm/shared/context", str(script), "/nowhere/x", f"h:{disk}", "7", "0").refused("/nowhere/x")
    assert [one.name for one in disk.parent.iterdir()] == ["disk.9"]
    assert list(temporary.iterdir()) == []


def test_monitor(fe: FrontEnd) -> None:
    """The figures are those of the storage, nothing is made, and the sizes of disks leave as a datagram that zlib understands."""
    document = f"<X><DATASTORE><BASE_PATH>{fe.datastore(0)}</BASE_PATH></DATASTORE><MONITOR_VM_DISKS>1</MONITOR_VM_DISKS></X>"
    for vm, disk, size in ((0, 0, 3 * MIB), (0, 11, 1), (7, 1, 0)):
        (fe.datastore(0) / str(vm)).mkdir(exist_ok=True)
        (fe.datastore(0) / str(vm) / f"disk.{disk}").write_bytes(os.urandom(size))
    (fe.datastore(0) / "7" / "disk.1.5.part").write_text("x")
    (fe.root / "one" / "etc").mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        (fe.root / "one" / "etc" / "monitord.conf").write_text(f'NETWORK = [\n MONITOR_ADDRESS = "auto",\n PORT = {receiver.getsockname()[1]}\n]\n')
        ended = fe.run("tm/shared/monitor", "0", stdin=base64.b64encode(document.encode()))
        received = receiver.recv(65536)
    assert re.fullmatch(r"USED_MB=\d+\nTOTAL_MB=\d+\nFREE_MB=\d+\n", ended.stdout)
    total = os.statvfs(fe.root).f_blocks * os.statvfs(fe.root).f_frsize / MIB
    assert abs(int(ended.stdout.split()[1].split("=")[1]) - total) <= 1
    assert received.startswith(b"MONITOR_VM SUCCESS -1 0 ")
    told = zlib.decompress(base64.b64decode(received.split()[4], validate=True)).decode()
    vms = {vm: sorted(base64.b64decode(text).decode().split()) for vm, text in re.findall(r'VM=\[ID=(\d+),MONITOR="([^"]*)"\]', told)}
    assert vms == {"0": ["DISK_SIZE=[ID=0,SIZE=3]", "DISK_SIZE=[ID=11,SIZE=1]"], "7": ["DISK_SIZE=[ID=1,SIZE=0]"]}


def test_refusals_and_no_operations_read_their_input(fe: FrontEnd) -> None:
    """What is not supported says so in one line; the migration scripts do nothing; both read all of a large standard input."""
    large = b"x" * (1 << 20)
    for script in ("tm/ceph/prebackup", "tm/libvirt_pool/restore"):
        fe.run(script, "a", "b", "7", "0", stdin=large).refused("does not support", script.rsplit("/", 1)[1])
    for script in ("tm/shared/premigrate", "tm/shared/postmigrate", "tm/shared/failmigrate"):
        assert fe.run(script, "h1", "h2", "/0/7", "7", "0", stdin=large).quiet
