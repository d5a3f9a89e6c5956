"""Commands about domains: what there is, starting and stopping, saving and restoring, disks plugged in and out."""

from __future__ import annotations

import base64

from onesim.libvirtd import chains
from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import domain as read_domain
from onesim.libvirtd.domain_documents import dump
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Disk, Domain, Layer, Libvirtd
from onesim.libvirtd.printing import Printer, human

_NOT_RUNNING = "Requested operation is not valid: domain is not running"


def _shown(daemon: Libvirtd, command: Command) -> list[Domain]:
    """Return the domains that `list` is about: those that run by their ids, then the others by their names."""
    every = command.flag("all") or any(name.startswith("state-") for name in command.options)
    chosen = [one for one in daemon.domains.values() if every or one.running != command.flag("inactive")]
    states = {name.removeprefix("state-") for name in command.options if name.startswith("state-")}
    if states:
        chosen = [one for one in chosen if one.state.replace(" ", "") in states]
    for name, kept in (("persistent", True), ("transient", False)):
        if command.flag(name):
            chosen = [one for one in chosen if one.persistent is kept]
    for what, moments in (("snapshot", "snapshots"), ("checkpoint", "checkpoints")):
        if command.flag(f"with-{what}"):
            chosen = [one for one in chosen if getattr(one, moments).all]
        if command.flag(f"without-{what}"):
            chosen = [one for one in chosen if not getattr(one, moments).all]
    return sorted(chosen, key=lambda one: (not one.running, one.id, one.name))


def list_(daemon: Libvirtd, command: Command, out: Printer) -> None:
    shown = _shown(daemon, command)
    if command.flag("name") or command.flag("uuid") or command.flag("id"):
        for one in shown:
            columns = [one.name] if command.flag("name") else []
            columns = ([one.uuid] if command.flag("uuid") else [str(one.id or "-")] if command.flag("id") else []) + columns
            out.print(" ".join(columns) + "\n")
    else:
        out.table(("Id", "Name", "State"), [(str(one.id or "-"), one.name, one.state) for one in shown])


