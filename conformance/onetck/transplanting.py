"""Drivers of the reference copied under other names: what one driver's script has another's do comes along, what is not wanted yet is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDERS = {"ds": "datastore", "tm": "tm"}
_KINDS = {"ds": "datastore", "tm": "transfer"}
_REFUSAL = """\
#!/bin/bash
set -euo pipefail
exec "${0%/*}/../../not_supported" WHAT "${0##*/}"
"""
#: How a script names one of another driver: in a line that runs or reads it, or in a comment for shellcheck.
_OTHER = re.compile(r"(%/\*\}/|source=)\.\./([a-z0-9_]+)/(\$\{0##\*/\}|[a-z0-9_.]+)")
_OWN_NAME = "${0##*/}"


@dataclass(frozen=True)
class Graft:
    """What is copied: a tree of drivers, the names that they get by family and old name, and the actions (family/name) that are kept."""

    tree: Path
    target: Path
    names: Mapping[tuple[str, str], str]
    wanted: Collection[str]
    actions: Collection[str]


def helpers(graft: Graft, drivers: Collection[str]) -> None:
    """Copy all files of the tree that belong to no driver; `drivers` are family/name."""
    for path in sorted(graft.tree.rglob("*")):
        relative = path.relative_to(graft.tree).as_posix()
        folders = {relative.replace("datastore/", "ds/", 1).rpartition("/")[0]}
        if path.is_file() and not folders & set(drivers):
            lay(path, graft.target / relative)


def driver(graft: Graft, family: str, old: str, *, whole: bool = False) -> None:
    """Copy a driver under its new name, `whole` or with the actions that are wanted. Scripts for a mode come along where the other driver of the mode does."""
    new = graft.names[family, old]
    for script in sorted((graft.tree / FOLDERS[family] / old).iterdir()):
        action, _, mode = script.name.partition(".")
        helper = f"{family}/{script.name}" not in graft.actions and f"{family}/{action}" not in graft.actions
        if not helper and mode and (family, mode) not in graft.names:
            continue
        name = script.name if helper or not mode else f"{action}.{graft.names[family, mode]}"
        made = graft.target / FOLDERS[family] / new / name
        if helper or whole or f"{family}/{action}" in graft.wanted:
            _script(graft, family, script, made)
        else:
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(_REFUSAL.replace("WHAT", _KINDS[family]))
            made.chmod(0o755)


def _script(graft: Graft, family: str, script: Path, made: Path) -> None:
    """Copy a script. One that does no more than go on in that of a driver which stays behind becomes that; of others the scripts that it needs come along."""
    text = script.read_text()
    found = next((one for one in _OTHER.finditer(text) if _stays(graft, family, one, script) is not None), None)
    other = _stays(graft, family, found, script) if found else None
    body = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "set "))]
    if other is not None and len(body) == 1:
        _script(graft, family, other, made)
        return

    def there(one: re.Match[str]) -> str:
        needed = _stays(graft, family, one, script)
        if needed is None:
            new = graft.names.get((family, one[2]))
            return f"{one[1]}../{new}/{one[3]}" if new else one[0]
        beside = f"{one[2]}_{needed.name}"
        _script(graft, family, needed, made.parent / beside)
        return f"{one[1]}{beside}"

    lay(script, made)
    made.write_text(_OTHER.sub(there, text))


def _stays(graft: Graft, family: str, found: re.Match[str], script: Path) -> Path | None:
    """Return the script of another driver that is named, if that driver does not come along."""
    name = script.name if found[3] == _OWN_NAME else found[3]
    other = graft.tree / FOLDERS[family] / found[2] / name
    return other if other.is_file() and (family, found[2]) not in graft.names else None


def lay(source: Path, target: Path) -> None:
    """Copy a file with its mode, and make the directories above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
