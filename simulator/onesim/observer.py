"""What the harness looks at: the trees around each call, and the bytes of every image and disk after each operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from onesim.cloud import Cloud
from onesim.content import BLOCK, ContentModel, Key, Version, disk_key, image_key
from onesim.errors import HarnessError
from onesim.journal import BlobStore, Writer
from onesim.model import Disk, Vm
from onesim.records import STORED, Observation, TreeChange
from onesim.seats import Probes, Seat, disk_seat, image_seat
from onesim.world.interface import Change, DiskContent, World

_SWAP_MAGIC_AT = 4086
_ISO_DESCRIPTOR_AT = 32768
_MARK_BYTES = 256
#: Where a file system bears its signature, and what it is.
_EXT = (1080, b"\x53\xef")
_FILE_SYSTEMS = {"ext2": _EXT, "ext3": _EXT, "ext4": _EXT, "xfs": (0, b"XFSB")}


class Observer:
    """Takes pictures of a world and writes down what differs from what is known. `layer` tells where a running guest writes: host, path and format."""

    def __init__(
        self,
        world: World,
        cloud: Cloud,
        content: ContentModel,
        writer: Writer,
        blobs: BlobStore,
        case: str,
        probes: Probes,
        layer: Callable[[Vm, Disk], tuple[str, str, str] | None] = lambda vm, disk: None,
    ) -> None:
        self.layer = layer
        self.world, self.cloud, self.content = world, cloud, content
        self.writer, self.blobs, self.case = writer, blobs, case
        self.probes = probes
        self._stored: frozenset[str] = frozenset()
        self._started_ns = time.monotonic_ns()
        self.paused = False
        #: The operation in which the hypervisor refused to start a VM, by the VM's id: what a boot needs had been made for it then.
        self.unbooted: dict[int, int] = {}

    def refresh(self) -> None:
        """Take the picture again after the harness itself has written something; not while `paused`, when calls overlap."""
        if not self.paused:
            self.world.picture()
            self._stored = self._inventory()

    def changes(self) -> tuple[TreeChange, ...]:
        """Return what changed since the last picture: in the trees, and what came into the vendor's store or left it."""
        before, self._stored = self._stored, self._inventory()
        stored = [(name, "removed") for name in sorted(before - self._stored)] + [(name, "created") for name in sorted(self._stored - before)]
        return tuple(
            TreeChange(one.host, one.path, one.change, one.kind, one.fields, one.size, one.target, self._mark(one), one.mode, one.owner)
            for one in self.world.changes()
        ) + tuple(TreeChange(self.probes.host, name, change, STORED) for name, change in stored)

    def _inventory(self) -> frozenset[str]:
        """Return the names of what lies in the vendor's store, as the probe lists them. Raises HarnessError if it cannot."""
        if not self.probes.inventory:
            return frozenset()
        run = self.world.run(self.probes.host, ["/bin/bash", "-c", self.probes.inventory])
        if run.ended_by != "exit" or run.status:
            said = run.stderr.decode(errors="replace").strip()[-200:]
            raise HarnessError(f"[probe] inventory ended by {run.ended_by} with {run.status}: {said}")
        return frozenset(line.strip() for line in run.stdout.decode(errors="replace").splitlines() if line.strip())

    def _mark(self, change: Change) -> str:
        """Return what a mark for monitoring holds."""
        if not change.path.endswith("/.monitor") or change.change == "removed":
            return ""
        return self.world.read(change.host, change.path, _MARK_BYTES).decode(errors="replace")

    # disks

    def seat(self, vm: Vm, disk: Disk) -> Seat:
        """Return where a VM's disk lies now, as the VM itself sees it."""
        return disk_seat(self.cloud, vm, disk, self.probes)

    def context_seat(self, vm: Vm) -> Seat:
        """Return where the context ISO of a VM on a host lies: it is a file whatever the disks are."""
        return Seat(vm.history[-1].hostname, f"{self.cloud.directory(vm.history[-1], vm)}/disk.{vm.context_disk}")

    def active(self, vm: Vm, disk: Disk) -> Seat:
        """Return what the guest sees of a disk now: where the disk lies, but of a file in the VM's directory the active layer while the guest runs."""
        seat = self.seat(vm, disk)
        own = seat.means is None and not self.probes.disk.at and seat.path.startswith("/")
        layer = self.layer(vm, disk) if vm.state in ("RUNNING", "BACKUP") and own else None
        return Seat(*layer) if layer else seat

    def observe(self, last: int, call: int, of: Mapping[tuple[str, int], int] | None = None) -> None:
        """Read every image and disk whose content is known, and write an observation of each.

        An observation is that of the operation `last`, unless `of` names another one for its image or VM.
        """
        of = of or {}
        looks: list[tuple[Seat, Callable[[DiskContent], None]]] = []
        for image in list(self.cloud.images.values()):
            if image.source and image.state not in ("LOCKED", "DELETE"):
                if image.state == "USED_PERS":
                    continue  # what the image holds while a VM has it is the driver's own matter
                operation = of.get(("image", image.id), last)
                role = "cdrom" if image.type == "CDROM" else "persistent" if image.persistent else "nonpersistent"
                seat = image_seat(self.cloud, image, self.probes)
                facts = {"image": image.id, "snapshots": len(image.snapshots.known)}
                looks += self._look(image_key(image.id), "image", image.name, seat, operation, call, role=role, **facts)
                if image.fs in _FILE_SYSTEMS and self.content.admits(image_key(image.id)) is None:
                    made = self._of(operation, "image", image.name, seat, call, {"role": "filesystem", **facts})
                    looks.append((seat, partial(self._file_system, image.fs, image.size_mb << 20, seat, made)))
        for vm in list(self.cloud.vms.values()):
            if not vm.history or vm.state == "DONE" or (vm.state.endswith("FAILURE") and not vm.state.startswith("BOOT")):
                continue  # after a transfer that failed nobody knows on which side a disk lies
            operation = of.get(("vm", vm.id), last)
            for disk in vm.disks:
                seat = self.active(vm, disk)
                key = disk_key(vm.id, disk.id)
                if disk.kind == "swap":
                    seat = replace(seat, format="raw")
                    looks.append((seat, partial(self._signature, "swap", vm, disk.id, seat, operation, call, disk.size_mb << 20)))
                else:
                    label, facts = f"{vm.name}/disk.{disk.id}", {"vm": vm.id, "disk": disk.id, "image": disk.image}
                    looks += self._look(key, "disk", label, seat, operation, call, role=disk.kind, **facts)
                    if disk.kind == "volatile" and disk.fs in _FILE_SYSTEMS and self.content.admits(key) is None:
                        made = self._of(operation, "disk", label, seat, call, {"role": "filesystem", **facts})
                        looks.append((seat, partial(self._file_system, disk.fs, disk.size_mb << 20, seat, made)))
            unbooted = vm.state == "BOOT_FAILURE" and self.unbooted.get(vm.id) == operation
            if vm.context is not None and (vm.state == "RUNNING" or unbooted):
                seat = self.context_seat(vm)
                looks.append((seat, partial(self._signature, "context", vm, vm.context_disk, seat, operation, call, 0)))
        for (_, look), seen in zip(looks, self.world.read_disks([seat for seat, _ in looks]), strict=True):
            look(seen)

    def observe_gone(self, kind: str, label: str, places: list[Seat], operation: int) -> None:
        """Observe that nothing is left of an object that oned considers gone."""
        for one, left in zip(places, self.world.exist(places), strict=True):
            self.writer.write(
                Observation(
                    self.case, operation, f"{kind}_gone", label, one.host, one.path, "", (), problem="present" if left else "", at_ns=self._at()
                )
            )

    def _iso_files(self, vm: Vm, host: str, path: str, operation: int, call: int) -> None:
        """Write down which files the context ISO holds, by their Rock Ridge names; nothing where this machine has no isoinfo."""
        run = self.world.run(host, ["/usr/bin/env", "isoinfo", "-R", "-f", "-i", path])
        if run.status == 0:
            names = _iso_names(run.stdout.decode("utf-8", "replace"))
            label = f"{vm.name}/disk.{vm.context_disk}"
            self.writer.write(
                Observation(self.case, operation, "context_files", label, host, path, "iso", names, after_call=call, vm=vm.id, at_ns=self._at())
            )

    def _at(self) -> int:
        return time.monotonic_ns() - self._started_ns

    def _look(
        self, key: Key, subject: str, label: str, seat: Seat, operation: int, call: int, **facts: str | int
    ) -> list[tuple[Seat, Callable[[DiskContent], None]]]:
        """Return a place to read and what is done with what is seen there; nothing if nobody knows what it ought to hold."""
        if self.content.admits(key) is None:
            return []
        return [(seat, partial(self._compared, key, seat, self._of(operation, subject, label, seat, call, facts)))]

    def _of(self, operation: int, subject: str, label: str, seat: Seat, call: int, facts: Mapping[str, str | int]) -> Observation:
        """Return an observation that says as yet only what is looked at."""
        seen = Observation(self.case, operation, subject, label, seat.host, seat.path, seat.format, (), after_call=call)
        return msgspec.structs.replace(seen, **facts)

    def _file_system(self, name: str, size: int, seat: Seat, observation: Observation, seen: DiskContent) -> None:
        """Check that an empty image or disk of that size holds the file system that was asked for: by its signature, for no two are made alike."""
        at, magic = _FILE_SYSTEMS[name]
        problem, detail = seen.problem, seen.detail
        if not problem and seen.virtual_size < size:
            problem, detail = "size", f"{seen.virtual_size} bytes, {size} asked"
        elif not problem and self.world.peek(seat.host, seat.path, seat.format, at, len(magic), seat.means) != magic:
            problem, detail = "format", f"no {name} at offset {at}"
        self.writer.write(
            msgspec.structs.replace(
                observation,
                admits=(name,),
                found="" if problem else name,
                problem=problem,
                detail=detail,
                virtual_size=seen.virtual_size,
                expected_size=size,
                at_ns=self._at(),
            )
        )

    def _compared(self, key: Key, seat: Seat, observation: Observation, seen: DiskContent) -> None:
        versions = self.content.admits(key)
        assert versions is not None, "reading one disk takes nothing from what is known of another"
        verdict = compare(seen, versions)
        found, problem, detail, offset, nearest = verdict
        expected = actual = ""
        if problem == "bytes" and nearest is not None:
            block = self.world.peek(seat.host, seat.path, seat.format, offset, BLOCK, seat.means)
            wanted = nearest.read(offset, len(block))
            first = next((n for n, (a, b) in enumerate(zip(block, wanted, strict=True)) if a != b), 0)
            offset += first
            expected, actual = wanted[first : first + 32].hex(), block[first : first + 32].hex()
        elif problem:
            # nothing to compare with: say which bytes ought to be there
            lacking = min(versions, key=lambda one: one.id)
            offset = lacking.writes[0].offset if lacking.writes else 0
            expected = lacking.read(offset, 32).hex()
        if found is not None:
            self.content.narrow(key, found)
        digest = self.blobs.put("\n".join(seen.blocks).encode()).sha256 if seen.blocks else ""
        self.writer.write(
            msgspec.structs.replace(
                observation,
                admits=tuple(sorted(one.id for one in versions)),
                found=found.id if found else "",
                problem=problem,
                detail=detail,
                virtual_size=seen.virtual_size,
                expected_size=max(one.size for one in versions),
                offset=offset,
                expected=expected,
                actual=actual,
                digest=digest,
                at_ns=self._at(),
            )
        )

    def _signature(self, role: str, vm: Vm, disk: int, seat: Seat, operation: int, call: int, size: int, seen: DiskContent) -> None:
        """Check the signature of a swap disk or of the context ISO (with the context script in it)."""
        problem, detail, host, path = "", "", seat.host, seat.path
        if role == "swap":
            if seen.problem:
                problem, detail = seen.problem, seen.detail
            elif seen.virtual_size < size:
                problem, detail = "size", f"{seen.virtual_size} bytes, {size} asked"
            elif self.world.peek(host, path, "raw", _SWAP_MAGIC_AT, 10, seat.means) != b"SWAPSPACE2":
                problem, detail = "format", "no swap signature at offset 4086"
        else:
            if seen.problem:
                problem, detail = seen.problem, seen.detail
            else:
                problem, detail = _iso_problem(self.world, host, path, seen.virtual_size, sorted((vm.context or {}).keys() - vm.context_unsure))
            if not problem and "FILES" in (vm.context or {}):
                self._iso_files(vm, host, path, operation, call)
        self.writer.write(
            Observation(
                self.case,
                operation,
                "disk",
                f"{vm.name}/disk.{disk}",
                host,
                path,
                "raw",
                (role,),
                "" if problem else role,
                problem,
                detail,
                seen.virtual_size,
                size,
                after_call=call,
                role=role,
                vm=vm.id,
                disk=disk,
                at_ns=self._at(),
            )
        )


