"""Rules on the files of a driver: links, run bits, first lines, actions that are not there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatch

from onesim.rows import Action, Requirement
from onesim.spec import ContractSpec
from onetck.driver import refuses
from onetck.lint.findings import Finding, Rules
from onetck.lint.sources import FOLDERS, Link, Sources

_INSTALLED = ("/var/lib/one/", "/usr/lib/one/", "/etc/one/", "/usr/share/one/")


def check_links(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the links that lead nowhere, in a circle, or to the directory that holds them."""
    for link in sources.links:
        yield from _check_link(link, rules)


def _check_link(link: Link, rules: Rules) -> Iterator[Finding]:
    try:
        link.path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            yield rules.found("loop", link.key, 0, f"the link leads to {link.target}, and from there back to itself")
        elif link.target.startswith(_INSTALLED):
            yield rules.found("installed_link", link.key, 0, f"the link leads to {link.target}, which only an installation has")
        else:
            yield rules.found("dangling", link.key, 0, f"the link leads to {link.target}, where nothing is")
        return
    if link.path.is_dir() and link.path.parent.resolve().is_relative_to(link.path.resolve()):
        yield rules.found("loop", link.key, 0, f"the link leads to {link.target}, a directory that holds it")


def check_scripts(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield what keeps the kernel from starting an action, the actions that only refuse, and programs that oned never calls."""
    own = tuple(f"{folder}/" for folders in sources.folders.values() for folder in folders)
    for script in sources.scripts.values():
        runs = bool(script.path.stat().st_mode & stat.S_IXUSR)
        if not script.action:
            if runs and script.first and script.key.startswith(own):
                yield rules.found("own_entry", script.key, 0, "oned calls no action of that name")
            continue
        if script.action not in sources.spec.actions:
            yield rules.found("own_entry", script.key, 0, f"oned {sources.spec.version} does not call {script.action}")
        if not runs:
            yield rules.found("run_bit", script.key, 0, f"{script.action} may not be executed")
        if not script.first:
            yield rules.found("no_first_line", script.key, 1, "no interpreter is named; what runs it depends on who starts it")
        elif script.interpreter is None:
            named = script.text.partition("\n")[0].removeprefix("#!").strip(" ")
            shown = repr(named)[1:-1]
            yield rules.found("interpreter", script.key, 1, f"the interpreter {shown} is not on this machine")
        if refuses(script.path):
            yield rules.found("refused", script.key, 0, f"{script.action} is refused", action=script.action)


def check_missing(sources: Sources, rules: Rules, profiles: str) -> Iterator[Finding]:
    """Yield the actions that are not there though the driver's role needs them: an error where one of `profiles` (parted by commas) has requirements on it.

    A driver has a role if it has more than half of the actions that the requirements name for it, and does more than refuse in a third.
    """
    spec = sources.spec
    claimed = [spec.spec.profiles[name.strip()] for name in profiles.split(",") if name.strip()]
    needed = {name for profile in claimed for name in profile.needs}
    demanded = needed | {spec.requirements[id].action for profile in claimed for id in profile.requirements if id in spec.requirements}
    roles = _held(sources, spec)
    for action in spec.actions.values():
        role = next((covered[action.key] for covered in roles.values() if action.key in covered), None)
        if action.family not in FOLDERS or action.on != "front-end" or not (role or action.key in needed):
            continue
        if action.shared and (action.shared == "YES") != sources.shared:
            continue
        for folder in _homes(action, sources):
            if action.family == "ds" and _done_elsewhere(action, folder, sources):
                continue
            if sources.holds(folder) and not os.path.lexists(sources.place(folder, action.name)):
                sentence = f"there is no {action.key}; oned calls it for {', '.join(action.triggers) or action.by[0]}"
                rule = "missing" if action.key in demanded else "left_out"
                yield rules.found(rule, f"{folder}/{action.name}", 0, sentence, [role.id] if role else [])
    for name, covered in _roles(spec).items():
        lacking = [key for key in covered if not sources.driver_has(key)]
        elsewhere = {key for other in roles.values() for key in other}
        if name not in roles and lacking and set(covered) - set(lacking) - elsewhere:
            sentence = f"is not taken for {name[1]}: it has not {', '.join(lacking)}"
            yield rules.found("role", next(iter(sources.folders[next(iter(covered)).partition("/")[0]])), 0, sentence)


def _done_elsewhere(action: Action, folder: str, sources: Sources) -> bool:
    """Whether the other datastore driver does an action: images and backups share the tree, and each has actions that the other has not."""
    others = (sources.place(one, action.name) for one in sources.folders["ds"] if one != folder)
    return any(path.is_file() and not refuses(path) for path in others)


def _homes(action: Action, sources: Sources) -> tuple[str, ...]:
    """Return the directories in which oned looks for an action."""
    if action.family == "ds":
        return sources.folders["ds"]
    image, system = f"tm/{sources.driver.tm_mad}", f"tm/{sources.driver.system_tm_mad}"
    if action.ds_id == "both":
        return sources.folders["tm"]
    return (system,) if action.mad == "system" else (image,)


def _held(sources: Sources, spec: ContractSpec) -> dict[tuple[str, str], dict[str, Requirement]]:
    """Return the roles that the driver has; what no role names goes with the actions of the same directory and caller."""
    roles = _roles(spec)
    named = {key for covered in roles.values() for key in covered}
    # a driver for one role often refuses the actions of another, or shares some with it
    held = {
        name: covered
        for name, covered in roles.items()
        if 2 * sum(map(sources.driver_has, covered)) > len(covered) and 3 * sum(map(sources.does, covered)) > len(covered)
    }
    whole = spec.requirements[next(name for name in spec.spec.static_rules["missing"].requirements if name in spec.requirements)]
    for covered in held.values():
        kinds = {(spec.actions[key].family, spec.actions[key].mad, by) for key in covered for by in spec.actions[key].by}
        for action in spec.actions.values():
            if action.key not in named and any((action.family, action.mad, by) in kinds for by in action.by):
                covered[action.key] = whole
    return held


def role_of(sources: Sources, spec: ContractSpec) -> Iterator[tuple[Action, Requirement]]:
    """Yield the actions of the driver's roles, each with the requirement that demands it."""
    for covered in _held(sources, spec).values():
        for key, row in covered.items():
            yield spec.actions[key], row


def _roles(spec: ContractSpec) -> dict[tuple[str, str], dict[str, Requirement]]:
    """Return the roles that requirements of existence speak of, by family and name, each with its actions."""
    roles: dict[tuple[str, str], dict[str, Requirement]] = {}
    for row in spec.requirements.values():
        if row.check != "exists" or not row.applies:
            continue
        for action in spec.actions.values():
            named = action.name in row.when.get("action", ()) or bool(set(row.when.get("op", ())) & set(action.triggers))
            if fnmatch(action.key, row.action) and (named or not row.when):
                covered = roles.setdefault((action.family, row.applies), {})
                # a requirement on the action alone says more than one on all of them
                if action.key not in covered or row.action == action.key:
                    covered[action.key] = row
    return roles
