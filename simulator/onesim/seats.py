"""Where images and disks lie, as a hypervisor finds them: a file on a host, an address that QEMU opens, or what a vendor's own commands reach. Pure.

A disk is found by its attributes in the VM's document, as the deployment file of libvirt is written from them
(oned 7.4.0: src/vmm/LibVirtDriverKVM.cc:1366).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import Template

from onesim.cloud import Cloud
from onesim.model import FRONTEND, Datastore, Disk, Image, Vm
from onesim.world.interface import Means

#: A SOURCE that begins so is an address already.
_ADDRESS = re.compile(r"(rbd|nbd|nbd\+unix|iscsi|gluster|gluster\+\w+|https?|ssh):")
_ON_FRONTEND = frozenset({"PENDING", "STOPPED", "UNDEPLOYED"})


@dataclass(frozen=True)
class ProbeRow:
    """How a vendor's images or disks are reached: `at` is a path or an address; else shell commands read, write and look for them.

    In all of them $NAME stands for what is known: SOURCE, VM_ID, DISK_ID, every attribute of the disk or datastore, and DISK_PATH, the file in the VM's
    directory. They are used on `host`.
    """

    at: str = ""
    read: str = ""
    write: str = ""
    exists: str = ""
    host: str = ""


@dataclass(frozen=True)
class Probes:
    """The probes of a vendor's world. `inventory` prints the name of everything that lies in the store, `capacity` its total and free MiB."""

    image: ProbeRow = ProbeRow()
    disk: ProbeRow = ProbeRow()
    inventory: str = ""
    capacity: str = ""
    host: str = FRONTEND

    @property
    def tells(self) -> tuple[str, ...]:
        """What is known of the store as a whole."""
        return tuple(name for name in ("inventory", "capacity") if getattr(self, name))


@dataclass(frozen=True)
class Seat:
    """Where bytes lie: a path on a host, or an address that QEMU opens from there; or `means`, commands of the vendor. `format` is that of the VM's document."""

    host: str
    path: str
    format: str = "raw"
    means: Means | None = None


@dataclass(frozen=True)
class _Known:
    """What is known of an image or disk: its attributes, and its file in the VM's directory (of an image: its SOURCE)."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name, "")


def _rbd(known: _Known) -> str:
    name = known["SOURCE"] or f"{known['POOL_NAME'] or 'one'}/one-sys"
    if known["DISK_ID"] and (known["CLONE"] == "YES" or not known["SOURCE"]):
        name += f"-{known['VM_ID']}-{known['DISK_ID']}"
    options = {"id": known["CEPH_USER"], "keyfile": known["CEPH_KEY"], "conf": known["CEPH_CONF"]}
    if not known["CEPH_CONF"]:
        options["mon_host"] = ";".join(known["CEPH_HOST"].split())
    return f"rbd:{name}" + "".join(f":{option}={_escaped(value)}" for option, value in options.items() if value)


def _escaped(value: str) -> str:
    return re.sub(r"([:@=\\;])", r"\\\1", value)


def _iscsi(known: _Known) -> str:
    name = known["ISCSI_IQN"] or known["SOURCE"]
    return f"iscsi://{known['ISCSI_HOST']}/{name}" + ("" if "/" in name else "/0")


def _gluster(known: _Known) -> str:
    own = f"{known['VM_ID']}/disk.{known['DISK_ID']}"
    name = own if known["CLONE"] == "YES" else known["SOURCE"].rpartition("/")[2]
    return f"gluster://{known['GLUSTER_HOST']}/{known['GLUSTER_VOLUME']}/{name}"


#: The address of disks by their DISK_TYPE; all others are files or block devices in the VM's directory.
_NETWORK: dict[str, Callable[[_Known], str]] = {"RBD": _rbd, "ISCSI": _iscsi, "GLUSTER": _gluster}


def _seat(row: ProbeRow, known: _Known, disk_type: str, host: str, format: str) -> Seat:
    if row.read or row.write or row.exists:
        environment = {name: value for name, value in known.attributes.items() if name.isidentifier()}
        means = Means(row.read, row.write, row.exists, {**environment, "DISK_PATH": known.path})
        return Seat(row.host or host, known["SOURCE"] or known.path, format, means)
    if row.at:
        return Seat(row.host or host, Template(row.at).safe_substitute({**known.attributes, "DISK_PATH": known.path}), format)
    if _ADDRESS.match(known["SOURCE"]):
        return Seat(row.host or host, known["SOURCE"], format)
    network = _NETWORK.get(disk_type)
    return Seat(row.host or host, network(known), "raw") if network else Seat(row.host or host, known.path, format)


def _bridge(datastore: Datastore) -> str:
    """Return the host that reaches the images of a datastore: the first of BRIDGE_LIST, else the front-end."""
    return next(iter(datastore.template.get("BRIDGE_LIST", "").split()), FRONTEND)


def image_seat(cloud: Cloud, image: Image, probes: Probes) -> Seat:
    """Return where an image lies."""
    datastore = cloud.datastores[image.datastore]
    return source_seat(datastore, image.source, image.shown_format or "raw", probes)


def source_seat(datastore: Datastore, source: str, format: str, probes: Probes) -> Seat:
    """Return where the image with a SOURCE lies."""
    known = _Known({**datastore.template, "SOURCE": source}, source)
    disk_type = datastore.template.get("DISK_TYPE", "FILE")
    return _seat(probes.image, known, disk_type, _bridge(datastore) if disk_type in _NETWORK else FRONTEND, format)


def disk_seat(cloud: Cloud, vm: Vm, disk: Disk, probes: Probes) -> Seat:
    """Return where a VM's disk lies now, as the VM itself sees it."""
    record = vm.history[-1]
    away = vm.state in _ON_FRONTEND
    host = cloud.frontend if away else record.hostname
    path = f"{cloud.directory(record, vm)}/disk.{disk.id}"
    clone = {"nonpersistent": "YES", "persistent": "NO", "cdrom": "NO"}.get(disk.kind, "")
    own = {"SOURCE": disk.source, "CLONE": clone, "VM_ID": str(vm.id), "DISK_ID": str(disk.id), "SIZE": str(disk.size_mb), "TARGET": disk.target}
    known = _Known({**disk.inherited, **own}, path)
    datastore = cloud.datastores.get(disk.datastore)
    if away and disk.disk_type in _NETWORK and datastore is not None:
        host = _bridge(datastore)
    return _seat(probes.disk, known, disk.disk_type, host, disk.format or "raw")


def on_network(datastore: Datastore) -> bool:
    """Tell whether the disks of a datastore are no files below its BASE_PATH."""
    return datastore.template.get("DISK_TYPE", "FILE") in _NETWORK
