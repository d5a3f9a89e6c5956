"""Commands about the volumes of storage pools."""

from __future__ import annotations

import base64

from onesim.libvirtd import devices, pools
from onesim.libvirtd import pool_documents as documents
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.effects import ClientFile, Plan, Refused, read_client
from onesim.libvirtd.model import Libvirtd, Pool, Volume
from onesim.libvirtd.pool_documents import Wanted
from onesim.libvirtd.printing import Printer, human
from onesim.libvirtd.sizes import option_size, volume_size

_UNSUPPORTED = "this function is not supported by the connection driver: "

_NO_ROOM = {27: "cannot extend file '{path}': {why}", 28: "cannot allocate {bytes} bytes in file '{path}': {why}"}


def find(daemon: Libvirtd, command: Command, option: str = "vol", pool_option: str = "pool") -> tuple[Pool, Volume]:
    """Return the volume that a command names: by its name in the pool that it names, else by its key or path in any. Raises Refused."""
    name, pool_name = command.get(option), command.get(pool_option)
    if pool_name:
        pool = pools.find(daemon, pool_name)
        if not pool.active:
            raise Refused(f"pool '{pool.name}' is not active")
        if name in pool.volumes:
            return pool, pool.volumes[name]
    for one in daemon.pools.values():
        for volume in one.volumes.values():
            if name in (volume.path, volume.key):
                return one, volume
    hint = "" if pool_name else ", specifying --pool might help"
    raise Refused(f"failed to get vol '{name}'{hint}", f"Storage volume not found: no storage vol with matching path '{name}'")


def _now(daemon: Libvirtd, pool: Pool, volume: Volume) -> Plan[Volume]:
    """Look at a volume again. What lies below it stays as it was said when the volume was made, or found at the last refresh."""
    seen = yield from pools.seen(daemon, pool, volume.name)
    if seen is None:
        raise Refused(f"Storage volume not found: no storage vol with matching path '{volume.path}'")
    seen.backing, seen.backing_format = volume.backing, volume.backing_format
    pool.volumes[volume.name] = seen
    return seen


def _bytes_at(pool: Pool, volume: Volume) -> str:
    return pools.bytes_of(pool, volume.name)


# making


def make(daemon: Libvirtd, pool: Pool, wanted: Wanted, origin: tuple[Pool, Volume] | None = None, *, metadata: bool = False) -> Plan[Volume]:
    """Make a volume, as a copy of another one if one is given. Raises Refused."""
    if not pool.active:
        raise Refused(f"Requested operation is not valid: storage pool '{pool.name}' is not active")
    if wanted.name in pool.volumes:
        raise Refused(
            f"internal error: storage volume name '{wanted.name}' already in use." if origin else f"storage volume '{wanted.name}' exists already"
        )
    if not pools.can(pool, "clone" if origin else "create"):
        raise Refused(f"{_UNSUPPORTED}storage pool does not support volume creation{' from an existing volume' if origin else ''}")
    if "/" in wanted.name:
        raise Refused(f"Requested operation is not valid: volume name '{wanted.name}' cannot contain '/'")
    if metadata and wanted.backing:
        raise Refused("unsupported configuration: metadata preallocation conflicts with backing store")
    path = f"{pools.home(pool)}/{wanted.name}"
    capacity = max(wanted.capacity, origin[1].capacity if origin else 0)
    if pool.type not in pools.FILES and capacity > pool.available:
        raise Refused("internal error: no large enough free extent" if pool.type == "disk" else "operation failed: Not enough free space in pool")
    if pool.type == "disk" and wanted.name != pools.next_partition(pool):
        raise Refused(f"invalid argument: invalid partition name '{wanted.name}', expected '{pools.next_partition(pool)}'")
    if wanted.format == "dir":
        yield from _must(daemon, "mkdir", f"cannot create path '{path}'", path=path, mode=0o700)
    elif pool.type in pools.FILES and (wanted.format != "raw" or (origin and origin[1].format != "raw")):
        yield from _made_by_tool(daemon, wanted, path, capacity, origin, metadata)
    else:
        yield from _made_plain(daemon, pool, wanted, path, capacity, origin)
    mode = wanted.mode if wanted.mode >= 0 else 0o600 if pool.type in pools.FILES else 0o660
    group = wanted.group if pool.type in pools.FILES or wanted.group >= 0 else 6  # the group disk
    yield from _must(daemon, "own", f"cannot set mode of '{path}'", path=path, mode=mode, uid=wanted.owner, gid=group)
    made = yield from pools.seen(daemon, pool, wanted.name)
    if made is None:
        raise Refused(f"cannot open volume '{path}': No such file or directory")
    made.backing, made.backing_format = wanted.backing, wanted.backing_format or "raw"
    pool.volumes[wanted.name] = made
    pool.allocation += made.allocation
    pool.available = max(pool.available - made.allocation, 0)
    return made


