"""What monitoring does to oned's state: the daemon's reading of messages, when drivers are asked for the sizes of disks, and how much room there is.

Messages are read as the daemon reads them, which is more lenient than a driver should rely on: an entry that makes no sense is passed over, a syntax error
drops the whole message.
"""

from __future__ import annotations

import base64
import binascii
import re

from onesim import datagrams, grammars
from onesim.cloud import Cloud
from onesim.events import Monitored
from onesim.grammar_values import Template, Vector
from onesim.model import Capacity, Datastore, Vm
from onesim.spec import ContractSpec

#: The reasons of refusals that follow from what drivers told of room.
FULL, NO_HOST = "Not enough space in datastore", "no host and system datastore has room"
#: States in which the disks of a VM have been brought to the front-end, or are not there yet.
AT_FRONTEND = frozenset({"PENDING", "HOLD", "STOPPED", "UNDEPLOYED"})
_NUMBER = re.compile(r"[ \t\n]*([+-]?[0-9]{1,18})")


def receive(cloud: Cloud, spec: ContractSpec, data: bytes) -> Monitored:
    """Take a datagram: keep what it says of disks and nodes. Garbage changes nothing but, if it names a host, that host."""
    tables = spec.spec.monitor
    found = datagrams.decode(data, tables.kinds(), cloud.monitor_key)
    if isinstance(found, datagrams.Unreadable):
        return Monitored(problem=found.what)
    reads = next(row.reads for row in tables.message if row.name == found.kind)
    problem, unknown = _refused(cloud, found), tuple[str, ...]()
    if not problem and reads != "nothing":
        template = _template("monitor_message", found.text, spec.version)
        if isinstance(template, str):
            problem = template
            if found.oid in cloud.hosts:
                cloud.hosts[found.oid].error = tables.daemon.garbage
        elif reads == "vms":
            unknown = _keep_sizes(cloud, spec, template)
        else:
            problem = _keep_capacity(cloud, found.oid, template)
    return Monitored(found.kind, found.status, found.oid, found.text, found.encrypted, problem, unknown)


def _template(name: str, text: str, version: str) -> Template | str:
    """Return a template, or why there is none."""
    found = grammars.parse(name, text, version)
    if isinstance(found, Template):
        return found
    first = found[0] if isinstance(found, list) else None
    return f"line {first.line}, {first.path}: {first.message}" if first else "no template"


def _refused(cloud: Cloud, message: datagrams.Message) -> str:
    """Return why a message that could be read is not taken. The time 0 stands for no time, so that order does not matter."""
    if message.status != "SUCCESS":
        return f"it reports {message.status}"
    if message.timestamp_s:
        host = cloud.hosts.get(message.oid)
        if host is None:
            return f"host {message.oid} is unknown"
        if host.heard_s.get(message.kind, 0) > message.timestamp_s:
            return f"it is older than the last one of host {message.oid}"
        host.heard_s[message.kind] = message.timestamp_s
    return ""


def _keep_sizes(cloud: Cloud, spec: ContractSpec, template: Template) -> tuple[str, ...]:
    """Keep the sizes of disks. Returns the VMs and disks that oned does not have."""
    unknown: list[str] = []
    for vector in template.vectors("VM"):
        id, text = _whole(vector, "ID"), _decoded(vector.values.get("MONITOR", ""))
        inner = _template("template", text, spec.version) if text is not None else ""
        if id is None or id < 0 or isinstance(inner, str):
            continue
        vm = cloud.vms.get(id)
        if vm is None or vm.state == "DONE":
            unknown.append(f"VM {id}")
        else:
            unknown += _keep_of_vm(vm, inner)
    return tuple(unknown)


def _keep_of_vm(vm: Vm, template: Template) -> list[str]:
    known = {disk.id for disk in vm.disks} | ({vm.context_disk} if vm.context is not None else set())
    disks, snapshots = template.vectors("DISK_SIZE"), template.vectors("SNAPSHOT_SIZE")
    # what a later entry of the same VM names replaces all of that name
    if disks:
        vm.disk_sizes_mb = {_whole(one, "ID") or 0: _whole(one, "SIZE") or 0 for one in disks}
    if snapshots:
        vm.snapshot_sizes_mb = {(_whole(one, "DISK_ID") or 0, _whole(one, "ID") or 0): _whole(one, "SIZE") or 0 for one in snapshots}
    named = {_whole(one, "ID") or 0 for one in disks} | {_whole(one, "DISK_ID") or 0 for one in snapshots}
    return [f"disk {id} of VM {vm.id}" for id in sorted(named - known)]


def _keep_capacity(cloud: Cloud, oid: int, template: Template) -> str:
    """Keep the capacity of a node's datastores; those that the message does not name are forgotten."""
    host = cloud.hosts.get(oid)
    if host is None:
        return f"host {oid} is unknown"
    host.error = ""
    total, free, used = (_leading(template.single(f"DS_LOCATION_{name}_MB")) or 0 for name in ("TOTAL", "FREE", "USED"))
    host.location = Capacity(total, free, used)
    host.datastores = {}
    for one in template.vectors("DS"):
        id = _whole(one, "ID")
        if id is not None:
            host.datastores[id] = Capacity(*(_whole(one, f"{name}_MB") or 0 for name in ("TOTAL", "FREE", "USED")))
    return ""


def _leading(text: str | None) -> int | None:
    found = _NUMBER.match(text or "")
    return int(found.group(1)) if found else None


def _whole(vector: Vector, name: str) -> int | None:
    """Return the number that a value begins with; None where there is none."""
    return _leading(vector.values.get(name))


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def vms_in(cloud: Cloud, datastore: int, host: str = "") -> str:
    """Return the VMs with disks in a system datastore, each with the ids of its disks: `3:0,1 4:0`. With a host, those alone whose disks lie there."""
    there = [vm for vm in cloud.vms.values() if vm.history and vm.history[-1].datastore == datastore and vm.disks and vm.state != "DONE"]
    if host:
        there = [vm for vm in there if vm.history[-1].hostname == host and vm.state not in AT_FRONTEND]
    return " ".join(f"{vm.id}:{','.join(str(disk.id) for disk in vm.disks)}" for vm in there)


def ask_sizes(datastore: Datastore, every: int) -> str:
    """Return what MONITOR_VM_DISKS says in the next call of monitor: 1 in the first and then in every `every`-th, else 0; nothing where `every` is 0."""
    if every <= 0:
        return ""
    datastore.sizes_in -= 1
    if datastore.sizes_in > 0:
        return "0"
    datastore.sizes_in = every
    return "1"


def shortage(datastore: Datastore, size_mb: int) -> str:
    """Return why oned makes no image of this size in a datastore, empty if it does.

    LIMIT_MB stands in place of what is free; DATASTORE_CAPACITY_CHECK says whether it matters (oned 7.4.0: src/datastore/Datastore.cc:1151,
    src/rm/api/ImageAPI.cc:871). Of a datastore that was never monitored nothing is known here: oned monitors one as soon as it is made.
    """
    if not datastore.monitored or datastore.template.get("DATASTORE_CAPACITY_CHECK", "YES").upper() not in ("YES", "TRUE", "1"):
        return ""
    return FULL if size_mb > available_mb(datastore) else ""


def available_mb(datastore: Datastore) -> int:
    """Return the MiB that images may still take."""
    limit = _leading(datastore.template.get("LIMIT_MB"))
    return max(0, datastore.free_mb if limit is None else limit - datastore.used_mb)
