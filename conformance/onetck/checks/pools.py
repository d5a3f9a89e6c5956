"""Checks on storage pools of libvirt: what was asked of virsh, and what came into the pool's directory and left it.

What a call did is told by the commands that passed the gate at virsh, and by the differences of the trees below the target of the pool.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from onesim.records import Call, TreeChange
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, words
from onetck.checks.remains import below, lying, pictures

_MAKES = frozenset({"vol-create", "vol-create-as", "vol-create-from", "vol-clone"})


def _spoken(call: Call) -> list[tuple[str, ...]]:
    """Return the command lines of virsh that a call has run, on whatever host."""
    return [command.argv for command in call.commands if command.name == "virsh"]


def _target(call: Call) -> str:
    return posixpath.normpath(call.facts["pool_target"]) if "pool_target" in call.facts else ""


def _volumes(call: Call) -> Iterator[TreeChange]:
    """Yield what changed among the volumes of the call's pool; what is shared shows on every host, and counts once."""
    seen = set()
    for one in call.tree:
        if below(one.path, _target(call)) and one.path != _target(call) and one.kind != "d" and (one.path, one.change) not in seen:
            seen.add((one.path, one.change))
            yield one


def _makers(case: Case, last: int) -> dict[str, Call]:
    """Return which call has made each volume last, up to and with call `last`."""
    return {one.path: call for call in case.calls if call.n <= last for one in _volumes(call) if one.change == "created"}


def never_asked(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """No call asks of virsh what the requirement names."""
    for call in case.of(requirement):
        wrong = next((word for line in _spoken(call) for word in line if word in requirement.when["part"]), "")
        if wrong:
            yield Finding("fail", f"{words(call)} ran virsh {wrong}", call.n)
        elif _spoken(call):
            yield Finding("pass", f"{words(call)} ran virsh without {', '.join(requirement.when['part'])}", call.n)


def asked_of_libvirt(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that brings a new volume into the pool has asked libvirt for it."""
    watched = any(_spoken(call) for call in case.scripts)
    for call in case.watched(requirement):
        made = [one.path for one in _volumes(call) if one.change == "created"]
        if not made or not watched:
            continue
        if any(word in _MAKES for line in _spoken(call) for word in line):
            yield Finding("pass", f"{words(call)} had libvirt make {made[0]}", call.n)
        else:
            yield Finding("fail", f"{words(call)} put {made[0]} into the pool behind libvirt's back", call.n)


def volumes_stay(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call takes no volume out of the pool that no call of the case has brought in."""
    for call in case.watched(requirement):
        made = {one.path for _, tree in pictures(case, call.n) for one in tree if one.change == "created"}
        strange = [one.path for one in _volumes(call) if one.change == "removed" and one.path not in made]
        if strange:
            yield Finding("fail", f"{words(call)} took {strange[0]} out of the pool, which was there before", call.n)
        elif _target(call):
            yield Finding("pass", f"{words(call)} let the volumes be that it has not made", call.n)


def volumes_go(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """After a call that takes away, no volume is left that was made for its image, or for its disk of its VM."""
    for call in case.watched(requirement):
        if call.ended_by != "exit" or call.status or not _target(call) or (call.family == "tm" and call.disk < 0):
            continue
        there = {path for _, path in lying(case, call.n)}
        mine = [path for path, maker in _makers(case, call.n).items() if path in there and _for_the_same(maker, call)]
        if mine:
            yield Finding("fail", f"after {words(call)}, the volume {mine[0]} is left", call.n)
        else:
            yield Finding("pass", f"{words(call)} left no volume", call.n)


def _for_the_same(maker: Call, call: Call) -> bool:
    if call.family == "ds":
        return maker.family == "ds" and maker.image == call.image
    return maker.family == "tm" and (maker.vm, maker.disk) == (call.vm, call.disk) and maker.plain != "cpds"


CHECKS: dict[str, Check] = {
    "never_asked": never_asked,
    "asked_of_libvirt": asked_of_libvirt,
    "volumes_stay": volumes_stay,
    "volumes_go": volumes_go,
}
