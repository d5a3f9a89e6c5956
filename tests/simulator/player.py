"""Plays operations on a simulated oned, answers its calls, and fails the call that it is told to."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from onesim.events import CallAsked, CallFinished, OperationAsked, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.model import Datastore
from onesim.oned import Oned
from onesim.spec import for_contract

PRINTED = {
    "ds/cp": "/src/{image} raw",
    "ds/mkfs": "/src/{image}",
    "ds/stat": "10",
    "ds/backup": "b1 100 raw",
    "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
    "vmm/deploy": "one-{vm}",
}


class Player:
    """Feeds an oned and fails the call that it is told to."""

    def __init__(self, version: str) -> None:
        self.spec = for_contract(".".join(version.split(".")[:2]))
        self.oned = Oned(self.spec, make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
        self.oned.cloud.datastores[101] = Datastore(101, "backups", "BACKUP_DS", "store", "-", "/backups")
        self.oned.cloud.labels["datastore", "backups"] = 101

    def play(self, op: str, arguments: dict[str, Any], fault: tuple[str, int] | None = None) -> list[CallAsked]:
        """Ask an operation and answer all calls; `fault` is the n-th call of an action, which fails. Returns the calls."""
        asked: list[CallAsked] = []
        counts: Counter[str] = Counter()
        waiting: deque[Output] = deque(self.oned.feed(OperationAsked(0, op, arguments)))
        while waiting:
            output = waiting.popleft()
            assert not isinstance(output, Refused), output
            if isinstance(output, CallAsked):
                asked.append(output)
                key = output.action.key
                counts[key] += 1
                printed = PRINTED.get(key, "").format(image=output.image, vm=output.vm)
                waiting.extend(self.oned.feed(CallFinished(output.call, fault != (key, counts[key]), printed, "it failed")))
        return asked