def _must(daemon: Libvirtd, deed: str, failed: str, **arguments: object) -> Plan[None]:
    result = yield from daemon.root.do(deed, **arguments)
    if result.errno:
        raise Refused(f"{failed}: {result.why}")


def _made_plain(daemon: Libvirtd, pool: Pool, wanted: Wanted, path: str, capacity: int, origin: tuple[Pool, Volume] | None) -> Plan[None]:
    """Make a raw volume: all of it is allocated unless its document says otherwise; the copy of another one is as sparse as its zeros."""
    sparse = origin is not None or pool.type not in pools.FILES
    allocate = 0 if sparse else capacity if wanted.allocation < 0 else wanted.allocation
    result = yield from daemon.root.do("create", path=path, size=capacity, allocate=allocate, mode=0o600)
    if result.errno == 17:
        raise Refused(f"storage volume '{wanted.name}' exists already")
    if result.errno in _NO_ROOM:
        raise Refused(_NO_ROOM[result.errno].format(bytes=allocate, path=path, why=result.why))
    if result.errno:
        raise Refused(f"cannot create path '{path}': {result.why}")
    if origin is not None:
        yield from _must(daemon, "copy", f"cannot copy to '{path}'", path=_bytes_at(*origin), target=path, piece=4096, size=capacity)


def _made_by_tool(daemon: Libvirtd, wanted: Wanted, path: str, capacity: int, origin: tuple[Pool, Volume] | None, metadata: bool) -> Plan[None]:
    """Make a volume in a format of QEMU's own. A copy refers to no backing file: all that the origin holds is in it."""
    whole = wanted.allocation < 0 or wanted.allocation >= capacity
    options = ("-o", f"preallocation={'falloc' if whole else 'metadata'}") if metadata else ()
    if origin is None:
        below = ("-b", wanted.backing, "-F", wanted.backing_format or "raw") if wanted.backing else ()
        # without a capacity an overlay is as large as what it lies on
        words = ["create", "-q", "-f", wanted.format, *below, *options, path, *([str(capacity)] if capacity or not below else [])]
    else:
        words = ["convert", "-q", "-f", origin[1].format, "-O", wanted.format, *options, _bytes_at(*origin), path]
    yield from daemon.root.tool("qemu-img", *words)


