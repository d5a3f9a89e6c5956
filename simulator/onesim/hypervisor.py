"""The simulated hypervisor: what one_vmm_exec and libvirt do to the VM directory around storage actions.

It is not under test. It fails where a real one would: a disk that is missing at boot, a checkpoint that did not arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

from onesim.events import CallAsked
from onesim.world.interface import World


@dataclass(frozen=True)
class Files:
    """What one_vmm_exec lays into the VM directory before a VM boots: the deployment file, the VM and its system datastore."""

    deployment: str
    vm: str
    datastore: str


def act(world: World, asked: CallAsked, disks: tuple[str, ...], files: Files) -> str:
    """Carry out a hypervisor action. `disks` are the names in the VM directory that must be there. Returns the error, empty for success."""
    host, directory = asked.facts["host"], asked.facts["vm_directory"]
    match asked.action.name:
        case "deploy":
            missing = _missing(world, host, directory, disks)
            if missing:
                return missing
            deployment = asked.arguments["deployment_file"].rsplit("/", 1)[-1]
            for name, text in ((deployment, files.deployment), ("vm.xml", files.vm), ("ds.xml", files.datastore)):
                world.put(host, f"{directory}/{name}", text.encode())
        case "save":
            world.put(host, asked.arguments["checkpoint"], b"memory of " + asked.arguments["deploy_id"].encode() + b"\n")
        case "restore":
            return _missing(world, host, directory, (*disks, "checkpoint"))
    return ""


def printed(asked: CallAsked) -> str:
    """Return what a hypervisor action prints: `deploy` names the domain."""
    return f"one-{asked.vm}" if asked.action.name == "deploy" else ""


def _missing(world: World, host: str, directory: str, names: tuple[str, ...]) -> str:
    for name in names:
        if not world.exists(host, f"{directory}/{name}"):
            return f"{host}:{directory}/{name} is not there"
    return ""
