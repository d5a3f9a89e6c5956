"""The commands on hosts that are containers, or machines of a lab: `onetck hosts build` and `clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_NO_VERDICT
from onesim.world import fleet, images, lab
from onetck.machines import described
from onetck.terminal import err_console, one_line, out_console

ImageOption = Annotated[str, typer.Option("--image", metavar="NAME", help="The image to make.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Hosts that are containers (--backend docker), or machines of a lab (--backend ssh).")
    group.command(name="build")(build)
    group.command(name="clean")(clean)
    app.add_typer(group, name="hosts")


def build(
    image: ImageOption = fleet.IMAGE,
    source: Annotated[str, typer.Option("--from", metavar="IMAGE", help="An image of yours, with your tools in it; else a Debian is made.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Build the image of the hosts: from the mirror that apt of this machine is configured with, or from an image of yours."""
    with one_line():
        made = images.build(image, source, lambda step: err_console.print(step, markup=False))
        if as_json:
            sys.stdout.write(msgspec.json.encode({"image": image, "id": made}).decode() + "\n")
        else:
            out_console.print(f"{image} is made: {made}", markup=False)


def clean(
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Clean the machines under [hosts] of this onetck.toml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what runs that were killed have left: containers, networks and volumes, or with --config what is on the machines of a lab.

    What is of runs and kept worlds that live is left alone. Exit status 3 if something could not be removed.
    """
    with one_line():
        if config is not None:
            removed, stayed = lab.swept(described(config))
        else:
            removed, stayed = _containers(), []
        if as_json:
            sys.stdout.write(msgspec.json.encode({"removed": removed, "stayed": stayed}).decode() + "\n")
        else:
            for one in [f"removed {one}" for one in removed] or ([] if stayed else ["nothing was left"]):
                out_console.print(one, markup=False)
            for one in stayed:
                err_console.print(f"not removed: {one}", markup=False)
        raise typer.Exit(EXIT_NO_VERDICT if stayed else 0)


def _containers() -> list[str]:
    client = fleet.connect()
    try:
        return fleet.sweep(client)
    finally:
        client.close()
