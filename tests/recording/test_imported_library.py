"""What the simulated oned would leave of the shipped traces is imported, and tells of what they did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from front_end import play

from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.spec import for_contract, load
from onesim.trace import library, parse_trace

#: What is told otherwise, and why.
DIFFERENT = {
    "nodes-lost": "that monitoring has lost a VM is no request",
    "nodes-moves": "that a VM was switched off stands in no state",
    "vm-lost": "that monitoring has lost a VM is no request",
    "vm-volatile": "a new context leads to no storage call by a script",
}


def told(steps: Iterable[tuple[str, dict[str, Any]]]) -> list[list[tuple[object, ...]]]:
    """Return the operations on each VM, with the disk and the snapshot that they are about."""
    found: dict[object, list[tuple[object, ...]]] = {}
    for op, words in steps:
        if op.startswith("vm."):
            disk = words["disk"] if isinstance(words.get("disk"), int) else None
            found.setdefault(words["vm"], []).append((op, disk, words.get("snapshot")))
    return sorted(found.values(), key=str)


@pytest.mark.parametrize("contract", [pytest.param("6.4", marks=pytest.mark.exhaustive), "7.4"])
def test_the_library_is_found_again_in_what_it_would_leave(tmp_path: Path, contract: str) -> None:
    """Proves that transfer scripts, logs of VMs and oned.log tell of the same operations on VMs in the same order, but for the traces that are listed."""
    spec, different, count = load(), set(), 0
    for trace in library(spec, for_contract(contract).contract.version):
        root = tmp_path / trace.name
        if any(step.beside for step in trace.steps) or not play(trace, contract, root):
            continue
        count += 1
        found = read_kept([root], spec)
        assert not found.notes, (trace.name, found.notes)
        steps = retell(found.calls).steps
        parse_trace("\n".join(json.dumps(one) for one in ({"trace": 1, "name": "x", "title": "x"}, *steps)), Path("x"), spec)
        asked = (step for step in trace.steps if not step.after)  # nothing has failed that would be asked again
        if told((step.op, dict(step.arguments)) for step in asked) != told((step["op"], step) for step in steps):
            different.add(trace.name)
    assert count > 50
    assert different <= set(DIFFERENT), different - set(DIFFERENT)
