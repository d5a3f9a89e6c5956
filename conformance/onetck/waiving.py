"""The commands on waivers: `onetck waive add`, `check` and `prune`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from onereport.results import EXIT_WAIVER, ResultRecord, ResultsHeader, WaiverUse
from onesim.errors import ConfigError
from onesim.journal import read
from onesim.spec import load
from onetck import waivers
from onetck.terminal import one_line, out_console

FileOption = Annotated[Path, typer.Option("--file", metavar="FILE", help="The waivers.")]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a run that was judged with these waivers.")]
_DRIFTED = ("unused", "expired")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Failures that somebody answers for until a day.")
    group.command(name="add")(add)
    group.command(name="check")(check)
    group.command(name="prune")(prune)
    app.add_typer(group, name="waive")


def add(
    requirement: Annotated[str, typer.Argument(metavar="ID", help="The requirement, such as TM-CLONE-003.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the failure may stand for now.")],
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for it.")],
    issue: Annotated[str, typer.Option("--issue", metavar="REF", help="Where it is followed.")],
    expires: Annotated[str, typer.Option("--expires", metavar="DATE", help="The last day on which it holds: YYYY-MM-DD.")],
    file: FileOption = Path(waivers.NAME),
) -> None:
    """Add a waiver, in place of an older one for the same requirement."""
    with one_line():
        spec = load()
        try:
            day = datetime.date.fromisoformat(expires)
        except ValueError:
            raise ConfigError(f"--expires {expires!r} is no day such as 2027-03-31") from None
        check_name = next((row.check for row in spec.requirements if row.id == requirement), "")
        waivers.add(file, waivers.Waiver(requirement, check_name, reason, owner, issue, day), spec)
        out_console.print(f"{file}: {requirement} is waived until {day}", markup=False)


def check(run: RunArgument = Path("onetck-results")) -> None:
    """Say of each waiver of a run whether it still fits. Exit status 6 if one does not."""
    with one_line():
        uses = _uses(run)
        for use in uses:
            out_console.print(
                f"{use.state:<8}{use.requirement}  until {use.expires} ({use.days_left} days left): {use.reason} ({use.owner}, {use.issue})",
                markup=False,
            )
        if not uses:
            out_console.print("no waivers", markup=False)
        raise typer.Exit(EXIT_WAIVER if any(use.state in _DRIFTED for use in uses) else 0)


def prune(run: RunArgument = Path("onetck-results"), file: FileOption = Path(waivers.NAME)) -> None:
    """Strike the waivers that a run found expired, or whose requirement it found kept."""
    with one_line():
        struck = waivers.prune(file, (use.requirement for use in _uses(run) if use.state in _DRIFTED), load())
        out_console.print(f"{file}: struck {', '.join(struck) or 'nothing'}", markup=False)


def _uses(run: Path) -> tuple[WaiverUse, ...]:
    path = run / "results.jsonl"
    header = next(iter(read(path, ResultRecord)), None) if path.is_file() else None
    if not isinstance(header, ResultsHeader):
        raise ConfigError(f"{path}: holds no results; give the directory of a run")
    return header.waivers
