"""What judging costs as a history grows: seconds and memory for histories of so many calls, read as a file is read, and how both grow.

    python benchmarks/judging.py [CALLS ...]

Some cases are played once with the reference driver; their records, under other names, come again and again, as JSON lines, until there are so many calls: 1,000,
10,000, 100,000 and 1,000,000, if no others are asked for. Each result is handed on and none is kept. Each history is judged in a process of its own, whose
greatest memory is told; the baseline is a process that decodes the same lines and judges nothing.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from onesim.data import data_dir
from onesim.journal import read
from onesim.records import Call, CaseBegin, Record
from onetck.conclude import find_profile
from onetck.execution import Progress, execute
from onetck.judge import judge
from onetck.plan import choose
from onetck.setting import Given, settle

CASES = ("image-clone", "vm-example", "vm-siblings")


def played(out: Path) -> list[Record]:
    """Play the cases, and return their history."""
    setting = settle(Given(config=data_dir("reference_driver") / "onetck.toml", lines=False))
    cases = choose(setting.spec, setting.subject, [], list(CASES), ["core"])
    execute(setting.spec, setting.driver, setting.subject, cases, out, jobs=1, progress=Progress(), command=["benchmark"])
    return list(read(out / "history.jsonl", Record))


def longer(history: list[Record], calls: int) -> Iterator[Record]:
    """Yield the records of a history with at least so many calls, decoded anew each time."""
    names = [one.case for one in history if isinstance(one, CaseBegin)]
    times = -(-calls // sum(isinstance(one, Call) for one in history))
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Record)
    lines = {name: [(one, encoder.encode(one)) for one in history if getattr(one, "case", None) == name] for name in names}
    yield history[0]
    for n, name in itertools.product(range(times), names):
        for _, line in lines[name]:
            yield msgspec.structs.replace(decoder.decode(line), case=f"{name}-{n}")
    yield history[-1]


def _measured(history: list[Record], calls: int, judging: bool, told: multiprocessing.SimpleQueue[tuple[float, float, int]]) -> None:
    setting = settle(Given(config=data_dir("reference_driver") / "onetck.toml", lines=False))
    results = itertools.count()
    began = time.process_time()
    if judging:
        judge(longer(history, calls), setting.spec, find_profile(setting.spec, "core"), "h", "", "{case}", take=lambda one: next(results) and None)
    else:
        for _ in longer(history, calls):
            pass
    took = time.process_time() - began
    told.put((took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, next(results)))


def measure(history: list[Record], calls: int, judging: bool = True) -> tuple[float, float, int]:
    """Return the seconds of the processor, the MiB of memory, and the results of judging a history of so many calls in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    told: multiprocessing.SimpleQueue[tuple[float, float, int]] = fresh.SimpleQueue()
    process = fresh.Process(target=_measured, args=(history, calls, judging, told))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"benchmarks/judging.py: judging {calls} calls ended with {process.exitcode}")
    return told.get()


def main() -> None:
    """Print the table."""
    wanted = [int(word) for word in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    print(f"{'calls':>9} {'results':>9} {'processor s':>12} {'ms a call':>10} {'x reading':>10} {'MiB':>7} {'MiB, reading':>13}")
    with tempfile.TemporaryDirectory() as folder:
        history = played(Path(folder))
        for calls in wanted:
            (took, memory, results), (reading, bare, _) = measure(history, calls), measure(history, calls, judging=False)
            row = f"{calls:>9} {results:>9} {took:>12.2f} {1e3 * took / calls:>10.3f} {took / reading:>10.1f} {memory:>7.0f} {bare:>13.0f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
