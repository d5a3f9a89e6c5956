"""What a driver can do as far as a run has shown it, and the rows for oned.conf that follow: from the verdicts, never from what is claimed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onereport.results import FAILURES, ConfLine, ProfileRow, RequirementVerdict, ShownBy, some

#: Answers to the question whether a driver can do what a profile is about.
YES, NO, OPEN, ELSEWHERE = "yes", "no", "not shown", "does not apply"


@dataclass(frozen=True)
class Seen:
    """What was seen of a profile: its MUSTs that passed, that failed and that were not judged, and those of the failed that are waived. Others do not apply."""

    row: ProfileRow
    passed: int
    failed: tuple[str, ...]
    waived: tuple[str, ...]
    open: int

    @property
    def answer(self) -> str:
        """Whether the driver can do it. A waiver excuses a failure, and makes nothing of it that works."""
        if self.row.elsewhere:
            return ELSEWHERE
        if self.failed or self.row.lacks:
            return NO
        return YES if self.passed and not self.open else OPEN

    @property
    def why(self) -> str:
        """The reason of the answer, in words."""
        if self.row.elsewhere:
            return f"it is {self.row.elsewhere}; this run had none"
        of = self.passed + len(self.failed) + self.open
        if self.failed:
            return f"breaks {len(self.failed)} of {of}: {some(self.failed)}" + (f"; waived: {some(self.waived)}" if self.waived else "")
        if self.row.lacks:
            return f"the driver does not have {', '.join(self.row.lacks)}"
        if not of:
            return "nothing of it applies here"
        return f"keeps all {of}" if not self.open else f"{self.open} of {of} not judged in this run"


def seen(rows: Iterable[ProfileRow], verdicts: Mapping[str, RequirementVerdict]) -> list[Seen]:
    """Return what was seen of profiles, from the verdicts by requirement."""
    return [_seen(row, [verdicts[id] for id in row.requirements if id in verdicts and verdicts[id].level == "MUST"]) for row in rows]


def _seen(row: ProfileRow, musts: Sequence[RequirementVerdict]) -> Seen:
    failed = [one for one in musts if one.verdict in FAILURES]
    return Seen(
        row,
        sum(one.verdict in ("pass", "warn") for one in musts),
        tuple(one.requirement for one in failed),
        tuple(one.requirement for one in failed if one.waived),
        sum(one.verdict in ("error", "blocked", "not_tested") for one in musts),
    )


def areas(found: Iterable[Seen]) -> list[Seen]:
    """Return what a table of capabilities has: every profile once, and not the parts of one beside it."""
    return [one for one in found if not one.row.part]


@dataclass(frozen=True)
class Offered:
    """A line for oned.conf as it follows from a run, and in sentences what a run has made other than the description has it."""

    text: str
    notes: tuple[str, ...] = ()


def conf_text(table: str, words: Mapping[str, str], said: str = "") -> str:
    """Return a row of oned.conf, or a comment that says what is to be done there."""
    if not table:
        return f"# {said}"
    pairs = ", ".join(f'{key} = "{value}"' for key, value in words.items())
    return f"{table} = [ {pairs} ]"


def offered(lines: Iterable[ConfLine], verdicts: Mapping[str, RequirementVerdict]) -> list[Offered]:
    """Return the lines for oned.conf. An attribute that a requirement contradicts is not among them, one that a requirement has shown is."""
    return [_offered(line, verdicts) for line in lines]


def _offered(line: ConfLine, verdicts: Mapping[str, RequirementVerdict]) -> Offered:
    words: dict[str, str] = dict(line.words)
    notes: list[str] = []
    for one in line.shown:
        verdict = verdicts[one.requirement].verdict if one.requirement in verdicts else "not_tested"
        notes += _put_right(words, one, verdict)
    return Offered(" ".join(conf_text(line.table, words, line.said).split()), tuple(notes))


def _put_right(words: dict[str, str], one: ShownBy, verdict: str) -> Iterator[str]:
    """Change an attribute as a verdict demands. Yield the sentence that says so, if anything is changed."""
    had = words.get(one.attribute, "")
    if verdict in FAILURES and had != one.broken:
        words.pop(one.attribute, None)
        words |= {one.attribute: one.broken} if one.broken else {}
        instead = f'{one.attribute} = "{one.broken}" stands there' if one.broken else "it is left out"
        described = f'{one.attribute} = "{had}" is not true' if had else f"{one.attribute} cannot be left out"
        yield f"{described}, for the driver breaks {one.requirement}: {instead}."
    elif verdict == "pass" and one.kept and not had:
        words[one.attribute] = one.kept
        yield f'{one.attribute} = "{one.kept}" is not in the description, and follows from {one.requirement}, which the driver keeps.'
