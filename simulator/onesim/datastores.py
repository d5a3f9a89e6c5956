"""Datastores as they are created: what their drivers' declarations in oned.conf require and add.

Source: src/datastore/Datastore.cc (insert, set_ds_mad, set_tm_mad) of OpenNebula 7.0.1; recordings.
"""

from __future__ import annotations

from collections.abc import Mapping

from onesim.cloud import Cloud, MadConf
from onesim.model import Datastore
from onesim.operations import Arguments, Refusal, known, new_label, text
from onesim.spec import ContractSpec

_TYPES = ("IMAGE_DS", "SYSTEM_DS", "FILE_DS", "BACKUP_DS")


def create(cloud: Cloud, spec: ContractSpec, arguments: Arguments) -> Datastore:
    """Put a new datastore with a user's template into the cloud. Raises Refusal as oned refuses one."""
    label = new_label(cloud, "datastore", arguments)
    if "like" in arguments:
        return _like(cloud, cloud.datastores[known(cloud, "datastore", arguments, "like")], label, arguments)
    given = arguments.get("template")
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Refusal("argument 'template' is an object of texts")
    template: dict[str, str] = dict(given)
    types = _TYPES if spec.holds(since="6.5.80") else _TYPES[:3]
    kind = template.get("TYPE", "IMAGE_DS") if template.get("TYPE") in types else "IMAGE_DS"
    ds_mad = _ds_mad(cloud, kind, template)
    tm_mad = "-" if kind == "BACKUP_DS" else _tm_mad(cloud, template)
    template = completed(cloud, spec, kind, ds_mad, tm_mad, template)
    return _added(cloud, label, template.pop("NAME", label), kind, (ds_mad, tm_mad), template)


def _like(cloud: Cloud, other: Datastore, label: str, arguments: Arguments) -> Datastore:
    """Add a datastore with the drivers and the template of another; arguments in capitals are attributes that it has besides or instead."""
    changed = {name: text(arguments, name) for name in arguments if name.isupper()}
    template = {name: value for name, value in (other.template | changed).items() if value}
    return _added(cloud, label, label, template.get("TYPE", other.type), (other.ds_mad, other.tm_mad), template)


def _added(cloud: Cloud, label: str, name: str, kind: str, mads: tuple[str, str], template: dict[str, str]) -> Datastore:
    id, cloud.next_datastore = cloud.next_datastore, cloud.next_datastore + 1
    made = Datastore(id, name, kind, *mads, f"{cloud.location}/{id}", template)
    cloud.datastores[id] = made
    cloud.labels["datastore", label] = id
    return made


def delete(cloud: Cloud, datastore: Datastore) -> None:
    """Take a datastore out of the cloud. Raises Refusal while it has images."""
    if datastore.images:
        raise Refusal(f"datastore {datastore.name!r} is not empty: images {', '.join(map(str, sorted(datastore.images)))}")
    del cloud.datastores[datastore.id]
    for key in [key for key, id in cloud.labels.items() if key[0] == "datastore" and id == datastore.id]:
        del cloud.labels[key]


def completed(cloud: Cloud, spec: ContractSpec, kind: str, ds_mad: str, tm_mad: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return a datastore's template as oned stores it: with what its drivers declare, and which directories they may read if the user names none."""
    template = {"TYPE": kind, "TM_MAD": tm_mad, **({"DS_MAD": ds_mad} if ds_mad != "-" else {})}
    if tm_mad != "-":
        template |= _declared(cloud.conf(tm_mad), kind)
        if spec.holds(since="6.99.80"):
            template["PERSISTENT_SNAPSHOTS"] = "YES"
    if kind in ("IMAGE_DS", "SYSTEM_DS"):
        template.setdefault("DISK_TYPE", "FILE")
    if not given.get("SAFE_DIRS") and not given.get("RESTRICTED_DIRS"):
        template |= {"SAFE_DIRS": "/var/tmp", "RESTRICTED_DIRS": "/"}
    return {**given, **template}


def _declared(conf: MadConf, kind: str) -> dict[str, str]:
    if kind == "SYSTEM_DS":
        return {"ALLOW_ORPHANS": conf.allow_orphans, "SHARED": "YES" if conf.shared else "NO", "DS_MIGRATE": "YES" if conf.ds_migrate else "NO"}
    targets = {"ALLOW_ORPHANS": conf.allow_orphans, "CLONE_TARGET": conf.clone_target, "LN_TARGET": conf.ln_target, "DISK_TYPE": conf.disk_type}
    if conf.driver:
        targets["DRIVER"] = conf.driver
    for name, mode in conf.modes.items():
        suffix = name.upper()
        targets |= {f"CLONE_TARGET_{suffix}": mode.clone_target, f"LN_TARGET_{suffix}": mode.ln_target, f"DISK_TYPE_{suffix}": mode.disk_type}
    return {**targets, **({"TM_MAD_SYSTEM": ",".join(conf.modes)} if conf.modes else {})}


def _ds_mad(cloud: Cloud, kind: str, template: Mapping[str, str]) -> str:
    mad = template.get("DS_MAD", "")
    if kind == "SYSTEM_DS":
        if mad:
            raise Refusal("SYSTEM datastores cannot have DS_MAD defined.")
        return "-"
    if not mad:
        raise Refusal("No DS_MAD in template.")
    if mad not in cloud.ds_required:
        raise Refusal(f'DS_MAD named "{mad}" is not defined in oned.conf')
    for name in cloud.ds_required[mad]:
        if not template.get(name):
            raise Refusal(f'Datastore template is missing the "{name}" attribute or it\'s empty.')
    return mad


def _tm_mad(cloud: Cloud, template: Mapping[str, str]) -> str:
    mad = template.get("TM_MAD", "")
    if not mad:
        raise Refusal("No TM_MAD in template.")
    if mad not in cloud.tm_conf:
        raise Refusal(f'TM_MAD named "{mad}" is not defined in oned.conf')
    return mad
