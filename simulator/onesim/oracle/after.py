"""What oned shows of its objects after an operation, compared: history records, disks, snapshots, backups, images."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from onesim.cloud import Cloud
from onesim.model import Image, Vm
from onesim.oracle.recordings import Recording
from onesim.snapshots import Snapshots

#: What is told of a difference: the place, recorded, simulated.
Differ = Callable[[str, str, str], None]


def compare_after(recording: Recording, vm: int, cloud: Cloud, differ: Differ) -> None:
    """Compare what the recording shows of the VM and of the images with the cloud."""
    found = cloud.vms.get(vm)
    if found is not None:
        _history(recording, found, differ)
        _disks(recording, found, differ)
        _snapshots(recording, found, differ)
        _backups(recording, found, differ)
    for id, row in (recording.final_images or {}).items():
        if int(id) in cloud.images:
            _image(row, cloud.images[int(id)], differ)


def _history(recording: Recording, vm: Vm, differ: Differ) -> None:
    seen = [" ".join((row["SEQ"], row["HOSTNAME"], row["TM_MAD"], row["DS_ID"], row["ACTION"])) for row in recording.post.history]
    mine = [f"{one.seq} {one.hostname} {one.tm_mad} {one.datastore} {one.action}" for one in vm.history][-len(seen) or len(vm.history) :]
    if seen and mine != seen:
        differ("last history records (number, host, driver, datastore, action)", ", ".join(seen), ", ".join(mine))


def _disks(recording: Recording, vm: Vm, differ: Differ) -> None:
    if not recording.post.disks:
        return
    rows = {row["DISK_ID"]: (row.get("SIZE", ""), row.get("TM_MAD_SYSTEM", "")) for row in recording.post.disks}
    mine = {str(disk.id): (str(disk.size_mb), disk.tm_mad_system) for disk in vm.disks}
    for id in sorted({*rows, *mine}):
        if rows.get(id) != mine.get(id):
            differ(f"disk {id} afterwards (size, mode)", " ".join(rows.get(id, ())), " ".join(mine.get(id, ())))


def _snapshots(recording: Recording, vm: Vm, differ: Differ) -> None:
    trees = {str(disk.id): disk.snapshots for disk in vm.disks}
    for text in recording.post.snapshots:
        root = etree.fromstring(text.encode())
        tree = trees.get(root.findtext("DISK_ID") or "")
        seen = _tree_seen(root)
        mine = _tree(tree) if tree is not None else ""
        if seen != mine:
            differ(f"snapshots of disk {root.findtext('DISK_ID')}", seen, mine)


def _tree_seen(root: etree._Element) -> str:
    rows = [
        f"{one.findtext('ID')}<{one.findtext('PARENT')}[{one.findtext('CHILDREN') or ''}]{'*' if one.findtext('ACTIVE') == 'YES' else ''}"
        for one in root.iter("SNAPSHOT")
    ]
    return f"{root.findtext('ALLOW_ORPHANS')} base {root.findtext('CURRENT_BASE')} next {root.findtext('NEXT_SNAPSHOT')}: {' '.join(rows)}"


def _tree(tree: Snapshots) -> str:
    rows = [f"{one.id}<{one.parent}[{','.join(map(str, one.children))}]{'*' if one.id == tree.active else ''}" for one in tree.known.values()]
    return f"{tree.orphans} base {tree.base} next {tree.next}: {' '.join(rows)}"


def _backups(recording: Recording, vm: Vm, differ: Differ) -> None:
    if not recording.post.backups:
        return
    root = etree.fromstring(recording.post.backups.encode())
    config = root.find("BACKUP_CONFIG")
    if config is None or config.find("KEEP_LAST") is None:
        return
    names = ("KEEP_LAST", "MODE", "INCREMENTAL_BACKUP_ID", "LAST_INCREMENT_ID")
    seen = [*(config.findtext(name) or "" for name in names), *(one.text or "" for one in root.findall("BACKUP_IDS/ID"))]
    backup = vm.backup
    mine = [str(backup.keep_last), backup.mode, str(backup.chain), str(backup.last_increment), *map(str, vm.backups)]
    if seen != mine:
        differ("backups afterwards (keep, mode, chain, increment, images)", " ".join(seen), " ".join(mine))


def _image(row: dict[str, str], image: Image, differ: Differ) -> None:
    seen = {
        name: row[name]
        for name in ("SOURCE", "PATH", "FORMAT", "FS", "SIZE", "DATASTORE_ID", "RUNNING_VMS", "CLONING_OPS", "CLONING_ID")
        if name in row
    }
    values = {
        "SOURCE": image.source,
        "PATH": image.path,
        "FORMAT": image.shown_format,
        "FS": image.fs,
        "SIZE": str(image.size_mb),
        "DATASTORE_ID": str(image.datastore),
        "RUNNING_VMS": str(len(image.vms)),
        "CLONING_OPS": str(image.cloning_ops),
        "CLONING_ID": str(image.cloning_id),
    }
    for name, value in seen.items():
        if values[name] != value and not values[name].startswith("SOURCE-OF"):
            differ(f"image {image.id}: {name}", value, values[name])
