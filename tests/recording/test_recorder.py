"""Installing and removing the shims: nothing else changes, and what is broken off is said."""

from __future__ import annotations

import pytest
from installed_driver import Installed, tree_of


def test_uninstall_leaves_no_trace(installed: Installed) -> None:
    """Proves that the tree is the same afterwards: bytes, modes, owners, times and links; that both commands may be repeated; that the spool stays."""
    before = tree_of(installed.root)
    installed.install()
    installed.install()
    assert "tm/x: installed" in installed.record("status").stdout
    installed.call("tm/x/clone", "a")
    installed.recorded(1)
    for _ in range(2):
        assert installed.record("uninstall").returncode == 0
        assert tree_of(installed.root) == before
    assert len(installed.recorded(1)) == 1


@pytest.mark.components
def test_one_driver_of_two_is_removed(installed: Installed) -> None:
    """Proves that families are recorded and removed one by one, and scripts of the other go on being recorded."""
    before = tree_of(installed.root)
    installed.install()
    assert installed.record("uninstall", "--driver", "tm/x").returncode == 0
    assert installed.call("datastore/x/cp", "a", data=b"x")[1] == b"x"
    installed.recorded(1)
    assert installed.record("uninstall").returncode == 0
    assert tree_of(installed.root) == before


def test_half_an_installation_is_refused_and_can_be_undone(installed: Installed) -> None:
    """Proves that one that was broken off is not built upon, names the remedy, and that this gives back the tree."""
    before = tree_of(installed.root)
    installed.install()
    state = installed.root / "tm.onetck/.state-x"
    state.write_text(state.read_text().replace("installed", "installing", 1))
    (installed.root / "tm.onetck/.kept-x/clone").rename(installed.root / "tm/x/clone")
    done = installed.record("install", "--driver", "x", "--spool", str(installed.spool))
    assert done.returncode == 4 and "uninstall" in done.stderr
    assert installed.record("uninstall").returncode == 0
    assert tree_of(installed.root) == before


@pytest.mark.components
def test_a_file_that_was_replaced_since_stays(installed: Installed) -> None:
    """Proves that an upgrade of the driver while it is recorded is not undone by uninstall, and that install says so."""
    installed.install()
    newer = installed.root / "tm/x/clone"
    newer.unlink()
    newer.write_text("#!/bin/sh\necho new\n")
    assert "no shim any more" in installed.record("install", "--driver", "x", "--spool", str(installed.spool)).stderr
    done = installed.record("uninstall")
    assert "was replaced since" in done.stdout and newer.read_text() == "#!/bin/sh\necho new\n"
    assert not (installed.root / "tm.onetck").exists()


@pytest.mark.components
def test_what_cannot_be_recorded_is_refused(installed: Installed) -> None:
    """Proves one line and status 4 for an unknown driver, a linked one, no tree, a spool below the tree, and a shim whose script is gone."""
    for words, said in (
        (("--driver", "nobody"), "there is no driver nobody"),
        (("--driver", "tm/alias"), "is a link to x"),
        (("--driver", "x", "--spool", str(installed.root / "spool")), "below the remotes"),
        (("--driver", "tm/other", "--limit-mb", "much"), "whole numbers"),
        ((), "--driver"),
    ):
        done = installed.record("install", *words)
        assert (done.returncode, done.stderr.count("\n")) == (4, 1) and said in done.stderr
    installed.install()
    for path in installed.root.glob("tm.onetck/.*-x"):
        path.unlink() if path.is_file() else path.rename(installed.root / path.name)
    assert "script is gone" in installed.record("install", "--driver", "tm/x", "--spool", str(installed.spool)).stderr
