"""One history out of several, each of which holds other cases of the same run: for cases that were run by different processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from onesim.errors import HarnessError
from onesim.journal import Normal, Writer, read
from onesim.records import CaseEnd, Footer, Header, Record
from onetck.execution import finish


def gather(parts: Sequence[Path], out: Path, *, interrupted: bool, wall_s: float) -> None:
    """Write `history.jsonl` and the blobs of the runs in the directories `parts` to `out`. The plan is that of the first and all that the others have run.

    Raises HarnessError if there is none.
    """
    if not parts:
        raise HarnessError("no case was run")
    headers = [next(iter(read(part / "history.jsonl", Record))) for part in parts]
    first = headers[0]
    assert isinstance(first, Header)
    plan = tuple(dict.fromkeys(name for header in headers for name in header.plan))
    normal = Normal()
    writer = Writer(out / "history.jsonl", note=normal.note)
    writer.write(msgspec.structs.replace(first, plan=plan, started_s=min(header.started_s for header in headers)))
    cases = calls = 0
    (out / "blobs").mkdir(exist_ok=True)
    for part in parts:
        for record in read(part / "history.jsonl", Record):
            if isinstance(record, Header):
                continue
            if isinstance(record, Footer):
                interrupted = interrupted or record.interrupted
                continue
            if isinstance(record, CaseEnd):
                cases, calls = cases + 1, calls + record.calls
            writer.write(record)
        for blob in (part / "blobs").iterdir() if (part / "blobs").is_dir() else ():
            (out / "blobs" / blob.name).write_bytes(blob.read_bytes())
    finish(writer, normal, cases, calls, interrupted, wall_s)
