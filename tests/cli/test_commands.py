"""The command line loads the module of the command that is asked for, and no other."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from onetck import cli


def names(words: list[str]) -> list[str]:
    """Return the commands of the application for these words."""
    return list(typer.main.get_group(cli.application(words)).commands)


def test_each_command_is_where_the_table_says() -> None:
    """No command is missing from the table, and none is in it that its module does not register."""
    listed = [name for commands in cli._COMMANDS.values() for name in commands]
    assert sorted(names([])) == sorted(listed) == sorted(names(["--help"])) == sorted(names(["runn"]))
    for commands in cli._COMMANDS.values():
        for name in commands:
            assert sorted(names([name, "--help"])) == sorted(commands)
    assert names(["--version"]) == []


@pytest.mark.parametrize(("words", "spared"), [("explain TM-CLONE-001", "onesim.executor"), ("--version", "lxml"), ("doctor --help", "jinja2")])
def test_what_a_command_does_not_need_is_not_loaded(words: str, spared: str) -> None:
    """A command that runs nothing does not wait for what runs cases, or writes reports."""
    program = f"import sys\nfrom onetck.cli import main\ntry: main({words.split()!r})\nfinally: print({spared!r} in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "False\n"), done.stderr
