"""The command `onetck run`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.jsonout import summary
from onereport.results import EXIT_INTERRUPTED, EXIT_NOTHING
from onereport.text import render_lines, render_text
from onesim.schedule import diverged
from onetck import certify, cores, rendering
from onetck.certify import Wish
from onetck.judge import Judgement
from onetck.options import (
    BackendOption,
    BackupOption,
    ConfigOption,
    DatastoreOption,
    DriverPaths,
    MadOption,
    SystemTmOption,
    TimeoutOption,
    TmOption,
    YesOption,
)
from onetck.progress import terminal_progress
from onetck.setting import Given, Setting, settle
from onetck.statement import disagreements
from onetck.terminal import err_console, one_line, out_console, stop, terminate_as_interrupt
from onetck.upgrade import exit_code, readiness, render_upgrade


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    paths: DriverPaths = None,
    datastore: DatastoreOption = "",
    tm: TmOption = "",
    system_tm: SystemTmOption = "",
    backup: BackupOption = "",
    contract: Annotated[
        str, typer.Option("--contract", metavar="C[,C]", help="OpenNebula release: an alias or an exact version; several for upgrade readiness.")
    ] = "",
    config: ConfigOption = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option("--trace", metavar="FILE", help="Play this trace instead of the library; may be repeated.", show_default=False),
    ] = None,
    case: Annotated[list[str] | None, typer.Option("--case", metavar="NAME", help="Only this case; may be repeated.", show_default=False)] = None,
    text: Annotated[str, typer.Option("-k", metavar="TEXT", help="Only cases with this in their name.")] = "",
    requirement: Annotated[
        list[str] | None,
        typer.Option("--requirement", metavar="ID", help="Only this requirement and what reaches it; may be repeated.", show_default=False),
    ] = None,
    only: Annotated[
        str, typer.Option("--only", metavar="V[,V]", help="Only the cases that had one of these verdicts in an earlier run, such as fail,blocked.")
    ] = "",
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RESULTS", help="The results.jsonl for --only; that in --out if not given.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where history, results and reports go.")] = Path("onetck-results"),
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, max=cores.JOBS_MAX, help="Cases at once; as many as cores if not given.", show_default=False
        ),
    ] = cores.jobs(),
    mad: MadOption = None,
    backend: BackendOption = "",
    yes: YesOption = False,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="P[,P]",
            help="The frozen lists of requirements to certify; without it all that the driver claims by having their actions.",
            show_default=False,
        ),
    ] = "",
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="bronze|silver|gold",
            help="Play what this level demands: the core, all that is claimed, or that with every fault.",
            show_default=False,
        ),
    ] = "",
    timeout_s: TimeoutOption = None,
    hypervisor: Annotated[
        str,
        typer.Option(
            "--hypervisor", metavar="simulated|qemu", help="What runs VMs: the simulated libvirt, or QEMU under libvirt.", show_default=False
        ),
    ] = "",
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", min=0, help="Picks how calls that overlap take turns, and where faults strike; 0 if not given.", show_default=False
        ),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            "--faults", metavar="off|basic|full", help="Play the cases that passed again with faults: one place for each action, or every place."
        ),
    ] = "off",
    schedule: Annotated[
        Path | None,
        typer.Option("--schedule", metavar="HISTORY", help="Let calls that overlap take turns as in this history.jsonl of another run."),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Begin no further case once one has failed.")] = False,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", min=1, max=100, help="Run N times; what passes and fails is flaky.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world of the last case for inspection, and say how to enter it.")] = False,
    lines: Annotated[
        bool, typer.Option("--lines/--no-lines", help="Tell which lines of the driver's bash scripts are run, and which one failed.")
    ] = True,
    beside_reference: Annotated[
        bool, typer.Option("--beside-reference", help="Let the reference driver play the same cases after it, and compare their durations.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Certify a driver: run every case, judge it, write the reports. Exit status 0 = conformant, 1 = not (see the README for the others)."""
    with one_line():
        wish = Wish(
            out,
            profile,
            tuple(trace or ()),
            tuple(case or ()),
            text,
            tuple(requirement or ()),
            tuple(word for word in only.split(",") if word),
            source,
            jobs,
            seed or 0,
            schedule,
            keep,
            fail_fast,
            repeat,
            certify.fault_level(faults),
            level,
            beside_reference,
        )
        wish = certify.at_level(wish)
        given = Given(paths or [], datastore, tm, system_tm, contract, config, timeout_s, backup, lines, hypervisor, backend, yes)
        terminate_as_interrupt()
        contracts = contract.split(",") if contract else [""]
        if len(contracts) > 1:
            raise typer.Exit(_run_several(given, wish, mad or [], contracts, as_json=as_json))
        judgement = _run_one(settle(given).through(mad or []), wish, quiet=as_json)
        if as_json:
            sys.stdout.write(msgspec.json.encode(summary(judgement.records())).decode() + "\n")
        else:
            render_text(judgement.records(), out_console)
            if wish.whole:
                render_lines(judgement.records(), "report.html", out_console)
            out_console.print(f"Report: {(out / 'report.html').resolve()}", markup=False)
        raise typer.Exit(judgement.footer.exit_code if judgement.footer else EXIT_INTERRUPTED)


