"""Which scripts of a driver are run without tracing, because they could tell: they trace themselves, look at the shell's options, or close what they find open.

Found by reading them. It is not a parser: a script that is left out in vain only lacks its lines in the report.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

_TELLS = re.compile(
    r"\bset\s+(?:-\S+\s+)*[-+]\w*x|\bxtrace\b|\bBASH_XTRACEFD\b|\bPS4\b|\bBASH_ENV\b|\bSHELLOPTS\b|\$-|\$\{-"
    r"|\bbash\s+(?:-\S+\s+)*-\w*x|\bulimit\b.*-\w*f|/proc/(?:self|\$\$|\$\{?BASHPID\}?)/fd(?![/\w])|/fd/(?=[\s\"'*)]|$)"
)
_FUNCTION = re.compile(r"^([ \t]*)(?:function[ \t]+([\w.:-]+)|([\w.:-]+)[ \t]*\([ \t]*\))")
_NAME = re.compile(r"[\w.:-]+")
_SHEBANG = "#!"


def untraced(scripts: Mapping[str, str]) -> frozenset[str]:
    """Return the files, of those given by path and text, that are to be left alone. What a function in a library does, falls on the scripts that call it."""
    bodies: dict[str, set[str]] = {}
    outside: dict[str, set[str]] = {}
    tells: set[str] = set()
    found: set[str] = set()
    for file, text in scripts.items():
        outside[file] = set()
        for function, line in _lines(text):
            names = bodies.setdefault(function, set()) if function else outside[file]
            names |= set(_NAME.findall(line))
            if _TELLS.search(line):
                (tells.add(function) if function else found.add(file))
    grown = True
    while grown:
        libraries = {posixpath.basename(file) for file in found if not scripts[file].startswith(_SHEBANG)}
        bad = tells | libraries
        new = {name for name, names in bodies.items() if name not in tells and names & bad}
        also = {file for file, names in outside.items() if file not in found and names & bad}
        tells |= new
        found |= also
        grown = bool(new or also)
    return frozenset(found)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of code with the function that it stands in, empty outside of functions. Comments count for nothing, but for the first line."""
    function = closing = ""
    for number, line in enumerate(text.splitlines()):
        header = _FUNCTION.match(line)
        if header and not function:
            function, closing = header[2] or header[3], f"{header[1]}}}"
            yield function, line[header.end() :]
            if line.rstrip().endswith("}"):
                function = ""
            continue
        if number == 0 or not line.lstrip().startswith("#"):
            yield function, line
        if function and line.rstrip().startswith(closing):
            function = ""
