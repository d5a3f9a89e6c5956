"""Rules on what scripts name: commands that this machine has, and paths that hold in every installation."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from onereport.spec_tables import documents
from onesim.data import data_dir
from onetck.lint.findings import Finding, Rules
from onetck.lint.shell import Command, read_shell
from onetck.lint.sources import Script, Sources

_NAME = re.compile(r"[A-Za-z_][\w.+-]*")
#: The commands that every front-end has for asking oned.
_ONED = re.compile(r"one[a-z]+")
_BEFORE = frozenset(("sudo", "exec", "nohup", "time", "command", "builtin", "nice", "env"))
_ASKS = frozenset(("type", "which", "hash", "command", "alias", "unset", "declare", "typeset"))
_ADMIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_LOCATION = "ONE_LOCATION"
#: As far as an `if` that asks for ONE_LOCATION reaches, in lines.
_NEAR = 6


def check_commands(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the commands, once for each script, that are neither on this machine nor defined anywhere.

    Where a script loads a library that the tree does not hold, what could be a function of it is said once.
    """
    known = _known(sources)
    held = {key.rpartition("/")[2]: script for key, script in sources.scripts.items()}
    for script in sources.scripts.values():
        if script.shell is None or not script.shell.whole or script.path.is_symlink():
            continue
        unknown: dict[str, int] = {}
        for command in script.shell.commands:
            name = _called(command)
            if name and name not in known and not _ONED.fullmatch(name) and not _on_path(name):
                unknown.setdefault(name, command.line)
        absent = _absent(script, held)
        if unknown and absent:
            which = f"{absent[0]} is" if len(absent) == 1 else f"{', '.join(absent)} are"
            sentence = f"{which} not in this tree, so it cannot be told whether these are functions there: {', '.join(unknown)}"
            yield rules.found("library", script.key, min(unknown.values()), sentence)
        else:
            for name, line in unknown.items():
                yield rules.found("command", script.key, line, f"{name} is no command of this machine, and no function or builtin")


def _absent(script: Script, held: dict[str, Script]) -> list[str]:
    """Return the libraries that a script loads, itself or by those that it loads, and that the tree does not hold."""
    waiting, seen = list(script.loads), dict.fromkeys(script.loads)
    while waiting:
        library = held.get(waiting.pop())
        for name in library.loads if library else ():
            if name not in seen:
                seen[name] = None
                waiting.append(name)
    return [name for name in seen if name not in held]


def _called(command: Command) -> str:
    words = list(command.words)
    while len(words) > 1 and words[0] in _BEFORE and not words[1].startswith("-"):
        words.pop(0)
    return words[0] if words and _NAME.fullmatch(words[0]) and "=" not in words[0] else ""


def _known(sources: Sources) -> set[str]:
    """Return the builtins, the functions of the tree and of the helper runtime, oned's commands, and what scripts ask for before they use it."""
    known = set(_builtins()) | {row.command for row in sources.spec.spec.asked.values()}
    known |= set(read_shell((data_dir("reference_driver") / "remotes" / "scripts_common.sh").read_text(encoding="utf-8")).functions)
    known |= {row.name for row in documents(sources.spec.spec).helpers}
    for script in sources.scripts.values():
        shell = script.shell
        for command in shell.commands if shell else ():
            if command.name in _ASKS:
                known.update(word.strip("\"'").partition("=")[0] for word in command.words[1:])
        known |= set(shell.functions) if shell else set()
    return known


@cache
def _builtins() -> frozenset[str]:
    done = subprocess.run(
        ["bash", "-c", "compgen -bk"], capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"PATH": os.defpath}, check=False
    )
    return frozenset(done.stdout.split())


@cache
def _on_path(name: str) -> bool:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_ADMIN]
    return any(os.access(Path(folder, name), os.X_OK) for folder in folders if folder)


def check_paths(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the first path of each script that holds only where OpenNebula is installed in the system."""
    prefixes = "|".join(map(re.escape, rules.words("fixed_path")))
    fixed = re.compile(rf"(?<![\w.}}])(?:{prefixes})(?=[/\s\"'`;)}}]|$)[^\s\"'`;)}}$]*")
    for script in sources.scripts.values():
        if not script.language or script.path.is_symlink():
            continue
        aware = [number for number, line in enumerate(script.lines) if _LOCATION in line]
        found = [
            (number, match.group()) for number, line in enumerate(script.lines) for match in fixed.finditer(line) if not _first_line(script, number)
        ]
        fixed_ones = [(number, path) for number, path in found if not any(abs(number - near) <= _NEAR for near in aware)]
        if fixed_ones:
            number, path = fixed_ones[0]
            more = f", and in {len(fixed_ones) - 1} lines more" if len(fixed_ones) > 1 else ""
            yield rules.found("fixed_path", script.key, number + 1, f"{path} is not there where ONE_LOCATION is set{more}")


def _first_line(script: Script, number: int) -> bool:
    return number == 0 and bool(script.first)


def check_separators(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the lines that print separators around an error text, where the contract has none."""
    if sources.spec.contract.error == "separated":
        return
    for script in sources.scripts.values():
        for number, word in separators(script, rules):
            yield rules.found("separators", script.key, number, f"prints {word!r}, which the user sees in {sources.spec.contract.name}")


def separators(script: Script, rules: Rules) -> Iterator[tuple[int, str]]:
    """Yield the lines of a script that print separators; the helper runtime is oned's own, and that of the release is used."""
    if script.language and not script.path.is_symlink() and script.key.count("/"):
        for number, line in enumerate(script.text.split("\n"), 1):
            word = next((word for word in rules.words("separators") if word in line and not line.lstrip().startswith("#")), "")
            if word:
                yield number, word
