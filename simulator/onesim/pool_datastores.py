"""Datastores that are storage pools of libvirt, as their templates say: where volumes appear, what libvirt does with them, and volumes that were there before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from onesim.libvirt_tables import Ability, tables
from onesim.model import Datastore

#: What a pool keeps: files that libvirt makes, other volumes that it makes (`blocks`), or volumes that were made elsewhere (`lent`). Empty: it is no pool.
PoolKind = Literal["", "files", "blocks", "lent"]

#: What stands before the names of volumes in SOURCE where no POOL_TARGET says it: `source` is POOL_SOURCE, or POOL_NAME where that is none either.
_TARGETS = {"logical": "/dev/{source}", "disk": "/dev", "rbd": "{source}", "gluster": "{source}", "iscsi-direct": "{source}"}
#: The name of the volume with a number that was in the pool before, where the type of the pool does not leave it to who makes it.
_NAMES = {"disk": "{device}{n}", "iscsi-direct": "{n}"}
_MARK = "{volume."


def pool_able(template: Mapping[str, str], ability: Ability) -> bool:
    """Tell whether libvirt does something with the volumes of a datastore; of a datastore that is no pool, or of a type that nobody knows, yes."""
    row = next((one for one in tables().pool if one.type == template.get("POOL_TYPE", "")), None)
    return row is None or ability in row.can


def pool_kind(template: Mapping[str, str]) -> PoolKind:
    """Return what the pool of a datastore keeps."""
    kind = template.get("POOL_TYPE", "")
    if not kind:
        return ""
    row = next((one for one in tables().pool if one.type == kind), None)
    if not pool_able(template, "create"):
        return "lent"
    return "files" if row is None or "file" in row.volume else "blocks"


def _source(template: Mapping[str, str]) -> str:
    return template.get("POOL_SOURCE") or template.get("POOL_NAME", "")


def pool_target(datastore: Datastore) -> str:
    """Return where the volumes of a datastore's storage pool of libvirt appear; empty if it has no pool."""
    template = datastore.template
    if "POOL_TYPE" not in template:
        return ""
    return template.get("POOL_TARGET") or _TARGETS.get(template["POOL_TYPE"], datastore.base_path).format(source=_source(template))


def volume_path(datastore: Datastore, name: str) -> str:
    """Return where a volume with a name of the driver's own appears. A partition has none: what has one is a link in the datastore's directory."""
    return f"{datastore.base_path if datastore.template.get('POOL_TYPE') == 'disk' else pool_target(datastore)}/{name}"


def lent_source(datastore: Datastore, n: int) -> str:
    """Return the SOURCE of the n-th volume that was in the pool of a datastore before."""
    name = _NAMES.get(datastore.template.get("POOL_TYPE", ""), "before-{n}")
    return f"{pool_target(datastore)}/{name.format(device=_source(datastore.template).rpartition('/')[2], n=n)}"


def with_lent(text: str, datastore: Datastore) -> str:
    """Return an argument of a trace with the SOURCE of a volume in place of `{volume.N}`."""
    number = text.removeprefix(_MARK).removesuffix("}")
    return lent_source(datastore, int(number)) if text.startswith(_MARK) and number.isdecimal() else text
