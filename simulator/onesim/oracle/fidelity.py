"""How faithful the simulator is: recordings replayed, counted by release, scenario and operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onesim.errors import ConfigError
from onesim.oracle import recordings
from onesim.oracle.installation import installation
from onesim.oracle.recordings import Recording
from onesim.oracle.replay import Replayed, replay
from onesim.spec import for_release


@dataclass(frozen=True)
class Row:
    """A recording compared: where it stands, what it is, the differences (none = identical) and the calls recorded and simulated side by side."""

    file: str
    line: int
    version: str
    scenario: str
    operation: str
    fault: str
    differences: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def compare(paths: Iterable[Path], only: Callable[[Recording], bool] = lambda recording: True) -> Iterator[Row]:
    """Yield every recording of the files compared, in their order. Raises ConfigError for a file that holds no recordings."""
    for path in paths:
        for number, recording in recordings.read(path):
            if only(recording):
                found = _compared(recording)
                yield Row(
                    path.name,
                    number,
                    recording.oned_version,
                    recording.scenario,
                    recording.operation,
                    recording.fault,
                    tuple(found.differences),
                    tuple(found.calls),
                )


def _compared(recording: Recording) -> Replayed:
    try:
        return replay(for_release(recording.oned_version), recording, installation())
    except ConfigError as error:
        return Replayed([str(error)])
    except (LookupError, ValueError, TypeError, AssertionError) as error:
        # a recording that cannot be understood counts as different, and hides no other
        return Replayed([f"cannot be replayed: {type(error).__name__}: {error}"])


@dataclass
class Count:
    """Records, and how many of them are identical."""

    records: int = 0
    identical: int = 0

    def add(self, row: Row) -> None:
        """Count one more."""
        self.records += 1
        self.identical += row.identical

    @property
    def fidelity(self) -> float:
        """Identical records / records; 1 for none."""
        return self.identical / self.records if self.records else 1.0


def count(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, Count]:
    """Return the counts by a key, in the order in which keys come."""
    found: dict[str, Count] = {}
    for row in rows:
        found.setdefault(key(row), Count()).add(row)
    return found


def summary(rows: list[Row]) -> dict[str, Any]:
    """Return the outcome for machines."""
    total = Count()
    for row in rows:
        total.add(row)
    return {
        "fidelity": total.fidelity,
        "records": total.records,
        "identical": total.identical,
        "by_version": _plain(count(rows, lambda row: row.version)),
        "by_scenario": _plain(count(rows, lambda row: f"{row.version} {row.scenario}")),
        "by_operation": _plain(count(rows, lambda row: row.operation)),
        "different": [
            {
                "file": row.file,
                "line": row.line,
                "version": row.version,
                "scenario": row.scenario,
                "operation": row.operation,
                "fault": row.fault,
                "differences": list(row.differences),
                "calls": [{"recorded": recorded, "simulated": simulated} for recorded, simulated in row.calls],
            }
            for row in rows
            if not row.identical
        ],
    }


def _plain(counts: Mapping[str, Count]) -> dict[str, dict[str, float | int]]:
    return {name: {"fidelity": one.fidelity, "records": one.records, "identical": one.identical} for name, one in counts.items()}
