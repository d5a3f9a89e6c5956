"""The stays of a VM: history records that operations append and mark, and what follows for its disks."""

from __future__ import annotations

from dataclasses import replace

from onesim import monitoring, placement
from onesim.cloud import Cloud
from onesim.model import Datastore, History, Vm
from onesim.operations import Arguments, Refusal, known, place, set_mode, text
from onesim.rows import OperationRow, State


def keep_record(cloud: Cloud, vm: Vm, row: OperationRow, arguments: Arguments) -> None:
    """Append the history record that an operation wants, and mark the one that it ends (or, without a new one, the present one)."""
    ended = vm.history[-1] if vm.history else None
    if row.record == "new":
        new_record(cloud, vm, arguments, moves=row.anew)
        vm.away = ""
    elif row.record == "copy" and ended is not None:
        vm.history.append(replace(ended, seq=len(vm.history), stime_s=cloud.now_s, action=ended.action if row.action else 0))
    elif row.record == "back":
        step_back(vm, cloud.now_s)
    if row.action and ended is not None:
        # a stay that has its end already keeps it; where an operation marks both, the next one is marked too until the VM runs there
        if row.marks != "next" and (row.record != "new" or not ended.action):
            ended.action = row.action
        if row.marks != "ended":
            vm.history[-1].action = row.action
    if row.anew:
        vm.required_tm = vm.tm_mad_system


def new_record(cloud: Cloud, vm: Vm, arguments: Arguments, *, moves: bool = False) -> None:
    """Append a history record for the host and system datastore that the arguments name. A first one without a host is the scheduler's choice.

    `moves` = the VM is where its last record says, and goes from there.
    """
    datastore = cloud.datastores[known(cloud, "datastore", arguments)] if "datastore" in arguments else None
    if datastore is None:
        datastore = cloud.datastores[vm.history[-1].datastore] if vm.history else cloud.system_datastore()
    if "host" not in arguments and not vm.history:
        host = placement.first_host(cloud, vm, datastore)
        if host is None:
            raise Refusal(f"{monitoring.NO_HOST} for {placement.needed_mb(vm)} MiB, or none was monitored: the VM stays PENDING")
    else:
        host = cloud.host_named(text(arguments, "host"))
    if host is None:
        raise Refusal(f"no host is called {arguments['host']!r}; this world has {', '.join(one.name for one in cloud.hosts.values())}")
    if datastore.type != "SYSTEM_DS":
        raise Refusal(f"datastore {datastore.name!r} is no system datastore")
    if moves:
        _check_move(cloud, vm.history[-1], host.id, datastore)
    first = not vm.history
    if first:
        _check_modes(cloud, vm, datastore)
    vm.tm_mad_system = vm.tm_mad_system or datastore.tm_mad
    vm.history.append(History(len(vm.history), host.id, host.name, datastore.id, datastore.tm_mad, cloud.vm_mad, cloud.now_s))
    for disk in vm.disks:
        if disk.image < 0:
            place(cloud, disk, datastore)
        elif first and disk.kind != "virtiofs" and disk.tm_mad.lower() != datastore.tm_mad.lower():
            # VirtualMachineDisk.cc:check_tm_mad: the mode is set at the first deployment
            disk.tm_mad_system = datastore.tm_mad
            set_mode(cloud, disk)


def _check_move(cloud: Cloud, now: History, host: int, datastore: Datastore) -> None:
    """Raise Refusal if a VM cannot go from a stay to a host and system datastore (VirtualMachineMigrate::request_execute)."""
    if (now.host, now.datastore) == (host, datastore.id):
        raise Refusal(f"VM is already running on host [{host}] and datastore [{datastore.id}]")
    if now.datastore != datastore.id and not cloud.conf(datastore.tm_mad).ds_migrate:
        raise Refusal("System datastore migration not supported by driver: it has DS_MIGRATE=NO")
    if now.tm_mad != datastore.tm_mad:
        raise Refusal("Cannot migrate to a system datastore with a different driver")


def _check_modes(cloud: Cloud, vm: Vm, datastore: Datastore) -> None:
    """Raise Refusal if the driver of a disk's image does not declare the transfer mode of a system datastore."""
    for disk in vm.disks:
        # what is shared with the guest is not transferred, whatever the drivers
        if (
            disk.image >= 0
            and disk.kind != "virtiofs"
            and disk.tm_mad.lower() != datastore.tm_mad.lower()
            and cloud.conf(disk.tm_mad).mode(datastore.tm_mad) is None
        ):
            raise Refusal(f"Image Datastore does not support transfer mode: {datastore.tm_mad}")


def settle(vm: Vm, state: State) -> None:
    """Note what a state of rest says: where the disks wait, that none is on its way, and that a stay which goes on has no end."""
    for disk in vm.disks:
        disk.attach = False
    if state.away:
        vm.away = state.name
    if state.name == "RUNNING" and vm.history:
        vm.history[-1].action = 0


def step_back(vm: Vm, now_s: int) -> None:
    """Append a history record like the last but one: the VM is where it was before the last move."""
    vm.history.append(replace(vm.history[-2], seq=len(vm.history), stime_s=now_s, action=0))
