"""Tells what calls of a transfer driver are of: those of which several make an operation are kept with their VM until it is whole."""

from __future__ import annotations

from onesim.recording import requested
from onesim.recording.backup_facts import vm_document
from onesim.recording.calls import Place, SeenCall, place
from onesim.recording.earlier import known
from onesim.recording.operations import BIRTHS, close, goes_on
from onesim.recording.steps import SIZE_MB
from onesim.recording.teller import Teller
from onesim.recording.vms import Vm

_SNAPSHOTS = {
    "snap_create": "snapshot_create",
    "snap_create_live": "snapshot_create",
    "snap_delete": "snapshot_delete",
    "snap_revert": "snapshot_revert",
}


def transfer_call(teller: Teller, call: SeenCall) -> None:
    """Take a call of a transfer driver."""
    plain = call.plain
    places = [one for one in map(place, call.argv) if one is not None]
    if plain in ("monitor", "monitor_ds"):
        teller.steps.left_out[f"tm/{plain}"] += 1
        return
    if plain in ("premigrate", "postmigrate", "failmigrate"):
        _migration(teller, call)
        return
    numbers = [word for word in call.argv[1 if plain == "restore" else -2 :] if word.isdigit()]
    where = places[-1] if plain in (*BIRTHS, "context", "mv") and places else places[0] if places else None
    if where is None or not numbers:
        teller.steps.left_out[f"tm/{plain}: arguments that are not understood"] += 1
        return
    vm = teller.vms.of.get(where.vm)
    if vm is not None and vm.open and not goes_on(vm, call, where):
        close(teller, vm)
    if plain in (*BIRTHS, "context", "mv", "mvds", "delete"):
        vm = teller.vms.vm(where.vm)
        vm.open.append((call, where))
        return
    vm = known(teller.vms, where, vm_document(call.document))
    if vm.covered and call.script in requested.COVERED:
        if not call.ok:
            vm.last["expect"] = "any"
    elif plain in _SNAPSHOTS:
        _snapshot(teller, vm, call, where)
    elif plain == "resize":
        vm.sizes[where.disk] = size = vm.sizes.get(where.disk, SIZE_MB) + 1
        teller.steps.say(call.begun_s, "vm.disk_resize", call.ok, vm=vm.label, disk=where.disk, size_mb=size)
    elif plain == "restore" and len(call.argv) > 4:
        teller.vms.awake(vm, call.begun_s, False)
        vm.restoring = None
        teller.backups.disks_restored(where.vm, call, *call.argv[2:5])
    elif plain == "cpds":
        _saved(teller, vm, call, where)
    elif plain.startswith(("prebackup", "postbackup")):
        teller.backups.seen(call)
    else:
        teller.steps.left_out[f"tm/{plain}"] += 1


def _snapshot(teller: Teller, vm: Vm, call: SeenCall, where: Place) -> None:
    if call.plain in ("snap_create", "snap_revert"):
        teller.vms.awake(vm, call.begun_s, False)
    elif call.plain == "snap_create_live":
        teller.vms.awake(vm, call.begun_s, True)
    snapshot = None if call.plain.startswith("snap_create") else int(call.argv[1])
    teller.steps.say(call.begun_s, f"vm.{_SNAPSHOTS[call.plain]}", call.ok, vm=vm.label, disk=where.disk, snapshot=snapshot)


def _saved(teller: Teller, vm: Vm, call: SeenCall, where: Place) -> None:
    waiting = teller.images.waiting_saves
    label = teller.images.labels[waiting.pop(0)] if waiting else teller.steps.label("saved")
    teller.images.sources[call.argv[1]] = label
    snapshot = int(call.argv[2]) if call.argv[2].lstrip("-").isdigit() else -1
    snap = snapshot if snapshot >= 0 else None
    teller.steps.say(call.begun_s, "vm.disk_saveas", call.ok, vm=vm.label, disk=where.disk, image=label, snapshot=snap)


def _migration(teller: Teller, call: SeenCall) -> None:
    if call.plain != "premigrate" or len(call.argv) < 4 or not call.argv[3].isdigit():
        return
    number = int(call.argv[3])
    if number in teller.vms.of and teller.vms.of[number].open:
        close(teller, teller.vms.of[number])
    vm = known(teller.vms, Place(call.argv[0], number), vm_document(call.document))
    teller.vms.awake(vm, call.begun_s, True)
    teller.steps.say(call.begun_s, "vm.migrate_live", call.ok, vm=vm.label, host=teller.vms.host(call.argv[1]))
    vm.host = call.argv[1]
