"""Pictures leave out what nobody has touched: every kind of change in a calm tree is seen all the same, with or without the kernel's help."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onesim.world import syscalls
from onesim.world.namespaces import NamespaceWorld
from onesim.world.quiet import Quiet


def _chmod(tree: Path) -> None:
    (tree / "in" / "file").chmod(0o700)


def _overwrite(tree: Path) -> None:
    with (tree / "in" / "file").open("r+b") as file:
        file.write(b"x")


def _open_only(tree: Path) -> None:
    os.close(os.open(tree / "in" / "file", os.O_RDWR))  # what is written through a mapping is not told, that it was open is


def _make(tree: Path) -> None:
    (tree / "in" / "new").mkdir()


def _take_away(tree: Path) -> None:
    (tree / "in" / "file").unlink()


def _replace_top(tree: Path) -> None:
    tree.rename(tree.with_name("other"))
    tree.mkdir()


@pytest.mark.parametrize("change", [_chmod, _overwrite, _open_only, _make, _take_away, _replace_top])
def test_a_tree_is_still_until_something_happens_in_it(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Reading changes nothing; each change is told once, and the tree that was not touched stays still."""
    quiet, tree, other = Quiet(), tmp_path / "tree", tmp_path / "beside"
    for one in (tree, other):
        (one / "in").mkdir(parents=True)
        (one / "in" / "file").write_text("text")
        assert not quiet.still(str(one))
        quiet.watch(str(one))
    (tree / "in" / "file").read_text()
    assert quiet.still(str(tree))
    change(tree)
    assert not quiet.still(str(tree))
    assert quiet.still(str(other))
    quiet.watch(str(tree))
    assert quiet.still(str(tree))


def test_no_tree_is_still_where_the_kernel_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has used up what the kernel gives, a tree that is not there: everything is looked at."""
    quiet = Quiet()
    quiet.watch(f"{tmp_path}/none")
    assert not quiet.still(f"{tmp_path}/none")

    def refused() -> int:
        raise OSError(24, "Too many open files", "inotify_init1")

    monkeypatch.setattr(syscalls, "inotify", refused)
    without = Quiet()
    without.watch(str(tmp_path))
    assert not without.still(str(tmp_path))


def test_changes_of_scripts_and_settings_are_seen(world: NamespaceWorld) -> None:
    """A call that writes to the remotes, to what hosts have of them or to /etc shows in the picture after it, and not in the next one."""
    world.put("frontend", "/var/lib/one/remotes/tm/one", b"one")
    world.put("host01", "/var/tmp/one/tm/one", b"one")
    world.picture()
    assert world.changes() == []
    script = "echo more >>/var/lib/one/remotes/tm/one; ssh host01 'rm /var/tmp/one/tm/one; mkdir -p /var/tmp/one/deep/er'; sudo touch /etc/touched"
    assert world.run("frontend", ["/bin/bash", "-c", script]).status == 0
    seen = {(one.host, one.path, one.change) for one in world.changes()}
    assert seen == {
        ("frontend", "/var/lib/one/remotes/tm/one", "changed"),
        ("host01", "/var/tmp/one/tm/one", "removed"),
        ("host01", "/var/tmp/one/deep", "created"),
        ("host01", "/var/tmp/one/deep/er", "created"),
        ("frontend", "/etc/touched", "created"),
    }
    assert world.changes() == []
    assert world.run("host01", ["/bin/touch", "/var/tmp/one/deep/er/x"]).status == 0
    assert [(one.host, one.path) for one in world.changes()] == [("host01", "/var/tmp/one/deep/er/x")]
