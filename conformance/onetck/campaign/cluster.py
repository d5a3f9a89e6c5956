"""Runs of a campaign on a Dask cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

import msgspec

from onesim.errors import ConfigError, HarnessError
from onetck.campaign.matrix import Job
from onetck.campaign.playing import Row, lost, play

#: Runs that are handed out for each thread of a worker, and seconds after which the workers are counted again, as they come and go.
_AHEAD, _COUNT_S = 4, 5.0


def on_cluster(left: Iterable[Job], address: str) -> Iterator[Row]:
    """Yield the rows as runs end on a Dask cluster. Runs of a worker that dies are made by another; one that kills workers gets a row that says so.

    The cluster is given a few runs for each worker, and as many again as have ended. Raises HarnessError if there is no scheduler, or no longer.
    """
    try:
        dask: Any = import_module("distributed")
    except ImportError:
        raise ConfigError("distributed is not installed; pip install 'onetck[cluster]'") from None
    try:
        client = dask.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise HarnessError(f"no Dask scheduler answers at {address}: {error}; see docs/campaign.md") from None
    # what its client has to tell of a scheduler that goes, this module tells in a line
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with client:
        waiting = (msgspec.to_builtins(job) for job in left)
        asked: dict[str, dict[str, Any]] = {}
        threads, counted_s = 0, -_COUNT_S

        def more() -> Any:
            nonlocal threads, counted_s
            if time.monotonic() - counted_s >= _COUNT_S:
                threads, counted_s = sum(client.nthreads().values()) or 1, time.monotonic()
            jobs = list(islice(waiting, max(0, threads * _AHEAD - len(asked))))
            asked.update((job["key"], job) for job in jobs)
            return client.map(play, jobs, key=[job["key"] for job in jobs], pure=False) if jobs else []

        under_way = dask.as_completed(more(), with_results=True, raise_errors=False)
        for batch in under_way.batches():
            for future, told in batch:
                job = asked.pop(future.key)
                if future.cancelled():
                    raise HarnessError(f"the Dask scheduler at {address} has gone, or has given up runs; begin again to go on")
                yield told if future.status == "finished" else lost(job, repr(future.exception()))
            under_way.update(more())
