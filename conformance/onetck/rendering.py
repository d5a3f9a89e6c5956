"""The command `onetck report`: pages from the files of runs, as they are judged now or as they were judged then. Nothing is executed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.capability_page import render_capability
from onereport.kills import Selftest
from onereport.overview import Run, render_overview, run_of
from onereport.results import EXIT_INTERRUPTED, ResultRecord, ResultsFooter, ResultsHeader
from onereport.text import render_text
from onesim.errors import ConfigError
from onesim.journal import read
from onesim.rows import Profile
from onesim.spec import ContractSpec, for_contract
from onetck import conclude
from onetck.conclude import SELFTEST
from onetck.repeating import judge_runs, runs_of
from onetck.selftest.appendix import read_trials
from onetck.terminal import one_line, out_console, write_page
from onetck.upgrade import PRECEDENCE
from onetck.waivers import read_waivers


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="The directory of a run; several, one after the other.")],
    profile: Annotated[str, typer.Option("--profile", metavar="P[,P]", help="Judge against these; without it against those of the run.")] = "",
    waivers: Annotated[Path, typer.Option("--waivers", metavar="FILE", help="Failures that somebody answers for.")] = Path("waivers.toml"),
    as_judged: Annotated[
        bool, typer.Option("--as-judged", help="Leave the recorded verdicts, and render the reports alone: of an older run as it was judged then.")
    ] = False,
    pages: Annotated[
        bool,
        typer.Option(
            "--pages/--no-pages", help="Without pages results.jsonl is written alone: a history of any length is judged in constant memory."
        ),
    ] = True,
    capability: Annotated[
        Path | None,
        typer.Option(
            "--capability", metavar="FILE", help="Write what the driver can do, and its lines for oned.conf, as Markdown too.", show_default=False
        ),
    ] = None,
    selftest: Annotated[
        Path | None,
        typer.Option(
            "--selftest",
            metavar="DIR",
            help="Add an appendix: which check finds which mistake, from what `onetck selftest` has left there.",
            show_default=False,
        ),
    ] = None,
    overview: Annotated[
        Path | None,
        typer.Option(
            "--overview", metavar="FILE", help="Write a page that compares the runs by their results; nothing is judged again.", show_default=False
        ),
    ] = None,
) -> None:
    """Judge the histories of runs again and write their reports again; nothing is executed. Exit status of the worst of them. With --overview compare them."""
    with one_line():
        known = read_trials(selftest) if selftest is not None else None
        if overview is not None:
            write_overview(overview, list(zip(names(results), results, strict=True)), known)
            out_console.print(f"{overview.resolve()}", markup=False)
            return
        if capability is not None and len(results) > 1:
            raise ConfigError(f"{len(results)} directories: --capability is about one driver in one run; name one directory")
        if not pages:
            if as_judged or capability is not None or known is not None:
                raise ConfigError("--no-pages: --as-judged, --capability and --selftest are about pages; leave out the one or the other")
            raise typer.Exit(_worst(_streamed(out, profile, waivers) for out in results))
        if known is not None:
            for out in results:
                _append(out, known)
        records = [_as_judged(out) if as_judged else _judged_again(out, profile, waivers) for out in results]
        if capability is not None:
            write_page(capability, render_capability(records[0]), "--capability")
        for one in records:
            render_text(one, out_console)
        raise typer.Exit(_worst(_exit_code(one[-1]) for one in records))


def _worst(codes: Iterable[int]) -> int:
    return min(codes, key=PRECEDENCE.index)


def _append(out: Path, known: Selftest) -> None:
    """Lay a self-test beside the history of a run, so that its report shows it from now on."""
    runs = runs_of(out)
    place = out / (runs[0] if runs else "")
    if not (place / "history.jsonl").is_file():
        raise ConfigError(f"{place / 'history.jsonl'}: no such history; give the directory of a run")
    (place / SELFTEST).write_bytes(msgspec.json.encode(known))


def _judged_again(out: Path, profile: str, waivers: Path) -> list[ResultRecord]:
    """Write results and reports of the run in `out` again, and return the results. Raises ConfigError for what is no run."""
    spec, history, demands = _recorded(out, profile)
    judgement = judge_runs(spec, out, demands, conclude.repeat_command(["DIR"]), read_waivers(waivers, spec.spec))
    conclude.write(spec, out, judgement, history)
    return list(judgement.records())


def _streamed(out: Path, profile: str, waivers: Path) -> int:
    """Write the results of the run in `out` again, show what they say, and return the exit status. Raises ConfigError for what is no run."""
    if runs_of(out):
        raise ConfigError(f"{out}: a run that was repeated is judged as one, with all its results in memory; leave out --no-pages")
    spec, _, demands = _recorded(out, profile)
    held = read_waivers(waivers, spec.spec)
    judgement = conclude.stream(spec, out, demands, conclude.repeat_command(["DIR"]), held, lambda records: render_text(records, out_console))
    return _exit_code(judgement.footer or judgement.header)


def _recorded(out: Path, profile: str) -> tuple[ContractSpec, Path, Profile]:
    """Return the specification of the run in `out`, its history, and what it is judged against. Raises ConfigError for what is no run."""
    runs = runs_of(out)
    history = out / (runs[0] if runs else "") / "history.jsonl"
    if not history.is_file():
        raise ConfigError(f"{history}: no such history; give the directory of a run")
    spec = for_contract(conclude.recorded_contract(history))
    return spec, history, conclude.find_profile(spec, profile) if profile else conclude.recorded_demands(spec, out / "results.jsonl")


def _as_judged(out: Path) -> list[ResultRecord]:
    path = out / "results.jsonl"
    records: list[ResultRecord] = list(read(path, ResultRecord))
    if not records or not isinstance(records[0], ResultsHeader):
        raise ConfigError(f"{path}: holds no results; give the directory of a run")
    conclude.write_pages(for_contract(records[0].version), out, records, out / records[0].history)
    return records


def _exit_code(last: ResultRecord) -> int:
    return last.exit_code if isinstance(last, ResultsFooter) else EXIT_INTERRUPTED


def names(runs: Sequence[Path]) -> list[str]:
    """Return what to call runs: the directory's name, with as many of those above it as it takes to tell them apart."""
    parts = [path.resolve().parts for path in runs]
    deepest = max(len(one) for one in parts)
    short = (["/".join(one[-depth:]) for one in parts] for depth in range(1, deepest + 1))
    return next((found for found in short if len(set(found)) == len(set(parts))), [str(path) for path in runs])


def write_overview(page: Path, runs: Sequence[tuple[str, Path]], selftest: Selftest | None = None) -> None:
    """Write the page that compares runs, each given by its name and its directory. Raises ConfigError for a directory without results, or an unwritable page."""
    found = [_run(name, out, page) for name, out in runs]
    write_page(page, render_overview(found, selftest), "--overview")


def _run(name: str, out: Path, page: Path) -> Run:
    results = out / "results.jsonl"
    if not results.is_file():
        raise ConfigError(f"{results}: no such results; `onetck report {out}` writes them from a history")
    return run_of(name, os.path.relpath((out / "report.html").resolve(), page.resolve().parent), read(results, ResultRecord))
