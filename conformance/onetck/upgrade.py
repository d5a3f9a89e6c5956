"""One driver under several contracts: which actions keep their requirements under which."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from onereport.overview import by_action, run_of
from onereport.results import FAILURES
from onetck.judge import Judgement

#: Exit codes from the one that hides all others to the one that hides none.
PRECEDENCE = (1, 2, 3, 5, 6, 0)


def readiness(judgements: Mapping[str, Judgement]) -> dict[str, dict[str, str]]:
    """Return for each action that a requirement of the run is about the worst verdict under each contract; empty where it has none there."""
    runs = [run_of(contract, "", judgement.records()) for contract, judgement in judgements.items()]
    return {line.name: dict(zip(judgements, (cell.verdict for cell in line.cells), strict=True)) for line in by_action(runs)}


def exit_code(judgements: Mapping[str, Judgement]) -> int:
    """Return the exit code of all runs together: nothing hides a failure."""
    codes = [one.footer.exit_code if one.footer else 2 for one in judgements.values()]
    return min(codes, key=PRECEDENCE.index)


def render_upgrade(judgements: Mapping[str, Judgement], console: Console) -> None:
    """Print the verdict under each contract, and the table of the actions that do not pass under all of them."""
    for contract, judgement in judgements.items():
        footer = judgement.footer
        console.print(f"{contract:>10}  {f'{footer.verdict}: {footer.sentence}' if footer else 'PARTIAL'}", markup=False)
    rows = {action: cells for action, cells in readiness(judgements).items() if set(cells.values()) - {"pass", ""}}
    if not rows:
        return
    table = Table("action", *judgements, title="actions that do not pass under every contract")
    for action, cells in rows.items():
        table.add_row(action, *(f"[red]{verdict}[/red]" if verdict in FAILURES else verdict for verdict in cells.values()))
    console.print(table)
