"""Dirty bitmaps: what a checkpoint keeps of a disk. They stand in the qcow2 images themselves, where QEMU's own tools keep them up to date."""

from __future__ import annotations

from collections.abc import Sequence

from onesim.libvirtd.effects import Hand, Plan
from onesim.libvirtd.model import Layer


def names(hand: Hand, layer: Layer) -> Plan[list[str]]:
    """Return the bitmaps that an image holds."""
    if layer.format != "qcow2":
        return []
    info = yield from hand.info(layer.path, "qcow2")
    return [row["name"] for row in info.get("format-specific", {}).get("data", {}).get("bitmaps", ())]


def add(hand: Hand, layer: Layer, name: str) -> Plan[None]:
    """Begin a bitmap."""
    yield from hand.tool("qemu-img", "bitmap", "-f", "qcow2", "--add", layer.path, name)


def remove(hand: Hand, chain: Sequence[Layer], name: str) -> Plan[None]:
    """Remove a bitmap from all layers of a chain."""
    for layer in chain:
        if name in (yield from names(hand, layer)):
            yield from hand.tool("qemu-img", "bitmap", "-f", "qcow2", "--remove", layer.path, name)


def carry(hand: Hand, below: Layer, above: Layer) -> Plan[None]:
    """Begin in a new active layer the bitmaps that the one below it has."""
    if above.format == "qcow2":
        for name in (yield from names(hand, below)):
            yield from add(hand, above, name)


def merge(hand: Hand, chain: Sequence[Layer], top: int, base: int) -> Plan[None]:
    """Merge the bitmaps of layers that were committed into those of their base."""
    if chain[base].format != "qcow2":
        return
    there = yield from names(hand, chain[base])
    for layer in chain[top:base]:
        for name in (yield from names(hand, layer)):
            if name in there:
                yield from hand.tool("qemu-img", "bitmap", "-f", "qcow2", "-F", "qcow2", "-b", layer.path, "--merge", name, chain[base].path, name)
