"""What calls tell of backups, also where the first of them were not recorded, or not all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rehearsed import of_backups, played

from onesim.recording.calls import SeenCall
from onesim.recording.retelling import retell
from onesim.spec import for_contract, load
from onesim.trace import Trace, library, parse_trace

CHAINS = ("backup-increments", "backup-flatten", "backup-merged", "backup-restore", "backup-live-increments", "backup-keep")


def trace(name: str, contract: str = "7.4") -> Trace:
    return next(one for one in library(load(), for_contract(contract).contract.version) if one.name == name)


def parsed(steps: Iterable[dict[str, Any]]) -> Trace:
    lines = [{"trace": 1, "name": "again", "title": "again"}, *steps]
    return parse_trace("\n".join(map(json.dumps, lines)), Path("again"), load())


def begins(seen: list[SeenCall]) -> list[int]:
    return [n for n, call in enumerate(seen) if call.action.startswith("prebackup")]


@pytest.mark.parametrize("name", [*CHAINS, "backup-off", "backup-live"])
def test_what_was_backed_up_before_is_told(name: str) -> None:
    """Proves that a recording which begins with any later backup leads to the same calls: the backups before are made first, the disks are of their kinds."""
    _, seen, _ = played(trace(name), "7.4")
    for first in begins(seen)[1:]:
        retold = retell(seen[first:])
        _, again, refused = played(parsed(retold.steps), "7.4")
        wanted = of_backups(seen[first:])
        assert not refused and of_backups(again[len(again) - len(seen[first:]) :]) == wanted, first
        assert not +Counter({what: count for what, count in retold.left_out.items() if "monitor" not in what})


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("family, mad", [("tm", "shared"), ("ds", "rsync")])
def test_one_driver_suffices(name: str, family: str, mad: str) -> None:
    """Proves that the calls of the transfer driver alone, or of the backup driver alone, lead to the same calls of it."""
    _, seen, _ = played(trace(name), "7.4")
    _, again, refused = played(parsed(retell([call for call in seen if call.mad == mad and call.family == family]).steps), "7.4")
    before, after = (of_backups([call for call in calls if call.mad == mad and call.action != "restore"]) for calls in (seen, again))
    assert not refused and before == after
