"""Judging while a run goes on: each case when it has ended, from the history that is being written, so that a failure is told at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from onereport.results import FAILURES, Result
from onesim.executor import CaseSummary
from onesim.journal import Line
from onesim.records import Lines, Record
from onesim.rows import Profile
from onesim.spec import ContractSpec
from onetck.judge import History, cases_of, judge_case


class Following:
    """Follows a history as it grows. `results` are those of the cases that have ended, as the judge of the whole history finds them; `ran` the lines of
    scripts that they ran, by file.

    Records are read back from the file: what is judged is what stands there. `command` returns the one that repeats a case.
    """

    def __init__(self, history: Path, spec: ContractSpec, profile: Profile, command: Callable[[str], str] = lambda case: "") -> None:
        self.results: dict[str, list[Result]] = {}
        self.ran: dict[str, dict[str, set[int]]] = {}
        self._history, self._spec, self._command = history, spec, command
        self._demanded, self._requirements = frozenset(profile.requirements), list(spec.requirements.values())
        self._decoder: msgspec.json.Decoder[Line[Any]] = msgspec.json.Decoder(Line[Record])
        self._records: dict[str, list[Record]] = {}
        self._file: BinaryIO | None = None
        self._reading = threading.Lock()

    def ended(self, summary: CaseSummary) -> Sequence[str]:
        """Judge a case that has ended. Returns what it fails of what is certified, in words. Safe to call from several threads."""
        with self._reading:
            records = self._read(summary.case)
        (case,) = cases_of(records, self._spec, History())
        results = self.results[summary.case] = judge_case(case, self._requirements, self._demanded, self._command(summary.case))
        return [
            f"{one.requirement} {one.verdict}" + "".join(f": {evidence.sentence}" for evidence in one.evidence[:1])
            for one in results
            if one.verdict in FAILURES and one.requirement in self._demanded
        ]

    def _read(self, wanted: str) -> list[Record]:
        """Read what has come since the last time, and return the records of a case."""
        if self._file is None:
            self._file = self._history.open("rb")
        for line in _whole_lines(self._file):
            record = self._decoder.decode(line).data
            self._records.setdefault(getattr(record, "case", ""), []).append(record)
            if isinstance(record, Lines):
                self.ran[record.case] = {name: set(lines) for name, lines in record.ran.items()}
        self._records.pop("", None)
        return self._records.pop(wanted)

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that a file has got since the last time; one that is being written stays for the next."""
    while (line := file.readline()).endswith(b"\n"):
        yield line
    file.seek(-len(line), os.SEEK_CUR)
