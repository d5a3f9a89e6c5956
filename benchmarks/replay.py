"""How fast traces are replayed on oned alone, with the null driver: VM lifecycles per second, on one core and on two.

    python benchmarks/replay.py [LIFECYCLES]

A lifecycle is a trace of twelve operations on a VM: created, deployed, powered off, resumed, stopped, deployed elsewhere, suspended, resumed, migrated,
undeployed, deployed, terminated, with the image that it needs; and each of its calls, with arguments and document, is compared with what was seen. The baseline
of the same run is oned alone on the same operations: what is left is the cost of comparing.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

from onesim.events import CallFinished
from onesim.layout import make_cloud
from onesim.oned import Oned
from onesim.rehearsal import rehearse
from onesim.spec import for_contract
from onesim.trace import Trace, parse_trace
from onetck.nullplay import NULL, NullPlay
from onetck.plan import null_output
from onetck.replay import replay_null

LIFE = (
    '"vm.create", "disks": [{"image": "os"}]',
    '"vm.deploy", "host": "host01"',
    '"vm.poweroff"',
    '"vm.resume"',
    '"vm.stop"',
    '"vm.deploy", "host": "host02"',
    '"vm.suspend"',
    '"vm.resume"',
    '"vm.migrate", "host": "host01"',
    '"vm.undeploy"',
    '"vm.deploy", "host": "host02"',
    '"vm.terminate"',
)


def lifecycle() -> Trace:
    """Return the trace, with what the null driver is seen to do."""
    lines = ['{"trace": 1, "name": "life", "title": "t"}', '{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}']
    lines += [f'{{"op": {line}, "vm": "vm01"}}' for line in LIFE]
    spec = for_contract()
    return NullPlay(spec, parse_trace("\n".join(lines), Path("life.jsonl"), spec.spec)).trace


def main() -> None:
    """Print the rates, and how they compare with oned alone."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    spec, trace = for_contract(), lifecycle()
    calls = sum(len(step.seen) for step in trace.steps)
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores; {count:,} lifecycles of {len(LIFE)} operations and {calls} calls"
    )
    share = max(count // 10, 1)
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(share):
        oned = Oned(spec, make_cloud(NULL, True))
        for _ in rehearse(oned, trace, lambda asked: CallFinished(asked.call, True, null_output(spec, asked))):
            pass
    alone, alone_cpu = (time.perf_counter() - began) / share, (time.process_time() - processor) / share
    print(f"{'':<28} {'s':>8} {'per s':>8} {'of oned alone':>14}")
    print(f"{'oned alone (a tenth of it)':<28} {alone * share:>8.1f} {1 / alone:>8.0f} {1:>14.2f}   {1e3 * alone_cpu:.2f} ms of processor each")
    for mode, jobs in (("exact", 1), ("contract", 1), ("exact", 2), ("contract", 2), ("permissive", 2)):
        played = count if jobs > 1 else share
        began, processor = time.perf_counter(), _processor_s()
        differ = sum(bool(rows or words) for _, (rows, words) in replay_null([trace] * played, mode, spec, jobs))
        took = time.perf_counter() - began
        said = f"{mode}, {jobs} process{'es' if jobs > 1 else ''}" + ("" if jobs > 1 else " (a tenth)")
        each = f"   {1e3 * (_processor_s() - processor) / played:.2f} ms of processor each"
        print(f"{said:<28} {took:>8.1f} {played / took:>8.0f} {alone / (took / played):>14.2f}" + each + (f", {differ} DIFFER" if differ else ""))


def _processor_s() -> float:
    """Return the processor time of this process and of those that have ended under it."""
    told = os.times()
    return told.user + told.system + told.children_user + told.children_system


if __name__ == "__main__":
    main()
