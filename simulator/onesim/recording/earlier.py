"""What a VM document tells of a VM that ran before anything was recorded of it: its disks, and whether it has a context."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from onesim.recording.calls import Place
from onesim.recording.steps import SIZE_MB, Step
from onesim.recording.vms import Vm, Vms


@dataclass(frozen=True)
class EarlierDisk:
    """A disk: `volatile` is fs or swap, empty for one of an image; `number` and `source` are those of the image."""

    id: int
    volatile: str
    number: int
    source: str
    format: str
    persistent: bool
    cdrom: bool


def earlier_disks(vm: etree._Element | None) -> Iterator[EarlierDisk]:
    """Yield the disks of a VM document, by their ids; none for another one."""
    rows = vm.findall("TEMPLATE/DISK") if vm is not None and vm.tag == "VM" else []
    for row in sorted(rows, key=lambda one: int(one.findtext("DISK_ID") or 0)):
        kind, image = (row.findtext("TYPE") or "").lower(), row.findtext("IMAGE_ID") or ""
        yield EarlierDisk(
            int(row.findtext("DISK_ID") or 0),
            kind if kind in ("fs", "swap") and not image else "",
            int(image) if image.isdigit() else -1,
            row.findtext("SOURCE") or "",
            "qcow2" if row.findtext("FORMAT") == "qcow2" else "raw",
            row.findtext("CLONE") == "NO" and kind != "cdrom",
            kind == "cdrom",
        )


def context_disk(vm: etree._Element | None) -> int:
    """Return the id of the disk with the context, beyond all others if the document does not say; -1 if the VM has no context."""
    if vm is None or vm.find("TEMPLATE/CONTEXT") is None:
        return -1
    return int(vm.findtext("TEMPLATE/CONTEXT/DISK_ID") or sys.maxsize)


def known(vms: Vms, where: Place, document: etree._Element | None = None) -> Vm:
    """Return a VM; one that ran before is deployed first, with the disks that are named, or that its document tells."""
    vm = vms.vm(where.vm)
    if not vm.state:
        _deploy(vms, vm, where, document)
    if where.disk >= 0 and where.disk not in vm.disks:
        for id in range(where.disk + 1):
            if id not in vm.disks:
                vm.disks[id] = vm.created["disks"][id] = {"image": vms.images.earlier()}
    return vm


def _deploy(vms: Vms, vm: Vm, where: Place, document: etree._Element | None) -> None:
    """Deploy a VM with the disks that its document tells: those beyond the context came later, those that are missing have left."""
    disks = {one.id: _told(vms, vm, one) for one in earlier_disks(document)}
    context = context_disk(document)
    gone = [id for id in range(max(disks, default=0)) if id not in disks and id != context]
    disks |= {id: {"image": vms.images.earlier()} for id in gone}
    vm.disks |= {id: disk for id, disk in disks.items() if context < 0 or id < context}
    vm.created |= {"context": {"NETWORK": "YES"}} if context >= 0 else {}
    # as early as there are its images, of which some may have been made before the eyes of one who saw no more of the VM
    images = {disk.get("image") for disk in disks.values()} - {None}
    at_s = max((at for at, _, step in vms.steps.rows if step.get("image") in images), default=0.0)
    vms.deployed(vm, max(at_s, 0.0), where)
    for id in sorted(disks.keys() - vm.disks.keys()):
        vm.disks[id] = disks[id]
        vms.steps.say(vm.since_s, "vm.attach_disk", vm=vm.label, disk=disks[id])
    for id in gone:
        vms.steps.say(vm.since_s, "vm.detach_disk", vm=vm.label, disk=id)


def _told(vms: Vms, vm: Vm, disk: EarlierDisk) -> Step:
    vm.sizes[disk.id] = SIZE_MB
    if disk.volatile:
        return {"volatile": disk.volatile, "size_mb": SIZE_MB} | ({"format": disk.format} if disk.volatile == "fs" else {})
    vm.linked |= {disk.id} if disk.persistent or disk.cdrom else set()
    label = (
        vms.images.labels.get(disk.number)
        or vms.images.sources.get(disk.source)
        or vms.images.earlier("CDROM" if disk.cdrom else "OS", disk.format, disk.persistent)
    )
    vms.images.labels |= {disk.number: label} if disk.number >= 0 else {}
    vms.images.sources |= {disk.source: label} if disk.source else {}
    return {"image": label}
