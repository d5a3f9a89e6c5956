"""What a monitoring call ought to tell, measured by the harness itself, and what it did tell: the room of a datastore, and what the disks in it take up."""

from __future__ import annotations

from onesim import grammars
from onesim.cloud import Cloud
from onesim.errors import HarnessError
from onesim.events import CallAsked
from onesim.grammar_values import Template, VmSizes
from onesim.model import FRONTEND
from onesim.seats import Probes, on_network
from onesim.world.interface import World

_MIB = 1 << 20


def truth(world: World, cloud: Cloud, asked: CallAsked, probes: Probes) -> dict[str, str]:
    """Return the facts that a call of monitor is judged by, nothing for other actions.

    Where disks are no files, how full their store is only the vendor's probe knows, and what they take up nobody but the driver.
    """
    if asked.action.name != "monitor":
        return {}
    network = on_network(cloud.datastores[asked.datastore])
    facts = (
        _probed(world, probes)
        if probes.capacity
        else {}
        if network
        else capacity(world, FRONTEND, asked.facts.get("pool_target", asked.facts["base_path"]))
    )
    return facts | sizes(world, FRONTEND, asked.facts["base_path"]) if "system_base_path" in asked.facts and not network else facts


def _probed(world: World, probes: Probes) -> dict[str, str]:
    """Return total and free MiB as the vendor's probe prints them. Raises HarnessError if it prints something else."""
    run = world.run(probes.host, ["/bin/bash", "-c", probes.capacity])
    figures = run.stdout.decode(errors="replace").split()
    if run.status or len(figures) != 2 or not all(one.isdigit() for one in figures):
        said = (run.stderr or run.stdout).decode(errors="replace").strip()[-200:]
        raise HarnessError(f"[probe] capacity is to print total and free MiB; it ended with {run.status}: {said}")
    return {"true_total_mb": figures[0], "true_free_mb": figures[1]}


def capacity(world: World, host: str, path: str) -> dict[str, str]:
    """Return total and free MiB of what a path is on."""
    total, free = world.capacity_mb(host, path)
    return {"true_total_mb": str(total), "true_free_mb": str(free)}


def sizes(world: World, host: str, path: str) -> dict[str, str]:
    """Return what lies in a system datastore: `3/0=2:5 3/0/1=2:2`, the disk 0 of VM 3 and its snapshot 1, each with allocated and apparent MiB."""
    rows = []
    for name, (allocated, apparent) in sorted(world.disk_sizes(host, path).items()):
        place = name.replace("disk.", "").replace(".snap", "")
        rows.append(f"{place}={-(-allocated // _MIB)}:{-(-apparent // _MIB)}")
    return {"true_sizes_mb": " ".join(rows)} if rows else {}


def told(text: str, version: str) -> tuple[str, str]:
    """Return what a text says of the sizes of disks, `3/0=2 3/0/1=5`, and what is not written as it should be (empty if nothing)."""
    found = grammars.parse("vm_sizes", text, version)
    if not isinstance(found, VmSizes):
        return "", str(found[0]) if isinstance(found, list) else "no sizes of VMs"
    rows = []
    for vm, one in found.vms.items():
        rows += [f"{vm}/{disk.disk}={disk.size_mb}" for disk in one.disks]
        rows += [f"{vm}/{snapshot.disk}/{snapshot.snapshot}={snapshot.size_mb}" for snapshot in one.snapshots]
    whole = grammars.parse("monitor_message", text, version)
    strange = next((one.name for one in whole.attributes if one.name != "VM"), "") if isinstance(whole, Template) else ""
    return " ".join(rows), f"{strange} stands among the VMs" if strange else ""
