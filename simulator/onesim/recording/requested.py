"""Tells, from the requests in `oned.log`, what no transfer script is written for: work on images, and what is done to VMs that run."""

from __future__ import annotations

import re
from typing import Any

from onesim.recording.calls import Place, SeenCall
from onesim.recording.earlier import known
from onesim.recording.steps import SIZE_MB
from onesim.recording.teller import Teller
from onesim.recording.vms import Vm

#: States of a VM, by how their names begin, and the requests that lead to them.
_OF_STATES = {
    "HOTPLUG_PROLOG": ("one.vm.attach",),
    "HOTPLUG_EPILOG": ("one.vm.detach",),
    "HOTPLUG_SAVEAS": ("one.vm.disksaveas",),
    "HOTPLUG": ("one.vm.attach", "one.vm.detach"),
    "DISK_SNAPSHOT": ("one.vm.disksnapshotcreate", "one.vm.disksnapshotrevert", "one.vm.disksnapshotdelete"),
    "DISK_RESIZE": ("one.vm.diskresize",),
    "BACKUP": ("one.vm.backup",),
    "RESTORE": ("one.vm.restore",),
}
#: States whose transfer script tells as much as the request, or more: disks that come to a VM which is off, or leave it.
_SCRIPTS_TELL = ("HOTPLUG_PROLOG", "HOTPLUG_EPILOG")
#: Transfer scripts that tell no more than the request does. One is written over when its phase runs again, while the requests are all there.
COVERED = ("disk_saveas", "disk_snapshot", "disk_resize", "restore")
_WAITING = {method for methods in _OF_STATES.values() for method in methods}
_OF_SNAPSHOTS = ("snapshotdelete", "snapshotrevert", "snapshotflatten")
_SWITCHES = {
    ("persistent", "true"): "image.make_persistent",
    ("persistent", "false"): "image.make_nonpersistent",
    ("enable", "true"): "image.enable",
    ("enable", "false"): "image.disable",
}


def request(teller: Teller, call: SeenCall) -> None:
    """Take a request: tell it if it is about an image, keep it with its VM until the state comes that it leads to."""
    if call.status == 1:
        teller.steps.left_out[f"requests that oned refused: {call.action}"] += 1
    elif call.action in _WAITING and call.argv and call.argv[0].isdigit():
        teller.vms.vm(int(call.argv[0])).asked.append(call)
    elif call.action.startswith("one.image."):
        _image(teller, call)


def state(teller: Teller, vm: Vm, event: SeenCall) -> bool:
    """Take a state that a request has led to. Return whether it is one of those, and known."""
    prefix = next((one for one in _OF_STATES if event.action.startswith(one)), "")
    if event.action.startswith("HOTPLUG_") and prefix == "HOTPLUG":
        return False
    call = taken(vm, event, prefix)
    if call is not None and prefix not in _SCRIPTS_TELL:
        _told(teller, vm, call, event)
    return call is not None


def taken(vm: Vm, event: SeenCall, state: str) -> SeenCall | None:
    """Return the request that has led to a state, which is then no longer waited for; None if there is none."""
    waiting = [one for one in vm.asked if one.action in _OF_STATES.get(state, ()) and one.begun_s <= event.begun_s + 1]
    if waiting:
        vm.asked.remove(waiting[0])
    return waiting[0] if waiting else None


def _told(teller: Teller, vm: Vm, call: SeenCall, event: SeenCall) -> None:
    at, words = event.begun_s, call.argv
    disk = int(words[1]) if len(words) > 1 and words[1].isdigit() else -1
    number = int(words[0])
    vm.covered = True
    if call.action == "one.vm.restore":
        _restored(teller, vm, call, event)
        return
    if (call.action != "one.vm.attach" and disk < 0) or (call.action == "one.vm.disksaveas" and not call.stdout.isdigit()):
        teller.steps.left_out[f"requests whose arguments are not understood: {call.action}"] += 1
        return
    known(teller.vms, Place(vm.host, number, disk))
    if call.action == "one.vm.attach":
        told = _disk(teller, words[1] if len(words) > 1 else "")
        vm.last = teller.steps.say(at, "vm.attach_disk", event.ok, vm=vm.label, disk=told)
        if event.ok:
            free = max(vm.disks, default=-1) + 1
            vm.disks[free], vm.sizes[free] = told, SIZE_MB
    elif call.action == "one.vm.detach":
        vm.last = teller.steps.say(at, "vm.detach_disk", event.ok, vm=vm.label, disk=disk)
        vm.linked.discard(disk)
    elif call.action == "one.vm.disksaveas":
        label = f"image{call.stdout.decode()}"
        teller.images.labels[int(call.stdout)] = label
        snapshot = int(words[4]) if len(words) > 4 and words[4].isdigit() else None
        vm.last = teller.steps.say(at, "vm.disk_saveas", event.ok, vm=vm.label, disk=disk, image=label, snapshot=snapshot)
    elif call.action == "one.vm.diskresize":
        vm.sizes[disk] = size = vm.sizes.get(disk, SIZE_MB) + 1
        vm.last = teller.steps.say(at, "vm.disk_resize", event.ok, vm=vm.label, disk=disk, size_mb=size)
    else:
        what = call.action.removeprefix("one.vm.disksnapshot")
        snapshot = int(words[2]) if what != "create" and len(words) > 2 and words[2].isdigit() else None
        vm.last = teller.steps.say(at, f"vm.snapshot_{what}", event.ok, vm=vm.label, disk=disk, snapshot=snapshot)


