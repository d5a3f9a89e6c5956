"""From what a check has found to the evidence for it, with the place in the driver where it happened."""

from __future__ import annotations

from onereport.results import Evidence
from onesim.records import Call
from onetck.checks.base import Case, Finding


def evident(finding: Finding, case: Case) -> Evidence:
    """Return the evidence for a finding. Of what is wrong in a call it names the line that failed, or the one that ran last."""
    call = next((one for one in case.calls if one.n == finding.call), None) if finding.verdict != "pass" else None
    if call is None:
        return Evidence(finding.sentence, finding.call, finding.observation)
    at = "" if call.failed_at is None else str(call.failed_at)
    last = tuple(str(one) for one in call.last_at if str(one) != at)
    return Evidence(finding.sentence, finding.call, finding.observation, at, _code(call), last)


def _code(call: Call) -> str:
    place = call.failed_at or next(iter(call.last_at), None)
    return place.text if place is not None else ""
