"""Bounds a document before libxml2's schema validator sees it: that looks for the place of each wrong element among all of its siblings.

Lists of ids may be long in a large cloud. They are verified here, one by one, and only what remains is bounded.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice

from lxml import etree

from onesim.data import data_dir

#: Smaller documents, in bytes, cannot hold enough to matter.
SMALL = 30_000
#: A VM with hundreds of disks has some thousands. Ids in lists do not count.
MAX_ELEMENTS = 10_000
#: No document of oned has any.
MAX_ATTRIBUTES = 1_000

_ID = re.compile(r"0|[1-9][0-9]{0,18}")
_XS = "{http://www.w3.org/2001/XMLSchema}"


def excess(root: etree._Element, most: int = MAX_ELEMENTS) -> str:
    """Return what a document has too much of, or nothing; `most` elements are allowed. Ids that are right are taken out of long lists: there they say no more."""
    if root.xpath(f"count(//@*) > {MAX_ATTRIBUTES}"):
        return f"more than {MAX_ATTRIBUTES} attributes"
    if not _many(root, most):
        return ""
    for holder in [node for node in root.iter(*_id_lists()) if len(node) > 1]:
        _shorten(holder)
    return f"more than {most} elements besides lists of ids" if _many(root, most) else ""


def _many(root: etree._Element, most: int) -> bool:
    return sum(1 for _ in islice(root.iter(), most + 1)) > most


def _shorten(holder: etree._Element) -> None:
    for child in [one for one in holder if one.tag == "ID" and not len(one) and not one.attrib and _ID.fullmatch(one.text or "")]:
        if not (child.tail or "").strip():
            holder.remove(child)


@cache
def _id_lists() -> tuple[str, ...]:
    """Return the names of the elements whose type in the XSD files is a list of ids."""
    folder = data_dir("schemas")
    files = [*folder.glob("*.xsd"), *folder.glob("releases/*.xsd")]
    found = [element for file in files for element in etree.parse(str(file)).iter(f"{_XS}element") if element.get("type") == "Ids"]
    return tuple(sorted({element.get("name", "") for element in found}))
