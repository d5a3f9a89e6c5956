"""Replaying: traces of which something was seen are played again, by another driver or on oned alone, and what is seen now is set beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from onereport.callchanges import ArgumentChange, CallChange
from onereport.comparison import Comparison, Side, compare, read_run
from onereport.likeness import differences
from onereport.results import EXIT_CONFORMANT, EXIT_NOT
from onesim import __version__
from onesim.errors import ConfigError
from onesim.spec import ContractSpec, for_contract, load
from onesim.trace import Trace, read_trace, shipped
from onetck.nullplay import NullPlay
from onetck.retracing import history_of, traces_of

#: What two plays of a trace have otherwise.
Differences = tuple[list[CallChange], list[ArgumentChange]]
#: The name that stands for the driver that does nothing.
NULL = "null"


@dataclass(frozen=True)
class Source:
    """Where traces come from. `run` is the directory of the run whose history they are; None for files."""

    traces: tuple[Trace, ...]
    run: Path | None = None


def read_source(name: str, cases: Sequence[str] = ()) -> Source:
    """Return the traces of a file, of a directory of them, of a run, or of the name under which one ships; of a run only `cases`, if any are named.

    Raises ConfigError for anything else.
    """
    path = Path(name)
    if path.is_dir() and not (path / "history.jsonl").is_file():
        files = sorted(path.glob("*.jsonl"))
        if not files:
            raise ConfigError(f"{path}: holds neither a history nor traces")
        return Source(tuple(read_trace(one, load()) for one in files))
    if path.is_dir() or _is_history(path):
        history = history_of(path)
        return Source(tuple(traces_of(history, cases)), history.parent)
    if path.is_file() or "/" in name or name.endswith(".jsonl"):
        return Source((read_trace(path, load()),))
    found = [one for one in shipped(load()) if one.name == name]
    if not found:
        raise ConfigError(f"{name}: is no file, and no trace of that name ships with onetck; `onetck trace list` lists them")
    return Source(tuple(found))


def _is_history(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.readline(10).startswith(b'{"chain":')
    except OSError:
        return False


def with_baseline(traces: Sequence[Trace], baseline: Source | None) -> list[Trace]:
    """Return the traces with what the baseline has seen of each, by its name. Raises ConfigError where nothing was seen, or where the two do something else."""
    names = [one.name for one in traces]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ConfigError(f"two traces are called {twice}; give each a name of its own")
    known = {one.name: one for one in baseline.traces} if baseline else {}
    found = []
    for trace in traces:
        other = known.get(trace.name, trace)
        if baseline is not None and trace.name not in known:
            raise ConfigError(f"the baseline has seen nothing of {trace.name}; run it once, or leave it out")
        if not any(step.seen for step in other.steps):
            raise ConfigError(
                f"{trace.path}: nothing was seen of {trace.name}; give a run with --baseline, or make a trace of one by `onetck trace from`"
            )
        if [(one.op, one.arguments) for one in other.steps] != [(one.op, one.arguments) for one in trace.steps]:
            raise ConfigError(f"{trace.path}: the baseline has played other operations under the name {trace.name}; run the trace anew")
        steps = tuple(replace(step, seen=then.seen) for step, then in zip(trace.steps, other.steps, strict=True))
        header = msgspec.structs.replace(trace.header, seen_under=other.header.seen_under)
        found.append(replace(trace, header=header, steps=steps))
    return found


def seen_under(traces: Iterable[Trace]) -> str:
    """Return the one contract under which traces were seen; empty if there are several, or none is told."""
    versions = {one.header.seen_under for one in traces}
    return versions.pop() if len(versions) == 1 else ""


def compared(mode: str, before: Trace, after: Trace, spec: ContractSpec) -> Differences:
    """Return what two plays of one trace have otherwise; `spec` is the contract of the second."""
    first = for_contract(before.header.seen_under) if before.header.seen_under else spec
    old, new = ([step.seen for step in trace.steps] for trace in (before, after))
    return differences(mode, before.name, old, new, (first, spec))


def replay_null(traces: Sequence[Trace], mode: str, spec: ContractSpec, jobs: int = 1) -> Iterator[tuple[int, Differences]]:
    """Play traces on oned alone; the null driver answers as was seen. Yield for each how many calls it had and what differs, in their order."""
    if jobs == 1 or len(traces) < 2 * jobs:
        yield from (_null(mode, spec.version, trace) for trace in traces)
        return
    with ProcessPoolExecutor(jobs) as pool:
        size = max(1, min(250, len(traces) // jobs))
        yield from pool.map(_null, [mode] * len(traces), [spec.version] * len(traces), traces, chunksize=size)


def _null(mode: str, version: str, trace: Trace) -> tuple[int, Differences]:
    spec = for_contract(version)
    played = NullPlay(spec, trace)
    return sum(len(step.seen) for step in played.trace.steps), compared(mode, trace, played.trace, spec)


def comparison(
    mode: str, before: Sequence[Trace], source: Source | None, out: Path | None, spec: ContractSpec, found: Mapping[str, Differences], calls: int = 0
) -> Comparison:
    """Return the whole comparison: of verdicts too, where the baseline is a run with results and all of it was played again.

    `out` is the directory of the replay, None if it was played in memory, with so many `calls`.
    """
    changes = tuple(row for rows, _ in found.values() for row in rows)
    arguments = tuple(row for _, rows in found.values() for row in rows)
    differ = EXIT_NOT if changes or arguments else EXIT_CONFORMANT
    run = source.run if source is not None else None
    if (
        source is not None
        and run is not None
        and out is not None
        and (run / "results.jsonl").is_file()
        and {one.name for one in source.traces} == set(found)
    ):
        judged = compare(run, out)
        return msgspec.structs.replace(
            judged, calls=changes, arguments=arguments, cases_gone=(), cases_new=(), exit_code=max(judged.exit_code, differ)
        )
    seen, version, how = sum(len(step.seen) for one in before for step in one.steps), seen_under(before), f"replayed: {mode}"
    then = Side(str(run or before[0].path), "as it was seen", "", "", version, how, "", 0.0, "", "", len(before), seen)
    null = Side(NULL, "the null driver", "", spec.contract.name, spec.version, how, f"onetck {__version__}", 0.0, "", "", len(found), calls)
    none: tuple[()] = ()
    now = null if out is None else read_run(out).side
    return Comparison(then, now, False, none, none, none, none, none, none, none, none, none, none, changes, arguments, differ)
