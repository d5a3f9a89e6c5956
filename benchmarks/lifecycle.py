"""How fast the simulated oned is: lifecycle events per second on one core, with a driver in the same process that does nothing.

    python benchmarks/lifecycle.py [EVENTS]

An event is what oned is fed: an operation, or a call that has finished. Every VM is created, deployed, powered off, resumed, stopped, deployed elsewhere,
suspended, resumed, migrated and undeployed, all VMs in turn. The rates are over processor time. The baseline of the same run is a loop that makes the
same events and answers, and feeds nobody: what is left is oned's own. Memory is what the objects of the VMs hold.
"""

from __future__ import annotations

import gc
import platform
import sys
import time
import tracemalloc
from collections import deque

from onesim.events import CallAsked, CallFinished, OperationAsked, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.spec import for_contract

POPULATIONS = (100, 1_000, 10_000)
LIFE = (
    ("deploy", {"host": "host01"}),
    ("poweroff", {}),
    ("resume", {}),
    ("stop", {}),
    ("deploy", {"host": "host02"}),
    ("suspend", {}),
    ("resume", {}),
    ("migrate", {"host": "host01"}),
    ("undeploy", {}),
)
PRINTED = {"ds/cp": "/src/1 raw", "ds/stat": "10", "vmm/deploy": "one-1", "ds/monitor": "TOTAL_MB=10000\nFREE_MB=9000\nUSED_MB=1000"}


class Driver:
    """Feeds an oned and answers its calls at once, successfully. Counts events and calls."""

    def __init__(self) -> None:
        self.oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
        self.events = self.calls = 0

    def ask(self, op: str, arguments: dict[str, object]) -> None:
        """Ask an operation, and answer until nothing is outstanding."""
        self.events += 1
        waiting: deque[Output] = deque(self.oned.feed(OperationAsked(0, op, arguments)))
        while waiting:
            output = waiting.popleft()
            if isinstance(output, CallAsked):
                self.events += 1
                self.calls += 1
                waiting.extend(self.oned.feed(CallFinished(output.call, True, PRINTED.get(output.action.key, ""))))
            elif isinstance(output, Refused):
                raise SystemExit(f"benchmarks/lifecycle.py: {op} is refused: {output.reason}; correct the benchmark")


def live(population: int, events: int) -> tuple[float, float, float]:
    """Let so many VMs live until so many events have passed. Returns events per second, calls per second, MiB per 10,000 VMs."""
    driver = Driver()
    driver.ask("image.register", {"image": "os", "path": "/x"})
    gc.collect()
    tracemalloc.start()
    for n in range(population):
        driver.ask("vm.create", {"vm": f"v{n}", "disks": [{"image": "os"}, {"volatile": "fs", "size_mb": 10}], "context": {"A": "B"}})
    memory = tracemalloc.get_traced_memory()[0] / 2**20 * 10_000 / population
    tracemalloc.stop()
    driver.events = driver.calls = 0
    began = time.process_time()
    while driver.events < events:
        for n in range(population):
            for op, more in LIFE:
                driver.ask(f"vm.{op}", {"vm": f"v{n}", **more})
    seconds = time.process_time() - began
    return driver.events / seconds, driver.calls / seconds, memory


def baseline(events: int) -> float:
    """Return how many events per second are made and answered where nobody listens."""
    began = time.process_time()
    for n in range(events // 2):
        waiting: deque[object] = deque([OperationAsked(0, "vm.deploy", {"vm": f"v{n}", "host": "host01"})])
        while waiting:
            if isinstance(waiting.popleft(), OperationAsked):
                waiting.append(CallFinished(n, True, PRINTED.get("vmm/deploy", "")))
    return events / (time.process_time() - began)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the rates for each population, and how they change with it."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    live(10, 10_000)  # the tables are loaded, the interpreter is warm
    bare = baseline(events)
    _say(f"Python {platform.python_version()}, {platform.machine()}; bare loop {bare:,.0f} events/s")
    _say(f"{'VMs':>7} {'events/s':>10} {'calls/s':>10} {'of bare':>8} {'us/event':>9} {'vs. 100':>8} {'MiB per 10,000 VMs':>19}")
    first = 0.0
    for population in POPULATIONS:
        rate, calls, memory = live(population, events)
        first = first or rate
        _say(f"{population:>7} {rate:>10,.0f} {calls:>10,.0f} {rate / bare:>8.3f} {1e6 / rate:>9.1f} {first / rate:>8.2f} {memory:>19.1f}")


if __name__ == "__main__":
    main()
