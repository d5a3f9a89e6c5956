"""What the libvirt tests share: the examples of libvirt's pages; the plain modules beside them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def examples() -> list[dict[str, Any]]:
    """Return the rows of `data/examples.toml`."""
    rows: list[dict[str, Any]] = tomllib.loads((DATA / "examples.toml").read_text(encoding="utf-8"))["example"]
    return rows
