"""Backups of running domains in push mode, full or since a checkpoint, and the jobs that domjobinfo tells of. A backup is done when its command ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onesim.libvirtd import bitmaps, checkpoints
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import read, text
from onesim.libvirtd.effects import Hand, Plan, Refused, read_client
from onesim.libvirtd.model import Disk, Domain, Layer, Libvirtd
from onesim.libvirtd.printing import Printer, human


@dataclass(frozen=True)
class _Part:
    """The backup of one disk: where it goes; `since` = the bitmap that tells what is to be copied, empty for all."""

    disk: Disk
    target: Layer
    since: str = ""


def backup_begin(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    path = command.get("backupxml")
    root = read((yield from read_client(path)) if path else b"<domainbackup/>", "domain_backup")
    kept = None
    if command.get("checkpointxml"):
        kept = read((yield from read_client(command.get("checkpointxml"))), "domain_checkpoint")
    if not domain.running:
        raise Refused("Operation not supported: cannot perform disk backup for inactive domain")
    if root.get("mode", "push") != "push":
        raise Refused("unsupported configuration: the simulated libvirt makes backups in push mode alone")
    parts = _parts(daemon, domain, root)
    row = None
    if kept is not None:
        row = checkpoints.prepared(daemon, domain, text(kept, "name"), text(kept, "description"), checkpoints.wanted(kept))
    for part in parts:
        yield from _verify(daemon.qemu, part, command.flag("reuse-external"))
    copied = 0
    for part in parts:
        try:
            copied += yield from _copied(daemon.qemu, part)
        except Refused as refused:
            raise Refused(f"internal error: unable to execute QEMU command 'transaction': {refused.lines[0]}") from None
    if row is not None:
        yield from checkpoints.make(daemon, domain, row)
    domain.completed = {"Time elapsed": f"{'1':<12} ms"}
    if copied:
        domain.completed |= {"File processed": human(copied, 3), "File remaining": "0.000 B", "File total": human(copied, 3)}
    out.say("Backup started\n")


def _parts(daemon: Libvirtd, domain: Domain, root: Any) -> list[_Part]:
    """Return what is backed up. Raises Refused."""
    since = text(root, "incremental")
    rows = {node.get("name", ""): node for node in root.findall("disks/disk")}
    for target in rows:
        if domain.disk(target) is None:
            raise Refused(f"unsupported configuration: no disk named '{target}'")
    parts = []
    for disk in domain.disks:
        node = rows.get(disk.target)
        if (rows and node is None) or (node is not None and node.get("backup") == "no") or not disk.active.path or (node is None and disk.readonly):
            continue
        if disk.job is not None:
            raise Refused(f"Requested operation is not valid: disk '{disk.target}' already has a blockjob")
        own = since if node is None else node.get("incremental") or ("" if node.get("backupmode") == "full" else since)
        parts.append(_Part(disk, _target(daemon, disk, node), _bitmap(domain, disk, own) if own else ""))
    if not parts:
        raise Refused("invalid argument: no disks selected for backup")
    return parts


def _target(daemon: Libvirtd, disk: Disk, node: Any) -> Layer:
    target, driver = (None, None) if node is None else (node.find("target"), node.find("driver"))
    format = "qcow2" if driver is None else driver.get("type", "qcow2")
    if target is None:
        return Layer(f"{disk.active.path}.{daemon.now_s}", format)
    return Layer(target.get("file") or target.get("dev") or "", format, "block" if target.get("dev") else "file")


def _bitmap(domain: Domain, disk: Disk, since: str) -> str:
    checkpoint = domain.checkpoints.all.get(since)
    if checkpoint is None:
        raise Refused(f"Domain checkpoint not found: Checkpoint '{since}' for incremental backup of disk '{disk.target}' not found")
    plan = checkpoint.disks.get(disk.target, {"checkpoint": "no"})
    if plan["checkpoint"] != "bitmap":
        raise Refused(f"invalid argument: disk '{disk.target}' not found in checkpoint '{since}'")
    return plan["bitmap"]


def _verify(hand: Hand, part: _Part, reuse: bool) -> Plan[None]:
    seen = yield from hand.look(part.target.path)
    if seen is not None and not reuse and seen["kind"] != "block":
        raise Refused(f"invalid argument: store '{part.target.path}' for backup of '{part.disk.target}' exists")
    if seen is None and reuse:
        raise Refused(f"invalid argument: store '{part.target.path}' for backup of '{part.disk.target}' does not exist")
    if part.since and (yield from bitmaps.extents(hand, part.disk.chain, part.since)) is None:
        raise Refused(f"invalid argument: missing or broken bitmap '{part.since}' for disk '{part.disk.target}'")


def _copied(hand: Hand, part: _Part) -> Plan[int]:
    """Copy a disk, or what was written to it since the bitmap began. Returns the bytes that were copied."""
    active, target = part.disk.active, part.target
    if not part.since:
        yield from hand.tool("qemu-img", "convert", "-q", "-U", "-f", active.format, "-O", target.format, active.path, target.path)
        yield from hand.do("own", path=target.path, mode=0o600, uid=-1, gid=-1)
        return int((yield from hand.info(active.path, active.format))["virtual-size"])
    extents = (yield from bitmaps.extents(hand, part.disk.chain, part.since)) or []
    whole, sieved = f"{target.path}.whole", f"{target.path}.part"
    yield from hand.tool("qemu-img", "convert", "-q", "-U", "-f", active.format, "-O", "raw", active.path, whole)
    result = yield from hand.do("sieve", path=whole, target=sieved, extents=extents)
    yield from hand.tool("qemu-img", "convert", "-q", "-f", "raw", "-O", target.format, sieved, target.path)
    zeros = [word for at, length in result.data.get("zeros", ()) for word in ("-c", f"write -z {at} {length}")]
    if zeros:
        yield from hand.tool("qemu-io", "-f", target.format, *zeros, target.path)
    if target.format == "qcow2":  # QEMU is told that what was not copied lies in the disk
        yield from hand.tool("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", active.path, "-F", active.format, target.path)
    for path in (whole, sieved):
        yield from hand.do("remove", path=path, directory=False)
    yield from hand.do("own", path=target.path, mode=0o600, uid=-1, gid=-1)
    return sum(length for _, length in extents)


def backup_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> None:
    daemon.domain(command.get("domain"))
    raise Refused("Domain backup job id not found: no domain backup job present")


def domjobinfo(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    if not command.flag("completed") or not domain.completed:
        out.print(f"{'Job type:':<17} {'None':<12}\n")
        return
    rows = {"Job type": f"{'Completed':<12}", "Operation": f"{'Backup':<12}", **domain.completed}
    out.print("".join(f"{name + ':':<17} {value}\n" for name, value in rows.items()))
    if not command.flag("keep-completed"):
        domain.completed = {}


def domjobabort(daemon: Libvirtd, command: Command, out: Printer) -> None:
    daemon.running(command.get("domain"))
    raise Refused("Requested operation is not valid: no job is active on the domain")
