"""Other ways to write the document of a datastore action, which mean the same to whoever reads XML: releases have changed them, and will.

`documents.write` of a trace chooses one; oned's own way is in `documents.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from lxml import etree

_Element = etree._Element

#: Elements that hold others, of which any may come to have more.
_HOLDERS = ("IMAGE", "DATASTORE", "TEMPLATE")
#: What a new element holds: names that stand elsewhere too.
_NEW = "<{name}><PATH>/no/such/place</PATH><SOURCE>none</SOURCE><BASE_PATH>/no/such/place</BASE_PATH><FORMAT>none</FORMAT><TYPE>9</TYPE></{name}>"
#: Attributes of the templates that may be left out, and mean nothing where they are empty.
_OPTIONAL = {
    "IMAGE": ("MD5", "SHA1", "DRIVER"),
    "DATASTORE": ("BRIDGE_LIST", "DRIVER", "LIMIT_TRANSFER_BW", "NO_DECOMPRESS", "RESTRICTED_DIRS", "SAFE_DIRS", "SPARSE", "CONVERT", "STAGING_DIR"),
}


def _parsed(document: str) -> _Element:
    return etree.fromstring(document.encode(), etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=False))


def _text(root: _Element) -> str:
    return etree.tostring(root, encoding="unicode")


def _escaped(document: str) -> str:
    root = etree.fromstring(document.encode(), etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=True))
    return _text(root)


def _in_cdata(document: str) -> str:
    root = _parsed(document)
    for node in root.iter():
        if node.text and not len(node):
            node.text = etree.CDATA(node.text)
    return _text(root)


def _extended(document: str) -> str:
    root = _parsed(document)
    for holder in [root, *(node for node in root.iter() if node.tag in _HOLDERS)]:
        holder.insert(0, etree.fromstring(_NEW.format(name="ADDED_BEFORE")))
        holder.append(etree.fromstring(_NEW.format(name="ADDED_BEHIND")))
    return _text(root)


def _reordered(document: str) -> str:
    root = _parsed(document)
    for holder in [root, *(node for node in root.iter() if node.tag in _HOLDERS)]:
        holder[:] = [deepcopy(child) for child in reversed(holder)]
    return _text(root)


def _spaced(document: str) -> str:
    root = _parsed(document)
    etree.indent(root, space="  ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root) + "\n"


def _with_empty(document: str) -> str:
    root = _parsed(document)
    for kind, names in _OPTIONAL.items():
        template = root.find(f"{kind}/TEMPLATE")
        for name in names if template is not None else ():
            if template is not None and template.find(name) is None:
                etree.SubElement(template, name)
    return _text(root)


#: The ways, by their names in traces.
HOW: dict[str, Callable[[str], str]] = {
    "text": _escaped,
    "cdata": _in_cdata,
    "extended": _extended,
    "reordered": _reordered,
    "spaced": _spaced,
    "empty": _with_empty,
}


def rewritten(document: str, how: str) -> str:
    """Return a document written in another way; as it is if `how` is empty."""
    return HOW[how](document) if how else document
