"""The command `onetck trace` and its own commands: new, check, show, normalise, from, list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from onereport.results import EXIT_USAGE
from onereport.tracelanes import Moment, render_timeline
from onesim.contracts import in_range
from onesim.errors import ConfigError, TraceError
from onesim.spec import ContractSpec, for_contract, load
from onesim.trace import Trace, read_trace, shipped
from onesim.tracetext import renamed, render
from onetck import nullplay, retracing
from onetck.terminal import ContractOption, err_console, one_line, out_console

TraceFile = Annotated[str, typer.Argument(metavar="TRACE", help="A trace file, or the name of one that ships with onetck (`onetck trace list`).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

app = typer.Typer(
    invoke_without_command=True, no_args_is_help=False, add_completion=False, rich_markup_mode=None, help="Write, check and show traces."
)


def register(parent: typer.Typer) -> None:
    """Add the command."""
    parent.add_typer(app, name="trace")


@app.callback()
def operations(context: typer.Context) -> None:
    """Write, check and show traces. Without a command: list the operations that a trace may contain."""
    if context.invoked_subcommand is not None:
        return
    with one_line():
        spec = load()
        for row in spec.trace_operations.operation:
            kind, _, name = row.name.partition(".")
            rows = spec.lifecycles[kind].operation if kind in spec.lifecycles else ()
            states = sorted({state for one in rows if one.name == name for state in one.from_})
            given = " ".join([*(word.partition(":")[0] for word in row.needs), *(f"[{word.partition(':')[0]}]" for word in row.may)])
            out_console.print(f"{row.name} {given}".rstrip() + (f"  from {', '.join(states)}" if states else ""), markup=False)
            out_console.print(f"    {row.meaning}", markup=False)


@app.command(name="list")
def list_traces(as_json: JsonOption = False) -> None:
    """List the traces that ship with onetck."""
    with one_line():
        traces = shipped(load())
        if as_json:
            _print_json([{"name": one.name, "title": one.header.title, "profile": one.header.profile} for one in traces])
            return
        width = max(len(one.name) for one in traces)
        for one in traces:
            out_console.print(f"{one.name:<{width}}  {one.header.title}", markup=False)


@app.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; its name without .jsonl is the name of the trace.")],
    like: Annotated[str, typer.Option("--like", metavar="TRACE", help="A file, or a trace that ships with onetck, to begin with.")] = "vm-plain",
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What the trace is about.")] = "",
) -> None:
    """Write a trace to begin with: an image, a VM, its life on a host, and its end."""
    with one_line():
        spec = load()
        model = renamed(_find(like), path.name.removesuffix(".jsonl"))
        model = _titled(model, title or model.header.title)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(render(model, spec, seen=False))
        except FileExistsError:
            raise ConfigError(f"{path}: is there already; choose another name") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; choose a file that can be written") from None
        out_console.print(f"{path}: {len(model.steps)} operations; `onetck trace check {path}`, then `onetck run DIR --trace {path}`", markup=False)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Trace files, or directories of them.")],
    contract: ContractOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check traces: each line by the tables, and the whole by playing it in memory. Exit status 4 if one is wrong; each message names file, line and remedy."""
    with one_line():
        rows = [_checked(path, contract) for path in files_of(files)]
        if as_json:
            _print_json(rows)
        else:
            for row in rows:
                good = f"{row['file']}: in order: {row['operations']} operations, {row['calls']} calls under {row['contract']}"
                (err_console if row["problem"] else out_console).print(row["problem"] or good, markup=False)
        raise typer.Exit(EXIT_USAGE if any(row["problem"] for row in rows) else 0)


@app.command()
def show(trace: TraceFile, contract: ContractOption = "", as_json: JsonOption = False) -> None:
    """Draw the timeline of a trace: operations, the calls that were seen or will follow, and the states of each object."""
    with one_line():
        found = _find(trace)
        moments = timeline(found, contract)
        if as_json:
            _print_json([msgspec.to_builtins(one) for one in moments])
        else:
            render_timeline(f"{found.name}  {found.header.title}", moments, out_console)


@app.command()
def normalise(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Trace files.")],
    write: Annotated[bool, typer.Option("--write", help="Write each file anew instead of printing it.")] = False,
) -> None:
    """Write traces in the one way in which onetck writes them, so that two of them can be compared line by line."""
    with one_line():
        spec = load()
        for path in files:
            text = render(read_trace(path, spec), spec)
            if not write:
                sys.stdout.write(text)
            elif path.read_text(encoding="utf-8") != text:
                _write(path, text)
                out_console.print(f"{path}: written anew", markup=False)


