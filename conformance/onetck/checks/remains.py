"""Checks on what calls leave: what lies where after a call, told from the differences of the trees since the case began."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from onesim.records import STORED, Call, TreeChange
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, words

_DATASTORES = "/var/lib/one/datastores"
#: How the path of a disk ends, whatever a hypervisor lays over it.
_DISK = re.compile(r"/disk\.\d+$")


def below(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or lies below it."""
    return bool(directory) and (path == directory or path.startswith(directory + "/"))


def _fact(call: Call, name: str) -> str:
    value = call.facts.get(name, "")
    return posixpath.normpath(value) if value else ""


def pictures(case: Case, last: int) -> list[tuple[int, tuple[TreeChange, ...]]]:
    """Return what changed with the case's calls, up to and with call `last`: the operation and the differences, in order.

    What calls have changed together counts once the last of them has ended.
    """
    found = [(call.n, call.operation, call.tree) for call in case.calls]
    found += [(max(one.calls), one.operation, one.tree) for one in case.stretches if one.calls]
    return [(operation, tree) for n, operation, tree in sorted(found, key=lambda picture: picture[0]) if n <= last]


def lying(case: Case, last: int) -> set[tuple[str, str]]:
    """Return host and path of everything that the case's calls have created, up to and with call `last`, and that is still there."""
    there: set[tuple[str, str]] = set()
    for _, tree in pictures(case, last):
        for one in tree:
            if one.change == "created":
                there.add((one.host, one.path))
            elif one.change == "removed":
                there = {(host, path) for host, path in there if not (host == one.host and below(path, one.path))}
    return there


def makers(case: Case, last: int) -> dict[tuple[str, str], Call]:
    """Return who has made last what came into the vendor's store with the case's calls up to and with call `last`, by host and name."""
    return {
        (one.host, one.path): call for call in case.calls if call.n <= last for one in call.tree if one.kind == STORED and one.change == "created"
    }


def made_for(maker: Call) -> tuple[int, int, int]:
    """Return for which image, VM and disk a call makes what it makes in the vendor's store; a saved image is no disk's any more (-1)."""
    if "saved_image" in maker.facts:
        return int(maker.facts["saved_image"]), -1, -1
    return maker.image, maker.vm, maker.disk


def _left_in_store(case: Case, call: Call) -> list[tuple[str, str]]:
    """Return what lies in the vendor's store after the delete of a disk that is the VM's own, and was made for it.

    What also serves another VM's disk of the same image may stay.
    """
    if call.disk < 0 or call.facts.get("kind") not in ("nonpersistent", "volatile", "swap"):
        return []
    made, there = makers(case, call.n), lying(case, call.n)
    disks = {place: made_for(maker) for place, maker in made.items() if place in there}
    own = [place for place, of in disks.items() if of[1:] == (call.vm, call.disk)]
    others = any(image == call.image and vm >= 0 and place not in own for place, (image, vm, _) in disks.items())
    return sorted(own) if not others or call.image < 0 else []


def _own(call: Call) -> list[tuple[str, re.Pattern[str]]]:
    """Return the places that a call which takes away is to leave empty: a host (empty for any) and a pattern of paths."""
    directory, other = _fact(call, "vm_directory"), _fact(call, "other_vm_directory")
    action = call.plain
    if action.startswith("postbackup"):
        return [("", re.compile(re.escape(_backup_folder(call)) + r"(/.*)?$"))]
    if action in ("mv", "postmigrate"):
        if "host_lost" in call.facts:
            return []  # nobody can take anything away there
        same = directory == other and (call.facts.get("shared") == "YES" or call.facts.get("host") == call.facts.get("other_host"))
        return [] if same or not other else [(call.facts.get("other_host", ""), re.compile(re.escape(other) + r"(/.*)?$"))]
    if action == "failmigrate":
        return [(call.facts.get("host", ""), re.compile(re.escape(directory) + r"(/.*)?$"))]
    if call.disk >= 0:
        places: list[tuple[str, re.Pattern[str]]] = [("", re.compile(re.escape(directory) + rf"/disk\.{call.disk}($|[./].*)"))]
        if call.facts.get("clone_target") == "SELF" and _fact(call, "source"):
            places.append(("", re.compile(re.escape(_fact(call, "source")) + rf"[-.]{call.vm}[-.]{call.disk}($|[-./@].*)")))
            places += [("", re.compile(re.escape(volume) + r"($|-snap-.*)"))] if (volume := _fact(call, "volume")) else []
        return places
    return [("", re.compile(re.escape(directory) + r"(/.*)?$"))]


