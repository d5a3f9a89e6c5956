"""The driver for hosts with storage of their own: `far` sees other datastores than the front-end and all other hosts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.driver.conftest import FrontEnd

MIB = 1 << 20
_ROW = "<DISK_ID>0</DISK_ID><FORMAT>raw</FORMAT><SIZE>2</SIZE><ORIGINAL_SIZE>1</ORIGINAL_SIZE>"


def far(fe: FrontEnd, id: int = 0) -> Path:
    """The directory of VM 7 on the host `far`."""
    return fe.root / "elsewhere" / str(id) / "7"


@pytest.mark.parametrize("folder", ["ssh/{}", "shared/{}.ssh"])
def test_a_disk_goes_and_comes_back(fe: FrontEnd, folder: str) -> None:
    """A persistent image is copied with its snapshots, grown, marked, and brought back with what was written; again after a retry. In mixed mode too."""
    source = fe.registered(fe.file("a", b"a" * MIB))
    (fe.datastore(1) / f"{source.name}.snap").mkdir()
    (fe.datastore(1) / f"{source.name}.snap" / "0").write_bytes(b"old")
    fe.vm(_ROW)
    disk = f"far:{fe.datastore(0)}/7/disk.0"
    (far(fe).parent / ".monitor").write_text("another\n")
    for _ in range(2):
        assert fe.run(f"tm/{folder.format('ln')}", f"fe:{source}", disk, "7", "1").quiet
        assert (far(fe) / "disk.0").read_bytes() == b"a" * MIB + bytes(MIB)
        assert (far(fe) / "disk.0.snap" / "0").read_bytes() == b"old"
    assert {one.name for one in far(fe).iterdir()} == {"disk.0", "disk.0.snap"}
    assert (far(fe).parent / ".monitor").read_text() == "ssh\n"
    (far(fe) / "disk.0").write_bytes(b"new")
    assert fe.run("tm/ssh/snap_create", disk, "1", "7", "1").quiet
    for _ in range(2):
        assert fe.run(f"tm/{folder.format('mvds')}", disk, str(source), "7", "1").quiet
        assert source.read_bytes() == b"new"
        assert {one.name for one in source.with_name(f"{source.name}.snap").iterdir()} == {"0", "1"}
    assert (list(far(fe).iterdir()), fe.stored()) == ([], {source.name, f"{source.name}.snap"})
    assert not (fe.datastore(0) / ".monitor").exists()


def test_a_clone_leaves_the_snapshots(fe: FrontEnd) -> None:
    """A clone is of the present content; saved, it and its snapshot come to the front-end; a host that is down gets and keeps nothing."""
    source = fe.registered(fe.file("a", b"a" * MIB))
    source.with_name(f"{source.name}.snap").mkdir()
    fe.vm(_ROW)
    disk = f"far:{fe.datastore(0)}/7/disk.0"
    assert fe.run("tm/ssh/clone", f"fe:{source}", disk, "7", "1").quiet
    assert [one.name for one in far(fe).iterdir()] == ["disk.0"]
    assert fe.run("tm/ssh/snap_create", disk, "0", "7", "1").quiet
    (far(fe) / "disk.0").write_bytes(b"new")
    for snapshot, content in (("-1", b"new"), ("0", b"a" * MIB + bytes(MIB))):
        saved = fe.datastore(1) / f"saved{snapshot}"
        assert fe.run("tm/ssh/cpds", disk, str(saved), snapshot, "7", "1").quiet
        assert saved.read_bytes() == content
    for action, arguments in (("clone", [f"fe:{source}", disk]), ("mvds", [disk, str(source)]), ("cpds", [disk, f"{source}9", "-1"])):
        fe.run(f"tm/ssh/{action}", *(word.replace("far:", "down:") for word in arguments), "7", "1").refused("No route to host")
    fe.run("tm/ssh/clone", f"fe:{source}x", disk, "7", "1").refused("is not there")
    assert fe.stored() == {source.name, f"{source.name}.snap", "saved-1", "saved0"}


@pytest.mark.parametrize("ds", [0, 100])
def test_mv_between_hosts(fe: FrontEnd, ds: int) -> None:
    """The directory is at the other host with all that it held, over a stale one, and nowhere else; again after a retry, and back."""
    old, new = fe.datastore(0) / "7", f"far:{fe.datastore(ds)}/7"
    (old / "disk.0.snap").mkdir(parents=True)
    (old / "disk.0").write_bytes(b"bytes")
    (old / "checkpoint").write_text("memory")
    far(fe, ds).mkdir()
    (far(fe, ds) / "stale").write_text("x")
    assert fe.run("tm/ssh/mv", f"h1:{old}/disk.0", f"{new}/disk.0", "7", "1").quiet
    for _ in range(2):
        assert fe.run("tm/ssh/mv", f"h1:{old}", new, "7", str(ds)).quiet
        assert {one.name for one in far(fe, ds).iterdir()} == {"disk.0", "disk.0.snap", "checkpoint"}
        assert not old.exists()
    assert (far(fe, ds).parent / ".monitor").read_text() == "ssh\n"
    assert fe.run("tm/ssh/mv", new, f"fe:{old}", "7", "0").quiet
    assert ((old / "disk.0").read_bytes(), far(fe, ds).exists()) == (b"bytes", False)
    assert {one.name for one in fe.datastore(0).iterdir()} == {"7", ".monitor"}


def test_mv_where_hosts_see_one_storage(fe: FrontEnd) -> None:
    """Two names of one machine: nothing is emptied, and another datastore is a rename."""
    old, new = fe.datastore(0) / "7", fe.datastore(100) / "7"
    old.mkdir()
    (old / "disk.0").write_bytes(b"bytes")
    assert fe.run("tm/ssh/mv", f"h1:{old}", f"fe:{old}", "7", "0").quiet
    assert [one.name for one in old.iterdir()] == ["disk.0"]
    assert fe.run("tm/ssh/mv", f"h1:{old}", f"h1:{new}", "7", "100").quiet
    assert ([one.name for one in new.iterdir()], old.exists()) == (["disk.0"], False)


def test_mv_that_fails_leaves_the_source(fe: FrontEnd) -> None:
    """A host that does not answer is a failure, but where oned leaves it for that very reason."""
    old = fe.datastore(0) / "7"
    old.mkdir()
    (old / "disk.0").write_bytes(b"bytes")
    fe.vm(lcm=8)
    for source, to in (("h1", "down"), ("down", "h1")):
        assert fe.run("tm/ssh/mv", f"{source}:{old}", f"{to}:{fe.datastore(100)}/7", "7", "100").status == 1
        assert [one.name for one in old.iterdir()] == ["disk.0"]
    assert list(fe.datastore(100).iterdir()) == []
    fe.vm(lcm=60)
    assert fe.run("tm/ssh/mv", f"down:{old}", f"h1:{fe.datastore(100)}/7", "7", "100").quiet


def test_live_migration(fe: FrontEnd) -> None:
    """premigrate copies, failmigrate takes the copy away and postmigrate the original; none of them touches a directory that both hosts see."""
    here = fe.datastore(0) / "7"
    here.mkdir()
    (here / "disk.0").write_bytes(b"bytes")

    def migrate(step: str, host: str, *more: str) -> bool:
        return fe.run(f"tm/ssh/{step}migrate", "h1", host, str(here), "7", "0", *more, stdin=b"x" * MIB).quiet

    for step in ("pre", "fail", "post"):
        assert migrate(step, "h2")
        assert migrate(step, "far", "shared")
        assert ([one.name for one in here.iterdir()], far(fe).exists()) == (["disk.0"], False)
    for last, kept in (("fail", here), ("post", far(fe))):
        for _ in range(2):
            assert migrate("pre", "far")
        assert (far(fe) / "disk.0").read_bytes() == b"bytes"
        assert migrate(last, "far")
        assert [path for path in (here, far(fe)) if path.exists()] == [kept]
    fe.run("tm/ssh/premigrate", "h1", "down", str(here), "7", "0").refused("h1")


def test_monitor_ds(fe: FrontEnd) -> None:
    """The sizes of the disks of this node, and nothing where no VM is."""
    assert fe.run("tm/ssh/monitor_ds", str(fe.datastore(0))).quiet
    assert fe.run("tm/ssh/monitor_ds", f"{fe.datastore(0)}x").quiet
    (fe.datastore(0) / "7").mkdir()
    (fe.datastore(0) / "7" / "disk.0").write_bytes(b"x" * (3 * MIB))
    assert fe.run("tm/ssh/monitor_ds", str(fe.datastore(0))).stdout.startswith('VM=[ID=7,MONITOR="')
