"""Where things lie in a world: the driver tree, the datastores, oned's own files. And which datastores and hosts a fresh cloud has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onesim.cloud import Cloud, MadConf, Mode
from onesim.model import FRONTEND, Datastore, Host
from onesim.monitor_rows import MonitorTables
from onesim.seats import Probes
from onesim.spec import load
from onesim.world.interface import Limits, Service, World
from onesim.world.lab import LabHost

if TYPE_CHECKING:
    from onesim.coverage import Sources

REMOTES = "/var/lib/one/remotes"
NODE_REMOTES = "/var/tmp/one"
HOSTS = ("host01", "host02")
BACKUP_HOST = "backup01"
DATASTORES = "/var/lib/one/datastores"
_SYSTEM, _IMAGES, _SYSTEM2, _BACKUPS = 0, 1, 100, 101
#: The labels of the datastores that a fresh cloud may have, by id.
LABELS = {_SYSTEM: "system", _IMAGES: "images", _SYSTEM2: "system2", _BACKUPS: "backups"}


@dataclass(frozen=True)
class ExtraFile:
    """A file that the vendor's world needs: absolute path in the world, bytes, mode; on the front-end, on the hosts or on all."""

    path: str
    data: bytes
    mode: int = 0o644
    where: str = "all"


@dataclass(frozen=True)
class MadProgram:
    """A driver program (MAD) that takes oned's requests: tm or datastore, its path in the world, its arguments, its bytes (None: it is there already)."""

    name: str
    path: str
    arguments: tuple[str, ...] = ()
    data: bytes | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The command line. oned gives all arguments as one word (Driver.h, start_driver); the programs, or the shells around them, part it."""
        return (self.path, " ".join(self.arguments))


@dataclass(frozen=True)
class Subjected:
    """The driver under test and the world that it needs. `archive` is the remotes tree as a tar, with VERSION in it; `helpers` its `scripts_common.sh`.

    `scripts` is how many scripts each of oned's helpers runs at once (`-t` in oned.conf); `wait_scale` what the seconds are multiplied by that oned waits.
    `simulated` are commands that the harness answers; `hypervisor` is what runs VMs: simulated or qemu.
    `backup_mad` is empty where the driver keeps no backups. `sources` are the scripts whose lines are to be told; None: no lines are.
    `misses` is a file of the front-end in which stands what a storage array that is answered for was asked in vain, a line each; empty if there is none.
    `secrets` are names and values that no record may hold. `backend` is what makes the hosts, `image` what they are made from where they are containers.
    `links` lead from a port of every host to one of the front-end.
    `lab` are the machines of a lab, `agreed` whether the user has said beforehand that they may be worked on.
    """

    archive: bytes
    datastore_mad: str
    tm_mad: str
    system_tm_mad: str
    helpers: bytes = b""
    tm_conf: Mapping[str, MadConf] = field(default_factory=dict)
    image_template: Mapping[str, str] = field(default_factory=dict)
    system_template: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[ExtraFile, ...] = ()
    setup: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    source: Path | None = None
    scripts: int = 15
    services: tuple[Service, ...] = ()
    probes: Probes = field(default_factory=Probes)
    mads: tuple[MadProgram, ...] = ()
    wait_scale: float = 1.0
    simulated: tuple[str, ...] = ("virsh",)
    hypervisor: str = "simulated"
    backup_mad: str = ""
    backup_template: Mapping[str, str] = field(default_factory=dict)
    sources: Sources | None = None
    secrets: tuple[tuple[str, str], ...] = ()
    backend: str = "namespaces"
    image: str = ""
    links: tuple[tuple[int, int], ...] = ()
    misses: str = ""
    lab: tuple[LabHost, ...] = ()
    agreed: bool = False

    @property
    def apart(self) -> tuple[str, ...]:
        """The machines that are no hosts of oned: with a backup driver one that keeps backups."""
        return (BACKUP_HOST,) if self.backup_mad else ()

    @property
    def machines(self) -> tuple[str, ...]:
        """All machines of the world, the front-end first."""
        return (FRONTEND, *HOSTS, *self.apart)


def make_cloud(subject: Subjected, shared: bool) -> Cloud:
    """Return a cloud with hosts, system datastores `system` and `system2`, an image datastore `images`; for a backup driver a datastore `backups`."""
    cloud = Cloud(FRONTEND)
    for id, name in enumerate(HOSTS):
        cloud.hosts[id] = Host(id, name)
        cloud.labels["host", name] = id
    system = {"TM_MAD": subject.system_tm_mad, "TYPE": "SYSTEM_DS", "SHARED": "YES" if shared else "NO", **subject.system_template}
    image = {"DS_MAD": subject.datastore_mad, "TM_MAD": subject.tm_mad, "TYPE": "IMAGE_DS", **subject.image_template}
    for id, name, kind, ds_mad, tm_mad, template in (
        (_SYSTEM, "system", "SYSTEM_DS", "-", subject.system_tm_mad, system),
        (_IMAGES, "images", "IMAGE_DS", subject.datastore_mad, subject.tm_mad, image),
        (_SYSTEM2, "system2", "SYSTEM_DS", "-", subject.system_tm_mad, system),
    ):
        conf = subject.tm_conf.get(tm_mad, MadConf(shared=shared))
        full = {"ALLOW_ORPHANS": conf.allow_orphans, **template}
        if kind == "IMAGE_DS":
            full = {"DISK_TYPE": conf.disk_type, "CLONE_TARGET": conf.clone_target, "LN_TARGET": conf.ln_target, **full}
        else:
            full = {"DISK_TYPE": "FILE", "DS_MIGRATE": "YES" if conf.ds_migrate else "NO", **full}
        cloud.datastores[id] = Datastore(id, name, kind, ds_mad, tm_mad, f"{cloud.location}/{id}", full)
        cloud.labels["datastore", name] = id
    if subject.backup_mad:
        backup = {"DS_MAD": subject.backup_mad, "TYPE": "BACKUP_DS", **subject.backup_template}
        path = f"{cloud.location}/{_BACKUPS}"
        cloud.datastores[_BACKUPS] = Datastore(_BACKUPS, "backups", "BACKUP_DS", subject.backup_mad, "-", path, backup)
        cloud.labels["datastore", "backups"] = _BACKUPS
    cloud.next_datastore = _BACKUPS + 1
    # a vendor who declares nothing is taken to support what is asked of the driver
    modes = {subject.system_tm_mad: Mode()} if subject.system_tm_mad != subject.tm_mad else {}
    undeclared = {subject.system_tm_mad: MadConf(shared=shared), subject.tm_mad: MadConf(shared=shared, modes=modes)}
    cloud.tm_conf = dict(subject.tm_conf) or undeclared
    return cloud


def shared_of(subject: Subjected, asked: bool | None) -> bool:
    """Return whether the hosts of a world share their system datastores: as the trace asks, else as the driver's TM_MAD_CONF says."""
    return subject.tm_conf.get(subject.system_tm_mad, MadConf()).shared if asked is None else asked


