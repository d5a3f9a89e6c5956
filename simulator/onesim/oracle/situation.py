"""The situation before a recorded operation, made by the simulator's own operations: images, the VM with its disks, the way to its state."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from onesim.oned import Oned
from onesim.oracle.installation import Installation, add_datastore
from onesim.oracle.play import Play
from onesim.oracle.recordings import Recording
from onesim.oracle.roads import FIRST_HOST, ROADS, UNDER_WAY, plausible, shown, texts
from onesim.spec import ContractSpec

_IMAGE_OF = {"nonpersistent": "os", "cdrom": "cdrom", "persistent": "db"}
_VOLATILE = {
    "volatile-fs-raw": {"volatile": "fs", "format": "raw"},
    "volatile-fs-qcow2-ext4": {"volatile": "fs", "format": "qcow2", "fs": "ext4"},
    "volatile-swap": {"volatile": "swap"},
}
_SIZES = {"fs": 100, "swap": 64}
#: Words of an operation's name that tell what an image is which no disk of the VM uses yet.
_WORDS = {"cd": "cdrom", "CDROM": "cdrom", "pers": "persistent", "persistent": "persistent"}
_FILES = {"kernel": ("kernel", "kernel"), "initrd": ("ramdisk", "initrd"), "FILES_DS": ("context", "FILES")}


@dataclass
class Situation:
    """The oned before the operation; `prelude` are operations that the recorder asked while it recorded already."""

    play: Play
    vm: int
    prelude: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def before(spec: ContractSpec, recording: Recording, installation: Installation) -> Situation:
    """Return the situation before a recorded operation. What could not be made as recorded is among its problems."""
    return _Maker(spec, recording, installation).make()


def new_images(recording: Recording) -> list[int]:
    """Return the ids of the images that the operation makes, in order."""
    seen = {int(id) for id in recording.final_image_states} | {int(one.image) for one in recording.states if one.image}
    known = {int(id) for id in recording.precondition.image_states} | set(recording.roles.values())
    return sorted(seen - known)


class _Maker:
    def __init__(self, spec: ContractSpec, recording: Recording, installation: Installation) -> None:
        self.spec, self.recording, self.installation = spec, recording, installation
        self.cloud = installation.cloud(spec, recording.image_ds_tm, recording.system_ds_tm)
        self.play = Play(Oned(spec, self.cloud))
        self.words = set(re.findall(r"[A-Za-z_]+", recording.operation))
        self.attributes = {int(row["DISK_ID"]): row for row in recording.disk_attrs}
        self.after = {int(row["DISK_ID"]): row for row in recording.post.disks}
        self.kinds = {row.image_id: row.kind for row in recording.disks if row.image_id is not None}
        self.kinds |= {id: "persistent" for id in recording.roles.values() if id == recording.roles.get("pers")}
        self.vm = int(next(iter(recording.final_vm_state), "0"))
        self.sources = self._sources()
        self.problems: list[str] = []

    def make(self) -> Situation:
        self._datastores()
        earlier = sorted(int(id) for id in self.recording.precondition.image_states)
        roles = self.recording.roles
        backups = {roles["bk"]} if "bk" in roles else set()
        earlier = sorted({*earlier, *(id for name, id in roles.items() if name not in ("bk", "ds", "m"))} - backups)
        for id in earlier:
            self._image(id)
        prelude = self._vm()
        self.cloud.next_image = min(new_images(self.recording), default=max([*self.cloud.images, -1]) + 1)
        for request in self.recording.rpc:
            if request.rpc == "one.datastore.allocate" and isinstance(request.result, int):
                self.cloud.next_datastore = request.result
        if not self.recording.precondition.vm_state:
            self.cloud.next_vm = self.vm
        for id in (int(id) for id in roles.values() if id == roles.get("ds")):
            add_datastore(self.cloud, self.spec, id, "IMAGE_DS", "recds", self.recording.image_ds_tm)
        self._verify()
        self.play.forget()
        return Situation(self.play, self.vm, prelude, self.problems)

    # what is there

    def _sources(self) -> dict[int, str]:
        found = {
            row.image_id: self.attributes[row.disk_id].get("SOURCE", "")
            for row in self.recording.disks
            if row.disk_id in self.attributes and row.image_id is not None
        }
        found |= {int(id): row.get("SOURCE", "") for id, row in (self.recording.final_images or {}).items()}
        return {id: source for id, source in found.items() if source}

    def _datastores(self) -> None:
        for row in self.recording.post.history:
            known = self.cloud.datastores.get(int(row["DS_ID"]))
            if known is None or known.tm_mad != row["TM_MAD"]:
                add_datastore(self.cloud, self.spec, int(row["DS_ID"]), "SYSTEM_DS", "-", row["TM_MAD"])
        for row in self.recording.disk_attrs:
            if "SOURCE" in row and int(row["DATASTORE_ID"]) not in self.cloud.datastores:
                add_datastore(self.cloud, self.spec, int(row["DATASTORE_ID"]), "IMAGE_DS", "recds", row["TM_MAD"])

    def _image(self, id: int) -> None:
        kind = self.kinds.get(id) or self._kind_of_other()
        files = self._boot_images()
        name = files.get(id) or _IMAGE_OF.get(kind, "os")
        row = self.installation.templates[name]
        datastore = next(
            (
                self.attributes[disk.disk_id]["DATASTORE_ID"]
                for disk in self.recording.disks
                if disk.image_id == id and disk.disk_id in self.attributes
            ),
            str(row.datastore),
        )
        arguments: dict[str, object] = {"image": str(id), "datastore": datastore, "type": row.type, "persistent": kind == "persistent"}
        if {"SHAREABLE", "IMMUTABLE"} & self.words:
            arguments["persistent_type"] = "SHAREABLE" if "SHAREABLE" in self.words else "IMMUTABLE"
        self.cloud.next_image = id
        state = self.recording.precondition.image_states.get(str(id), "")
        fault = ("ds/cp", 1) if state == "ERROR" else None
        if row.path:
            self._do("image.register", {**arguments, "path": row.path}, fault)
        else:
            self._do("image.make", {**arguments, "size_mb": row.size_mb, "format": row.format}, fault)
        if id in files:
            # its name is nowhere in the recording but in the calls
            self.cloud.images[id].name = f"NAME-OF-{id}"
        if state == "DISABLED":
            self._do("image.disable", {"image": str(id)})

    def _kind_of_other(self) -> str:
        """Return what an image is that no disk uses: what a request turns into the other is what it was not, else the name of the operation has a word for it."""
        for request in self.recording.rpc:
            if request.rpc == "one.image.persistent":
                return "nonpersistent" if request.args[1] else "persistent"
        return next((_WORDS[word] for word in sorted(self.words) if word in _WORDS), "nonpersistent")

    def _boot_images(self) -> dict[int, str]:
        """Return which images are kernel, initrd and context files: those that no disk uses, in the order in which the name of the operation has them."""
        if not {"kernel", "FILES_DS"} & self.words:
            return {}
        free = [int(id) for id in sorted(self.recording.precondition.image_states, key=int) if int(id) not in self.kinds]
        return dict(zip(free, [template for word, (template, _) in _FILES.items() if word in self.words], strict=False))

    # the VM

    def _vm(self) -> list[tuple[str, dict[str, object]]]:
        """Make the VM and bring it into its state. Returns the operations of the prelude, where the VM came to be while it was recorded."""
        states = self.recording.precondition.vm_state
        hung = re.search(r"while (\w+) \(driver hung", self.recording.operation)
        if hung:
            return self._under_way(hung[1])
        if not states:
            return []
        self.cloud.next_vm = self.vm
        self._do("vm.create", self._template())
        state = states[0].partition("/")[2] if states[0].startswith("ACTIVE/") else states[0].partition("/")[0]
        road, fault = ROADS.get(state, ((), None))
        if state not in ROADS:
            self.problems.append(f"no way is known to bring a VM into {state}")
        for n, (name, arguments) in enumerate(road):
            where = {"host": FIRST_HOST, **(self._placed() if n == 0 else {})} if name == "deploy" else {}
            self._do(f"vm.{name}", {"vm": str(self.vm), **where, **arguments}, fault if n == len(road) - 1 else None)
            if name == "deploy" and any(self._taken().values()):
                # the recorder takes them while the VM is powered off
                self._do("vm.poweroff_hard", {"vm": str(self.vm)})
                self._snapshots()
                if state in ("POWEROFF", "DONE"):
                    break
                self._do("vm.resume", {"vm": str(self.vm)})
        if road:
            self._later()
        if state == "DONE":
            self._do("vm.terminate", {"vm": str(self.vm)})
        return []

    def _placed(self) -> dict[str, str]:
        first = next(iter(self.recording.post.history), None)
        return {"datastore": first["DS_ID"]} if first and "PENDING" not in self.recording.precondition.vm_state[0] else {"datastore": "102"}

    def _template(self) -> dict[str, object]:
        context: dict[str, str] | None = {"NETWORK": "YES"} if any(row.kind == "context" for row in self.recording.disks) else None
        arguments: dict[str, object] = {"vm": str(self.vm), "disks": self._disks()}
        boot = self._boot_images()
        for word, (template, name) in _FILES.items():
            image = next((id for id, known in boot.items() if known == template), None)
            if word in self.words and image is not None and name != "FILES":
                arguments[name] = str(image)
            elif word in self.words and image is not None:
                context = {"FILES_DS": str(image)}
        if context is not None:
            arguments["context"] = context
        volatile = next((row for id, row in self.attributes.items() if id in self._created() and "IMAGE" not in row and "SOURCE" not in row), {})
        if "TM_MAD_SYSTEM" in volatile:
            arguments["tm_mad_system"] = volatile["TM_MAD_SYSTEM"]
        backups = texts(self.recording.post.backups)
        if "KEEP_LAST" in backups:
            arguments["backup"] = {
                "keep_last": int(backups["KEEP_LAST"]),
                "mode": backups["MODE"],
                "volatile": backups.get("BACKUP_VOLATILE") == "YES",
            }
        return arguments

    def _created(self) -> set[int]:
        return {row.disk_id for row in self.recording.disks if row.kind != "context"}

    def _disks(self) -> list[dict[str, object]]:
        rows = {row.disk_id: row for row in self.recording.disks if row.kind != "context"}
        if not rows and self.attributes:
            # the recorder knew nothing of these disks, oned did
            return [self._disk(id, "nonpersistent", next(iter(self.recording.roles.values()))) for id in self.attributes]
        return [self._disk(id, row.kind, row.image_id) for id, row in sorted(rows.items())]

    def _disk(self, id: int, kind: str, image: int | None) -> dict[str, object]:
        resized = any(one.rpc == "one.vm.diskresize" and one.args[1] == id for one in self.recording.rpc)
        size = int(self.after.get(id, {}).get("SIZE", "0")) if not resized else 0
        if image is not None:
            return {"image": str(image), **({"size_mb": size} if size else {})}
        row = _VOLATILE[kind]
        return {**row, "size_mb": size or _SIZES[row["volatile"]]}

    def _later(self) -> None:
        """Do what was done to the VM after its way to the state: disks attached, snapshots, backups."""
        for id, row in self.attributes.items():
            if id not in self._created() and self._created():
                size = int(self.after.get(id, {}).get("SIZE", "50"))
                self._do(
                    "vm.attach_disk", {"vm": str(self.vm), "disk": {"volatile": row["TYPE"], "size_mb": size, "format": row.get("FORMAT", "raw")}}
                )
        if "bk" in self.recording.roles:
            self._backups(self.recording.roles["bk"])

    def _taken(self) -> dict[int, int]:
        """Return how many snapshots of each disk had been taken before: ids are never used again, so the next one tells."""
        found = {}
        for values in map(texts, self.recording.post.snapshots):
            asked = [one for one in self.recording.rpc if one.rpc == "one.vm.disksnapshotcreate" and one.ok and str(one.args[1]) == values["DISK_ID"]]
            found[int(values["DISK_ID"])] = int(values["NEXT_SNAPSHOT"]) - len(asked)
        return found

    def _snapshots(self) -> None:
        for disk, count in self._taken().items():
            for n in range(count):
                self._do("vm.snapshot_create", {"vm": str(self.vm), "disk": disk, "name": f"s{n}"})

    def _backups(self, image: int) -> None:
        values = texts(self.recording.post.backups)
        # every backup, and every restore in place, closes a history record
        closed = int(self.recording.post.history[-1]["SEQ"]) if self.recording.post.history else 1
        asked = any(one.ok and one.rpc in ("one.vm.backup", "one.vm.restore", "one.backupjob.backup") for one in self.recording.rpc)
        count = max(closed - asked, 1) if values.get("MODE") == "INCREMENT" else 1
        self.cloud.next_image = image
        for _ in range(count):
            self._do("vm.backup", {"vm": str(self.vm), "datastore": "105", "image": str(self.cloud.next_image)})

    def _under_way(self, phase: str) -> list[tuple[str, dict[str, object]]]:
        """Return the operations that bring a new VM into a phase; the recorder asked them while it recorded."""
        first = min(new_images(self.recording))
        os, db = self.installation.templates["os"], self.installation.templates["db"]
        vm = str(self.vm)
        prelude: list[tuple[str, dict[str, object]]] = [
            ("image.register", {"image": str(first), "datastore": str(os.datastore), "type": os.type, "path": os.path}),
            (
                "image.make",
                {
                    "image": str(first + 1),
                    "datastore": str(db.datastore),
                    "type": db.type,
                    "size_mb": db.size_mb,
                    "format": db.format,
                    "persistent": True,
                },
            ),
            ("vm.create", {"vm": vm, "disks": [{"image": str(first)}, {"image": str(first + 1)}], "context": {"NETWORK": "YES"}}),
            ("vm.deploy", {"vm": vm, "host": FIRST_HOST, "datastore": "102"}),
        ]
        more = UNDER_WAY.get(phase)
        if more is not None:
            prelude.append((f"vm.{more[0]}", {"vm": vm, **more[1]}))
        return prelude

    # doing

    def _do(self, op: str, arguments: dict[str, Any], fault: tuple[str, int] | None = None) -> None:
        refused = self.play.ask(op, arguments)
        if refused:
            self.problems.append(f"{op} of the set-up is refused: {refused}")
        self.play.settle(plausible(self.installation, self.sources, fault))

    def _verify(self) -> None:
        for id, state in self.recording.precondition.image_states.items():
            image = self.cloud.images.get(int(id))
            if image is None or image.state != state:
                self.problems.append(f"image {id} was {state}, here it is {image.state if image else 'not there'}")
        vm = self.cloud.vms.get(self.vm)
        for state in self.recording.precondition.vm_state:
            if vm is None or shown(self.spec, vm.state) != state:
                self.problems.append(f"VM {self.vm} was {state}, here it is {shown(self.spec, vm.state) if vm else 'not there'}")
