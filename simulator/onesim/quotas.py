"""Quotas of a datastore, as far as drivers feel them: what goes beyond one is refused, for an image with a PATH after its size has been asked.

Source: src/um/Quota.cc, and the requests that ask it (image allocation and cloning, save-as, disk snapshots, resize, backup) of OpenNebula 7.0.1.
Quotas of VMs (memory, system disks) reach no driver: a VM beyond one is not made.
"""

from __future__ import annotations

from onesim.cloud import Cloud
from onesim.model import Datastore, Disk

#: How oned's refusal begins.
BEYOND = "limit of "


def exceeded(cloud: Cloud, datastore: Datastore, size_mb: int, images: int = 1) -> str:
    """Return why so many MiB and images more are too much for a datastore's quota; empty if they are not, or if there is none."""
    kept = [cloud.images[id] for id in datastore.images]
    used = {"IMAGES": len(kept), "SIZE": sum(image.size_mb + sum(one.size_mb for one in image.snapshots.known.values()) for image in kept)}
    for metric, more in (("IMAGES", images), ("SIZE", size_mb)):
        limit = datastore.quota.get(metric)
        if limit is not None and more and used[metric] + more > limit:
            return f"{BEYOND}{limit} reached for {metric} quota in datastore with ID: {datastore.id}"
    return ""


def grown(cloud: Cloud, disk: Disk, more_mb: int) -> str:
    """Return why a disk cannot take so many MiB more in the datastore of its image; empty for a disk that does not lie there."""
    if disk.kind != "persistent" or disk.datastore not in cloud.datastores:
        return ""
    return exceeded(cloud, cloud.datastores[disk.datastore], more_mb, images=0)
