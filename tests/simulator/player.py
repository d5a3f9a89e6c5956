"""Plays operations on a simulated oned, answers its calls, and fails the call that it is told to."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from onesim.events import CallAsked, CallFinished, OperationAsked, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.model import Datastore
from onesim.oned import Oned
from onesim.spec import for_contract

DISKS: dict[str, dict[str, Any]] = {
    "volatile": {"volatile": "fs", "size_mb": 100, "format": "raw"},
    "volatile-qcow2": {"volatile": "fs", "size_mb": 100, "format": "qcow2", "fs": "ext4"},
    "swap": {"volatile": "swap", "size_mb": 64},
}
# how a VM comes into a state: operations, the last of which fails at its n-th call of an action where that is given
ROADS: dict[str, list[tuple[str, dict[str, Any], tuple[str, int] | None]]] = {
    "PENDING": [],
    "HOLD": [("hold", {}, None)],
    "UNKNOWN": [("deploy", {"host": "host01"}, None), ("lost", {}, None)],
    "RUNNING": [("deploy", {"host": "host01"}, None)],
    "STOPPED": [("deploy", {"host": "host01"}, None), ("stop", {}, None)],
    "SUSPENDED": [("deploy", {"host": "host01"}, None), ("suspend", {}, None)],
    "POWEROFF": [("deploy", {"host": "host01"}, None), ("poweroff", {}, None)],
    "UNDEPLOYED": [("deploy", {"host": "host01"}, None), ("undeploy", {}, None)],
    "PROLOG_FAILURE": [("deploy", {"host": "host01"}, ("tm", 1))],
    "BOOT_FAILURE": [("deploy", {"host": "host01"}, ("vmm/deploy", 1))],
    "BOOT_MIGRATE_FAILURE": [("deploy", {"host": "host01"}, None), ("migrate", {"host": "host02"}, ("vmm/restore", 1))],
    "BOOT_STOPPED_FAILURE": [("deploy", {"host": "host01"}, None), ("stop", {}, None), ("deploy", {"host": "host02"}, ("vmm/restore", 1))],
    "BOOT_UNDEPLOY_FAILURE": [("deploy", {"host": "host01"}, None), ("undeploy", {}, None), ("deploy", {"host": "host02"}, ("vmm/deploy", 1))],
    "EPILOG_FAILURE": [("deploy", {"host": "host01"}, None), ("terminate", {}, ("tm", 1))],
    "EPILOG_STOP_FAILURE": [("deploy", {"host": "host01"}, None), ("stop", {}, ("tm/mv", 1))],
    "EPILOG_UNDEPLOY_FAILURE": [("deploy", {"host": "host01"}, None), ("undeploy", {}, ("tm/mv", 1))],
    "PROLOG_RESUME_FAILURE": [("deploy", {"host": "host01"}, None), ("stop", {}, None), ("deploy", {"host": "host02"}, ("tm/mv", 1))],
    "PROLOG_UNDEPLOY_FAILURE": [("deploy", {"host": "host01"}, None), ("undeploy", {}, None), ("deploy", {"host": "host02"}, ("tm/mv", 1))],
    "PROLOG_MIGRATE_FAILURE": [("deploy", {"host": "host01"}, None), ("migrate", {"host": "host02"}, ("tm/mv", 1))],
    "PROLOG_MIGRATE_POWEROFF_FAILURE": [("deploy", {"host": "host01"}, None), ("poweroff", {}, None), ("migrate", {"host": "host02"}, ("tm/mv", 1))],
    "PROLOG_MIGRATE_SUSPEND_FAILURE": [("deploy", {"host": "host01"}, None), ("suspend", {}, None), ("migrate", {"host": "host02"}, ("tm/mv", 1))],
}


class Player:
    """Feeds an oned and fails the call that it is told to."""

    def __init__(self, version: str, mixed: bool = False) -> None:
        self.spec = for_contract(".".join(version.split(".")[:2]))
        self.oned = Oned(self.spec, make_cloud(Subjected(b"", "fs", "shared", "ssh" if mixed else "shared"), True))
        self.oned.cloud.datastores[101] = Datastore(101, "backups", "BACKUP_DS", "store", "-", "/backups")
        self.oned.cloud.labels["datastore", "backups"] = 101

    def play(self, op: str, arguments: dict[str, Any], fault: tuple[str, int] | None = None) -> list[CallAsked]:
        """Ask an operation and answer all calls. Returns the calls."""
        asked: list[CallAsked] = []
        counts: Counter[str] = Counter()
        waiting: deque[Output] = deque(self.oned.feed(OperationAsked(0, op, arguments)))
        while waiting:
            output = waiting.popleft()
            assert not isinstance(output, Refused), output
            if isinstance(output, CallAsked):
                asked.append(output)
                key = script(output)
                counts[key] += 1
                counts[key.partition("/")[0]] += 1
                failing = fault is not None and counts[fault[0]] == fault[1] and (key == fault[0] or key.startswith(f"{fault[0]}/"))
                printed = {
                    "ds/cp": f"/src/{output.image} raw",
                    "ds/mkfs": f"/src/{output.image}",
                    "ds/stat": "10",
                    "ds/backup": "b1 100 raw",
                    "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
                }.get(key, "")
                waiting.extend(self.oned.feed(CallFinished(output.call, not failing, printed, "it failed")))
        return asked

    def vm_in(self, state: str, kinds: list[str]) -> None:
        """Make a VM with these disks in a state."""
        disks = [self.disk(n, kind) for n, kind in enumerate(kinds) if kind != "context"]
        context = {"FOO": "BAR"} if "context" in kinds else None
        self.play("vm.create", {"vm": "vm", "disks": disks, **({"context": context} if context else {})})
        for name, arguments, fault in ROADS[state]:
            self.play(f"vm.{name}", {"vm": "vm", **arguments}, fault)

    def disk(self, n: int, kind: str) -> dict[str, Any]:
        """Make the image of a disk if it needs one. Returns the disk for an operation."""
        if kind not in ("nonpersistent", "persistent", "cdrom"):
            return DISKS[kind]
        arguments: dict[str, Any] = {"image": f"image{n}", "persistent": kind == "persistent"}
        if kind == "persistent":
            self.play("image.make", {**arguments, "size_mb": 128, "format": "raw"})
        else:
            self.play("image.register", {**arguments, "path": "/x", "type": "CDROM" if kind == "cdrom" else "OS"})
        return {"image": f"image{n}"}


def script(asked: CallAsked) -> str:
    """Return the script that ran: only the recording image driver has scripts with the suffix .ssh; what else is asked with a suffix falls back."""
    return asked.action.key + (asked.suffix if (asked.mad, asked.suffix) == ("shared", ".ssh") else "")