def vol_create(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, path = pools.find(daemon, command.get("pool")), command.get("file")
    data = yield from read_client(path)
    try:
        wanted = documents.volume(data, pool)
        yield from make(daemon, pool, wanted, metadata=command.flag("prealloc-metadata"))
    except Refused as refused:
        raise Refused(f"Failed to create vol from {path}", *refused.lines) from None
    out.say(f"Vol {wanted.name} created from {path}\n")


def vol_create_as(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, name = pools.find(daemon, command.get("pool")), command.get("name")
    capacity = volume_size(command.get("capacity"))
    lines = ["<volume>", f"  <name>{name}</name>", f"  <capacity>{capacity}</capacity>"]
    lines += [f"  <allocation>{volume_size(command.get('allocation'))}</allocation>"] if command.get("allocation") else []
    lines += ["  <target>", f"    <format type='{command.get('format')}'/>", "  </target>"] if command.get("format") else []
    if command.get("backing-vol"):
        _, below = find(daemon, Command("", {"vol": command.get("backing-vol"), "pool": pool.name}))
        format = command.get("backing-vol-format")
        inner = [f"    <format type='{format}'/>"] if format else []
        lines += ["  <backingStore>", f"    <path>{below.path}</path>", *inner, "  </backingStore>"]
    document = "\n".join([*lines, "</volume>"]) + "\n"
    if command.flag("print-xml"):
        out.print(document)
        return
    try:
        yield from make(daemon, pool, documents.volume(document.encode(), pool), metadata=command.flag("prealloc-metadata"))
    except Refused as refused:
        raise Refused(f"Failed to create vol {name}", *refused.lines) from None
    out.say(f"Vol {name} created\n")


def vol_create_from(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, path = pools.find(daemon, command.get("pool")), command.get("file")
    origin = find(daemon, command, "vol", "inputpool" if command.get("inputpool") else "pool")
    data = yield from read_client(path)
    try:
        wanted = documents.volume(data, pool)
        yield from make(daemon, pool, wanted, origin, metadata=command.flag("prealloc-metadata"))
    except Refused as refused:
        raise Refused(f"Failed to create vol from {path}", *refused.lines) from None
    out.say(f"Vol {wanted.name} created from input vol {origin[1].name}\n")


def vol_clone(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    wanted = Wanted(command.get("newname"), volume.capacity, volume.allocation, volume.format, volume.backing, volume.backing_format)
    try:
        yield from make(daemon, pool, wanted, (pool, volume), metadata=command.flag("prealloc-metadata"))
    except Refused as refused:
        raise Refused(f"Failed to clone vol from {volume.name}", *refused.lines) from None
    out.say(f"Vol {wanted.name} cloned from {volume.name}\n")


# changing


def vol_resize(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    said = command.get("capacity")
    size, delta, shrink = volume_size(said), command.flag("delta"), command.flag("shrink")
    failed = f"Failed to change size of volume '{volume.name}' {'by' if delta else 'to'} {said}"
    wanted = volume.capacity + (-size if shrink else size) if delta else size
    if not pools.can(pool, "resize"):
        raise Refused(failed, f"{_UNSUPPORTED}storage pool does not support changing of volume capacity")
    if wanted < volume.capacity and not shrink:
        raise Refused(failed, "invalid argument: Can't shrink capacity below current capacity unless shrink flag explicitly specified")
    if command.flag("allocate") and wanted - volume.capacity > pool.available:
        raise Refused(failed, "operation failed: Not enough space left in storage pool")
    path = _bytes_at(pool, volume)
    if (yield from daemon.root.look(path)) is None:
        raise Refused(failed, f"Unable to open '{path}': No such file or directory")
    try:
        if volume.format == "raw":
            yield from _must(daemon, "resize", f"Failed to truncate file '{path}'", path=path, size=wanted, allocate=command.flag("allocate"))
        else:
            yield from daemon.root.tool(
                "qemu-img", "resize", "-q", *(["--shrink"] if shrink else []), "-f", volume.format, path, str((wanted + 511) // 512 * 512)
            )
    except Refused as refused:
        raise Refused(failed, *refused.lines) from None
    yield from _now(daemon, pool, volume)
    out.say(f"Size of volume '{volume.name}' successfully changed {'by' if delta else 'to'} {said}\n")


def vol_wipe(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    failed = f"Failed to wipe vol {volume.name}"
    if command.get("algorithm", "zero") != "zero":
        raise Refused(failed, "Cannot find 'scrub' in path: No such file or directory")
    if not pools.can(pool, "wipe"):
        raise Refused(failed, f"{_UNSUPPORTED}storage pool doesn't support volume wiping")
    result = yield from daemon.root.do("zero", path=_bytes_at(pool, volume))
    if result.errno:
        raise Refused(failed, f"Failed to open storage volume with path '{volume.path}': {result.why}")
    out.say(f"Vol {volume.name} wiped\n")


def vol_delete(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    failed = f"Failed to delete vol {volume.name}"
    if not pools.can(pool, "delete"):
        raise Refused(failed, f"{_UNSUPPORTED}storage pool does not support vol deletion")
    if why := devices.undeletable(pool, volume.name):
        raise Refused(failed, why)
    result = yield from daemon.root.do("remove", path=_bytes_at(pool, volume), directory=volume.kind == "dir")
    if result.errno not in (0, 2):
        raise Refused(failed, f"cannot {'remove directory' if volume.kind == 'dir' else 'unlink file'} '{volume.path}': {result.why}")
    del pool.volumes[volume.name]
    pool.allocation = max(pool.allocation - volume.allocation, 0)
    pool.available += volume.allocation
    out.say(f"Vol {volume.name} deleted\n")


# bytes in and out


def vol_upload(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    pool, volume = find(daemon, command)
    offset, length = (option_size(command.get(name, "0"), name, 1) for name in ("offset", "length"))
    result = yield ClientFile(path)
    if result.errno:
        raise Refused(f"cannot read {path}")
    if not pools.can(pool, "transfer"):
        raise Refused(f"cannot upload to volume {volume.name}", f"{_UNSUPPORTED}storage pool doesn't support volume upload")
    data = base64.b64decode(str(result.data["data"]))
    kept = data[:length] if length else data
    written = yield from daemon.root.do("write", path=_bytes_at(pool, volume), offset=offset, data=base64.b64encode(kept).decode(), fresh=False)
    if written.errno:
        raise Refused(f"cannot upload to volume {volume.name}", f"Unable to write to '{volume.path}': {written.why}")
    if len(kept) < len(data):
        raise Refused(f"cannot close volume {volume.name}", "cannot write to stream: No space left on device")


def vol_download(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    pool, volume = find(daemon, command)
    offset, length = (option_size(command.get(name, "0"), name, 1) for name in ("offset", "length"))
    if not pools.can(pool, "transfer"):
        raise Refused(f"cannot download from volume {volume.name}", f"{_UNSUPPORTED}storage pool doesn't support volume download")
    result = yield from daemon.root.do("read", path=_bytes_at(pool, volume), offset=offset, length=length)
    if result.errno:
        raise Refused(f"cannot download from volume {volume.name}", f"Unable to open stream for '{volume.path}': {result.why}")
    written = yield ClientFile(path, base64.b64decode(str(result.data["data"])))
    if written.errno:
        raise Refused(f"cannot create {path}")


# what there is


def vol_list(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = pools.find(daemon, command.get("pool"))
    if not pool.active:
        raise Refused("Failed to list volumes", f"Requested operation is not valid: storage pool '{pool.name}' is not active")
    shown = sorted(pool.volumes.values(), key=lambda one: one.name)
    if not command.flag("details"):
        out.table(("Name", "Path"), [(one.name, one.path) for one in shown])
        return
    rows = []
    for one in shown:
        try:
            now = yield from _now(daemon, pool, one)
        except Refused:
            rows.append((one.name, one.path, "unknown", "unknown", "unknown"))
            continue
        rows.append((now.name, now.path, now.kind, human(now.capacity), human(now.allocation)))
    out.table(("Name", "Path", "Type", "Capacity", "Allocation"), rows)


def vol_info(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    out.facts([("Name", volume.name)])
    now = yield from _now(daemon, pool, volume)
    physical = command.flag("physical")

    def shown(size: int) -> str:
        return f"{size} bytes" if command.flag("bytes") else human(size)

    last = ("Physical", shown(now.physical)) if physical else ("Allocation", shown(now.allocation))
    out.facts([("Type", now.kind), ("Capacity", shown(now.capacity)), last])


def vol_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool, volume = find(daemon, command)
    now = yield from _now(daemon, pool, volume)
    below = None
    if now.backing:
        look = yield from daemon.root.look(now.backing)
        below = Volume("", now.backing, now.backing_format or "raw", 0, 0, 0, look=dict(look or {}))
    out.print(documents.volume_xml(now, below))


def vol_path(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(f"{find(daemon, command)[1].path}\n")


def vol_key(daemon: Libvirtd, command: Command, out: Printer) -> None:
    volume = find(daemon, command)[1]
    out.print(f"{volume.key or volume.path}\n")


def vol_name(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(f"{find(daemon, command)[1].name}\n")


def vol_pool(daemon: Libvirtd, command: Command, out: Printer) -> None:
    pool, _ = find(daemon, command)
    out.print(f"{pool.uuid if command.flag('uuid') else pool.name}\n")
