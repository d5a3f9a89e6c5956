"""What a call costs: a no-op bash action through runner and host, against the same script run bare in the same loop.

    python benchmarks/overhead.py [CALLS]

Prints medians and ratios of one run on one machine: bare; through the world with observation off; with the watched trees observed; and one image
of 2 MiB read besides. Bare and observed calls alternate, so that what else the machine does falls on both.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from onesim.content import pattern
from onesim.events import Answer
from onesim.world.namespaces import NamespaceWorld

SCRIPT = "#!/bin/bash\nexit 0\n"
IMAGE = "/var/lib/one/datastores/image"
SIZE = 2 << 20


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(calls: int) -> dict[str, float]:
    """Return the median seconds of each way of calling."""
    with tempfile.TemporaryDirectory() as scratch, NamespaceWorld.start(on_question=lambda question: Answer()) as world:
        bare = Path(scratch) / "noop"
        bare.write_text(SCRIPT)
        bare.chmod(0o755)
        world.put("frontend", "/var/lib/one/noop", SCRIPT.encode(), 0o755)
        world.make_disk("frontend", IMAGE, "raw", SIZE, pattern("benchmark", SIZE))
        world.picture()
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda: subprocess.run([str(bare), "0", "1"], stdin=subprocess.DEVNULL, capture_output=True, check=True),
            "world": lambda: world.run("frontend", ["/var/lib/one/noop", "0", "1"]),
            "world, trees observed": lambda: (world.run("frontend", ["/var/lib/one/noop", "0", "1"]), world.changes()),
            "world, trees and an image of 2 MiB observed": lambda: (
                world.run("frontend", ["/var/lib/one/noop", "0", "1"]),
                world.changes(),
                world.read_disk("frontend", IMAGE, "raw"),
            ),
            "world, ssh to a host": lambda: world.run("frontend", ["/bin/bash", "-c", "ssh host01 true"]),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(calls):
            for name, work in ways.items():
                times[name].append(_timed(work))
    return {name: statistics.median(rows) for name, rows in times.items()}


def main() -> None:
    """Measure and print."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    starts = [_timed(lambda: NamespaceWorld.start(on_question=lambda question: Answer()).close()) for _ in range(5)]
    medians = measure(calls)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, {calls} calls each")
    for name, seconds in medians.items():
        print(f"{seconds * 1000:8.2f} ms  {seconds / medians['bare']:6.2f} x bare  {name}")
    print(f"{statistics.median(starts) * 1000:8.2f} ms                a world of three hosts up and down")


if __name__ == "__main__":
    main()
