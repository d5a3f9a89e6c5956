"""Data of the document tests: what the real oned wrote, and what its guide shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def sample() -> Callable[[str], str]:
    """Return a document of the data directory by name, without its first line, which tells where it is from."""
    return lambda name: (DATA / f"{name}.xml").read_text(encoding="utf-8").split("\n", 1)[1]
