"""The transfer script: the file of commands that oned writes for one_tm, and how one_tm reads it. Pure; standard library only.

There is no quoting: an argument can neither hold a blank nor be empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onesim.mad.wire import split


@dataclass(frozen=True)
class Command:
    """One line: the action with its suffix in lower case (`clone.ssh`), the driver, the arguments."""

    action: str
    mad: str
    argv: tuple[str, ...] = ()


def path(vms: str, vm: int, sequence: int, end: str) -> str:
    """Return where oned writes the transfer script of a VM: `<VAR>/vms/<id>/transfer.<history>.<end>`."""
    return f"{vms}/{vm}/transfer.{sequence}.{end}"


def write(commands: Iterable[Command]) -> str:
    """Return the file. Only the name of the action is in capitals: the suffix stays as the driver is called. A restore ends with a blank, as oned writes it."""
    return "".join(_line(command) + (" \n" if command.action == "restore" else "\n") for command in commands)


def _line(command: Command) -> str:
    name, dot, suffix = command.action.partition(".")
    return " ".join((name.upper() + dot + suffix, command.mad, *command.argv))


def read(script: str) -> list[Command]:
    """Return the commands as one_tm reads them: blank lines and those that begin with # are passed over, the rest is split at blanks.

    A line of a single word is a command without a driver; one_tm fails on it.
    """
    found = []
    for line in script.split("\n"):
        words = split(line)
        if words and not words[0].startswith("#"):
            found.append(Command(words[0].lower(), words[1] if len(words) > 1 else "", tuple(words[2:])))
    return found
