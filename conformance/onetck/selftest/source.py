"""Reads a script of the reference driver line by line, as far as mutation needs it: code apart from comments, and the commands of a line with their words.

It is not a parser: what a mutation makes of a line is tried by `bash -n` afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

_CONNECTORS = ("&&", "||", ";;", "|", ";", "&")
#: Words after which a command begins, and those that are no command themselves.
_KEYWORDS = frozenset(("if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "fi", "done", "esac", "(", ")"))
_OPENERS = {"[[": "]]", "((": "))"}
_CASE = re.compile(r"^\s*(\(?[^\s()\"'$]+(?:\s*\|\s*[^\s()\"'$]+)*|\"\"|\*)\)(?=\s|$)")
_HEADER = re.compile(r"^\s*(?:function\s+)?[A-Za-z_]\w*\s*\(\)\s*\{?")
_CLOSES = re.compile(r"^\s*(?:done|fi|esac|\}|\)|;;)(?!\w)")
_LOOP = re.compile(r"^(for|case|select)\s")
_ASSIGNED = re.compile(r"^(?:(?:local|declare|export|readonly)\s+(?:-\w+\s+)*)?[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")


@dataclass(frozen=True)
class Piece:
    """A command on a line: where it stands, and its text."""

    start: int
    end: int
    text: str

    @cached_property
    def words(self) -> list[tuple[int, str]]:
        """The words, each with its place in the line."""
        return [(self.start + at, word) for at, word in _words(self.text)]

    @property
    def name(self) -> str:
        """The first word; empty for an assignment."""
        return self.words[0][1] if self.words and not self.assigns else ""

    @property
    def assigns(self) -> bool:
        """Whether it is an assignment or a declaration, and no command."""
        return bool(_ASSIGNED.match(self.text))

    @property
    def tests(self) -> bool:
        """Whether it is a test or arithmetic."""
        return self.text.startswith(tuple(_OPENERS))


@dataclass(frozen=True)
class Line:
    """A line of a script: its number from 1, its text, and where the comment begins. `family` is datastore or tm for a script that oned calls, else empty."""

    number: int
    text: str
    length: int
    family: str

    @property
    def code(self) -> str:
        """The line without its comment."""
        return self.text[: self.length].rstrip()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The commands."""
        return tuple(_pieces(self.code))

    def with_piece(self, piece: Piece, text: str) -> str:
        """Return the line with another command in place of one."""
        return self.text[: piece.start] + text + self.text[piece.end :]


def lines_of(text: str, family: str = "") -> list[Line]:
    """Return the lines that hold code: no comments, no `source`, no function headers, nothing that is only punctuation."""
    found, quote = [], ""
    for number, row in enumerate(text.splitlines(), 1):
        began_quoted = bool(quote)
        length, quote = _code(row, quote)
        code = row[:length].strip()
        if began_quoted or not code or code.startswith(("source ", ". ")) or code.strip("{}()") == "" or code in _KEYWORDS or _HEADER.fullmatch(code):
            continue
        found.append(Line(number, row, length, family))
    return found


@lru_cache(maxsize=256)
def code_lines(text: str) -> tuple[int, ...]:
    """Return the numbers of the lines at which commands begin, as bash counts them: no line that goes on with a command, and none that closes what began above."""
    rows = text.splitlines()
    return tuple(
        line.number
        for line in lines_of(text)
        if next(_pieces(line.code), None) and not _CLOSES.match(line.code) and not (line.number > 1 and rows[line.number - 2].endswith("\\"))
    )


def is_action(file: str) -> bool:
    """Tell whether oned calls a script of the tree: it stands in the directory of a driver and has no ending of a helper."""
    return file.count("/") == 2 and not file.endswith((".sh", ".awk"))


_FUNCTION = re.compile(r"^(?:function\s+)?([A-Za-z_]\w*)\s*\(\)")


def mentions(files: Mapping[str, str], file: str, line: int) -> set[str]:
    """Return the scripts that may come to a line of a helper: those that name its function, or one that does; the helper itself, where it is in none.

    What names an action is not followed: it is called as a word such as `rm`, which may as well be a command.
    """
    parts = _parts(tuple(sorted(files.items())))
    wanted = {next((name for at, name, first, last, _ in parts if at == file and name and first <= line <= last), file.rpartition("/")[2])}
    found: set[str] = set()
    more = set(wanted)
    while more:
        hits = [(at, name) for at, name, _, _, words in parts if words & more]
        found |= {at for at, name in hits if not name}
        more = {name or at.rpartition("/")[2] for at, name in hits if name or not is_action(at)} - wanted
        wanted |= more
    return found


def within_reach(files: Mapping[str, str], file: str, line: int) -> list[tuple[str, int, int]]:
    """Return where the functions stand that a line's own names, and those that these name, with it: file, first and last line."""
    parts = _parts(tuple(sorted(files.items())))
    own = next((part for part in parts if part[0] == file and part[1] and part[2] <= line <= part[3]), None)
    more = [own] if own is not None else [part for part in parts if part[0] == file and not part[1]]
    found: dict[tuple[str, int, int], None] = {}
    while more:
        at, name, first, last, words = more.pop()
        if (at, first, last) not in found:
            if name:
                found[at, first, last] = None
            more += [part for part in parts if part[1] in words and (part[0], part[2], part[3]) not in found]
    return list(found)


_SET = re.compile(r"(?:^|[\s;&|(])([A-Za-z_]\w*)\+?=|\b(?:read|mapfile)\s+(?:-\w+\s+)*([A-Za-z_]\w*)|\bprintf\s+-v\s+([A-Za-z_]\w*)")


