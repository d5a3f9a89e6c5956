"""A call of a driver script as somebody saw it: the recording shim, or a log of OpenNebula."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

#: Takes nothing from outside the document.
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
_DISK = re.compile(r"(?:([^:/]*):)?(/.*?)/+(\d+)(?:/(?:disk\.(\d+)|(kernel|initrd)))?/*")


@dataclass(frozen=True)
class Place:
    """Where a TM argument points: a host, a VM, one of its disks (-1: none) or boot files, and the system datastore (-1: not told)."""

    host: str
    vm: int
    disk: int = -1
    file: str = ""
    datastore: int = -1


@dataclass(frozen=True)
class SeenCall:
    """One call. Times are seconds since the epoch; `status` is -1 where the end was not seen. `script` names the transfer script that it stands in, if any.

    `cut` = a stream was longer than what was kept of it.
    """

    begun_s: float
    ended_s: float
    family: str
    mad: str
    action: str
    argv: tuple[str, ...]
    stdin: bytes = b""
    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0
    script: str = ""
    cut: bool = False

    @property
    def ok(self) -> bool:
        """Whether the script succeeded, as far as anybody saw."""
        return self.status in (0, -1)

    @property
    def plain(self) -> str:
        """The action without the suffix of a mode."""
        return self.action.partition(".")[0]

    @cached_property
    def document(self) -> etree._Element | None:
        """The document that came with the call, on standard input or as an argument, in base64 or not; None if there is none that can be read."""
        for text in (self.stdin, *(word.encode(errors="replace") for word in self.argv if len(word) > 40)):
            found = _element(text)
            if found is not None:
                return found
        return None

    def field(self, path: str) -> str:
        """Return the text of an element of the document, such as IMAGE/ID; empty if it is not there."""
        return (self.document.findtext(path) or "").strip() if self.document is not None else ""


def _element(data: bytes) -> etree._Element | None:
    text = data.strip()
    if not text.startswith(b"<"):
        try:
            text = base64.b64decode(b"".join(text.split()), validate=True).strip()
        except (binascii.Error, ValueError):
            return None
    try:
        return etree.fromstring(text, PARSER) if text.startswith(b"<") else None
    except etree.XMLSyntaxError:
        return None


def place(word: str) -> Place | None:
    """Return where `host:/…/<datastore>/<vm>[/disk.N]` points; None for another argument."""
    found = _DISK.fullmatch(word)
    if found is None:
        return None
    datastore = found[2].rstrip("/").rpartition("/")[2]
    return Place(found[1] or "", int(found[3]), int(found[4]) if found[4] else -1, found[5] or "", int(datastore) if datastore.isdigit() else -1)
