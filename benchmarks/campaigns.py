"""What a campaign costs the process that holds it: planning, rows, going on with known rows, a scheduler of Dask between; beside what a real run costs a worker.

    python benchmarks/campaigns.py [RUNS ...]

Campaigns of so many runs are planned, kept and resumed: 10,000, 100,000 and 1,000,000, if no others are asked for. Their runs are none: each returns a row at
once, so that what is measured is the holder. Each measurement is taken in a process of its own, by its processor time, whose greatest memory is told. A real
scheduler with two workers, each a process, is given 10,000 such runs, or fewer if fewer are asked for at most; three real runs of a VM's lifecycle are the scale.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import typer

from onesim.data import data_dir
from onetck.campaign import cluster, command
from onetck.campaign.matrix import Plan, read_matrix
from onetck.campaign.playing import lost, play
from onetck.campaign.store import Store

WORKERS, CASE = 2, "vm-example"


class Cost(NamedTuple):
    """Seconds of the processor, seconds by the clock, and MiB of memory: when it began, and at most."""

    processor_s: float
    clock_s: float
    before_mib: float
    most_mib: float


def plan(folder: Path, runs: int) -> Plan:
    """Return the plan of a campaign of so many runs, whose file is written."""
    tree = data_dir("reference_driver") / "remotes"
    driver = f'[[driver]]\nname = "reference"\npaths = ["{tree}"]\ndatastore = "fs"\ntm = "shared"\n'
    path = folder / f"{runs}.toml"
    path.write_text(f'contracts = ["7.4"]\ncases = ["{CASE}"]\nseeds = {runs}\n{driver}')
    return Plan(read_matrix(path), folder)


def returned(job: dict[str, Any]) -> dict[str, Any]:
    """Stand in for a run: return a row at once, as large as that of a run that passes."""
    return {**lost(job), "outcome": "passed", "calls": 30, "seconds": time.process_time(), "history_bytes": 156498, "worker": platform.node()}


def planned(folder: Path, runs: int) -> None:
    """Plan a campaign of which nothing is there."""
    command.compared(plan(folder, runs), {})


def kept(folder: Path, runs: int) -> None:
    """Put the rows of a campaign into a store."""
    with contextlib.closing(Store(folder / f"{runs}.runs")) as store:
        for job in plan(folder, runs):
            store.add(returned(msgspec.to_builtins(job)))


def written(folder: Path, runs: int) -> None:
    """Do what `kept` does, but for the store: append to a file."""
    with (folder / "plain").open("wb") as file:
        for job in plan(folder, runs):
            file.write(msgspec.json.encode(returned(msgspec.to_builtins(job))) + b"\n")


def resumed(folder: Path, runs: int) -> None:
    """Begin a campaign all of whose rows are there."""
    with contextlib.closing(Store(folder / f"{runs}.runs")) as store:
        counts, left, _ = command.compared(plan(folder, runs), store.outcomes())
    if counts["passed"] != runs or any(left):
        raise SystemExit(f"benchmarks/campaigns.py: of {runs} runs {counts} were found")


def held(folder: Path, runs: int, scheduler: str = "") -> None:
    """Hold a campaign by the command itself, on this machine or with a scheduler."""
    plan(folder, runs)
    # by the name by which workers find it
    command.play = cluster.play = import_module("campaigns").returned
    with contextlib.suppress(typer.Exit):
        command.campaign(folder / f"{runs}.toml", folder / f"{runs}-{bool(scheduler)}.runs", 1, scheduler, True)


def _memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) / 1024


def _measured(what: Callable[..., None], words: tuple[Any, ...], told: multiprocessing.SimpleQueue[Cost]) -> None:
    before, began, used = _memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        what(*words)
    told.put(Cost(time.process_time() - used, time.perf_counter() - began, before, _memory_mib("VmHWM")))


def measure(what: Callable[..., None], *words: Any) -> Cost:
    """Return what something costs a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    told: multiprocessing.SimpleQueue[Cost] = fresh.SimpleQueue()
    process = fresh.Process(target=_measured, args=(what, words, told))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"benchmarks/campaigns.py: {what.__name__} {words} ended with {process.exitcode}")
    return told.get()


