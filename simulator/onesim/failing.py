"""Names the command of a script that failed, from the last commands that bash has told of: not the line of the helper that prints the error, nor a trap's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onesim.world.interface import Traced
from onesim.world.lines import REPORTING, TESTING

#: A helper that reports tests things too.
_IN_HELPER = REPORTING | TESTING
_LEAVING = ("exit", "return")
#: After `||` they say that a failure does not matter.
_IGNORING = (":", "true")


def last_command(tail: Sequence[Traced], script: str, ours: Callable[[str], bool]) -> Traced | None:
    """Return the last command of the script proper: no trap's, and not one within another file than the script.

    `script` is the file that was called, should none of the commands tell; `ours` tells the driver's files.
    """
    rows = _without_traps(tail)
    return _outermost(rows, len(rows) - 1, script, ours) if rows else None


def failed_command(tail: Sequence[Traced], script: str, ours: Callable[[str], bool]) -> Traced | None:
    """Return the command of the script that failed, as far as the order of commands and their exit statuses tell.

    What ran last is it, unless the script left by itself: then the command before the helper that printed the error, or before the lines that did and tested
    what to say. Where no status tells, it is the test that came first on the way back, else the command before.
    """
    rows = _without_traps(tail)
    if not rows:
        return None
    at = len(rows) - 1
    if rows[at].word not in _LEAVING:
        return _outermost(rows, at, script, ours)
    at = suspect = _out_of_helpers(rows, at)
    tested = False
    while at > 0:
        if rows[at].status and rows[at].word not in _IGNORING:
            return _outermost(rows, at - 1, script, ours)
        before = at - 1
        if len(rows[before].calls) > len(rows[at].calls):
            at, before = before, _out_of_helpers(rows, before)
            if before == at:  # a function that does more than report
                return _outermost(rows, suspect if tested else before, script, ours)
        elif rows[before].word in TESTING:
            suspect, tested = (suspect if tested else before), True
        elif not _reports(rows[before], REPORTING):
            return _outermost(rows, suspect if tested else before, script, ours)
        at = before
    return _outermost(rows, suspect, script, ours)


def _without_traps(tail: Sequence[Traced]) -> list[Traced]:
    """Leave out the commands of an EXIT trap, to which bash gives the first line of the script."""
    rows = list(tail)
    while rows and (rows[-1].line <= 1 or any(line <= 1 for line in rows[-1].calls[:-1])):
        rows.pop()
    return rows


def _reports(row: Traced, words: frozenset[str]) -> bool:
    return row.word in words or row.word in ("=", "")


def _fails(row: Traced, following: Traced) -> bool:
    """Whether a command failed that was no test: the status that the following one found tells, or an assignment of what it printed."""
    return following.status != 0 and row.word not in TESTING and (following.word == "=" or not _reports(row, REPORTING))


def _caller(rows: Sequence[Traced], at: int) -> int:
    """Return where the function of a command was called; -1 if that is not among what is known."""
    stack = rows[at].calls[1:]
    return next((n for n in range(at - 1, -1, -1) if rows[n].calls == stack), -1)


def _out_of_helpers(rows: Sequence[Traced], at: int) -> int:
    """Return the command that called the helper which a command stands in: functions that do no more than report. The command itself if it stands in none.

    A function in which a command fails does more than report, wherever it stands.
    """
    while len(rows[at].calls) > 1:
        caller = _caller(rows, at)
        if caller < 0:
            return at
        for n in range(caller + 1, at + 1):
            enters = n < at and len(rows[n + 1].calls) > len(rows[n].calls)
            if not enters and not _reports(rows[n], _IN_HELPER) and rows[n].source == rows[caller].source:
                return at
            if not enters and n < at and _fails(rows[n], rows[n + 1]):
                return at
        at = caller
    return at


def _outermost(rows: Sequence[Traced], at: int, script: str, ours: Callable[[str], bool]) -> Traced | None:
    """Return the command in the script itself behind a command in a library. What called that is known, though it may have run too long ago to be told."""
    script = next((row.source for row in reversed(rows) if len(row.calls) == 1), script)
    row = rows[at]
    while row.source != script or not ours(row.source):
        caller = _caller(rows, at)
        if caller < 0:
            known = len(row.calls) > 1 and ours(script)
            return Traced(script, row.calls[-2], row.calls[-1:], "", 0, "") if known else row if ours(row.source) else None
        at, row = caller, rows[caller]
    return row
