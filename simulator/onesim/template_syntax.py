"""OpenNebula templates: attributes as oned keeps them, and what it reads out of them: the capacity of datastores and the sizes of disks.

The functions are steps between a tree and its record, named in the column `build` of `schemas/grammars.toml`.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, cast

from onesim.grammar_trees import Context, children, position, texts
from onesim.grammar_values import DiskSize, DiskSizes, Monitor, Single, SnapshotSize, Template, Vector, VmSizes
from onesim.validation import Problem

if TYPE_CHECKING:
    from lark import Token, Tree

    from onesim.grammar_trees import Answer

_SKIPPED = "=# \t\n,]"
#: What libstdc++ gathers for a number of floating point before it converts it.
_FLOAT = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?)")
_FLOAT_MAX = 3.4028234663852886e38
_INT = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")


def leading_float(text: str) -> float:
    """Return what a C++ stream reads into a float: the number that the text begins with, in single precision; 0 if there is none."""
    found = _FLOAT.match(text)
    try:
        value = float(found.group(1)) if found else 0.0
    except ValueError:
        return 0.0
    if abs(value) > _FLOAT_MAX:
        return _FLOAT_MAX if value > 0 else -_FLOAT_MAX
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _whole(text: str | None) -> int | None:
    found = _INT.fullmatch(text or "")
    return int(found.group(1)) if found and len(found.group(1)) < 20 else None


def _value(node: Tree[Token]) -> str:
    token = cast("Token", node.children[2])
    text = token.lstrip(_SKIPPED)
    return (text[1:-1] if token.type == "QUOTED" else text).replace('\\"', '"')


def _named(text: str) -> str:
    wrong = not (text[0].isalpha() or text[0] == "_") or text.startswith("XML")
    return ("ONE_" if wrong else "") + text.upper()


def _aborted(tree: Tree[Token], context: Context) -> list[Problem]:
    """Find a value with `]]>` after it on its line: oned gives up there, except for a quoted value that goes on to a later line."""
    text = context.text
    closings = [one.start() for one in re.finditer(r"\]\]>", text)]
    if not closings:
        return []
    ends = [one.start() for one in re.finditer("\n", text)]
    for token in tree.scan_values(lambda child: getattr(child, "type", "") in ("QUOTED", "BARE", "OPEN")):
        start = token.start_pos or 0
        begin = start + len(token) - len(token.lstrip(_SKIPPED))
        follows = start == begin or text[begin - 1] == "\n"
        if token.type == "QUOTED" and follows and "\n" in text[begin : token.end_pos]:
            end = begin
        else:
            after = bisect_left(ends, begin)
            end = ends[after] if after < len(ends) else len(text)
        first = bisect_left(closings, start)
        if first < len(closings) and closings[first] < end:
            return context.wrong("]]> stands in or after a value", "write no ]]> on that line", closings[first])
    return []


def template(tree: Tree[Token], context: Context) -> Answer:
    """Attributes as oned keeps them: names in capitals, of equal names in a vector the first."""
    aborted = _aborted(tree, context)
    if aborted:
        return aborted
    attributes: list[Single | Vector] = []
    for node in cast("list[Tree[Token]]", tree.children):
        name = _named(str(node.children[0]))
        if node.data == "vector":
            values: dict[str, str] = {}
            for pair in children(node, "pair"):
                values.setdefault(str(pair.children[0]).upper(), _value(pair))
            attributes.append(Vector(name, values))
        else:
            attributes.append(Single(name, _value(node) if node.data == "single" else ""))
    return Template(tuple(attributes))


def monitor(tree: Tree[Token], context: Context) -> Answer:
    """Capacity as oned reads it out of a template."""
    found = template(tree, context)
    if not isinstance(found, Template):
        return found
    return Monitor(*(leading_float(found.single(name) or "") for name in ("TOTAL_MB", "FREE_MB", "USED_MB")))


def monitor_recommended(tree: Tree[Token], context: Context) -> Answer:
    """Capacity as it should be written."""
    pairs = [texts(node) for node in children(tree, "figure")]
    names = [position(node, "NAME") for node in children(tree, "figure")]
    found = {pair["NAME"]: leading_float(pair["INT"]) for pair in pairs}
    if len(found) != 3:
        again = next(at for place, at in enumerate(names) if pairs[place]["NAME"] in [one["NAME"] for one in pairs[:place]])
        return context.wrong("the figure stands there already, and another is missing", "write USED_MB, TOTAL_MB and FREE_MB, each once", again)
    return Monitor(found["TOTAL_MB"], found["FREE_MB"], found["USED_MB"])


def disk_sizes(tree: Tree[Token], context: Context) -> Answer:
    """Sizes of one VM's disks."""
    found = template(tree, context)
    return _sizes(found, tree, context) if isinstance(found, Template) else found


