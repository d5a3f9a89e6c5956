"""What a libvirtd knows: domains with their disks and chains, pools with their volumes, secrets. Plain data, changed by the commands alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from onesim.libvirtd.effects import Hand, Refused


@dataclass
class Layer:
    """One image of a chain: `kind` is file, block or network, `index` the number that dumpxml gives it."""

    path: str
    format: str
    kind: str = "file"
    index: int = 0


@dataclass
class Job:
    """A block job that waits for pivot or abort: `kind` is commit or copy. A commit goes into `base`; a copy to `target`."""

    kind: str
    base: Layer
    above: Layer | None = None
    shallow: bool = False


@dataclass
class Disk:
    """A disk of a domain: `chain` begins with the active layer. `more` are attributes of its driver."""

    target: str
    chain: list[Layer]
    device: str = "disk"
    bus: str = "virtio"
    readonly: bool = False
    more: dict[str, str] = field(default_factory=dict)
    job: Job | None = None

    @property
    def active(self) -> Layer:
        """The layer that the guest writes to."""
        return self.chain[0]


@dataclass
class Moment:
    """A snapshot or a checkpoint: `disks` are the rows of its document, by target."""

    name: str
    created_s: int
    parent: str = ""
    description: str = ""
    disks: dict[str, dict[str, str]] = field(default_factory=dict)
    domain: str = ""
    state: str = "disk-snapshot"


@dataclass
class Moments:
    """Snapshots or checkpoints of a domain; `current` is the newest that counts."""

    all: dict[str, Moment] = field(default_factory=dict)
    current: str = ""

    def children(self, name: str) -> list[Moment]:
        """Return those whose parent is `name`, in the order of their names."""
        return sorted((one for one in self.all.values() if one.parent == name), key=lambda one: one.name)

    def descendants(self, name: str) -> list[Moment]:
        """Return all below `name`, each before its own children."""
        return [two for one in self.children(name) for two in (one, *self.descendants(one.name))]

    def remove(self, name: str) -> None:
        """Forget one; its children get its parent."""
        gone = self.all.pop(name)
        for one in self.all.values():
            if one.parent == name:
                one.parent = gone.parent
        if self.current == name:
            self.current = gone.parent


@dataclass
class Domain:
    """A domain. `id` is 0 while it does not run; `state` is running, paused or shut off; `document` is what it was made from, without its disks."""

    name: str
    uuid: str
    document: str
    disks: list[Disk] = field(default_factory=list)
    id: int = 0
    state: str = "shut off"
    reason: str = ""
    persistent: bool = False
    autostart: bool = False
    agent: bool = False
    frozen: bool = False
    snapshots: Moments = field(default_factory=Moments)
    checkpoints: Moments = field(default_factory=Moments)
    next_index: int = 1
    backup: str = ""
    completed: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether a QEMU process is there."""
        return self.state != "shut off"

    def disk(self, name: str) -> Disk | None:
        """Return the disk with that target or that source."""
        return next((one for one in self.disks if name in (one.target, one.active.path)), None)

    def number(self, layer: Layer) -> Layer:
        """Give a layer the next number of the chain's nodes."""
        layer.index, self.next_index = self.next_index, self.next_index + 1
        return layer


@dataclass
class Volume:
    """A volume as the pool knows it since its last refresh. `look` is what was seen of its file."""

    name: str
    path: str
    format: str
    capacity: int
    allocation: int
    physical: int
    kind: str = "file"
    backing: str = ""
    backing_format: str = ""
    look: dict[str, Any] = field(default_factory=dict)
    sparse: bool = False
    key: str = ""


@dataclass
class Pool:
    """A storage pool: its document with name, uuid, source and target; `volumes` in the order in which they were found or made."""

    name: str
    uuid: str
    type: str
    document: str
    target: str = ""
    active: bool = False
    persistent: bool = True
    autostart: bool = False
    capacity: int = 0
    allocation: int = 0
    available: int = 0
    look: dict[str, Any] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)


@dataclass
class Secret:
    """A secret: its document and its value in base64."""

    uuid: str
    document: str
    usage: str
    value: str = ""


@dataclass
class Libvirtd:
    """One daemon. `made` counts what it has given uuids to; `now_s` is the time at which it is asked."""

    host: str
    domains: dict[str, Domain] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    now_s: int = 0
    made: int = 0
    next_id: int = 1

    @property
    def qemu(self) -> Hand:
        """Effects with the rights of a QEMU process."""
        return Hand(self.host, root=False)

    @property
    def root(self) -> Hand:
        """Effects with the rights of libvirtd itself."""
        return Hand(self.host, root=True)

    def new_uuid(self) -> str:
        """Return a uuid that nothing else has."""
        self.made += 1
        return uuid_of(f"{self.host}:{self.made}:{self.now_s}")

    def domain(self, name: str) -> Domain:
        """Return a domain by its name, id or uuid. Raises Refused."""
        found = self.domains.get(name) or next((one for one in self.domains.values() if name in (one.uuid, str(one.id) if one.id else None)), None)
        if found is None:
            raise Refused(f"failed to get domain '{name}'")
        return found

    def running(self, name: str) -> Domain:
        """Return a domain that runs. Raises Refused."""
        found = self.domain(name)
        if not found.running:
            raise Refused("Requested operation is not valid: domain is not running")
        return found


def uuid_of(text: str) -> str:
    """Return a uuid that follows from a text."""
    digits = hashlib.sha256(text.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
