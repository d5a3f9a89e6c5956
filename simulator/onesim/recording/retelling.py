"""Calls that were seen on a front-end, told as a trace: the operations that oned must have carried out.

What a call cannot tell is settled as `docs/record.md` says. Disks are made small: a trace is about what is done, not about how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from onesim.recording.backup_facts import survey
from onesim.recording.calls import SeenCall
from onesim.recording.earlier import context_disk
from onesim.recording.image_calls import image_call
from onesim.recording.operations import close
from onesim.recording.requested import request
from onesim.recording.states import vm_state
from onesim.recording.steps import Step
from onesim.recording.teller import Teller
from onesim.recording.transfer_calls import transfer_call

_TAKES = {"ds": image_call, "vm": vm_state, "rpc": request}


@dataclass
class Retold:
    """Steps in their order, and how many calls of each kind were left out."""

    steps: list[Step]
    left_out: Counter[str]


def retell(calls: Sequence[SeenCall], vms: Mapping[int, etree._Element] | None = None, images: Iterable[etree._Element] = ()) -> Retold:
    """Return the operations that calls, in the order of their beginnings, are of. `vms` and `images` are documents of a front-end."""
    vms = vms or {}
    teller = Teller(survey(calls, vms, images))
    for id, document in vms.items():
        if context_disk(document) >= 0:
            teller.vms.vm(id).created = {"context": {"NETWORK": "YES"}}
    for call in calls:
        _TAKES.get(call.family, transfer_call)(teller, call)
    for vm in teller.vms.of.values():
        if vm.open:
            close(teller, vm)
        for one in vm.asked:
            teller.steps.left_out[f"requests that no log of a VM tells more of: {one.action}"] += 1
    teller.backups.finish()
    return Retold(teller.steps.in_order(), teller.steps.left_out)
