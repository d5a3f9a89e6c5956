"""Tells the operations on VMs that are made of several calls of the transfer manager: how disks come to a VM, move with it, and leave it."""

from __future__ import annotations

from collections.abc import Sequence

from onesim.recording.calls import Place, SeenCall, place
from onesim.recording.earlier import known
from onesim.recording.steps import SIZE_MB, Step
from onesim.recording.teller import Teller
from onesim.recording.vms import Vm

#: Calls that make a disk of a VM.
BIRTHS = ("clone", "ln", "mkimage", "mkswap")
#: A pause after which a disk that comes to a VM is no more part of its deployment, where nothing else says so.
_PAUSE_S = 5.0


def goes_on(vm: Vm, call: SeenCall, where: Place) -> bool:
    """Whether a call belongs to the operation whose calls are open."""
    last, last_place = vm.open[-1]
    if call.script or last.script:
        if call.plain == "context":
            return last.plain in (*BIRTHS, "mv") and last.script in ("prolog", "resume", "migrate")
        return call.script == last.script and call.begun_s - last.ended_s < _PAUSE_S and bool(last.ok)
    if not last.ok or call.begun_s - last.ended_s > _PAUSE_S:
        return call.plain == "context" and last.ok and last.plain in (*BIRTHS, "mv")
    if call.plain in BIRTHS:
        return (
            last.plain in BIRTHS and vm.state in ("", "FAILED", "DONE", "UNDEPLOYED", "PENDING") and (where.disk < 0 or where.disk > last_place.disk)
        )
    if call.plain == "context":
        return last.plain in (*BIRTHS, "mv")
    if call.plain == "mv":
        return last.plain == "mv" and last_place.disk >= 0
    return call.plain in ("mvds", "delete") and last.plain in ("mvds", "delete") and last_place.disk >= 0 and where.disk != last_place.disk


def close(teller: Teller, vm: Vm) -> None:
    """Tell the operation whose calls are open."""
    calls, vm.open = vm.open, []
    first, at = calls[0][0], calls[0][0].begun_s
    ok = all(call.ok for call, _ in calls)
    if first.plain in BIRTHS:
        _births(teller, vm, calls, ok)
    elif first.plain == "context":
        teller.vms.awake(vm, at, False)
        teller.steps.say(at, "vm.resume", ok, vm=vm.label)
        vm.state = "RUNNING"
    elif first.plain == "mv":
        _moves(teller, vm, calls, ok)
    else:
        _ends(teller, vm, calls, ok)


