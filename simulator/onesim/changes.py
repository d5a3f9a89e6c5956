"""What an operation prepares before its first call, and what becomes of it: the words of the columns makes, keeps and drops of `spec/lifecycle`.

A preparation that oned refuses raises Refusal and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onesim import backups, operations, quotas, snapshots
from onesim.cloud import Cloud
from onesim.model import Disk, Image, Vm
from onesim.operations import Arguments, Refusal, known, new_label, number, text, within
from onesim.spec import ContractSpec


@dataclass
class Prepared:
    """What an operation has prepared: a disk, an image, parameters that calls are bound to; `backup` is the id of the backup datastore."""

    disk: Disk | None = None
    image: Image | None = None
    backup: int = -1
    parameters: dict[str, str] = field(default_factory=dict)

    def the_disk(self) -> Disk:
        """Return the disk that the operation is about."""
        assert self.disk is not None, "the row that keeps or drops a disk follows one that makes it"
        return self.disk

    def the_image(self) -> Image:
        """Return the image that the operation is about."""
        assert self.image is not None, "the row that keeps or drops an image follows one that makes it"
        return self.image


def _attached(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    row = arguments.get("disk")
    with operations.unchanged_if_refused(cloud, vm, [row]):
        disk = operations.make_disk(cloud, spec, vm, row)
        within(quotas.attached(cloud, spec, disk))
    disk.id = max([one.id for one in vm.disks] + [vm.context_disk], default=-1) + 1
    disk.target = operations.free_target(vm, disk.target)
    # after the first deployment a disk gets the mode of the VM, even where both drivers are the same
    disk.tm_mad_system = vm.tm_mad_system
    operations.set_mode(cloud, disk)
    disk.attach = True
    vm.disks.append(disk)
    return Prepared(disk)


def _detached(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _subject(cloud, spec, vm, arguments)
    prepared.the_disk().attach = True
    return prepared


def _subject(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    id = number(arguments, "disk")
    found = next((disk for disk in vm.disks if disk.id == id), None)
    if found is None:
        raise Refusal(f"the VM has no disk {id}; its disks are {', '.join(str(disk.id) for disk in vm.disks) or 'none'}")
    return Prepared(found)


def _of_an_image(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _subject(cloud, spec, vm, arguments)
    if prepared.the_disk().image < 0:
        raise Refusal(f"disk {prepared.the_disk().id} is volatile; this is for disks of an image")
    return prepared


def _saved(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _of_an_image(cloud, spec, vm, arguments)
    disk = prepared.the_disk()
    wanted = arguments.get("snapshot", -1)
    if wanted != -1 and wanted not in disk.snapshots.known:
        raise Refusal(f"disk {disk.id} has no snapshot {wanted}")
    original = cloud.images[disk.image]
    within(quotas.exceeded(cloud, cloud.datastores[disk.datastore], disk.size_mb))
    label = new_label(cloud, "image", arguments)
    image = Image(-1, label, original.type, disk.datastore, format="save_as", size_mb=disk.size_mb, state="LOCKED", regtime_s=cloud.now_s)
    image.template = dict(original.template)
    operations.add_image(cloud, image)
    prepared.image = image
    prepared.parameters["snapshot_id"] = str(wanted)
    return prepared


def _size(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _subject(cloud, spec, vm, arguments)
    size = number(arguments, "size_mb")
    if size < prepared.the_disk().size_mb:
        raise Refusal(f"disk {prepared.the_disk().id} has {prepared.the_disk().size_mb} MiB; a disk only grows")
    within(quotas.grown(cloud, spec, prepared.the_disk(), size - prepared.the_disk().size_mb))
    prepared.parameters["new_size_mb"] = str(size)
    return prepared


def _snapshot(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _of_an_image(cloud, spec, vm, arguments)
    disk = prepared.the_disk()
    within(quotas.grown(cloud, spec, disk, disk.size_mb))
    disk.snapshots.orphans = snapshots.orphans_of(disk.allow_orphans, disk.format)
    made = snapshots.create(disk.snapshots, disk.size_mb, cloud.now_s, text(arguments, "name", ""))
    prepared.parameters["snapshot_id"] = str(made.id)
    return prepared


def _named(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _of_an_image(cloud, spec, vm, arguments)
    id = number(arguments, "snapshot")
    if id not in prepared.the_disk().snapshots.known:
        raise Refusal(f"disk {prepared.the_disk().id} has no snapshot {id}")
    prepared.parameters["snapshot_id"] = str(id)
    return prepared


def _dropped(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _named(cloud, spec, vm, arguments)
    disk, id = prepared.the_disk(), int(prepared.parameters["snapshot_id"])
    if why := snapshots.refusal(disk.snapshots, id, disk.kind == "persistent"):
        raise Refusal(why)
    return prepared


def _leaf_dropped(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    prepared = _named(cloud, spec, vm, arguments)
    if why := snapshots.leaf_refusal(prepared.the_disk().snapshots, int(prepared.parameters["snapshot_id"])):
        raise Refusal(why)
    return prepared


def _backup(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    datastore, parameters = backups.prepare(cloud, spec, vm, arguments)
    return Prepared(backup=datastore, parameters=parameters)


def _restored(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    id = known(cloud, "image", arguments)
    if cloud.images[id].type != "BACKUP":
        raise Refusal(f"image {arguments['image']!r} is no backup")
    increment, disk = (str(arguments.get(name, -1)) for name in ("increment", "disk"))
    return Prepared(parameters={"restored_image": str(id), "restored_increment": increment, "restored_disk": disk})


def _whole(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    within(quotas.snapshot(cloud, spec, vm))
    return Prepared()


def _renewed(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    _fresh(cloud, vm, Prepared())
    return Prepared()


def _same_datastore(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    if "datastore" in arguments and known(cloud, "datastore", arguments) != vm.history[-1].datastore:
        raise Refusal("a migration to a different system datastore cannot be performed live")
    return Prepared()


def _context(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> Prepared:
    context = operations.context_of(arguments)
    if vm.context is None or context is None:
        return Prepared()
    added = sorted(context.keys() - vm.context.keys())
    vm.context = context
    return Prepared(parameters={"added": " ".join(added)})


#: Preparations for a VM by the word of the column makes.
MAKES: dict[str, Callable[[Cloud, ContractSpec, Vm, Arguments], Prepared]] = {
    "disk": _attached,
    "detached": _detached,
    "saved": _saved,
    "size": _size,
    "snapshot": _snapshot,
    "snapshot_named": _named,
    "snapshot_dropped": _dropped,
    "leaf_dropped": _leaf_dropped,
    "backup": _backup,
    "restored": _restored,
    "fresh": _renewed,
    "whole": _whole,
    "same_datastore": _same_datastore,
    "context": _context,
}


def _no_disk(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    disk = prepared.the_disk()
    vm.disks.remove(disk)
    return operations.release_disk(cloud, vm, disk, "normal")


def _kept_size(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    disk = prepared.the_disk()
    disk.size_mb = int(prepared.parameters["new_size_mb"])
    if disk.kind == "persistent" and disk.ln_target == "NONE" and disk.image in cloud.images:
        cloud.images[disk.image].size_mb = disk.size_mb
    return []


def _kept_snapshot(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    disk = prepared.the_disk()
    snapshots.activate(disk.snapshots, int(prepared.parameters["snapshot_id"]))
    return _shared(cloud, disk)


def _shared(cloud: Cloud, disk: Disk) -> list[Image]:
    # LifeCycleStates.cc:trigger_disk_snapshot_success: a persistent image that is used in place has the same snapshots
    if disk.kind == "persistent" and disk.ln_target == "NONE" and disk.image in cloud.images:
        cloud.images[disk.image].snapshots = snapshots.copied(disk.snapshots)
    return []


def _reverted(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    disk, id = prepared.the_disk(), int(prepared.parameters["snapshot_id"])
    snapshots.revert(disk.snapshots, id)
    disk.size_mb = disk.snapshots.known[id].size_mb
    return _shared(cloud, disk)


def _no_snapshot(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    disk = prepared.the_disk()
    snapshots.delete(disk.snapshots, int(prepared.parameters["snapshot_id"]))
    return _shared(cloud, disk)


def _kept_image(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    image = prepared.the_image()
    image.format, image.prev_state, image.state = prepared.the_disk().format, image.state, "READY"
    return [image]


def _failed_image(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    image = prepared.the_image()
    image.prev_state, image.state = image.state, "ERROR"
    return [image]


def _kept_backup(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    return backups.keep(cloud, vm, prepared.backup, prepared.parameters)


def _no_backup(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    backups.ended(vm)
    return []


def _restored_disks(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    for disk in vm.disks:
        disk.snapshots = snapshots.Snapshots(disk.snapshots.orphans)
    vm.backup.chain, vm.backup.last_increment = -1, -1
    return []


def _fresh(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    vm.deploy_id = vm.away = ""
    return []


def _system_snapshot(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    vm.system_snapshots += 1
    return []


def _context_kept(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    vm.context_unsure = frozenset()
    return []


def _context_unsure(cloud: Cloud, vm: Vm, prepared: Prepared) -> list[Image]:
    vm.context_unsure |= frozenset(prepared.parameters.get("added", "").split())
    return []


#: What becomes of it, by the word of the columns keeps and drops. Each returns the images whose state changed.
SETTLES: dict[str, Callable[[Cloud, Vm, Prepared], list[Image]]] = {
    "disk": _no_disk,
    "no_disk": _no_disk,
    "size": _kept_size,
    "snapshot": _kept_snapshot,
    "reverted": _reverted,
    "no_snapshot": _no_snapshot,
    "saved": _kept_image,
    "not_saved": _failed_image,
    "backup": _kept_backup,
    "no_backup": _no_backup,
    "restored": _restored_disks,
    "fresh": _fresh,
    "system_snapshot": _system_snapshot,
    "context": _context_kept,
    "context_unsure": _context_unsure,
}
