"""Backups of a VM: what is asked for, the image or the increment that comes of it, and what KEEP_LAST drops.

Source: src/lcm/LifeCycleStates.cc (trigger_backup_success), src/vm/Backups.cc, src/image/BackupIncrements.cc of OpenNebula 7.4.0; recordings.
"""

from __future__ import annotations

from onesim import operations, quotas
from onesim.cloud import Cloud
from onesim.model import Image, Increment, Vm
from onesim.operations import Arguments, Refusal, flag, known, new_label, text
from onesim.spec import ContractSpec


def prepare(cloud: Cloud, spec: ContractSpec, vm: Vm, arguments: Arguments) -> tuple[int, dict[str, str]]:
    """Return the backup datastore and the parameters of a backup. Raises Refusal for a datastore of another type."""
    id = known(cloud, "datastore", arguments)
    if cloud.datastores[id].type != "BACKUP_DS":
        raise Refusal(f"datastore {arguments['datastore']!r} is no backup datastore")
    volatile = vm.backup.volatile or flag(arguments, "volatile")
    # VirtualMachineDisks::backup_disk_ids: swap and context never, volatile ones where the user asks, CDROMs up to 6.10.0
    kinds = {"nonpersistent", "persistent", *(["volatile"] if volatile else []), *([] if spec.holds(since="6.10.1") else ["cdrom"])}
    disks = ":".join(str(disk.id) for disk in vm.disks if disk.kind in kinds)
    job = arguments.get("job")
    label = new_label(cloud, "image", arguments) if "image" in arguments and cloud.find("image", text(arguments, "image")) is None else ""
    chosen = [disk for disk in vm.disks if disk.kind in kinds]
    beyond = quotas.exceeded(cloud, cloud.datastores[id], sum(disk.size_mb for disk in chosen), images=0 if vm.backup.chain >= 0 else 1)
    if beyond:
        raise Refusal(beyond)
    if flag(arguments, "reset"):
        vm.backup.chain, vm.backup.last_increment = -1, -1
    if vm.backup.chain < 0 and not label:
        label = new_label(cloud, "image", arguments)
    vm.backup.mode = vm.backup.mode or "FULL"
    vm.backup.datastore = id
    if isinstance(job, int):
        vm.backup.job = job
    return id, {"backup_disks": disks, "backup_job": "-" if job is None else str(job), "label": label}


def keep(cloud: Cloud, vm: Vm, datastore: int, parameters: dict[str, str]) -> list[Image]:
    """Register what a backup has made: a new image, or one more increment of the chain. Returns the new images."""
    made = []
    ended(vm)
    if vm.backup.chain < 0:
        image = _image(cloud, vm, datastore, parameters)
        vm.backups.append(image.id)
        made.append(image)
    if vm.backup.mode == "INCREMENT":
        chain = made[0] if made else cloud.images[vm.backup.chain]
        id = chain.increments[-1].id + 1 if chain.increments else 0
        chain.increments.append(Increment(id, "INCREMENT" if id else "FULL", parameters["backup_id"], _size(parameters), cloud.now_s))
        chain.size_mb = sum(one.size_mb for one in chain.increments)
        vm.backup.chain, vm.backup.last_increment = chain.id, id
    return made


def ended(vm: Vm) -> None:
    """Forget where the backup goes that has ended."""
    vm.backup.datastore = -1


def surplus(cloud: Cloud, vm: Vm) -> tuple[Image, str] | None:
    """Return the image that has to shrink or go after a backup, and the phase that does it; None if KEEP_LAST is kept."""
    if not vm.backup.keep_last:
        return None
    if vm.backup.mode == "INCREMENT":
        chain = cloud.images[vm.backup.chain]
        if len(chain.increments) <= vm.backup.keep_last:
            return None
        vm.backup.flatten = "YES"
        return chain, "FLATTEN"
    return (cloud.images[vm.backups.pop(0)], "REMOVE") if len(vm.backups) > vm.backup.keep_last else None


def flattened(image: Image, chain: str, size_mb: str) -> bool:
    """Take over the chain that the driver answers (`2:source,3:source`): what is older than the first named goes, the first is whole and has the size.

    Returns whether it could be read; a chain that names an unknown increment cannot. An empty one changes nothing.
    """
    pairs = [pair.split(":") for pair in chain.split(",") if pair]
    known = {one.id: one for one in image.increments}
    if not all(len(pair) == 2 and pair[0].isdigit() and int(pair[0]) in known for pair in pairs):
        return False
    for id, source in pairs:
        known[int(id)].source = source
    if pairs:
        first = int(pairs[0][0])
        known[first].type, known[first].size_mb = "FULL", int(size_mb) if size_mb.isdigit() else 0
        image.increments = [one for one in image.increments if one.id >= first]
    image.size_mb = sum(one.size_mb for one in image.increments)
    return True


def merged(cloud: Cloud, image: Image) -> None:
    """Note for the VMs of a backup image that its increments are no longer being merged, well or not."""
    for id in image.vms:
        cloud.vms[id].backup.flatten = "NO"


def forget(cloud: Cloud, image: Image) -> None:
    """Strike a backup image that is gone from the backups of its VMs."""
    for id in image.vms:
        vm = cloud.vms[id]
        if image.id in vm.backups:
            vm.backups.remove(image.id)
        if vm.backup.chain == image.id:
            vm.backup.chain, vm.backup.last_increment = -1, -1


def _image(cloud: Cloud, vm: Vm, datastore: int, parameters: dict[str, str]) -> Image:
    image = Image(
        -1,
        parameters["label"],
        "BACKUP",
        datastore,
        source=parameters["backup_id"],
        format=parameters.get("format", "raw"),
        size_mb=_size(parameters),
        state="READY",
        prev_state="READY",
        persistent=True,
        regtime_s=cloud.now_s,
        vms={vm.id},
    )
    image.backup_disks = [int(id) for id in parameters["backup_disks"].split(":") if id]
    operations.add_image(cloud, image)
    return image


def _size(parameters: dict[str, str]) -> int:
    return int(parameters["size_mb"]) if parameters["size_mb"].isdigit() else 0
