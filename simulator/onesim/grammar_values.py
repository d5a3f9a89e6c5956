"""What texts become when they are parsed: frozen records, one for each `result` of `schemas/grammars.toml`. Sizes are MiB unless the name says else."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Single(Struct, frozen=True):
    """An attribute of a template; its name is in capitals."""

    name: str
    value: str


class Vector(Struct, frozen=True):
    """An attribute of several values; of equal names the first counts."""

    name: str
    values: dict[str, str]


class Template(Struct, frozen=True):
    """A template: its attributes in their order."""

    attributes: tuple[Single | Vector, ...] = ()

    def vectors(self, name: str) -> list[Vector]:
        """Return the vectors of a name."""
        return [one for one in self.attributes if isinstance(one, Vector) and one.name == name]

    def single(self, name: str) -> str | None:
        """Return the first value of a name; None if there is none, or if the first attribute of that name is a vector."""
        found = next((one for one in self.attributes if one.name == name), None)
        return found.value if isinstance(found, Single) else None


class Monitor(Struct, frozen=True):
    """Capacity of a datastore as oned stores it: numbers of single precision, so that beyond 16 TiB not every MiB can be told."""

    total_mb: float
    free_mb: float
    used_mb: float


class DiskSize(Struct, frozen=True):
    """The size of a disk."""

    disk: int
    size_mb: int


class SnapshotSize(Struct, frozen=True):
    """The size of a snapshot of a disk."""

    snapshot: int
    disk: int
    size_mb: int


class DiskSizes(Struct, frozen=True):
    """The sizes of one VM's disks and snapshots."""

    disks: tuple[DiskSize, ...] = ()
    snapshots: tuple[SnapshotSize, ...] = ()


class VmSizes(Struct, frozen=True):
    """The sizes of the disks of VMs, by the VM's id."""

    vms: dict[int, DiskSizes]


class Datagram(Struct, frozen=True):
    """A message to the monitor daemon. For datastores `oid` is -1 and the time 0."""

    kind: str
    status: str
    oid: int
    timestamp_s: int
    text: str


class Link(Struct, frozen=True):
    """An increment in a chain, and the driver's name for its snapshot."""

    increment: int
    snapshot: str


class BackupUrl(Struct, frozen=True):
    """A disk in a backup. `job` is None where the backup belongs to no job, `disk` is a number or `tpm`."""

    protocol: str
    datastore: int
    job: int | None
    chain: tuple[Link, ...]
    path: str
    vm: int
    disk: str


class Download(Struct, frozen=True):
    """What an image is fetched from. `scheme` is `path` for a file on the front-end; `rest` is what the scheme's own reader gets to see."""

    scheme: str
    rest: str
    user: str = ""
    host: str = ""


class Location(Struct, frozen=True):
    """An argument host:path. `datastore` and `vm` are read from the path of a disk or a directory where it has them."""

    host: str
    path: str
    role: Literal["disk", "snapshots", "boot", "directory", "file", "source"]
    datastore: int | None = None
    vm: int | None = None
    disk: int | None = None
    snapshot: int | None = None


class Disks(Struct, frozen=True):
    """Ids of disks."""

    disk: tuple[int, ...]


class SnapshotId(Struct, frozen=True):
    """The id of a snapshot; -1 for the disk as it is."""

    id: int


class Size(Struct, frozen=True):
    """A size as an argument."""

    size_mb: int


class ContextFile(Struct, frozen=True):
    """A file for the context image: an address, or a path with the name that it gets there."""

    url: str = ""
    file: str = ""
    name: str = ""


class ImageResult(Struct, frozen=True):
    """What cp, mkfs and clone return. `ignored` is what oned does not read."""

    source: str
    format: str = ""
    ignored: tuple[str, ...] = ()


class LineResult(Struct, frozen=True):
    """A source that is all of a line."""

    line: str


class StatResult(Struct, frozen=True):
    """The size of an image; `rest` follows the number and is ignored."""

    size_mb: int
    rest: str = ""


class BackupResult(Struct, frozen=True):
    """What backup returns."""

    id: str
    size_mb: int
    format: str = "raw"
    ignored: tuple[str, ...] = ()


class Linked(Struct, frozen=True):
    """An increment in a chain and its new source."""

    increment: int
    linked: str


class Increments(Struct, frozen=True):
    """What increment_flatten returns; nothing changes without a chain."""

    size_mb: int | None = None
    chain: tuple[Linked, ...] = ()


class Restored(Struct, frozen=True):
    """What restore returns: -1 for no template."""

    template: int
    image: tuple[int, ...] = ()


class TransferLine(Struct, frozen=True):
    """A command of a transfer script. `suffix` is the mixed mode."""

    action: str
    mad: str
    suffix: str = ""
    argument: tuple[str, ...] = ()


class TransferScript(Struct, frozen=True):
    """The commands of a transfer script."""

    line: tuple[TransferLine, ...] = ()


class MadRequest(Struct, frozen=True):
    """A line of oned to a driver program. INIT and FINALIZE have no id."""

    action: str
    id: int | None = None
    payload: str = ""


class MadAnswer(Struct, frozen=True):
    """A line of a driver program to oned. `status` is a severity for LOG; `-` as payload says that there is none."""

    action: str
    status: str
    id: int | None = None
    payload: str = ""


class LogLine(Struct, frozen=True):
    """A line for the log. `object` is the id that digits at the beginning of the text became, -1 for none."""

    severity: str
    text: str
    object: int = -1


class Stderr(Struct, frozen=True):
    """What a driver wrote on stderr: log lines and the error as oned gets it."""

    logged: tuple[LogLine, ...]
    error: str


class ErrorBlock(Struct, frozen=True):
    """An error between its two lines: what reaches oned, and the further lines, which do not."""

    error: str
    lost: tuple[str, ...] = ()


Value = (
    Template
    | Monitor
    | DiskSizes
    | VmSizes
    | Datagram
    | BackupUrl
    | Download
    | Location
    | Disks
    | SnapshotId
    | Size
    | ContextFile
    | ImageResult
    | LineResult
    | StatResult
    | BackupResult
    | Increments
    | Restored
    | TransferLine
    | TransferScript
    | MadRequest
    | MadAnswer
    | Stderr
    | ErrorBlock
)
