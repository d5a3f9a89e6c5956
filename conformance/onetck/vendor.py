"""The commands with which a vendor begins: `onetck init` and `onetck statement`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from onetck import starting, statement
from onetck.setting import Given, settle
from onetck.terminal import ContractOption, one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command(name="statement")(draft)


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to make.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The driver's name: that of its directories, and of DS_MAD and TM_MAD.")],
    like: Annotated[
        str,
        typer.Option("--like", metavar="ROLE", help="The role of the reference driver to start from: shared, ssh, mixed, ceph, libvirt_pool, ..."),
    ] = "shared",
    profile: Annotated[
        str,
        typer.Option("--profile", metavar="P[,P]", help="What the driver can do from the beginning; everything else is refused until you write it."),
    ] = "core",
    backup: Annotated[
        str, typer.Option("--backup", metavar="ROLE", help="Begin a backup driver too, NAME_backup, from this role: backup, rsync or restic.")
    ] = "",
    vendor: Annotated[str, typer.Option("--vendor", metavar="TEXT", help="Your name, for the statement.")] = "",
) -> None:
    """Make a driver of your own from the reference driver: it passes at once, and refuses properly what you have not written yet."""
    with one_line():
        made = starting.begin(starting.Start(directory, name, like, profile, vendor, backup))
        refused = made.statement.refuses if made.statement else ()
        out_console.print(f"{directory}: the driver {name}, with a description (onetck.toml), a statement and a README", markup=False)
        out_console.print(f"claims {made.claimed}; refuses {', '.join(refused) or 'nothing'}", markup=False)
        out_console.print(f"next: onetck run {directory}", markup=False)


def draft(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="As for `onetck run`.", show_default=False)] = None,
    datastore: Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver, where the tree has several.")] = "",
    tm: Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver.")] = "",
    contract: ContractOption = "",
) -> None:
    """Draft the statement of a driver: the profiles whose actions it has, and the actions that it refuses."""
    with one_line():
        found = settle(Given(paths or [], datastore, tm, contract=contract))
        sys.stdout.write(statement.render(statement.draft(found.spec, found.driver, found.subject.image_template, shared=found.shared)))