def bytes_of(folder: Path, runs: int) -> int:
    """Return the bytes of a store."""
    return sum(path.stat().st_size for path in (folder / f"{runs}.runs").glob("*.parquet"))


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a scheduler with workers that run what this file defines; yield its address and process."""
    told, environment = folder / "scheduler.json", {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    common = ["--scheduler-file", str(told), "--host", "127.0.0.1", "--no-dashboard"]
    words = [["distributed.cli.dask_scheduler", "--port", "0", *common]]
    words += [["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *common]] * WORKERS
    with contextlib.ExitStack() as stack:
        begun = []
        for row in words:
            begun.append(stack.enter_context(subprocess.Popen([sys.executable, "-m", *row], stderr=subprocess.DEVNULL, env=environment)))
            stack.callback(begun[-1].kill)
            deadline = time.monotonic() + 60
            while not told.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
        yield msgspec.json.decode(told.read_bytes())["address"], psutil.Process(begun[0].pid)


def scheduled(folder: Path, runs: int) -> tuple[Cost, float, float]:
    """Return what a campaign on a cluster costs its holder, the scheduler's seconds of the processor, and the MiB by which the scheduler grew."""
    with _cluster(folder) as (address, scheduler):
        measure(held, folder, 100, address)
        before, memory = sum(scheduler.cpu_times()[:2]), scheduler.memory_info().rss
        cost = measure(held, folder, runs, address)
        return cost, sum(scheduler.cpu_times()[:2]) - before, (scheduler.memory_info().rss - memory) / 2**20


def real(folder: Path, times: int) -> tuple[float, float]:
    """Return the seconds of the processor, and those by the clock, that a run takes where it is carried out; the best of so many."""
    found = []
    for job in itertools.islice(plan(folder, times), times):
        began, used = time.perf_counter(), sum(os.times()[:4])
        row = play(msgspec.to_builtins(job))
        if row["outcome"] != "passed":
            raise SystemExit(f"benchmarks/campaigns.py: {row}")
        found.append((sum(os.times()[:4]) - used, time.perf_counter() - began))
    return min(one for one, _ in found), min(one for _, one in found)


def main() -> None:
    """Print the tables."""
    wanted = [int(word) for word in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; seconds of the processor")
    print(f"{'runs':>9} {'plan s':>8} {'MiB':>5} {'keep s':>8} {'us a row':>9} {'x plain':>8} {'MiB':>5} {'B a row':>8} {'resume s':>9} {'MiB':>5}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for runs in wanted:
            new, rows, plain = (measure(what, folder, runs) for what in (planned, kept, written))
            again = measure(resumed, folder, runs)
            told = f"{runs:>9} {new.processor_s:>8.2f} {new.most_mib:>5.0f} {rows.processor_s:>8.2f} {1e6 * rows.processor_s / runs:>9.1f}"
            told += f" {rows.processor_s / plain.processor_s:>8.1f} {rows.most_mib:>5.0f} {bytes_of(folder, runs) / runs:>8.1f}"
            print(f"{told} {again.processor_s:>9.2f} {again.most_mib:>5.0f}", flush=True)
        runs = min(10_000, *wanted)
        alone = measure(held, folder, runs)
        print(f"held here: {1e3 * alone.processor_s / runs:.2f} ms of the holder a row, {runs / alone.clock_s:.0f} rows/s")
        cost, scheduler_s, grown = scheduled(folder, runs)
        used = f"{1e3 * cost.processor_s / runs:.2f} ms of the holder a row, {1e3 * scheduler_s / runs:.2f} ms of the scheduler"
        print(f"on a cluster: {used}, {runs / cost.clock_s:.0f} rows/s; the scheduler grew by {grown:.1f} MiB")
        print("a real run: {:.2f} s of the processor, {:.2f} s by the clock".format(*real(folder, 3)))


if __name__ == "__main__":
    main()
