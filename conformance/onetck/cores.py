"""The cores of the machine: which of them each of several jobs uses."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable


def count() -> int:
    """Return how many cores there are for this process: a container or `taskset` may leave it fewer than the machine has."""
    return len(os.sched_getaffinity(0))


#: So many jobs can be asked for.
JOBS_MAX = 64


def jobs() -> int:
    """Return how many jobs there are if nobody says: as many as cores."""
    return min(count(), JOBS_MAX)


def apart(jobs: int) -> Callable[[], None]:
    """Return what each thread of a job calls first: where there is exactly one core for each, it keeps to its own, with all processes that it starts.

    A call is a chain of short processes that wait for each other. On one core the next one goes on at once; else, each time, another core is to be woken,
    and two jobs leave a tenth of two cores idle (measured; `python -m benchmarks suite`). With more cores than jobs, or fewer, the kernel knows better.
    """
    cores = sorted(os.sched_getaffinity(0))
    turns = itertools.cycle(cores)

    def settle() -> None:
        with contextlib.suppress(OSError):  # a sandbox may forbid it, and then it is only slower
            os.sched_setaffinity(0, {next(turns)})

    return settle if 1 < jobs == len(cores) else lambda: None
