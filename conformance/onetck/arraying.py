"""The command `onetck array`: the array kit, here or as one file for a lab and for worlds."""

from __future__ import annotations

import sys

import typer

from onesim.arraykit import kit
from onesim.arraykit.packing import packed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="array", context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})(array)


def array(context: typer.Context) -> None:
    """Record a storage array's command line or HTTP API and answer from that: record, replay, serve; `script` prints the kit as one file."""
    if context.args == ["script"]:
        sys.stdout.buffer.write(packed())
        return
    raise typer.Exit(kit.main(context.args))