def _vectors(found: Template, tree: Tree[Token], names: Iterable[str]) -> Iterator[tuple[Vector, int]]:
    """Return the vectors of some names with their positions."""
    for attribute, node in zip(found.attributes, cast("list[Tree[Token]]", tree.children), strict=True):
        if isinstance(attribute, Vector) and attribute.name in names:
            yield attribute, cast("Token", node.children[0]).start_pos or 0


def _sizes(found: Template, tree: Tree[Token], context: Context) -> DiskSizes | list[Problem]:
    columns = {"DISK_SIZE": ("ID", "SIZE"), "SNAPSHOT_SIZE": ("ID", "DISK_ID", "SIZE")}
    rows: dict[str, list[list[int]]] = {name: [] for name in columns}
    for vector, at in _vectors(found, tree, columns):
        wanted = columns[vector.name]
        numbers = [number for column in wanted if (number := _whole(vector.values.get(column))) is not None and number >= 0]
        if len(numbers) < len(wanted):
            what = f"{vector.name} lacks one of {', '.join(wanted)}, or it is no whole number"
            return context.wrong(what, "write each of them as a whole number", at)
        rows[vector.name].append(numbers)
    return DiskSizes(tuple(DiskSize(*row) for row in rows["DISK_SIZE"]), tuple(SnapshotSize(*row) for row in rows["SNAPSHOT_SIZE"]))


def _merged(old: DiskSizes, new: DiskSizes) -> DiskSizes:
    # what a later entry of the same VM names replaces all of that name
    return DiskSizes(new.disks or old.disks, new.snapshots or old.snapshots)


def vm_poll(tree: Tree[Token], context: Context) -> Answer:
    """Sizes of VMs, those of each in clear."""
    return _vms(tree, context, "POLL", lambda text: text)


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def vm_monitor(tree: Tree[Token], context: Context) -> Answer:
    """Sizes of VMs, those of each in base64."""
    return _vms(tree, context, "MONITOR", _decoded)


def _vms(tree: Tree[Token], context: Context, column: str, decode: Callable[[str], str | None]) -> Answer:
    found = template(tree, context)
    if not isinstance(found, Template):
        return found
    vms: dict[int, DiskSizes] = {}
    for vector, at in _vectors(found, tree, ("VM",)):
        vm, text = _whole(vector.values.get("ID")), decode(vector.values.get(column, ""))
        if vm is None or vm < 0:
            return context.wrong("a VM has no ID that is a whole number, so that it is passed over", "write the VM's id", at)
        if text is None:
            return context.wrong(f"{column} of VM {vm} is not base64 of text", f"encode {column} in base64 without line breaks", at)
        inner = context.parse("disk_sizes", text)
        if isinstance(inner, list):
            first = inner[0]
            return context.wrong(f"{column} of VM {vm}, line {first.line}, {first.path}: {first.message}", first.remedy, at)
        sizes = cast("DiskSizes", inner)
        vms[vm] = _merged(vms[vm], sizes) if vm in vms else sizes
    return VmSizes(vms)
