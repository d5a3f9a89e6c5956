"""Placeholders: what differs from one cloud to the next (ids, places, hosts, times, names that drivers choose) by the names that a trace has for it.

    ${vm:web}      the id of a VM         ${host:host01}   the name of a host       ${location}   DATASTORE_LOCATION, as oned writes it
    ${image:os}    the id of an image     ${source:os}     the SOURCE of an image   ${place}      the same place, without doubled slashes
    ${datastore:images}  its id           ${time}          a time of the clock      ${capacity}   room that was measured, in MiB
    ${request}     a number that oned gives a request                               ${document}   the call's document, encoded as it travels

`$${` stands for `${` itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from functools import cached_property

#: Elements that hold the id of an object, and of which kind.
_IDS = {
    "VMID": "vm",
    "VM_ID": "vm",
    "IMAGE_ID": "image",
    "CLONING_ID": "image",
    "DATASTORE_ID": "datastore",
    "DS_ID": "datastore",
    "BACKUP_DATASTORE_ID": "datastore",
    "LAST_DATASTORE_ID": "datastore",
}
_LISTS = {"VMS": "vm", "IMAGES": "image", "CLONES": "image", "BACKUP_IDS": "image", "DATASTORES": "datastore"}
_TIMES = "STIME|ETIME|PSTIME|PETIME|RSTIME|RETIME|ESTIME|EETIME|REGTIME|MODTIME|DATE|LAST_POLL|TIMESTAMP|RESCHED_TIME"
_ROOM = "TOTAL_MB|FREE_MB|USED_MB|MONITOR_VM_DISK"
_OWN_ID = re.compile(r"(<(VM|IMAGE|DATASTORE)><ID>)(\d+)(</ID>)")
_ELEMENT = re.compile(rf"(<({'|'.join(_IDS)})>(?:<!\[CDATA\[)?)(\d+)((?:\]\]>)?</\2>)")
_LIST = re.compile(rf"(<({'|'.join(_LISTS)})>)((?:<ID>\d+</ID>)+)(</\2>)")
_TIME = re.compile(rf"(<({_TIMES})>(?:<!\[CDATA\[)?)[1-9]\d{{8,}}((?:\]\]>)?</\2>)")
_MEASURED = re.compile(rf"(<({_ROOM})>(?:<!\[CDATA\[)?)\d+((?:\]\]>)?</\2>)")
_TOLD = re.compile(rf"\b({_ROOM})( ?= ?)\"?\d+\"?")
_MARK = re.compile(r"\$\$\{|\$\{([a-z]+)(?::([^}]*))?\}")
_KINDS = {"vm_id": "vm", "image_id": "image", "ds_id": "datastore"}


class Names:
    """The names that a trace has for the things of one cloud.

    `ids` gives labels by kind (vm, image, datastore) and id, `sources` the label of an image by its SOURCE, `hosts` the trace's name of a machine by its own.
    """

    def __init__(
        self, ids: Mapping[tuple[str, int], str], sources: Mapping[str, str], hosts: Mapping[str, str], location: str = "/var/lib/one//datastores"
    ) -> None:
        self.ids, self.sources, self.hosts, self.location = ids, sources, hosts, location

    @cached_property
    def _known(self) -> re.Pattern[str]:
        """Whatever is found in a text: a SOURCE, a place below the datastores with the ids in it, a host, or what looks like a placeholder."""
        sources = "|".join(map(re.escape, sorted((one for one in self.sources if one), key=len, reverse=True))) or "(?!)"
        hosts = "|".join(map(re.escape, sorted(self.hosts, key=len, reverse=True))) or "(?!)"
        places = "|".join(map(re.escape, dict.fromkeys((self.location, posixpath.normpath(self.location)))))
        return re.compile(
            rf"(?P<source>(?:{sources})(?![A-Za-z0-9]))|(?P<place>{places})(?:/(?P<datastore>\d+)(?![\w.])(?:/(?P<vm>\d+)(?![\w]))?)?"
            rf"|(?P<host>(?<![\w./-])(?:{hosts})(?![\w-]))|(?P<mark>\$\{{)"
        )

    def text(self, text: str) -> str:
        """Return a text with placeholders."""
        return self._known.sub(self._named, text)

    def _named(self, found: re.Match[str]) -> str:
        if found["source"]:
            return f"${{source:{self.sources[found['source']]}}}"
        if found["host"]:
            return f"${{host:{self.hosts[found['host']]}}}"
        if found["mark"]:
            return "$${"
        below = "".join(f"/{self.id(kind, int(found[kind]))}" for kind in ("datastore", "vm") if found[kind])
        return ("${location}" if found["place"] == self.location else "${place}") + below

    def id(self, kind: str, id: int) -> str:
        """Return the placeholder of an id; an id that the trace has no name for stays."""
        label = self.ids.get((kind, id))
        return str(id) if label is None else f"${{{kind}:{label}}}"

    def argument(self, name: str, word: str, image: int = -1) -> str:
        """Return an argument of a call with placeholders, by its name in the tables; `image` is the one that the call is about."""
        if word.isdecimal():
            if name == "id":
                return self.id("image", image) if word == str(image) else "${request}"
            return self.id(_KINDS[name], int(word)) if name in _KINDS else word
        return self.text(word)

    def document(self, text: str) -> str:
        """Return a document with placeholders."""
        text = self.text(text)
        text = _OWN_ID.sub(lambda found: f"{found[1]}{self.id(found[2].lower(), int(found[3]))}{found[4]}", text)
        text = _ELEMENT.sub(lambda found: f"{found[1]}{self.id(_IDS[found[2]], int(found[3]))}{found[4]}", text)
        text = _LIST.sub(lambda found: found[1] + self._listed(_LISTS[found[2]], found[3]) + found[4], text)
        text = _TIME.sub(r"\1${time}\3", text)
        return _MEASURED.sub(r"\1${capacity}\3", text)

    def _listed(self, kind: str, ids: str) -> str:
        return re.sub(r"<ID>(\d+)</ID>", lambda one: f"<ID>{self.id(kind, int(one[1]))}</ID>", ids)

    def output(self, text: str) -> str:
        """Return what a call printed with placeholders."""
        return _TOLD.sub(r"\1\2${capacity}", self.text(text))


def filled(text: str, value: Callable[[str, str], str]) -> str:
    """Return a text with each placeholder replaced by what `value` gives for its kind and its label (empty if it has none)."""

    def one(found: re.Match[str]) -> str:
        return "${" if found[1] is None else value(found[1], found[2] or "")

    return _MARK.sub(one, text)
