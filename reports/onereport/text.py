"""The outcome of a run for a person in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from onereport.results import FAILURES, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader, ScriptLines, broken_before

_STYLES = {"CONFORMANT": "bold green", "CONFORMANT WITH WAIVERS": "bold green", "NOT CONFORMANT": "bold red"}
#: Cases told of a requirement.
_RESULTS_MAX = 2
_SHOWN_MAX = 20
_SCRIPTS_MAX = 8


def render_text(records: Iterable[ResultRecord], console: Console) -> None:
    """Print what is wrong first, then the verdict sentence and the counts."""
    results: dict[tuple[str, str], list[Result]] = {}
    verdicts: list[RequirementVerdict] = []
    footer: ResultsFooter | None = None
    for record in records:
        match record:
            case ResultsHeader():
                if record.faults:
                    console.print(f"{record.faults}.", markup=False)
                for one in record.quarantine:
                    console.print(f"not judged, its check is known to be wrong: {one}", markup=False)
            case Result():
                mine = results.setdefault((record.requirement, record.verdict), [])
                if len(mine) < _RESULTS_MAX:
                    mine.append(record)
            case RequirementVerdict():
                verdicts.append(record)
            case ResultsFooter():
                footer = record
    wrong = [row for row in verdicts if row.verdict in FAILURES or row.verdict in ("warn", "error")]
    for row in wrong[:_SHOWN_MAX]:
        _show(row, results.get((row.requirement, row.verdict), []), console)
    if len(wrong) > _SHOWN_MAX:
        console.print(f"… and {len(wrong) - _SHOWN_MAX} more; see the report", markup=False)
    if footer is None:
        console.print("PARTIAL: the run was interrupted; no verdict follows.", markup=False, style="bold yellow")
        return
    console.print(Text.assemble((footer.verdict, _STYLES.get(footer.verdict, "bold yellow")), f": {footer.said}"))
    counts = footer.counts
    failed = sum(counts[name] for name in FAILURES)
    parts = [
        f"{footer.executed} of {footer.required} required executed",
        f"{counts['pass']} passed",
        f"{failed} failed",
        f"{counts['warn']} warned",
        f"{counts['not_applicable']} not applicable",
        f"{counts['blocked']} blocked",
        f"{counts['not_tested']} not tested",
        f"{counts['error']} errors",
    ]
    console.print(f"{', '.join(parts)}; {footer.cases} cases, {footer.calls} calls, {footer.wall_s:.1f} s", markup=False)


def _show(row: RequirementVerdict, results: list[Result], console: Console) -> None:
    style = "yellow" if row.verdict == "warn" else "red"
    console.print(Text.assemble((f"{row.verdict.upper():<8}", style), f" {row.requirement}  {row.sentence}"))
    if row.waived:
        console.print(f"         waived: {row.waived}", markup=False)
    if row.broken_before:
        console.print(f"         {broken_before(row.broken_before)}", markup=False, style="dim")
    for result in results:
        for said in result.evidence[:1]:
            console.print(f"         {result.case}: {said.sentence}", markup=False)
            if said.place:
                console.print(f"           {said.place}", markup=False)
        console.print(f"         repeat: {result.repeat}", markup=False, style="dim")


def render_lines(records: Iterable[ResultRecord], report: str, console: Console) -> None:
    """Print the scripts of which most lines never ran, and what to do about it. `report` is the page that shows them all."""
    scripts = [one for one in records if isinstance(one, ScriptLines)]
    lacking = sorted((one for one in scripts if one.unrun), key=lambda one: (-len(one.unrun), one.file))
    width = max((len(one.file) for one in lacking[:_SCRIPTS_MAX]), default=0)
    for one in lacking[:_SCRIPTS_MAX]:
        console.print(f"{one.file:<{width}}  {len(one.unrun)} of {one.lines} lines never ran", markup=False)
    if len(lacking) > _SCRIPTS_MAX:
        console.print(f"… and lines of {len(lacking) - _SCRIPTS_MAX} more scripts", markup=False)
    if lacking:
        console.print(f"give a trace that reaches them: onetck run --trace FILE; all lines: {report}", markup=False, style="dim")
    alone = [one.file for one in scripts if one.lines and not one.traced]
    if alone:
        console.print(f"lines not told, for the script could tell that it is traced: {', '.join(alone)}", markup=False, style="dim")
