"""The simulator's calls equal those of the real oned, argument for argument, and end in the same state."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from player import Player, script

from onesim.events import CallAsked

RECORDINGS = [json.loads(line) for line in (Path(__file__).parent / "data" / "oned-recorded.jsonl").read_text().splitlines()[1:]]
DATASTORES = {"0": "system", "1": "images", "100": "system2", "101": "backups"}


def named(asked: CallAsked, sources: dict[str, int]) -> list[str]:
    """Return a call with ids, paths, documents and datastores named as in the recordings."""
    words = [script(asked)]
    for word in asked.argv:
        word = re.sub(r"/src/\d+", lambda found: f"SRC{sources.setdefault(found[0], len(sources))}", word)
        word = re.sub(r"/var/lib/one//datastores/(0|100)/0\b", lambda found: f"{'SYSTEM' if found[1] == '0' else 'SYSTEM2'}/VM", word)
        word = "DOCUMENT" if len(word) > 400 or word.startswith("<") else word
        words.append(word.replace("/var/lib/one/vms/0/", "VMS/VM/").replace("one-0", "DEPLOY_ID"))
    ids = {"vm_id": "VM", "ds_id": DATASTORES.get(asked.arguments.get("ds_id", ""), ""), "image_id": "IMAGE", "id": "IMAGE"}
    names = [name for name in asked.arguments for _ in asked.arguments[name].split()]
    return [words[0], *(ids.get(name, word) for name, word in zip(names, words[1:], strict=True))]


def name_of(row: dict[str, Any]) -> str:
    """Return a short name of a recording."""
    return f"{row['version']}-{row['operation']}-{row.get('fault')}"[:100]


@pytest.mark.parametrize("recording", RECORDINGS, ids=name_of)
def test_calls_and_final_state_equal_the_recorded_ones(recording: dict[str, Any]) -> None:
    """One operation from one state, in success or with one failing call, gives the recorded calls in the recorded order, and the recorded final state."""
    player = Player(recording["version"], recording.get("mixed", False))
    player.vm_in(recording["from"], recording.get("disks", []))
    assert player.oned.cloud.vms[0].state == recording["from"]
    for op, arguments in recording.get("before", []):
        player.play(op, {"vm": "vm", **arguments})
    op, arguments = recording["do"][0], dict(recording["do"][1])
    if "attach" in arguments:
        arguments = {"disk": {**player.disk(9, arguments.pop("attach")), **arguments}}
    calls = player.play(op, {"vm": "vm", **arguments}, tuple(recording["fault"]) if recording.get("fault") else None)
    sources: dict[str, int] = {}
    assert [named(call, sources) for call in calls] == recording["calls"]
    assert player.oned.cloud.vms[0].state == recording["final"]
