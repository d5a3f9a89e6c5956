"""The reader of documents that scripts of others call: what it prints is what xpath.rb of a front-end printed for the same documents and paths."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir

DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "xpath.json").read_text())["cases"]


def read(remotes: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    """Run the reader; return its status and what it prints."""
    done = subprocess.run([remotes / "datastore" / "xpath.rb", *arguments], input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode()


@pytest.fixture
def remotes(tmp_path: Path) -> Path:
    """The tree of the reference driver, in which a version can be laid."""
    shutil.copytree(data_dir("reference_driver") / "remotes", tmp_path / "remotes")
    return tmp_path / "remotes"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['version']}-{case['document']}-{case['paths'][0]}")
@pytest.mark.parametrize("way", ["stdin", "base64"])
def test_recorded(remotes: Path, case: dict[str, Any], way: str) -> None:
    """Texts, their ends and the status are those recorded, whichever way the document comes."""
    (remotes / "VERSION").write_text(case["version"])
    document = (DATA / case["document"]).read_bytes()
    if way == "stdin":
        told = read(remotes, *case["options"], *case["paths"], stdin=document)
    else:
        options = [one for one in case["options"] if one not in ("-s", "--stdin")]
        told = read(remotes, "-b", base64.b64encode(document).decode(), *options, *case["paths"])
    assert told == (case["status"], case["stdout"])


def test_the_newest_is_what_counts_without_a_version(remotes: Path) -> None:
    """Where the tree says no version, the output is that of the newest release; an option may be spelt out."""
    assert read(remotes, "--base64=" + base64.b64encode(b"<A><B>1</B></A>").decode(), "B", "C") == (1, "1\0\0")


@pytest.mark.parametrize("document", [b"", b"<A>", b"<A></B>", b"plain"])
def test_what_is_no_document(remotes: Path, document: bytes) -> None:
    """A document that is cut off or none gives nothing, and a failure."""
    for version in ("6.4.0", "7.4.0"):
        (remotes / "VERSION").write_text(version)
        assert read(remotes, "/A/B", stdin=document) == (1, "")
    assert read(remotes, "--unknown", stdin=document) == (255, "")
