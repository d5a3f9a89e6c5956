"""What a script takes from its arguments and from standard input, as far as its text tells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from onetck.lint.shell import Command, Use
from onetck.lint.sources import Script, Sources

#: Commands that read standard input where no file is named.
_READERS = {"cat": 0, "base64": 0, "mapfile": 1, "readarray": 1, "read": 1, "tee": 1, "xmllint": 0}
_OPERAND = re.compile(r"[^-].*|/dev/stdin")
_DECODES = re.compile(r"base64|xpath|decode|\bunpack1?\b", re.IGNORECASE)
_WHOLE = {"ruby": r"\bARGV\b(?!\s*\[\s*\d)", "python": r"\bsys\.argv\b(?!\s*\[\s*\d+\s*\])|argparse", "perl": r"@ARGV|\bshift\b"}
_EACH = {"ruby": r"\bARGV\s*\[\s*(\d+)\s*\]", "python": r"\bsys\.argv\s*\[\s*(\d+)\s*\]", "perl": r"\$ARGV\s*\[\s*(\d+)\s*\]"}
_INPUT = {"ruby": r"\bSTDIN\b|\$stdin\b|\bARGF\b|\bgets\b", "python": r"\bsys\.stdin\b|\binput\(", "perl": r"<STDIN>|<>|\bSTDIN\b"}
_STDIN_FILE = re.compile(r"/dev/stdin\b|/dev/fd/0\b|/proc/self/fd/0\b")


@dataclass(frozen=True)
class Inputs:
    """`positions` are the arguments used by number with their lines; `whole` = all of them are handed on or walked through; `reads` the lines that read stdin.

    `decoded` are the positions whose text is decoded or read as XML. A position after a `shift` is not known.
    """

    positions: tuple[tuple[int, int], ...]
    whole: bool
    reads: tuple[int, ...]
    decoded: frozenset[int]

    def lines(self, position: int) -> list[int]:
        """Return the lines that use an argument."""
        return [line for number, line in self.positions if number == position]


class Readers:
    """Finds what scripts take; knows the functions of the whole tree."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    @cached_property
    def _bodies(self) -> dict[str, list[Command]]:
        bodies: dict[str, list[Command]] = {}
        for script in self._sources.scripts.values():
            for command in script.shell.commands if script.shell else ():
                if command.function:
                    bodies.setdefault(command.function, []).append(command)
        return bodies

    def inputs(self, script: Script) -> Inputs | None:
        """Return what a script takes; None if its language is not known or it could not be followed."""
        if script.shell is not None:
            return self._of_shell(script) if script.shell.whole else None
        return self._of_other(script) if script.language else None

    def _of_shell(self, script: Script) -> Inputs:
        shell = script.shell
        assert shell is not None
        top = [command for command in shell.commands if not command.function]
        moved = min((command.line for command in top if command.name in ("shift", "getopts") or command.words[:2] == ("set", "--")), default=0)
        uses = [use for use in shell.uses if not use.function and not (moved and use.line > moved)]
        positions = tuple((int(use.name), use.line) for use in uses if use.name.isdigit() and use.name != "0")
        whole = bool(moved) or any(use.name in "@*" for use in uses) or any(command.name.endswith(("exec", "eval")) for command in top)
        reads = tuple(dict.fromkeys(self._reads(top, set())))
        return Inputs(positions, whole, reads or self._by_text(_STDIN_FILE, script), self._decoded(top, script, uses))

    def _reads(self, commands: list[Command], seen: set[str]) -> Iterator[int]:
        """Yield the lines of commands that read what the script gets on stdin, also in the functions that they call."""
        for command in commands:
            if command.fed:
                continue
            if _reads_stdin(command) or (command.name in (".", "source") and "/dev/stdin" in command.words):
                yield command.line
            for word in command.words[:2]:
                if word in self._bodies and word not in seen:
                    seen.add(word)
                    if any(self._reads(self._bodies[word], seen)):
                        yield command.line

    def _decoded(self, top: list[Command], script: Script, uses: list[Use]) -> frozenset[int]:
        """Follow arguments through the variables that they are assigned to, up to what decodes them."""
        held: Mapping[str, int] = {
            name: int(number)
            for command in top
            for assigned in (*command.assigned, *command.words[1:])
            for name, number in re.findall(r"^(\w+)=[\"']?\$\{?(\d)\b", assigned)
        }
        lines = [line for line in script.lines if _DECODES.search(line)]
        found = {number for name, number in held.items() for line in lines if re.search(rf"\$\{{?{name}\b", line)}
        numbered = {use.line: int(use.name) for use in uses if use.name.isdigit()}
        return frozenset(found | {number for line, number in numbered.items() if _DECODES.search(script.lines[line - 1])})

    def _of_other(self, script: Script) -> Inputs:
        language = script.language
        # Python counts the script itself
        first = 0 if language == "python" else 1
        positions, decoded = [], set()
        for number, line in enumerate(script.lines, 1):
            for found in re.findall(_EACH[language], line):
                position = int(found) + first
                if position > 0:
                    positions.append((position, number))
                    if _DECODES.search(line):
                        decoded.add(position)
        whole = re.search(_WHOLE[language], "\n".join(script.lines)) is not None
        reads = self._by_text(re.compile(_INPUT[language]), script)
        lent = any(other.language == language and self._by_text(re.compile(_INPUT[language]), other) for other in self._led_to(script))
        return Inputs(tuple(positions), whole, reads or ((1,) if lent else ()), frozenset(decoded))

    def _led_to(self, script: Script) -> Iterator[Script]:
        """Yield the scripts whose names a script's text holds, in the manner of `require_relative` and `import`."""
        for other in self._sources.scripts.values():
            name = Path(other.key).stem
            if other is not script and not other.action and re.search(rf"(require|import|load|from)\b.*\b{re.escape(name)}\b", script.text):
                yield other

    @staticmethod
    def _by_text(what: re.Pattern[str], script: Script) -> tuple[int, ...]:
        return tuple(number for number, line in enumerate(script.lines, 1) if what.search(line))


def _reads_stdin(command: Command) -> bool:
    words = [word.strip("\"'") for word in command.words]
    if words and words[0] in ("sudo", "exec", "command"):
        words = words[1:]
    if not words or words[0].rpartition("/")[2] not in _READERS:
        return False
    if "/dev/stdin" in words:
        return True
    takes_names = _READERS[words[0].rpartition("/")[2]]
    return bool(takes_names) or not any(_OPERAND.fullmatch(word) for word in words[1:] if not word.isdigit())
