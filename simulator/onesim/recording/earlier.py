"""What a VM document tells of a VM that ran before anything was recorded of it: its disks, and whether it has a context."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree


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
