"""The command `onetck selftest`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_NO_VERDICT, EXIT_NOT, EXIT_NOTHING
from onesim.errors import ConfigError
from onetck import cores
from onetck.selftest import session, show
from onetck.selftest.baseline import CaseSeen
from onetck.selftest.page import render_page
from onetck.selftest.results import FLOOR
from onetck.selftest.trial import Trial
from onetck.terminal import err_console, one_line, out_console, stop, terminate_as_interrupt, write_page


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="selftest")(selftest)


def selftest(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="FILE", help="Mutants of this script alone, such as tm/shared/clone or 'tm/*'; may be repeated.", show_default=False
        ),
    ] = None,
    count: Annotated[int, typer.Option("--sample", metavar="K", min=0, help="So many of these mutants, chosen by --seed.", show_default=False)] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Chooses the sample.")] = 0,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, max=cores.JOBS_MAX, help="Mutants at once; as many as cores if not given.", show_default=False
        ),
    ] = cores.jobs(),
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="Try them in this role alone: shared, ssh, mixed, backup, oldest, hybrid, ssh-oldest, backup-older; may be repeated.",
            show_default=False,
        ),
    ] = None,
    mutant: Annotated[
        list[str] | None, typer.Option("--mutant", metavar="ID", help="This mutant alone; may be repeated.", show_default=False)
    ] = None,
    doubt: Annotated[bool, typer.Option("--doubt", help="Try those too that are explained as equivalent.")] = False,
    every: Annotated[bool, typer.Option("--every", help="Try every mutant, which takes hours; without it one in three lines.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Play every case that runs a line, and not only six.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go; what is there is gone on with.")] = Path("onetck-selftest"),
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the outcome as a page too: operators by outcome, and every survivor.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Prove that the checks catch: break the reference driver in hundreds of ways, one line each, and see that the suite finds each.

    Mutants are made of the reference driver alone, never of a driver of yours: only what passes everything can be broken in one way.
    Exit status 0 = at least 95 % of those that are no equivalents were killed; 1 = fewer, or a reason for an equivalent has gone stale.
    """
    with one_line():
        terminate_as_interrupt()
        if html is not None and not os.access(html.parent, os.W_OK):
            raise ConfigError(f"--html {html}: {html.parent} is no directory that can be written; choose another file")
        choice = session.Choice(out, tuple(only or ()), tuple(role or ()), tuple(mutant or ()), count, seed, jobs, doubt, thorough, every)
        outcome = session.selftest(choice, session.Told() if as_json else session.Told(_case, _trial))
        if not outcome.trials:
            stop("there is no such mutant; nothing ran", EXIT_NOTHING)
        if html is not None:
            write_page(html, render_page(outcome), "--html")
        if as_json:
            sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
        else:
            show.show(outcome, out_console)
        raise typer.Exit(exit_code(outcome))


def exit_code(outcome: show.Outcome) -> int:
    """Return the exit code: too few killed comes before errors of the harness."""
    if outcome.counts.rate < FLOOR or outcome.stale:
        return EXIT_NOT
    return EXIT_NO_VERDICT if outcome.counts.error else 0


def _case(seen: CaseSeen, n: int, of: int) -> None:
    err_console.print(f"baseline {n}/{of}: {seen.role}/{seen.case} in {seen.duration_s:.1f} s", markup=False)


def _trial(trial: Trial, n: int, of: int) -> None:
    err_console.print(f"{n}/{of} {show.line(trial)} in {trial.duration_s:.1f} s", markup=False)