@app.command(name="from")
def from_history(
    history: Annotated[Path, typer.Argument(metavar="HISTORY", help="The directory of a run, or its history.jsonl.")],
    case: Annotated[list[str] | None, typer.Option("--case", metavar="NAME", help="Only this case; may be repeated.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="A directory for the traces, one file each; printed if not given.", show_default=False),
    ] = None,
) -> None:
    """Make traces of a run: what was done, and under each operation the calls that were seen."""
    with one_line():
        spec = load()
        traces = retracing.traces_of(retracing.history_of(history), case or ())
        if out is None:
            first, *others = list(traces)
            if others:
                raise ConfigError(f"{history}: has {1 + len(others)} cases; choose one with --case, or a directory for all with --out")
            sys.stdout.write(render(first, spec))
            return
        out.mkdir(parents=True, exist_ok=True)
        for trace in traces:
            _write(out / f"{trace.name}.jsonl", render(trace, spec))
            out_console.print(str(out / f"{trace.name}.jsonl"), markup=False)


def timeline(trace: Trace, contract: str) -> list[Moment]:
    """Return what to draw of a trace; where nothing was seen, what follows with a driver that does its work. Raises TraceError where oned refuses."""
    spec = _contract(trace, contract)
    played = nullplay.NullPlay(spec, trace)
    seen = trace if any(step.seen for step in trace.steps) else played.trace
    moments = []
    for n, step in enumerate(trace.steps):
        words = " ".join(
            f"{value}" if isinstance(value, str) else f"{name}={msgspec.json.encode(value).decode()}" for name, value in step.arguments.items()
        )
        told = " ".join(
            f"({word})" for word in (step.expect if step.expect != "success" else "", step.about, step.after and f"after {step.after}") if word
        )
        calls = [(one.seen, "" if one.success else one.error or one.ended_by) for one in seen.steps[n].seen]
        states = {label: state for (kind, label), state in played.states[n].items() if kind != "datastore"}
        moments.append(Moment(step.line, step.op, f"{words} {told}".strip(), bool(step.beside), calls, states, played.refused.get(n, "")))
    return moments


def files_of(paths: list[Path]) -> list[Path]:
    """Return trace files, those in directories among them. Raises ConfigError for a directory without any."""
    found = []
    for path in paths:
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"{path}: holds no trace; their names end in .jsonl")
        found += inside
    return found


def _checked(path: Path, contract: str) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(path), "problem": "", "operations": 0, "calls": 0, "contract": ""}
    try:
        trace = read_trace(path, load())
        spec = _contract(trace, contract)
        played = nullplay.NullPlay(spec, trace)
        for n, why in played.refused.items():
            if trace.steps[n].expect == "success" and all(step.expect == "success" for step in trace.steps[:n]):
                raise TraceError(f"{path}:{trace.steps[n].line}: oned refuses {trace.steps[n].op}: {why}; change the line, or what goes before")
    except TraceError as error:
        return row | {"problem": str(error)}
    return row | {"operations": len(trace.steps), "calls": sum(len(step.seen) for step in played.trace.steps), "contract": spec.version}


def _contract(trace: Trace, contract: str) -> ContractSpec:
    """Return the contract that is named, else the one that the trace was seen under, else the newest that it holds for."""
    if contract or trace.header.seen_under:
        return for_contract(contract or trace.header.seen_under)
    versions = [row for row in load().contracts if in_range(row.version, trace.header.since, trace.header.until)]
    default = for_contract()
    return default if not versions or default.contract in versions else for_contract(versions[-1].name)


def _find(name: str) -> Trace:
    """Return a trace by its file, or by the name under which it ships. Raises ConfigError if there is neither."""
    path = Path(name)
    if path.is_file() or "/" in name or name.endswith(".jsonl"):
        return read_trace(path, load())
    found = next((one for one in shipped(load()) if one.name == name), None)
    if found is None:
        raise ConfigError(f"{name}: is no file, and no trace of that name ships with onetck; `onetck trace list` lists them")
    return found


def _titled(trace: Trace, title: str) -> Trace:
    return Trace(trace.path, msgspec.structs.replace(trace.header, title=title), trace.steps)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; choose a place that can be written") from None


def _print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
