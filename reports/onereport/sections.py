"""What the report's sections on claims, performance and capability show, gathered while the records are read once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onereport.capability import areas, offered, seen
from onereport.cases import views
from onereport.performance import Measured, compared
from onereport.results import ConfLine, ProfileRow, RequirementVerdict, ResultRecord
from onesim.records import Record


class Sections:
    """Takes the records of the results one by one; `measured` takes the calls of each case."""

    def __init__(self) -> None:
        self.measured = Measured()
        self._profiles: list[ProfileRow] = []
        self._conf: list[ConfLine] = []
        self._verdicts: dict[str, RequirementVerdict] = {}

    def take(self, record: ResultRecord) -> None:
        """Take a record, if it is of use here."""
        match record:
            case ProfileRow():
                self._profiles.append(record)
            case ConfLine():
                self._conf.append(record)
            case RequirementVerdict():
                self._verdicts[record.requirement] = record

    def values(self, beside: Iterable[Record]) -> dict[str, Any]:
        """Return what the templates need; `beside` is the history of the reference driver."""
        found, reference = seen(self._profiles, self._verdicts), Measured()
        played = 0
        for view in views(beside):
            reference.take(view.calls, view.faults)
            played += view.end is not None
        rows = compared(self.measured, reference)
        return {
            "claims": [one for one in found if one.row.claimed or one.row.chosen],
            "areas": areas(found),
            "conf": offered(self._conf, self._verdicts),
            "timed": rows,
            "beside": any(row.reference is not None for row in rows),
            "beside_cases": played,
        }
