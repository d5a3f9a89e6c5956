"""The commands on what a run finds around it: `onetck doctor` and `onetck config`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_NO_VERDICT
from onesim.world.probe import probe
from onetck import config as configuration
from onetck import labdoctor, machines
from onetck.options import ConfigOption
from onetck.terminal import one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(doctor)
    app.command(name="config")(show_config)


def doctor(
    of_hosts: Annotated[bool, typer.Option("--hosts", help="Say it of the machines under [hosts] in onetck.toml (--backend ssh).")] = False,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what this machine can and cannot do for onetck, with the remedy. Exit status 3 if no world can be made."""
    with one_line():
        findings = labdoctor.findings(machines.described(config)) if of_hosts else probe()
        broken = any(row.needed and not row.ok for row in findings)
        if as_json:
            sys.stdout.write(msgspec.json.encode([msgspec.to_builtins(row) for row in findings]).decode() + "\n")
        else:
            for row in findings:
                mark = "ok  " if row.ok else "FAIL" if row.needed else "lack"
                out_console.print(f"{mark} {row.name}: {row.detail}" + ("" if row.ok else f"\n     remedy: {row.remedy}"), markup=False)
        raise typer.Exit(EXIT_NO_VERDICT if broken else 0)


def show_config(schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of onetck.toml.")] = False) -> None:
    """Check ./onetck.toml, or print the JSON Schema that it keeps."""
    with one_line():
        if schema:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(configuration.json_schema())).decode() + "\n")
        else:
            configuration.read_config(Path("onetck.toml"))
            out_console.print("onetck.toml: in order")
