"""Where there is no Docker: one line with the remedy, and the documented exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from onesim.data import data_dir
from onesim.world import images
from onetck.cli import application

REFERENCE = str(data_dir("reference_driver") / "onetck.toml")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon answers."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")


@pytest.mark.parametrize(
    "words", [["run", "--config", REFERENCE, "--backend", "docker"], ["hosts", "clean"], ["hosts", "build"]], ids=lambda words: words[0]
)
def test_no_daemon_is_no_verdict(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 3 and one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(application(), words)
    assert done.exit_code == 3
    (line,) = done.stderr.splitlines()[-1:]
    assert "no Docker daemon answers at unix:///nowhere.sock; start it" in line and "apt-get install docker.io" in line


def test_an_unknown_backend_is_a_usage_error() -> None:
    """Exit status 4 names those that are there."""
    done = CliRunner().invoke(application(), ["run", "--config", REFERENCE, "--backend", "vm"])
    assert done.exit_code == 4 and "choose one of namespaces, docker" in done.stderr


def test_the_mirror_is_that_of_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first release that is named, not its updates."""
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho 'http://m/debian trixie-updates main'\necho 'http://m/debian trixie main'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert images.mirror() == ("http://m/debian", "trixie")
