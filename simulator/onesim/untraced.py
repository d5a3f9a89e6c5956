"""Which scripts of a driver are run without tracing, because they could tell: they trace themselves, look at the shell's options, or close what they find open.

Found by reading them. It is not a parser: a script that is left out in vain only lacks its lines in the report.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TELLS = re.compile(
    r"\bset\s+(?:-\S+\s+)*[-+]\w*x|\bxtrace\b|\bBASH_XTRACEFD\b|\bPS4\b|\bBASH_ENV\b|\bSHELLOPTS\b|\$-|\$\{-"
    r"|\bbash\s+(?:-\S+\s+)*-\w*x|\bulimit\b.*-\w*f|/proc/(?:self|\$\$|\$\{?BASHPID\}?)/fd(?![/\w])|/fd/(?=[\s\"'*)]|$)"
)
#: One of these stands in a text that tells; looking for them is much faster.
_HINTS = ("set -", "set +", "set  ", "set\t", "xtrace", "BASH_", "PS4", "SHELLOPTS", "$-", "${-", "bash -", "bash  ", "bash\t", "ulimit", "/fd")
_FUNCTION = re.compile(r"^([ \t]*)(?:function[ \t]+([\w.:-]+)|([\w.:-]+)[ \t]*\([ \t]*\))")
_HERE = re.compile(r"(?<!<)<<-?\s*['\"\\]?([A-Za-z_]\w*)")
_SHEBANG = "#!"


@dataclass(frozen=True)
class Untraced:
    """Files that are to be left alone: `itself`, or no more than what they start and send to hosts (`below`)."""

    itself: frozenset[str]
    below: frozenset[str]


def untraced(scripts: Mapping[str, str]) -> Untraced:
    """Return the files, of those given by path and text, that are to be left alone. What a function in a library does, falls on the scripts that call it.

    A text that a bash script hands to others (a here-document) says nothing of the script itself.
    """
    itself, functions = _spread(scripts, set(), set(), handed=False)
    below, _ = _spread(scripts, itself, functions, handed=True)
    return Untraced(frozenset(itself), frozenset(below - itself))


def _spread(scripts: Mapping[str, str], found: set[str], functions: set[str], *, handed: bool) -> tuple[set[str], set[str]]:
    """Return the files and functions that could tell, and those that rely on them; `handed` = also by what they hand to others."""
    hints: tuple[str, ...] = _HINTS
    found, functions, tells = set(found), set(functions), _TELLS
    while True:
        before = len(functions) + len(found)
        for file, text in scripts.items():
            if file not in found and any(hint in text for hint in hints) and tells.search(text):
                plain = handed or (text.startswith(_SHEBANG) and "bash" not in text.partition("\n")[0])
                for function, line, within in _lines(text):
                    if (plain or not within) and tells.search(line):
                        (functions.add(function) if function else found.add(file))
        if len(functions) + len(found) == before and tells is not _TELLS:
            return found, functions
        names = functions | {posixpath.basename(file) for file in found if not scripts[file].startswith(_SHEBANG)}
        if not names:
            return found, functions
        hints = tuple(names)
        tells = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w.-])")


def _lines(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each line of code with the function that it stands in, empty outside of functions, and whether it is one of a here-document.

    Comments count for nothing, but for the first line.
    """
    function = closing = ends = ""
    for number, line in enumerate(text.splitlines()):
        if ends:
            yield function, line, True
            ends = "" if line.strip() == ends else ends
            continue
        header = _FUNCTION.match(line)
        if header and not function:
            function, closing = header[2] or header[3], f"{header[1]}}}"
            yield function, line[header.end() :], False
            if line.rstrip().endswith("}"):
                function = ""
            continue
        if number == 0 or not line.lstrip().startswith("#"):
            yield function, line, False
            here = _HERE.search(line)
            ends = here[1] if here else ""
        if function and line.rstrip().startswith(closing):
            function = ""
