"""The tree of a disk's snapshots, as oned keeps it. What may be deleted and who is whose child depends on ALLOW_ORPHANS of the driver.

Source: src/vm/Snapshots.cc (create_snapshot, delete_snapshot, active_snapshot, test_delete) of OpenNebula 7.4.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass
class Snapshot:
    """One snapshot: size in MiB, date in seconds since the epoch; `parent` is -1 at the root of the tree."""

    id: int
    size_mb: int
    date_s: int
    name: str = ""
    parent: int = -1
    children: list[int] = field(default_factory=list)


@dataclass
class Snapshots:
    """The snapshots of one disk or image. Ids count from 0 and are never used again."""

    orphans: str = "NO"
    active: int = -1
    base: int = -1
    next: int = 0
    known: dict[int, Snapshot] = field(default_factory=dict)


def orphans_of(allow_orphans: str, format: str) -> str:
    """Return what ALLOW_ORPHANS means for a disk: FORMAT is YES for raw and NO otherwise."""
    word = allow_orphans.upper()
    return ("YES" if format == "raw" else "NO") if word == "FORMAT" else word


def create(tree: Snapshots, size_mb: int, date_s: int, name: str = "") -> Snapshot:
    """Add a snapshot of the present content. Its id is taken even if the driver fails later; `activate` makes it the active one."""
    new = Snapshot(tree.next, size_mb, date_s, name, {"NO": tree.active, "MIXED": tree.base}.get(tree.orphans, -1))
    if new.parent in tree.known:
        tree.known[new.parent].children.append(new.id)
    tree.known[new.id] = new
    tree.next += 1
    return new


def activate(tree: Snapshots, id: int) -> None:
    """Make a new snapshot the active one, once the driver has taken it; in mode MIXED only a revert does."""
    if tree.orphans != "MIXED":
        tree.active = id


def copied(tree: Snapshots) -> Snapshots:
    """Return a tree of its own: a VM and an image each keep theirs."""
    return Snapshots(
        tree.orphans, tree.active, tree.base, tree.next, {id: replace(one, children=list(one.children)) for id, one in tree.known.items()}
    )


def revert(tree: Snapshots, id: int) -> None:
    """Make a snapshot the active one; in mode LINEAR the younger ones are forgotten."""
    tree.active = id
    if tree.orphans == "MIXED":
        tree.base = id
    if tree.orphans == "LINEAR":
        tree.known = {one: row for one, row in tree.known.items() if one <= id}


def refusal(tree: Snapshots, id: int, persistent: bool) -> str:
    """Return why oned does not delete a snapshot of a disk; empty if it does."""
    if id not in tree.known:
        return "Snapshot does not exist"
    one = tree.known[id]
    if tree.orphans == "MIXED":
        return "Cannot delete the active snapshot" if id == tree.active else "Cannot delete snapshot with children" if one.children else ""
    if tree.orphans not in ("NO", "LINEAR"):
        return ""
    if persistent and id == 0:
        return "Cannot delete snapshot 0 for persistent disk images"
    return _chained(tree, one)


def _chained(tree: Snapshots, one: Snapshot) -> str:
    if len(one.children) > 1:
        return "Cannot delete snapshot with more than one children"
    if not one.children:
        return ""
    if tree.active == one.id:
        return "Cannot delete the active snapshot with children"
    child = tree.known[one.children[0]]
    if len(child.children) > 1 or (child.children and tree.active == child.id):
        return "Cannot delete snapshot if child has children"
    if one.parent in tree.known and len(tree.known[one.parent].children) > 1:
        return "Cannot delete snapshot if parent has more than one child"
    return ""


def leaf_refusal(tree: Snapshots, id: int) -> str:
    """Return why oned does not delete a snapshot where only one that no other stands on may go: of an image, and of a disk before oned had drivers merge
    snapshots; empty if it does.
    """
    if id not in tree.known:
        return "Snapshot does not exist"
    if tree.orphans in ("NO", "MIXED"):
        return "Cannot delete the active snapshot" if id == tree.active else "Cannot delete snapshot with children" if tree.known[id].children else ""
    return ""


def delete(tree: Snapshots, id: int) -> None:
    """Forget a snapshot; its only child takes its place."""
    one = tree.known.pop(id)
    parent = tree.known.get(one.parent)
    if parent is not None and tree.orphans in ("NO", "MIXED"):
        parent.children.remove(id)
        if len(one.children) == 1:
            parent.children.append(one.children[0])
            tree.known[one.children[0]].parent = parent.id
        if tree.active == id:
            tree.active = parent.id
    elif tree.active == id:
        tree.active = -1
