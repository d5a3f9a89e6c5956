"""Two runs set side by side: what fails newly, what is fixed, what is flaky, what is slower, and what oned asked of the drivers otherwise.

Of two runs of one driver, of two versions of it, or under two contracts. It reads the files of the runs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from onereport.callchanges import ArgumentChange, CallChange, Played, argument_changes, call_changes, read_played
from onereport.results import EXIT_CONFORMANT, EXIT_NOT, FAILURES, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader
from onesim.errors import ConfigError
from onesim.journal import read
from onesim.records import Header

#: A change of less than this is noise of the machine.
_LEAST_MS = 50.0
_LEAST_CALLS = 3
_OPEN = ("not_tested", "blocked", "error")


class Side(msgspec.Struct, frozen=True):
    """One of the runs: where it lies, what it was about, and its verdict."""

    path: str
    driver: str
    driver_sha256: str
    contract: str
    version: str
    profile: str
    tool: str
    started_s: float
    verdict: str
    sentence: str
    cases: int
    calls: int


class VerdictChange(msgspec.Struct, frozen=True):
    """A requirement with another verdict; an empty one where a run does not know the requirement. `seen` is the evidence after, else before; `at` its line."""

    requirement: str
    before: str
    after: str
    required: bool
    sentence: str
    seen: str = ""
    at: str = ""
    repeat: str = ""


class FileChange(msgspec.Struct, frozen=True):
    """A file of the driver that was added, removed or changed."""

    path: str
    change: str


class Timing(msgspec.Struct, frozen=True):
    """How long the calls of an action took: medians in milliseconds, and of how many."""

    action: str
    before_ms: float
    after_ms: float
    calls_before: int
    calls_after: int


class Comparison(msgspec.Struct, frozen=True):
    """All that differs. `same` = one driver, one contract, one specification: what differs then is no change of anybody's. `other` are verdicts that changed
    otherwise, `lost` those of them that were passed and are open now.
    """

    before: Side
    after: Side
    same: bool
    files: tuple[FileChange, ...]
    newly_failing: tuple[VerdictChange, ...]
    fixed: tuple[VerdictChange, ...]
    flaky: tuple[VerdictChange, ...]
    lost: tuple[VerdictChange, ...]
    other: tuple[VerdictChange, ...]
    slower: tuple[Timing, ...]
    faster: tuple[Timing, ...]
    cases_gone: tuple[str, ...]
    cases_new: tuple[str, ...]
    calls: tuple[CallChange, ...]
    arguments: tuple[ArgumentChange, ...]
    exit_code: int

    @property
    def verdict_sentence(self) -> str:
        """What the comparison comes to, in a sentence."""
        parts = [
            f"{len(rows)} {words}"
            for rows, words in (
                (self.newly_failing, "newly failing"),
                (self.fixed, "fixed"),
                (self.flaky, "flaky"),
                (self.lost, "no longer known to pass"),
                (self.slower, "actions slower"),
                (self.calls, "calls that came or ended otherwise"),
                (self.arguments, "arguments changed"),
            )
            if rows
        ]
        return ", ".join(parts) if parts else "nothing differs"


class Run(msgspec.Struct, frozen=True):
    """A run as read."""

    side: Side
    header: Header
    spec_sha256: str
    verdicts: dict[str, RequirementVerdict]
    results: tuple[Result, ...]
    played: Played


def compare(before: Path, after: Path, factor: float = 1.5) -> Comparison:
    """Compare two directories of runs. An action is slower if its median has grown by `factor`, and by 50 ms at least. Raises ConfigError for what is no run."""
    if factor <= 1:
        raise ConfigError(f"--slower {factor:g}: give a factor above 1, such as 1.5")
    old, new = read_run(before), read_run(after)
    same = all(getattr(old.side, name) == getattr(new.side, name) for name in ("driver_sha256", "version")) and old.spec_sha256 == new.spec_sha256
    changes = list(_changes(old, new))
    flaky = [row for row in changes if row.after == "flaky" or (same and (row.before in FAILURES) != (row.after in FAILURES) and _ran(row))]
    rest = [row for row in changes if row not in flaky]
    failing = [row for row in rest if row.after in FAILURES and row.before not in FAILURES]
    fixed = [row for row in rest if row.before in FAILURES and row.after in ("pass", "warn")]
    lost = [row for row in rest if row.before in ("pass", "warn") and row.after in _OPEN and row.required]
    other = [row for row in rest if row not in failing and row not in fixed and row not in lost]
    worse = failing or flaky or lost
    return Comparison(
        old.side,
        new.side,
        same,
        tuple(_files(old.header, new.header)),
        tuple(failing),
        tuple(fixed),
        tuple(flaky),
        tuple(lost),
        tuple(other),
        tuple(_timings(old.played, new.played, factor)),
        tuple(msgspec.structs.replace(row, before_ms=row.after_ms, after_ms=row.before_ms) for row in _timings(new.played, old.played, factor)),
        tuple(name for name in old.played.calls if name not in new.played.calls),
        tuple(name for name in new.played.calls if name not in old.played.calls),
        tuple(call_changes(old.played, new.played)),
        tuple(argument_changes(old.played, new.played)),
        EXIT_NOT if worse else EXIT_CONFORMANT,
    )


def read_run(path: Path) -> Run:
    """Read the directory of a run. Raises ConfigError for what is none."""
    results = path / "results.jsonl"
    if not results.is_file():
        several = sorted(one.parent.name for one in path.glob("*/results.jsonl"))
        remedy = f"give one of its directories: {', '.join(several)}" if several else "give the directory of a run"
        raise ConfigError(f"{path}: holds no results; {remedy}")
    records = list(read(results, ResultRecord))
    header = records[0] if records else None
    if not isinstance(header, ResultsHeader):
        raise ConfigError(f"{results}: holds no results; give the directory of a run")
    footer = records[-1] if isinstance(records[-1], ResultsFooter) else None
    first, played = read_played(path / header.history)
    side = Side(
        str(path),
        header.driver,
        header.driver_sha256,
        header.contract,
        header.version,
        header.profile,
        header.tool,
        header.started_s,
        footer.verdict if footer else "PARTIAL",
        footer.said if footer else "The run was interrupted; no verdict follows.",
        len(played.calls),
        sum(map(len, played.calls.values())),
    )
    verdicts = {one.requirement: one for one in records if isinstance(one, RequirementVerdict)}
    return Run(side, first, header.spec_sha256, verdicts, tuple(one for one in records if isinstance(one, Result)), played)


def _ran(row: VerdictChange) -> bool:
    return all(verdict in FAILURES or verdict in ("pass", "warn") for verdict in (row.before, row.after))


def _changes(old: Run, new: Run) -> Iterator[VerdictChange]:
    """Yield the requirements whose verdict differs, in the order of the specification."""
    for id in dict.fromkeys((*old.verdicts, *new.verdicts)):
        before, after = old.verdicts.get(id), new.verdicts.get(id)
        told = after or before
        assert told is not None, "one of the runs knows it"
        verdicts = (before.verdict if before else "", after.verdict if after else "")
        if verdicts[0] == verdicts[1] and "flaky" not in verdicts:
            continue
        if "" in verdicts and set(verdicts) & {"not_tested", "not_applicable"}:
            continue  # one contract does not have it, and under the other it was not judged
        run, row = (new, after) if after is not None and after.verdict != "pass" else (old, before)
        said = _evidence(run.results, row) if row is not None else None
        required = any(one.required for one in (before, after) if one is not None)
        change = VerdictChange(id, *verdicts, required, told.sentence)
        if said is not None and said.evidence:
            first = said.evidence[0]
            change = msgspec.structs.replace(change, seen=f"{said.case}: {first.sentence}", at=first.place, repeat=said.repeat)
        yield change


def _evidence(results: Sequence[Result], row: RequirementVerdict) -> Result | None:
    return next((one for one in results if one.requirement == row.requirement and one.verdict == row.verdict), None)


def _files(old: Header, new: Header) -> Iterator[FileChange]:
    before, after = ({row.path: (row.sha256, row.mode) for row in one.files} for one in (old, new))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield FileChange(path, "added" if path not in before else "removed" if path not in after else "changed")


def _timings(old: Played, new: Played, factor: float) -> Iterator[Timing]:
    """Yield the actions that take longer in `new`, the worst first."""
    before, after = _durations(old), _durations(new)
    rows = [
        Timing(action, round(median(before[action]), 1), round(median(took), 1), len(before[action]), len(took))
        for action, took in after.items()
        if len(took) >= _LEAST_CALLS and len(before.get(action, ())) >= _LEAST_CALLS
    ]
    slower = [row for row in rows if row.after_ms >= row.before_ms * factor and row.after_ms - row.before_ms >= _LEAST_MS]
    yield from sorted(slower, key=lambda row: row.before_ms - row.after_ms)


def _durations(played: Played) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = {}
    for call in (one for calls in played.calls.values() for one in calls):
        if call.success and call.family != "vmm":
            found.setdefault(f"{call.family}/{call.action}", []).append(call.duration_ns / 1e6)
    return found
