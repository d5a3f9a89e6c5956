"""Calls that were seen on a front-end, told as a trace: the operations that oned must have carried out.

What a call cannot tell is settled as `docs/record.md` says. Disks are made small: a trace is about what is done, not about how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from onesim.recording import earlier, requested
from onesim.recording.backup_facts import Survey, is_backup, standing, survey, vm_document, vm_of
from onesim.recording.backups import Backups
from onesim.recording.calls import Place, SeenCall, place
from onesim.recording.stores import Stores

Step = dict[str, Any]
_TYPES = {0: "OS", 1: "CDROM", 2: "DATABLOCK", 3: "KERNEL", 4: "RAMDISK", 5: "CONTEXT"}
_BIRTHS = ("clone", "ln", "mkimage", "mkswap")
_SNAPSHOTS = {
    "snap_create": "snapshot_create",
    "snap_create_live": "snapshot_create",
    "snap_delete": "snapshot_delete",
    "snap_revert": "snapshot_revert",
}
#: A pause after which a disk that comes to a VM is no more part of its deployment, where nothing else says so.
_PAUSE_S = 5.0
_SIZE_MB = 2
#: LCM_STATE of a VM that runs while it is backed up.
_BACKUP_RUNNING = "69"
#: States of a VM, as its log tells them, and the operations that lead to them; storage calls alone do not tell these apart, or there are none.
_LEAVING = {"SAVE_STOP": "vm.stop", "EPILOG_STOP": "vm.stop", "SHUTDOWN_UNDEPLOY": "vm.undeploy", "EPILOG_UNDEPLOY": "vm.undeploy"}
_CHANGES = {
    "SHUTDOWN_POWEROFF": ("vm.poweroff", "POWEROFF"),
    "SAVE_SUSPEND": ("vm.suspend", "SUSPENDED"),
    "BOOT_POWEROFF": ("vm.resume", "RUNNING"),
    "BOOT_SUSPENDED": ("vm.resume", "RUNNING"),
    "BOOT_UNKNOWN": ("vm.resume", "RUNNING"),
    "CLEANUP_DELETE": ("vm.recover_delete", "DONE"),
    "CLEANUP_RESUBMIT": ("vm.recover_recreate", "PENDING"),
}


@dataclass
class Vm:
    """What is known of a VM. `asked` are requests whose state has not come yet, `covered` is whether the state that it is in was told by a request,
    `store` is its system datastore, `since_s` when it first ran, `restoring` the state of a restore of which no script has told yet.

    `disks` are those of vm.create, by id; `sizes` are the MiB that the trace gives them."""

    label: str
    state: str = "RUNNING"
    host: str = ""
    store: str = ""
    disks: dict[int, Step] = field(default_factory=dict)
    linked: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)
    created: Step = field(default_factory=dict)
    last: Step = field(default_factory=dict)
    leaving: str = "vm.undeploy"
    told: bool = False
    epilog: bool = False
    covered: bool = False
    asked: list[SeenCall] = field(default_factory=list)
    since_s: float = 0.0
    restoring: SeenCall | None = None
    open: list[tuple[SeenCall, Place]] = field(default_factory=list)


@dataclass
class Retold:
    """Steps in their order, and how many calls of each kind were left out."""

    steps: list[Step]
    left_out: Counter[str]


class Teller:
    """Takes calls, requests and states in the order in which they began, and makes the steps of a trace of them."""

    def __init__(self, known: Survey) -> None:
        self.steps: list[tuple[float, int, Step]] = []
        self.left_out: Counter[str] = Counter()
        self.vms: dict[int, Vm] = {}
        self.sources: dict[str, str] = {}
        self.images: dict[int, str] = {}
        self.cdroms: set[str] = set()
        self.hosts: dict[str, str] = {}
        self.front_end = ""
        self.waiting_saves: list[int] = []
        self.backups = Backups(self, known)
        self.stores = Stores(self)
        self.restored: dict[int, tuple[str, str]] = {}
        self.made = 0

    def say(self, at_s: float, op: str, ok: bool = True, **arguments: Any) -> Step:
        step: Step = {"op": op, **{name: value for name, value in arguments.items() if value is not None}}
        if not ok:
            step["expect"] = "any"
        self.steps.append((at_s, len(self.steps), step))
        return step

    # images

    def image_call(self, call: SeenCall) -> None:
        number = int(call.field("IMAGE/ID") or -1) if call.plain not in ("monitor", "stat", "backup", "backup_cancel", "ls") else -1
        image = call.document.find("IMAGE") if number >= 0 and call.document is not None else None
        if call.plain in ("monitor", "stat", "ls"):
            # stat leads up to cp, ls is asked by tm/restore: each is told with it
            self.left_out[f"ds/{call.plain}"] += call.plain == "monitor"
        elif image is not None and is_backup(image) and vm_of(image) >= 0 and call.plain in ("rm", "restore", "increment_flatten"):
            self._of_backup(call, image)
        elif call.plain in ("cp", "mkfs", "clone") and number >= 0:
            self._new_image(call, number)
        elif call.plain == "rm" and number >= 0:
            self.say(call.begun_s, "image.delete", call.ok, image=self._image(number, call))
        elif call.plain in ("snap_delete", "snap_revert", "snap_flatten") and number >= 0:
            name = self._image(number, call)
            snapshot = int(call.field("IMAGE/TARGET_SNAPSHOT") or 0)
            self.say(call.begun_s, f"image.{call.plain.replace('snap', 'snapshot')}", call.ok, image=name, snapshot=snapshot)
        elif call.plain == "export" and number >= 0:
            self.say(call.begun_s, "image.export", call.ok, image=self._image(number, call))
        elif call.plain in ("backup", "backup_cancel"):
            self._backup(call)
        else:
            self.left_out[f"ds/{call.plain}"] += 1

    def _of_backup(self, call: SeenCall, image: etree._Element) -> None:
        if call.plain == "rm":
            self.backups.removed(call, image)
        elif call.plain == "increment_flatten":
            self.backups.flattened(call, image)
        else:
            given = self.backups.images_restored(call, image)
            self.restored |= {int(word): (call.field("TEMPLATE/NAME"), given) for word in call.stdout.split()[1:] if word.isdigit()}

    def _new_image(self, call: SeenCall, number: int) -> None:
        words = call.stdout.split()
        source = words[0].decode(errors="replace") if words else call.field("IMAGE/SOURCE")
        if number in self.restored:
            # the driver has asked for it as it restored a backup, and will again; its name begins as it was told to
            asked, given = self.restored[number]
            if source and asked and call.field("IMAGE/NAME").startswith(asked):
                self.images[number] = self.sources[source] = given + call.field("IMAGE/NAME").removeprefix(asked)
            return
        label = self.images[number] = f"image{number}"
        if source:
            self.sources[source] = label
        kind = _TYPES.get(int(call.field("IMAGE/TYPE") or 0), "OS")
        persistent = call.field("IMAGE/PERSISTENT") == "1" or None
        store = call.field("DATASTORE/ID")
        self.stores.note(store, call.field("DATASTORE/TYPE"))
        if call.plain == "clone":
            of = self._image(int(call.field("IMAGE/CLONING_ID") or -1), call)
            self.say(call.begun_s, "image.clone", call.ok, image=label, of=of, datastore=self.stores.images(store, label, of))
        elif call.plain == "mkfs" and call.field("IMAGE/FORMAT") == "save_as":
            self.waiting_saves.append(number)
        elif call.plain == "mkfs":
            fs = call.field("IMAGE/FS") or None
            form = call.field("IMAGE/FORMAT") or "raw"
            self.say(
                call.begun_s,
                "image.make",
                call.ok,
                image=label,
                size_mb=_SIZE_MB,
                format=form,
                fs=fs,
                persistent=persistent,
                type=None if kind == "DATABLOCK" else kind,
                datastore=self.stores.images(store, label),
            )
        else:
            form = words[1].decode(errors="replace") if len(words) > 1 else call.field("IMAGE/FORMAT")
            self.registered(call.begun_s, label, form, kind, bool(persistent), call.ok, store)

    def registered(self, at_s: float, label: str, form: str, kind: str, persistent: bool, ok: bool = True, store: str = "") -> None:
        """Tell that an image was registered. `store` is the id of its datastore, if that is known."""
        if kind == "CDROM":
            self.cdroms.add(label)
        form = "qcow2" if form == "qcow2" else "raw"
        path = f"/var/tmp/{label}.{form}"
        self.say(at_s, "file.make", path=path, format=form, size_mb=_SIZE_MB)
        self.say(
            at_s,
            "image.register",
            ok,
            image=label,
            path=path,
            persistent=persistent or None,
            type=None if kind == "OS" else kind,
            datastore=self.stores.images(store, label),
        )

    def _image(self, number: int, call: SeenCall) -> str:
        """Return the label of an image; one that was there before is made first."""
        if number not in self.images and call.field("IMAGE/SOURCE") in self.sources:
            self.images[number] = self.sources[call.field("IMAGE/SOURCE")]
        if number not in self.images:
            label = self.images[number] = f"image{number}"
            kind = _TYPES.get(int(call.field("IMAGE/TYPE") or 0), "OS")
            self.registered(
                0.0, label, call.field("IMAGE/FORMAT"), kind, call.field("IMAGE/PERSISTENT") == "1", store=call.field("IMAGE/DATASTORE_ID")
            )
        return self.images[number]

    def _source(self, word: str, persistent: bool, kind: str = "OS") -> str:
        """Return the label of the image that a SOURCE means; one that was there before is made first."""
        host, _, path = word.partition(":")
        source = path if path.startswith("/") and "/" not in host else word
        if host and path.startswith("/"):
            self.front_end = self.front_end or host
        if source not in self.sources:
            self.made += 1
            label = self.sources[source] = f"earlier{self.made}"
            self.registered(0.0, label, "qcow2" if source.endswith("qcow2") else "raw", kind, persistent)
        return self.sources[source]

    def numbered(self, number: int) -> str:
        """Return the label of an image of which no more than its number is known; one that was there before is made first."""
        if number not in self.images:
            self.images[number] = f"image{number}"
            self.registered(0.0, f"image{number}", "raw", "OS", False)
        return self.images[number]

    def earlier(self, kind: str = "OS", form: str = "raw", persistent: bool = False) -> str:
        """Return the label of an image that was there before the VMs that have it."""
        self.made += 1
        label = f"earlier{self.made}"
        self.registered(-1.0, label, form, kind, persistent)
        return label

    # VMs

    def vm(self, number: int) -> Vm:
        """Return what is known of a VM, if only its number."""
        return self.vms.setdefault(number, Vm(f"vm{number}", state=""))

    def vm_state(self, event: SeenCall) -> None:
        """Take a change of state that the log of a VM tells."""
        vm = self.vm(int(event.argv[0]))
        vm.told = True
        if vm.open:
            self._close(vm)
        if vm.restoring is not None:
            self.backups.disks_restored(int(event.argv[0]), vm.restoring, "", "", "")
            vm.restoring = None
        vm.epilog, vm.covered = event.action == "EPILOG", False
        state = event.action
        if not vm.state and state in ("RESTORE", "BACKUP_POWEROFF"):
            # the log begins with a VM that is off
            self.known(Place("", int(event.argv[0])))
            self.say(event.begun_s, "vm.poweroff", vm=vm.label)
            vm.state = "POWEROFF"
        if state in _LEAVING:
            vm.leaving = _LEAVING[state]
        elif state.endswith("FAILURE"):
            vm.last["expect"] = "any"
            vm.state = "FAILED" if state == "PROLOG_FAILURE" else vm.state
        elif state == "MIGRATE" and vm.state:
            other = next((name for name in self.hosts if self._host(name) != self._host(vm.host)), "another")
            vm.last = self.say(event.begun_s, "vm.migrate_live", event.ok, vm=vm.label, host=self._host(other))
            vm.host = other if event.ok else vm.host
        elif state in _CHANGES and vm.state:
            op, vm.state = _CHANGES[state]
            vm.last = self.say(event.begun_s, op, vm=vm.label)
        elif state in ("BACKUP", "BACKUP_POWEROFF"):
            self.known(Place(vm.host, int(event.argv[0])))
            asked = requested.taken(vm, event, "BACKUP")
            self.backups.begun(int(event.argv[0]), event, None, reset=asked is not None and asked.argv[2:3] == ("true",))
        elif state == "BACKUP_CANCEL":
            self.backups.cancelled(int(event.argv[0]), event)
        elif requested.state(self, vm, event):
            return
        elif state == "RESTORE":
            # its script tells of which backup, if it is there
            self.known(Place(vm.host, int(event.argv[0])))
            vm.restoring = event
        elif state in ("HOTPLUG", "HOTPLUG_SNAPSHOT", "HOTPLUG_RESIZE", "DISK_SNAPSHOT", "DISK_RESIZE"):
            self.left_out[f"states {state}: what was done then stands in no transfer script, nor in an oned.log that was given"] += 1

    def vm_call(self, call: SeenCall) -> None:
        plain = call.plain
        places = [one for one in map(place, call.argv) if one is not None]
        if plain in ("monitor", "monitor_ds"):
            self.left_out[f"tm/{plain}"] += 1
            return
        if plain in ("premigrate", "postmigrate", "failmigrate"):
            self._migration(call)
            return
        numbers = [word for word in call.argv[1 if plain == "restore" else -2 :] if word.isdigit()]
        where = places[-1] if plain in (*_BIRTHS, "context", "mv") and places else places[0] if places else None
        if where is None or not numbers:
            self.left_out[f"tm/{plain}: arguments that are not understood"] += 1
            return
        vm = self.vms.get(where.vm)
        if vm is not None and vm.open and not self._goes_on(vm, call, where):
            self._close(vm)
        if plain in (*_BIRTHS, "context", "mv", "mvds", "delete"):
            vm = self.vm(where.vm)
            vm.open.append((call, where))
            return
        vm = self.known(where, vm_document(call.document))
        if vm.covered and call.script in requested.COVERED:
            if not call.ok:
                vm.last["expect"] = "any"
        elif plain in _SNAPSHOTS:
            self._snapshot(vm, call, where)
        elif plain == "resize":
            vm.sizes[where.disk] = size = vm.sizes.get(where.disk, _SIZE_MB) + 1
            self.say(call.begun_s, "vm.disk_resize", call.ok, vm=vm.label, disk=where.disk, size_mb=size)
        elif plain == "restore" and len(call.argv) > 4:
            self._awake(vm, call.begun_s, False)
            vm.restoring = None
            self.backups.disks_restored(where.vm, call, *call.argv[2:5])
        elif plain == "cpds":
            self._saved(vm, call, where)
        elif plain.startswith(("prebackup", "postbackup")):
            self._backup(call)
        else:
            self.left_out[f"tm/{plain}"] += 1

    def known(self, where: Place, document: etree._Element | None = None) -> Vm:
        """Return a VM; one that ran before is deployed first, with the disks that are named, or that its document tells."""
        vm = self.vms.setdefault(where.vm, Vm(f"vm{where.vm}", state=""))
        if not vm.state:
            earlier.deploy(self, vm, where, document)
        if where.disk >= 0 and where.disk not in vm.disks:
            for id in range(where.disk + 1):
                if id not in vm.disks:
                    vm.disks[id] = vm.created["disks"][id] = {"image": self.earlier()}
        return vm

    def _goes_on(self, vm: Vm, call: SeenCall, where: Place) -> bool:
        """Whether a call belongs to the operation whose calls are open."""
        last, last_place = vm.open[-1]
        if call.script or last.script:
            if call.plain == "context":
                return last.plain in (*_BIRTHS, "mv") and last.script in ("prolog", "resume", "migrate")
            return call.script == last.script and call.begun_s - last.ended_s < _PAUSE_S and bool(last.ok)
        if not last.ok or call.begun_s - last.ended_s > _PAUSE_S:
            return call.plain == "context" and last.ok and last.plain in (*_BIRTHS, "mv")
        if call.plain in _BIRTHS:
            return (
                last.plain in _BIRTHS
                and vm.state in ("", "FAILED", "DONE", "UNDEPLOYED", "PENDING")
                and (where.disk < 0 or where.disk > last_place.disk)
            )
        if call.plain == "context":
            return last.plain in (*_BIRTHS, "mv")
        if call.plain == "mv":
            return last.plain == "mv" and last_place.disk >= 0
        return call.plain in ("mvds", "delete") and last.plain in ("mvds", "delete") and last_place.disk >= 0 and where.disk != last_place.disk

    def _close(self, vm: Vm) -> None:
        """Tell the operation whose calls are open."""
        calls, vm.open = vm.open, []
        first, at = calls[0][0], calls[0][0].begun_s
        ok = all(call.ok for call, _ in calls)
        if first.plain in _BIRTHS:
            self._births(vm, calls, ok)
        elif first.plain == "context":
            self._awake(vm, at, False)
            self.say(at, "vm.resume", ok, vm=vm.label)
            vm.state = "RUNNING"
        elif first.plain == "mv":
            self._moves(vm, calls, ok)
        else:
            self._ends(vm, calls, ok)

    def _births(self, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
        at = calls[0][0].begun_s
        if vm.state == "FAILED":
            for call, where in calls:
                self._disk(vm, call, where)
            vm.last = self.say(at, "vm.recover_retry", ok, vm=vm.label)
            vm.state = "RUNNING" if ok else "FAILED"
            return
        if vm.state in ("DONE", "UNDEPLOYED", "PENDING"):
            if vm.state == "DONE":
                # what looked like its end was no more than a clean-up
                vm.last["op"] = "vm.recover_recreate"
            elif vm.state == "UNDEPLOYED":
                self.say(at, "vm.recover_recreate", vm=vm.label)
            where = calls[-1][1]
            vm.last = self.say(at, "vm.deploy", ok, vm=vm.label, host=self._host(where.host), datastore=self._store(vm, where))
            vm.state = "RUNNING" if ok else "FAILED"
            return
        if vm.state:
            for call, where in calls:
                disk = self._disk(vm, call, where)
                if disk is not None:
                    self.say(call.begun_s, "vm.attach_disk", call.ok, vm=vm.label, disk=disk)
            return
        for call, where in calls:
            self._disk(vm, call, where)
        self.deployed(vm, at, calls[-1][1], ok)

    def _disk(self, vm: Vm, call: SeenCall, where: Place) -> Step | None:
        """Return the disk that a call makes, noted with its VM; None for a boot file."""
        if call.plain == "context":
            vm.created["context"] = {"NETWORK": "YES"}
            return None
        if where.file:
            vm.created[where.file] = self._source(call.argv[0], False, "KERNEL" if where.file == "kernel" else "RAMDISK")
            return None
        if call.plain == "mkimage":
            disk: Step = {"volatile": "fs", "size_mb": _SIZE_MB, "format": call.argv[1]}
        elif call.plain == "mkswap":
            disk = {"volatile": "swap", "size_mb": _SIZE_MB}
        else:
            disk = {"image": self._source(call.argv[0], call.plain == "ln")}
            if call.plain == "ln":
                vm.linked.add(where.disk)
        vm.disks[where.disk] = disk
        vm.sizes[where.disk] = _SIZE_MB
        return disk

    def deployed(self, vm: Vm, at_s: float, where: Place, ok: bool = True) -> None:
        """Tell that a VM was made and deployed."""
        vm.since_s = at_s
        vm.created = self.say(at_s, "vm.create", vm=vm.label, disks=dict(vm.disks), **vm.created)
        vm.store = self.stores.system(-1)
        vm.last = self.say(at_s, "vm.deploy", ok, vm=vm.label, host=self._host(where.host), datastore=self._store(vm, where))
        vm.state, vm.host = ("RUNNING" if ok else "FAILED"), where.host

    def _store(self, vm: Vm, where: Place) -> str | None:
        """Return the system datastore that a VM goes to; None if it stays in the one that it has."""
        before, vm.store = vm.store, self.stores.system(where.datastore, vm.store) if where.datastore >= 0 else vm.store
        return vm.store if vm.store != before else None

    def _moves(self, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
        call, there = next((one for one in calls if one[0].plain == "mv"), calls[0])
        here = place(call.argv[0])
        if not vm.state:
            self.deployed(vm, 0.0, here or Place("", there.vm))
        for one, where in calls:
            if one.plain == "mv" and where.disk >= 0:
                self.known(where)
        at = call.begun_s
        # the script that takes a VM to the front-end, and the one that brings it back
        if call.script in ("stop", "resume") and here is not None:
            self.front_end = there.host if call.script == "stop" else here.host
        if here is not None and here.host == self.front_end != there.host:
            vm.last = self.say(at, "vm.deploy", ok, vm=vm.label, host=self._host(there.host), datastore=self._store(vm, there))
            vm.state = "RUNNING"
        elif self.front_end and there.host == self.front_end:
            # the calls of stop and of undeploy are the same; the names of transfer scripts are too
            vm.last = self.say(at, vm.leaving, ok, vm=vm.label)
            vm.state = "UNDEPLOYED"
        else:
            store, host = self._store(vm, there), self._host(there.host)
            if store is None and vm.host and host == self._host(vm.host):
                self.left_out["migrations between hosts or system datastores that have one name in the trace"] += 1
            else:
                vm.last = self.say(at, "vm.migrate", ok, vm=vm.label, host=host, datastore=store)
        vm.host = there.host

    def _ends(self, vm: Vm, calls: Sequence[tuple[SeenCall, Place]], ok: bool) -> None:
        at = calls[0][0].begun_s
        whole = any(where.disk < 0 and not where.file for _, where in calls)
        for _, where in calls:
            self.known(where)
        if whole:
            forced = not vm.epilog and (vm.linked - self._read_only(vm)) & {where.disk for call, where in calls if call.plain == "delete"}
            vm.last = self.say(at, "vm.recover_delete" if forced else "vm.terminate", ok, vm=vm.label)
            vm.state = "DONE"
            return
        for call, where in calls:
            self.say(call.begun_s, "vm.detach_disk", call.ok, vm=vm.label, disk=where.disk)
            vm.linked.discard(where.disk)

    def _read_only(self, vm: Vm) -> set[int]:
        """Return the disks of a VM that are known to be CDROMs: they are linked, and deleted in the end."""
        return {id for id, disk in vm.disks.items() if disk.get("image") in self.cdroms}

    def _awake(self, vm: Vm, at_s: float, running: bool) -> None:
        """Have a VM run, or be off, before what comes: that makes no storage call by which it could be seen."""
        if vm.told:
            return
        if not running and vm.state == "RUNNING":
            self.say(at_s, "vm.poweroff", vm=vm.label)
            vm.state = "POWEROFF"
        elif running and vm.state == "POWEROFF":
            self.say(at_s, "vm.resume", vm=vm.label)
            vm.state = "RUNNING"

    def _snapshot(self, vm: Vm, call: SeenCall, where: Place) -> None:
        if call.plain in ("snap_create", "snap_revert"):
            self._awake(vm, call.begun_s, False)
        elif call.plain == "snap_create_live":
            self._awake(vm, call.begun_s, True)
        snapshot = None if call.plain.startswith("snap_create") else int(call.argv[1])
        self.say(call.begun_s, f"vm.{_SNAPSHOTS[call.plain]}", call.ok, vm=vm.label, disk=where.disk, snapshot=snapshot)

    def _saved(self, vm: Vm, call: SeenCall, where: Place) -> None:
        number = self.waiting_saves.pop(0) if self.waiting_saves else -1
        self.made += number < 0
        label = self.images[number] if number >= 0 else f"saved{self.made}"
        self.sources[call.argv[1]] = label
        snapshot = int(call.argv[2]) if call.argv[2].lstrip("-").isdigit() else -1
        snap = snapshot if snapshot >= 0 else None
        self.say(call.begun_s, "vm.disk_saveas", call.ok, vm=vm.label, disk=where.disk, image=label, snapshot=snap)

    def _migration(self, call: SeenCall) -> None:
        if call.plain != "premigrate" or len(call.argv) < 4 or not call.argv[3].isdigit():
            return
        number = int(call.argv[3])
        if number in self.vms and self.vms[number].open:
            self._close(self.vms[number])
        vm = self.known(Place(call.argv[0], number), vm_document(call.document))
        self._awake(vm, call.begun_s, True)
        self.say(call.begun_s, "vm.migrate_live", call.ok, vm=vm.label, host=self._host(call.argv[1]))
        vm.host = call.argv[1]

    def _backup(self, call: SeenCall) -> None:
        """Take a call of a backup. It begins with the first of them that is seen: a transfer driver may not be recorded, or a datastore driver."""
        where = place(call.argv[0]) if call.argv else None
        if where is None:
            self.left_out[f"{call.family}/{call.plain}: arguments that are not understood"] += 1
        elif call.plain == "backup_cancel":
            self.backups.cancelled(where.vm, call)
        elif call.plain.startswith("pre") or (call.plain == "backup" and not self.backups.lacks(where.vm, "backup")):
            disks = [int(word) for word in call.argv[1].split(":") if word.isdigit()]
            vm = self.known(replace(where, disk=max(disks, default=-1)), vm_document(call.document))
            if call.family == "tm" or call.field("VM/LCM_STATE"):
                self._awake(vm, call.begun_s, call.plain.endswith("_live") or call.field("VM/LCM_STATE") == _BACKUP_RUNNING)
            # OpenNebula before 6.8 says nothing of a job
            job = int(call.argv[3]) if len(call.argv) > 5 and call.argv[3].isdigit() else None
            self.backups.begun(where.vm, call, standing(call.document), job=job)
            self.backups.call(where.vm, call)
        elif self.backups.series(where.vm).open:
            self.backups.call(where.vm, call)

    def _host(self, name: str) -> str:
        """Return the name of a host in the trace: host01, host02, in the order in which they are met; those beyond share the two that worlds have.

        The first, where nothing tells the host.
        """
        if not name:
            return "host01"
        if name not in self.hosts:
            self.hosts[name] = f"host{len(self.hosts) % 2 + 1:02}"
        return self.hosts[name]


def retell(calls: Sequence[SeenCall], vms: Mapping[int, etree._Element] | None = None, images: Iterable[etree._Element] = ()) -> Retold:
    """Return the operations that calls, in the order of their beginnings, are of. `vms` and `images` are documents of a front-end."""
    vms = vms or {}
    teller = Teller(survey(calls, vms, images))
    for id, document in vms.items():
        if earlier.context_disk(document) >= 0:
            teller.vms[id] = Vm(f"vm{id}", state="", created={"context": {"NETWORK": "YES"}})
    for call in calls:
        if call.family == "ds":
            teller.image_call(call)
        elif call.family == "vm":
            teller.vm_state(call)
        elif call.family == "rpc":
            requested.request(teller, call)
        else:
            teller.vm_call(call)
    for vm in teller.vms.values():
        if vm.open:
            teller._close(vm)
        for one in vm.asked:
            teller.left_out[f"requests that no log of a VM tells more of: {one.action}"] += 1
    teller.backups.finish()
    steps = [_plain(step) for _, _, step in sorted(teller.steps, key=lambda one: one[:2])]
    return Retold(steps, teller.left_out)


def _plain(step: Mapping[str, Any]) -> Step:
    """Return a step whose disks stand in their order."""
    disks = step.get("disks")
    return {**step, "disks": [disks[id] for id in sorted(disks)]} if isinstance(disks, dict) else dict(step)
