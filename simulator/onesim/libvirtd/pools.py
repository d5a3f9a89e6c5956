"""Commands about storage pools. Directories, file systems and shares keep real files at their target; the other types keep the bytes of their volumes in
files below /dev, which all hosts of a world share as they share an array.
"""

from __future__ import annotations

import itertools
from typing import Any

from onesim.libvirt_tables import tables
from onesim.libvirtd import devices
from onesim.libvirtd import pool_documents as documents
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Libvirtd, Pool, Volume
from onesim.libvirtd.printing import Printer, human

FILES = ("dir", "fs", "netfs", "vstorage")
MOUNTED = ("fs", "netfs")
#: What the names of logical units begin with.
_UNIT = "unit:0:0:"
#: The size of a block of a logical unit, in bytes.
_BLOCK = 512
#: What a pool that has no device of its own to measure holds, in bytes.
ROOM = 64 << 30
_AS = {
    "source-host": "<host name='{}'/>",
    "source-dev": "<device path='{}'/>",
    "source-path": "<dir path='{}'/>",
    "adapter-name": "<adapter name='{}'/>",
    "source-initiator": "<initiator>\n      <iqn name='{}'/>\n    </initiator>",
    "source-name": "<name>{}</name>",
    "source-format": "<format type='{}'/>",
    "source-protocol-ver": "<protocol ver='{}'/>",
}


def find(daemon: Libvirtd, name: str) -> Pool:
    """Return a pool by its name or uuid. Raises Refused."""
    found = daemon.pools.get(name) or next((one for one in daemon.pools.values() if one.uuid == name), None)
    if found is None:
        raise Refused(f"failed to get pool '{name}'", f"Storage pool not found: no storage pool with matching name '{name}'")
    return found


def can(pool: Pool, what: str) -> bool:
    """Whether libvirt does something with pools of this type."""
    return any(one.type == pool.type and what in one.can for one in tables().pool)


def home(pool: Pool) -> str:
    """Return the directory that holds the bytes of a pool's volumes."""
    if pool.type in FILES or pool.type in ("logical", "zfs", "disk"):
        return pool.target
    if pool.type in ("rbd", "gluster"):
        return f"/dev/.{pool.type}/{(documents.source(pool).findtext('name') or '').strip('/')}"
    device = documents.source(pool).find("device")
    return pool.target or f"/dev/.{pool.type}/{'' if device is None else device.get('path', '')}"


def make(daemon: Libvirtd, data: bytes, *, persistent: bool) -> Pool:
    """Keep a pool that a document describes. Raises Refused."""
    pool = documents.pool(data, daemon.new_uuid())
    there = daemon.pools.get(pool.name)
    if there is not None and there.uuid != pool.uuid:
        raise Refused(f"operation failed: pool '{pool.name}' already exists with uuid {there.uuid}")
    same = next((one for one in daemon.pools.values() if one.name != pool.name and _conflict(one, pool)), None)
    if same is not None:
        raise Refused(f"operation failed: Storage source conflict with pool: '{same.name}'")
    if there is not None and there.active:
        if not persistent:
            raise Refused(f"operation failed: pool '{pool.name}' is already active")
        there.document, there.persistent = pool.document, True
        return there
    pool.persistent = persistent
    daemon.pools[pool.name] = pool
    return pool


def _conflict(one: Pool, other: Pool) -> bool:
    """Whether two pools are the same storage."""
    if one.type in ("dir", "fs") and other.type == one.type:
        return one.target == other.target if one.type == "dir" else devices.device(one) == devices.device(other)
    return one.type == other.type and home(one) == home(other)


def _as_xml(command: Command) -> str:
    """Return the document that the options of a command describe."""
    lines = [f"<pool type='{command.get('type')}'>", f"  <name>{command.get('name')}</name>"]
    given = [f"    {form.format(command.get(name))}" for name, form in _AS.items() if command.get(name)]
    if command.get("auth-type"):
        secret = f"uuid='{command.get('secret-uuid')}'" if command.get("secret-uuid") else f"usage='{command.get('secret-usage')}'"
        given += [
            f"    <auth type='{command.get('auth-type')}' username='{command.get('auth-username')}'>",
            f"      <secret {secret}/>",
            "    </auth>",
        ]
    lines += ["  <source>", *given, "  </source>"] if given else []
    lines += ["  <target>", f"    <path>{command.get('target')}</path>", "  </target>"] if command.get("target") else []
    return "\n".join([*lines, "</pool>"]) + "\n"


