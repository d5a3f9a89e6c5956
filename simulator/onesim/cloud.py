"""The cloud as oned sees it: its objects, their labels in the trace, and the configuration of the drivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onesim.model import Datastore, History, Host, Image, Vm
from onesim.rsa_keys import PrivateKey

LOCATION = "/var/lib/one//datastores"


@dataclass(frozen=True)
class Mode:
    """What a transfer manager declares for a system datastore of another one: LN_TARGET_x, CLONE_TARGET_x, DISK_TYPE_x of its TM_MAD_CONF."""

    ln_target: str = "SYSTEM"
    clone_target: str = "SYSTEM"
    disk_type: str = "FILE"


@dataclass(frozen=True)
class MadConf:
    """The attributes of TM_MAD_CONF that change what drivers are called with; `modes` by the system datastore's driver (TM_MAD_SYSTEM)."""

    shared: bool = True
    ln_target: str = "NONE"
    clone_target: str = "SYSTEM"
    disk_type: str = "FILE"
    driver: str = ""
    allow_orphans: str = "FORMAT"
    ds_migrate: bool = True
    modes: Mapping[str, Mode] = field(default_factory=dict)

    def mode(self, system_tm: str) -> Mode | None:
        """Return what is declared for a system datastore's driver; None if nothing is."""
        return next((mode for name, mode in self.modes.items() if name.lower() == system_tm.lower()), None)


#: What a transfer manager has of which nothing is configured.
_DEFAULTS = MadConf()


@dataclass
class Cloud:
    """All objects. `vms_dir` is the front-end directory of the VMs' files; `now_s` is virtual time in seconds since the epoch.

    `ds_required` are the REQUIRED_ATTRS of DS_MAD_CONF by driver; `vm_mad` is the hypervisor driver of all hosts; `monitor_key` is the monitor daemon's
    own, if messages to it are encrypted; `backup_base` is BACKUP_BASE_PATH of datastore.conf, empty if that is not set. `writing` is how
    documents for datastore drivers are written, where that is not oned's own way (onesim/writing.py). `quota` limits the VMs of the user
    whom all objects belong to, by oned's names of metrics.
    """

    frontend: str
    location: str = LOCATION
    vms_dir: str = "/var/lib/one/vms"
    vm_mad: str = "kvm"
    hosts: dict[int, Host] = field(default_factory=dict)
    datastores: dict[int, Datastore] = field(default_factory=dict)
    images: dict[int, Image] = field(default_factory=dict)
    #: by operation: the backup image that new images are made of, the increment (-1: the last), and the disks
    restores: dict[int, tuple[int, int, tuple[int, ...]]] = field(default_factory=dict)
    vms: dict[int, Vm] = field(default_factory=dict)
    tm_conf: dict[str, MadConf] = field(default_factory=dict)
    ds_required: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[tuple[str, str], int] = field(default_factory=dict)
    next_datastore: int = 0
    next_image: int = 0
    next_vm: int = 0
    next_request: int = 0
    next_app: int = 0
    next_template: int = 0
    #: of each template that drivers have made: the images of its disks, in its order
    templates: list[tuple[int, ...]] = field(default_factory=list)
    now_s: int = 1_700_000_000
    monitor_key: PrivateKey | None = None
    backup_base: str = ""
    writing: str = ""
    quota: dict[str, float] = field(default_factory=dict)

    def label(self, kind: str, id: int) -> str:
        """Return the trace's name of an object, or its id."""
        named = self.vms.get(id) if kind == "vm" else self.images.get(id) if kind == "image" else None
        if named is not None:
            return named.name
        return next((name for (of, name), known in self.labels.items() if of == kind and known == id), str(id))

    def find(self, kind: str, name: str) -> int | None:
        """Return the id of the object that the trace calls `name`."""
        return self.labels.get((kind, name))

    def host_named(self, name: str) -> Host | None:
        """Return the host of that name."""
        return next((host for host in self.hosts.values() if host.name == name), None)

    def conf(self, tm_mad: str) -> MadConf:
        """Return the configuration of a transfer manager; an unknown one has the defaults."""
        return self.tm_conf.get(tm_mad, _DEFAULTS)

    def directory(self, record: History, vm: Vm) -> str:
        """Return the VM's directory in the system datastore of a history record: the same path on every machine."""
        return f"{self.location}/{record.datastore}/{vm.id}"

    def system_datastore(self) -> Datastore:
        """Return the first system datastore."""
        return next(row for row in self.datastores.values() if row.type == "SYSTEM_DS")
