"""Images that a driver makes through the API while it runs: what it asks for, read from the request. The calls that follow are those of any new image."""

from __future__ import annotations

from dataclasses import dataclass

from onesim import grammars, monitoring, operations, quotas
from onesim.cloud import Cloud
from onesim.grammar_values import Single, Template
from onesim.model import Image
from onesim.operations import Refusal

#: Attributes that are elements of an image itself, not of its template.
_OWN = frozenset({"NAME", "TYPE", "PATH", "SOURCE", "FORMAT", "FS", "FSTYPE", "SIZE", "PERSISTENT"})


@dataclass(frozen=True)
class Wanted:
    """An image that is asked for: the text of its template, and the id of its datastore."""

    template: str
    datastore: int


def new_image(cloud: Cloud, wanted: Wanted, version: str) -> Image:
    """Return the image that is asked for; it enters the cloud by its first phase.

    Raises Refusal with the text that oned answers, as far as the request can be wrong without a driver having run.
    """
    parsed = grammars.parse("template", wanted.template, version)
    if not isinstance(parsed, Template):
        raise Refusal("Error parsing the template")
    datastore = cloud.datastores.get(wanted.datastore)
    if datastore is None or datastore.type == "SYSTEM_DS":
        raise Refusal(f"Error getting datastore [{wanted.datastore}].")
    singles = {one.name: one.value for one in reversed(parsed.attributes) if isinstance(one, Single)}
    name, size = singles.get("NAME", ""), singles.get("SIZE", "")
    if not name:
        raise Refusal("NAME cannot be empty.")
    if not singles.get("PATH") and not singles.get("SOURCE") and not size.isdigit():
        raise Refusal("No PATH nor SIZE in template.")
    image = operations.make_image(
        cloud,
        version,
        {
            "image": name,
            "datastore": cloud.label("datastore", wanted.datastore),
            "type": singles.get("TYPE", "OS").upper(),
            "persistent": singles.get("PERSISTENT", "NO").upper() == "YES",
            "path": singles.get("PATH", ""),
        },
        "register",
    )
    image.source, image.format, image.fs = singles.get("SOURCE", ""), singles.get("FORMAT", ""), singles.get("FS", "")
    image.size_mb = int(size) if size.isdigit() else 0
    lacking = monitoring.shortage(datastore, image.size_mb)
    if not image.path:
        lacking = lacking or quotas.exceeded(cloud, datastore, image.size_mb) or operations.name_taken(cloud, name)
    if lacking:
        raise Refusal(lacking)
    image.template |= {name: value for name, value in sorted(singles.items()) if name not in _OWN}
    return image
