"""The recipes for CI systems do what they say: their own commands are run, on a driver in a directory that looks like a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

from onesim.data import data_dir

REPOSITORY = Path(__file__).parents[2]
_INSTALLS = re.compile(r"^(sudo |apt-get |pipx? |python3 -m venv |export PATH=)")


def recipes() -> dict[str, str]:
    """The blocks of docs/ci.md by the language that they are marked with and their number."""
    tokens = MarkdownIt().parse((REPOSITORY / "docs" / "ci.md").read_text())
    return {f"{token.info}-{n}": token.content for n, token in enumerate(one for one in tokens if one.type == "fence")}


def commands(kind: str, text: str) -> list[str]:
    """The shell commands of a recipe, in order."""
    if kind.startswith("groovy"):
        return re.findall(r"sh '([^']*)'", text)
    document: dict[str, Any] = yaml.safe_load(text)
    if "jobs" in document:
        return [step["run"] for step in document["jobs"]["onetck"]["steps"] if "run" in step]
    return [*document["onetck"]["before_script"], *document["onetck"]["script"]]


def test_there_is_a_recipe_for_each_system() -> None:
    """GitHub Actions, GitLab CI, Jenkins: each installs onetck before it uses it."""
    found = recipes()
    assert [kind.split("-")[0] for kind in found] == ["yaml", "yaml", "groovy"]
    for kind, text in found.items():
        told = "\n".join(commands(kind, text))
        assert 0 <= told.index("install") < told.index("onetck run"), kind


@pytest.mark.components
@pytest.mark.parametrize("kind", recipes())
def test_the_commands_of_a_recipe_end_well(kind: str, tmp_path: Path) -> None:
    """What is left of them without the installation runs through, and the files that the recipe keeps are there."""
    shutil.copytree(data_dir("reference_driver") / "remotes", tmp_path / "remotes")
    (tmp_path / "onetck.toml").write_text('[driver]\ndatastore = "fs"\ntm = "shared"\n')
    (tmp_path / "statement.toml").write_text(
        'vendor = "a"\ndriver = "b"\nversion = "1"\ncontracts = ["7.4"]\nprofiles = ["tm-resize"]\n'  # the one with the fewest cases
    )
    (tmp_path / ".onetck").symlink_to(Path(sys.executable).parents[1])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CONTRACT": "7.4", "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md")}
    ran = []
    for command in commands(kind, recipes()[kind]):
        if any(_INSTALLS.match(line) for line in command.splitlines()) or "install" in command:
            continue
        text = command.replace("${{ matrix.contract }}", "7.4")
        ended = subprocess.run(["bash", "-ec", text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, f"{text}\n{ended.stdout}{ended.stderr}"
        ran.append(text)
    assert sum("onetck run" in text for text in ran) == sum("onetck lint" in text for text in ran) == 1
    assert ElementTree.parse(tmp_path / "results" / "junit.xml").getroot().findall(".//testcase")
    assert "## CONFORMANT" in (tmp_path / "results" / "summary.md").read_text()
    assert (tmp_path / "page.md").exists() == ("GITHUB_STEP_SUMMARY" in recipes()[kind])
