"""What calls a trace leads to, as asked and as a recorder sees them."""

from __future__ import annotations

from lxml import etree

from onesim.events import CallAsked, CallFinished, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.recording.calls import SeenCall
from onesim.rehearsal import rehearse
from onesim.spec import for_contract
from onesim.trace import Trace

PRINTED = {
    "ds/cp": "/src/{image} raw",
    "ds/mkfs": "/src/{image}",
    "ds/clone": "/src/{image} raw",
    "ds/stat": "2",
    "ds/backup": "b{call} 100 raw",
    "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
    "vmm/deploy": "one-{vm}",
}


def played(trace: Trace, contract: str) -> tuple[list[CallAsked], list[SeenCall], bool]:
    """Return the calls of a trace as asked and as seen, and whether anything was refused. Each operation begins a minute after the one before."""
    oned = Oned(for_contract(contract), make_cloud(Subjected(b"", "fs", "shared", "shared", backup_mad="rsync"), True))
    asked: list[CallAsked] = []
    seen: list[SeenCall] = []
    refused, latest, at_s = False, -1, 0.0

    def answer(call: CallAsked) -> CallFinished:
        return CallFinished(call.call, True, printed(call))

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
        seen.append(SeenCall(at_s, at_s + 0.05, output.action.family, output.mad, action, argv, document, printed(output).encode()))
    return asked, seen, refused


def printed(call: CallAsked) -> str:
    """Return what a driver prints."""
    if call.action.key == "ds/increment_flatten":
        document = etree.fromstring(call.document)
        kept = document.findall("IMAGE/BACKUP_INCREMENTS/INCREMENT")[-int(document.findtext("EXTRA_DATA/KEEP_LAST") or 0) :]
        return "100 " + ",".join(f"{one.findtext('ID')}:{one.findtext('SOURCE')}" for one in kept)
    return PRINTED.get(call.action.key, "").format(image=call.image, vm=call.vm, call=call.call)


def keys(calls: list[CallAsked]) -> list[str]:
    return [call.action.key for call in calls if call.action.name != "monitor"]


def of_backups(calls: list[SeenCall]) -> list[tuple[object, ...]]:
    """Return what is asked about backups: arguments, the VM's configuration and chain, the increments that there are, and what is to be restored.

    Images have the numbers of the order in which they are named, as those before them may be others.
    """
    found: list[tuple[object, ...]] = []
    order: dict[str, str] = {"-1": "-1"}

    def image(text: str | None) -> str:
        return order.setdefault(text or "", f"image {len(order)}")

    for call in calls:
        if not call.action.startswith(("prebackup", "postbackup", "backup", "restore", "increment_flatten")):
            continue
        told: list[object] = []
        if call.family == "tm" and call.action == "restore":
            told += [image(call.argv[2]), *call.argv[3:]]
        elif call.document is None or call.document.find("IMAGE") is None:
            told += call.argv[:-2]
            for node in call.document.findall(".//BACKUPS//*") if call.document is not None else ():
                told.append((node.tag, image(node.text) if node.tag in ("INCREMENTAL_BACKUP_ID", "ID") else node.text))
        else:
            told.append(image(call.field("IMAGE/ID")))
            for path in ("IMAGE/BACKUP_INCREMENTS//*", "TEMPLATE/*", "EXTRA_DATA/*"):
                nodes = call.document.findall(path)
                told += [(node.tag, node.text) for node in nodes if node.tag not in ("DATE", "SOURCE", "NAME")]
        found.append((call.family, call.mad, call.action, told))
    return found
