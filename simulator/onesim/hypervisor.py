"""The simulated hypervisor: what one_vmm_exec and libvirt do to the VM directory around storage actions.

It is not under test. It fails where a real one would: a disk that is missing at boot, a checkpoint that did not arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onesim.events import CallAsked
from onesim.seats import Seat
from onesim.world.interface import World


@dataclass(frozen=True)
class Files:
    """What one_vmm_exec lays into the VM directory before a VM boots: the deployment file, the VM and its system datastore."""

    deployment: str
    vm: str
    datastore: str


def act(world: World, asked: CallAsked, disks: Sequence[Seat], files: Files) -> str:
    """Carry out a hypervisor action. `disks` are the places at which there must be something. Returns the error, empty for success."""
    host, directory = asked.facts["host"], asked.facts["vm_directory"]
    match asked.action.name:
        case "deploy":
            missing = _missing(world, disks)
            if missing:
                return missing
            deployment = asked.arguments["deployment_file"].rsplit("/", 1)[-1]
            for name, text in ((deployment, files.deployment), ("vm.xml", files.vm), ("ds.xml", files.datastore)):
                world.put(host, f"{directory}/{name}", text.encode())
        case "save":
            world.put(host, asked.arguments["checkpoint"], b"memory of " + asked.arguments["deploy_id"].encode() + b"\n")
        case "restore":
            return _missing(world, (*disks, Seat(host, f"{directory}/checkpoint")))
    return ""


def printed(asked: CallAsked) -> str:
    """Return what a hypervisor action prints: `deploy` names the domain."""
    return f"one-{asked.vm}" if asked.action.name == "deploy" else ""


def _missing(world: World, places: Sequence[Seat]) -> str:
    for one in places:
        if not world.exists(one.host, one.path, one.means):
            return f"{one.host}:{one.path} is not there"
    return ""
