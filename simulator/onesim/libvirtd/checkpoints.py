"""Checkpoints of domains: a bitmap in each disk, which tells what has been written since."""

from __future__ import annotations

from typing import Any

from onesim.libvirtd import bitmaps, moments
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import dump, read, text
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Domain, Libvirtd, Moment
from onesim.libvirtd.printing import Printer

Rows = dict[str, dict[str, str]]


#: What libvirt says of `disks` without a disk, which its schema does not know.
_NO_DISK = (
    "XML document failed to validate against schema: Unable to validate doc against /usr/share/libvirt/schemas/domaincheckpoint.rng\n"
    "Extra element disks in interleave\nElement domaincheckpoint failed to validate content\n"
)


def wanted(root: Any) -> Rows | None:
    """Return what the document of a checkpoint says of its disks; None where it says nothing. Raises Refused where it names none."""
    if root.find("disks") is None:
        return None
    if root.find("disks/disk") is None:
        raise Refused(_NO_DISK)
    return {
        node.get("name", ""): {"checkpoint": node.get("checkpoint", "bitmap"), "bitmap": node.get("bitmap", "")}
        for node in root.findall("disks/disk")
    }


def prepared(daemon: Libvirtd, domain: Domain, name: str, description: str, rows: Rows | None) -> Moment:
    """Return a checkpoint that can be made. Raises Refused."""
    if not domain.running:
        raise Refused("Requested operation is not valid: cannot create checkpoint for inactive domain")
    name = name or str(daemon.now_s)
    if name in domain.checkpoints.all:
        raise Refused(f"operation failed: domain moment {name} already exists")
    disks: Rows = {}
    for disk in domain.disks:
        row = (
            {"checkpoint": "no" if disk.readonly else "bitmap"}
            if rows is None
            else rows.get(disk.target) or rows.get(disk.active.path) or {"checkpoint": "no"}
        )
        disks[disk.target] = {"checkpoint": "bitmap", "bitmap": row.get("bitmap") or name} if row["checkpoint"] == "bitmap" else {"checkpoint": "no"}
        if row["checkpoint"] == "bitmap" and disk.active.format != "qcow2":
            raise Refused(f"unsupported configuration: checkpoint for disk {disk.target} unsupported for storage type {disk.active.format}")
    for target in rows or ():
        if domain.disk(target) is None:
            raise Refused(f"unsupported configuration: no disk named '{target}'")
    return Moment(name, daemon.now_s, "", description, disks, dump(domain, kept=True))


def make(daemon: Libvirtd, domain: Domain, row: Moment) -> Plan[None]:
    """Make a checkpoint: its bitmaps begin, and it becomes the current one."""
    chosen = [(disk, row.disks[disk.target]["bitmap"]) for disk in domain.disks if row.disks[disk.target]["checkpoint"] == "bitmap"]
    for disk, name in chosen:
        if name in (yield from bitmaps.names(daemon.qemu, disk.active)):
            raise Refused(f"internal error: unable to execute QEMU command 'transaction': Bitmap already exists: {name}")
    for disk, name in chosen:
        yield from bitmaps.add(daemon.qemu, disk.active, name)
    moments.remember(domain.checkpoints, row)


