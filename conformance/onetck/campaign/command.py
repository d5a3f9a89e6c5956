"""The command `onetck campaign`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import compress, islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onereport.results import EXIT_CONFORMANT, EXIT_NO_VERDICT, EXIT_NOT
from onetck import cores
from onetck.campaign.cluster import on_cluster
from onetck.campaign.matrix import Job, Plan, read_matrix
from onetck.campaign.playing import LOST, Row, play
from onetck.campaign.store import Store
from onetck.terminal import err_console, one_line, out_console, terminate_as_interrupt

#: Runs that are handed out for each that can go on at once, seconds between two lines of progress, and runs that are named when they end otherwise than passed.
_AHEAD, _TELL_S, _NAMED = 4, 10.0, 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="campaign")(campaign)


def campaign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The matrix: drivers, contracts, cases or traces, seeds.")],
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="Where the rows go; FILE.runs if not given.", show_default=False)
    ] = None,
    at_once: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=256, help="Runs at once on this machine.")] = cores.jobs(),
    scheduler: Annotated[str, typer.Option("--scheduler", metavar="ADDRESS", help="Run on a Dask cluster: tcp://HOST:PORT.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run a matrix, one row for each run in a Parquet store. Runs that are there already are not repeated: begin again to go on.

    Exit status 1 if a requirement failed in any run, else 3 if nothing is known of one.
    """
    with one_line():
        terminate_as_interrupt()
        plan = Plan(read_matrix(file), file.parent)
        with closing(Store(store or file.with_suffix(".runs"))) as kept:
            counts, left, again = compared(plan, kept.outcomes())
            made = sum(left)
            kept.forget(again)
            progress = _Progress(len(plan), counts.copy())
            asked = compress(plan, left)
            for row in on_cluster(asked, scheduler) if scheduler else _here(asked, at_once):
                kept.add(row)
                counts[row["outcome"]] += 1
                progress.ended(row)
        if as_json:
            told_json = {"runs": len(plan), "made": made, "outcomes": counts, "store": str(kept.root)}
            sys.stdout.write(msgspec.json.encode(told_json).decode() + "\n")
        else:
            out_console.print(f"{len(plan)} runs, {made} made now: {_told(counts)}\nStore: {kept.root.resolve()}", markup=False)
        raise typer.Exit(EXIT_NOT if counts["failed"] else EXIT_NO_VERDICT if counts[LOST] else EXIT_CONFORMANT)


def compared(plan: Plan, known: dict[bytes, str]) -> tuple[Counter[str], bytearray, set[bytes]]:
    """Return how many runs have which outcome, for each of the plan whether it is to be made, and the keys of those that are made again."""
    counts: Counter[str] = Counter()
    left, again = bytearray(), set()
    for job in plan:
        key = bytes.fromhex(job.key)
        outcome = known.get(key, "")
        left.append(outcome in ("", LOST))
        if outcome == LOST:
            again.add(key)
        elif outcome:
            counts[outcome] += 1
    return counts, left, again


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def _here(left: Iterable[Job], at_once: int) -> Iterator[Row]:
    """Yield the rows as runs end: each is a process of its own, and costs no other one what becomes of it."""
    with ThreadPoolExecutor(at_once, initializer=cores.apart(at_once)) as pool:
        waiting = iter(left)
        under_way: set[Future[Row]] = {pool.submit(play, msgspec.to_builtins(job)) for job in islice(waiting, at_once * _AHEAD)}
        try:
            while under_way:
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                under_way |= {pool.submit(play, msgspec.to_builtins(job)) for job in islice(waiting, len(ended))}
                yield from (one.result() for one in ended)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Progress:
    """Lines on stderr: how many runs are done, how many a minute, and how long the others will take."""

    def __init__(self, all_: int, counts: Counter[str]) -> None:
        self._all, self._before, self._now, self._counts, self._named = all_, counts.total(), 0, counts, 0
        self._begun = self._told = time.monotonic()
        err_console.print(f"{all_} runs, {self._before} are there already", markup=False)

    def ended(self, row: Row) -> None:
        self._now += 1
        self._counts[row["outcome"]] += 1
        now, left = time.monotonic(), self._all - self._before - self._now
        if row["outcome"] != "passed" and self._named <= _NAMED:
            self._named += 1
            why = row["failed"] or row["error"]
            told = f"{row['outcome']}: {row['driver']} {row['contract']} {row['case']} seed {row['seed']} {why}"
            err_console.print(told if self._named <= _NAMED else "further ones are counted, and named in the store", markup=False)
        if now - self._told >= _TELL_S or not left:
            self._told, rate = now, self._now / max(now - self._begun, 1e-9)
            told = f"{self._before + self._now} of {self._all} runs: {_told(self._counts)}; {rate * 60:.1f} a minute, {left / rate:.0f} s left"
            err_console.print(told, markup=False)
