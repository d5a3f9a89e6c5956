"""The manifest of the page on campaigns is what it says: YAML whose parts refer to each other, and commands that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
PAGE = Path(__file__).parents[2] / "docs/campaign.md"


def parts() -> list[dict[str, Any]]:
    """Return the documents of the manifest."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return list(yaml.safe_load_all(text))


def test_the_parts_refer_to_each_other() -> None:
    """Proves that labels match what selects by them, that volumes are there, and that all reach the scheduler by the name and port of its service."""
    (service,) = (one for one in parts() if one["kind"] == "Service")
    labels = []
    for one in parts():
        if one["kind"] == "Service":
            continue
        template = one["spec"]["template"]
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
            labels.append(template["metadata"]["labels"])
        volumes = {row["name"] for row in template["spec"].get("volumes", ())}
        for container in template["spec"]["containers"]:
            assert {row["name"] for row in container.get("volumeMounts", ())} <= volumes
            for word in container["command"]:
                if word.startswith("tcp://"):
                    assert word == f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["selector"] in labels


def test_its_commands_have_the_options_that_they_are_given() -> None:
    """Proves by the help of each command that it takes these options."""
    containers = [row for one in parts() if one["kind"] != "Service" for row in one["spec"]["template"]["spec"]["containers"]]
    assert len(containers) == 3
    for container in containers:
        program, command, *words = container["command"]
        module = {"dask": "dask", "onetck": "onetck.cli"}[program]
        done = subprocess.run([sys.executable, "-m", module, command, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"})
        for word in words:
            assert not word.startswith("--") or word in done.stdout or word.replace("--no-", "--") in done.stdout, (command, word)
