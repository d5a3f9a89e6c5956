"""Which lines of a driver's bash scripts are run: told by bash itself, on the front-end and on hosts, without a change to any script.

Every bash that starts for a call reads a file first (BASH_ENV) that has it write its place before each command to a descriptor of its own. That place is
file and line, but for commands that came on standard input: a driver sends functions to hosts by `declare -f`. There it is the function and the distance
from its first command; `Printed` finds the lines of the file that they stand for.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from onesim.errors import HarnessError
from onesim.layout import NODE_REMOTES, REMOTES
from onesim.world.interface import SERVICES, World

_TRACER = f"{SERVICES}/lines.sh"
_PLACES = f"{SERVICES}/lines"
#: What calls and commands that come by ssh find in their environment.
ENVIRONMENT = {"BASH_ENV": _TRACER}
_SCRIPT = rf"""
exec {{BASH_XTRACEFD}}>>{_PLACES}
PS4=$'+\001${{BASH_SOURCE[0]-}}\001$LINENO\001${{FUNCNAME[0]-}}\001$$\001'
set -x
"""
_PLACE = re.compile(r"^\++\x01([^\x01\n]*)\x01(\d+)\x01(\w*)\x01(\d+)\x01", re.MULTILINE)
_MOST = 1 << 26
_WORD = re.compile(r"[\w.$/%#-]+|[^\s\w;]")
_DEFINED = re.compile(r"^(\w+)\(\)", re.MULTILINE)
#: The end of a function that has not ended on the line of its name.
_CLOSED = re.compile(r"\n\}")
_BASH_S = 20


def lay(world: World, machines: Iterable[str]) -> None:
    """Have the lines told that are run in a world from now on."""
    for host in machines:
        world.put(host, _TRACER, _SCRIPT.encode())
        world.put(host, _PLACES, b"", 0o666)


def collect(world: World, machines: Iterable[str], printed: Mapping[str, Printed]) -> dict[str, set[int]]:
    """Return the lines that were run, by the path of the script in the tree. `printed` knows the functions that scripts send to hosts."""
    found: dict[str, set[int]] = {}
    sent: set[tuple[str, int]] = set()
    for host in machines:
        text = world.read(host, _PLACES, _MOST).decode(errors="replace")
        for file, line, named in _places(text, printed):
            if named:
                found.setdefault(file, set()).add(line)
            else:
                sent.add((file, line))
    for file, line in sent:
        if file in found:  # of functions of one name, those that a script had at hand
            found[file].add(line)
    return found


def _places(text: str, printed: Mapping[str, Printed]) -> Iterator[tuple[str, int, bool]]:
    """Yield file, line, and whether bash itself named the file."""
    firsts: dict[tuple[str, str], int] = {}
    for place in _PLACE.finditer(text):
        source, line, function, process = place[1], int(place[2]), place[3], place[4]
        path = posixpath.normpath(source)
        tree = next((one for one in (REMOTES, NODE_REMOTES) if path.startswith(f"{one}/")), "")
        if tree:
            yield path.removeprefix(f"{tree}/"), line, True
        elif function in printed and "/" not in source:
            first = firsts.setdefault((process, function), line)
            yield from ((file, row, False) for file, row in printed[function].lines(line - first))


@dataclass(frozen=True)
class Printed:
    """Functions of one name as `declare -f` prints them: for each file that has one, where each printed line begins in the file."""

    places: tuple[tuple[str, tuple[int, ...]], ...]

    def lines(self, offset: int) -> Iterator[tuple[str, int]]:
        """Yield the places of the command that stands so many lines below the first one."""
        for file, lines in self.places:
            if 0 <= offset < len(lines):
                yield file, lines[offset]


def functions(scripts: Mapping[str, str]) -> dict[str, Printed]:
    """Return the functions of scripts (path and text) by name, as bash prints them. Raises HarnessError where bash cannot be asked."""
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for file, text in sorted(scripts.items()):
        for function in _DEFINED.finditer(text):
            row = text[function.start() : text.find("\n", function.start()) + 1]
            closed = None if row.rstrip().endswith("}") else _CLOSED.search(text, function.end())
            body = text[function.start() : closed.end() if closed else function.start() + len(row)]
            found.setdefault(function[1], []).append((file, _aligned(body, text.count("\n", 0, function.start()) + 1)))
    return {name: Printed(tuple(places)) for name, places in found.items()}


def _aligned(body: str, first: int) -> tuple[int, ...]:
    """Return the line of the file for each line that `declare -f` prints of a function below its opening brace; `first` is the line of its name."""
    name = body.partition("(")[0]
    try:
        printed = subprocess.run(
            ["bash"], input=f"{body}\ndeclare -f {name}".encode(), capture_output=True, timeout=_BASH_S, check=False
        ).stdout.decode()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"bash: {error}") from None
    plain = re.sub(r"(?m)(^|(?<=\s))#.*$", "", body)
    ours, theirs = list(_WORD.finditer(plain)), list(_WORD.finditer(printed))
    starts = [0, *(found.end() for found in re.finditer("\n", plain))]
    begins = [0, *(found.end() for found in re.finditer("\n", printed))]
    lines: dict[int, int] = {}
    for block in SequenceMatcher(None, [one[0] for one in theirs], [one[0] for one in ours], autojunk=False).get_matching_blocks():
        for n in range(block.size):
            row = bisect_right(begins, theirs[block.a + n].start())
            lines.setdefault(row, first + bisect_right(starts, ours[block.b + n].start()) - 1)
    last, result = first, []
    for row in range(3, printed.count("\n") + 1):
        last = lines.get(row, last)
        result.append(last)
    return tuple(result)
