"""Derived facts: what the tables cannot say by themselves. Each is a small function with its source.

They bind the arguments of calls (`spec/scripts.toml`) and name the places that a call may touch (`spec/places.toml`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onesim.cloud import Cloud
from onesim.contracts import at_least
from onesim.errors import SpecError
from onesim.model import BootFile, Datastore, Disk, History, Image, Vm
from onesim.pool_datastores import pool_kind, pool_target, volume_path
from onesim.snapshots import orphans_of
from onesim.spec import ContractSpec


@dataclass(frozen=True)
class Subject:
    """What a row of a script is expanded for: the VM, perhaps one of its disks or boot files, the places named by the phase.

    `parameters` are what the operation has prepared, by name.
    """

    spec: ContractSpec
    cloud: Cloud
    vm: Vm
    disk: Disk | None = None
    here: str = ""
    there: str = ""
    file: BootFile | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def at(self, place: str) -> tuple[str, History]:
        """Return host name and history record of a place."""
        if not self.vm.history:
            raise SpecError(f"place {place}: the VM has no history record yet")
        record = self.vm.history[-2 if place.startswith("previous") and len(self.vm.history) > 1 else -1]
        return (self.cloud.frontend if place.endswith("frontend") else record.hostname), record

    def the_disk(self) -> Disk:
        """Return the disk. Raises SpecError where a row without one asks for it."""
        if self.disk is None:
            raise SpecError("a row that is not for a disk binds a fact of a disk")
        return self.disk

    def the_file(self) -> BootFile:
        """Return the boot file. Raises SpecError where a row without one asks for it."""
        if self.file is None:
            raise SpecError("a row that is not for a boot file binds a fact of one")
        return self.file

    def parameter(self, name: str) -> str:
        """Return what the operation has prepared under a name. Raises SpecError if it has not."""
        if name not in self.parameters:
            raise SpecError(f"a row binds {name}, which the operation has not prepared")
        return self.parameters[name]


def _directory(subject: Subject, place: str) -> str:
    host, record = subject.at(place)
    return f"{host}:{subject.cloud.directory(record, subject.vm)}"


def _disk(subject: Subject, place: str) -> str:
    return f"{_directory(subject, place)}/disk.{subject.the_disk().id}"


def _image_source_at_frontend(subject: Subject) -> str:
    # TransferManager.cc: a SOURCE with a colon in it passes unchanged
    source = subject.the_disk().source
    return source if ":" in source else f"{subject.cloud.frontend}:{source}"


def _context_files(subject: Subject) -> str:
    # TransferManager.cc:274: context.sh of the VM first, then CONTEXT/FILES and those of a file datastore; one word each
    context = subject.vm.context or {}
    registered = [subject.cloud.images[id] for name in context.get("FILES_DS", "").split() if (id := subject.cloud.find("image", name)) is not None]
    from_datastore = [f"{image.source}:'{image.name}'" for image in registered]
    return " ".join([f"{subject.cloud.vms_dir}/{subject.vm.id}/context.sh", *context.get("FILES", "").split(), *from_datastore])


def _record_file(subject: Subject, name: str) -> str:
    _, record = subject.at(subject.there or subject.here)
    return f"{subject.cloud.directory(record, subject.vm)}/{name}"


def _path(place: str) -> str:
    return place.partition(":")[2]


def _backup_disks(subject: Subject) -> str:
    # since 6.9.80 no colon follows the last disk; CDROMs are left out since 6.10.1
    listed = subject.parameter("backup_disks")
    return listed + ":" if listed and not at_least(subject.spec.version, "6.9.80") else listed


FACTS: dict[str, Callable[[Subject], str]] = {
    "image_source": lambda s: s.the_disk().source,
    "image_source_at_frontend": _image_source_at_frontend,
    "disk_here": lambda s: _disk(s, s.here),
    "disk_there": lambda s: _disk(s, s.there),
    "directory_here": lambda s: _directory(s, s.here),
    "directory_there": lambda s: _directory(s, s.there),
    "host_here": lambda s: s.at(s.here)[0],
    "host_there": lambda s: s.at(s.there)[0],
    "disk_datastore": lambda s: str(s.the_disk().datastore),
    "system_datastore": lambda s: str(s.vm.history[-1].datastore),
    "disk_size_mb": lambda s: str(s.the_disk().size_mb),
    "disk_format": lambda s: s.the_disk().format or "raw",
    "context_files": _context_files,
    "context_there": lambda s: f"{_directory(s, s.there)}/disk.{s.vm.context_disk}",
    "deployment_file": lambda s: _record_file(s, f"deployment.{s.vm.history[-1].seq}"),
    "checkpoint_file": lambda s: _record_file(s, "checkpoint"),
    "deploy_id": lambda s: s.vm.deploy_id,
    "file_source_at_frontend": lambda s: f"{s.cloud.frontend}:{s.the_file().source}",
    "file_there": lambda s: f"{_directory(s, s.there)}/{s.the_file().name}",
    "file_datastore": lambda s: str(s.the_file().datastore),
    "from_frontend": lambda s: s.here if s.here.endswith("frontend") else "",
    "directory_path": lambda s: _path(_directory(s, s.there)),
    "disk_path_here": lambda s: _path(_disk(s, s.here)),
    "disk_path_there": lambda s: _path(_disk(s, s.there)),
    "disk_id": lambda s: str(s.the_disk().id),
    "disk_index": lambda s: str(ord(s.the_disk().target[-1]) - ord("a")),
    "disk_target": lambda s: s.the_disk().target,
    "context_target": lambda s: s.vm.context_target,
    "context_path": lambda s: _path(f"{_directory(s, s.there)}/disk.{s.vm.context_disk}"),
    "vmm_document": lambda s: s.parameter("vmm_document"),
    "saved_source": lambda s: s.parameter("saved_source"),
    "snapshot_id": lambda s: s.parameter("snapshot_id"),
    "system_snapshot_id": lambda s: str(s.vm.system_snapshots),
    "new_size_mb": lambda s: s.parameter("new_size_mb"),
    "backup_disks": _backup_disks,
    "backup_job": lambda s: s.parameter("backup_job"),
    "restored_image": lambda s: s.parameter("restored_image"),
    "restored_increment": lambda s: s.parameter("restored_increment"),
    "restored_disk": lambda s: s.parameter("restored_disk"),
}

#: Facts that rows for images and datastores may need.
IMAGE_FACTS: dict[str, Callable[[Image | Datastore], str]] = {"source_known": lambda subject: subject.source if isinstance(subject, Image) else ""}

#: Facts that patterns of places may use; the record of every call carries those that apply to it.
PLACE_FACTS = frozenset(
    {
        "backup_path",
        "backup_folder",
        "base_path",
        "source",
        "vm_directory",
        "other_vm_directory",
        "system_base_path",
        "location",
        "pool_target",
        "volume",
    }
)


def vm_facts(subject: Subject) -> dict[str, str]:
    """Return the facts that the record of a call for a VM carries: host it works on, directories, the disk and its image."""
    vm, cloud = subject.vm, subject.cloud
    place = subject.there or subject.here
    host, record = subject.at(place)
    state = subject.spec.spec.number("vm", vm.state)
    facts = {
        "host": host,
        "vm_directory": cloud.directory(record, vm),
        "system_base_path": cloud.datastores[record.datastore].base_path,
        "system_datastore": str(record.datastore),
        "location": cloud.location,
        "vm": cloud.label("vm", vm.id),
        "system_tm": record.tm_mad,
        "lcm_state": str(state.lcm),
        "host_lost": "yes" if state.lost else "",
        "shared": "YES" if cloud.conf(record.tm_mad).shared else "NO",
    }
    if subject.here and subject.there:
        other_host, other = subject.at(subject.here)
        facts["other_host"] = other_host
        facts["other_vm_directory"] = cloud.directory(other, vm)
        facts["other_datastore"] = "yes" if other.datastore != record.datastore else "no"
    disk = subject.disk
    if disk is not None:
        facts |= {"kind": disk.kind, "format": disk.format, "size_mb": str(disk.size_mb), "disk": str(disk.id)}
        facts |= {"ln_target": disk.ln_target, "clone_target": disk.clone_target, "fs": disk.fs}
        facts["mixed"] = "yes" if disk.tm_mad_system and disk.tm_mad_system != disk.tm_mad else "no"
        facts["orphans"] = orphans_of(disk.allow_orphans, disk.format)
        facts["driver"] = cloud.conf(disk.tm_mad).driver
        pool = cloud.datastores[disk.datastore if disk.image >= 0 else record.datastore]
        facts["pool_target"] = pool_target(pool)
        if facts["pool_target"]:
            facts["pool"] = pool_kind(pool.template)
            facts["volume"] = volume_path(pool, f"one-{vm.id}-{disk.id}")
        if disk.image >= 0:
            facts |= {
                "source": disk.source,
                "colon": "yes" if ":" in disk.source else "no",
                "image": cloud.label("image", disk.image),
                "base_path": cloud.datastores[disk.datastore].base_path,
                "original_size_mb": str(disk.original_size_mb),
            }
    for name in [name for name, value in facts.items() if not value]:
        del facts[name]
    return facts
