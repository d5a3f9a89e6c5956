"""One run that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import planting
import pytest


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run whose driver shows its secrets; the driver lies beside it."""
    return planting.play(tmp_path_factory.mktemp("acme"))
