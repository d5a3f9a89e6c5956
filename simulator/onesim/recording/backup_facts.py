"""What documents and arguments tell of backups: how a VM is configured for them, which there are, and which image is which.

Source: BACKUPS of VM documents and BACKUP_INCREMENTS of image documents, as oned 6.6 to 7.4 writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from onesim.recording.calls import SeenCall

_BACKUP = "6"  # IMAGE/TYPE


@dataclass(frozen=True)
class Config:
    """BACKUP_CONFIG as the user sets it; `keep_last` is 0 where all are kept."""

    mode: str = "FULL"
    keep_last: int = 0
    volatile: bool = False
    freeze: str = "NONE"

    def told(self) -> dict[str, Any]:
        """Return the argument of vm.create, empty where there is nothing to be said."""
        if self == Config():
            return {}
        more = {"volatile": True} if self.volatile else {}
        return {"mode": self.mode, "keep_last": self.keep_last, **more, **({"freeze": self.freeze} if self.freeze != "NONE" else {})}


@dataclass(frozen=True)
class Standing:
    """The backups that a VM has: `ids` of images, the oldest first; `chain` is the image that increments are added to (-1: none), `last` its newest increment."""

    config: Config
    chain: int
    last: int
    ids: tuple[int, ...]


@dataclass
class Survey:
    """What the documents of all calls, and those of a front-end, tell at whatever time: numbers of backup images by what the backup driver answered;
    by their numbers the newest increments of images, and their VMs; standings of VMs at the end; and the VMs of which an increment was restored."""

    numbers: dict[str, int] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    standings: dict[int, Standing] = field(default_factory=dict)
    incremental: set[int] = field(default_factory=set)


def number(text: str | None, default: int = -1) -> int:
    """Return a whole number, or the default for another text."""
    word = (text or "").strip()
    return int(word) if word.lstrip("-").isdigit() else default


def vm_document(root: etree._Element | None) -> etree._Element | None:
    """Return the VM document that came with a call of a backup, or stands in its action document; None if there is none."""
    return None if root is None else root if root.tag == "VM" else root.find("VM")


def standing(root: etree._Element | None) -> Standing | None:
    """Return what a VM document, or a backup's action document, tells; None where nobody has configured backups yet."""
    vm = vm_document(root)
    config = vm.find("BACKUPS/BACKUP_CONFIG") if vm is not None else None
    if vm is None or config is None or config.findtext("MODE") not in ("FULL", "INCREMENT"):
        return None
    wanted = Config(
        config.findtext("MODE") or "FULL",
        max(number(config.findtext("KEEP_LAST"), 0), 0),
        config.findtext("BACKUP_VOLATILE") == "YES",
        config.findtext("FS_FREEZE") or "NONE",
    )
    chain, last = number(config.findtext("INCREMENTAL_BACKUP_ID")), number(config.findtext("LAST_INCREMENT_ID"))
    return Standing(wanted, chain, last, tuple(sorted(number(one.text) for one in vm.findall("BACKUPS/BACKUP_IDS/ID"))))


def is_backup(image: etree._Element | None) -> bool:
    """Whether an image document is that of a backup."""
    return image is not None and image.findtext("TYPE") == _BACKUP


def vm_of(image: etree._Element) -> int:
    """Return the VM that a backup image is of, -1 if it is not told."""
    return number(image.findtext("VMS/ID"))


def survey(calls: Iterable[SeenCall], vms: Mapping[int, etree._Element], images: Iterable[etree._Element]) -> Survey:
    """Read the documents of calls, and the VM and image documents of a front-end."""
    found = Survey()
    for id, vm in vms.items():
        last = standing(vm)
        if last is not None:
            found.standings[id] = last
            found.owners |= dict.fromkeys(last.ids, id)
            found.newest |= {last.chain: last.last} if last.chain >= 0 else {}
    for image in images:
        _image(image, found)
    for call in calls:
        if call.family == "ds" and call.plain not in ("backup", "monitor", "stat") and call.document is not None:
            image_of_call = call.document.find("IMAGE")
            if image_of_call is not None:
                _image(image_of_call, found)
        elif call.family == "tm" and call.plain == "restore" and len(call.argv) > 4 and call.argv[3].isdigit():
            found.incremental.add(number(call.argv[1]))
    return found


def _image(image: etree._Element, found: Survey) -> None:
    if not is_backup(image):
        return
    id = number(image.findtext("ID"))
    increments = image.findall("BACKUP_INCREMENTS/INCREMENT")
    for source in (image.findtext("SOURCE"), *(one.findtext("SOURCE") for one in increments)):
        if source:
            found.numbers[source] = id
    found.owners |= {id: vm_of(image)} if vm_of(image) >= 0 else {}
    found.newest[id] = max(found.newest.get(id, 0), *(number(one.findtext("ID"), 0) for one in increments), 0)
