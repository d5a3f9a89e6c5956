"""Reads what `oned.log` tells and nothing else does: the requests, with the first of each argument, and whether oned and the datastore's driver did them.

Formats: oned's request log (`Req:ID UID:N IP:ADDRESS METHOD invoked , ARGUMENTS` and `... result SUCCESS|FAILURE`, at DEBUG_LEVEL 3, which is the default;
texts are cut after 20 characters or at the end of a line), and the messages of its image manager, module `ImM`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from onesim.recording.calls import SeenCall

_REQUEST = re.compile(r"Req:(\d+) UID:\S* (?:IP:\S+ )?(one\.\w+\.\w+) (invoked|result (?:SUCCESS|FAILURE))\s*(.*)")
_ARGUMENT = re.compile(r'\s*,\s*(?:"(.*?)"(?=\s*(?:,|$))|([^",]*))')
_KNOWN = re.compile(r"one\.(?:vm|image)\.(?!\w*info|monitoring|accounting)")
_NAMED = re.compile(r"\b[Ii]mage (\d+)")
#: What a failure that names no image begins with, and the request that it is of.
_NAMELESS = {
    "Error copying image": "one.image.allocate",
    "CP operation succeeded but image FORMAT": "one.image.allocate",
    "Error creating datablock": "one.image.allocate",
    "Error removing image": "one.image.delete",
    "Error flattening image snapshot": "one.image.snapshotflatten",
}
Row = tuple[float, str, str, str]


def requests(rows: Iterable[Row], notes: Counter[str]) -> list[SeenCall]:
    """Return the requests about VMs and images. `rows` are times in seconds, modules, levels and texts of lines, in their order.

    A request has family `rpc` and its method as action; argv is what is told of the arguments, stdout the result, and status 0, 1 if oned refused it,
    2 if the driver failed, or -1 if the end is missing.
    `script` is `mkfs` where an image was made empty.
    """
    found: list[SeenCall] = []
    under_way: dict[tuple[str, str], int] = {}
    for at_s, module, level, text in rows:
        request = _REQUEST.match(text) if module == "ReM" else None
        if request is not None and _KNOWN.match(request[2]):
            key = (request[1], request[2])
            if request[3] == "invoked":
                under_way[key] = len(found)
                # what was asked comes before what a VM's log tells of the same second
                found.append(SeenCall(at_s, at_s, "rpc", "", request[2], _words(request[4]), status=-1))
            elif key in under_way:
                n, ok = under_way.pop(key), request[3].endswith("SUCCESS")
                result = " ".join(_words(request[4])) if ok else request[4]
                found[n] = replace(found[n], ended_s=at_s, stdout=result.encode(), status=max(found[n].status, 0) if ok else 1)
            else:
                notes["requests in oned.log whose beginning is missing"] += 1
        elif module == "ImM" and text.startswith("Creating disk at"):
            n = max((n for (_, method), n in under_way.items() if method == "one.image.allocate"), default=-1)
            if n >= 0:
                found[n] = replace(found[n], script="mkfs")
        elif module == "ImM" and level == "E":
            _failed(text, found, notes)
    if under_way:
        notes["requests in oned.log whose end is missing"] += len(under_way)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(one[1] if one[1] is not None else one[2].strip() for one in _ARGUMENT.finditer(text))


def _failed(text: str, found: list[SeenCall], notes: Counter[str]) -> None:
    """Note that a driver has failed, with the last request of the image that is named, or else the last one of its kind that has not failed yet."""
    named = _NAMED.search(text) if text.startswith("Error ") else None
    method = next((method for start, method in _NAMELESS.items() if text.startswith(start)), "")
    for n in range(len(found) - 1, -1, -1):
        one = found[n]
        if one.ok and (one.action == method if method else named and one.action.startswith("one.image.") and one.argv[:1] == (named[1],)):
            found[n] = replace(one, stderr=text.encode(), status=2)
            return
    notes["errors of the image manager in oned.log that are of no request there"] += 1
