"""The chains of images below a disk: found as QEMU finds them, grown by snapshots, merged by block jobs."""

from __future__ import annotations

import itertools
import json

from onesim.libvirtd.effects import Hand, Plan, Refused
from onesim.libvirtd.model import Disk, Domain, Layer


def found(hand: Hand, layer: Layer) -> Plan[list[Layer]]:
    """Return the chain that begins with an image. Raises Refused where an image of it cannot be opened."""
    seen = yield from hand.look(layer.path)
    if seen is None:
        raise Refused(f"Cannot access storage file '{layer.path}': No such file or directory")
    if layer.format == "raw" or layer.kind == "network":
        return [layer]
    text = yield from hand.tool("qemu-img", "info", "-U", "--output=json", "--backing-chain", "-f", layer.format, layer.path)
    rows = json.loads(text)
    chain = [layer]
    for above, row in itertools.pairwise(rows):
        path = above.get("full-backing-filename") or row["filename"]
        chain.append(Layer(path, above.get("backing-filename-format") or row["format"], "block" if path.startswith("/dev/") else "file"))
    return chain


def open_disks(hand: Hand, domain: Domain) -> Plan[None]:
    """Open the disks of a domain that are not open yet: their chains are found and numbered."""
    for disk in reversed(domain.disks):
        if disk.active.index:
            continue
        if disk.active.path:
            disk.chain = yield from found(hand, disk.active)
        for layer in disk.chain:
            domain.number(layer)


def create(hand: Hand, path: str, format: str, size: int, below: Layer | None = None) -> Plan[None]:
    """Make an image; one that is there already as a block device is written to. Raises Refused."""
    if (yield from hand.look(path)) is None:
        result = yield from hand.do("create", path=path, size=0, allocate=0, mode=0o600)
        if result.errno:
            raise Refused(f"failed to create image file '{path}': {result.why}")
    backing = ("-b", below.path, "-F", below.format) if below is not None else ()
    yield from hand.tool("qemu-img", "create", "-q", "-f", format, *backing, path, *(() if size < 0 else (str(size),)))


def commit(hand: Hand, chain: list[Layer], top: int, base: int) -> Plan[None]:
    """Write what the layers from `top` down to above `base` hold into `base`."""
    upper, lower = chain[top], chain[base]
    yield from hand.tool("qemu-img", "commit", "-q", "-d", "-f", upper.format, "-b", lower.path, upper.path)


def drop(hand: Hand, chain: list[Layer], top: int, base: int) -> Plan[None]:
    """Take the layers from `top` down to above `base` out of a chain, whose layer above them refers to `base` from now on."""
    above, lower = chain[top - 1], chain[base]
    yield from hand.tool("qemu-img", "rebase", "-q", "-u", "-f", above.format, "-b", lower.path, "-F", lower.format, above.path)
    del chain[top:base]


def pull(hand: Hand, chain: list[Layer], base: int) -> Plan[None]:
    """Copy into the active layer what lies between it and `base`; without one (-1) all that is below."""
    active = chain[0]
    backing = ("-b", "") if base < 0 else ("-b", chain[base].path, "-F", chain[base].format)
    yield from hand.tool("qemu-img", "rebase", "-q", "-f", active.format, *backing, active.path)
    del chain[1 : None if base < 0 else base]


def copy(hand: Hand, disk: Disk, target: Layer, *, shallow: bool, fresh: bool, mode: int = 0o600) -> Plan[None]:
    """Copy what a disk holds to `target`, made afresh with a mode unless it is there; `shallow` leaves out what lies below the active layer."""
    words = ["qemu-img", "convert", "-q", "-U", "-f", disk.active.format, "-O", target.format]
    if shallow and len(disk.chain) > 1:
        words += ["-B", disk.chain[1].path, *(("-F", disk.chain[1].format) if fresh else ())]
    if not fresh:
        words.append("-n")
    yield from hand.tool(*words, disk.active.path, target.path)
    if fresh:
        yield from hand.do("own", path=target.path, mode=mode, uid=-1, gid=-1)


def place(domain: Domain, disk: Disk, name: str, *, below: int = -1) -> int:
    """Return where an image stands in a chain, by its path or as vda[2]. Raises Refused; `below` is where the search begins."""
    for at, layer in enumerate(disk.chain):
        if at > below and name in (layer.path, f"{disk.target}[{layer.index}]"):
            return at
    if below >= 0:
        raise Refused(f"invalid argument: could not find image '{name}' beneath '{disk.chain[below].path}' in chain for '{disk.target}'")
    raise Refused(f"invalid argument: could not find image '{name}' in chain for '{disk.target}'")
