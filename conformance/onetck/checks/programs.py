"""Checks on a driver program (MAD) that a user brings: what it did wrong is in the history, named; these say which requirement that breaks."""

from __future__ import annotations

from collections.abc import Iterator

from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding


def keeps_protocol(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """No driver program did what `fault` names. `needs` = scripts: one that never ran a script has not been tried."""
    faults = requirement.when.get("fault", ())
    broken = [row for row in case.mad_faults if row.fault in faults]
    yield from (Finding("fail", f"the {row.mad} program: {row.detail}", row.call) for row in broken)
    tried = [row for row in case.mads if row.scripts or "needs" not in requirement.when]
    if tried and not broken:
        yield Finding("pass", f"the {tried[0].mad} program got {tried[0].requests} requests and ran {tried[0].scripts} scripts")


CHECKS: dict[str, Check] = {"keeps_protocol": keeps_protocol}
