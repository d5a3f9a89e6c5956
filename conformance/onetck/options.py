"""The options of the commands that play cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DriverPaths = Annotated[
    list[Path] | None, typer.Argument(metavar="[DIR]...", help="A remotes/ tree, or datastore/<mad> and tm/<mad> directories.", show_default=False)
]
DatastoreOption = Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver to test, where the tree has several.")]
TmOption = Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver of the image datastore.")]
SystemTmOption = Annotated[
    str, typer.Option("--system-tm", metavar="MAD", help="Transfer-manager driver of the system datastore; as --tm if not given.")
]
BackupOption = Annotated[str, typer.Option("--backup", metavar="MAD", help="Datastore driver of the backup datastore; without it there is none.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The vendor's world; ./onetck.toml if it is there.")]
MadOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mad",
        metavar="NAME=PROGRAM",
        help="Have the scripts started by this driver program: tm=./one_tm, datastore='./one_datastore -t 15', or =own; may be repeated.",
        show_default=False,
    ),
]
BackendOption = Annotated[
    str, typer.Option("--backend", metavar="namespaces|docker|ssh", help="What makes the hosts; as [world] in onetck.toml, else namespaces.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Work on the machines of [hosts] without asking (--backend ssh).")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout-s", metavar="S", help="Seconds that one call may take.")]
