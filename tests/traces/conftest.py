"""What the tests of traces share: a run of one case that is made once, with real parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from commanded import run

from onesim.data import data_dir
from onesim.errors import ConfigError


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run in which the reference driver played vm-plain."""
    out = tmp_path_factory.mktemp("example") / "run"
    trace = data_dir("spec") / "traces" / "more" / "vm-plain.jsonl"
    code = run("run", str(data_dir("reference_driver") / "remotes"), "--trace", str(trace), "--out", str(out), "--no-lines")
    if not (out / "results.jsonl").is_file():
        raise ConfigError(f"onetck run ended with {code} and left no results")
    return out
