"""Commands about secrets: what pools and disks authenticate with."""

from __future__ import annotations

import base64
import binascii
import re

from onesim.libvirtd.commandline import Command
from onesim.libvirtd.domain_documents import read, text, written
from onesim.libvirtd.effects import Plan, Refused, read_client
from onesim.libvirtd.model import Libvirtd, Secret
from onesim.libvirtd.printing import Printer

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_USAGE = {"ceph": "name", "iscsi": "target", "volume": "volume", "tls": "name", "vtpm": "name"}


def _find(daemon: Libvirtd, uuid: str) -> Secret:
    if not _UUID.fullmatch(uuid):
        raise Refused(f"failed to get secret '{uuid}'", "uuidstr in virSecretLookupByUUIDString must be a valid UUID")
    if uuid not in daemon.secrets:
        raise Refused(f"failed to get secret '{uuid}'", f"Secret not found: no secret with matching uuid '{uuid}'")
    return daemon.secrets[uuid]


def secret_define(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    path = command.get("file")
    root = read((yield from read_client(path)), "secret_definition")
    if root.tag != "secret":
        raise Refused(f"Failed to set attributes from {path}", f"XML error: unexpected root element <{root.tag}>, expecting <secret>")
    kind = "" if root.find("usage") is None else root.find("usage").get("type", "")
    usage = f"{kind} {text(root, 'usage/' + _USAGE.get(kind, 'name'))}" if kind else ""
    uuid = text(root, "uuid") or daemon.new_uuid()
    there = daemon.secrets.get(uuid)
    lines = [f"<secret ephemeral='{root.get('ephemeral', 'no')}' private='{root.get('private', 'no')}'>", f"  <uuid>{uuid}</uuid>"]
    lines += [written(child, 1).rstrip("\n") for child in root if child.tag != "uuid"]
    daemon.secrets[uuid] = Secret(uuid, "\n".join([*lines, "</secret>"]) + "\n", usage, there.value if there else "")
    out.say(f"Secret {uuid} created\n")


def secret_dumpxml(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.print(_find(daemon, command.get("secret")).document)


def secret_set_value(daemon: Libvirtd, command: Command, out: Printer) -> Plan[None]:
    secret = _find(daemon, command.get("secret"))
    if command.get("file"):
        data = yield from read_client(command.get("file"))
        secret.value = base64.b64encode(data).decode() if command.flag("plain") else data.decode(errors="replace").strip()
    elif command.get("base64"):
        out.error("Passing secret value as command-line argument is insecure!")
        secret.value = command.get("base64")
    else:
        raise Refused("Input secret value is missing")
    try:
        base64.b64decode(secret.value, validate=True)
    except (binascii.Error, ValueError):
        secret.value = ""
        raise Refused("Failed to set secret value", "value in virSecretSetValue must not be NULL") from None
    out.say("Secret value set\n")


def secret_get_value(daemon: Libvirtd, command: Command, out: Printer) -> None:
    secret = _find(daemon, command.get("secret"))
    if "private='yes'" in secret.document:
        raise Refused("Invalid secret: secret is private")
    if not secret.value:
        raise Refused(f"Secret not found: secret '{secret.uuid}' does not have a value")
    out.print(base64.b64decode(secret.value).decode(errors="replace") if command.flag("plain") else secret.value)


def secret_list(daemon: Libvirtd, command: Command, out: Printer) -> None:
    out.table(("UUID", "Usage"), [(one.uuid, one.usage or "Unused") for one in sorted(daemon.secrets.values(), key=lambda one: one.uuid)])


def secret_undefine(daemon: Libvirtd, command: Command, out: Printer) -> None:
    secret = _find(daemon, command.get("secret"))
    del daemon.secrets[secret.uuid]
    out.say(f"Secret {secret.uuid} deleted\n")
