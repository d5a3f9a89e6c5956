"""The rules that `spec/faults.toml` must keep. Each names the file and the row that breaks it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from onesim.errors import SpecError
from onesim.world.interface import ACTS

if TYPE_CHECKING:
    from onesim.rows import FaultKind
    from onesim.spec import Spec

#: The class of the commands by which a call speaks with the hypervisor.
HYPERVISOR = "hypervisor"
#: The class of the commands that have something done on another host.
REMOTE = "remote"
#: What the argument of an act looks like.
_ARGUMENTS = {
    "fail": r"[1-9]\d{0,2} .+",
    "unheard": r"[1-9]\d{0,2} .+",
    "cut": r"\d+",
    "slow": r"\d+",
    "hang": r"\d+",
    "full": r"\d+",
    "lock": r"\d+",
    "die": r"TERM|KILL",
}


def verify(spec: Spec) -> None:
    """Raise SpecError for the first row that is wrong."""
    classes, kinds = spec.fault_rows
    for what, rows in (("class", classes), ("kind", kinds)):
        for name, count in Counter(row.name for row in rows).items():
            if count > 1:
                raise _refuse(spec, f"{what} {name}", "stands twice")
            if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name):
                raise _refuse(spec, f"{what} {name}", "a name is lower case words with hyphens between: cases are called so")
    for row in classes:
        if not row.commands or any("/" in command for command in row.commands):
            raise _refuse(spec, f"class {row.name}", "lists commands by their names")
    for action in spec.once:
        if action not in {row.key for row in spec.actions}:
            raise _refuse(spec, f"once {action}", "there is no such action")
    for kind in kinds:
        _kind(spec, kind)


def _kind(spec: Spec, kind: FaultKind) -> None:
    name = f"kind {kind.name}"
    if kind.act not in ACTS:
        raise _refuse(spec, name, f"unknown act {kind.act!r}; there are {', '.join(ACTS)}")
    if not re.fullmatch(_ARGUMENTS.get(kind.act, ""), kind.arg):
        raise _refuse(spec, name, f"{kind.arg!r} is no argument of {kind.act}")
    if (kind.act == "lost") == bool(kind.at):
        raise _refuse(spec, name, "names in `at` where it strikes, unless the call never begins")
    if kind.act == "unheard" and tuple(kind.at) != (REMOTE,):
        raise _refuse(spec, name, f"{kind.act} strikes commands of the class {REMOTE} alone")
    if not kind.guests and HYPERVISOR not in spec.command_classes:
        raise _refuse(spec, name, f"what has no guests is told by a class {HYPERVISOR}")
    for one in kind.at:
        if one != "*" and one not in spec.command_classes:
            raise _refuse(spec, name, f"unknown class of commands {one!r}")
    actions = {row.key for row in spec.actions if row.family != "vmm"} | {"*", "ds/*", "tm/*"}
    for action in kind.actions:
        if action not in actions:
            raise _refuse(spec, name, f"unknown action {action!r}")
    kind_of, _, operation = kind.beside.partition(".")
    if kind.beside and (kind_of != "vm" or operation not in {row.name for row in spec.lifecycles["vm"].operation}):
        raise _refuse(spec, name, f"{kind.beside!r} is no operation of a VM")
    if kind.ends == "success" and kind.act not in ("slow", "lock"):
        raise _refuse(spec, name, f"an action struck by {kind.act} need not succeed")


def _refuse(spec: Spec, row: str, why: str) -> SpecError:
    return SpecError(f"{spec.root / 'faults.toml'}: {row}: {why}")