def checkpoint_create_as(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    rows: Rows = {}
    for spec in command.words.get("diskspec", ()):
        target, _, more = spec.partition(",")
        pairs = dict(pair.partition("=")[::2] for pair in more.split(",") if pair)
        if not pairs.keys() <= {"checkpoint", "bitmap"}:
            raise Refused(f"unable to parse diskspec: {spec}")
        rows[target] = {"checkpoint": pairs.get("checkpoint", "bitmap"), "bitmap": pairs.get("bitmap", "")}
    row = prepared(daemon, domain, command.get("name"), command.get("description"), rows or None)
    yield from make(daemon, domain, row)
    out.say(f"Domain checkpoint {row.name} created")


def checkpoint_create(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain, path = daemon.domain(command.get("domain")), command.get("xmlfile")
    data = (yield from read_client(path)) if path else b"<domaincheckpoint/>"
    root = read(data, "domain_checkpoint")
    if command.flag("redefine"):
        row = _redefined(domain, root)
        if command.flag("redefine-validate"):
            yield from _validated(daemon, domain, row)
        domain.checkpoints.all[row.name] = row
        domain.checkpoints.current = row.name
    else:
        row = prepared(daemon, domain, text(root, "name"), text(root, "description"), wanted(root))
        yield from make(daemon, domain, row)
    out.say(f"Domain checkpoint {row.name} created" + (f" from '{path}'" if path else ""))


def _redefined(domain: Domain, root: Any) -> Moment:
    """Return a checkpoint that was made before; its bitmaps are there."""
    created, name, parent = text(root, "creationTime"), text(root, "name"), text(root, "parent/name")
    if not created:
        raise Refused("internal error: missing creationTime from existing checkpoint")
    if parent and parent not in domain.checkpoints.all:
        raise Refused(f"invalid argument: parent {parent} for moment {name} not found")
    rows = {target: row if row["checkpoint"] == "no" else {**row, "bitmap": row["bitmap"] or name} for target, row in (wanted(root) or {}).items()}
    return Moment(name, int(created), parent, text(root, "description"), rows, dump(domain, kept=True))


def _validated(daemon: Libvirtd, domain: Domain, row: Moment) -> Plan[None]:
    for target, plan in row.disks.items():
        disk = domain.disk(target)
        if disk is not None and plan["checkpoint"] == "bitmap":
            there = yield from bitmaps.names(daemon.qemu, disk.active)
            if plan["bitmap"] not in there:
                raise Refused(f"Checkpoint inconsistent: missing or broken bitmap '{plan['bitmap']}' for disk '{target}'")


def checkpoint_list(daemon: Libvirtd, command: Command, out: Printer) -> None:
    moments.show_list(daemon.domain(command.get("domain")).checkpoints, command, out, states=False)


def checkpoint_info(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.checkpoints, command, "checkpoint")
    out.facts([("Name", row.name), ("Domain", domain.name), *moments.facts(domain.checkpoints, row)])


def checkpoint_parent(daemon: Libvirtd, command: Command, out: Printer) -> None:
    row = moments.one(daemon.domain(command.get("domain")).checkpoints, command, "checkpoint")
    if not row.parent:
        raise Refused(f"checkpoint '{row.name}' has no parent")
    out.print(row.parent)


def checkpoint_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.checkpoints, command, "checkpoint")
    lines = ["<domaincheckpoint>", f"  <name>{row.name}</name>"]
    lines += [f"  <description>{row.description}</description>"] if row.description else []
    lines += ["  <parent>", f"    <name>{row.parent}</name>", "  </parent>"] if row.parent else []
    lines += [f"  <creationTime>{row.created_s}</creationTime>", "  <disks>"]
    for target, plan in row.disks.items():
        more = ""
        if plan["checkpoint"] == "bitmap":
            more = f" bitmap='{plan['bitmap']}'"
            disk = domain.disk(target)
            if command.flag("size") and disk is not None:
                extents = yield from bitmaps.extents(daemon.qemu, disk.chain, plan["bitmap"])
                more += f" size='{sum(length for _, length in extents or ())}'"
        lines.append(f"    <disk name='{target}' checkpoint='{plan['checkpoint']}'{more}/>")
    lines += ["  </disks>", *([] if command.flag("no-domain") else [f"  {line}" for line in row.domain.splitlines()]), "</domaincheckpoint>"]
    out.print("\n".join(lines) + "\n")


def checkpoint_delete(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    row = moments.one(domain.checkpoints, command, "checkpoint")
    for one in moments.gone(domain.checkpoints, row, command):
        for target, plan in one.disks.items() if not command.flag("metadata") else ():
            disk = domain.disk(target)
            if disk is not None and plan["checkpoint"] == "bitmap":
                yield from bitmaps.remove(daemon.qemu, disk.chain, plan["bitmap"])
        domain.checkpoints.remove(one.name)
    what = " children" if command.flag("children-only") else ""
    out.say(f"Domain checkpoint {row.name}{what} deleted\n")
