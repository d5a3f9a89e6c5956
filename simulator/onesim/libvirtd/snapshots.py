"""Snapshots of domains: a new active layer for each disk, with or without a record of it; deleting merges the layer into what lies below."""

from __future__ import annotations

from onesim.libvirtd import bitmaps, chains, moments
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import dump, read, text
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Disk, Domain, Layer, Libvirtd, Moment
from onesim.libvirtd.printing import Printer

_NO_AGENT = "argument unsupported: QEMU guest agent is not configured"


def snapshot_create_as(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    wanted = dict(_spec(one) for one in command.words.get("diskspec", ()))
    name = yield from _create(daemon, domain, command, command.get("name"), command.get("description"), wanted)
    out.say(f"Domain snapshot {name} created")


def _spec(words: str) -> tuple[str, dict[str, str]]:
    """Read vda,snapshot=external,driver=qcow2,stype=file,file=/path. A comma in a value is doubled."""
    parts = [part.replace("\0", ",") for part in words.replace(",,", "\0").split(",")]
    row: dict[str, str] = {}
    for part in parts[1:]:
        name, equals, value = part.partition("=")
        if not equals or name not in ("snapshot", "driver", "stype", "file"):
            raise Refused(f"unable to parse diskspec: {words}")
        row[name] = value
    return parts[0], row


def snapshot_create(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain, path = daemon.domain(command.get("domain")), command.get("xmlfile")
    data = (yield from read_client(path)) if path else b"<domainsnapshot/>"
    root = read(data, "domain_snapshot")
    wanted: dict[str, dict[str, str]] = {}
    for node in root.findall("disks/disk"):
        row = {"snapshot": node.get("snapshot", ""), "stype": node.get("type", "")}
        source, driver = node.find("source"), node.find("driver")
        if source is not None:
            row["file"] = source.get("file") or source.get("dev") or ""
        if driver is not None:
            row["driver"] = driver.get("type", "")
        wanted[node.get("name", "")] = {name: value for name, value in row.items() if value}
    if command.flag("redefine"):
        name = _redefined(domain, root, wanted, command)
    else:
        name = yield from _create(daemon, domain, command, text(root, "name"), text(root, "description"), wanted)
    out.say(f"Domain snapshot {name} created" + (f" from '{path}'" if path else ""))


def _redefined(domain: Domain, root: object, wanted: dict[str, dict[str, str]], command: Command) -> str:
    name = text(root, "name")
    row = Moment(
        name, int(text(root, "creationTime") or 0), text(root, "parent/name"), text(root, "description"), wanted, dump(domain), text(root, "state")
    )
    domain.snapshots.all[name] = row
    if command.flag("current"):
        domain.snapshots.current = name
    return name


def _create(daemon: Libvirtd, domain: Domain, command: Command, name: str, description: str, wanted: dict[str, dict[str, str]]) -> Plan[str]:
    name = name or str(daemon.now_s)
    for target in wanted:
        if domain.disk(target) is None:
            raise Refused(f"unsupported configuration: no disk named '{target}'")
    document = dump(domain, kept=True)
    plans = {disk.target: _planned(disk, wanted.get(disk.target, {}), name, command.flag("disk-only")) for disk in domain.disks}
    layers: list[tuple[Disk, Layer]] = []
    for disk in domain.disks:
        row = plans[disk.target]
        if row["snapshot"] == "external":
            layers.append((disk, Layer(row["file"], row["driver"], row["stype"])))
            yield from _verify(daemon, disk, layers[-1][1], command.flag("reuse-external"))
        elif row["snapshot"] == "internal" and disk.active.format != "qcow2":
            raise Refused(f"unsupported configuration: internal snapshot for disk {disk.target} unsupported for storage type {disk.active.format}")
    if name in domain.snapshots.all and not command.flag("no-metadata"):
        raise Refused(f"operation failed: domain moment {name} already exists")
    if command.flag("quiesce") and not domain.agent:
        raise Refused(_NO_AGENT)
    if not layers and all(row["snapshot"] == "no" for row in plans.values()):
        raise Refused(
            "unsupported configuration: nothing selected for snapshot"
            if command.flag("disk-only")
            else "unsupported configuration: no disks to snapshot"
        )
    yield from _take(daemon, domain, layers, plans, name, reuse=command.flag("reuse-external"))
    if not command.flag("no-metadata"):
        state = "disk-snapshot" if command.flag("disk-only") else "running" if domain.running else "shutoff"
        moments.remember(domain.snapshots, Moment(name, daemon.now_s, "", description, plans, document, state))
    return name


def _planned(disk: Disk, row: dict[str, str], name: str, disk_only: bool) -> dict[str, str]:
    """Return what becomes of a disk: no, internal or external with file, driver and kind."""
    how = row.get("snapshot") or ("external" if row.get("file") else "")
    if not how:
        how = "no" if disk.readonly or not disk.active.path else "external" if disk_only else "internal"
    if how != "external":
        return {"snapshot": how}
    folder, _, last = disk.active.path.rpartition("/")
    stem = last.rpartition(".")[0] or last
    return {
        "snapshot": how,
        "file": row.get("file") or f"{folder}/{stem}.{name}",
        "driver": row.get("driver") or "qcow2",
        "stype": row.get("stype") or "file",
    }


def _verify(daemon: Libvirtd, disk: Disk, layer: Layer, reuse: bool) -> Plan[None]:
    seen = yield from daemon.qemu.look(layer.path)
    if disk.job is not None:
        raise Refused(f"block copy still active: disk '{disk.target}' already in active block job")
    if seen is None and reuse:
        raise Refused(f"missing existing file for disk {disk.target}: {layer.path}: No such file or directory")
    if seen is not None and not reuse and seen["kind"] != "block" and seen["size"]:
        why = f"external snapshot file for disk {disk.target} already exists and is not a block device: {layer.path}"
        raise Refused(f"unsupported configuration: {why}")


def _take(
    daemon: Libvirtd, domain: Domain, layers: list[tuple[Disk, Layer]], plans: dict[str, dict[str, str]], name: str, *, reuse: bool
) -> Plan[None]:
    """Take the snapshot of all disks or of none: what was made before a failure is removed."""
    made: list[str] = []
    for disk, layer in layers:
        if not reuse:
            try:
                yield from chains.create(daemon.qemu, layer.path, layer.format, -1, disk.active)
                made.append(layer.path)
            except Refused:
                for path in made:
                    yield from daemon.qemu.do("remove", path=path, directory=False)
                raise
            if domain.running:
                yield from bitmaps.carry(daemon.qemu, disk.active, layer)
    for disk, layer in layers:
        disk.chain.insert(0, domain.number(layer))
    for disk in domain.disks:
        if plans[disk.target]["snapshot"] == "internal":
            yield from daemon.qemu.tool("qemu-img", "snapshot", "-q", "-c", name, disk.active.path)


def snapshot_list(daemon: Libvirtd, command: Command, out: Printer) -> None:
    moments.show_list(daemon.domain(command.get("domain")).snapshots, command, out, states=True)


def snapshot_info(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.snapshots, command, "snapshot")
    external = any(disk["snapshot"] == "external" for disk in row.disks.values())
    out.facts(
        [
            ("Name", row.name),
            ("Domain", domain.name),
            ("Current", "yes" if domain.snapshots.current == row.name else "no"),
            ("State", row.state),
            ("Location", "external" if external else "internal"),
            *moments.facts(domain.snapshots, row),
            ("Metadata", "yes"),
        ]
    )


def snapshot_parent(daemon: Libvirtd, command: Command, out: Printer) -> None:
    row = moments.one(daemon.domain(command.get("domain")).snapshots, command, "snapshot")
    if not row.parent:
        raise Refused(f"snapshot '{row.name}' has no parent")
    out.print(row.parent)


def snapshot_current(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    if command.get("snapshotname"):
        domain.snapshots.current = moments.one(domain.snapshots, command, "snapshot").name
        out.say(f"Snapshot {domain.snapshots.current} set as current")
    elif not domain.snapshots.current:
        raise Refused(f"domain '{domain.name}' has no current snapshot")
    elif command.flag("name"):
        out.print(domain.snapshots.current)
    else:
        out.print(_document(domain, domain.snapshots.all[domain.snapshots.current]))


def snapshot_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    out.print(_document(domain, moments.one(domain.snapshots, command, "snapshot")))


def _document(domain: Domain, row: Moment) -> str:
    lines = ["<domainsnapshot>", f"  <name>{row.name}</name>"]
    lines += [f"  <description>{row.description}</description>"] if row.description else []
    lines += [f"  <state>{row.state}</state>"]
    lines += ["  <parent>", f"    <name>{row.parent}</name>", "  </parent>"] if row.parent else []
    lines += [
        f"  <creationTime>{row.created_s}</creationTime>",
        f"  <memory snapshot='{'no' if row.state != 'running' else 'internal'}'/>",
        "  <disks>",
    ]
    for target, disk in row.disks.items():
        if disk["snapshot"] != "external":
            lines.append(f"    <disk name='{target}' snapshot='{disk['snapshot']}'/>")
            continue
        lines += [f"    <disk name='{target}' snapshot='external' type='{disk['stype']}'>", f"      <driver type='{disk['driver']}'/>"]
        lines += [f"      <source {'dev' if disk['stype'] == 'block' else 'file'}='{disk['file']}'/>", "    </disk>"]
    lines += ["  </disks>", *(f"  {line}" for line in row.domain.splitlines()), "</domainsnapshot>"]
    return "\n".join(lines) + "\n"


def snapshot_delete(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.snapshots, command, "snapshot")
    for one in moments.gone(domain.snapshots, row, command):
        if not command.flag("metadata"):
            try:
                yield from _merge(daemon, domain, one)
            except Refused as refused:
                raise Refused(f"Failed to delete snapshot {row.name}", *refused.lines) from None
        domain.snapshots.remove(one.name)
    what = " children" if command.flag("children-only") else ""
    out.say(f"Domain snapshot {row.name}{what} deleted\n")


def _merge(daemon: Libvirtd, domain: Domain, row: Moment) -> Plan[None]:
    """Merge what was written since a snapshot into the layer that it kept."""
    for target, plan in row.disks.items():
        disk = domain.disk(target)
        if disk is None or plan["snapshot"] == "no":
            continue
        if plan["snapshot"] == "internal":
            yield from daemon.qemu.tool("qemu-img", "snapshot", "-q", "-d", row.name, disk.active.path)
            continue
        at = chains.place(domain, disk, plan["file"])
        if not domain.running and at + 1 >= len(disk.chain):
            disk.chain = yield from chains.found(daemon.qemu, disk.active)
        yield from chains.commit(daemon.qemu, disk.chain, at, at + 1)
        yield from bitmaps.merge(daemon.qemu, disk.chain, at, at + 1)
        if at:
            yield from chains.drop(daemon.qemu, disk.chain, at, at + 1)
        else:
            del disk.chain[0]
        yield from daemon.qemu.do("remove", path=plan["file"], directory=False)


def snapshot_revert(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.snapshots, command, "snapshot")
    if not domain.persistent and row.state == "disk-snapshot" and not command.flag("running") and not command.flag("paused"):
        why = "transient domain needs to request run or pause to revert to inactive snapshot"
        raise Refused(f"Failed to revert snapshot {row.name}", f"Requested operation is not valid: {why}")
    if any(disk["snapshot"] == "external" for disk in row.disks.values()):
        raise Refused(f"Failed to revert snapshot {row.name}", "unsupported configuration: revert to external snapshot not supported yet")
    for target, plan in row.disks.items():
        disk = domain.disk(target)
        if disk is not None and plan["snapshot"] == "internal":
            yield from daemon.qemu.tool("qemu-img", "snapshot", "-q", "-a", row.name, disk.active.path)
    domain.snapshots.current = row.name
    out.say(f"Domain snapshot {row.name} reverted\n")