def _restored(teller: Teller, vm: Vm, call: SeenCall, event: SeenCall) -> None:
    if len(call.argv) < 4:
        vm.covered = False
        return
    known(teller.vms, Place(vm.host, int(call.argv[0])))
    vm.last = teller.backups.disks_restored(int(call.argv[0]), event, *call.argv[1:4])


def _disk(teller: Teller, template: str) -> dict[str, Any]:
    """Return the disk that the beginning of a template tells of: an image by its number, swap space, or else an image that nothing is known of."""
    if found := re.search(r'IMAGE_ID\s*=\s*"?(\d+)(?![\d.])', template):
        return {"image": teller.images.numbered(int(found[1]))}
    if re.search(r"TYPE\s*=\s*\"?swap", template, re.IGNORECASE):
        return {"volatile": "swap", "size_mb": SIZE_MB}
    teller.steps.left_out["attached disks of which oned.log tells too little: told as an image of their own"] += 1
    return {"image": teller.images.earlier()}


def _image(teller: Teller, call: SeenCall) -> None:
    what, ok, at = call.action.removeprefix("one.image."), call.ok, call.begun_s
    words = call.argv
    if what in ("allocate", "clone"):
        if not call.stdout.isdigit():
            teller.steps.left_out[f"requests whose result is missing: {call.action}"] += 1
            return
        number = int(call.stdout)
        label = f"image{number}"
        if number in teller.images.restored:
            return
        if what == "clone" and words and words[0].isdigit():
            of = teller.images.numbered(int(words[0]))
            teller.steps.say(at, "image.clone", ok, image=label, of=of)
        elif call.script == "mkfs":
            teller.steps.say(at, "image.make", ok, image=label, size_mb=SIZE_MB, format="raw")
        else:
            teller.images.registered(at, label, "raw", "OS", False, ok)
        teller.images.labels[number] = label
        return
    if not words or not words[0].isdigit():
        teller.steps.left_out[f"requests whose arguments are not understood: {call.action}"] += 1
        return
    number = int(words[0])
    switch = _SWITCHES.get((what, words[1] if len(words) > 1 else ""))
    if switch is not None:
        teller.steps.say(at, switch, ok, image=teller.images.numbered(number))
    elif what == "delete":
        op = "image.delete_forced" if words[1:2] == ("true",) else "image.delete"
        if number in teller.images.labels:
            teller.steps.say(at, op, ok, image=teller.images.numbered(number))
        else:
            teller.backups.named(teller.steps.say(at, op, ok, image=""), number)
    elif what == "restore":
        _images_restored(teller, call, number)
    elif what in _OF_SNAPSHOTS and len(words) > 1 and words[1].isdigit():
        teller.steps.say(at, f"image.{what.replace('snapshot', 'snapshot_')}", ok, image=teller.images.numbered(number), snapshot=int(words[1]))
    else:
        teller.steps.left_out[f"requests: {call.action}"] += 1


def _images_restored(teller: Teller, call: SeenCall, number: int) -> None:
    """Tell of images that are made of a backup. The images that its driver then asks for are among the requests: their ids are the result."""
    teller.images.restored |= {int(word): ("", "") for word in call.stdout.decode().split()[1:] if word.isdigit()}
    template = call.argv[2] if len(call.argv) > 2 else ""
    step = teller.steps.say(call.begun_s, "image.restore", call.ok, image="")
    increment = re.search(r'INCREMENT_ID\s*=\s*"?(\d+)(?![\d.])', template)
    disk = re.search(r'DISK_ID\s*=\s*"?(\d+)(?![\d.])', template)
    step |= {"disk_id": int(disk[1])} if disk else {}
    if template.endswith("..."):
        teller.steps.left_out["images restored of which oned.log tells too little: told as of the whole newest increment, but for what it tells"] += 1
    teller.backups.named(step, number, int(increment[1]) if increment else -1)
