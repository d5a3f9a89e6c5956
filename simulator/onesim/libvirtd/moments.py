"""What snapshots and checkpoints have in common: their lists, trees and facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from onesim.libvirtd.commandline import Command
from onesim.libvirtd.effects import Refused
from onesim.libvirtd.model import Moment, Moments
from onesim.libvirtd.printing import Printer


def when(second: int) -> str:
    """Return a time as virsh lists it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")


def one(moments: Moments, command: Command, what: str) -> Moment:
    """Return the moment that a command names, or the current one. Raises Refused."""
    name = command.get(f"{what}name")
    if not name and command.flag("current"):
        name = moments.current
    if not name:
        raise Refused(f"--{what}name or --current is required")
    if name not in moments.all:
        raise Refused(f"Domain {what} not found: no domain {what} with matching name '{name}'")
    return moments.all[name]


def listed(moments: Moments, command: Command) -> list[Moment]:
    """Return the moments that a list is about, in the order of their names."""
    chosen = list(moments.all.values())
    if command.flag("from"):
        chosen = moments.descendants(command.get("from")) if command.flag("descendants") else moments.children(command.get("from"))
    if command.flag("roots"):
        chosen = [row for row in chosen if not row.parent]
    if command.flag("leaves"):
        chosen = [row for row in chosen if not moments.children(row.name)]
    if command.flag("no-leaves"):
        chosen = [row for row in chosen if moments.children(row.name)]
    if command.flag("topological"):
        every = [two for root in moments.children("") for two in (root, *moments.descendants(root.name))]
        return [row for row in every if row in chosen]
    return sorted(chosen, key=lambda row: row.name)


def show_list(moments: Moments, command: Command, out: Printer, states: bool) -> None:
    """Print a list: a tree, names alone, or a table."""
    rows = listed(moments, command)
    if command.flag("tree"):
        for row in rows:
            if not row.parent:
                _tree(moments, row, out, "", last=True, root=True)
    elif command.flag("name"):
        out.print("".join(f"{row.name}\n" for row in rows))
    else:
        header = ["Name", "Creation Time", *(["State"] if states else []), *(["Parent"] if command.flag("parent") else [])]
        cells: list[Sequence[str]] = [
            [row.name, when(row.created_s), *([row.state] if states else []), *([row.parent] if command.flag("parent") else [])] for row in rows
        ]
        out.table(header, cells)


def _tree(moments: Moments, row: Moment, out: Printer, indent: str, *, last: bool, root: bool = False) -> None:
    out.print(f"{indent}{'' if root else '+- '}{row.name}\n")
    if not root:
        indent += "  " if last else "| "
    children = moments.children(row.name)
    if children:
        out.print(f"{indent}  |\n")
    for child in children:
        _tree(moments, child, out, indent + "  ", last=child is children[-1])
    if not children and last:
        out.print(f"{indent}\n")


def facts(moments: Moments, row: Moment) -> list[tuple[str, str]]:
    """Return what `info` says of a moment's place among the others."""
    return [
        ("Parent", row.parent or "-"),
        ("Children", str(len(moments.children(row.name)))),
        ("Descendants", str(len(moments.descendants(row.name)))),
    ]


def remember(moments: Moments, row: Moment) -> None:
    """Keep a new moment; it follows the current one and becomes it."""
    row.parent = moments.current
    moments.all[row.name] = row
    moments.current = row.name


def gone(moments: Moments, row: Moment, command: Command) -> list[Moment]:
    """Return what a command deletes: a moment, its descendants, or both; those deepest first."""
    below = list(reversed(moments.descendants(row.name))) if command.flag("children") or command.flag("children-only") else []
    return below if command.flag("children-only") else [*below, row]
