"""Where a new VM can be placed: what oned's scheduler leaves when it asks for room (oned 7.4.0: src/schedm_mad/remotes/rank/src/sched/Scheduler.cc:875).

A shared system datastore must have been monitored; one on the nodes counts host by host, by the figures of the node's probe: those of the datastore if it is
marked, else those of the whole location. Processors, memory and ranks are not simulated: the first host that has room is taken.
"""

from __future__ import annotations

from onesim import monitoring
from onesim.cloud import Cloud
from onesim.model import Capacity, Datastore, Host, Vm


def needed_mb(vm: Vm) -> int:
    """Return the MiB that a VM takes of its system datastore: volatile disks, and images whose target it is."""
    return sum(disk.size_mb for disk in vm.disks if disk.image < 0 or disk.target_of_copy == "SYSTEM")


def has_room(cloud: Cloud, host: Host, datastore: Datastore, size_mb: int) -> bool:
    """Tell whether a VM that needs so much can be placed on a host and a system datastore."""
    if cloud.conf(datastore.tm_mad).shared:
        known = any((datastore.total_mb, datastore.free_mb, datastore.used_mb))
        return known and (size_mb < monitoring.available_mb(datastore) or size_mb == 0)
    room: Capacity = host.datastores.get(datastore.id, host.location)
    return size_mb < room.free_mb


def first_host(cloud: Cloud, vm: Vm, datastore: Datastore) -> Host | None:
    """Return the first host that is not broken and has room for a VM; None if there is none."""
    size_mb = needed_mb(vm)
    return next((host for host in cloud.hosts.values() if not host.error and has_room(cloud, host, datastore, size_mb)), None)
