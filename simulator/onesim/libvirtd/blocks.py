"""Block jobs: layers committed, pulled and copied, disks made larger. A job is done when its command ends, save those that wait for pivot or abort."""

from __future__ import annotations

from onesim.libvirtd import bitmaps, chains
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import read, text
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Disk, Domain, Job, Layer, Libvirtd
from onesim.libvirtd.printing import Printer
from onesim.libvirtd.sizes import option_size

_LABELS = {"commit": "Active Block Commit", "copy": "Block Copy"}


def _free(domain: Domain, path: str) -> Disk:
    """Return a disk on which no job runs. Raises Refused."""
    disk = domain.disk(path)
    if disk is None:
        raise Refused(f"invalid argument: disk '{path}' not found in domain")
    if disk.job is not None:
        raise Refused(f"block copy still active: disk '{disk.target}' already in active block job")
    return disk


def _ended(command: Command, out: Printer, label: str, started: str, done: str) -> None:
    """Print what becomes of a job: that it has started, or, to one who waits, that it is done."""
    if any(command.flag(name) for name in ("wait", "pivot", "finish", "keep-overlay", "timeout")):
        if command.flag("verbose"):
            out.progress(label)
        out.say(f"\n{done}")
    else:
        out.say(started)


def blockcommit(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    pivot, keep = command.flag("pivot"), command.flag("keep-overlay")
    if pivot and keep:
        raise Refused("Options --pivot and --keep-overlay are mutually exclusive")
    disk = _free(domain, command.get("path"))
    if not domain.running:
        raise Refused(f"invalid argument: could not find base image in chain for '{disk.target}'")
    active = command.flag("active") or pivot or keep
    top = chains.place(domain, disk, command.get("top")) if command.get("top") else 0
    if top == 0 and not active:
        raise Refused(f"invalid argument: commit of '{disk.target}' active layer requires active flag")
    if top > 0 and active:
        raise Refused(f"invalid argument: active commit requested but '{disk.chain[top].path}' is not active")
    if top + 1 == len(disk.chain):
        raise Refused(f"invalid argument: top '{disk.chain[top].path}' in chain for '{disk.active.path}' has no backing file")
    base = top + 1 if command.flag("shallow") else len(disk.chain) - 1
    if command.get("base"):
        base = chains.place(domain, disk, command.get("base"), below=top)
    yield from _commit(daemon, disk, top, base)
    if top > 0:
        gone = disk.chain[top:base]
        yield from chains.drop(daemon.qemu, disk.chain, top, base)
        yield from _deleted(daemon, command, gone)
    elif pivot:
        gone = disk.chain[:base]
        del disk.chain[:base]
        yield from _deleted(daemon, command, gone)
    elif not keep:
        disk.job = Job("commit", disk.chain[base])
    done = (
        "Successfully pivoted"
        if pivot
        else "Commit complete, overlay image kept"
        if keep
        else "Now in synchronized phase"
        if top == 0
        else "Commit complete"
    )
    _ended(command, out, "Block commit", "Active Block Commit started" if active else "Block Commit started", done)


def _commit(daemon: Libvirtd, disk: Disk, top: int, base: int) -> Plan[None]:
    try:
        yield from chains.commit(daemon.qemu, disk.chain, top, base)
        yield from bitmaps.merge(daemon.qemu, disk.chain, top, base)
    except Refused as refused:
        raise Refused(f"internal error: unable to execute QEMU command 'block-commit': {refused.lines[0]}") from None


def _deleted(daemon: Libvirtd, command: Command, gone: list[Layer]) -> Plan[None]:
    for layer in gone if command.flag("delete") else ():
        yield from daemon.root.do("remove", path=layer.path, directory=False)


def blockpull(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.running(command.get("domain"))
    disk = _free(domain, command.get("path"))
    base = chains.place(domain, disk, command.get("base"), below=0) if command.get("base") else -1
    if len(disk.chain) > 1:
        yield from chains.pull(daemon.qemu, disk.chain, base)
    _ended(command, out, "Block Pull", "Block Pull started", "Pull complete")


def blockcopy(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    if command.flag("pivot") and command.flag("finish"):
        raise Refused("Options --pivot and --finish are mutually exclusive")
    if not command.get("dest") and not command.get("xml"):
        raise Refused("need either --dest or --xml")
    target = yield from _destination(domain, command)
    if not domain.running:
        raise Refused("Requested operation is not valid: domain is not running")
    disk = _free(domain, command.get("path"))
    if domain.persistent and not command.flag("transient-job"):
        raise Refused("Requested operation is not valid: domain is not transient")
    target.format = target.format or disk.active.format
    seen = yield from daemon.qemu.look(target.path)
    reuse = command.flag("reuse-external")
    if seen is not None and not reuse and seen["kind"] != "block" and seen["size"]:
        why = f"external destination file for disk {disk.target} already exists and is not a block device: {target.path}"
        raise Refused(f"unsupported configuration: {why}")
    if seen is None and reuse:
        raise Refused(f"missing destination file for disk {disk.target}: {target.path}: No such file or directory")
    disk.job = Job("copy", domain.number(target), shallow=command.flag("shallow"))
    try:
        yield from chains.copy(daemon.qemu, disk, target, shallow=disk.job.shallow, fresh=not reuse, mode=0o600 if seen is None else seen["mode"])
    except Refused as refused:
        disk.job = None
        raise Refused(f"internal error: unable to execute QEMU command 'blockdev-mirror': {refused.lines[0]}") from None
    done = "Now in mirroring phase"
    if command.flag("pivot") or command.flag("finish"):
        yield from _finish(daemon, disk, pivot=command.flag("pivot"), synced=True)
        done = "Successfully pivoted" if command.flag("pivot") else "Successfully copied"
    _ended(command, out, "Block Copy", "Block Copy started", done)


def _destination(domain: Domain, command: Command) -> Plan[Layer]:
    if not command.get("xml"):
        return Layer(command.get("dest"), command.get("format"), "block" if command.flag("blockdev") else "file")
    root = read((yield from read_client(command.get("xml"))), "disk_definition")
    source, format = root.find("source"), root.find("driver")
    kind = root.get("type", "file")
    if source is None or text(root, "source"):
        raise Refused("XML error: missing source in disk definition")
    return Layer(source.get({"file": "file", "block": "dev"}.get(kind, "name"), ""), "" if format is None else format.get("type", ""), kind)


def _finish(daemon: Libvirtd, disk: Disk, *, pivot: bool, synced: bool = False) -> Plan[None]:
    """End a job that was ready: what the guest has written since is there on both sides; the domain goes on with the one or the other."""
    job = disk.job
    assert job is not None
    if job.kind == "copy":
        if not synced:
            yield from chains.copy(daemon.qemu, disk, job.base, shallow=job.shallow, fresh=False)
        if pivot:
            disk.chain = [job.base, *(disk.chain[1:] if job.shallow else [])]
    else:
        at = disk.chain.index(job.base)
        yield from _commit(daemon, disk, 0, at)
        if pivot:
            del disk.chain[:at]
    disk.job = None


def blockjob(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    path = command.get("path")
    disk = domain.disk(path)
    if not domain.running:
        raise Refused("Requested operation is not valid: domain is not running")
    if disk is None:
        raise Refused(f"invalid argument: disk '{path}' not found in domain")
    if command.flag("abort") or command.flag("pivot") or command.flag("async"):
        if disk.job is None:
            raise Refused(f"invalid argument: disk {path} does not have an active block job")
        yield from _finish(daemon, disk, pivot=command.flag("pivot"))
    elif disk.job is None:
        out.say(f"No current block job for {path}")
    elif command.flag("raw"):
        out.print(f" type={_LABELS[disk.job.kind]}\n bandwidth=0\n cur=1\n end=1\n")
    else:
        out.progress(_LABELS[disk.job.kind])
        out.print("\n")


def blockresize(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    path, size = command.get("path"), option_size(command.get("size"), "size", 1024)
    failed = f"Failed to resize block device '{path}'"
    if not domain.running:
        raise Refused(failed, "Requested operation is not valid: domain is not running")
    disk = domain.disk(path)
    if disk is None:
        raise Refused(failed, f"invalid argument: disk '{path}' was not found in the domain config")
    try:
        yield from daemon.qemu.tool(
            "qemu-img", "resize", "-q", "--shrink", "-f", disk.active.format, disk.active.path, str((size + 511) // 512 * 512)
        )
    except Refused as refused:
        raise Refused(failed, f"internal error: unable to execute QEMU command 'block_resize': {refused.lines[0]}") from None
    out.say(f"Block device '{path}' is resized")
