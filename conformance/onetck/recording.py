"""The commands `onetck record ...`: a shim around an installed driver, and a trace of what it has seen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from onesim.recording.packing import packed
from onesim.recording.retelling import retell
from onesim.recording.spool import read_spool
from onesim.spec import load
from onetck.retold import OutOption, deliver
from onetck.terminal import one_line

record = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Record what an installed driver is asked, and make a trace of it."
)

RemotesPath = Annotated[Path, typer.Argument(metavar="REMOTES_DIR", help="The installed remotes tree, such as /var/lib/one/remotes.")]
DriverName = Annotated[str, typer.Option("--driver", metavar="NAME", help="The driver: NAME, tm/NAME or datastore/NAME.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(record, name="record")


@record.command()
def install(
    remotes: RemotesPath,
    driver: DriverName,
    spool: Annotated[Path | None, typer.Option("--spool", metavar="DIR", help="Where calls are kept; onetck-spool beside the remotes.")] = None,
    limit_mb: Annotated[int, typer.Option("--limit-mb", metavar="N", min=1, help="MiB after which no more calls are kept.")] = 512,
    call_kb: Annotated[int, typer.Option("--call-kb", metavar="N", min=1, help="KiB that are kept of each stream of a call.")] = 256,
) -> None:
    """Put a shim in the place of each script of a driver: it passes calls on as they are, and keeps a copy of them."""
    words = ["--driver", driver, "--limit-mb", str(limit_mb), "--call-kb", str(call_kb)]
    _recorder("install", remotes, *words, *(["--spool", str(spool)] if spool else []))


@record.command()
def uninstall(remotes: RemotesPath, driver: Annotated[str, typer.Option("--driver", metavar="NAME", help="Only this driver.")] = "") -> None:
    """Take the shims away. The tree is as it was before; what was recorded stays."""
    _recorder("uninstall", remotes, *(["--driver", driver] if driver else []))


@record.command()
def status(remotes: RemotesPath) -> None:
    """Say which drivers are recorded, and into which spool."""
    _recorder("status", remotes)


@record.command()
def script() -> None:
    """Print the program that does all this as one shell script, for a front-end without Python."""
    with one_line():
        sys.stdout.write(packed(load()))


@record.command()
def collect(
    spool: Annotated[Path, typer.Argument(metavar="SPOOL", help="The spool, or a copy of it.")],
    out: OutOption = None,
    calls: Annotated[Path | None, typer.Option("--calls", metavar="FILE", help="Write the calls, too, as JSON lines.", show_default=False)] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of the trace.")] = "recorded",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Make a trace of what was recorded, without secrets. What could not be understood is counted. Exit status 5 if there is no operation in it."""
    with one_line():
        seen, notes = read_spool(spool)
        deliver(retell(seen), seen, notes, name=name, out=out, calls=calls, as_json=as_json)


def _recorder(command: str, remotes: Path, *words: str) -> None:
    """Run the recorder, and end as it ends."""
    with one_line(), tempfile.NamedTemporaryFile("w", suffix=".sh") as program:
        program.write(packed(load()))
        program.flush()
        ended = subprocess.run(
            ["/bin/sh", program.name, command, str(remotes), *words], env={**os.environ, "ONETCK_PROGRAM": "onetck record"}, check=False
        )
        raise typer.Exit(ended.returncode)
