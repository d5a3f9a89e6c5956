"""What reading a driver finds: findings with the level, the requirements and the remedy of their rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Literal

import msgspec

from onesim.spec import ContractSpec

#: From the worst to the least.
LEVELS = ("error", "warn", "note")


class Finding(msgspec.Struct, frozen=True):
    """One thing found. `file` is named as in the remotes tree, or as the user named it; `line` counts from 1, 0 = the whole file."""

    level: Literal["error", "warn", "note"]
    rule: str
    file: str
    line: int
    sentence: str
    remedy: str
    requirements: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """All findings of a driver under a contract, worst first within each file."""

    driver: str
    contract: str
    files: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]


class Rules:
    """Makes findings by the rows of the table, for one contract."""

    def __init__(self, spec: ContractSpec) -> None:
        self._spec = spec

    def found(self, rule: str, file: str, line: int, sentence: str, also: Iterable[str] = (), action: str = "") -> Finding:
        """Return a finding; `also` are requirements beyond those of the rule, and `action` (ds/cp) what it is about."""
        row = self._spec.spec.static_rules[rule]
        known = self._spec.requirements
        held = dict.fromkeys(name for name in (*row.requirements, *also) if name in known and (not action or fnmatch(action, known[name].action)))
        return Finding(row.level, rule, file, line, sentence, row.remedy, tuple(held))

    def words(self, rule: str) -> tuple[str, ...]:
        """Return the words that a rule looks for."""
        return self._spec.spec.static_rules[rule].words


def report(driver: str, contract: str, files: int, findings: Iterable[Finding]) -> Report:
    """Return the findings in order, with their counts."""
    ordered = tuple(sorted(set(findings), key=lambda one: (one.file, one.line, LEVELS.index(one.level), one.rule, one.sentence)))
    counts: Counter[str] = Counter(one.level for one in ordered)
    return Report(driver, contract, files, {level: counts[level] for level in LEVELS}, ordered)
