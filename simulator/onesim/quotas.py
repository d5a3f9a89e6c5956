"""Quotas as far as drivers feel them: what goes beyond one is refused before any call, for an image with a PATH after its size has been asked.

What is used is counted from the objects whenever a quota is asked, so that nothing has to be given back: a VM that is DONE has no part in it.
Source: src/um/Quota.cc, src/um/QuotaVirtualMachine.cc, src/vm/VirtualMachineDisk.cc (resize_quotas, system_ds_size, image_ds_size), and the requests that
ask them (allocation and cloning of images, save-as, disk and system snapshots, resize, backup; creation, resume and deployment of VMs, attaching of disks) of
OpenNebula 7.4.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onesim.cloud import Cloud
from onesim.model import Datastore, Disk, Vm
from onesim.spec import ContractSpec

#: How oned's refusal begins.
BEYOND = "limit of "

#: The metrics of VMs in the order in which oned looks at them, by the arguments of `user.quota`.
VM_METRICS = {
    "vms": "VMS",
    "running_vms": "RUNNING_VMS",
    "cpu": "CPU",
    "running_cpu": "RUNNING_CPU",
    "memory_mb": "MEMORY",
    "running_memory_mb": "RUNNING_MEMORY",
    "system_disk_size_mb": "SYSTEM_DISK_SIZE",
}
#: Since when a snapshot of a whole VM counts, with the VM's memory.
_SYSTEM_SNAPSHOTS_COUNT_SINCE = "6.3.80"


def exceeded(cloud: Cloud, datastore: Datastore, size_mb: int, images: int = 1) -> str:
    """Return why so many MiB and images more are too much for a datastore's quota; empty if they are not, or if there is none."""
    if not datastore.quota:
        return ""
    kept = [cloud.images[id] for id in datastore.images]
    size = sum(image.size_mb + sum(one.size_mb for one in image.snapshots.known.values()) for image in kept)
    size += sum(_grown_beside(disk) for vm in _living(cloud) for disk in vm.disks if disk.datastore == datastore.id and disk.image >= 0)
    return _beyond(datastore.quota, {"IMAGES": len(kept), "SIZE": size}, {"IMAGES": images, "SIZE": size_mb}, f"DATASTORE with ID: {datastore.id}")


def grown(cloud: Cloud, spec: ContractSpec, disk: Disk, more_mb: int) -> str:
    """Return why a disk cannot take so many MiB more, in the datastore of its image or among the user's system disks; empty if it can."""
    why = ""
    if disk.datastore in cloud.datastores and disk.image >= 0 and (disk.kind == "persistent" or disk.target_of_copy in ("SELF", "NONE")):
        why = exceeded(cloud, cloud.datastores[disk.datastore], more_mb, images=0)
    return why or asked(cloud, spec, {"SYSTEM_DISK_SIZE": more_mb} if in_system(disk) else {})


def asked(cloud: Cloud, spec: ContractSpec, more: Mapping[str, float]) -> str:
    """Return why so much more is too much for the user's quota of VMs; empty if it is not, or if there is none."""
    if not cloud.quota or not more:
        return ""
    used = dict.fromkeys(VM_METRICS.values(), 0.0)
    for vm in _living(cloud):
        for metric, value in _counted(cloud, spec, vm).items():
            used[metric] += value
    return _beyond(cloud.quota, used, more, "VM")


def created(cloud: Cloud, spec: ContractSpec, vm: Vm) -> str:
    """Return why a VM that is about to be made is beyond a quota, the user's or that of a datastore in which its disks are made."""
    return asked(cloud, spec, {**_basic(vm), **_running(vm), "SYSTEM_DISK_SIZE": _system_mb(vm.disks)}) or made(cloud, vm.disks)


def made(cloud: Cloud, disks: Iterable[Disk]) -> str:
    """Return why disks cannot be made in the datastores of their images (CLONE_TARGET or LN_TARGET SELF); empty if they can."""
    sizes: dict[int, int] = {}
    for disk in disks:
        if disk.target_of_copy == "SELF":
            sizes[disk.datastore] = sizes.get(disk.datastore, 0) + disk.size_mb
    return next(filter(None, (exceeded(cloud, cloud.datastores[id], size, images=0) for id, size in sizes.items())), "")


def attached(cloud: Cloud, spec: ContractSpec, disk: Disk) -> str:
    """Return why a disk that is about to be attached is beyond a quota; empty if it is not."""
    return asked(cloud, spec, {"SYSTEM_DISK_SIZE": _system_mb([disk])} if in_system(disk) else {}) or made(cloud, [disk])


def snapshot(cloud: Cloud, spec: ContractSpec, vm: Vm) -> str:
    """Return why a snapshot of a whole VM is beyond the user's quota; empty if it is not."""
    counts = spec.holds(since=_SYSTEM_SNAPSHOTS_COUNT_SINCE)
    return asked(cloud, spec, {"SYSTEM_DISK_SIZE": vm.memory_mb} if counts else {})


def resumed(cloud: Cloud, spec: ContractSpec, vm: Vm) -> str:
    """Return why a VM cannot be among those that run or wait to; empty if it can."""
    return asked(cloud, spec, {**_running(vm), "SYSTEM_DISK_SIZE": 0})


def in_system(disk: Disk) -> bool:
    """Whether the disk counts among the system disks of a user: a volatile one, or one that is made in the system datastore."""
    return disk.image < 0 or disk.target_of_copy == "SYSTEM"


def _living(cloud: Cloud) -> Iterable[Vm]:
    return (vm for vm in cloud.vms.values() if vm.state != "DONE")


def _basic(vm: Vm) -> dict[str, float]:
    return {"VMS": 1, "CPU": vm.cpu, "MEMORY": vm.memory_mb}


def _running(vm: Vm) -> dict[str, float]:
    return {"RUNNING_VMS": 1, "RUNNING_CPU": vm.cpu, "RUNNING_MEMORY": vm.memory_mb}


def _counted(cloud: Cloud, spec: ContractSpec, vm: Vm) -> dict[str, float]:
    snapshots = vm.system_snapshots * vm.memory_mb if spec.holds(since=_SYSTEM_SNAPSHOTS_COUNT_SINCE) else 0
    of_running = _running(vm) if not spec.spec.number("vm", vm.state).idle else {}
    return {**_basic(vm), **of_running, "SYSTEM_DISK_SIZE": _system_mb(vm.disks) + snapshots}


def _snapshots_mb(disk: Disk) -> int:
    return sum(one.size_mb for one in disk.snapshots.known.values())


def _system_mb(disks: Iterable[Disk]) -> int:
    return sum(disk.size_mb + _snapshots_mb(disk) for disk in disks if in_system(disk))


def _grown_beside(disk: Disk) -> int:
    """Return what a disk takes in the datastore of its image, beside what the image itself counts there."""
    if disk.target_of_copy == "SELF":
        return disk.size_mb + _snapshots_mb(disk)
    if disk.target_of_copy == "NONE" and disk.kind == "nonpersistent":
        return disk.size_mb - disk.original_size_mb + _snapshots_mb(disk)
    return 0


def _beyond(limits: Mapping[str, float], used: Mapping[str, float], more: Mapping[str, float], what: str) -> str:
    for metric, limit in limits.items():
        # oned asks for nothing more, too, where a request names a metric: so a limit below what is used refuses
        if metric in more and round(used[metric] + more[metric], 6) > limit:
            return f"{BEYOND}{limit:g} reached for {metric} quota in {what}"
    return ""
