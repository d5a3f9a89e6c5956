"""The commands that read: the specification, what an id means, and whether a document is right. Nothing is executed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_NOT
from onesim import schemas
from onesim.errors import ConfigError
from onesim.spec import for_contract, load
from onetck import exporting
from onetck.explain import explain
from onetck.terminal import ContractOption, err_console, one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(name="spec")(show_spec)
    app.command(name="explain")(show_meaning)
    app.command()(validate)
    app.command(name="script")(export_script)


def show_spec(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="An action (tm/clone), a requirement, an operation (vm.migrate), ...")] = "",
    contract: ContractOption = "",
    html: Annotated[Path | None, typer.Option("--html", metavar="DIR", help="Write the whole specification as a static site.")] = None,
    xsd: Annotated[Path | None, typer.Option("--xsd", metavar="DIR", help="Write the schemas of the contract for other tools.")] = None,
) -> None:
    """Show the specification: an overview, one thing in full, or all of it as a site to read in a browser."""
    with one_line():
        from onereport import specsite, spectext

        spec = load()
        if html is not None:
            _prepare("--html", html, "index.html", "a site")
            pages = specsite.write_site(spec, html)
            err_console.print(f"{len(pages)} files in {html}", markup=False)
            out_console.print(f"{(html / 'index.html').resolve()}", markup=False)
        elif xsd is not None:
            _prepare("--xsd", xsd, "ls.schema.json", "schemas")
            files = schemas.export(xsd, for_contract(contract).version)
            out_console.print(f"{len(files)} schemas in {xsd.resolve()}", markup=False)
        elif not name:
            spectext.render_overview(spec, out_console)
        elif not spectext.render(spec, name, for_contract(contract).contract.name, out_console):
            near = spectext.suggestions(spec, name)
            raise ConfigError(f"the specification has nothing called {name!r}" + (f"; near it: {', '.join(near)}" if near else "; see `onetck spec`"))


def _prepare(option: str, folder: Path, mark: str, what: str) -> None:
    """Make a directory to write into. Raises ConfigError if it cannot be made, or holds files that are not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option} {folder}: {error.strerror}; choose a directory that can be written") from None
    if any(folder.iterdir()) and not (folder / mark).is_file():
        raise ConfigError(f"{option} {folder}: the directory holds other files; choose an empty one, or one that has {what}")


def show_meaning(
    name: Annotated[str, typer.Argument(metavar="ID", help="A requirement, a discrepancy, a verdict, or an exit code.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as JSON.")] = False,
) -> None:
    """Say what a requirement, a discrepancy, a verdict or an exit code means, and what to do."""
    with one_line():
        lines = explain(load(), name)
        if as_json:
            sys.stdout.write(msgspec.json.encode({"id": name, "lines": lines}).decode() + "\n")
        else:
            for line in lines:
                out_console.print(line, markup=False)


def export_script(
    out: Annotated[Path, typer.Argument(metavar="[DIR]", help="The directory of a run.")] = Path("onetck-results"),
    case: Annotated[str, typer.Option("--case", metavar="NAME", help="This case; without it one that failed.")] = "",
    requirement: Annotated[str, typer.Option("--requirement", metavar="ID", help="A case that broke this requirement.")] = "",
) -> None:
    """Print a failed case as a plain shell script that needs no onetck: for somebody with a real front-end. Nothing is executed."""
    with one_line():
        chosen = exporting.choose(out, case, requirement)
        sys.stdout.write(exporting.render(out, chosen))


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Documents; - is standard input.")],
    contract: ContractOption = "",
    kind: Annotated[str, typer.Option("--as", metavar="KIND", help="What the documents are, if it is not to be told from the content.")] = "",
    deep: Annotated[
        bool, typer.Option("--deep", help="Look at what the form cannot tell too: ids that refer to each other, states that agree.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check documents: dumps plain or base64, IMPORT_INFO, pools and volumes, ls, monitor output, traces. Exit status 0 = in order, 1 = not."""
    with one_line():
        from onetck import documents

        spec = for_contract(contract)
        findings = [documents.check(spec, name, kind, deep=deep) for name in files]
        if as_json:
            sys.stdout.write(msgspec.json.encode(findings).decode() + "\n")
        else:
            for finding in findings:
                documents.show(finding, out_console)
        raise typer.Exit(EXIT_NOT if any(finding.problems for finding in findings) else 0)
