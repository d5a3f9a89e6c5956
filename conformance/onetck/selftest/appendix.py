"""What a self-test has left, as the appendix of a report shows it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from onereport.kills import Broken, Selftest
from onesim.errors import ConfigError


class _Head(msgspec.Struct, frozen=True):
    suite: str


class _Mutant(msgspec.Struct, frozen=True):
    id: str
    file: str
    line: int
    operator: str


class _Row(msgspec.Struct, frozen=True):
    mutant: _Mutant
    outcome: str
    requirement: str = ""


def read_trials(directory: Path) -> Selftest:
    """Read the trials that `onetck selftest` has left in a directory; one that was cut off does not count. Raises ConfigError if there are none."""
    path = directory / "trials.jsonl"
    try:
        first, *rest = path.read_bytes().splitlines() or [b""]
        head = msgspec.json.decode(first, type=_Head)
        # one that the harness failed at is tried again, and the last time counts
        rows = {row.mutant.id: row for row in (msgspec.json.decode(line, type=_Row) for line in rest if line.endswith(b"}"))}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}; `onetck selftest --out {directory}` writes it") from None
    if not rows:
        raise ConfigError(f"{path}: holds no trial; `onetck selftest --out {directory}` makes some")
    return Selftest(
        head.suite, tuple(Broken(one.mutant.file, one.mutant.line, one.mutant.operator, one.outcome, one.requirement) for one in rows.values())
    )
