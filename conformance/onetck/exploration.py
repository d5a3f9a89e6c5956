"""The command `onetck explore`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_CONFORMANT, EXIT_NOT, EXIT_NOTHING
from onesim.errors import ConfigError
from onesim.tracetext import renamed, render
from onetck import certify, cores, execution
from onetck.exploring import Explored, Explorer, with_title
from onetck.setting import Given, Setting, settle
from onetck.terminal import ContractOption, err_console, one_line, out_console, terminate_as_interrupt, write_page

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="explore")(explore)


def explore(
    driver: Annotated[list[Path] | None, typer.Option("--driver", metavar="DIR", help="The driver; may be repeated.", show_default=False)] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Picks the walks and how calls that overlap take turns.")] = 0,
    budget: Annotated[str, typer.Option("--budget", metavar="T", help="The time to take, such as 90s, 10m or 1h.")] = "10m",
    faults: Annotated[bool, typer.Option("--faults/--no-faults", help="Let commands fail and hosts be lost on the way.")] = True,
    profile: Annotated[str, typer.Option("--profile", metavar="P[,P]", help="The requirements to look for; all that are claimed if not given.")] = "",
    contract: ContractOption = "",
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The vendor's world; ./onetck.toml if it is there.")] = None,
    datastore: Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver, where the tree has several.")] = "",
    tm: Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver of the image datastore.")] = "",
    system_tm: Annotated[str, typer.Option("--system-tm", metavar="MAD", help="Transfer-manager driver of the system datastore.")] = "",
    timeout_s: Annotated[float | None, typer.Option("--timeout-s", metavar="S", help="Seconds that one call may take.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The trace of what breaks; its name is that of the case.")] = Path(
        "explored.jsonl"
    ),
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, max=cores.JOBS_MAX, help="Worlds at once; as many as cores if not given.", show_default=False
        ),
    ] = cores.jobs(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Walk random legal lifecycles over a driver until one breaks a requirement; write the shortest trace that still does. Exit status 1 if one was found."""
    with one_line():
        terminate_as_interrupt()
        setting = settle(Given(driver or [], datastore, tm, system_tm, contract, config, timeout_s, lines=False))
        wish = certify.Wish(out, profile)
        execution.require_world(setting.subject)
        explorer = Explorer(setting, certify.certified(setting, wish), seed, seconds(budget), jobs, _quiet if as_json else _told, faults=faults)
        found = explorer.explore()
        repeat = _written(setting, found, out) if found.trace is not None else ""
        if as_json:
            row = {
                name: getattr(found, name)
                for name in ("seed", "requirement", "sentence", "steps", "walks", "runs", "calls", "seconds", "whole", "others")
            }
            sys.stdout.write(msgspec.json.encode({**row, "trace": str(out) if repeat else "", "repeat": repeat}).decode() + "\n")
        else:
            _say(found, out, repeat)
        raise typer.Exit(EXIT_NOT if found.trace is not None else EXIT_CONFORMANT if found.runs else EXIT_NOTHING)


def seconds(text: str) -> float:
    """Return the seconds that a budget names. Raises ConfigError for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--budget {text!r}: give a time such as 90s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def _told(line: str) -> None:
    err_console.print(f"    {line}", markup=False)


def _quiet(line: str) -> None:
    pass


def _written(setting: Setting, found: Explored, out: Path) -> str:
    """Write the trace, and return the command that repeats what it shows."""
    assert found.trace is not None, "something was found"
    trace = with_title(
        renamed(found.trace, out.name.removesuffix(".jsonl")), f"Found by exploring with seed {found.seed}: {found.requirement} is broken"
    )
    write_page(out, render(trace, setting.spec.spec), "--out")
    words = [
        "onetck",
        "run",
        *setting.repeat,
        "--trace",
        str(out),
        "--requirement",
        found.requirement,
        *(["--seed", str(found.seed)] if found.seed else []),
    ]
    return shlex.join(words)


def _say(found: Explored, out: Path, repeat: str) -> None:
    did = f"{found.walks} walks, {found.runs} cases, {found.calls} calls, {found.seconds:g} s, seed {found.seed}"
    if found.trace is None:
        out_console.print(f"nothing broke: {did}", markup=False)
        return
    out_console.print(f"FAIL {found.requirement}  {found.sentence}", markup=False)
    if found.others:
        out_console.print(f"     with it: {', '.join(found.others)}", markup=False)
    short = "" if found.whole else ", and not yet the shortest: the time was over"
    out_console.print(f"     {out}: {found.steps[1]} steps, of {found.steps[0]} as found{short}; `onetck trace show {out}`", markup=False)
    out_console.print(f"     repeat: {repeat}", markup=False)
    out_console.print(did, markup=False)
