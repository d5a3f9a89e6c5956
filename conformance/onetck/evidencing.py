"""The commands on evidence: `onetck bundle` and `onetck verify`, and `onetck schema` for what they and others read and write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onesim.errors import ConfigError
from onetck.terminal import err_console, one_line, out_console

JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="bundle")(bundle)
    app.command(name="verify")(verify)
    app.command(name="schema")(schema)


def bundle(
    results: Annotated[Path, typer.Argument(metavar="[RESULTS]", help="The directory of a run.")] = Path("onetck-results"),
    target: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="The bundle; RESULTS.onetck if not given.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this private SSH key, by ssh-keygen.", show_default=False)
    ] = None,
) -> None:
    """Put all that a reviewer needs of a run into one file: what was seen, the verdicts, the reports, digests of driver, specification and tool."""
    with one_line():
        from onetck import bundling

        path = target or Path(f"{results.resolve().name}.onetck")
        made = bundling.bundle(results, path, key)
        told = made.predicate
        err_console.print(f"{told.verdict}; {len(told.files)} files, {'signed' if key else 'not signed (--sign KEY)'}", markup=False)
        out_console.print(f"{path.resolve()}", markup=False)


def verify(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")],
    against: Annotated[
        str, typer.Option("--against", metavar="P[,P]", help="The profiles that the run is to cover; without it those that it was about.")
    ] = "",
    signers: Annotated[
        Path | None,
        typer.Option(
            "--signers", metavar="FILE", help="Whom to trust: a name and a public SSH key a line. The bundle must be signed by one of them."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say of a bundle whether it is whole, who signed it, what it lacks, and whether its checks say the same again. Exit status 7 if it was changed.

    Else that of the verdict, as the checks reach it again. Nothing of the driver is run.
    """
    with one_line():
        from onetck import verifying

        found = verifying.verify(path, against, signers)
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            for line in verifying.lines(found):
                out_console.print(line, markup=False)
        raise typer.Exit(found.exit_code)


def schema(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="results, history, trace, manifest, verification, diff, lint or config.")] = "results",
) -> None:
    """Print the JSON Schema of what onetck writes or reads; of results, history and trace that of each line."""
    with one_line():
        from onetck.published import SCHEMAS, json_schema

        if name not in SCHEMAS:
            raise ConfigError(f"there is no schema {name!r}; choose one of {', '.join(SCHEMAS)}")
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(json_schema(name))).decode() + "\n")
