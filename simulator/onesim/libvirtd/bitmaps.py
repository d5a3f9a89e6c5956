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


def extents(hand: Hand, chain: Sequence[Layer], name: str) -> Plan[list[tuple[int, int]] | None]:
    """Return offset and length of what a bitmap marks, in all layers of a chain together; None where no layer has it."""
    marked: list[tuple[int, int]] = []
    known = False
    for layer in chain:
        if layer.format != "qcow2":
            continue
        result = yield from hand.do("dirty", path=layer.path, bitmap=name)
        if "extents" in result.data:
            known = True
            marked += [(at, length) for at, length in result.data["extents"]]
    return _united(marked) if known else None


def _united(marked: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for at, length in sorted(marked):
        if found and at <= found[-1][0] + found[-1][1]:
            start, before = found[-1]
            found[-1] = start, max(before, at + length - start)
        else:
            found.append((at, length))
    return found