def taken_away(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """After a call that takes something away, nothing that the case has made there is left."""
    for call in case.watched(requirement):
        if call.ended_by != "exit" or call.status != 0:
            continue
        places, left = _own(call), left_of_vm(case, call)
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            yield Finding("fail", f"after {words(call)}, {left[0][0]}:{left[0][1]}{more} is left", call.n)
        elif places:
            yield Finding("pass", f"{words(call)} left nothing of what it takes away", call.n)


def left_of_vm(case: Case, call: Call) -> list[tuple[str, str]]:
    """Return host and path of what lies where a call of the transfer manager is to leave nothing."""
    places = _own(call)
    left = [(host, path) for host, path in sorted(lying(case, call.n)) for at, own in places if (not at or host == at) and own.fullmatch(path)]
    return left or _left_in_store(case, call)


def _written_to(case: Case, call: Call) -> set[str]:
    """Return the layers beside disks to which guests write after a call: nobody may take those away."""
    seen = (one.path for one in case.observations if one.after_call == call.n and one.subject == "disk")
    return {posixpath.normpath(path) for path in seen if not _DISK.search(path)}


def no_remains(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that failed has left none of the files that it made; the mark for monitoring is its datastore's and may stay, and so does what a guest writes to."""
    struck = case.struck(requirement) if "act" in requirement.when else None
    for call in case.watched(requirement):
        if call.ended_by != "exit" or call.status == 0 or case.excuses(call, "remains") or (struck is not None and call.n not in struck):
            continue
        made = [one for one in call.tree if one.change == "created" and one.kind != "d" and (one.kind == STORED or _half_made(one.path))]
        used = _written_to(case, call) if made else ()
        made = [one for one in made if one.path not in used]
        if made:
            yield Finding("fail", f"{words(call)} failed and left {made[0].host}:{made[0].path}", call.n)
        else:
            yield Finding("pass", f"{words(call)} failed and left nothing", call.n)


def _half_made(path: str) -> bool:
    """Whether what lies there is a part of something: a mark for monitoring belongs to its datastore, whatever becomes of the action that set it."""
    return below(path, _DATASTORES) and posixpath.basename(path) != ".monitor"


def left_alone(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that has nothing to do has changed nothing of the VM."""
    for call in case.watched(requirement):
        directories = {_fact(call, "vm_directory"), _fact(call, "other_vm_directory")} - {""}
        if _moves(call) or not directories or case.excuses(call, "remains"):
            continue
        changed = [
            one
            for one in call.tree
            if one.kind == STORED or (any(below(one.path, directory) for directory in directories) and one.fields != ("mtime",))
        ]
        if changed:
            yield Finding("fail", f"{words(call)} {changed[0].change} {changed[0].host}:{changed[0].path}, where it had nothing to do", call.n)
        elif call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} left the VM's files alone", call.n)


def _moves(call: Call) -> bool:
    """Whether a move has two places: then it has something to do."""
    other = _fact(call, "other_vm_directory")
    return call.plain == "mv" and bool(other) and other != _fact(call, "vm_directory")


def declared_target(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The disk takes its space where CLONE_TARGET or LN_TARGET says."""
    for call in case.watched(requirement):
        target = call.facts.get("ln_target" if call.action.startswith("ln") else "clone_target", "")
        if not target or not call.success:
            continue
        in_system = [one for one in call.tree if _makes_space(one) and below(one.path, _fact(call, "vm_directory"))]
        in_store = [one for one in call.tree if _makes_space(one) and below(one.path, _fact(call, "base_path"))]
        wrong = {"SYSTEM": in_store, "SELF": in_system, "NONE": [*in_system, *in_store]}.get(target, [])
        if wrong:
            yield Finding("fail", f"{words(call)} made {wrong[0].host}:{wrong[0].path} although its target is {target}", call.n)
        elif in_system or in_store or target == "NONE":
            yield Finding("pass", f"{words(call)} took its space where {target} says", call.n)


def _makes_space(change: TreeChange) -> bool:
    # an overlay or a link is no copy: it holds some hundred KiB at most before the guest writes
    return change.change == "created" and change.kind == "f" and change.size > 1024 * 1024


def _backup_folder(call: Call) -> str:
    """Return where the files of a backup lie: in the VM directory, unless BACKUP_BASE_PATH says otherwise."""
    return _fact(call, "backup_folder") or f"{_fact(call, 'vm_directory')}/backup"


def copies(case: Case, call: Call) -> tuple[set[str], set[str]]:
    """Return the disks that a backup is to copy, and those that have a file in its folder when the call has ended."""
    pattern = re.compile(re.escape(_backup_folder(call)) + r"/disk\.(\d+)\.\w+")
    listed = {number for number in call.arguments.get("disks", "").split(":") if number}
    return listed, {found.group(1) for _, path in lying(case, call.n) if (found := pattern.fullmatch(path))}


def backup_folder(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The backup folder holds one file for each disk of the list, and for no other."""
    for call in case.watched(requirement):
        if not call.success:
            continue
        folder = _backup_folder(call)
        listed, made = copies(case, call)
        if listed - made:
            yield Finding("fail", f"{words(call)} made no file for disk {', '.join(sorted(listed - made))} in {folder}", call.n)
        elif made - listed:
            yield Finding("fail", f"{words(call)} made a file for disk {', '.join(sorted(made - listed))}, which is not in the list", call.n)
        else:
            yield Finding("pass", f"{words(call)} made a file for each disk of the list", call.n)


def backup_document(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The backup folder holds vm.xml, as large as the VM on standard input is in base64."""
    for call in case.watched(requirement):
        if not call.success or not call.stdin.size:
            continue
        path = f"{_backup_folder(call)}/vm.xml"
        made = [one for one in call.tree if one.path == path and one.change != "removed"]
        letters = 4 * -(-call.stdin.size // 3)
        if not made:
            yield Finding("fail", f"{words(call)} wrote no {path}", call.n)
        elif not letters <= made[0].size <= letters + letters // 40 + 2:
            yield Finding("fail", f"{path} has {made[0].size} bytes; the VM has {letters} in base64, without line breaks", call.n)
        else:
            yield Finding("pass", f"{words(call)} wrote {path}", call.n)


CHECKS: dict[str, Check] = {
    "taken_away": taken_away,
    "no_remains": no_remains,
    "left_alone": left_alone,
    "declared_target": declared_target,
    "backup_folder": backup_folder,
    "backup_document": backup_document,
}
