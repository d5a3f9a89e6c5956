"""Checks on what a call changed in the trees: only the places that the action's row names."""

from __future__ import annotations

import posixpath
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product
from string import Formatter

from onesim.records import STORED, Call, TreeChange
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, words
from onetck.checks.remains import made_for, makers

_DATASTORES = "/var/lib/one/datastores"
_TEMPORARY = ("/tmp", "/var/tmp")


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def _said(change: TreeChange) -> str:
    fields = f" ({', '.join(change.fields)})" if change.fields else ""
    return f"{change.change} {change.host}:{change.path}{fields}"


def _named_by_user(call: Call, change: TreeChange) -> bool:
    return posixpath.normpath(change.path) == posixpath.normpath(call.facts.get("path", "/"))


def outside_untouched(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Nothing changed outside the datastores and the temporary directories."""
    for call in case.watched(requirement):
        wrong = [
            one
            for one in call.tree
            if one.kind != STORED and not _below(one.path, _DATASTORES) and not any(_below(one.path, tmp) for tmp in _TEMPORARY)
        ]
        if wrong:
            yield Finding("fail", f"{words(call)} {_said(wrong[0])}{_more(wrong)}", call.n)
        else:
            yield Finding("pass", f"{words(call)} changed nothing outside the datastores", call.n)


def _more(rows: list[TreeChange]) -> str:
    return f" and {len(rows) - 1} more" if len(rows) > 1 else ""


def no_temporary_files(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Nothing new in the temporary directories."""
    for call in case.watched(requirement):
        if case.excuses(call, "temporary"):
            continue
        left = [one for one in call.tree if one.change == "created" and any(_below(one.path, tmp) for tmp in _TEMPORARY)]
        if left:
            yield Finding("fail", f"{words(call)} left {left[0].host}:{left[0].path}{_more(left)}", call.n)
        else:
            yield Finding("pass", f"{words(call)} left no temporary file", call.n)


def path_untouched(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The file that the user named is as it was."""
    for call in case.watched(requirement):
        wrong = [one for one in call.tree if _named_by_user(call, one)]
        if wrong:
            yield Finding("fail", f"{words(call)} {_said(wrong[0])}, the user's own file", call.n)
        elif call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} left the user's file as it was", call.n)


def _filled(pattern: str, facts: dict[str, str]) -> str | None:
    names = [name for _, name, _, _ in Formatter().parse(pattern) if name]
    if any(not facts.get(name) for name in names):
        return None
    return posixpath.normpath(pattern.format_map({name: _literal(posixpath.normpath(facts[name])) for name in names}))


def _literal(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def _as_named(case: Case, path: str) -> str:
    """Return the path of a thing as a datastore names it that lies behind a link which the trace has made."""
    links = ((str(row.arguments["path"]), str(row.arguments["to"])) for row in case.operations if row.op == "file.link")
    return next((link + path.removeprefix(to) for link, to in links if _below(path, to)), path)


def _allowed(case: Case, call: Call, change: TreeChange) -> bool:
    path = _as_named(case, change.path)
    action = case.spec.actions[f"{call.family}/{call.action.partition('.')[0]}"]
    sources = [call.parsed.get("source") or call.facts.get("source", ""), *call.facts.get("own_images", "").split()]
    for name in action.touches:
        place = case.spec.spec.places[name]
        if place.only and change.change != place.only:
            continue
        for pattern, source in product(place.pattern, sources):
            filled = _filled(pattern, {**call.facts, "source": source})
            if filled is not None and fnmatchcase(path, filled.replace("/**", "/*")):
                return True
    return False


def _strange(case: Case, call: Call, change: TreeChange) -> bool:
    """Whether a change is not the call's own: in another place, or of a thing in the vendor's store that was made for another image and VM."""
    if change.kind != STORED:
        return _below(change.path, _DATASTORES) and not _allowed(case, call, change)
    maker = makers(case, call.n).get((change.host, change.path)) if change.change == "removed" else None
    if maker is None:
        return False
    image, vm, _ = made_for(maker)
    return image != call.image and (vm < 0 or vm != call.vm)


def places(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Within the datastores, only the places that the action's row names have changed; what a call that was ended left half-done may go."""
    for call in case.watched(requirement):
        left = _half_done(case, call.n)
        wrong = [one for one in call.tree if _strange(case, call, one) and (one.host, one.path) not in left]
        if wrong:
            yield Finding("fail", f"{words(call)} {_said(wrong[0])}{_more(wrong)}, which is not its own", call.n)
        else:
            yield Finding("pass", f"{words(call)} changed only its own places", call.n)


def _half_done(case: Case, last: int) -> set[tuple[str, str]]:
    """Return host and path of what calls up to and with `last` have made of their VMs, of which nobody asks that nothing remains."""
    struck = [call for call in case.scripts if call.n <= last and case.excuses(call, "remains")]
    return {(one.host, one.path) for call in struck for one in call.tree if one.change == "created" and _beside_own(call, one)}


def kept_close(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The files that a call has made in the datastores belong to oneadmin, and nobody but its owner and group can read them. What moves stays what it was."""
    for call in case.watched(requirement):
        moved = {posixpath.basename(one.path) for one in call.tree if one.change == "removed"}
        new = [one for one in call.tree if one.change == "created" and one.kind == "f" and one.mode and _below(one.path, _DATASTORES)]
        made = [one for one in new if posixpath.basename(one.path) not in moved]
        strange = [one for one in made if one.owner != "oneadmin"]
        open_to_all = [one for one in made if int(one.mode, 8) & stat.S_IROTH]
        if strange:
            yield Finding(
                "fail", f"{words(call)} made {strange[0].host}:{strange[0].path}{_more(strange)}, which belongs to {strange[0].owner}", call.n
            )
        elif open_to_all:
            one = open_to_all[0]
            yield Finding(
                "fail", f"{words(call)} made {one.host}:{one.path}{_more(open_to_all)}, which everybody can read: its mode is {one.mode}", call.n
            )
        elif made:
            yield Finding("pass", f"{words(call)} made files of oneadmin that others cannot read", call.n)


def own_disk(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """An action for one disk has changed no other disk of the VM."""
    for call in case.watched(requirement):
        if call.disk < 0:
            continue
        other = [
            one
            for one in call.tree
            if (found := re.search(r"/disk\.(\d+)(?=$|[./])", one.path)) and int(found.group(1)) != call.disk and _in_own_directory(call, one)
        ]
        if other:
            yield Finding("fail", f"{words(call)} for disk.{call.disk} {_said(other[0])}", call.n)
        else:
            yield Finding("pass", f"{words(call)} touched disk.{call.disk} alone", call.n)


def _in_own_directory(call: Call, change: TreeChange) -> bool:
    directories = (call.facts.get("vm_directory", ""), call.facts.get("other_vm_directory", ""))
    return any(name and _below(change.path, posixpath.normpath(name)) for name in directories)


def _beside_own(call: Call, change: TreeChange) -> bool:
    """Whether something lies in a directory of the call's VM, or beside it under its name with a dot and more."""
    names = [posixpath.normpath(name) for name in (call.facts.get("vm_directory"), call.facts.get("other_vm_directory")) if name]
    return any(_below(change.path, name) or change.path.startswith(f"{name}.") for name in names)


CHECKS: dict[str, Check] = {
    "outside_untouched": outside_untouched,
    "no_temporary_files": no_temporary_files,
    "path_untouched": path_untouched,
    "places": places,
    "own_disk": own_disk,
    "kept_close": kept_close,
}
