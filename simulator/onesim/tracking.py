"""What each call of a case did to the content of images, disks, snapshots and backups: the effects of the table, applied to the content register."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from onesim.cloud import Cloud
from onesim.content import ContentModel, Key, Version, Versions, Write, backup_key, disk_key, image_key
from onesim.events import CallAsked, Changed
from onesim.model import Disk, Image, Vm
from onesim.rows import Effect
from onesim.spec import Spec

MIB = 1024 * 1024


@dataclass
class Tracking:
    """Keeps the content register of a case up to date.

    `files` are the disks in the files that users bring, by path or URL; `packed` the bytes of those that are packed.
    """

    spec: Spec
    cloud: Cloud
    model: ContentModel = field(default_factory=ContentModel)
    files: dict[str, Version] = field(default_factory=dict)
    packed: dict[str, Version] = field(default_factory=dict)
    _copied: dict[int, dict[int, Versions]] = field(default_factory=dict)
    _backing_up: dict[int, dict[int, Versions]] = field(default_factory=dict)
    _restoring: dict[int, list[int]] = field(default_factory=dict)
    _meanwhile: dict[Key, frozenset[Version]] = field(default_factory=dict)

    def written(self, key: Key, writes: tuple[Write, ...]) -> str:
        """A guest writes to a disk. Returns the id of the new version, empty if the content was unknown."""
        before = self.model.admits(key) or frozenset()
        version = self.model.write(key, writes)
        self._meanwhile[key] = self._meanwhile.get(key, before) | (self.model.admits(key) or frozenset())
        return version

    def began(self, asked: CallAsked) -> None:
        """A call begins: from here on it matters what guests write."""
        if self.spec.effects[asked.action.effect].target == "copies":
            self._meanwhile.clear()

    def ended(self, asked: CallAsked, *, success: bool) -> None:
        """Apply the effect of a call that has ended."""
        effect = self.spec.effects[asked.action.effect]
        named = effect.names_only != "" and asked.facts.get("format") == effect.names_only
        how = effect.success if success and not named else effect.failure
        # a file system is known by its signature alone: see Observer
        if how == "zero" and asked.facts.get("fs"):
            how = "any"
        # what lay on a lost host alone is lost with it
        if effect.name == "move" and "host_lost" in asked.facts and asked.facts.get("shared") == "NO":
            how = "any"
        if effect.target == "copies":
            # the moment that a live copy shows is the driver's choice
            keys = {disk.id: disk_key(asked.vm, disk.id) for disk in self._disks(asked)}
            self._copied[asked.vm] = {id: self._meanwhile.get(key, self.model.admits(key)) for id, key in keys.items()}
            return
        if effect.target == "backup":
            copied = self._copied.pop(asked.vm, None)
            if success and copied is not None:
                self._backing_up[asked.vm] = copied
            return
        if effect.target == "disks":
            for disk in self._disks(asked):
                self.model.apply(how, disk_key(asked.vm, disk.id), self._backed_up(asked, disk), 0)
            return
        if success and effect.from_ == "path" and asked.operation in self.cloud.restores:
            self._restoring.setdefault(asked.operation, []).append(asked.image)
        if effect.target == "none" or (effect.target.startswith("disk") and asked.disk < 0):
            return
        image = int(asked.facts.get("saved_image", asked.image))
        target = image_key(image) if effect.target.startswith("image") else disk_key(asked.vm, asked.disk)
        origin, of = self._origin(effect, asked)
        read = self._brought(asked) if effect.from_ == "path" else self.model.admits(origin, of) if origin else None
        # an image is as large as the file that it is made of, and a snapshot from before the disk grew is saved as it is
        as_it_is = effect.from_ == "path" or _number(asked.arguments, "saved_snapshot_id") >= 0
        size = 0 if as_it_is else int(asked.arguments.get("size_mb", asked.facts.get("size_mb", "0"))) * MIB
        alias = asked.facts.get("ln_target", "NONE") == "NONE"
        self.model.apply(
            how, target, read, size, origin=origin, alias=alias, snapshot=_snapshot(asked) if effect.target.endswith("_snapshot") else -1
        )

    def changed(self, changed: Changed) -> None:
        """Take note of a VM's state: a backup that oned keeps holds what the disks held when it was made."""
        if changed.kind != "vm" or changed.id not in self._backing_up or changed.state.startswith("BACKUP"):
            return
        held = self._backing_up.pop(changed.id)
        vm = self.cloud.vms[changed.id]
        image = vm.backup.chain if vm.backup.mode == "INCREMENT" else next(reversed(vm.backups), -1)
        if changed.error or image < 0:
            return
        for disk, versions in held.items():
            self.model.put(backup_key(image, max(vm.backup.last_increment, 0), disk), versions)

    def _origin(self, effect: Effect, asked: CallAsked) -> tuple[Key | None, int]:
        """Return the register that a call reads, and which of its snapshots (-1: its present content)."""
        image, disk = image_key(asked.image), disk_key(asked.vm, asked.disk)
        match effect.from_:
            case "original":
                return image_key(int(asked.facts["original"])), -1
            case "image":
                return image, -1
            case "disk":
                return disk, _number(asked.arguments, "saved_snapshot_id")
            case "disk_snapshot":
                return disk, _snapshot(asked)
            case "image_snapshot":
                return image, _snapshot(asked)
        return None, -1

    def _brought(self, asked: CallAsked) -> Versions:
        """Return what the file holds that a new image is made from. One out of a backup is one of its disks; which, the template of the VM tells later."""
        path = asked.facts.get("path", "")
        if path in self.packed and asked.facts.get("no_decompress", "").lower() == "yes":
            return frozenset({self.packed[path]})
        if path in self.files:
            return frozenset({self.files[path]})
        image = self.cloud.images.get(asked.image)
        if image is None or "FROM_BACKUP_DS" not in image.template:
            return None
        if asked.operation in self.cloud.restores:
            held = [self.model.admits(key) for key in self._restored(asked.operation)]
        else:
            held = [self.model.registers[key].versions for key in self.model.registers if key[0] == "backup" and self._lies_in(key, image)]
        known = [one for one in held if one is not None]
        return frozenset().union(*known) if known and len(known) == len(held) else None

    def settle(self) -> None:
        """Say of the images that have been made of a backup which disk each is, where the driver has made a template: that has the disks in their order.

        Source: BackupRestore.vm_template in src/tm_mad/lib/backup.rb of OpenNebula 7.4.0.
        """
        for operation, images in self._restoring.items():
            keys = self._restored(operation)
            ordered = next((named for one in self.cloud.templates if set(named := [id for id in one if id in images]) == set(images)), [])
            if len(set(ordered)) == len(ordered) == len(keys):
                for image, key in zip(ordered, keys, strict=True):
                    self.model.put(image_key(image), self.model.admits(key))
        self._restoring.clear()

    def _restored(self, operation: int) -> list[Key]:
        """Return the registers of the disks that an operation makes images of: those of the increment that it asks for."""
        id, increment, disks = self.cloud.restores[operation]
        kept = self.cloud.images.get(id)
        last = kept.increments[-1].id if kept is not None and kept.increments else 0
        return [backup_key(id, last if increment < 0 else increment, disk) for disk in disks]

    def _lies_in(self, backup: Key, image: Image) -> bool:
        kept = self.cloud.images.get(int(backup[1]))
        return kept is not None and str(kept.datastore) == image.template["FROM_BACKUP_DS"]

    def _disks(self, asked: CallAsked) -> Iterator[Disk]:
        """Yield the disks of a backup, or those that are restored from one."""
        vm = self.cloud.vms[asked.vm]
        if "disk_id" in asked.arguments:
            image = self.cloud.images[int(asked.arguments["image_id"])]
            one = _number(asked.arguments, "disk_id")
            yield from _named(vm, image.backup_disks if one < 0 else [one])
        else:
            yield from _named(vm, [int(word) for word in asked.arguments["disks"].split(":") if word])

    def _backed_up(self, asked: CallAsked, disk: Disk) -> Versions:
        image = self.cloud.images[int(asked.arguments["image_id"])]
        increment = _number(asked.arguments, "increment_id")
        last = image.increments[-1].id if image.increments else 0
        return self.model.admits(backup_key(image.id, last if increment < 0 else increment, disk.id))


def _named(vm: Vm, ids: Iterable[int]) -> Iterator[Disk]:
    wanted = set(ids)
    return (disk for disk in vm.disks if disk.id in wanted)


def _snapshot(asked: CallAsked) -> int:
    """Return the snapshot that a call is about: an argument of it, or TARGET_SNAPSHOT of its image."""
    return int(asked.arguments.get("snapshot_id") or asked.facts["target_snapshot"])


def _number(words: dict[str, str], name: str) -> int:
    """Return a number of the call; -1 if it has none of that name."""
    return int(words.get(name, "") or -1)
