"""The commands on kept worlds, and the document of an action: `onetck call`, `shell`, `down` and `dump`."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from onesim.spec import for_contract
from onetck import execution, kept
from onetck.options import (
    BackendOption,
    BackupOption,
    ConfigOption,
    DatastoreOption,
    DriverPaths,
    SystemTmOption,
    TimeoutOption,
    TmOption,
)
from onetck.setting import Given, settle
from onetck.terminal import ContractOption, one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (call, dump, shell, down):
        app.command()(command)


def call(
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="An action such as tm/clone or ds/cp; the family may be left out where one has it.")
    ],
    paths: DriverPaths = None,
    datastore: DatastoreOption = "",
    tm: TmOption = "",
    system_tm: SystemTmOption = "",
    backup: BackupOption = "",
    contract: ContractOption = "",
    config: ConfigOption = None,
    timeout_s: TimeoutOption = None,
    backend: BackendOption = "",
    world: Annotated[str, typer.Option("--world", metavar="NAME", help="The kept world to use; it is made if it is not there.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the call as JSON.")] = False,
) -> None:
    """Run one action in a kept world and show its argv, stdin, output and what it changed. The calls that lead up to it are made first."""
    with one_line():
        setting = settle(Given(paths or [], datastore, tm, system_tm, contract, config, timeout_s, backup, backend=backend))
        execution.require_world(setting.subject)
        seen = kept.call_action(setting.spec, setting.subject, action, world)
        if as_json:
            sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
        else:
            kept.show_call(seen, out_console, world)
        raise typer.Exit(0 if seen.success else 1)


def dump(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="An action that takes a document, such as ds/cp.")],
    contract: ContractOption = "",
    encoded: Annotated[bool, typer.Option("--base64", help="As it travels: base64 on one line.")] = False,
) -> None:
    """Print a realistic document of an action, to pipe into a script by hand."""
    with one_line():
        sys.stdout.write(kept.document(for_contract(contract), action, encoded=encoded))


def shell(
    host: Annotated[str, typer.Argument(metavar="HOST", help="frontend, host01 or host02.")] = "frontend",
    world: Annotated[str, typer.Option("--world", metavar="NAME", help="The kept world.")] = "default",
) -> None:
    """Open a shell on a host of a kept world."""
    with one_line():
        raise typer.Exit(kept.shell(world, host))


def down(world: Annotated[str, typer.Option("--world", metavar="NAME", help="The kept world.")] = "default") -> None:
    """Remove a kept world."""
    with one_line():
        out_console.print(kept.down(world), markup=False)
