"""XML-RPC requests as operations of the simulator. Objects are labelled by their ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onesim import grammars
from onesim.errors import ConfigError
from onesim.grammar_values import Single, Template
from onesim.oracle.installation import Installation

#: An operation and its arguments.
Operation = tuple[str, dict[str, object]]


@dataclass(frozen=True)
class Names:
    """What a request leaves open: the id that a new object gets, and the VM of a backup job."""

    installation: Installation
    new_image: str
    new_datastore: str
    job_vm: str


def operation(rpc: str, args: tuple[Any, ...], names: Names) -> Operation | None:
    """Return the operation of a request; None if it changes nothing. Raises ConfigError for a method that is not known here."""
    if rpc in _READS:
        return None
    if rpc not in _METHODS:
        known = ", ".join(sorted(_METHODS))
        raise ConfigError(f"request {rpc} is not known; the methods known are {known}")
    return _METHODS[rpc](list(args), names)


def template(text: str) -> dict[str, Any]:
    """Return a template: attributes by name, vectors as dictionaries. Raises ConfigError if oned would not read it."""
    found = grammars.parse("template", text)
    if not isinstance(found, Template):
        raise ConfigError(f"template {text[:60]!r} cannot be read: {found[0].message}")
    return {one.name: one.value if isinstance(one, Single) else dict(one.values) for one in found.attributes}


def _vm(name: str, **more: str) -> Callable[[list[Any], Names], Operation]:
    """Return the translation of a method whose first argument is the VM and whose others are numbers: names with their positions."""

    def translate(args: list[Any], names: Names) -> Operation:
        return f"vm.{name}", {"vm": str(args[0]), **{key: int(args[int(place)]) for key, place in more.items()}}

    return translate


def _image(name: str, **more: str) -> Callable[[list[Any], Names], Operation]:
    def translate(args: list[Any], names: Names) -> Operation:
        return f"image.{name}", {"image": str(args[0]), **{key: int(args[int(place)]) for key, place in more.items()}}

    return translate


_ACTIONS = {"terminate-hard": "terminate_hard", "undeploy-hard": "undeploy_hard", "poweroff-hard": "poweroff_hard", "reboot-hard": "reset"}
_RESCHEDULED = {"resched": True, "unresched": False}
_RECOVER = ("recover_failure", "recover_success", "recover_retry", "recover_delete", "recover_recreate")
_MIGRATE = ("migrate", "migrate_poweroff", "migrate_poweroff_hard")


def _action(args: list[Any], names: Names) -> Operation:
    name, vm = str(args[0]), str(args[1])
    if name in _RESCHEDULED:
        return "vm.reschedule", {"vm": vm}
    return f"vm.{_ACTIONS.get(name, name)}", {"vm": vm}


def _placed(names: Names, host: int, datastore: int) -> dict[str, object]:
    where: dict[str, object] = {"host": names.installation.hosts[host]}
    return where if datastore < 0 else {**where, "datastore": str(datastore)}


def _deploy(args: list[Any], names: Names) -> Operation:
    return "vm.deploy", {"vm": str(args[0]), **_placed(names, int(args[1]), int(args[3]))}


def _migrate(args: list[Any], names: Names) -> Operation:
    name = "migrate_live" if args[2] else _MIGRATE[int(args[5])]
    return f"vm.{name}", {"vm": str(args[0]), **_placed(names, int(args[1]), int(args[4]))}


def _recover(args: list[Any], names: Names) -> Operation:
    return f"vm.{_RECOVER[int(args[1])]}", {"vm": str(args[0])}


def disk(attributes: dict[str, Any]) -> dict[str, object]:
    """Return a DISK of a template as the simulator's disk."""
    size = {"size_mb": int(attributes["SIZE"])} if "SIZE" in attributes else {}
    if "IMAGE_ID" in attributes:
        return {"image": str(attributes["IMAGE_ID"]), **size}
    more = {key.lower(): attributes[key] for key in ("FORMAT", "FS") if key in attributes}
    return {"volatile": attributes["TYPE"], **size, **more}


def _attach(args: list[Any], names: Names) -> Operation:
    return "vm.attach_disk", {"vm": str(args[0]), "disk": disk(template(args[1])["DISK"])}


def _save(args: list[Any], names: Names) -> Operation:
    return "vm.disk_saveas", {"vm": str(args[0]), "disk": int(args[1]), "image": names.new_image, "snapshot": int(args[4])}


def _snapshot(args: list[Any], names: Names) -> Operation:
    return "vm.snapshot_create", {"vm": str(args[0]), "disk": int(args[1]), "name": str(args[2])}


def _update(args: list[Any], names: Names) -> Operation:
    return "vm.update_conf", {"vm": str(args[0]), "context": template(args[1]).get("CONTEXT", {})}


