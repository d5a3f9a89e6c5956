"""Datagrams in the midst of a call, in a real world: what a driver sends is what oned answers it a moment later, encrypted or not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import Subjected
from onesim.records import Call, CaseEnd, Datagram, Question, Record
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver

TRACE = """{"trace": 1, "name": "t", "title": "T", "gates": ["cp"]}
%s
{"op": "vm.create", "vm": "one", "disks": [{"volatile": "fs", "size_mb": 2}]}
{"op": "vm.deploy", "vm": "one", "host": "host01"}
{"op": "datastore.monitor", "datastore": "system"}
"""
#: The reference driver's own monitor, between two questions.
AROUND = """#!/bin/bash
onevm show -x 0 >/dev/null
"${BASH_SOURCE[0]%/*}/monitor.real" "$@" && onevm show -x 0 >/dev/null
"""


@pytest.mark.components
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_what_a_driver_sends_is_known_while_it_still_runs(tmp_path: Path, encrypted: bool) -> None:
    """Its first question is answered without sizes, the next one with them; the records stand in that order, before that of the call."""
    if encrypted and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    remotes = tmp_path / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", remotes)
    monitor = remotes / "tm/shared/monitor"
    monitor.rename(monitor.with_name("monitor.real"))
    monitor.write_text(AROUND)
    monitor.chmod(0o755)
    spec = for_contract("7.4")
    writer = Writer(tmp_path / "history.jsonl")
    trace = parse_trace(TRACE % ('{"op": "monitor.encrypt"}' if encrypted else ""), Path("t.jsonl"), spec.spec)
    subject = Subjected(find_driver([remotes], "fs", "shared").archive(spec.version), "fs", "shared", "shared")
    blobs = BlobStore(tmp_path / "blobs")
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        holder.append(CaseRun(spec, subject, trace, world, writer, blobs))
        holder[0].run()
    writer.close()
    records: list[Any] = list(read(tmp_path / "history.jsonl", Record))
    assert [one.outcome for one in records if isinstance(one, CaseEnd)] == ["completed"]
    (call,) = [one for one in records if isinstance(one, Call) and one.action == "monitor"]
    assert call.success and not call.parse_error
    mine = [one for one in records if isinstance(one, Question | Datagram) and one.call == call.n]
    assert [type(one) for one in mine] == [Question, Datagram, Question]
    assert records.index(mine[-1]) < records.index(call)
    assert call.at_ns < mine[0].at_ns <= mine[1].at_ns <= mine[2].at_ns < call.at_ns + call.duration_ns
    before, sent, after = mine
    assert sent.encrypted is encrypted and sent.kind == "MONITOR_VM" and not sent.problem and not sent.unknown
    assert before.argv == after.argv and before.answer_sha256 != after.answer_sha256
    assert holder[0].cloud.vms[0].disk_sizes_mb.keys() == {0}