def _iso_names(listing: str) -> tuple[str, ...]:
    """Return the names of the files of an ISO from the lines of `isoinfo -R -f`."""
    return tuple(sorted(line.rsplit("/", 1)[-1] for line in listing.splitlines() if line.startswith("/")))


def _iso_problem(world: World, host: str, path: str, size: int, names: list[str]) -> tuple[str, str]:
    data = world.peek(host, path, "raw", 0, min(size, 4 << 20))
    descriptor = data[_ISO_DESCRIPTOR_AT : _ISO_DESCRIPTOR_AT + 80]
    if descriptor[1:6] != b"CD001":
        return "format", "no ISO 9660 descriptor at offset 32768"
    if descriptor[40:72].decode("ascii", "replace").strip() != "CONTEXT":
        return "format", "the volume is not labelled CONTEXT"
    missing = [name for name in names if f"{name}='".encode() not in data]
    return ("bytes", f"context.sh on it lacks {missing[0]}") if missing else ("", "")


def compare(seen: DiskContent, versions: frozenset[Version]) -> tuple[Version | None, str, str, int, Version | None]:
    """Return the version found, or the problem with its detail, the offset of the first differing block and the nearest version."""
    if seen.problem:
        return None, seen.problem, seen.detail, -1, None
    by_difference: list[tuple[int, Version]] = []
    for version in sorted(versions, key=lambda one: one.id):
        if seen.virtual_size < version.size:
            continue
        differing = _first_difference(seen.blocks, version)
        if differing is None:
            return version, "", "", -1, None
        by_difference.append((differing, version))
    if not by_difference:
        expected = min(one.size for one in versions)
        return None, "size", f"{seen.virtual_size} bytes, at least {expected} expected", -1, None
    index, nearest = max(by_difference, key=lambda one: one[0])
    return None, "bytes", "", index * BLOCK, nearest


def _first_difference(blocks: tuple[str, ...], version: Version) -> int | None:
    expected: Iterator[str] = iter(version.blocks)
    for index, block in enumerate(blocks):
        if block != next(expected, "0"):
            return index
    return None
