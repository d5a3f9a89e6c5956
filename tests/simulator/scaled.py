"""Plays the registration of an image with a slow `stat` in a real world."""

from __future__ import annotations

import shutil
from pathlib import Path

from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, head, read
from onesim.layout import Subjected
from onesim.records import Header, Record
from onesim.rows import Profile
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver
from onetck.judge import judge

TRACE = """{"trace": 1, "name": "slow", "title": "T", "gates": ["cp"]}
{"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 2}
{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw", "expect": "any"}
"""


def played(folder: Path, scale: float) -> tuple[str, bool]:
    """Return the verdict on the time that stat took, and whether the image was made."""
    remotes = folder / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", remotes)
    stat = remotes / "datastore/fs/stat"
    stat.rename(stat.with_name("stat.real"))
    stat.write_text('#!/bin/bash\nsleep 1.5\nexec "$0.real" "$@"\n')
    stat.chmod(0o755)
    spec = for_contract("7.4")
    writer = Writer(folder / "history.jsonl")
    writer.write(Header(1, "test", "7.4", spec.version, "", "fs", "shared", "shared", 0, 0.0, "", ""))
    trace = parse_trace(TRACE, Path("slow.jsonl"), spec.spec)
    subject = Subjected(find_driver([remotes], "fs", "shared").archive(spec.version), "fs", "shared", "shared", wait_scale=scale)
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        holder.append(CaseRun(spec, subject, trace, world, writer, BlobStore(folder / "blobs")))
        holder[0].run()
    writer.close()
    history = folder / "history.jsonl"
    judged = judge(read(history, Record), spec, Profile("p", "P", ("DS-STAT-007",)), "history.jsonl", head(history), "")
    (verdict,) = (one.verdict for one in judged.requirements if one.requirement == "DS-STAT-007")
    return verdict, bool(holder[0].cloud.images)
