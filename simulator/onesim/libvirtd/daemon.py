"""The face of the simulated libvirtd: a command line is planned from its words to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from onesim.libvirtd import backups, blocks, checkpoints, domains, pools, secrets, snapshots, volumes
from onesim.libvirtd.commandline import Command, Line, Wrong, parse, read
from onesim.libvirtd.effects import Plan, Refused
from onesim.libvirtd.model import Libvirtd
from onesim.libvirtd.printing import Printer

Handler = Callable[[Libvirtd, Command, Printer], Any]
_VERSION = "9.0.0"


@dataclass(frozen=True)
class Asked:
    """A virsh as it was started: its words (the command's own name first), on which host, whether by root, and the connection that its environment names."""

    argv: tuple[str, ...]
    host: str
    root: bool = True
    uri: str = ""


@dataclass(frozen=True)
class Printed:
    """What a virsh printed and how it ended."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0


def _uri(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print("qemu:///system\n")


def _hostname(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(f"{daemon.host}\n")


def _nothing(daemon: Libvirtd, command: Command, out: Printer) -> None:
    pass


def _handlers() -> dict[str, Handler]:
    found: dict[str, Handler] = {"uri": _uri, "hostname": _hostname, "quit": _nothing, "exit": _nothing, "list": domains.list_}
    named = {
        domains: "dominfo domstate domid domname domuuid domblklist domblkinfo dumpxml define create start destroy shutdown reboot reset suspend resume undefine "
        "autostart save restore attach-disk detach-disk domfsfreeze domfsthaw",
        blocks: "blockcommit blockpull blockcopy blockjob blockresize",
        pools: "pool-define pool-define-as pool-create pool-create-as pool-build pool-start pool-refresh pool-destroy pool-delete pool-undefine pool-autostart "
        "pool-list pool-info pool-dumpxml pool-uuid pool-name",
        volumes: "vol-create vol-create-as vol-create-from vol-clone vol-resize vol-wipe vol-delete vol-upload vol-download vol-list vol-info vol-dumpxml "
        "vol-path vol-key vol-name vol-pool",
        secrets: "secret-define secret-dumpxml secret-set-value secret-get-value secret-list secret-undefine",
        checkpoints: "checkpoint-create-as checkpoint-create checkpoint-list checkpoint-info checkpoint-parent checkpoint-dumpxml checkpoint-delete",
        backups: "backup-begin backup-dumpxml domjobinfo domjobabort",
        snapshots: "snapshot-create-as snapshot-create snapshot-list snapshot-info "
        "snapshot-parent snapshot-current snapshot-dumpxml snapshot-delete snapshot-revert",
    }
    for module, names in named.items():
        found |= {name: getattr(module, name.replace("-", "_")) for name in names.split()}
    return found


HANDLERS = _handlers()
#: Commands that change something: a connection for reading alone does not carry them out.
_READS = (
    "list",
    "dominfo",
    "domstate",
    "domid",
    "domname",
    "domuuid",
    "domblklist",
    "domblkinfo",
    "dumpxml",
    "uri",
    "hostname",
    "domjobinfo",
    "blockjob",
    "quit",
    "exit",
)
_READ_ENDS = ("-list", "-info", "-dumpxml", "-parent", "-current", "-name", "-uuid", "-path", "-key", "-pool")


def answer(daemons: Mapping[str, Libvirtd], asked: Asked, now_s: int) -> Plan[Printed]:
    """Plan a whole command line. `daemons` are those of the hosts by their names."""
    try:
        line = read(asked.argv[1:])
    except Wrong as wrong:
        return _wrong(wrong)
    if line.asks:
        return Printed(f"{_VERSION}\n".encode() if line.asks == "version" else b"virsh [options]... [<command_string>]\n")
    try:
        commands = [parse(words) for words in line.texts]
    except Wrong as wrong:
        return _wrong(wrong)
    out = Printer(line.quiet)
    try:
        daemon = _connected(daemons, asked, line)
    except Refused as refused:
        out.error("failed to connect to the hypervisor", *refused.lines)
        return Printed(b"", "".join(out.err).encode(), 1)
    daemon.now_s = now_s
    status = 0
    for command in commands:
        status = yield from _carried_out(daemon, command, out, line.readonly)
        if command.name in ("quit", "exit"):
            break
    return Printed("".join(out.out).encode(), "".join(out.err).encode(), status)


def _wrong(wrong: Wrong) -> Printed:
    return Printed(b"", f"error: {wrong}\n".encode(), 1)


def _connected(daemons: Mapping[str, Libvirtd], asked: Asked, line: Line) -> Libvirtd:
    """Return the daemon that a connection reaches. Raises Refused.

    Without a connection named root speaks with the system's daemon, anybody else with one of its own, which knows of nothing.
    """
    uri = line.uri or asked.uri or ("qemu:///system" if asked.root else "qemu:///session")
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver != "qemu" or parts.path not in ("/system", "/session"):
        raise Refused(f"no connection driver available for {uri}")
    host = (parts.hostname or "") if transport or parts.netloc else asked.host
    host = asked.host if host in ("", "localhost", "127.0.0.1") else host
    if host not in daemons:
        raise Refused(f"Cannot recv data: ssh: Could not resolve hostname {host}: Name or service not known: Connection reset by peer")
    return daemons[host] if parts.path == "/system" else Libvirtd(host)


def _carried_out(daemon: Libvirtd, command: Command, out: Printer, readonly: bool) -> Plan[int]:
    status = 0
    try:
        handler = HANDLERS.get(command.name)
        if handler is None:
            raise Refused(f"the simulated virsh does not carry out '{command.name}'")
        if readonly and command.name not in _READS and not command.name.endswith(_READ_ENDS):
            if command.get("domain"):
                daemon.domain(command.get("domain"))
            raise Refused(f"operation forbidden: read only access prevents {command.name}")
        plan = handler(daemon, command, out)
        if plan is not None:
            yield from plan
    except Refused as refused:
        out.error(*refused.lines)
        status = 1
    out.say("\n")
    return status