def pool_define(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    data = yield from read_client(path)
    pool = _or(f"Failed to define pool from {path}", daemon, data, persistent=True)
    out.say(f"Pool {pool.name} defined from {path}\n")


def _or(failed: str, daemon: Libvirtd, data: bytes, *, persistent: bool) -> Pool:
    try:
        return make(daemon, data, persistent=persistent)
    except Refused as refused:
        raise Refused(failed, *refused.lines) from None


def pool_define_as(daemon: Libvirtd, command: Command, out: Printer) -> None:
    document = _as_xml(command)
    if command.flag("print-xml"):
        out.print(document)
        return
    pool = _or(f"Failed to define pool {command.get('name')}", daemon, document.encode(), persistent=True)
    out.say(f"Pool {pool.name} defined\n")


def pool_create(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    data = yield from read_client(path)
    pool = yield from _created(daemon, command, data, f"Failed to create pool from {path}")
    out.say(f"Pool {pool.name} created from {path}\n")


def pool_create_as(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    document = _as_xml(command)
    if command.flag("print-xml"):
        out.print(document)
        return
    pool = yield from _created(daemon, command, document.encode(), f"Failed to create pool {command.get('name')}")
    out.say(f"Pool {pool.name} created\n")


def _created(daemon: Libvirtd, command: Command, data: bytes, failed: str) -> Plan[Pool]:
    pool = _or(failed, daemon, data, persistent=False)
    try:
        if command.flag("build") or command.flag("overwrite") or command.flag("no-overwrite"):
            yield from build(daemon, pool, careful=_careful(pool, command))
        yield from start(daemon, pool)
    except Refused as refused:
        if not pool.persistent:
            del daemon.pools[pool.name]
        raise Refused(failed, *refused.lines) from None
    return pool


# a pool's life


def build(daemon: Libvirtd, pool: Pool, *, careful: bool = False) -> Plan[None]:
    """Prepare the storage of a pool: its directory, which belongs to whom its document says, or what it has on its devices; carefully: not over another."""
    if not can(pool, "build"):
        return
    if pool.type in devices.BUILT:
        yield from devices.build(daemon, pool, careful=careful)
    seen = yield from daemon.root.look(home(pool))
    if seen is None:
        mode, owner, group = documents.permissions(pool)
        result = yield from daemon.root.do("mkdir", path=home(pool), mode=0o711)
        if result.errno:
            raise Refused(f"cannot create path '{home(pool)}': {result.why}")
        if pool.type in FILES:
            yield from daemon.root.do("own", path=home(pool), mode=mode, uid=owner, gid=group)


def _careful(pool: Pool, command: Command) -> bool:
    """Whether a command builds nothing over what is there: with a volume group none does that is not told to."""
    return command.flag("no-overwrite") or (pool.type == "logical" and not command.flag("overwrite"))


def start(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    """Start a pool: its storage is looked at. Raises Refused where it is not built."""
    yield from devices.require(daemon, pool)
    if pool.type not in FILES:
        yield from daemon.root.do("mkdir", path=home(pool), mode=0o755)
    if pool.type in MOUNTED:
        mounted = yield from daemon.root.do("mount", path=_store(pool), target=pool.target)
        if mounted.errno:
            why = f"mount: {pool.target}: mount point does not exist." if mounted.errno == 2 else f"mount: {pool.target}: {mounted.why}"
            kind = documents.source(pool).find("format").get("type", "auto")
            named = f" -t {kind}" if pool.type == "fs" and kind != "auto" else ""
            said = f"/bin/mount -o nodev,nosuid,noexec{named} {devices.device(pool) or _share(pool)} {pool.target}"
            more = "       dmesg(1) may have more information after failed mount system call."
            raise Refused(f"internal error: Child process ({said}) unexpected exit status 32: {why}\n{more}\n")
    yield from refresh(daemon, pool)
    pool.active = True


def _share(pool: Pool) -> str:
    """Return what a pool mounts from another host."""
    host, directory = documents.source(pool).find("host"), documents.source(pool).find("dir")
    return f"{'' if host is None else host.get('name')}:{'' if directory is None else directory.get('path')}"


def _store(pool: Pool) -> str:
    """Return where the files of a pool that is mounted lie, whether it is or not: all hosts of a world share them."""
    return f"/dev/.{pool.type}/{(devices.device(pool) or _share(pool)).replace('/', '!')}"


def refresh(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    """Look at the storage of a pool: its volumes and its room. Raises Refused."""
    entries = yield from daemon.root.do("entries", path=home(pool))
    if entries.errno:
        raise Refused(f"cannot open directory '{home(pool)}': {entries.why}")
    pool.volumes, partition = {}, _partition(pool)
    for entry in entries.data["names"]:
        name = f"{_UNIT}{entry}" if pool.type == "iscsi-direct" else entry
        if pool.type == "disk" and not (name.startswith(partition) and name[len(partition) :].isdigit()):
            continue
        volume = yield from seen(daemon, pool, name)
        if volume is not None:
            pool.volumes[name] = volume
    yield from _measure(daemon, pool)


def _measure(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    if pool.type in FILES:
        room = (yield from daemon.root.do("room", path=home(pool))).data
        pool.capacity, pool.allocation, pool.available = room["total"], room["used"], room["free"]
        look = yield from daemon.root.look(home(pool))
        pool.look = dict(look or {})
        return
    pool.allocation = sum(one.capacity for one in pool.volumes.values())
    if not can(pool, "create"):  # what others made is all that there is room for
        pool.capacity, pool.available = pool.allocation, 0
        return
    device = yield from daemon.root.look(devices.device(pool)) if devices.device(pool) else _nothing()
    pool.capacity = int(device["size"]) if device else ROOM
    pool.available = max(pool.capacity - pool.allocation, 0)


def _nothing() -> Plan[None]:
    return
    yield


def _partition(pool: Pool) -> str:
    """Return what the names of the partitions of a device begin with; their numbers follow."""
    return devices.partition(pool)


def next_partition(pool: Pool) -> str:
    """Return the name that libvirt gives to the next partition of a pool of type disk: no other one is taken."""
    return next(name for name in (f"{_partition(pool)}{n}" for n in itertools.count(1)) if name not in pool.volumes)


def bytes_of(pool: Pool, name: str) -> str:
    """Return the file that holds the bytes of a volume: that of a logical unit bears its number."""
    return f"{home(pool)}/{name.removeprefix(_UNIT) if pool.type == 'iscsi-direct' else name}"


def path_of(pool: Pool, name: str) -> str:
    """Return the path that a volume has for libvirt."""
    if pool.type in ("rbd", "gluster"):
        return f"{documents.source(pool).findtext('name')}/{name}"
    if pool.type == "iscsi-direct":
        server = documents.source(pool).find("host")
        portal = f"{server.get('name')}:{server.get('port', '3260')}"
        return f"ip-{portal}-iscsi-{devices.device(pool)}-lun-{name.removeprefix(_UNIT)}"
    return f"{home(pool)}/{name}"


def seen(daemon: Libvirtd, pool: Pool, name: str) -> Plan[Volume | None]:
    """Return what a volume is now, None where there is none (or nothing that a pool lists)."""
    path = bytes_of(pool, name)
    look = yield from daemon.root.look(path)
    if look is None or look["kind"] not in ("file", "dir", "block"):
        return None
    size, allocated = int(look["size"]), int(look["allocated"])
    if look["kind"] == "dir":
        return Volume(name, path, "dir", 0, 0, 0, "dir", look=dict(look))
    if pool.type not in FILES:
        kind = "network" if path_of(pool, name) != path else "block"
        key = path_of(pool, name)
        if pool.type == "iscsi-direct":  # the number of the last block is taken for how many there are
            return Volume(name, key, "", max(size - _BLOCK, 0), max(size - _BLOCK, 0), size, kind, key=key)
        return Volume(
            name, key, "none" if pool.type == "disk" else "raw", size, size, size, kind, look=dict(look) if kind == "block" else {}, key=key
        )
    format = "qcow2" if look["magic"].startswith("514649fb") else "raw"
    volume = Volume(name, path, format, size, allocated, size, look=dict(look))
    if format == "qcow2":
        info = yield from daemon.root.info(path, "qcow2")
        volume.capacity = int(info["virtual-size"])
        volume.backing = info.get("full-backing-filename", info.get("backing-filename", ""))
        volume.backing_format = info.get("backing-filename-format", "")
    return volume


def pool_build(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    yield from _alter(pool, "build", build(daemon, pool, careful=_careful(pool, command)), active=False)
    out.say(f"Pool {pool.name} built\n")


def _alter(pool: Pool, verb: str, plan: Plan[None], *, active: bool) -> Plan[None]:
    """Do something to a pool that must be active, or must not be."""
    failed = f"Failed to {verb} pool {pool.name}"
    if pool.active != active:
        state = {True: "not active", False: "already active" if verb in ("start", "build") else "still active"}[active]
        raise Refused(failed, f"Requested operation is not valid: storage pool '{pool.name}' is {state}")
    try:
        yield from plan
    except Refused as refused:
        raise Refused(failed, *refused.lines) from None


def pool_start(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    if command.flag("build") or command.flag("overwrite"):
        yield from build(daemon, pool, careful=_careful(pool, command))
    yield from _alter(pool, "start", start(daemon, pool), active=False)
    out.say(f"Pool {pool.name} started\n")


def pool_refresh(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    yield from _alter(pool, "refresh", refresh(daemon, pool), active=True)
    out.say(f"Pool {pool.name} refreshed\n")


def pool_destroy(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    yield from _alter(pool, "destroy", _stopped(daemon, pool), active=True)
    pool.active, pool.volumes = False, {}
    if not pool.persistent:
        del daemon.pools[pool.name]
    out.say(f"Pool {pool.name} destroyed\n")


def _stopped(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    if pool.type in MOUNTED:
        yield from daemon.root.do("unmount", path=pool.target)


def pool_delete(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    yield from _alter(pool, "delete", _removed(daemon, pool), active=False)
    out.say(f"Pool {pool.name} deleted\n")


def _removed(daemon: Libvirtd, pool: Pool) -> Plan[None]:
    if not can(pool, "build"):
        raise Refused("this function is not supported by the connection driver: pool does not support pool deletion")
    if pool.type in devices.BUILT:
        yield from devices.remove(daemon, pool)
        return
    result = yield from daemon.root.do("remove", path=home(pool), directory=True)
    if result.errno:
        raise Refused(f"failed to remove pool '{home(pool)}': {result.why}")


def pool_undefine(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    pool = find(daemon, command.get("pool"))
    yield from _alter(pool, "undefine", _nothing(), active=False)
    del daemon.pools[pool.name]
    out.say(f"Pool {pool.name} has been undefined\n")


def pool_autostart(daemon: Libvirtd, command: Command, out: Printer) -> None:
    pool = find(daemon, command.get("pool"))
    pool.autostart = not command.flag("disable")
    out.say(f"Pool {pool.name} {'' if pool.autostart else 'un'}marked as autostarted\n")


# what there is


def pool_list(daemon: Libvirtd, command: Command, out: Printer) -> None:
    types = command.get("type").split(",") if command.get("type") else []
    shown = [one for one in daemon.pools.values() if command.flag("all") or one.active != command.flag("inactive")]
    for name, kept in (("persistent", True), ("transient", False)):
        shown = [one for one in shown if not command.flag(name) or one.persistent is kept]
    for name, kept in (("autostart", True), ("no-autostart", False)):
        shown = [one for one in shown if not command.flag(name) or one.autostart is kept]
    shown = sorted((one for one in shown if not types or one.type in types), key=lambda one: one.name)
    if command.flag("name"):
        out.print("".join(f"{one.name:<20}\n" for one in shown))
    elif command.flag("uuid"):
        out.print("".join(f"{one.uuid:<36}\n" for one in shown))
    elif command.flag("details"):
        rows = [[one.name, _state(one, "running"), _yes(one.autostart), _yes(one.persistent), *_sizes(one)] for one in shown]
        out.table(("Name", "State", "Autostart", "Persistent", "Capacity", "Allocation", "Available"), rows)
    else:
        out.table(("Name", "State", "Autostart"), [(one.name, _state(one, "active"), _yes(one.autostart)) for one in shown])


def _state(pool: Pool, active: str) -> str:
    return active if pool.active else "inactive"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _sizes(pool: Pool) -> list[str]:
    return [human(one) if pool.active else "-" for one in (pool.capacity, pool.allocation, pool.available)]


def pool_info(daemon: Libvirtd, command: Command, out: Printer) -> None:
    pool = find(daemon, command.get("pool"))
    rows: list[tuple[str, Any]] = [("Name", pool.name), ("UUID", pool.uuid), ("State", _state(pool, "running"))]
    rows += [("Persistent", _yes(pool.persistent)), ("Autostart", _yes(pool.autostart))]
    if pool.active:
        exact = [str(one) for one in (pool.capacity, pool.allocation, pool.available)]
        rows += list(zip(("Capacity", "Allocation", "Available"), exact if command.flag("bytes") else _sizes(pool), strict=True))
    out.facts(rows)


def pool_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(documents.pool_xml(find(daemon, command.get("pool"))))


def pool_uuid(daemon: Libvirtd, command: Command, out: Printer) -> None:
    name = command.get("pool")
    if name not in daemon.pools:
        raise Refused(f"failed to get pool '{name}'")
    out.print(f"{daemon.pools[name].uuid}\n")


def pool_name(daemon: Libvirtd, command: Command, out: Printer) -> None:
    uuid = command.get("pool")
    found = next((one for one in daemon.pools.values() if one.uuid == uuid), None)
    if found is None:
        raise Refused(f"failed to get pool '{uuid}'")
    out.print(f"{found.name}\n")
