"""What guests write to their disks: when a trace says so, and while a backup of a running VM is made.

A guest that is busy writes to all its disks whenever the hypervisor has done something for the call under way, and between the calls: what a disk held at
one moment tells it from the next. It does not write while it stands still. All it writes at one moment is there before anything else happens.
"""

from __future__ import annotations

from collections.abc import Callable

from onesim.cloud import Cloud
from onesim.content import disk_key, pattern
from onesim.errors import TraceError
from onesim.hypervisor import Hypervisor
from onesim.journal import Writer
from onesim.model import Disk, Vm
from onesim.observer import Observer
from onesim.records import GuestWrite
from onesim.trace import Step, Trace
from onesim.tracking import Tracking
from onesim.world.interface import Question, World

MIB = 1024 * 1024
_KINDS = ("nonpersistent", "persistent", "volatile")
_MOMENTS_MAX = 64  # of one operation; a driver that asks libvirt again and again brings no more


def impossible(cloud: Cloud, step: Step) -> str:
    """Return why a guest cannot do what a step says, such as that its VM does not run; empty if it can."""
    id = cloud.find("vm", step.arguments["vm"])
    vm = cloud.vms.get(-1 if id is None else id)
    if vm is None:
        return "names no VM that exists"
    if step.op == "guest.write" and all(one.id != step.arguments["disk"] for one in vm.disks):
        return "names no disk of a VM that exists"
    return "" if vm.state == "RUNNING" else f"needs a RUNNING VM; {vm.name} is {vm.state}"


class Guests:
    """The guests of a case. `at` tells the nanoseconds since the case began."""

    def __init__(
        self, trace: Trace, world: World, observer: Observer, tracking: Tracking, virsh: Hypervisor, writer: Writer, at: Callable[[], int]
    ) -> None:
        self.trace, self.world, self.observer, self.tracking = trace, world, observer, tracking
        self.virsh, self.writer, self.at = virsh, writer, at
        self._busy: dict[int, Step] = {}
        self._moments = 0
        self._said: tuple[str, tuple[str, ...]] = ("", ())

    def _vm(self, step: Step) -> Vm | None:
        id = self.tracking.cloud.find("vm", step.arguments["vm"])
        return self.tracking.cloud.vms.get(-1 if id is None else id)

    def play(self, n: int, step: Step, lost: str) -> str:
        """Do what a step says: write, or be busy during the next operation. Returns why it cannot be, for what was `lost` before; empty if it can.

        Raises TraceError where nothing was lost.
        """
        wrong = impossible(self.tracking.cloud, step)
        if wrong and lost:
            return f"{step.op} became impossible ({wrong}) after {lost}"
        if wrong:
            raise TraceError(f"{self.trace.path}:{step.line}: {step.op} {wrong}")
        vm = self._vm(step)
        assert vm is not None, "it is possible"
        disk = next((one for one in vm.disks if one.id == step.arguments.get("disk")), None)
        if disk is None:
            self._busy[vm.id], self._moments = step, 0
        else:
            self._write(n, vm, disk, f"{step.line}")
            self.observer.refresh()
        return ""

    def _write(self, n: int, vm: Vm, disk: Disk, seed: str, moment: int = -1) -> None:
        seat = self.observer.active(vm, disk)
        writes = pattern(f"{self.trace.name}:{seed}", disk.size_mb * MIB, 3)
        failed = self.virsh.write(vm, disk, writes)
        if failed is None:
            failed = self.world.write_disk(seat.host, seat.path, seat.format, writes, seat.means)
        version = "" if failed else self.tracking.written(disk_key(vm.id, disk.id), writes)
        self.writer.write(GuestWrite(self.trace.name, n, vm.id, disk.id, seat.host, seat.path, version, failed, self.at(), moment))

    # busy guests

    @property
    def busy(self) -> frozenset[int]:
        """The VMs whose guests write while the next operation goes on."""
        return frozenset(self._busy)

    def rest(self, vms: frozenset[int]) -> None:
        """Guests are busy no longer."""
        for id in vms:
            del self._busy[id]

    def served(self, vm: int, operation: int, asked: Question) -> None:
        """The hypervisor has done something for a call. A command that only repeats the one before, as a loop that waits, brings nothing new."""
        said = (asked.call, asked.argv)
        if said != self._said:
            self._said = said
            self._moment(vm, operation)

    def between(self, vm: int, operation: int) -> None:
        """A call has ended."""
        if vm in self._busy:
            self._moment(vm, operation)
            self.observer.refresh()

    def _moment(self, id: int, operation: int) -> None:
        step, vm = self._busy.get(id), self.tracking.cloud.vms.get(id)
        if step is None or vm is None or self._moments >= _MOMENTS_MAX or not self.virsh.runs(vm):
            return
        self._moments += 1
        for disk in vm.disks:
            if disk.kind in _KINDS and self.tracking.model.known(disk_key(vm.id, disk.id)):
                self._write(operation, vm, disk, f"{step.line}:{self._moments}:{disk.id}", self._moments)
