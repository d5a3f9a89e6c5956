"""All benchmarks in one table of ratios, with the machine named: each row is measured beside its baseline in the same run.

    python -m benchmarks [--quick] [PART ...]

PART is one of call, lifecycles, simulator, documents, replay, suite, report, judging, campaigns; all if none is named. `--quick` takes small sizes, to try it. Each
file of this directory runs by itself, too, and takes sizes.
"""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import bare
import campaigns
import judging
import lifecycle
import overhead
import replay
import report
import validation

from onesim.data import data_dir
from onesim.journal import read
from onesim.records import Record
from onesim.spec import for_contract
from onetck.replay import replay_null


class Row(NamedTuple):
    """A line of the table: what was measured, its value with the unit, and its ratio to the baseline, which is named."""

    what: str
    value: str
    ratio: float
    baseline: str


def call(quick: bool) -> Iterator[Row]:
    """Tell what a call costs that does nothing."""
    medians = overhead.measure(20 if quick else 200)
    for name, seconds in medians.items():
        yield Row(f"a call: {name}", f"{1e3 * seconds:.2f} ms", seconds / medians["bare"], "the script run bare")


def lifecycles(quick: bool) -> Iterator[Row]:
    """Tell what real lifecycles cost, by processor time."""
    found = bare.compare(2 if quick else 1000, 1)
    for name, (_, used) in found.items():
        yield Row(f"a VM's lifecycle on hosts: {name}", f"{used:.3f} s processor", used / found["bare"][1], "the same scripts bare")


def simulator(quick: bool) -> Iterator[Row]:
    """Tell how many events the simulated oned takes."""
    events, first = (20_000 if quick else 200_000), 0.0
    lifecycle.live(10, 10_000)
    loop = lifecycle.baseline(events)
    for population in lifecycle.POPULATIONS[: 2 if quick else 3]:
        rate, _, memory = lifecycle.live(population, events)
        first = first or rate
        yield Row(f"events of oned, {population:,} VMs", f"{rate:,.0f} /s", loop / rate, "a loop that feeds nobody")
        yield Row(f"    growth of an event's cost, and {memory:.0f} MiB per 10,000 VMs", f"{1e6 / rate:.1f} us", first / rate, "with 100 VMs")


def documents(quick: bool) -> Iterator[Row]:
    """Tell how many documents are verified."""
    ours, plain = validation.measure(4_000 if quick else 40_000)
    yield Row("documents verified", f"{ours:,.0f} /s", plain / ours, "lxml alone")


def replayed(quick: bool) -> Iterator[Row]:
    """Tell how long replaying takes with the null driver, on one process and on two."""
    count, spec, trace = (200 if quick else 10_000), for_contract(), replay.lifecycle()
    alone = 0.0
    for jobs in (1, 2):
        began, used = time.perf_counter(), replay._processor_s()
        differ = sum(bool(rows or words) for _, (rows, words) in replay_null([trace] * count, "exact", spec, jobs))
        took, cpu = time.perf_counter() - began, replay._processor_s() - used
        alone = alone or took
        said = f", {differ} DIFFER" if differ else ""
        yield Row(f"{count:,} lifecycles replayed, -j {jobs}{said}", f"{took:.1f} s ({cpu:.1f} s processor)", took / alone, "-j 1")


def suite(quick: bool) -> Iterator[Row]:
    """Tell how long a run takes, by backend and worlds at once."""
    first = 0.0
    cases = ["--profile", "quick"] if quick else []
    for backend, jobs in itertools.product(("namespaces", "docker"), ("1", "2")):
        with tempfile.TemporaryDirectory() as scratch:
            words = ["run", str(data_dir("reference_driver") / "remotes"), "--backend", backend, "-j", jobs, "--no-lines", *cases, "--out", scratch]
            began = time.perf_counter()
            ended = subprocess.run([sys.executable, "-m", "onetck.cli", *words], capture_output=True, text=True, check=False)
            took = time.perf_counter() - began
        if ended.returncode > 1:
            said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
            yield Row(f"a run, {backend} -j {jobs}", f"not here: {''.join(said)[:60]}", 0.0, "")
            continue
        first = first or took
        yield Row(f"a run, {backend} -j {jobs}", f"{took:.1f} s", took / first, "namespaces -j 1")


