"""The record classes of `results.jsonl`, and the one function that decides the verdict of a run.

HTML, JSON, JUnit and the exit code all ask `decide`; none counts by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

#: Verdicts from worst to best. The first that occurs among the cases of a requirement is the requirement's verdict, so nothing hides a fail.
VERDICTS = ("fail", "crash", "timeout", "error", "flaky", "blocked", "not_tested", "warn", "pass", "not_applicable")
#: The verdicts by which the driver itself is found wanting.
FAILURES = frozenset({"fail", "crash", "timeout", "flaky"})

EXIT_CONFORMANT, EXIT_NOT, EXIT_INTERRUPTED, EXIT_NO_VERDICT = 0, 1, 2, 3
EXIT_USAGE, EXIT_NOTHING, EXIT_WAIVER, EXIT_EVIDENCE = 4, 5, 6, 7


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of evidence: the call (by its number in the case), the sentence that says what is wrong or right there.

    Of what is wrong: `at` is the line of the driver whose command failed (`tm/shared/mv:41`), empty where the call succeeded or nobody knows; `last` the lines
    that ran last, of the script itself and on hosts, where they are others; `code` the text of the line `at`, else of the first of `last`.
    """

    sentence: str
    call: int = -1
    observation: str = ""
    at: str = ""
    code: str = ""
    last: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The place in words; empty if there is none."""
        if not self.at and not self.last:
            return ""
        code = f"  {self.code}" if self.code else ""
        if self.at:
            return f"at {self.at}{code}" + (f" (ran last: {', '.join(self.last)})" if self.last else "")
        return f"ran last: {self.last[0]}{code}" + "".join(f", {one}" for one in self.last[1:])


class WaiverUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """A waiver and what has become of it: used, unused (what it excuses passes), expired, or idle (nothing was judged). `days_left` from the day of the run."""

    requirement: str
    state: str
    reason: str
    owner: str
    issue: str
    expires: str
    days_left: int


class ShownBy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The requirement that shows whether an attribute of oned.conf is true, and its value where that is `kept` or `broken`; empty = the attribute is left out."""

    attribute: str
    requirement: str
    kept: str = ""
    broken: str = ""


class ConfLine(msgspec.Struct, frozen=True, tag="conf_line", tag_field="record", omit_defaults=True):
    """A row for oned.conf as the driver's description has it, and what shows whether it is true. Without a table, `said` tells what else is to be done there."""

    table: str = ""
    words: dict[str, str] = {}
    said: str = ""
    shown: tuple[ShownBy, ...] = ()