def _run_one(setting: Setting, wish: Wish, *, quiet: bool) -> Judgement:
    """Certify under one contract."""
    profile = certify.certified(setting, wish)
    cases = certify.plan(setting, wish, profile)
    if not cases:
        stop("no case holds for what was asked; nothing ran", EXIT_NOTHING)
    certify.prepare(setting, wish)
    if not quiet:
        _introduce(setting, profile.name, len(cases))
    judgement = certify.certify(setting, wish, profile, cases, lambda: terminal_progress(err_console, len(cases), quiet=quiet))
    for name, why in diverged(wish.out / "history.jsonl") if wish.schedule is not None else ():
        err_console.print(f"{name} did not go as in {wish.schedule}: {why}", markup=False)
    if wish.keep:
        err_console.print(f"The world of {cases[-1].trace.name} is kept: `onetck shell host01` enters it, `onetck down` removes it.", markup=False)
    return judgement


def _run_several(given: Given, wish: Wish, mad: list[str], contracts: list[str], *, as_json: bool) -> int:
    """Certify under one contract after the other, each in a directory of its own below --out. Returns the exit code."""
    settings = [settle(replace(given, contract=name)).through(mad) for name in contracts]
    judgements = {one.spec.contract.name: _run_one(one, replace(wish, out=wish.out / one.spec.contract.name), quiet=as_json) for one in settings}
    code, overview = exit_code(judgements), wish.out / "overview.html"
    rendering.write_overview(overview, [(name, wish.out / name) for name in judgements])
    if as_json:
        runs = {name: summary(one.records()) for name, one in judgements.items()}
        sys.stdout.write(msgspec.json.encode({"exit_code": code, "readiness": readiness(judgements), "contracts": runs}).decode() + "\n")
    else:
        render_upgrade(judgements, out_console)
        out_console.print(f"Overview: {overview.resolve()}", markup=False)
    return code


def _introduce(setting: Setting, profile: str, cases: int) -> None:
    if setting.statement is not None:
        for sentence in disagreements(setting.statement, setting.spec, setting.driver, setting.subject.image_template, shared=setting.shared):
            err_console.print(f"statement.toml: {sentence}", markup=False)
    driver, contract = setting.driver, setting.spec.contract
    programs = "".join(f"; {one.name} through {one.path}" for one in setting.subject.mads)
    drivers = f"datastore/{driver.datastore_mad}, tm/{driver.tm_mad}, system tm/{driver.system_tm_mad}"
    drivers += f", backups datastore/{driver.backup_mad}" if driver.backup_mad else ""
    err_console.print(f"{driver.root}: {drivers}; contract {contract.name} ({contract.version}); {profile}; {cases} cases{programs}", markup=False)
