"""The trial of a mutant: the cases that run its line, the cheapest first, then faults that strike its action, until one finds it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from onetck.plan import PlannedCase
from onetck.selftest.baseline import Baseline, CaseSeen, Role
from onetck.selftest.choosing import chosen
from onetck.selftest.mutants import Mutant, mutated
from onetck.selftest.playing import play, with_file
from onetck.selftest.striking import Striking, planned

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

    `most`: so many of the cases that run a line are played, 0 for all. `striking`: the fault cases, for those that no other finds.
    """

    files: Mapping[str, str]
    baseline: Baseline
    roles: Mapping[str, Role]
    reasons: Mapping[str, str]
    most: int = 0
    striking: Striking | None = None

    def reach(self, mutant: Mutant) -> list[CaseSeen]:
        """Return the cases that are played with a mutant: they run its line."""
        cases = self.baseline.reaching(mutant.file, self._told(mutant))
        traces = {one.key: self.roles[one.role].cases[one.case].trace for one in cases}
        return chosen(cases, traces, self.files, mutant.file, mutant.line, self.most)

    def struck(self, mutant: Mutant) -> Iterator[tuple[CaseSeen, PlannedCase]]:
        """Yield fault cases that run the line of a mutant."""
        for one in self.striking.reaching(mutant.file, self._told(mutant)) if self.striking is not None else ():
            role = self.roles[one.seen.role]
            yield one.seen, planned(role.setting.spec, role, one)

    def _told(self, mutant: Mutant) -> int:
        """Return the line by which bash tells of the command on a mutant's line: that one, one above to which it belongs, or one with which it goes on."""
        rows, line = self.files[mutant.file].split("\n"), mutant.line
        while line and not self.baseline.runs(mutant.file, line):
            line = _belongs_to(rows, line)
        if line:
            return line
        line = mutant.line
        while line < len(rows) and _belongs_to(rows, line + 1) == line:
            line += 1
            if self.baseline.runs(mutant.file, line):
                return line
        return mutant.line


#: A line that is only the pattern of a branch, or a branch in which nothing is done: bash tells of no command there.
_PATTERN = re.compile(r"^\s*[^()]+\)(?:\s*;;)?$")
_CASE = re.compile(r"^\s*case\s.*\sin$")


def _belongs_to(rows: Sequence[str], line: int) -> int:
    """Return the line above to which one belongs: the `case` of a branch, the loop that it ends, the command that it goes on with. 0 if there is none."""
    if line == 1:
        return 0
    row, above = rows[line - 1], rows[line - 2]
    if _PATTERN.match(row):
        return next((n for n in range(line - 1, 0, -1) if _CASE.match(rows[n - 1]) and _indent(rows[n - 1]) < _indent(row)), 0)
    goes_on = above.rstrip().endswith(("\\", "&&", "||", "|", "(", "{", ")")) or row.lstrip().startswith((")", "}", "done "))
    return line - 1 if goes_on else 0


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def attempt(bench: Bench, mutant: Mutant) -> Trial:
    """Try a mutant: with the cases that run its line, and if none of them finds it with faults that strike the action."""
    if mutant.id in bench.reasons:
        return Trial(mutant, "equivalent", reason=bench.reasons[mutant.id])
    plain = ((seen, bench.roles[seen.role].cases[seen.case]) for seen in bench.reach(mutant))
    tries = Tries(bench, mutant)
    ended = tries.run(plain)
    if ended is None:
        ended = tries.run(bench.struck(mutant))
    if ended is not None:
        return ended
    outcome = "not_covered" if not tries.tried else "warned" if tries.warned else "survived"
    return Trial(mutant, outcome, tried=tries.tried, warned=tuple(sorted(tries.warned)), duration_s=round(tries.spent_s, 3))


class Tries:
    """The cases that a mutant has been played with: how many, the SHOULDs that it broke in them, and the seconds that they took."""

    def __init__(self, bench: Bench, mutant: Mutant) -> None:
        self._bench, self._mutant = bench, mutant
        self.tried, self.spent_s = 0, 0.0
        self.warned: set[str] = set()

    def run(self, cases: Iterable[tuple[CaseSeen, PlannedCase]]) -> Trial | None:
        """Play cases, each given with what it comes to with the driver as it is. Return the trial that one of them ends; None if none does."""
        mutant = self._mutant
        with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
            path = Path(scratch, Path(mutant.file).name)
            path.write_text(mutated(self._bench.files[mutant.file], mutant))
            for seen, case in cases:
                ended = self._one(path, seen, case)
                if ended is not None:
                    return ended
        return None

    def _one(self, path: Path, seen: CaseSeen, case: PlannedCase) -> Trial | None:
        mutant, role = self._mutant, self._bench.roles[seen.role]
        setting = role.setting
        path.chmod(setting.driver.files[mutant.file].stat().st_mode)
        subject = with_file(setting.subject, setting.driver, setting.spec, mutant.file, path)
        limits = replace(subject.limits, time_s=max(seen.longest_s * _TIMES, _LEAST_S))
        played = play(setting.spec, replace(subject, limits=limits), case, role.required)
        self.spent_s += played.duration_s
        self.tried += 1
        spent = round(self.spent_s, 3)
        new = {id: verdict for id, verdict in played.bad.items() if id not in seen.bad}
        if new:
            first = min(new, key=lambda id: (id not in role.required, id))
            return Trial(mutant, "killed", first, new[first], seen.case, seen.role, self.tried, duration_s=spent, certified=first in role.required)
        if played.error:
            return Trial(mutant, "error", case=seen.case, role=seen.role, tried=self.tried, reason=played.error, duration_s=spent)
        self.warned |= set(played.warned) - set(seen.warned)
        return None
