"""What it costs to be told which lines of the driver are run: whole runs with and without, alternating, and the ratio of their times.

    python benchmarks/lines.py [RUNS] [WORDS OF `onetck run`...]

Prints the medians of processor seconds (of the run and of all that it has started) and of real seconds. Without words the reference driver is run.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from onesim.data import data_dir


def _run(words: list[str]) -> tuple[float, float]:
    """Return the processor seconds and the real seconds of a run."""
    with tempfile.TemporaryDirectory() as scratch:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "onetck.cli", "run", *words, "--out", scratch]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.returncode > 3:
            sys.exit(ended.stdout.decode())
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    words = sys.argv[2:] or ["--config", str(data_dir("reference_driver") / "onetck.toml")]
    seen: dict[str, list[tuple[float, float]]] = {"--no-lines": [], "--lines": []}
    for _ in range(runs):
        for option, times in seen.items():
            times.append(_run([*words, option]))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {runs} runs each")
    medians = {option: [statistics.median(column) for column in zip(*times, strict=True)] for option, times in seen.items()}
    for option, (cpu, wall) in medians.items():
        bare = medians["--no-lines"]
        print(f"{option:<10} {cpu:7.2f} s processor ({cpu / bare[0]:.3f}), {wall:7.2f} s real ({wall / bare[1]:.3f})")


if __name__ == "__main__":
    main()
