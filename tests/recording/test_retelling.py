"""A trace that is made from the calls of another one leads to the same calls again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onesim.events import CallAsked, CallFinished, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.recording.calls import SeenCall, _element, place
from onesim.recording.retelling import retell
from onesim.rehearsal import rehearse
from onesim.spec import for_contract, load
from onesim.trace import Trace, library, parse_trace

PRINTED = {
    "ds/cp": "/src/{image} raw",
    "ds/mkfs": "/src/{image}",
    "ds/clone": "/src/{image} raw",
    "ds/stat": "2",
    "ds/backup": "b{call} 100 raw",
    "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
    "vmm/deploy": "one-{vm}",
}
#: What calls do not tell, or are not told in full: each of these traces comes back with other calls. `docs/record.md` says why.
DIFFERENT = {
    "backup-cancel": "a cancelled backup",
    "image-datastores": "several image datastores",
    "images-together": "operations side by side",
    "nodes-moves": "system datastores",
    "pool-before": "images that nobody registered",
    "pool-fresh": "operations side by side",
    "pool-lent": "images that nobody registered",
    "vm-given-up": "operations side by side",
    "vm-shared-directory": "a VM that is recreated without a call",
    "vms-together": "operations side by side",
}


def played(trace: Trace, contract: str) -> tuple[list[CallAsked], list[SeenCall], bool]:
    """Return the calls of a trace as asked and as seen, and whether anything was refused. Each operation begins a minute after the one before."""
    oned = Oned(for_contract(contract), make_cloud(Subjected(b"", "fs", "shared", "shared", backup_mad="rsync"), True))
    asked: list[CallAsked] = []
    seen: list[SeenCall] = []
    refused, latest, at_s = False, -1, 0.0

    def answer(call: CallAsked) -> CallFinished:
        return CallFinished(call.call, True, _printed(call))

    output: Output
    for n, output in rehearse(oned, trace, answer):
        refused |= isinstance(output, Refused)
        if not isinstance(output, CallAsked) or output.action.family == "vmm":
            continue
        # what goes on beside another operation begins before its call has ended
        at_s, latest = at_s + (0.01 if trace.steps[n].beside else 60 if n > latest else 0.1), max(n, latest)
        asked.append(output)
        argv = output.argv
        action = output.action.name + output.suffix
        document = output.document.encode()
        seen.append(SeenCall(at_s, at_s + 0.05, output.action.family, output.mad, action, argv, document, _printed(output).encode()))
    return asked, seen, refused


def _printed(call: CallAsked) -> str:
    return PRINTED.get(call.action.key, "").format(image=call.image, vm=call.vm, call=call.call)


def _keys(calls: list[CallAsked]) -> list[str]:
    return [call.action.key for call in calls if call.action.name != "monitor"]


def _of_backups(calls: list[CallAsked]) -> list[tuple[object, ...]]:
    """Return what is asked about backups: arguments, the VM's configuration and chain, the increments that there are, and what is to be restored."""
    found: list[tuple[object, ...]] = []
    for call in calls:
        if not call.action.name.startswith(("prebackup", "postbackup", "backup", "restore", "increment_flatten")):
            continue
        argv = [word for word in call.argv if len(word) < 100]
        document = _element(call.document.encode())
        told: list[tuple[str, str]] = []
        for path in ("BACKUPS//*", "VM/BACKUPS//*", "IMAGE/ID", "IMAGE/BACKUP_INCREMENTS//*", "TEMPLATE/*", "EXTRA_DATA/*"):
            nodes = document.findall(path) if document is not None and not (path == "TEMPLATE/*" and document.tag == "VM") else []
            told += [(node.tag, node.text or "") for node in nodes if node.tag not in ("DATE", "SOURCE", "NAME")]
        found.append((call.action.key, argv, told))
    return found


@pytest.mark.parametrize("contract", ["6.4", pytest.param("6.8", marks=pytest.mark.exhaustive), "7.4"])
def test_the_library_comes_back_with_the_same_calls(contract: str) -> None:
    """Proves that of each shipped trace the calls alone suffice to make one that has the same calls in the same order, but for those that are listed."""
    spec, different, count = load(), set(), 0
    for trace in library(spec, for_contract(contract).contract.version):
        asked, seen, refused = played(trace, contract)
        if refused or not asked:
            continue
        count += 1
        lines = [{"trace": 1, "name": trace.name, "title": "again"}, *retell(seen).steps]
        again, _, refused = played(parse_trace("\n".join(map(json.dumps, lines)), Path(trace.name), spec), contract)
        if refused or _keys(again) != _keys(asked):
            different.add(trace.name)
        elif _of_backups(again) != _of_backups(asked):
            print(trace.name, *[f"\n  {one}\n  {two}" for one, two in zip(_of_backups(asked), _of_backups(again)) if one != two])
            different.add(trace.name)
    assert count > 60
    assert different <= set(DIFFERENT), different - set(DIFFERENT)


def test_places() -> None:
    """Proves how arguments are read: host, VM, disk and boot file, doubled slashes, and what is no place."""
    for word, told in (
        ("host01:/var/lib/one//datastores/0/7/disk.12", ("host01", 7, 12, "")),
        ("fe:/var/lib/one/datastores/0/7", ("fe", 7, -1, "")),
        ("h:/var/lib/one/datastores/0/7/kernel", ("h", 7, -1, "kernel")),
    ):
        found = place(word)
        assert found is not None and (found.host, found.vm, found.disk, found.file) == told
    assert place("raw") is None and place("fe:/var/lib/one/datastores/1/4f2a") is None
