"""Reads what the recording shims have left: one set of files a call, and the list of those that have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from onesim.errors import ConfigError
from onesim.recording.calls import SeenCall

_FAMILIES = {"tm": "tm", "datastore": "ds"}


def read_spool(spool: Path) -> tuple[list[SeenCall], Counter[str]]:
    """Return the calls in the order in which they began, and how many of what could not be used. Raises ConfigError for a directory that is no spool."""
    if not (spool / "calls").is_file():
        raise ConfigError(f"{spool}: no spool of recorded calls; name the directory that `onetck record install` has told")
    notes: Counter[str] = Counter()
    ended: dict[str, tuple[float, float, int]] = {}
    for line in (spool / "calls").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        try:
            ended[words[0]] = float(words[1]), float(words[2]), int(words[3])
        except (IndexError, ValueError):
            notes["lines of the list that are damaged"] += 1
    calls = [call for path in sorted(spool.glob("*.a")) for call in _call(path, ended, notes)]
    if (spool / "full").exists():
        notes["limits reached: later calls were not recorded"] += 1
    return sorted(calls, key=lambda call: call.begun_s), notes


def _call(path: Path, ended: dict[str, tuple[float, float, int]], notes: Counter[str]) -> Iterator[SeenCall]:
    """Yield the call whose arguments stand in a file, if they do."""
    words = [word.decode(errors="surrogateescape") for word in path.read_bytes().split(b"\0")[:-1]]
    if len(words) < 3 or words[0] not in _FAMILIES:
        notes["calls whose arguments were not written"] += 1
        return
    begun_s, ended_s, status = ended.get(path.stem, (0.0, 0.0, -1))
    marker = path.with_suffix(".m")
    if status < 0 and marker.is_file() and marker.read_text().split():
        begun_s, ended_s, status = path.stat().st_mtime, marker.stat().st_mtime, int(marker.read_text().split()[0])
    elif status < 0:
        notes["calls whose end was not seen"] += 1
        begun_s = ended_s = path.stat().st_mtime
    stdin, stdout, stderr = (_stream(path.with_suffix(f".{n}")) for n in range(3))
    family, mad, script, *argv = words
    yield SeenCall(begun_s, ended_s, _FAMILIES[family], mad, script.rpartition("/")[2], tuple(argv), stdin, stdout, stderr, status)


def _stream(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