class ProfileRow(msgspec.Struct, frozen=True, tag="profile", tag_field="record", omit_defaults=True):
    """A profile, so that a report can tell what was seen of it: its requirements, whether it was `claimed`, whether the run was about it (`chosen`).

    `level` is the lowest level that demands it. `lacks` are the actions that the driver does not have or refuses; `elsewhere` says what the profile is for,
    where that is another layout than the run's. `part` = all its requirements are another profile's.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    claimed: bool = False
    chosen: bool = False
    level: str = ""
    lacks: tuple[str, ...] = ()
    elsewhere: str = ""
    part: bool = False


class ResultsHeader(msgspec.Struct, frozen=True, tag="header", tag_field="record", omit_defaults=True):
    """First record of the results; `history` is the file judged and `history_sha256` the head of its chain.

    `profile_sha256` is that of the requirements that the run is about, one a line: what was frozen, if it is one profile.

    `quarantine` are requirements that are not judged because their check is known to be wrong, each with since when and why. `faults` tells of the fault cases:
    how many, by which seed, and those in which the fault did not strike; empty if there are none.

    `requirements` are those that were asked for alone, if it is not all of the profile. `tool_sha256` and `tables_sha256` are those of the tool and the
    specification that have judged; `spec_sha256` is that of the specification by which the history was made.

    `stated` = what is claimed stands in a statement; `disagreements` are sentences of what that and the driver say otherwise.
    """

    schema: int
    tool: str
    contract: str
    version: str
    driver: str
    profile: str
    history: str
    history_sha256: str
    started_s: float
    isolation: dict[str, str] = {}
    environment: dict[str, str] = {}
    driver_sha256: str = ""
    spec_sha256: str = ""
    waivers: tuple[WaiverUse, ...] = ()
    quarantine: tuple[str, ...] = ()
    profile_sha256: str = ""
    faults: str = ""
    requirements: tuple[str, ...] = ()
    tool_sha256: str = ""
    tables_sha256: str = ""
    stated: bool = False
    disagreements: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, tag="result", tag_field="record", omit_defaults=True):
    """The verdict on one requirement in one case (case is empty where no case reached it).

    `check` is the check that decided; `blocked_by` the requirement whose failure stopped the case; `repeat` the command that repeats the case.
    """

    requirement: str
    case: str
    verdict: str
    check: str = ""
    evidence: tuple[Evidence, ...] = ()
    blocked_by: str = ""
    repeat: str = ""


class RequirementVerdict(msgspec.Struct, frozen=True, tag="requirement", tag_field="record", omit_defaults=True):
    """The verdict on one requirement over all cases, with the specification's own words, so that a report needs no other source.

    `waived` says who answers for a failure, and until when; `broken_before` the public references of drivers that failed here, for a failure alone.
    `profiles` are those of the run that demand it.
    """

    requirement: str
    verdict: str
    level: str
    sentence: str
    source: str
    family: str
    action: str
    required: bool
    reason: str = ""
    cases: tuple[str, ...] = ()
    waived: str = ""
    broken_before: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


class ScriptLines(msgspec.Struct, frozen=True, tag="script", tag_field="record", omit_defaults=True):
    """What a run has reached of a bash script of the driver: how many lines hold code, and which of them never ran.

    `sha256` names the script beside the history. One that is not `traced` could tell that it is, and is left alone, or is no bash script and has no `lines`.
    """

    file: str
    sha256: str
    lines: int
    unrun: tuple[int, ...] = ()
    traced: bool = True


def broken_before(references: Iterable[str]) -> str:
    """Return the sentence that tells where drivers have broken a requirement before."""
    return f"Drivers have broken here before: {', '.join(references)}"


class ResultsFooter(msgspec.Struct, frozen=True, tag="footer", tag_field="record", omit_defaults=True):
    """Last record: the decision, and the level that was reached (a row of `spec/levels.toml`). Results without it are PARTIAL."""

    verdict: str
    sentence: str
    exit_code: int
    counts: dict[str, int]
    required: int
    executed: int
    cases: int
    calls: int
    wall_s: float = 0.0
    level: str = ""

    @property
    def said(self) -> str:
        """The sentence, with the level that was reached."""
        return f"{self.sentence} Level: {self.level}." if self.level else self.sentence


ResultRecord = ResultsHeader | Result | RequirementVerdict | ProfileRow | ConfLine | ScriptLines | ResultsFooter


class Decision(msgspec.Struct, frozen=True):
    """The decision on a run: `verdict` in capitals, a sentence for people, the exit code, and the counts over requirements.

    `executed` counts the required requirements on which a verdict was reached; `required` all that the profile requires.
    """

    verdict: str
    sentence: str
    exit_code: int
    counts: dict[str, int]
    required: int
    executed: int


def worst(verdicts: Iterable[str]) -> str:
    """Return the verdict of a requirement from those of its cases; `not_tested` if there is none."""
    ranked = sorted(verdicts, key=VERDICTS.index)
    return ranked[0] if ranked else "not_tested"


def some(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def decide(verdicts: Iterable[RequirementVerdict], waivers: Iterable[WaiverUse] = (), *, partial: bool = False) -> Decision:
    """Decide a run from the verdicts on its requirements.

    Precedence: a failure of the driver that nobody has waived, then an interrupted run, then what prevents a verdict (our errors, blocked or untested
    requirements), then nothing run, then waivers that no longer fit, then conformant. A broken SHOULD (`warn`) never changes the exit code.
    """
    rows = list(verdicts)
    counts = dict.fromkeys(VERDICTS, 0)
    counts.update(Counter(row.verdict for row in rows))
    required = [row for row in rows if row.required and row.verdict != "not_applicable"]
    executed = [row for row in required if row.verdict in FAILURES or row.verdict in ("pass", "warn")]
    failed = [row.requirement for row in required if row.verdict in FAILURES and not row.waived]
    waived = [row.requirement for row in required if row.waived]
    unsettled = [row.requirement for row in required if row.verdict in ("error", "blocked", "not_tested")]

    def made(verdict: str, sentence: str, code: int) -> Decision:
        return Decision(verdict, sentence, code, counts, len(required), len(executed))

    if failed:
        count = f"{len(failed)} requirement{'s' if len(failed) > 1 else ''}"
        programs = all(row.family == "mad" for row in required if row.verdict in FAILURES)
        return made("NOT CONFORMANT", f"The driver{' program' if programs else ''} breaks {count} of {len(required)}: {some(failed)}.", EXIT_NOT)
    if partial:
        return made("PARTIAL", "The run was interrupted; what ran is recorded, and no verdict follows.", EXIT_INTERRUPTED)
    if not executed and all(row.verdict == "not_tested" and not row.cases for row in required):
        return made("NOTHING RAN", "No requirement was executed; no verdict follows.", EXIT_NOTHING)
    if unsettled:
        return made("NO VERDICT", f"{len(unsettled)} of {len(required)} requirements could not be judged: {some(unsettled)}.", EXIT_NO_VERDICT)
    drifted = [f"{one.requirement} ({one.state})" for one in waivers if one.state in ("unused", "expired")]
    if drifted:
        return made("WAIVER DRIFT", f"Waivers no longer fit: {some(drifted)}; `onetck waive prune` strikes them.", EXIT_WAIVER)
    if waived:
        kept = f"The driver keeps {len(required) - len(waived)} of {len(required)} requirements that apply"
        return made("CONFORMANT WITH WAIVERS", f"{kept}; waived: {some(waived)}.", EXIT_CONFORMANT)
    return made("CONFORMANT", f"The driver keeps all {len(required)} requirements that apply.", EXIT_CONFORMANT)
