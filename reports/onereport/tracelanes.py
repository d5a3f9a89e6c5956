"""The timeline of a trace in a terminal: operations from top to bottom, a lane for each VM and image with its states, the calls under each operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onereport.html import visible

#: More lanes than this would leave no room for the operations.
LANES_MAX = 6
_GONE = ("GONE", "DONE")
_BAD = ("ERROR", "FAILURE")


@dataclass(frozen=True)
class Moment:
    """One operation: its line, in words, what it was asked beside; the calls, each with its outcome (empty: success), and the states that objects reached."""

    line: int
    op: str
    words: str
    beside: bool
    calls: Sequence[tuple[str, str]]
    states: Mapping[str, str]
    refused: str = ""


def render_timeline(title: str, moments: Sequence[Moment], console: Console) -> None:
    """Print a timeline. Objects beyond the sixth have no lane; their states stand under the operation."""
    order = list(dict.fromkeys(label for moment in moments for label in moment.states))
    lanes = order[:LANES_MAX]
    console.print(Text(visible(title), "bold"))
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("line", justify="right", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("operation and calls", overflow="fold")
    for label in lanes:
        table.add_column(Text(visible(label)), no_wrap=True)
    now: dict[str, str] = {}
    for n, moment in enumerate(moments):
        follows = n + 1 < len(moments) and moments[n + 1].beside
        mark = "├" if moment.beside and follows else "└" if moment.beside else "┌" if follows else ""
        table.add_row(str(moment.line), mark, _told(moment, lanes), *(_lane(label, moment, now) for label in lanes))
        now.update(moment.states)
    console.print(table)
    if len(order) > len(lanes):
        console.print(
            f"{len(order) - len(lanes)} more objects have no lane: {', '.join(map(visible, order[len(lanes) :]))}", markup=False, style="dim"
        )


def _told(moment: Moment, lanes: Sequence[str]) -> Text:
    text = Text.assemble((moment.op, "bold"), f" {visible(moment.words)}" if moment.words else "")
    if moment.refused:
        text.append(f"\nrefused: {visible(moment.refused)}", "yellow")
    rows: list[tuple[str, str, int]] = []
    for action, ended in moment.calls:
        if rows and rows[-1][:2] == (action, ended):
            rows[-1] = (action, ended, rows[-1][2] + 1)
        else:
            rows.append((action, ended, 1))
    if rows:
        text.append("\n  ")
    for n, (action, ended, times) in enumerate(rows):
        text.append(("  " if n else "") + action + (f" x{times}" if times > 1 else ""), "red" if ended else "cyan")
        if ended:
            text.append(f" ({visible(ended)})", "red")
    for label, state in moment.states.items():
        if label not in lanes:
            text.append(f"\n  {visible(label)}: {state}", "dim")
    return text


def _lane(label: str, moment: Moment, now: Mapping[str, str]) -> Text:
    state = moment.states.get(label)
    if state is None:
        return Text("│" if now.get(label, "GONE") not in _GONE else "")
    style = "dim" if state in _GONE else "bold red" if state.endswith(_BAD) else "green"
    return Text(f"{'╵' if state in _GONE else '●'} {state}", style)
