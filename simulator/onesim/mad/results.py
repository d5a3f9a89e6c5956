"""What a driver program makes of a script that has ended: the text of its answer, and what it logs. Pure; standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onesim.mad.wire import Log, encoded
from onesim.parsers import ERRORS

_SEVERITIES = {"ERROR": "E", "INFO": "I", "WARN": "W", "DEBUG": "D"}
_OWN = re.compile(r"(ERROR|INFO|WARN|DEBUG):\s+(\d+)?\s*(.*)")
_FAILED = re.compile(r"(ERROR|DEBUG|INFO):(.*)")


@dataclass(frozen=True)
class Ended:
    """A script that has ended: exit status (255 for one that a signal ended or that could not be started) and what it printed."""

    status: int
    stdout: str = ""
    stderr: str = ""

    @property
    def success(self) -> bool:
        """Whether the exit status says so."""
        return self.status == 0


def info(ended: Ended, errors: str, *, encodes: bool = False) -> str:
    """Return the text of the answer: stdout on success, else the error text as the contract finds it (`errors`); a dash for nothing."""
    found = ended.stdout if ended.success else ERRORS[errors](ended.stderr).replace("\n", " ").strip()
    return encoded(found or "-") if encodes else found or "-"


def logs(ended: Ended, errors: str, id: int, command: str) -> Iterator[Log]:
    """Yield what is logged: of a failure all of stderr under the number of the request; since 7.0 log lines of stderr always, under their own number or -1."""
    if not ended.success:
        yield Log("I", id, f"Command execution failed (exit code: {ended.status}): {command}")
        for line in ended.stderr.strip().split("\n") if ended.stderr.strip() else ():
            own = _FAILED.fullmatch(line)
            yield Log(_SEVERITIES[own[1]], id, own[2].strip()) if own else Log("I", id, line.strip())
    if errors == "plain":
        for line in ended.stderr.split("\n"):
            own = _OWN.fullmatch(line.strip())
            if own:
                yield Log(_SEVERITIES[own[1]], int(own[2]) if own[2] else -1, own[3].strip())