def shared_directories(subject: Subjected, asked: bool | None) -> tuple[str, ...]:
    """Return the directories that the hosts of a world share, the front-end among them: those of all datastores, or in mixed mode where one of the two drivers
    is declared as SHARED and the other is not, those of that one.
    """
    system = shared_of(subject, asked)
    mixed = subject.tm_mad != subject.system_tm_mad and subject.tm_mad in subject.tm_conf
    images = subject.tm_conf[subject.tm_mad].shared if mixed else system
    if images == system:
        return (DATASTORES,) if system else ()
    return tuple(f"{DATASTORES}/{id}" for id in ((_SYSTEM, _SYSTEM2) if system else (_IMAGES,)))


def lay_monitor_conf(world: World, tables: MonitorTables, *, encrypted: bool = False) -> None:
    """Lay monitord.conf, in which drivers find the monitor daemon, onto the front-end."""
    world.put(FRONTEND, tables.daemon.conf, tables.conf_text(encrypted=encrypted).encode())


def furnish(world: World, cloud: Cloud, subject: Subjected) -> None:
    """Lay the driver tree, the datastore directories and the vendor's files into a fresh world, start the vendor's services and run the set-up commands.

    Raises HarnessError if a service does not come up or a set-up command fails.
    """
    world.unpack(subject.archive, (FRONTEND, REMOTES), *((host, NODE_REMOTES) for host in HOSTS))
    if subject.helpers:
        # where the front-end's own packages keep it, and most drivers look for it
        world.put(FRONTEND, "/usr/lib/one/sh/scripts_common.sh", subject.helpers)
    for host in subject.machines:
        world.mkdir(host, *(f"{DATASTORES}/{datastore}" for datastore in cloud.datastores))
    lay_monitor_conf(world, load().monitor)
    for extra in subject.files:
        for host in subject.machines:
            if extra.where in ("all", host) or (extra.where == "hosts" and host in HOSTS):
                world.put(host, extra.path, extra.data, extra.mode)
    for mad in subject.mads:
        # what oned tells its programs of itself
        world.put(FRONTEND, "/var/lib/one/config", f"SCRIPTS_REMOTE_DIR={NODE_REMOTES}\nDATASTORE_LOCATION={cloud.location}\n".encode())
        if mad.data is not None:
            world.put(FRONTEND, mad.path, mad.data, 0o755)
    for service in subject.services:
        world.serve(service)
    for command in subject.setup:
        world.must_run(FRONTEND, ["/bin/bash", "-c", command])


def context_script(context: Mapping[str, str]) -> bytes:
    """Return context.sh as oned writes it for a VM: one quoted assignment a line, in alphabetical order."""
    lines = ["# Context variables generated by OpenNebula"]
    lines += [f"{name}='{value.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'" for name, value in sorted(context.items())]
    return ("\n".join(lines) + "\n").encode()
