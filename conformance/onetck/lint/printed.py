"""What a script prints, as far as its text tells: the lines of stdout and stderr, with a stand-in for everything that only a run knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onetck.lint.shell import Command
from onetck.lint.sources import Script

_STAND_IN = "x"
_EXPANDED = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|`[^`]*`|\$\w+|%[-+ #0]?[\d.]*[sdiq]|#\{[^}]*\}")
_PRINTS = frozenset(("echo", "printf", "print"))
_OTHER = {
    "ruby": re.compile(r"^\s*(STDERR\.|\$stderr\.|STDOUT\.|\$stdout\.)?(?:puts|print)\b\s*\(?\s*(['\"])(.*?)\2"),
    "python": re.compile(r"^\s*()print\s*\(\s*f?(['\"])(.*?)\2"),
}


@dataclass(frozen=True)
class Printed:
    """A text that is printed. `errors` = on stderr."""

    line: int
    text: str
    errors: bool


def printed(script: Script) -> Iterator[Printed]:
    """Yield what a script prints outside of functions by commands that do nothing else."""
    if script.shell is not None:
        for command in script.shell.commands:
            wanted = command.errors or not command.sent
            if command.name in _PRINTS and wanted and not command.captured and not command.function:
                yield Printed(command.line, _text(command), command.errors)
    elif script.language in _OTHER:
        for number, line in enumerate(script.lines, 1):
            found = _OTHER[script.language].match(line)
            if found and "sys.stderr" not in line:
                yield Printed(number, _EXPANDED.sub(_STAND_IN, found.group(3)), "err" in (found.group(1) or "").lower())


def _text(command: Command) -> str:
    words = [word for word in command.words[1:] if not re.fullmatch(r"-[neE]+|--", word)]
    if command.name == "printf":
        # the format tells how many words there are
        words = words[:1]
    plain = (_EXPANDED.sub(_STAND_IN, word).strip("\"'") for word in words)
    return " ".join(plain).replace("\\n", "\n").rstrip("\n")
