"""The installation that recordings were made with (`installation.toml`), as a cloud of the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import tomli

from onesim.cloud import Cloud, MadConf, Mode
from onesim.datastores import completed
from onesim.model import Datastore, Host
from onesim.spec import ContractSpec


class _Datastore(msgspec.Struct, frozen=True):
    id: int
    type: str
    tm: str
    ds_mad: str = "-"


class _Tm(msgspec.Struct, frozen=True):
    ln_target: str = "NONE"
    clone_target: str = "SYSTEM"
    shared: bool = True
    disk_type: str = "FILE"
    driver: str = ""
    ds_migrate: bool = True
    allow_orphans: str = "NO"
    modes: dict[str, Mode] = {}


class Image(msgspec.Struct, frozen=True):
    """A template that a request names by one word."""

    type: str
    path: str = ""
    size_mb: int = 0
    format: str = ""
    fs: str = ""
    datastore: int = 100


class Installation(msgspec.Struct, frozen=True):
    """What `installation.toml` says."""

    location: str
    vms_dir: str
    frontend: str
    hosts: tuple[str, ...]
    vm_mad: str
    deploy_id: str
    suffixed: dict[str, tuple[str, ...]]
    tm: dict[str, _Tm]
    ds: dict[str, tuple[str, ...]]
    datastore: tuple[_Datastore, ...]
    templates: dict[str, Image]

    def script(self, mad: str, action: str, suffix: str) -> str:
        """Return the file that runs for an action asked with a mixed-mode suffix (its dot included)."""
        return action + suffix if suffix[1:] in self.suffixed.get(mad, ()) else action

    def cloud(self, spec: ContractSpec, image_tm: str, system_tm: str) -> Cloud:
        """Return the cloud with the transfer managers of a recording; objects are labelled by their ids."""
        cloud = Cloud(self.frontend, location=self.location, vms_dir=self.vms_dir, vm_mad=self.vm_mad)
        cloud.tm_conf = {name: MadConf(**msgspec.structs.asdict(row)) for name, row in self.tm.items()}
        cloud.ds_required = dict(self.ds)
        for id, name in enumerate(self.hosts):
            cloud.hosts[id] = Host(id, name)
            cloud.labels["host", str(id)] = id
        tms: Mapping[str, str] = {"image": image_tm, "system": system_tm}
        for row in self.datastore:
            add_datastore(cloud, spec, row.id, row.type, row.ds_mad, tms.get(row.tm, row.tm))
        return cloud


def add_datastore(cloud: Cloud, spec: ContractSpec, id: int, type: str, ds_mad: str, tm_mad: str) -> None:
    """Put a datastore into the cloud under its id."""
    template = completed(cloud, spec, type, ds_mad, tm_mad, {})
    cloud.datastores[id] = Datastore(id, f"ds{id}", type, ds_mad, tm_mad, f"{cloud.location}/{id}", template)
    cloud.labels["datastore", str(id)] = id
    cloud.next_datastore = max(cloud.next_datastore, id + 1)


@cache
def installation() -> Installation:
    """Return the installation; it is read once."""
    return msgspec.convert(tomli.loads((Path(__file__).parent / "installation.toml").read_text(encoding="utf-8")), Installation)
