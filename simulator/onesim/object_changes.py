"""What an operation prepares or changes on an image or a datastore: the words of the columns makes, keeps and drops of their tables in `spec/lifecycle`.

A preparation that oned refuses raises Refusal and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from onesim import backups, operations, quotas, snapshots
from onesim.changes import Prepared
from onesim.cloud import Cloud
from onesim.model import Datastore, Image
from onesim.operations import Arguments, Refusal, known, number, text

_ATTRIBUTE_KIB_MAX = 4096


def _image_snapshot(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    id = number(arguments, "snapshot")
    if id not in image.snapshots.known:
        raise Refusal(f"image {image.name!r} has no snapshot {id}")
    image.target_snapshot = id
    return Prepared()


def _image_snapshot_dropped(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    id = number(arguments, "snapshot")
    why = snapshots.leaf_refusal(image.snapshots, id)
    if why:
        raise Refusal(why)
    return _image_snapshot(cloud, image, arguments)


def _image_restored(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    if image.type != "BACKUP":
        raise Refusal(f"image {image.name!r} is no backup")
    wanted = {name.upper(): str(arguments[name]) for name in ("no_ip", "no_nic", "name", "increment_id", "disk_id") if name in arguments}
    destination = known(cloud, "datastore", {"datastore": "images", **arguments})
    return Prepared(parameters={"destination": str(destination), **wanted, "USERNAME": "oneadmin"})


def _unlocked(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    if image.locked:
        raise Refusal(f"image {image.name!r} is locked")
    return Prepared()


def _forced(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    # force goes before a lock (RequestManagerDelete.cc), and the driver can read that it was used
    image.template["FORCE_DELETE"] = "YES"
    return Prepared()


def _locked(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    image.locked = True
    return Prepared()


def _free(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    image.locked = False
    return Prepared()


def _persistent(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    image.persistent = True
    return Prepared()


def _nonpersistent(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    if image.snapshots.known:
        raise Refusal(f"image {image.name!r} has snapshots and stays persistent")
    image.persistent = False
    return Prepared()


def _type(cloud: Cloud, image: Image, arguments: Arguments) -> Prepared:
    kind = text(arguments, "type")
    if kind not in operations.IMAGE_TYPES:
        raise Refusal(f"image type {kind!r} is not one of {', '.join(operations.IMAGE_TYPES)}")
    image.type = kind
    return Prepared()


#: Preparations for an image by the word of the column makes.
IMAGE_MAKES: dict[str, Callable[[Cloud, Image, Arguments], Prepared]] = {
    "image_snapshot": _image_snapshot,
    "image_snapshot_dropped": _image_snapshot_dropped,
    "image_restored": _image_restored,
    "unlocked": _unlocked,
    "forced": _forced,
    "locked": _locked,
    "free": _free,
    "persistent": _persistent,
    "nonpersistent": _nonpersistent,
    "type": _type,
}


def _snapshot_gone(cloud: Cloud, image: Image) -> None:
    snapshots.delete(image.snapshots, image.target_snapshot)


def _snapshot_active(cloud: Cloud, image: Image) -> None:
    snapshots.revert(image.snapshots, image.target_snapshot)


def _snapshots_gone(cloud: Cloud, image: Image) -> None:
    image.snapshots = snapshots.Snapshots(image.snapshots.orphans, next=image.snapshots.next)


#: The same for an image and its snapshots.
IMAGE_SETTLES: dict[str, Callable[[Cloud, Image], None]] = {
    "image_snapshot_gone": _snapshot_gone,
    "image_snapshot_active": _snapshot_active,
    "image_snapshots_gone": _snapshots_gone,
    "increments_merged": backups.merged,
}


def _attribute(arguments: Arguments, name: str) -> str:
    """Return the text of an attribute; `{"kib": n}` stands for one of n KiB, which a trace need not spell out. Raises Refusal for more than 4 MiB."""
    value = arguments[name]
    if not isinstance(value, dict):
        return text(arguments, name)
    kib = number(value, "kib")
    if kib > _ATTRIBUTE_KIB_MAX:
        raise Refusal(f"attribute {name!r} is to have {kib} KiB; give at most {_ATTRIBUTE_KIB_MAX}")
    return "x" * (kib << 10)


def _template(datastore: Datastore, arguments: Arguments) -> None:
    wanted = {name: _attribute(arguments, name) for name in arguments if name.isupper()}
    if not wanted:
        raise Refusal("no attribute is given; name one in capitals, such as LIMIT_MB")
    kept = {name: value for name, value in (datastore.template | wanted).items() if value}
    datastore.template.clear()
    datastore.template.update(kept)


def _quota(datastore: Datastore, arguments: Arguments) -> None:
    datastore.quota.clear()
    datastore.quota.update({metric: number(arguments, name) for name, metric in (("images", "IMAGES"), ("size_mb", "SIZE")) if name in arguments})


#: The same for a datastore: it is changed at once.
DATASTORE_MAKES: dict[str, Callable[[Datastore, Arguments], None]] = {"template": _template, "quota": _quota}


def _vm_quota(cloud: Cloud, arguments: Arguments) -> None:
    for name in arguments:
        if name not in quotas.VM_METRICS:
            raise Refusal(f"argument {name!r} is no quota; name one of {', '.join(quotas.VM_METRICS)}")
    limits = {metric: operations.share(arguments, name) for name, metric in quotas.VM_METRICS.items() if name in arguments}
    cloud.quota.clear()
    cloud.quota.update(limits)


#: The same for the user whom all objects belong to.
USER_MAKES: dict[str, Callable[[Cloud, Arguments], None]] = {"quota": _vm_quota}
