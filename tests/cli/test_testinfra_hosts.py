"""A vendor's own test looks at the hosts of a kept world, as docs/worlds.md says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from onesim.data import data_dir
from onesim.errors import ConfigError
from onetck.kept import entered

_PAGE = Path(__file__).parents[2] / "docs" / "worlds.md"


@pytest.mark.components
def test_the_test_of_the_page_passes_and_fails_with_the_driver(tmp_path: Path) -> None:
    """It passes on what `onetck call` has left; with the disk gone it fails, and the world is still there to be removed."""
    (text,) = (token.content for token in MarkdownIt().parse(_PAGE.read_text()) if token.info == "python")
    (tmp_path / "test_disk.py").write_text(text)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    def ran(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, input=given, capture_output=True, text=True, timeout=60, check=False)

    assert ran("onetck.cli", "call", "tm/clone", str(data_dir("reference_driver") / "remotes")).returncode == 0
    try:
        passes = ran("pytest", "-q", "test_disk.py")
        ran("onetck.cli", "shell", "host01", given="rm /var/lib/one/datastores/0/0/disk.0\n")
        fails = ran("pytest", "-q", "test_disk.py")
    finally:
        assert ran("onetck.cli", "down").returncode == 0
    assert passes.returncode == 0 and "1 passed" in passes.stdout, passes.stdout
    assert fails.returncode == 1 and "1 failed" in fails.stdout, fails.stdout


def test_a_world_that_is_not_kept_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to make one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="no world 'mine' is kept; make one with `onetck call`"), entered("mine"):
        pass
