"""Builds the miniatures of rare.toml. By hand: `python tests/traces/rare.py NAME DIR`; `all` for all of them in one driver."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onesim.data import data_dir

ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in tomllib.loads((Path(__file__).parent / "rare.toml").read_text())["miniature"]}


def build(names: Iterable[str], out: Path) -> Path:
    """Copy the reference driver to a new directory and make the edits of these miniatures. Returns its `remotes`."""
    shutil.copytree(data_dir("reference_driver"), out)
    for edit in (edit for name in names for edit in ROWS[name]["edits"]):
        script = out / "remotes" / edit["script"]
        text = script.read_text()
        if text.count(edit["old"]) != 1:
            raise ValueError(f"{edit['script']}: {edit['old']!r} stands {text.count(edit['old'])} times in it, not once; correct rare.toml")
        script.write_text(text.replace(edit["old"], edit["new"]))
    return out / "remotes"


if __name__ == "__main__":
    build(ROWS if sys.argv[1] == "all" else [sys.argv[1]], Path(sys.argv[2]))
