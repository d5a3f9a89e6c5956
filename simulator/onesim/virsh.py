"""The simulated libvirt of a case: answers drivers' virsh, carries out in the world what libvirtd would do, and knows which layer a running guest writes to.

The simulated hypervisor tells it what oned makes of its VMs: a VM that runs is the domain `one-ID` of its host.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from onesim.events import Answer, CallAsked
from onesim.libvirtd import chains
from onesim.libvirtd.daemon import Asked, answer
from onesim.libvirtd.domain_documents import written_empty
from onesim.libvirtd.domains import boot, stop_domain
from onesim.libvirtd.effects import ClientFile, Effect, Refused, Result
from onesim.libvirtd.model import Disk as DomainDisk
from onesim.libvirtd.model import Domain, Layer, Libvirtd, uuid_of
from onesim.model import Disk, Vm
from onesim.world.interface import Patch, Question, World

T = TypeVar("T")
_STARTS = ("deploy", "restore")
_ENDS = ("save", "shutdown", "cancel")


class Virsh:
    """The daemons of all hosts of a world."""

    agent = True

    def __init__(self, world: World, hosts: tuple[str, ...]) -> None:
        self.world = world
        self.daemons = {host: Libvirtd(host) for host in hosts}
        self._unopened: list[tuple[Libvirtd, Domain]] = []

    def open(self) -> None:
        """Nothing to do."""

    def answer(self, asked: Question) -> Answer:
        """Answer a virsh; what it does on its host is done when this returns."""
        self._open_all()
        plan = answer(self.daemons, Asked(asked.argv, asked.host, asked.root, asked.uri), int(time.time()))
        printed = self._carry_out(plan, asked.number)
        return Answer(printed.stdout, printed.stderr, printed.status)

    def _carry_out(self, plan: Generator[Effect | ClientFile, Result, T], client: int = -1) -> T:
        """Carry out a plan to its end."""
        result: Result | None = None
        while True:
            try:
                wanted = next(plan) if result is None else plan.send(result)
            except StopIteration as end:
                done: T = end.value
                return done
            result = Result(self._done(wanted, client))

    def _done(self, wanted: Effect | ClientFile, client: int) -> dict[str, Any]:
        if isinstance(wanted, Effect):
            return self.world.libvirt(wanted.host, wanted.deed, wanted.arguments, root=wanted.root)
        if wanted.data is not None:
            errno = self.world.client_write(client, wanted.path, wanted.data)
            return {"errno": errno} if errno else {}
        errno, data = self.world.client_read(client, wanted.path)
        return {"errno": errno, "why": _why(errno)} if errno else {"data": base64.b64encode(data).decode()}

    # what oned's hypervisor driver does to the domains

    def acted(self, asked: CallAsked, vm: Vm, directory: str, document: str) -> str:
        """Take note of what the simulated hypervisor has done for oned."""
        name, host = f"one-{vm.id}", asked.facts["host"]
        daemon = self.daemons.get(host)
        if daemon is None:
            return ""
        match asked.action.name:
            case action if action in _STARTS:
                self._start(daemon, vm, directory)
            case action if action in _ENDS:
                self._end(daemon, name, action)
            case "migrate":
                self._move(asked.arguments["host"], asked.arguments["there"], name)
            case "attach_disk" | "detach_disk":
                self._plug(daemon, vm, directory, asked)
            case "resize_disk":
                self._grow(daemon, vm, asked)
        return ""

    def fails(self, asked: CallAsked, vm: Vm) -> None:
        """Nothing has begun."""

    def _start(self, daemon: Libvirtd, vm: Vm, directory: str) -> None:
        name = f"one-{vm.id}"
        disks = [_domain_disk(disk, directory) for disk in vm.disks]
        if vm.context is not None:
            path = f"{directory}/disk.{vm.context_disk}"
            disks.append(DomainDisk(vm.context_target or "hda", [Layer(path, "raw")], "cdrom", "ide", readonly=True))
        domain = Domain(name, uuid_of(f"vm {vm.id}"), written_empty(), disks, agent=True)
        daemon.domains[name] = domain
        boot(daemon, domain)
        self._unopened.append((daemon, domain))

    def _open_all(self) -> None:
        """Find the chains of domains that have been started since a virsh was last asked.

        One that cannot be followed is left as it is said to be: what a disk holds is judged by its bytes.
        """
        for daemon, domain in self._unopened:
            if domain.running:
                with contextlib.suppress(Refused):
                    self._carry_out(chains.open_disks(daemon.qemu, domain))
        self._unopened.clear()

    def _end(self, daemon: Libvirtd, name: str, action: str) -> None:
        domain = daemon.domains.get(name)
        if domain is not None:
            stop_domain(daemon, domain, action)

    def _move(self, source: str, destination: str, name: str) -> None:
        here, there = self.daemons.get(source), self.daemons.get(destination)
        domain = here.domains.pop(name, None) if here is not None else None
        if here is not None and there is not None and domain is not None:
            domain.id, there.next_id = there.next_id, there.next_id + 1
            there.domains[name] = domain
            self._unopened = [(there if one is domain else daemon, one) for daemon, one in self._unopened]

    def _plug(self, daemon: Libvirtd, vm: Vm, directory: str, asked: CallAsked) -> None:
        domain = daemon.domains.get(f"one-{vm.id}")
        disk = next((one for one in vm.disks if one.id == asked.disk), None)
        if domain is None or disk is None:
            return
        domain.disks = [one for one in domain.disks if one.target != disk.target]
        if asked.action.name == "attach_disk":
            domain.disks.append(_domain_disk(disk, directory))
            self._unopened.append((daemon, domain))

    def _grow(self, daemon: Libvirtd, vm: Vm, asked: CallAsked) -> None:
        """Enlarge the file that a running guest writes to; a disk with an address the hypervisor has enlarged."""
        domain = daemon.domains.get(f"one-{vm.id}")
        disk = next((one for one in vm.disks if str(one.id) == asked.arguments["disk_id"]), None)
        seen = next((one for one in domain.disks if disk is not None and one.target == disk.target), None) if domain is not None else None
        if domain is None or seen is None:
            return
        self._open_all()
        size = str(int(asked.arguments["size_mb"]) << 20)
        with contextlib.suppress(Refused):
            self._carry_out(daemon.qemu.tool("qemu-img", "resize", "-q", "-f", seen.active.format, seen.active.path, size))

    # what the guest writes to

    def runs(self, vm: Vm) -> bool:
        """Whether the guest of a VM goes on: its domain is there, and nobody has halted it."""
        found = (daemon.domains.get(f"one-{vm.id}") for daemon in self.daemons.values())
        return any(domain is not None and domain.state == "running" for domain in found)

    def layer(self, vm: Vm, disk: Disk) -> tuple[str, str, str] | None:
        """Return host, path and format of the layer that a running guest writes to; None where no domain runs with that disk."""
        for host, daemon in self.daemons.items():
            domain = daemon.domains.get(f"one-{vm.id}")
            if domain is not None and domain.running:
                found = next((one for one in domain.disks if one.target == disk.target), None)
                if found is not None:
                    return host, found.active.path, found.active.format
        return None

    def write(self, vm: Vm, disk: Disk, patches: Sequence[Patch]) -> str | None:
        """Leave it to the harness, which writes to the active layer."""
        return None


def _domain_disk(disk: Disk, directory: str) -> DomainDisk:
    kind = "cdrom" if disk.kind == "cdrom" else "disk"
    bus = "ide" if disk.target.startswith("hd") else "scsi" if disk.target.startswith("sd") else "virtio"
    format = disk.format if disk.format not in ("", "swap") else "raw"
    return DomainDisk(disk.target, [Layer(f"{directory}/disk.{disk.id}", format)], kind, bus, readonly=kind == "cdrom")


def _why(errno: int) -> str:
    return {2: "No such file or directory", 13: "Permission denied", 20: "Not a directory", 21: "Is a directory"}.get(errno, f"error {errno}")
