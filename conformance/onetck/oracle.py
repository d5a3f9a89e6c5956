"""The command that proves the simulator: recordings of the real oned, compared with what the simulated one does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import track
from rich.table import Table

from onereport.results import EXIT_NOT, EXIT_NOTHING
from onesim.oracle import fidelity, recordings
from onesim.oracle.fidelity import Count, Row
from onetck.terminal import err_console, one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(oracle)


def oracle(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Recordings: files *.jsonl or *.jsonl.gz, or one such file.")],
    operation: Annotated[str, typer.Option("--operation", metavar="TEXT", help="Only recordings whose operation has this text in it.")] = "",
    scenario: Annotated[str, typer.Option("--scenario", metavar="NAME", help="Only recordings of this scenario.")] = "",
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="How many different recordings to show side by side.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Ask the simulated oned what a real one was asked, and compare every call, document and state. Exit status 0 = all identical, 1 = not."""
    with one_line():
        files = recordings.files(directory)
        rows = [
            row
            for path in track(files, "comparing", console=err_console, transient=True, disable=as_json or not err_console.is_terminal)
            for row in fidelity.compare([path], lambda one: operation in one.operation and scenario in ("", one.scenario))
        ]
        if as_json:
            sys.stdout.write(msgspec.json.encode(fidelity.summary(rows)).decode() + "\n")
        else:
            _print(rows, show)
        raise typer.Exit(EXIT_NOTHING if not rows else 0 if all(row.identical for row in rows) else EXIT_NOT)


def _print(rows: list[Row], show: int) -> None:
    _table("operation", fidelity.count(rows, lambda row: row.operation))
    _table("release and scenario", fidelity.count(rows, lambda row: f"{row.version} {row.scenario}"))
    different = [row for row in rows if not row.identical]
    for row in different[:show]:
        _difference(row)
    if len(different) > show:
        out_console.print(f"… and {len(different) - show} more; --show {len(different)} shows them all", markup=False)
    total = len(rows) - len(different)
    share = f"{100 * total / len(rows):.2f} %" if rows else "nothing"
    out_console.print(f"{total} of {len(rows)} recordings are identical: {share}", markup=False)


def _table(what: str, counts: dict[str, Count]) -> None:
    table = Table(what, "identical", "records", "fidelity", box=None, pad_edge=False)
    for name in ("identical", "records", "fidelity"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for name, one in sorted(counts.items()):
        table.add_row(name, str(one.identical), str(one.records), f"{100 * one.fidelity:.1f} %")
    out_console.print(table)
    out_console.print()


def _difference(row: Row) -> None:
    fault = f", {row.fault}" if row.fault else ""
    out_console.print(f"{row.file}:{row.line}: {row.operation} ({row.version} {row.scenario}{fault})", markup=False, style="bold")
    for text in row.differences:
        out_console.print(f"  {text}", markup=False)
    table = Table("", "recorded", "simulated", box=None, pad_edge=False)
    for recorded, simulated in row.calls:
        table.add_row("  " if recorded and simulated else " !", recorded, simulated)
    out_console.print(table)
    out_console.print()
