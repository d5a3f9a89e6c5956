"""What libvirt keeps on the devices of a pool: a table of partitions, a volume group. That it is there is told by a file below /dev, as its volumes are."""

from __future__ import annotations

from onesim.libvirtd import pool_documents as documents
from onesim.libvirtd.effects import Plan, Refused
from onesim.libvirtd.model import Libvirtd, Pool

#: Types of pools that are built on devices.
BUILT = ("disk", "logical")


def device(pool: Pool) -> str:
    """Return the first device that the document of a pool names, empty if it names none."""
    node = documents.source(pool).find("device")
    return "" if node is None else str(node.get("path", ""))


def partition(pool: Pool) -> str:
    """Return what the names of the partitions of a device begin with; their numbers follow."""
    name = device(pool).rpartition("/")[2]
    return f"{name}p" if name[-1:].isdigit() else name


def undeletable(pool: Pool, name: str) -> str:
    """Return why a partition cannot be deleted, empty if it can: libvirt takes for its number what stands behind the name of the device."""
    if pool.type != "disk" or not device(pool)[-1:].isdigit():
        return ""
    number = name.removeprefix(device(pool).rpartition("/")[2])
    failed = f"Child process (parted {device(pool)} rm --script {number}) unexpected exit status 1"
    return f"internal error: {failed}: Error: Partition doesn't exist.\n"


def _mark(pool: Pool) -> str:
    name = documents.source(pool).findtext("name") if pool.type == "logical" else device(pool).replace("/", "!")
    return f"/dev/.{pool.type}/{name}"


def _format(pool: Pool) -> str:
    """Return what a device is found to hold. A kind of table that is `unknown` is left to libvirt."""
    if pool.type == "logical":
        return "LVM2_member"
    named = documents.source(pool).find("format").get("type", "unknown")
    return "dos" if named == "unknown" else str(named)


def require(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    """Raise Refused if the storage of a pool has yet to be built. A volume group whose devices nobody names was there before."""
    if pool.type not in BUILT or not device(pool) or (yield from daemon.root.look(_mark(pool))) is not None:
        return
    if pool.type == "logical":
        raise Refused(f"unsupported configuration: cannot find logical volume group name '{documents.source(pool).findtext('name')}'")
    raise Refused(f"Storage pool probe failed: Device '{device(pool)}' is unrecognized, requires build")


def build(daemon: Libvirtd, pool: Pool, *, careful: bool) -> Plan[None]:
    """Write a table of partitions, with none in it; or make a volume group. Raises Refused where a careful one finds that it is done."""
    if careful and (yield from daemon.root.look(_mark(pool))) is not None:
        raise Refused(f"Storage pool already built: Device '{device(pool)}' already formatted using '{_format(pool)}'")
    yield from remove(daemon, pool)
    yield from daemon.root.do("mkdir", path=_mark(pool).rpartition("/")[0], mode=0o755)
    made = yield from daemon.root.do("create", path=_mark(pool), size=0, allocate=0, mode=0o600)
    if made.errno:
        raise Refused(f"cannot write to '{device(pool)}': {made.why}")


def remove(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    """Take what libvirt keeps on the devices away, and with it the volumes."""
    if (yield from daemon.root.look(_mark(pool))) is None:
        return
    for name in (yield from daemon.root.do("entries", path=pool.target)).data.get("names", ()):
        if pool.type == "logical" or (name.startswith(partition(pool)) and name[len(partition(pool)) :].isdigit()):
            yield from daemon.root.do("remove", path=f"{pool.target}/{name}", directory=False)
    yield from daemon.root.do("remove", path=_mark(pool), directory=False)
