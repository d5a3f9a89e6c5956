"""The simulated oned puts the calls into the transfer scripts into which the real one put them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from player import Player

from onesim.events import CallAsked, Event, Output
from onesim.oned import Oned

_HERE = Path(__file__).parent


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


RECORDED = {(row["version"], row["operation"], row["mixed"]): row["scripts"] for row in _rows(_HERE / "data" / "transfers.jsonl")}
OPERATIONS = [row for row in _rows(_HERE.parent / "simulator" / "data" / "oned-recorded.jsonl") if not row.get("fault")]


class Watched(Oned):
    """Notes the transfer scripts that it is asked to write."""

    def note(self) -> None:
        """Begin to note."""
        self.scripts: list[list[Any]] = []
        self.left = 0

    def feed(self, event: Event) -> list[Output]:
        """Feed, and look at each call that follows."""
        outputs = super().feed(event)
        for asked in [one for one in outputs if isinstance(one, CallAsked) and hasattr(self, "scripts")]:
            end, calls = self.transfer(asked.call)
            if not end:
                continue
            if self.left:
                assert len(calls) == self.left and calls[0] is asked
            else:
                self.scripts.append([end.partition(".")[2], [one.action.name.upper() + one.suffix for one in calls]])
                self.argv = [one.argv for one in calls]
            assert self.argv[len(self.argv) - len(calls)] == asked.argv
            self.left = len(calls) - 1
        return outputs


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: f"{row['version']}-{row['operation']}{'-mixed' if row.get('mixed') else ''}"[:90])
def test_the_transfer_scripts_are_the_recorded_ones(row: dict[str, Any]) -> None:
    """Their names and lines, operation by operation; and what was announced is what is then called."""
    recorded = RECORDED.get((row["version"], row["operation"], bool(row.get("mixed"))))
    assert recorded is not None
    player = Player(row["version"], row.get("mixed", False))
    player.oned = Watched(player.oned.spec, player.oned.cloud)
    player.vm_in(row["from"], row.get("disks", []))
    for op, arguments in row.get("before", []):
        player.play(op, {"vm": "vm", **arguments})
    op, arguments = row["do"][0], dict(row["do"][1])
    if "attach" in arguments:
        arguments = {"disk": {**player.disk(9, arguments.pop("attach")), **arguments}}
    player.oned.note()
    player.play(op, {"vm": "vm", **arguments})
    made = [[end, [name.replace(".shared", ".recshared").replace(".ssh", ".recssh") for name in names]] for end, names in player.oned.scripts]
    assert made == [one for one in recorded if one[1]]