def uses(files: Mapping[str, str], file: str, line: int) -> Iterator[tuple[str, int, int]]:
    """Yield where other scripts use the variables that a line of a helper sets outside of functions: file, first and last line. A `case` on one is meant with
    all its branches.
    """
    names = {name for found in _SET.findall(files[file].split("\n")[line - 1]) for name in found if name}
    if (
        not names
        or is_action(file)
        or any(at == file and first <= line <= last for at, name, first, last, _ in _parts(tuple(sorted(files.items()))) if name)
    ):
        return
    used = re.compile(r"\$\{?(?:" + "|".join(sorted(names)) + r")\b")
    for at, text in sorted(files.items()):
        rows = text.split("\n") if at != file else []
        for n, row in enumerate(rows):
            if used.search(row):
                ends = (m for m in range(n, len(rows)) if rows[m].strip().startswith("esac"))
                yield at, n + 1, next(ends, n) + 1 if row.lstrip().startswith("case ") else n + 1


def words_at(files: Mapping[str, str], file: str, line: int) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return the words of a line, those of the function in which it stands (or of what is in none), and whether that is a host function. What a trap does it does
    after something else has failed: its words are not of the line.
    """
    row = files[file].split("\n")[line - 1].strip()
    parts = [part for part in _parts(tuple(sorted(files.items()))) if part[0] == file]
    _, name, _, _, within = next((part for part in parts if part[1] and part[2] <= line <= part[3]), parts[-1])
    return frozenset() if row.startswith("trap ") else _named(row), within, name.startswith("host_")


@lru_cache(maxsize=1)
def _parts(files: tuple[tuple[str, str], ...]) -> list[tuple[str, str, int, int, frozenset[str]]]:
    """Return the functions of scripts, and what is in none: file, name or nothing, first and last line, the words."""
    found = []
    for file, text in files:
        rows, outside, at = text.splitlines(), [], 0
        while at < len(rows):
            named = _FUNCTION.match(rows[at])
            if named is None:
                outside.append(rows[at])
                at += 1
                continue
            last = next((n for n in range(at, len(rows)) if rows[n].startswith("}") or (n == at and rows[n].rstrip().endswith("}"))), len(rows) - 1)
            found.append((file, named[1], at + 1, last + 1, _named("\n".join(rows[at : last + 1])) - {named[1]}))
            at = last + 1
        found.append((file, "", 0, 0, _named("\n".join(outside))))
    return found


def _named(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w.]+(?:-\w+)*", text))


def _code(row: str, quote: str) -> tuple[int, str]:
    """Return how much of a line is code, and the quotation mark that is open at its end; `quote` is the one that is open at its beginning."""
    at = 0
    while at < len(row):
        c = row[at]
        if quote:
            if c == "\\" and quote == '"':
                at += 1
            elif c == quote:
                quote = ""
        elif c == "\\":
            at += 1
        elif c in "'\"":
            quote = c
        elif c == "#" and (at == 0 or row[at - 1].isspace()):
            return at, ""
        at += 1
    return len(row), quote


def _skip(text: str, at: int) -> int:
    """Return where what begins at a place ends: something quoted, something in parentheses or braces, a test, or one character."""
    c = text[at]
    if c == "\\":
        return at + 2
    if c == "'":
        return _after(text, text.find("'", at + 1))
    if c == '"':
        at += 1
        while at < len(text) and text[at] != '"':
            at = _skip(text, at) if text[at] in "\\$`" else at + 1
        return at + 1
    if text.startswith(("$(", "<(", ">(", "${"), at) or c == "(":
        inner = at + (1 if c == "(" else 2)
        closer = "}" if text.startswith("${", at) else ")"
        while inner < len(text) and text[inner] != closer:
            inner = _skip(text, inner)
        return inner + 1
    return at + 1


def _after(text: str, at: int) -> int:
    return len(text) if at < 0 else at + 1


def _words(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        start = at
        while at < len(text) and not text[at].isspace():
            at = _skip(text, at)
        yield start, text[start:at]


def _pieces(code: str) -> Iterator[Piece]:
    header = _HEADER.match(code) or _CASE.match(code)
    at = start = header.end() if header else 0
    while at < len(code):
        rest = code[at:]
        opener = next((one for one in _OPENERS if rest.startswith(one) and not code[start:at].strip()), "")
        connector = next((one for one in _CONNECTORS if rest.startswith(one)), "")
        if opener:
            closed = code.find(_OPENERS[opener], at + 2)
            at = len(code) if closed < 0 else closed + 2
            while opener == "((" and code.startswith(")", at):
                at += 1
        elif connector and not (connector == "&" and (code[at - 1] in "<>" or code.startswith(">", at + 1))) and code[at - 1] != "<":
            yield from _piece(code, start, at)
            at += len(connector)
            start = at
        else:
            word = next(_words(rest), (0, ""))
            if word[0] == 0 and word[1] in _KEYWORDS and not code[start:at].strip():
                at += len(word[1])
                start = at
            else:
                at = _skip(code, at)
    yield from _piece(code, start, len(code))


def _piece(code: str, start: int, end: int) -> Iterator[Piece]:
    text = code[start:end]
    stripped = text.strip().removesuffix("\\").rstrip().removesuffix("}").rstrip() if text.strip().endswith((" }", "\\")) else text.strip()
    begin = start + len(text) - len(text.lstrip())
    if stripped and stripped not in _KEYWORDS and not _LOOP.match(stripped):
        yield Piece(begin, begin + len(stripped), stripped)