def _births(teller: Teller, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
    at = calls[0][0].begun_s
    if vm.state == "FAILED":
        for call, where in calls:
            _disk(teller, vm, call, where)
        vm.last = teller.steps.say(at, "vm.recover_retry", ok, vm=vm.label)
        vm.state = "RUNNING" if ok else "FAILED"
        return
    if vm.state in ("DONE", "UNDEPLOYED", "PENDING"):
        _again(teller, vm, calls, ok)
        return
    if vm.state:
        for call, where in calls:
            disk = _disk(teller, vm, call, where)
            if disk is not None:
                teller.steps.say(call.begun_s, "vm.attach_disk", call.ok, vm=vm.label, disk=disk)
        return
    for call, where in calls:
        _disk(teller, vm, call, where)
    teller.vms.deployed(vm, at, calls[-1][1], ok)


def _again(teller: Teller, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
    """Tell that a VM which had left its host is deployed."""
    at, where = calls[0][0].begun_s, calls[-1][1]
    if vm.state == "DONE":
        # what looked like its end was no more than a clean-up
        vm.last["op"] = "vm.recover_recreate"
    elif vm.state == "UNDEPLOYED":
        teller.steps.say(at, "vm.recover_recreate", vm=vm.label)
    vm.last = teller.steps.say(at, "vm.deploy", ok, vm=vm.label, host=teller.vms.host(where.host), datastore=teller.vms.store(vm, where))
    vm.state = "RUNNING" if ok else "FAILED"


def _disk(teller: Teller, vm: Vm, call: SeenCall, where: Place) -> Step | None:
    """Return the disk that a call makes, noted with its VM; None for a boot file."""
    if call.plain == "context":
        vm.created["context"] = {"NETWORK": "YES"}
        return None
    if where.file:
        vm.created[where.file] = _source(teller, call.argv[0], False, "KERNEL" if where.file == "kernel" else "RAMDISK")
        return None
    if call.plain == "mkimage":
        disk: Step = {"volatile": "fs", "size_mb": SIZE_MB, "format": call.argv[1]}
    elif call.plain == "mkswap":
        disk = {"volatile": "swap", "size_mb": SIZE_MB}
    else:
        disk = {"image": _source(teller, call.argv[0], call.plain == "ln")}
        if call.plain == "ln":
            vm.linked.add(where.disk)
    vm.disks[where.disk] = disk
    vm.sizes[where.disk] = SIZE_MB
    return disk


def _source(teller: Teller, word: str, persistent: bool, kind: str = "OS") -> str:
    """Return the label of the image that a SOURCE means; one that was there before is made first."""
    host, _, path = word.partition(":")
    source = path if path.startswith("/") and "/" not in host else word
    if host and path.startswith("/"):
        teller.vms.front_end = teller.vms.front_end or host
    return teller.images.sourced(source, persistent, kind)


def _moves(teller: Teller, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
    call, there = next((one for one in calls if one[0].plain == "mv"), calls[0])
    here = place(call.argv[0])
    if not vm.state:
        teller.vms.deployed(vm, 0.0, here or Place("", there.vm))
    for one, where in calls:
        if one.plain == "mv" and where.disk >= 0:
            known(teller.vms, where)
    at = call.begun_s
    # the script that takes a VM to the front-end, and the one that brings it back
    if call.script in ("stop", "resume") and here is not None:
        teller.vms.front_end = there.host if call.script == "stop" else here.host
    if here is not None and here.host == teller.vms.front_end != there.host:
        vm.last = teller.steps.say(at, "vm.deploy", ok, vm=vm.label, host=teller.vms.host(there.host), datastore=teller.vms.store(vm, there))
        vm.state = "RUNNING"
    elif teller.vms.front_end and there.host == teller.vms.front_end:
        # the calls of stop and of undeploy are the same; the names of transfer scripts are too
        vm.last = teller.steps.say(at, vm.leaving, ok, vm=vm.label)
        vm.state = "UNDEPLOYED"
    else:
        store, host = teller.vms.store(vm, there), teller.vms.host(there.host)
        if store is None and vm.host and host == teller.vms.host(vm.host):
            teller.steps.left_out["migrations between hosts or system datastores that have one name in the trace"] += 1
        else:
            vm.last = teller.steps.say(at, "vm.migrate", ok, vm=vm.label, host=host, datastore=store)
    vm.host = there.host


def _ends(teller: Teller, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
    at = calls[0][0].begun_s
    whole = any(where.disk < 0 and not where.file for _, where in calls)
    for _, where in calls:
        known(teller.vms, where)
    if whole:
        forced = not vm.epilog and (vm.linked - _read_only(teller, vm)) & {where.disk for call, where in calls if call.plain == "delete"}
        vm.last = teller.steps.say(at, "vm.recover_delete" if forced else "vm.terminate", ok, vm=vm.label)
        vm.state = "DONE"
        return
    for call, where in calls:
        teller.steps.say(call.begun_s, "vm.detach_disk", call.ok, vm=vm.label, disk=where.disk)
        vm.linked.discard(where.disk)


def _read_only(teller: Teller, vm: Vm) -> set[int]:
    """Return the disks of a VM that are known to be CDROMs: they are linked, and deleted in the end."""
    return {id for id, disk in vm.disks.items() if disk.get("image") in teller.images.cdroms}
