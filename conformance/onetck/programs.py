"""The command that is a driver program (MAD): `onetck mad`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from onesim.errors import ConfigError
from onesim.mad.own import manner, packed
from onesim.mad.server import main
from onesim.spec import for_contract, load
from onetck.terminal import ContractOption, one_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="mad", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(mad)


def mad(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="tm|datastore", help="Which program to be.")],
    contract: ContractOption = "",
    pack: Annotated[bool, typer.Option("--pack", help="Print the program as one file that needs only /usr/bin/python3.")] = False,
) -> None:
    """Be the driver program one_tm or one_datastore on stdin and stdout: -t threads, -d drivers, -s system drivers, -w seconds, as in oned.conf."""
    with one_line():
        if name not in load().mads:
            raise ConfigError(f"driver program {name!r} is unknown; choose one of {', '.join(load().mads)}")
        spec = for_contract(contract)
        if pack:
            sys.stdout.buffer.write(packed(spec, name))
            return
        raise typer.Exit(main(manner(spec, name), context.args))
