"""The simulated hypervisor: what one_vmm_exec and libvirt do to the VM directory around storage actions.

It is not under test. It fails where a real one would: a disk that is missing at boot, a checkpoint that did not arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from onesim.events import Answer, CallAsked
from onesim.model import Disk, Vm
from onesim.seats import Seat
from onesim.world.interface import Patch, Question, World


class Hypervisor(Protocol):
    """What the VMs of a case are to libvirt: simulated domains (`onesim.virsh`) or QEMUs (`onesim.qemu`).

    `agent` tells whether its guests have one that freezes their file systems.
    """

    agent: bool

    def open(self) -> None:
        """Get ready; called when the world is furnished."""

    def answer(self, asked: Question) -> Answer:
        """Answer a virsh; what it does on its host is done when this returns."""

    def acted(self, asked: CallAsked, vm: Vm, directory: str, document: str) -> str:
        """Make of the domains what oned's hypervisor driver has been asked for; `document` is what that got. Returns the error, empty for success."""

    def fails(self, asked: CallAsked, vm: Vm) -> None:
        """Have what oned's hypervisor driver has been asked for fail, as a trace says, with what that leaves behind."""

    def runs(self, vm: Vm) -> bool:
        """Whether the guest of a VM goes on: its domain is there, and nobody has halted it."""

    def layer(self, vm: Vm, disk: Disk) -> tuple[str, str, str] | None:
        """Return host, path and format of the layer that a running guest writes to; None where no domain runs with that disk."""

    def write(self, vm: Vm, disk: Disk, patches: Sequence[Patch]) -> str | None:
        """Have the guest write. Returns why it could not, empty if it could; None where its bytes are to be laid down without the hypervisor."""


@dataclass(frozen=True)
class Files:
    """What one_vmm_exec lays into the VM directory before a VM boots: the deployment file, the VM and its system datastore."""

    deployment: str
    vm: str
    datastore: str


#: Source: 7.4.0, src/vmm_mad/remotes/kvm/migrate:310; since 5.13.80. Disks, their snapshots and links go over; what else is in the directory does not.
_BRING = r'''set -o pipefail; cd "$1"; tar --sparse -cf - disk.* | ssh "$2" "mkdir -p $(printf %q "$3") && tar --sparse -xf - -C $(printf %q "$3")"'''


def act(world: World, asked: CallAsked, disks: Mapping[int, Seat], files: Callable[[], Files], *, brings: bool = True) -> str:
    """Carry out a hypervisor action. `disks` are the places at which there must be something, by disk id; `files` is asked where a VM boots.
    Returns the error, empty for success.

    `brings` tells whether a migration takes the disks along to a host whose storage is its own.
    """
    host, directory = asked.facts["host"], asked.facts["vm_directory"]
    match asked.action.name:
        case "deploy":
            deployment = asked.arguments["deployment_file"].rsplit("/", 1)[-1]
            told = files()
            laid = {deployment: told.deployment, "vm.xml": told.vm, "ds.xml": told.datastore}
            wanted = list(disks.values())
            return _missing(wanted, world.put_all(host, {f"{directory}/{name}": text.encode() for name, text in laid.items()}, wanted))
        case "save":
            world.put(host, asked.arguments["checkpoint"], b"memory of " + asked.arguments["deploy_id"].encode() + b"\n")
        case "migrate" if brings and asked.facts["shared"] == "NO" and asked.facts["other_host"] != host:
            return _brought(world, asked.facts["other_host"], asked.facts["other_vm_directory"], host, directory)
        case "resize_disk":
            return _grown(world, disks.get(int(asked.arguments["disk_id"])), int(asked.arguments["size_mb"]))
        case "restore":
            wanted = [*disks.values(), Seat(host, f"{directory}/checkpoint")]
            return _missing(wanted, world.exist(wanted))
    return ""


def printed(asked: CallAsked) -> str:
    """Return what a hypervisor action prints: `deploy` names the domain."""
    return f"one-{asked.vm}" if asked.action.name == "deploy" else ""


def _brought(world: World, source: str, directory: str, host: str, there: str) -> str:
    run = world.run(source, ["/bin/bash", "-c", _BRING, "migrate", directory, host, there])
    said = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return "" if run.ended_by == "exit" and run.status == 0 else f"the disks in {source}:{directory} cannot be brought to {host}: {said}"


def _missing(wanted: Sequence[Seat], found: Sequence[bool]) -> str:
    return next((f"{one.host}:{one.path} is not there" for one, there in zip(wanted, found, strict=True) if not there), "")


def _grown(world: World, disk: Seat | None, size_mb: int) -> str:
    """Enlarge a disk that QEMU has opened by an address, as its `block_resize` does. The files of a guest are its domain's, see `Virsh`."""
    if disk is None or disk.means is not None or disk.path.startswith("/"):
        return ""
    argv = ["qemu-img", "resize", "-q", "-f", "raw", disk.path, str(size_mb << 20)]
    done = world.libvirt(disk.host, "tool", {"argv": argv}, root=False)
    if done.get("status") == 0:
        return ""
    return f"{disk.host}:{disk.path} is not enlarged: {str(done.get('stderr', '')).strip()}"
