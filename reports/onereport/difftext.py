"""A comparison of two runs in a terminal, worst first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from onereport.comparison import Comparison, Side, VerdictChange
from onereport.html import visible

_SHOWN_MAX = 30


def render_diff(found: Comparison, console: Console) -> None:
    """Print what differs."""
    for mark, side in (("A", found.before), ("B", found.after)):
        console.print(f"{mark}  {_side(side)}", markup=False)
    if found.same:
        console.print("   the same driver, contract and specification: what differs is no change of the driver", markup=False)
    elif found.files:
        _list("changed files of the driver", [f"{row.change:<8} {visible(row.path)}" for row in found.files], console)
    for title, rows, style in (
        ("newly failing", found.newly_failing, "red"),
        ("flaky", found.flaky, "red"),
        ("no longer known to pass", found.lost, "yellow"),
        ("fixed", found.fixed, "green"),
        ("other verdicts", found.other, ""),
    ):
        _verdicts(title, rows, style, console)
    _list("slower", [f"{row.action}: {row.before_ms:g} ms -> {row.after_ms:g} ms ({row.calls_after} calls)" for row in found.slower], console)
    _list("faster", [f"{row.action}: {row.before_ms:g} ms -> {row.after_ms:g} ms ({row.calls_after} calls)" for row in found.faster], console)
    _list("cases of A alone", list(found.cases_gone), console)
    _list("cases of B alone", list(found.cases_new), console)
    calls = [f"{one.case} {one.call} {one.action}: {one.change} ({_shown(one.before)} -> {_shown(one.after)})" for one in found.calls]
    _list("changed calls", [visible(line) for line in calls], console)
    arguments = [f"{one.action} {one.name}: {_shown(one.before)} -> {_shown(one.after)} ({_times(one.calls)})" for one in found.arguments]
    _list("changed arguments", [visible(line) for line in arguments], console)
    console.print(Text(found.verdict_sentence, "bold red" if found.exit_code else "bold green"))


def _side(side: Side) -> str:
    return f"{visible(side.path)}: {visible(side.driver)}; OpenNebula {side.version}; {side.profile}; {side.verdict}"


def _times(calls: int) -> str:
    return f"{calls} call{'s' if calls > 1 else ''}"


def _shown(value: str | None) -> str:
    return "not there" if value is None else value or "empty"


def _verdicts(title: str, rows: Sequence[VerdictChange], style: str, console: Console) -> None:
    if rows:
        console.print(Text(f"{title}: {len(rows)}", f"bold {style}".strip()))
    for row in rows[:_SHOWN_MAX]:
        console.print(Text.assemble((f"  {row.requirement}", style), f"  {row.before or 'not there'} -> {row.after or 'not there'}  {row.sentence}"))
        for line in (row.seen, row.at, f"repeat: {row.repeat}" if row.repeat else ""):
            if line:
                console.print(f"      {visible(line)}", markup=False, style="dim")
    _more(rows, console)


def _list(title: str, rows: Sequence[str], console: Console) -> None:
    if rows:
        console.print(Text(f"{title}: {len(rows)}", "bold"))
    for row in rows[:_SHOWN_MAX]:
        console.print(f"  {row}", markup=False)
    _more(rows, console)


def _more(rows: Sequence[object], console: Console) -> None:
    if len(rows) > _SHOWN_MAX:
        console.print(f"  … and {len(rows) - _SHOWN_MAX} more (--html, --json)", markup=False)
