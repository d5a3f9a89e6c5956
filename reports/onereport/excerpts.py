"""Pieces of a driver's scripts for a report: the lines around a place, and the lines that never ran."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from onereport.results import ScriptLines
from onesim.records import Place

_AROUND = 2
_BESIDE = 1


@dataclass(frozen=True)
class Row:
    """A line of a script: its number, its text, whether it is the one that is meant, and whether lines are left out before it."""

    number: int
    text: str
    marked: bool
    gap: bool = False


@dataclass(frozen=True)
class Excerpts:
    """The scripts of a run; their texts lie in `blobs` by their digests. Without a text there is no more than what the records hold."""

    scripts: Mapping[str, ScriptLines]
    blobs: Path | None

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        found = {}
        for file, script in self.scripts.items():
            path = self.blobs / script.sha256 if self.blobs is not None and script.sha256.isalnum() else None
            found[file] = path.read_text(encoding="utf-8", errors="replace").split("\n") if path is not None and path.is_file() else []
        return found

    def around(self, place: Place) -> list[Row]:
        """Return the lines around a place, which is marked."""
        lines = self._texts.get(place.file, [])
        if not 0 < place.line <= len(lines):
            return [Row(place.line, place.text, True)]
        return _rows(lines, range(max(place.line - _AROUND, 1), min(place.line + _AROUND, len(lines)) + 1), {place.line})

    def unrun(self, script: ScriptLines) -> list[Row]:
        """Return the lines of a script that never ran, marked, with those beside them."""
        lines = self._texts.get(script.file, [])
        wanted = {near for line in script.unrun for near in range(line - _BESIDE, line + _BESIDE + 1) if 0 < near <= len(lines)}
        return _rows(lines, sorted(wanted), frozenset(script.unrun))


def _rows(lines: list[str], numbers: Iterable[int], marked: Collection[int]) -> list[Row]:
    rows: list[Row] = []
    for number in numbers:
        rows.append(Row(number, lines[number - 1].expandtabs(4), number in marked, bool(rows) and number > rows[-1].number + 1))
    return rows