def reported(quick: bool) -> Iterator[Row]:
    """Tell what a report costs."""
    with tempfile.TemporaryDirectory() as folder:
        out, first = Path(folder), 0.0
        judgement = report.played(out)
        history = list(read(out / "history.jsonl", Record))
        for calls in (1_000, 5_000 if quick else 100_000):
            reading_s, made_s, size_mb = report.made(judgement, history, calls, out)
            first = first or made_s / calls
            yield Row(f"the report of {calls:,} calls", f"{made_s:.2f} s, {size_mb:.2f} MB", made_s / reading_s, "reading the records")
            yield Row("    growth of a call's share", f"{1e3 * made_s / calls:.2f} ms", made_s / calls / first, "of 1,000 calls")


def judged(quick: bool) -> Iterator[Row]:
    """Tell what judging costs, and the memory that it takes, as a history grows."""
    with tempfile.TemporaryDirectory() as folder:
        history = judging.played(Path(folder))
    for calls in (1_000, 5_000) if quick else (1_000, 10_000, 100_000, 1_000_000):
        (took, memory, _), (reading, plain, _) = judging.measure(history, calls), judging.measure(history, calls, judging=False)
        yield Row(f"judging {calls:,} calls", f"{took:.1f} s processor", took / reading, "reading the records")
        yield Row("    its memory", f"{memory:.0f} MiB", memory / plain, "reading the records")


def campaigned(quick: bool) -> Iterator[Row]:
    """Tell what a campaign costs its holder as it grows, and what feeds it: a scheduler, and real runs."""
    first: tuple[campaigns.Cost, ...] = ()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = (1_000, 5_000) if quick else (10_000, 100_000, 1_000_000)
        for runs in sizes:
            measured = tuple(campaigns.measure(what, folder, runs) for what in (campaigns.planned, campaigns.kept, campaigns.resumed))
            first = first or measured
            growth = [one.processor_s / runs * sizes[0] / before.processor_s for one, before in zip(measured, first, strict=True)]
            plain = campaigns.measure(campaigns.written, folder, runs)
            new, kept, again = measured
            size = campaigns.bytes_of(folder, runs) / runs
            yield Row(
                f"{runs:,} runs planned, {new.most_mib:.0f} MiB", f"{new.processor_s:.2f} s processor", growth[0], f"a run's share, of {sizes[0]:,}"
            )
            yield Row(
                f"    their rows kept, {size:.0f} bytes each",
                f"{1e6 * kept.processor_s / runs:.0f} us each",
                kept.processor_s / plain.processor_s,
                "appended to a file",
            )
            yield Row(
                f"    gone on with, {again.most_mib:.0f} MiB", f"{again.processor_s:.2f} s processor", growth[2], f"a run's share, of {sizes[0]:,}"
            )
        runs = 500 if quick else 10_000
        (cost, scheduler_s, _), (run_s, _) = campaigns.scheduled(folder, runs), campaigns.real(folder, 1 if quick else 3)
        each = cost.processor_s / runs
        yield Row(
            "a row by way of a scheduler: its holder", f"{1e3 * each:.2f} ms processor", cost.processor_s / scheduler_s, "the scheduler's share"
        )
        yield Row("a real run", f"{run_s:.2f} s processor", run_s / max(each, scheduler_s / runs), "the greater share of a row")


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "call": call,
    "lifecycles": lifecycles,
    "simulator": simulator,
    "documents": documents,
    "replay": replayed,
    "suite": suite,
    "report": reported,
    "judging": judged,
    "campaigns": campaigned,
}


def main() -> None:
    """Print the table, a row as soon as it is known."""
    words = sys.argv[1:]
    names = [word for word in words if word != "--quick"]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"benchmarks: there is no part {unknown[0]!r}; choose of {', '.join(PARTS)}")
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    print(f"{model or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    print(f"{'':<62} {'measured':>28} {'ratio':>8}  to", flush=True)
    for name in names or PARTS:
        for row in PARTS[name]("--quick" in words):
            print(f"{row.what:<62} {row.value:>28} {f'{row.ratio:.2f}' if row.baseline else '':>8}  {row.baseline}", flush=True)


if __name__ == "__main__":
    main()
