"""The command `onetck replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.comparison import Comparison
from onereport.diffpage import render_diff_page
from onereport.difftext import render_diff
from onereport.likeness import MODES
from onesim.errors import ConfigError
from onesim.spec import ContractSpec, for_contract
from onesim.trace import Trace
from onetck import certify, conclude, cores
from onetck import replay as replays
from onetck.plan import PlannedCase, foresee
from onetck.progress import terminal_progress
from onetck.replay import Source
from onetck.retracing import traces_of
from onetck.setting import Given, settle
from onetck.terminal import ContractOption, err_console, one_line, out_console, terminate_as_interrupt, write_page


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="replay")(replay)


def replay(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Traces with what was seen, directories of them, or runs (a directory, or its history.jsonl)."),
    ],
    driver: Annotated[
        list[str] | None,
        typer.Option(
            "--driver",
            metavar="DIR",
            help="The driver to play them; `null` does nothing and answers as was seen. May be repeated.",
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode", metavar="|".join(MODES), help="What counts: every byte; what the contract says; that, in any order of independent calls."
        ),
    ] = "contract",
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="RUN", help="The run, or traces, with what was seen before, where the sources do not tell.")
    ] = "",
    case: Annotated[list[str] | None, typer.Option("--case", metavar="NAME", help="Only this case; may be repeated.", show_default=False)] = None,
    contract: ContractOption = "",
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The vendor's world; ./onetck.toml if it is there.")] = None,
    datastore: Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver, where the tree has several.")] = "",
    tm: Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver of the image datastore.")] = "",
    system_tm: Annotated[str, typer.Option("--system-tm", metavar="MAD", help="Transfer-manager driver of the system datastore.")] = "",
    backup: Annotated[str, typer.Option("--backup", metavar="MAD", help="Datastore driver of the backup datastore.")] = "",
    timeout_s: Annotated[float | None, typer.Option("--timeout-s", metavar="S", help="Seconds that one call may take.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where history, results and reports of the replay go.")] = Path("onetck-replay"),
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", metavar="N", min=1, max=cores.JOBS_MAX, help="Cases at once; as many as cores if not given.", show_default=False
        ),
    ] = cores.jobs(),
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the difference as a page, too.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the difference as JSON.")] = False,
) -> None:
    """Play again what was seen, and say what differs. Exit status 0 = nothing, 1 = calls or arguments differ, or a verdict is worse."""
    with one_line():
        terminate_as_interrupt()
        if mode not in MODES:
            raise ConfigError(f"--mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
        given = [replays.read_source(name, case or ()) for name in sources]
        base = replays.read_source(baseline) if baseline else None
        traces = replays.with_baseline([one for source in given for one in source.traces if not case or one.name in case], base)
        missing = next((name for name in case or () if name not in {one.name for one in traces}), "")
        if missing or not traces:
            raise ConfigError(f"case {missing!r} is in none of the sources" if missing else "the sources hold no trace")
        source = base or (given[0] if len(given) == 1 else None)
        if driver == [replays.NULL]:
            found = _in_memory(mode, traces, source, for_contract(contract or replays.seen_under(traces)), jobs)
        else:
            paths = [Path(one) for one in driver or ()]
            words = Given(paths, datastore, tm, system_tm, contract or replays.seen_under(traces), config, timeout_s, backup, lines=False)
            found = _on_hosts(mode, traces, source, words, out, jobs, quiet=as_json)
        if html is not None:
            write_page(html, render_diff_page(found), "--html")
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            render_diff(found, out_console)
        raise typer.Exit(found.exit_code)


def _in_memory(mode: str, traces: list[Trace], source: Source | None, spec: ContractSpec, jobs: int) -> Comparison:
    calls, found = 0, {}
    for trace, (count, differ) in zip(traces, replays.replay_null(traces, mode, spec, jobs), strict=True):
        calls += count
        found[trace.name] = differ
    return replays.comparison(mode, traces, source, None, spec, found, calls)


def _on_hosts(mode: str, traces: list[Trace], source: Source | None, given: Given, out: Path, jobs: int, *, quiet: bool) -> Comparison:
    setting = settle(given)
    results = source.run / "results.jsonl" if source is not None and source.run is not None else None
    if results is not None and results.parent.resolve() == out.resolve():
        raise ConfigError(f"{out}: holds what is to be replayed; choose another --out")
    judged = results is not None and results.is_file()
    wish = certify.Wish(out, jobs=jobs, cases=tuple(one.name for one in traces))
    profile = conclude.recorded_demands(setting.spec, results) if judged and results is not None else certify.certified(setting, wish)
    cases = [PlannedCase(one, foresee(setting.spec, setting.subject, one)) for one in traces]
    certify.prepare(setting, wish)
    judgement = certify.certify(setting, wish, profile, cases, lambda: terminal_progress(err_console, len(cases), quiet=quiet))
    now = {one.name: one for one in traces_of(out / "history.jsonl")}
    if judgement.footer is None or any(one.name not in now for one in traces):
        raise KeyboardInterrupt
    found = {one.name: replays.compared(mode, one, now[one.name], setting.spec) for one in traces}
    return replays.comparison(mode, traces, source, out, setting.spec, found)
