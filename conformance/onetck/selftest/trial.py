"""The trial of a mutant: the cases that run its line, the cheapest first, until one finds it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from onetck.selftest.baseline import Baseline, CaseSeen, Role
from onetck.selftest.mutants import Mutant, mutated
from onetck.selftest.playing import play, with_file

#: A call gets so many times as long as the longest one of the case did with the driver as it is, and this many seconds at least.
_TIMES, _LEAST_S = 4.0, 5.0
#: What a trial can come to. An error is the harness's own, and no kill.
OUTCOMES = ("killed", "warned", "survived", "not_covered", "equivalent", "error")


class Trial(msgspec.Struct, frozen=True):
    """What came of a mutant. A killed one names the requirement that it breaks, the verdict and the case; `tried` are the cases that ran, `warned` the SHOULDs
    that one breaks which breaks nothing else, `reason` says why an equivalent one is no fault. `certified` is false if a killed one breaks
    nothing in that case that a profile of the role requires.
    """

    mutant: Mutant
    outcome: str
    requirement: str = ""
    verdict: str = ""
    case: str = ""
    role: str = ""
    tried: int = 0
    warned: tuple[str, ...] = ()
    reason: str = ""
    duration_s: float = 0.0
    certified: bool = True


@dataclass(frozen=True)
class Bench:
    """What trials need: the scripts as they are, the baseline, the roles, and why some mutants are equivalent (by id).

    `alike`: of the cases that go the same way through the changed script so many are played, 0 for all.
    """

    files: Mapping[str, str]
    baseline: Baseline
    roles: Mapping[str, Role]
    reasons: Mapping[str, str]
    alike: int = 0

    def reach(self, mutant: Mutant) -> list[CaseSeen]:
        """Return the cases that run the line of a mutant. A line that goes on from the one above is run where that one is."""
        rows = self.files[mutant.file].split("\n")
        line = mutant.line
        while True:
            found = self.baseline.reaching(mutant.file, line, self.alike)
            if found or line == 1 or not _goes_on(rows[line - 2], rows[line - 1]):
                return found
            line -= 1


#: A branch of `case` in which nothing is done: bash tells of no command there.
_EMPTY_BRANCH = re.compile(r"^\s*[^()]+\)\s*;;")


def _goes_on(above: str, row: str) -> bool:
    """Whether a line belongs to the command or the branch that the one above begins."""
    if _EMPTY_BRANCH.match(row):
        return True
    return above.rstrip().endswith(("\\", "&&", "||", "|", "(", "{", ")")) or row.lstrip().startswith((")", "}"))


def attempt(bench: Bench, mutant: Mutant) -> Trial:
    """Try a mutant."""
    if mutant.id in bench.reasons:
        return Trial(mutant, "equivalent", reason=bench.reasons[mutant.id])
    reach = bench.reach(mutant)
    if not reach:
        return Trial(mutant, "not_covered")
    warned: set[str] = set()
    spent = 0.0
    with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
        path = Path(scratch, Path(mutant.file).name)
        path.write_text(mutated(bench.files[mutant.file], mutant))
        path.chmod(bench.roles[reach[0].role].setting.driver.files[mutant.file].stat().st_mode)
        for n, seen in enumerate(reach, 1):
            role = bench.roles[seen.role]
            setting = role.setting
            subject = with_file(setting.subject, setting.driver, setting.spec, mutant.file, path)
            limits = replace(subject.limits, time_s=max(seen.longest_s * _TIMES, _LEAST_S))
            played = play(setting.spec, replace(subject, limits=limits), role.cases[seen.case], role.required)
            spent += played.duration_s
            new = {id: verdict for id, verdict in played.bad.items() if id not in seen.bad}
            if new:
                first = min(new, key=lambda id: (id not in role.required, id))
                certified = first in role.required
                return Trial(mutant, "killed", first, new[first], seen.case, seen.role, n, duration_s=round(spent, 3), certified=certified)
            if played.error:
                return Trial(mutant, "error", case=seen.case, role=seen.role, tried=n, reason=played.error, duration_s=round(spent, 3))
            warned |= set(played.warned) - set(seen.warned)
    return Trial(mutant, "warned" if warned else "survived", tried=len(reach), warned=tuple(sorted(warned)), duration_s=round(spent, 3))
