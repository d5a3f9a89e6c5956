"""Several datastores: image datastores are made as there were, of system datastores a world has two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rehearsed import played

from onesim.recording.calls import SeenCall, place
from onesim.recording.retelling import retell
from onesim.spec import load
from onesim.trace import parse_trace

#: Images in three datastores and a file datastore, copies within one and from one to another; a VM that goes to another system datastore, and back.
STEPS: list[dict[str, Any]] = [
    {"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 2},
    {"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"},
    {"op": "datastore.create", "datastore": "second", "like": "images"},
    {"op": "datastore.create", "datastore": "third", "like": "images"},
    {"op": "datastore.create", "datastore": "files", "like": "images", "TYPE": "FILE_DS"},
    {"op": "image.register", "image": "other", "path": "/var/tmp/os.raw", "datastore": "second"},
    {"op": "image.make", "image": "empty", "size_mb": 2, "datastore": "third"},
    {"op": "image.clone", "image": "within", "of": "other"},
    {"op": "image.clone", "image": "across", "of": "other", "datastore": "images"},
    {"op": "image.register", "image": "kernel", "path": "/var/tmp/os.raw", "type": "KERNEL", "datastore": "files"},
    {"op": "vm.create", "vm": "vm", "disks": [{"image": "within"}, {"image": "across"}], "kernel": "kernel"},
    {"op": "vm.deploy", "vm": "vm", "host": "host01", "datastore": "system2"},
    {"op": "vm.migrate", "vm": "vm", "host": "host01", "datastore": "system"},
    {"op": "vm.undeploy", "vm": "vm"},
    {"op": "vm.deploy", "vm": "vm", "host": "host02", "datastore": "system2"},
    {"op": "vm.terminate", "vm": "vm"},
]


def stores(calls: list[SeenCall]) -> list[tuple[object, ...]]:
    """Return which datastores each call is about, in the order in which those of each kind are first met."""
    order: dict[tuple[str, object], int] = {}

    def met(kind: str, id: object) -> int:
        return order.setdefault((kind, id), len([one for one in order if one[0] == kind]))

    found: list[tuple[object, ...]] = []
    for call in calls:
        if call.action != "monitor":
            places = [one for one in map(place, call.argv) if one is not None]
            home = met("image", call.field("DATASTORE/ID")) if call.family == "ds" else -1
            found.append((call.family, call.action, home, *(met("system", one.datastore) for one in places)))
    return found


def test_images_and_vms_lie_in_as_many_datastores() -> None:
    """Proves that calls of several datastores come back with the same calls, each in the datastore that stands for its own."""
    lines = [{"trace": 1, "name": "x", "title": "x"}, *STEPS]
    _, seen, refused = played(parse_trace("\n".join(map(json.dumps, lines)), Path("x"), load()), "7.4")
    assert not refused and {row[2] for row in stores(seen)} == {-1, 0, 1, 2, 3}
    steps = retell(seen).steps
    _, again, refused = played(parse_trace("\n".join(map(json.dumps, [lines[0], *steps])), Path("x"), load()), "7.4")
    assert not refused and stores(again) == stores(seen)
    assert [step.get("datastore") for step in steps if step["op"] in ("vm.deploy", "vm.migrate")] == [None, "system2", "system"]
    assert [step.get("TYPE") for step in steps if step["op"] == "datastore.create"] == [None, None, "FILE_DS"]


def test_a_third_system_datastore_shares_a_name() -> None:
    """Proves that a migration to a third system datastore is told as one to the other of two, and that one between two of the same name is counted."""

    def moved(at_s: float, before: int, after: int) -> list[SeenCall]:
        words = [(f"h:/ds/{before}/7{end}", f"h:/ds/{after}/7{end}", "7", "0") for end in ("/disk.0", "")]
        return [SeenCall(at_s + n, at_s + n, "tm", "x", "mv", argv) for n, argv in enumerate(words)]

    retold = retell([*moved(10, 0, 5), *moved(20, 5, 6), *moved(30, 6, 0)])
    assert [step["datastore"] for step in retold.steps if step["op"] == "vm.migrate"] == ["system2", "system"]
    assert retold.left_out == {"migrations between hosts or system datastores that have one name in the trace": 1}
