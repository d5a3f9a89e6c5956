"""The command `onetck import`: a trace of what a front-end keeps anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.spec import load
from onetck.retold import OutOption, deliver
from onetck.terminal import one_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="import")(import_)


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files and directories: /var/lib/one/vms, /var/log/one, `onevm show -x` as .xml.")
    ],
    out: OutOption = None,
    calls: Annotated[Path | None, typer.Option("--calls", metavar="FILE", help="Write the calls, too, as JSON lines.", show_default=False)] = None,
    vm: Annotated[list[int] | None, typer.Option("--vm", metavar="ID", help="Only this VM; may be repeated.", show_default=False)] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of the trace.")] = "imported",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Make a trace of transfer scripts, logs of VMs and their documents. What is not understood is counted. Exit status 5 if there is no operation in it."""
    with one_line():
        found = read_kept(paths, load(), set(vm or ()))
        seen = [call for call in found.calls if call.family == "tm"]
        deliver(retell(found.calls, found.documents, found.images.values()), seen, found.notes, name=name, out=out, calls=calls, as_json=as_json)
