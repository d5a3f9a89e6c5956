"""The command `onetck campaign`."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from onereport.results import EXIT_CONFORMANT, EXIT_NO_VERDICT, EXIT_NOT, EXIT_NOTHING
from onesim.errors import ConfigError, HarnessError
from onetck.campaign.matrix import Job, jobs, read_matrix
from onetck.campaign.playing import LOST, Row, play
from onetck.campaign.store import Store
from onetck.terminal import err_console, one_line, out_console, stop, terminate_as_interrupt

#: Runs that are handed out for each that can go on at once, and seconds between two lines of progress.
_AHEAD, _TELL_S = 4, 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="campaign")(campaign)


def campaign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The matrix: drivers, contracts, cases or traces, seeds.")],
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Where the rows go; FILE.runs if not given.", show_default=False)
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=256, help="Runs at once on this machine.")] = os.cpu_count() or 1,
    scheduler: Annotated[str, typer.Option("--scheduler", metavar="ADDRESS", help="Run on a Dask cluster: tcp://HOST:PORT.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run a matrix, one row for each run in a Parquet store. Runs that are there already are not repeated: begin again to go on.

    Exit status 1 if a requirement failed in any run, else 3 if nothing is known of one.
    """
    with one_line():
        terminate_as_interrupt()
        matrix = read_matrix(file)
        kept = Store(store or file.with_suffix(".runs"))
        done = kept.done()
        asked = list(jobs(matrix, file.parent))
        left = [job for job in asked if done.get(job.key, LOST) == LOST]
        kept.forget({job.key for job in left if job.key in done})
        progress = _Progress(len(asked), len(asked) - len(left))
        ended = _on_cluster(left, scheduler) if scheduler else _here(left, at_once)
        try:
            for row in ended:
                kept.add(row)
                progress.ended(row)
        finally:
            kept.gather()
        keys = {job.key for job in asked}
        counts = Counter(row["outcome"] for row in kept.rows() if row["key"] in keys)
        if as_json:
            sys.stdout.write(
                msgspec.json.encode({"runs": len(asked), "made": len(left), "outcomes": counts, "store": str(kept.root)}).decode() + "\n"
            )
        else:
            told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
            out_console.print(f"{len(asked)} runs, {len(left)} made now: {told}\nStore: {kept.root.resolve()}", markup=False)
        if not asked:
            stop("no run was asked for", EXIT_NOTHING)
        raise typer.Exit(EXIT_NOT if counts["failed"] else EXIT_NO_VERDICT if counts[LOST] else EXIT_CONFORMANT)


def _here(left: Iterable[Job], at_once: int) -> Iterator[Row]:
    """Yield the rows as runs end: each is a process of its own, and costs no other one what becomes of it."""
    with ThreadPoolExecutor(at_once) as pool:
        waiting = iter(left)
        under_way: set[Future[Row]] = {pool.submit(play, msgspec.to_builtins(job)) for job in islice(waiting, at_once * _AHEAD)}
        try:
            while under_way:
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                under_way |= {pool.submit(play, msgspec.to_builtins(job)) for job in islice(waiting, len(ended))}
                yield from (one.result() for one in ended)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(left: Iterable[Job], address: str) -> Iterator[Row]:
    """Yield the rows as runs end on a Dask cluster. Runs of a worker that dies are made by another; one that kills workers gets a row that says so."""
    try:
        dask: Any = import_module("distributed")
    except ImportError:
        raise ConfigError("distributed is not installed; pip install 'onetck[cluster]'") from None
    try:
        client = dask.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise HarnessError(f"no Dask scheduler answers at {address}: {error}; see docs/campaign.md") from None
    with client:
        waiting = iter(left)
        asked: dict[str, Job] = {}

        def submit(job: Job) -> Any:
            asked[job.key] = job
            return client.submit(play, msgspec.to_builtins(job), key=job.key, pure=False)

        threads = sum(client.nthreads().values()) or 1
        under_way = dask.as_completed([submit(job) for job in islice(waiting, threads * _AHEAD)])
        for future in under_way:
            job = asked.pop(future.key)
            if future.status == "finished":
                yield future.result()
            else:
                yield _lost(job, repr(future.exception()))
            for following in islice(waiting, 1):
                under_way.add(submit(following))


def _lost(job: Job, why: str) -> Row:
    told = {
        "exit_code": EXIT_NO_VERDICT,
        "outcome": LOST,
        "failed": "",
        "calls": 0,
        "seconds": 0.0,
        "history_bytes": 0,
        "started_s": time.time(),
        "worker": "",
    }
    about = {name: getattr(job, name) for name in ("key", "driver", "contract", "case", "seed", "backend", "hypervisor")}
    return {**about, **told, "error": why[:400]}


class _Progress:
    """Lines on stderr: how many runs are done, how many a minute, and how long the others will take."""

    def __init__(self, all_: int, before: int) -> None:
        self._all, self._before, self._now = all_, before, 0
        self._begun = self._told = time.monotonic()
        err_console.print(f"{all_} runs, {before} are there already", markup=False)

    def ended(self, row: Row) -> None:
        self._now += 1
        now, left = time.monotonic(), self._all - self._before - self._now
        if row["outcome"] != "passed":
            why = row["failed"] or row["error"]
            err_console.print(f"{row['outcome']}: {row['driver']} {row['contract']} {row['case']} seed {row['seed']} {why}", markup=False)
        if now - self._told >= _TELL_S or not left:
            self._told, rate = now, self._now / max(now - self._begun, 1e-9)
            err_console.print(f"{self._before + self._now} of {self._all} runs, {rate * 60:.1f} a minute, {left / rate:.0f} s left", markup=False)
