"""Which lines of a driver's bash scripts are run: told by bash itself, on the front-end and on hosts, without a change to any script.

Every bash that starts for a call reads a file first (BASH_ENV) that has it write its place before each command to a descriptor of its own. That place is
file and line, but for commands that came on standard input: a driver sends functions to hosts by `declare -f`. There it is the function and the distance
from its first command; `Printed` finds the lines of the file that they stand for.

Scripts in Python, Ruby and other languages run as they are. Where one of them fails, the line is taken from what its interpreter prints of the failure.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from onesim.errors import HarnessError
from onesim.failing import failed_command, last_command
from onesim.layout import NODE_REMOTES, REMOTES
from onesim.model import FRONTEND
from onesim.records import Place
from onesim.untraced import Untraced, untraced
from onesim.world.interface import LinesRun, Run, Traced
from onesim.world.lines import SEEN

#: The descriptor is above those that scripts use or close in a loop. Nothing of this is done where a script has asked for a trace of its own (`bash -x`);
#: an `x` that came with exported options is ours. PS4 must bear `set -u`.
_TRACER = rf"""{{
    case $0 in %s) unset BASH_ENV ;; esac
    case $0 in
        %s) ;;
        *)
            case $- in *x*) [[ ${{SHELLOPTS@a}} == *x* ]] ;; esac &&
                exec 847>>"{SEEN}/${{ONETCK_CALL##*/}}.$HOSTNAME.$$" &&
                BASH_XTRACEFD=847 PS4=$'+\001${{BASH_SOURCE-}}\001$LINENO\001${{BASH_LINENO[@]-}}\001${{FUNCNAME-}}\001$?\001' &&
                set -x
            ;;
    esac || :
}} 2>/dev/null
"""
_TEXT_MAX = 200
_WORD = re.compile(r"[\w.$/%#-]+|[^\s\w;]")
_DEFINED = re.compile(r"^(\w+)\(\)", re.MULTILINE)
#: The end of a function that has not ended on the line of its name.
_CLOSED = re.compile(r"\n\}")
_BASH_S = 20
#: What bash prints where a line could not be expanded, at the end of all.
_UNEXPANDED = re.compile(r": line \d+: [^\n]*(?:unbound variable|not set|bad substitution|division by 0|syntax error[^\n]*)\n?\Z")
#: What interpreters print of a failure: Python, Ruby, bash, dash, Perl. Of several places the last one counts in Python, the first one in the others.
_SAID = (
    re.compile(r'File "([^"\n]+)", line (\d+)'),
    re.compile(r"(?m)^(?:\s+from |\t|)(/[^\s:]+):(\d+):in "),
    re.compile(r"(?m)^(/[^\s:]+): line (\d+): "),
    re.compile(r"(?m)^(/[^\s:]+): (\d+): "),
    re.compile(r" at (/\S+) line (\d+)\.$", re.MULTILINE),
)


@dataclass(frozen=True)
class Sources:
    """The text of a driver's files by their path in the remotes tree. `helpers` is the `scripts_common.sh` that the front-end has."""

    texts: Mapping[str, str]
    helpers: str = ""

    @cached_property
    def _untraced(self) -> Untraced:
        return untraced({**self.texts, "scripts_common.sh": self.helpers or self.texts.get("scripts_common.sh", "")})

    @property
    def left_alone(self) -> frozenset[str]:
        """The scripts that are not traced, because they could tell."""
        return self._untraced.itself & self.texts.keys()

    @cached_property
    def tracer(self) -> bytes:
        """What every bash of a call reads first."""
        below = self._untraced.below & self.texts.keys()
        return (_TRACER % (_pattern(self.left_alone | below), _pattern(self.left_alone))).encode()

    @cached_property
    def scripts(self) -> dict[str, str]:
        """The bash scripts, and what they read in: files without an interpreter's name in which functions are defined."""
        return {file: text for file, text in self.texts.items() if _is_bash(text)}

    @cached_property
    def _defined(self) -> dict[str, list[str]]:
        """The scripts that define a function, by its name."""
        found: dict[str, list[str]] = {}
        for file, text in sorted(self.scripts.items()):
            for name in dict.fromkeys(_DEFINED.findall(text)):
                found.setdefault(name, []).append(file)
        return found

    @cached_property
    def _printed(self) -> dict[str, Printed]:
        return {}

    @cached_property
    def _files(self) -> dict[str, str]:
        return {}

    def file_of(self, path: str) -> str:
        """Return the path in the tree of a file that bash has named; empty for any other file."""
        if path not in self._files:
            self._files[path] = self._file_of(path)
        return self._files[path]

    def _file_of(self, path: str) -> str:
        path = posixpath.normpath(path)
        tree = next((one for one in (REMOTES, NODE_REMOTES) if path.startswith(f"{one}/")), "")
        file = path.removeprefix(f"{tree}/")
        if tree:
            return file if file in self.texts else ""
        found = [one for one in self.texts if one.endswith("/" + file.removeprefix("../").lstrip("./"))] if not path.startswith("/") else []
        return found[0] if len(found) == 1 else ""

    def place(self, file: str, line: int, host: str = FRONTEND) -> Place:
        """Return a place with the text of its line."""
        rows = self.texts[file].splitlines()
        text = rows[line - 1].strip() if 0 < line <= len(rows) else ""
        return Place(file, line, host, text[:_TEXT_MAX])

    def lines(self, run: LinesRun, known: Mapping[str, set[int]]) -> dict[str, set[int]]:
        """Return the lines that a call has run, by file; `known` are those of the case so far."""
        found: dict[str, set[int]] = {}
        for path, lines in run.ran.items():
            file = self.file_of(path)
            if file in self.scripts:
                found.setdefault(file, set()).update(lines)
        for function, offsets in run.sent.items():
            alone = len(self._defined.get(function, ())) == 1
            for file, line in self._sent(function, offsets):
                if alone or file in found or file in known:  # of functions of one name, those that a script had at hand
                    found.setdefault(file, set()).add(line)
        return found

    def _sent(self, function: str, offsets: Iterable[int]) -> Iterator[tuple[str, int]]:
        if function not in self._printed:
            self._printed[function] = printed({file: self.scripts[file] for file in self._defined.get(function, ())}, function)
        for offset in offsets:
            yield from self._printed[function].lines(offset)

    def failed(self, run: Run, script: str) -> Place | None:
        """Return where a call of a script failed: at its command, else where an interpreter has said on stderr. None if nothing tells."""
        stderr = run.stderr.decode(errors="replace")
        traced = failed_command(run.lines.tail, script, self._ours) if run.lines is not None else None
        # a command that cannot be expanded is none that bash tells of before it runs
        said = self._said(stderr) if traced is None or _UNEXPANDED.search(stderr) else None
        return said or (None if traced is None else self._place(traced))

    def last(self, run: Run, script: str, known: Mapping[str, set[int]]) -> tuple[Place, ...]:
        """Return the last line of the script itself that a call has run, then the last one on each host; `known` are the lines of the case."""
        if run.lines is None:
            return ()
        traced = last_command(run.lines.tail, script, self._ours)
        found = [] if traced is None else [self._place(traced)]
        for host, source, line in run.lines.last:
            if host == FRONTEND:
                continue
            places = [(self.file_of(source), line)] if "/" in source else [one for one in self._sent(source, (line,)) if one[0] in known]
            found += [self.place(file, row, host) for file, row in places[:1] if file]
        return tuple(found)

    def _place(self, traced: Traced) -> Place:
        return self.place(self.file_of(traced.source), traced.line)

    def _ours(self, path: str) -> bool:
        return self.file_of(path) != ""

    def _said(self, stderr: str) -> Place | None:
        for n, pattern in enumerate(_SAID):
            places = [(self.file_of(path), int(line)) for path, line in pattern.findall(stderr)]
            ours = [(file, line) for file, line in places if file]
            if ours:
                return self.place(*ours[-1 if n == 0 else 0])
        return None


