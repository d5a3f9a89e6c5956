"""The commands on hosts that are containers: `onetck hosts build` and `clean`."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from onesim.world import fleet, images
from onetck.terminal import err_console, one_line, out_console

ImageOption = Annotated[str, typer.Option("--image", metavar="NAME", help="The image to make.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Hosts that are containers (--backend docker).")
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


def clean(as_json: JsonOption = False) -> None:
    """Remove the containers, networks and volumes of runs that were killed. Those of runs and kept worlds that live are left alone."""
    with one_line():
        client = fleet.connect()
        try:
            removed = fleet.sweep(client)
        finally:
            client.close()
        if as_json:
            sys.stdout.write(msgspec.json.encode({"removed": removed}).decode() + "\n")
        else:
            out_console.print("\n".join(f"removed {one}" for one in removed) or "nothing was left", markup=False)
