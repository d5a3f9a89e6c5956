"""The commands that read a driver without running its actions: `onetck lint` and `onetck port`."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from onereport import sarif
from onereport.results import EXIT_NOT
from onesim import __version__
from onesim.errors import ConfigError
from onesim.spec import for_contract, load
from onetck.lint.findings import LEVELS, Finding, Report
from onetck.porting import Plan
from onetck.porting import port as compare
from onetck.setting import Given, settle
from onetck.terminal import ContractOption, one_line, out_console

DriverPaths = Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="As for `onetck run`.", show_default=False)]
DatastoreOption = Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver, where the tree has several.")]
TmOption = Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver of the image datastore.")]
SystemTmOption = Annotated[str, typer.Option("--system-tm", metavar="MAD", help="Transfer-manager driver of the system datastore.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The vendor's world; ./onetck.toml if it is there.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="lint")(lint)
    app.command(name="port")(port)


def lint(
    paths: DriverPaths = None,
    datastore: DatastoreOption = "",
    tm: TmOption = "",
    system_tm: SystemTmOption = "",
    contract: ContractOption = "",
    config: ConfigOption = None,
    oned_conf: Annotated[Path | None, typer.Option("--oned-conf", metavar="FILE", help="Lines of oned.conf that are to fit the driver.")] = None,
    shellcheck: Annotated[bool, typer.Option("--shellcheck", help="Ask shellcheck too; its findings are notes.")] = False,
    as_json: JsonOption = False,
    sarif_file: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Write the findings as SARIF, for code hosts.", show_default=False)
    ] = None,
) -> None:
    """Read a driver without running it: syntax, links, run bits, missing actions, arguments, paths. Exit status 1 if there is an error."""
    with one_line():
        from onetck.lint.check import lint as check

        found = check(settle(Given(paths or [], datastore, tm, system_tm, contract, config)), oned_conf, shellcheck=shellcheck)
        if sarif_file is not None:
            _write(sarif_file, as_sarif(found))
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            show(found, out_console)
        raise typer.Exit(EXIT_NOT if found.counts["error"] else 0)


def port(
    old: Annotated[str, typer.Option("--from", metavar="C", help="The contract that the driver keeps now.")],
    new: Annotated[str, typer.Option("--to", metavar="C", help="The contract that it is to keep; the newest if not given.")] = "",
    paths: DriverPaths = None,
    datastore: DatastoreOption = "",
    tm: TmOption = "",
    system_tm: SystemTmOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what changes for a driver from one contract to another, and which of its lines rely on the old form. Exit status 1 if any does."""
    with one_line():
        before = for_contract(old)
        plan = compare(settle(Given(paths or [], datastore, tm, system_tm, new or for_contract().contract.name, config)), before)
        if as_json:
            sys.stdout.write(msgspec.json.encode(plan).decode() + "\n")
        else:
            show_plan(plan, out_console)
        raise typer.Exit(EXIT_NOT if plan.to_do else 0)


def as_sarif(found: Report) -> bytes:
    """Return the findings as a SARIF log. What is about a whole file has no line."""
    table = load().static_rules
    named = {name: table[name] for name in dict.fromkeys(one.rule for one in found.findings)}
    rules = {name: sarif.rule(name, row.meaning, row.remedy, sarif.LEVELS[row.level]) for name, row in named.items()}
    numbers = {name: n for n, name in enumerate(rules)}
    results = [sarif.result(one.rule, numbers[one.rule], sarif.LEVELS[one.level], _said(one), (one.file, one.line, "")) for one in found.findings]
    return sarif.log(f"onetck {__version__}", found.driver, rules, results, {"contract": found.contract, "counts": found.counts})


def _said(one: Finding) -> str:
    return f"{one.sentence}; {one.remedy}" + (f" [{', '.join(one.requirements)}]" if one.requirements else "")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"--sarif {path}: {error.strerror}; choose another file") from None


def show_plan(plan: Plan, console: Console) -> None:
    """Print what changes for all scripts, then script by script, and how much is to be done."""

    def print_line(indent: str, text: str, requirements: tuple[str, ...]) -> None:
        console.print(f"{indent}{text}" + (f" [{', '.join(requirements)}]" if requirements else ""), markup=False)

    console.print("all scripts", markup=False)
    for change in plan.general:
        print_line("  ", change.sentence, change.requirements)
    for script in plan.scripts:
        console.print(script.file + (": not there yet" if script.missing else ""), markup=False)
        for change in script.changes:
            print_line("  ", change.sentence, change.requirements)
        for line in script.lines:
            print_line("  ", f"{'copes' if line.copes else 'CHANGE'} {line.line}: {line.sentence}", line.requirements)
    for line in plan.elsewhere:
        print_line("", f"{line.file} CHANGE {line.line}: {line.sentence}", line.requirements)
    console.print(f"from {plan.old} to {plan.new}: {plan.to_do} places to change", markup=False)


def show(found: Report, console: Console) -> None:
    """Print the findings by file, and the counts."""
    refused = [one.file for one in found.findings if one.rule == "refused"]
    for file, rows in groupby((one for one in found.findings if one.rule != "refused"), key=lambda one: one.file):
        console.print(file, markup=False)
        for one in rows:
            console.print(f"  {_row(one)}", markup=False)
    if refused:
        console.print(f"refused: {', '.join(refused)}", markup=False)
    counted = ", ".join(f"{found.counts[level]} {level}{'' if found.counts[level] == 1 or level == 'warn' else 's'}" for level in LEVELS)
    console.print(f"{found.files} scripts under contract {found.contract}: {counted}", markup=False)


def _row(one: Finding) -> str:
    where = f"{one.line}: " if one.line else ""
    cited = f" [{', '.join(one.requirements)}]" if one.requirements else ""
    remedy = f"; {one.remedy}" if one.level != "note" else ""
    return f"{one.level:5} {where}{one.sentence}{remedy}{cited}"