def _backup(args: list[Any], names: Names) -> Operation:
    return "vm.backup", {"vm": str(args[0]), "datastore": str(args[1]), "image": names.new_image, "reset": bool(args[2])}


def _job(args: list[Any], names: Names) -> Operation:
    return "vm.backup", {"vm": names.job_vm, "datastore": "105", "image": names.new_image, "job": int(args[0])}


def _restore(args: list[Any], names: Names) -> Operation:
    return "vm.restore", {"vm": str(args[0]), "image": str(args[1]), "increment": int(args[2]), "disk": int(args[3])}


def _allocate(args: list[Any], names: Names) -> Operation:
    if len(args) == 1:
        row = names.installation.templates[str(args[0])]
        given = {"PATH": row.path, "SIZE": str(row.size_mb or ""), "FORMAT": row.format, "FS": row.fs, "TYPE": row.type}
        attributes, datastore = {key: value for key, value in given.items() if value}, str(row.datastore)
    else:
        attributes, datastore = template(args[0]), str(args[1])
    common: dict[str, object] = {"image": names.new_image, "datastore": datastore}
    texts = {"TYPE": "type", "PATH": "path", "FORMAT": "format", "FS": "fs", "SOURCE": "source"}
    common |= {key: attributes[name] for name, key in texts.items() if name in attributes}
    if "SIZE" in attributes:
        common["size_mb"] = int(attributes["SIZE"])
    return f"image.{'register' if 'PATH' in attributes else 'adopt' if 'SOURCE' in attributes else 'make'}", common


def _clone(args: list[Any], names: Names) -> Operation:
    where = {"datastore": str(args[2])} if args[2] >= 0 else {}
    return "image.clone", {"of": str(args[0]), "image": names.new_image, **where}


def _delete(args: list[Any], names: Names) -> Operation:
    return "image.delete_forced" if args[1] else "image.delete", {"image": str(args[0])}


def _image_restore(args: list[Any], names: Names) -> Operation:
    wanted = {key.lower(): value for key, value in template(args[2]).items()}
    return "image.restore", {"image": str(args[0]), "datastore": str(args[1]), **wanted}


def _market(args: list[Any], names: Names) -> Operation:
    return "image.export", {"image": str(template(args[0])["ORIGIN_ID"])}


def _new_datastore(args: list[Any], names: Names) -> Operation:
    return "datastore.create", {"datastore": names.new_datastore, "template": template(args[0])}


_METHODS: dict[str, Callable[[list[Any], Names], Operation]] = {
    "one.vm.action": _action,
    "one.vm.deploy": _deploy,
    "one.vm.migrate": _migrate,
    "one.vm.recover": _recover,
    "one.vm.attach": _attach,
    "one.vm.detach": _vm("detach_disk", disk="1"),
    "one.vm.diskresize": _vm("disk_resize", disk="1", size_mb="2"),
    "one.vm.disksaveas": _save,
    "one.vm.disksnapshotcreate": _snapshot,
    "one.vm.disksnapshotdelete": _vm("snapshot_delete", disk="1", snapshot="2"),
    "one.vm.disksnapshotrevert": _vm("snapshot_revert", disk="1", snapshot="2"),
    "one.vm.snapshotcreate": _vm("system_snapshot"),
    "one.vm.updateconf": _update,
    "one.vm.backup": _backup,
    "one.vm.backupcancel": _vm("backup_cancel"),
    "one.vm.restore": _restore,
    "one.backupjob.backup": _job,
    "one.image.allocate": _allocate,
    "one.image.clone": _clone,
    "one.image.delete": _delete,
    "one.image.enable": lambda args, names: (f"image.{'enable' if args[1] else 'disable'}", {"image": str(args[0])}),
    "one.image.persistent": lambda args, names: (f"image.{'make_persistent' if args[1] else 'make_nonpersistent'}", {"image": str(args[0])}),
    "one.image.lock": _image("lock"),
    "one.image.unlock": _image("unlock"),
    "one.image.chtype": lambda args, names: ("image.change_type", {"image": str(args[0]), "type": str(args[1])}),
    "one.image.snapshotdelete": _image("snapshot_delete", snapshot="1"),
    "one.image.snapshotrevert": _image("snapshot_revert", snapshot="1"),
    "one.image.snapshotflatten": _image("snapshot_flatten", snapshot="1"),
    "one.image.restore": _image_restore,
    "one.marketapp.allocate": _market,
    "one.datastore.allocate": _new_datastore,
    "one.datastore.delete": lambda args, names: ("datastore.delete", {"datastore": str(args[0])}),
}
#: Requests, and a word of the recorder, that only look.
_READS = frozenset({"readback", "one.vm.info", "one.image.info", "one.datastore.info"})
