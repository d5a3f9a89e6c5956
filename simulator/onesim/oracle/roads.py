"""How a VM comes into a state, what drivers answer on the way, and how states and small documents are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from lxml import etree

from onesim.events import CallAsked
from onesim.oracle.installation import Installation
from onesim.oracle.play import Answer
from onesim.spec import ContractSpec

FIRST_HOST = "host01"
ELSEWHERE = {"host": "host02"}
#: How a VM that is PENDING comes into a state: operations, and which call of the last one fails (the n-th of a family or action).
ROADS: dict[str, tuple[tuple[tuple[str, dict[str, Any]], ...], tuple[str, int] | None]] = {
    "PENDING": ((), None),
    "HOLD": ((("hold", {}),), None),
    "RUNNING": ((("deploy", {}),), None),
    "STOPPED": ((("deploy", {}), ("stop", {})), None),
    "SUSPENDED": ((("deploy", {}), ("suspend", {})), None),
    "POWEROFF": ((("deploy", {}), ("poweroff_hard", {})), None),
    "UNDEPLOYED": ((("deploy", {}), ("undeploy_hard", {})), None),
    "DONE": ((("deploy", {}), ("poweroff_hard", {})), None),
    "PROLOG_FAILURE": ((("deploy", {}),), ("tm", 1)),
    "BOOT_FAILURE": ((("deploy", {}),), ("vmm/deploy", 1)),
    "BOOT_MIGRATE_FAILURE": ((("deploy", {}), ("migrate", ELSEWHERE)), ("vmm/restore", 1)),
    "BOOT_STOPPED_FAILURE": ((("deploy", {}), ("stop", {}), ("deploy", ELSEWHERE)), ("vmm/restore", 1)),
    "BOOT_UNDEPLOY_FAILURE": ((("deploy", {}), ("undeploy_hard", {}), ("deploy", ELSEWHERE)), ("vmm/deploy", 1)),
    "EPILOG_FAILURE": ((("deploy", {}), ("terminate_hard", {})), ("tm", 1)),
    "EPILOG_STOP_FAILURE": ((("deploy", {}), ("stop", {})), ("tm/mv", 1)),
    "EPILOG_UNDEPLOY_FAILURE": ((("deploy", {}), ("undeploy_hard", {})), ("tm/mv", 1)),
    "PROLOG_RESUME_FAILURE": ((("deploy", {}), ("stop", {}), ("deploy", ELSEWHERE)), ("tm/mv", 1)),
    "PROLOG_UNDEPLOY_FAILURE": ((("deploy", {}), ("undeploy_hard", {}), ("deploy", ELSEWHERE)), ("tm/mv", 1)),
    "PROLOG_MIGRATE_FAILURE": ((("deploy", {}), ("migrate", ELSEWHERE)), ("tm/mv", 1)),
    "PROLOG_MIGRATE_POWEROFF_FAILURE": ((("deploy", {}), ("poweroff_hard", {}), ("migrate", ELSEWHERE)), ("tm/mv", 1)),
    "PROLOG_MIGRATE_SUSPEND_FAILURE": ((("deploy", {}), ("suspend", {}), ("migrate", ELSEWHERE)), ("tm/mv", 1)),
}
#: The operation that a VM is in while a driver hangs, after it has been deployed.
UNDER_WAY: dict[str, tuple[str, dict[str, Any]] | None] = {"PROLOG": None, "EPILOG": ("terminate_hard", {}), "MIGRATE": ("migrate_live", ELSEWHERE)}


def plausible(installation: Installation, sources: dict[int, str], fault: tuple[str, int] | None = None) -> Callable[[CallAsked], Answer]:
    """Return what answers calls as a driver that succeeds does, but for the n-th call of a family or action."""
    counts: Counter[str] = Counter()

    def answer(call: CallAsked) -> Answer:
        key = call.action.key
        counts.update((key, call.action.family))
        if fault is not None and fault[0] in (key, call.action.family) and counts[fault[0]] == fault[1]:
            return False, ""
        source = sources.get(call.image, f"SOURCE-OF-{call.image}")
        printed = {
            "ds/stat": "10",
            "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
            "ds/cp": f"{source} raw",
            "ds/mkfs": source,
            "ds/backup": "SOURCE-OF-BACKUP 123 raw",
            "ds/increment_flatten": "321 0:bk",
            "vmm/deploy": installation.deploy_id.format(vm=call.vm),
        }
        return True, printed.get(key, "")

    return answer


def shown(spec: ContractSpec, state: str) -> str:
    """Return a VM state as the recorder writes it: state and LCM state."""
    row = spec.spec.number("vm", state)
    return f"ACTIVE/{state}" if row.state == 3 else f"{state}/LCM_INIT"


def texts(xml: str) -> dict[str, str]:
    """Return the texts of a small document's leaves by tag; of equal tags the first."""
    if not xml:
        return {}
    found: dict[str, str] = {}
    for node in etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True)).iter():
        if not len(node):
            found.setdefault(str(node.tag), node.text or "")
    return found
