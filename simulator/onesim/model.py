"""The objects that oned keeps: datastores, images, virtual machines, hosts. Plain data, changed only by `onesim.oned`."""

from __future__ import annotations

from dataclasses import dataclass, field

from onesim.snapshots import Snapshots

FRONTEND = "frontend"


@dataclass(frozen=True)
class Capacity:
    """Room on a file system in MiB, as it was reported."""

    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0


@dataclass
class Host:
    """A hypervisor node. `id` is oned's, `name` is what drivers get before the colon.

    `location` is the capacity of all its datastores together, `datastores` that of each system datastore that lies on the node, by id. `heard_s` is the time of
    the last message of each kind; `error` why the node counts as broken.
    """

    id: int
    name: str
    location: Capacity = Capacity()
    datastores: dict[int, Capacity] = field(default_factory=dict)
    heard_s: dict[str, int] = field(default_factory=dict)
    error: str = ""


@dataclass
class Datastore:
    """A datastore. `type` is IMAGE_DS, SYSTEM_DS or FILE_DS; capacities are MiB as monitored last; `monitored` = they are known at all.

    `sizes_in` counts down the calls of monitor until the sizes of VM disks are asked for again. `quota` limits its IMAGES and their SIZE in MiB.
    """

    id: int
    name: str
    type: str
    ds_mad: str
    tm_mad: str
    base_path: str
    template: dict[str, str] = field(default_factory=dict)
    images: set[int] = field(default_factory=set)
    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0
    monitored: bool = False
    sizes_in: int = 0
    quota: dict[str, int] = field(default_factory=dict)


@dataclass
class Increment:
    """One backup of a chain: `type` is FULL or INCREMENT, `source` what the backup driver answered, size in MiB."""

    id: int
    type: str
    source: str
    size_mb: int
    date_s: int


@dataclass
class BackupConfig:
    """BACKUP_CONFIG of a VM. `chain` is the image of the increments, -1 if the next backup starts one; `last_increment` its newest.

    `mode` is FULL or INCREMENT, empty if nobody has configured backups yet. While one is made `datastore` is where, `job` the backup job that asked first;
    `flatten` is YES while increments are merged, NO afterwards. `freeze` is NONE, AGENT or SUSPEND: how the guest stands still when a live backup begins.
    """

    keep_last: int = 0
    mode: str = ""
    volatile: bool = False
    chain: int = -1
    last_increment: int = -1
    job: int = -1
    datastore: int = -1
    flatten: str = ""
    freeze: str = "NONE"


@dataclass
class Image:
    """An image. `path` is what the user gave, `source` what the driver answered; `size_mb` is MiB."""

    id: int
    name: str
    type: str
    datastore: int
    path: str = ""
    source: str = ""
    format: str = ""
    fs: str = ""
    size_mb: int = 0
    state: str = "INIT"
    prev_state: str = "INIT"
    persistent: bool = False
    persistent_type: str = ""
    locked: bool = False
    cloning_id: int = -1
    cloning_ops: int = 0
    regtime_s: int = 0
    vms: set[int] = field(default_factory=set)
    clones: list[int] = field(default_factory=list)
    template: dict[str, str] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)
    target_snapshot: int = -1
    increments: list[Increment] = field(default_factory=list)
    backup_disks: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def shown_format(self) -> str:
        """The format that disks of this image get: what the driver said, else the DRIVER that the user gave."""
        return self.format or self.template.get("DRIVER", "")


@dataclass
class Disk:
    """A disk of a VM.

    `kind` is a row of the disk-kind table: nonpersistent, persistent, cdrom, volatile or swap. `size_mb` may exceed `original_size_mb`.
    `inherited` are the attributes that it has from its datastore, such as POOL_NAME. `attach` = it is being attached or detached.
    """

    id: int
    kind: str
    target: str
    size_mb: int
    original_size_mb: int = 0
    image: int = -1
    image_name: str = ""
    datastore: int = -1
    datastore_name: str = ""
    tm_mad: str = ""
    tm_mad_system: str = ""
    source: str = ""
    format: str = ""
    fs: str = ""
    clone_target: str = ""
    ln_target: str = ""
    disk_type: str = "FILE"
    allow_orphans: str = "NO"
    persistent_snapshots: str = "YES"
    inherited: dict[str, str] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)
    attach: bool = False

    @property
    def target_of_copy(self) -> str:
        """Where the driver makes the disk: SYSTEM, SELF or NONE; empty for a volatile one (VirtualMachineDisk::get_tm_target)."""
        if self.image < 0:
            return ""
        return (self.clone_target if self.kind == "nonpersistent" else self.ln_target).upper()


@dataclass
class History:
    """One stay of a VM on a host: the record that gives HOST and the system datastore to transfer commands. `action` is the number of what ended it."""

    seq: int
    host: int
    hostname: str
    datastore: int
    tm_mad: str
    vm_mad: str = "kvm"
    stime_s: int = 0
    action: int = 0


@dataclass
class BootFile:
    """A kernel or initrd: `name` is that of the file in the VM directory."""

    name: str
    source: str
    datastore: int


@dataclass
class Vm:
    """A virtual machine. `state` is a name of the state table (RUNNING stands for ACTIVE with that LCM state); `phase` the last one that it was in.

    `away` is STOPPED or UNDEPLOYED while its disks wait at the front-end for the next deployment. `cpu` is a share of processors, memory is in MiB; `boot` are the
    devices that it boots from, such as disk0, in their order.
    `context_unsure` are names that the ISO may lack, as a change of the context has failed.
    `disk_sizes_mb` and `snapshot_sizes_mb` are what was monitored last, by the disk's id, and by the ids of disk and snapshot.
    """

    id: int
    name: str
    state: str
    disks: list[Disk] = field(default_factory=list)
    history: list[History] = field(default_factory=list)
    context: dict[str, str] | None = None
    context_disk: int = -1
    context_target: str = ""
    context_unsure: frozenset[str] = frozenset()
    files: list[BootFile] = field(default_factory=list)
    tm_mad_system: str = ""
    required_tm: str = ""
    backup: BackupConfig = field(default_factory=BackupConfig)
    backups: list[int] = field(default_factory=list)
    deploy_id: str = ""
    system_snapshots: int = 0
    cpu: float = 0.1
    memory_mb: int = 64
    boot: tuple[str, ...] = ()
    stime_s: int = 0
    prev_state: str = "PENDING"
    phase: str = ""
    away: str = ""
    error: str = ""
    disk_sizes_mb: dict[int, int] = field(default_factory=dict)
    snapshot_sizes_mb: dict[tuple[int, int], int] = field(default_factory=dict)