def dominfo(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    out.facts(
        [
            ("Id", str(domain.id or "-")),
            ("Name", domain.name),
            ("UUID", domain.uuid),
            ("OS Type", "hvm"),
            ("State", domain.state),
            ("CPU(s)", "1"),
            *([("CPU time", "0.1s")] if domain.running else []),
            ("Max memory", "65536 KiB"),
            ("Used memory", "65536 KiB"),
            ("Persistent", "yes" if domain.persistent else "no"),
            ("Autostart", "enable" if domain.autostart else "disable"),
            ("Managed save", "no"),
            ("Security model", "none"),
            ("Security DOI", "0"),
        ]
    )


def domstate(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    out.print(f"{domain.state} ({domain.reason})\n" if command.flag("reason") else f"{domain.state}\n")


def domid(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    out.print(f"{domain.id or '-'}\n")


def domname(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(f"{daemon.domain(command.get('domain')).name}\n")


def domuuid(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(f"{daemon.domain(command.get('domain')).uuid}\n")


def domblklist(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    rows = [(one.active.kind, one.device, one.target, one.active.path or "-") for one in domain.disks]
    if command.flag("details"):
        out.table(("Type", "Device", "Target", "Source"), rows)
    else:
        out.table(("Target", "Source"), [row[2:] for row in rows])


def domblkinfo(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    if not command.flag("all") and not command.get("device"):
        raise Refused("command 'domblkinfo' requires <device> option")
    wanted = (
        domain.disks if command.flag("all") else [_disk(domain, command.get("device"), "invalid argument: invalid path {} not assigned to domain")]
    )
    rows = []
    for disk in wanted:
        seen = yield from daemon.qemu.look(disk.active.path)
        info = yield from daemon.qemu.info(disk.active.path, disk.active.format)
        sizes = (int(info["virtual-size"]), int(seen["allocated"]) if seen else 0, int(seen["size"]) if seen else 0)
        rows.append((disk.target, *(human(one, 3) if command.flag("human") else str(one) for one in sizes)))
    if command.flag("all"):
        out.table(("Target", "Capacity", "Allocation", "Physical"), rows)
    else:
        out.facts(list(zip(("Capacity", "Allocation", "Physical"), rows[0][1:], strict=True)))


def _disk(domain: Domain, name: str, words: str) -> Disk:
    found = domain.disk(name)
    if found is None:
        raise Refused(words.format(name))
    return found


def dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(dump(daemon.domain(command.get("domain")), inactive=command.flag("inactive")))


# starting and stopping


def start_domain(daemon: Libvirtd, domain: Domain) -> Plan[None]:
    """Start a domain: QEMU opens its disks."""
    yield from chains.open_disks(daemon.qemu, domain)
    boot(daemon, domain)


def boot(daemon: Libvirtd, domain: Domain) -> None:
    """Let a domain run."""
    domain.id, daemon.next_id = daemon.next_id, daemon.next_id + 1
    domain.state, domain.reason = "running", "booted"


def stop_domain(daemon: Libvirtd, domain: Domain, reason: str) -> None:
    """End a domain; a transient one is gone."""
    domain.state, domain.reason, domain.id, domain.backup, domain.frozen = "shut off", reason, 0, "", False
    domain.next_index = 1
    for disk in domain.disks:
        disk.job, disk.chain = None, [Layer(disk.active.path, disk.active.format, disk.active.kind)]
    if not domain.persistent:
        del daemon.domains[domain.name]


def _checked(daemon: Libvirtd, data: bytes, uuid: str) -> Domain:
    domain = read_domain(data, uuid)
    there = daemon.domains.get(domain.name)
    if there is not None and there.uuid != domain.uuid:
        raise Refused(f"operation failed: domain '{domain.name}' already exists with uuid {there.uuid}")
    return domain


def define(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    data = yield from read_client(path)
    try:
        domain = _checked(daemon, data, daemon.new_uuid())
    except Refused as refused:
        raise Refused(f"Failed to define domain from {path}", *refused.lines) from None
    there = daemon.domains.get(domain.name)
    if there is None:
        daemon.domains[domain.name] = domain
        there = domain
    elif not there.running:
        there.document, there.disks, there.agent = domain.document, domain.disks, domain.agent
    there.persistent = True
    out.say(f"Domain '{domain.name}' defined from {path}\n")


def create(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    data = yield from read_client(path)
    try:
        domain = _checked(daemon, data, daemon.new_uuid())
        if domain.name in daemon.domains and daemon.domains[domain.name].running:
            raise Refused(f"Requested operation is not valid: domain '{domain.name}' is already active")
        yield from start_domain(daemon, domain)
    except Refused as refused:
        raise Refused(f"Failed to create domain from {path}", *refused.lines) from None
    daemon.domains[domain.name] = domain
    if command.flag("paused"):
        domain.state, domain.reason = "paused", "user"
    out.say(f"Domain '{domain.name}' created from {path}\n")


def start(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    if domain.running:
        raise Refused("Domain is already active")
    try:
        yield from start_domain(daemon, domain)
    except Refused as refused:
        raise Refused(f"Failed to start domain '{domain.name}'", *refused.lines) from None
    if command.flag("paused"):
        domain.state, domain.reason = "paused", "user"
    out.say(f"Domain '{domain.name}' started\n")


def _stop(daemon: Libvirtd, command: Command, verb: str) -> Domain:
    domain = daemon.domain(command.get("domain"))
    if not domain.running:
        raise Refused(f"Failed to {verb} domain '{domain.name}'", _NOT_RUNNING)
    return domain


def destroy(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "destroy")
    stop_domain(daemon, domain, "destroyed")
    out.say(f"Domain '{domain.name}' destroyed\n")


def shutdown(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "shutdown")
    stop_domain(daemon, domain, "shutdown")
    out.say(f"Domain '{domain.name}' is being shutdown\n")


def reboot(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "reboot")
    out.say(f"Domain '{domain.name}' is being rebooted\n")


def reset(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "reset")
    out.say(f"Domain '{domain.name}' was reset\n")


def suspend(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "suspend")
    domain.state, domain.reason = "paused", "user"
    out.say(f"Domain '{domain.name}' suspended\n")


def resume(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = _stop(daemon, command, "resume")
    if domain.state == "running":
        raise Refused(f"Failed to resume domain '{domain.name}'", "Requested operation is not valid: domain is already running")
    domain.state, domain.reason = "running", "unpaused"
    out.say(f"Domain '{domain.name}' resumed\n")


def undefine(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    if not domain.persistent:
        raise Refused(f"Failed to undefine domain '{domain.name}'", "Requested operation is not valid: cannot undefine transient domain")
    for what, moments in (("snapshots", domain.snapshots), ("checkpoints", domain.checkpoints)):
        if moments.all and not domain.running and not command.flag(f"{what}-metadata"):
            why = f"cannot delete inactive domain with {len(moments.all)} {what}"
            raise Refused(f"Failed to undefine domain '{domain.name}'", f"Requested operation is not valid: {why}")
    domain.persistent = False
    if not domain.running:
        del daemon.domains[domain.name]
    out.say(f"Domain '{domain.name}' has been undefined\n")


def autostart(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    domain.autostart = not command.flag("disable")
    out.say(f"Domain '{domain.name}' {'un' if command.flag('disable') else ''}marked as autostarted\n")


# saving and restoring


def save(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain, path = daemon.domain(command.get("domain")), command.get("file")
    if not domain.running:
        raise Refused(f"Failed to save domain '{domain.name}' to {path}", _NOT_RUNNING)
    yield from _written(daemon, path, f"LibvirtQemudSave\n{dump(domain)}")
    stop_domain(daemon, domain, "saved")
    out.say(f"\nDomain '{domain.name}' saved to {path}\n")


def _written(daemon: Libvirtd, path: str, text: str) -> Plan[None]:
    """Write a file as libvirtd writes the state of a domain."""
    result = yield from daemon.root.do("write", path=path, data=base64.b64encode(text.encode()).decode(), offset=0, fresh=True)
    if result.errno:
        raise Refused(f"Failed to create file '{path}': {result.why}")


def restore(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    result = yield from daemon.root.do("read", path=path, offset=0, length=0)
    if result.errno:
        raise Refused(f"Failed to restore domain from {path}", f"Failed to open file '{path}': {result.why}")
    head, _, document = base64.b64decode(str(result.data["data"])).partition(b"\n")
    if head != b"LibvirtQemudSave":
        raise Refused(f"Failed to restore domain from {path}", "operation failed: image magic is incorrect")
    domain = _checked(daemon, document, daemon.new_uuid())
    there = daemon.domains.get(domain.name)
    if there is not None and there.running:
        raise Refused(f"Failed to restore domain from {path}", f"Requested operation is not valid: domain '{domain.name}' is already active")
    if there is not None:
        there.disks = domain.disks
        domain = there
    yield from start_domain(daemon, domain)
    domain.reason = "restored"
    daemon.domains[domain.name] = domain
    out.say(f"Domain restored from {path}\n")


# disks


def attach_disk(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    domain = daemon.domain(command.get("domain"))
    path, target = command.get("source"), command.get("target")
    there = domain.disk(target)
    if there is not None:
        raise Refused("Failed to attach disk", f"XML error: target '{target}' duplicated for disk sources '{there.active.path}' and '{path}'")
    kind = command.get("sourcetype") or ("block" if path.startswith("/dev/") else "file")
    layer = Layer(path, command.get("subdriver") or "raw", kind)
    disk = Disk(target, [layer], command.get("type") or "disk", command.get("targetbus") or "virtio", command.get("mode") == "readonly")
    if domain.running:
        try:
            disk.chain = yield from chains.found(daemon.qemu, layer)
        except Refused as refused:
            raise Refused("Failed to attach disk", *refused.lines) from None
        for one in disk.chain:
            domain.number(one)
    domain.disks.append(disk)
    out.say("Disk attached successfully\n")


def detach_disk(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    disk = _disk(domain, command.get("target"), "No disk found whose source path or target is {}")
    domain.disks.remove(disk)
    out.say("Disk detached successfully\n")


# the guest


def domfsfreeze(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    if not domain.agent:
        raise Refused("Unable to freeze filesystems", _no_agent(domain))
    domain.frozen = True
    out.say("Froze 1 filesystem(s)\n")


def domfsthaw(daemon: Libvirtd, command: Command, out: Printer) -> None:
    domain = daemon.domain(command.get("domain"))
    if not domain.agent:
        raise Refused("Unable to thaw filesystems", _no_agent(domain))
    thawed, domain.frozen = int(domain.frozen), False
    out.say(f"Thawed {thawed} filesystem(s)\n")


def _no_agent(domain: Domain) -> str:
    return "argument unsupported: QEMU guest agent is not configured" if domain.running else _NOT_RUNNING
