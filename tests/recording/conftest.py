"""A driver that is installed as on a front-end, with links to its scripts, on both shells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from installed_driver import SCRIPTS, Installed

from onesim.recording.packing import packed
from onesim.spec import load


@pytest.fixture(params=["dash", pytest.param("bash", marks=pytest.mark.components)])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installed]:
    for side in ("remotes", "bare"):
        for name, body in SCRIPTS.items():
            script = tmp_path / side / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f"#!/bin/bash\n{body}\n")
            script.chmod(0o755)
        (tmp_path / side / "tm/x/word").write_text("hello ")
        (tmp_path / side / "tm/shared_word").write_text("world ")
        (tmp_path / side / "tm/x/cpds").symlink_to("mvds")
        (tmp_path / side / "tm/alias").symlink_to("x")
        (tmp_path / side / "tm/other").mkdir()
        (tmp_path / side / "tm/other/clone").symlink_to("../x/clone")
        (tmp_path / side / "tm/other/word").write_text("good morning ")
    recorder = tmp_path / "recorder"
    recorder.write_text(packed(load()))
    yield Installed(tmp_path / "remotes", tmp_path / "bare", tmp_path / "spool", recorder, request.param)
