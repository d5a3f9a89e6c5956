"""Certifies a role of the reference driver by the command line, for the tests that start the real storage behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from onereport.results import RequirementVerdict, ResultRecord, ResultsFooter
from onesim.journal import read


def certified(description: Path, out: Path, *words: str) -> tuple[ResultsFooter, dict[str, RequirementVerdict]]:
    """Run cases against the driver that a file describes; return how the run was judged, and the verdict on each requirement."""
    command = [sys.executable, "-m", "onetck.cli", "run", "--config", str(description), "--out", str(out), "--jobs", "2", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert (out / "results.jsonl").exists(), ended.stdout + ended.stderr
    records = list(read(out / "results.jsonl", ResultRecord))
    footer = next(one for one in records if isinstance(one, ResultsFooter))
    return footer, {one.requirement: one for one in records if isinstance(one, RequirementVerdict)}


def bad(verdicts: dict[str, RequirementVerdict]) -> dict[str, str]:
    """Return what went wrong, with the reason."""
    fine = ("pass", "not_tested", "not_applicable")
    return {one.requirement: f"{one.verdict}: {one.reason}" for one in verdicts.values() if one.verdict not in fine}
