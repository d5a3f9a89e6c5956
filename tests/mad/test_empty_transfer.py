"""A transfer script without a line: oned has it read like any other, of a VM that has nothing to transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir
from onesim.events import CallAsked, EmptyTransfer, OperationAsked
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import MadProgram, Subjected, make_cloud
from onesim.mad.own import packed
from onesim.oned import Oned
from onesim.records import Call, CaseEnd, MadFault, MadLine, Record
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver

TRACE = """{"trace": 1, "name": "empty", "title": "A VM without disks", "gates": ["cp"]}
{"op": "vm.create", "vm": "vm"}
{"op": "vm.deploy", "vm": "vm", "host": "host01"}
{"op": "vm.terminate", "vm": "vm"}
"""
#: Takes an empty file for an error.
BROKEN = b"""#!/bin/bash
while read -r action line; do
    [[ $action == INIT ]] && echo INIT SUCCESS - -
    [[ $action == FINALIZE ]] && exit 0
    [[ $action == TRANSFER && $line =~ ([0-9]+)' ' ]] && echo "TRANSFER FAILURE ${BASH_REMATCH[1]} there is nothing to do"
done
"""


def test_oned_has_it_read_before_the_vm_goes_on() -> None:
    """A VM with a disk has a line instead."""
    oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
    for label, disks, wanted in (("a", [], [EmptyTransfer(0, "0.prolog")]), ("b", [{"volatile": "fs", "size_mb": 1}], [])):
        oned.feed(OperationAsked(0, "vm.create", {"vm": label, "disks": disks}))
        outputs = oned.feed(OperationAsked(0, "vm.deploy", {"vm": label, "host": "host01"}))
        assert [one for one in outputs if isinstance(one, EmptyTransfer)] == wanted
        (call,) = (one for one in outputs if isinstance(one, CallAsked))
        assert call.action.key == ("vmm/deploy" if wanted else "tm/mkimage")
        if wanted:
            assert outputs.index(wanted[0]) < outputs.index(call)


@pytest.mark.components
@pytest.mark.parametrize("contract", ["5.12", "7.4"])
@pytest.mark.parametrize("data", [None, BROKEN], ids=["own", "broken"])
def test_the_program_is_to_answer_it(tmp_path: Path, contract: str, data: bytes | None) -> None:
    """Our own program does, and starts nothing; one that takes it for an error is named."""
    spec = for_contract(contract)
    program = MadProgram("tm", "/usr/lib/one/mads/one_tm", ("-t", "15", "-d", "shared"), data or packed(spec, "tm"))
    driver = find_driver([data_dir("reference_driver") / "remotes"], "fs", "shared")
    writer = Writer(tmp_path / "history.jsonl")
    trace = parse_trace(TRACE, Path("empty.jsonl"), spec.spec)
    subject = Subjected(driver.archive(spec.version), "fs", "shared", "shared", mads=(program,))
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        holder.append(CaseRun(spec, subject, trace, world, writer, BlobStore(tmp_path / "blobs")))
        holder[0].run()
    writer.close()
    records: list[Any] = list(read(tmp_path / "history.jsonl", Record))
    asked = [one for one in records if isinstance(one, MadLine) and one.to == "mad" and "TRANSFER" in one.line]
    assert asked[0].line.endswith("/vms/0/transfer.0.prolog") and asked[0].script == ""
    faults = [(one.fault, one.detail) for one in records if isinstance(one, MadFault)]
    if data is None:
        assert not faults and [one.outcome for one in records if isinstance(one, CaseEnd)] == ["completed"]
        assert [one.action for one in records if isinstance(one, Call) and one.family == "tm"] == ["delete"]
    else:
        assert faults[0] == ("result", "answered TRANSFER FAILURE 0 there is nothing to do to an empty transfer script")
