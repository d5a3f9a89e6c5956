"""A trace that is made from the calls of another one leads to the same calls again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rehearsed import keys, of_backups, played

from onesim.recording.calls import place
from onesim.recording.retelling import retell
from onesim.spec import for_contract, load
from onesim.trace import library, parse_trace

#: What calls do not tell, or are not told in full: each of these traces comes back with other calls. `docs/record.md` says why.
DIFFERENT = {
    "image-datastores": "images that nobody registered",
    "images-together": "operations side by side",
    "pool-before": "images that nobody registered",
    "pool-fresh": "operations side by side",
    "pool-lent": "images that nobody registered",
    "vm-given-up": "operations side by side",
    "vm-shared-directory": "a VM that is recreated without a call",
    "vms-together": "operations side by side",
}


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
        again, repeated, refused = played(parse_trace("\n".join(map(json.dumps, lines)), Path(trace.name), spec), contract)
        if refused or keys(again) != keys(asked) or of_backups(repeated) != of_backups(seen):
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