def _pattern(files: Collection[str]) -> str:
    """Return a pattern of `case` for scripts by the last parts of their paths."""
    return " | ".join(sorted(f"*/{'/'.join(file.rsplit('/', 2)[-2:])}" for file in files)) or "''"


def _is_bash(text: str) -> bool:
    first = text.partition("\n")[0]
    return "bash" in first if first.startswith("#!") else bool(_DEFINED.search(text))


@dataclass(frozen=True)
class Printed:
    """Functions of one name as `declare -f` prints them: for each file that has one, where each printed line begins in the file."""

    places: tuple[tuple[str, tuple[int, ...]], ...]

    def lines(self, offset: int) -> Iterator[tuple[str, int]]:
        """Yield the places of the command that stands so many lines below the first one."""
        for file, lines in self.places:
            if 0 <= offset < len(lines):
                yield file, lines[offset]


def printed(scripts: Mapping[str, str], name: str) -> Printed:
    """Return the functions of a name in scripts (path and text), as bash prints them. Raises HarnessError where bash cannot be asked."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for file, text in sorted(scripts.items()):
        for function in _DEFINED.finditer(text):
            if function[1] != name:
                continue
            row = text[function.start() : text.find("\n", function.start()) + 1]
            closed = None if row.rstrip().endswith("}") else _CLOSED.search(text, function.end())
            body = text[function.start() : closed.end() if closed else function.start() + len(row)]
            found.append((file, _aligned(body, text.count("\n", 0, function.start()) + 1)))
    return Printed(tuple(found))


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
