"""Reads shell scripts as far as rules need it: which commands stand where, in which function, what feeds them, and which arguments are used.

It follows the grammar of bash, of which that of sh is a part; nothing is expanded and nothing is run. What it cannot follow it says (`Shell.whole`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace

_PLAIN = re.compile(r"[^\s\\'\"`$;&|()<>]+")
_ANSI = re.compile(r"\$'(?:[^'\\]|\\.)*'", re.DOTALL)
_NAME = re.compile(r"\$([A-Za-z_]\w*|[0-9@*#?$!-])")
_BRACED = re.compile(r"\$\{[#!]?(\w+|[@*#?$!-])")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*(\[[^\]]*\])?\+?=", re.DOTALL)
_REDIRECT = re.compile(r"<<<|<<-|<<|<>|<&|<|&>>|&>|>>|>&|>\||>")
_PARENTHESES = re.compile(r"[ \t]*\([ \t]*\)")
_BLANK = re.compile(r"(?:[ \t\r]|\\\n)+")
_GAP = re.compile(r"(?:\s|\\\n)+")
_GOES_ON = frozenset(("if", "then", "elif", "else", "do", "!", "time", "coproc"))
_LOOPS = frozenset(("while", "until", "for", "select"))
_DEEP = 200


@dataclass(frozen=True)
class Command:
    """A simple command as it is written, quotes included. `fed` = its input is a pipe or a file; `sent` = its output goes elsewhere than to stdout."""

    words: tuple[str, ...]
    assigned: tuple[str, ...]
    line: int
    function: str
    fed: bool
    sent: bool
    captured: bool
    errors: bool

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""


@dataclass(frozen=True)
class Use:
    """An argument used: its number, or @, * or # for all; `function` is empty outside of functions."""

    name: str
    line: int
    function: str


@dataclass
class Shell:
    """What was read. `whole` is false if the text could not be followed to its end."""

    commands: list[Command] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    functions: dict[str, int] = field(default_factory=dict)
    whole: bool = True


@dataclass
class _Open:
    """A compound command that is open: what closes it, whose function body it is, whether a pipe feeds it, whether a pattern of `case`
    comes next, and how many commands stand before it.
    """

    closer: str
    function: str
    fed: bool = False
    pattern: bool = False
    start: int = 0


@dataclass
class _Pending:
    words: list[str] = field(default_factory=list)
    assigned: list[str] = field(default_factory=list)
    at: int = 0
    fed: bool = False
    sent: bool = False
    errors: bool = False


def read_shell(text: str) -> Shell:
    """Read a script."""
    reader = _Reader(text)
    try:
        reader.program(len(text), closer="", function="", captured=False)
    except (RecursionError, IndexError):
        reader.found.whole = False
    return reader.found


class _Reader:
    """A position in a text, and what was found up to there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.found = Shell()
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._heredocs: list[tuple[str, bool, bool]] = []
        self._function = ""
        self._depth = 0

    def line(self, at: int) -> int:
        return bisect_right(self._starts, at)

    def _use(self, name: str, at: int) -> None:
        if name.isdigit() or name in "@*#":
            self.found.uses.append(Use(name, self.line(at), self._function))

    # words and what is in them

    def word(self, end: int) -> str:
        """Read one word; empty where none stands."""
        start = self.pos
        while self.pos < end:
            plain = _PLAIN.match(self.text, self.pos, end)
            if plain:
                self.pos = plain.end()
                continue
            c = self.text[self.pos]
            before = self.text[self.pos - 1] if self.pos > start else ""
            if c == "\\":
                self.pos += 2
            elif c in "'\"`$":
                self._quoted_or_expanded(end)
            elif c in "<>" and self.text.startswith("(", self.pos + 1) and (self.pos == start or before in "=,"):
                self.pos += 2
                self._nested(end)
            elif c == "(" and before == "=" and self.pos > start:
                self.pos += 1
                self._array(end)
            elif c == "(" and before and before in "?*+@!":
                self.pos += 1
                self._balanced(end, ")")
            else:
                break
        self.pos = min(self.pos, end)
        return self.text[start : self.pos]

    def _quoted_or_expanded(self, end: int, *, in_double: bool = False) -> None:
        c = self.text[self.pos]
        if c == "'" and not in_double:
            close = self.text.find("'", self.pos + 1, end)
            self.found.whole &= close >= 0
            self.pos = close + 1 if close >= 0 else end
        elif c == '"' and not in_double:
            self._double(end)
        elif c == "`":
            self._backquoted(end)
        elif c == "$":
            self._dollar(end, in_double=in_double)
        else:
            self.pos += 1

    def _double(self, end: int) -> None:
        self.pos += 1
        while self.pos < end and self.text[self.pos] != '"':
            if self.text[self.pos] == "\\":
                self.pos += 2
            elif self.text[self.pos] in "`$":
                self._quoted_or_expanded(end, in_double=True)
            else:
                self.pos += 1
        self.found.whole &= self.pos < end
        self.pos += 1

    def _backquoted(self, end: int) -> None:
        close = self.pos + 1
        while close < end and self.text[close] != "`":
            close += 2 if self.text[close] == "\\" else 1
        self.found.whole &= close < end
        self.pos += 1
        self.program(min(close, end), closer="", function=self._function, captured=True)
        self.pos = close + 1

    def _dollar(self, end: int, *, in_double: bool) -> None:
        text, at = self.text, self.pos
        if text.startswith("$((", at):
            self.pos += 3
            self._balanced(end, "))")
        elif text.startswith("$(", at):
            self.pos += 2
            self._nested(end)
        elif text.startswith("${", at):
            braced = _BRACED.match(text, at)
            if braced:
                self._use(braced.group(1), at)
            self.pos = braced.end() if braced else at + 2
            self._braces(end, in_double=in_double)
        elif not in_double and (ansi := _ANSI.match(text, at, end)):
            self.pos = ansi.end()
        elif not in_double and text.startswith('$"', at):
            self.pos += 1
            self._double(end)
        else:
            name = _NAME.match(text, at)
            if name:
                self._use(name.group(1), at)
            self.pos = name.end() if name else at + 1

    def _braces(self, end: int, *, in_double: bool) -> None:
        while self.pos < end and self.text[self.pos] != "}":
            c = self.text[self.pos]
            if c == "\\":
                self.pos += 2
            elif c in "`$" or (c == '"') or (c == "'" and not in_double):
                self._quoted_or_expanded(end) if c in "'\"" else self._quoted_or_expanded(end, in_double=in_double)
            else:
                self.pos += 1
        self.found.whole &= self.pos < end
        self.pos += 1

    def _balanced(self, end: int, closer: str) -> None:
        """Read arithmetic or a pattern to the parenthesis that closes it."""
        depth = 0
        while self.pos < end:
            c = self.text[self.pos]
            if depth == 0 and self.text.startswith(closer, self.pos):
                self.pos += len(closer)
                return
            if c in "'\"`$":
                self._quoted_or_expanded(end)
                continue
            depth += {"(": 1, ")": -1}.get(c, 0)
            self.pos += 2 if c == "\\" else 1
        self.found.whole = False

    def _array(self, end: int) -> None:
        while self.pos < end:
            self._skip(_GAP, end)
            if self.pos < end and self.text[self.pos] == "#":
                self._comment(end)
            elif self.text.startswith(")", self.pos):
                self.pos += 1
                return
            elif not self.word(end):
                self.pos += 1
        self.found.whole = False

    def _nested(self, end: int) -> None:
        self.program(end, closer=")", function=self._function, captured=True)

    def _skip(self, what: re.Pattern[str], end: int) -> None:
        gap = what.match(self.text, self.pos, end)
        self.pos = gap.end() if gap else self.pos

    def _comment(self, end: int) -> None:
        newline = self.text.find("\n", self.pos, end)
        self.pos = newline if newline >= 0 else end

    # commands

    def program(self, end: int, *, closer: str, function: str, captured: bool) -> None:
        """Read commands up to `end`, or up to the parenthesis that closes them."""
        self._depth += 1
        if self._depth > _DEEP:
            raise RecursionError
        outer = self._function
        _Program(self, end, closer, function, captured).read()
        self._function = outer
        self._depth -= 1

    def heredocs(self, end: int) -> None:
        """Read the here-documents whose body begins at this line."""
        for delimiter, strip, quoted in self._heredocs:
            while self.pos < end:
                newline = self.text.find("\n", self.pos, end)
                stop = newline if newline >= 0 else end
                row = self.text[self.pos : stop]
                if (row.lstrip("\t") if strip else row) == delimiter:
                    self.pos = min(stop + 1, end)
                    break
                if quoted:
                    self.pos = stop + 1
                    continue
                while self.pos < stop:
                    if self.text[self.pos] in "`$":
                        self._quoted_or_expanded(end, in_double=True)
                    else:
                        self.pos += 2 if self.text[self.pos] == "\\" else 1
                if self.pos == stop:
                    self.pos += 1
                else:
                    # a substitution of several lines: go on where it ends
                    newline = self.text.rfind("\n", 0, self.pos)
                    self.pos = self.pos if newline == self.pos - 1 else self._line_end(end)
            else:
                self.found.whole = False
                self.pos = end
        self._heredocs.clear()

    def _line_end(self, end: int) -> int:
        newline = self.text.find("\n", self.pos, end)
        return newline + 1 if newline >= 0 else end

    def heredoc(self, word: str, *, strip: bool) -> None:
        """Note a here-document that begins on the next line."""
        plain = re.sub(r"['\"\\]", "", word)
        self._heredocs.append((plain, strip, plain != word))

    def enter(self, function: str) -> None:
        """Tell in whose body what follows is."""
        self._function = function


class _Program:
    """A run of commands on one level: a script, a substitution."""

    def __init__(self, reader: _Reader, end: int, closer: str, function: str, captured: bool) -> None:
        self.reader, self.end, self.closer, self.function, self.captured = reader, end, closer, function, captured
        self.open: list[_Open] = []
        self.now = _Pending()
        self.ready = True
        self.piped = False
        self.defining = ""
        self.closed: int | None = None

    def read(self) -> None:
        reader, end = self.reader, self.end
        while reader.pos < end:
            reader._skip(_BLANK, end)
            if reader.pos >= end:
                break
            c = reader.text[reader.pos]
            if c == "#":
                reader._comment(end)
            elif c == "\n":
                self._flush(keep_pipe=not self.now.words)
                reader.pos += 1
                reader.heredocs(end)
            elif self.ready and self.open and self.open[-1].pattern:
                self._pattern()
            elif reader.text.startswith(("<", ">", "&>"), reader.pos) and not reader.text.startswith(("<(", ">("), reader.pos):
                self._redirect("")
            elif c in ";&|":
                self._separator(c)
            elif c == "(":
                self._parenthesis()
            elif c == ")":
                if self._closes():
                    return
            else:
                self._word()
        self._flush()
        reader.found.whole &= not self.open and not self.closer

    def _flush(self, *, keep_pipe: bool = False) -> None:
        now = self.now
        if now.words or now.assigned:
            words = tuple(now.words)
            place = (self.reader.line(now.at), self.reader._function, now.fed, now.sent, self.captured, now.errors)
            self.reader.found.commands.append(Command(words, tuple(now.assigned), *place))
        elif now.fed and self.closed is not None:
            # a loop or group whose input is redirected after its end
            commands = self.reader.found.commands
            commands[self.closed :] = [replace(command, fed=True) for command in commands[self.closed :]]
        self.closed = None
        self.now = _Pending()
        self.ready = True
        self.piped = self.piped and keep_pipe

    def _separator(self, c: str) -> None:
        text, reader = self.reader.text, self.reader
        double = text.startswith((";;", ";&"), reader.pos)
        self.now.sent |= c == "|" and not text.startswith("||", reader.pos)
        self._flush()
        if double:
            reader.pos += 3 if text.startswith(";;&", reader.pos) else 2
            if self.open and self.open[-1].closer == "esac":
                self.open[-1].pattern = True
            return
        length = 2 if text[reader.pos : reader.pos + 2] in ("&&", "||", "|&") else 1
        self.piped = c == "|" and text[reader.pos : reader.pos + 2] != "||"
        reader.pos += length

    def _redirect(self, descriptor: str) -> None:
        reader = self.reader
        match = _REDIRECT.match(reader.text, reader.pos, self.end)
        kind = match.group() if match else ">"
        reader.pos = match.end() if match else reader.pos + 1
        reader._skip(_BLANK, self.end)
        target = reader.word(self.end)
        if kind in ("<<", "<<-"):
            reader.heredoc(target, strip=kind == "<<-")
        if kind.startswith("<"):
            self.now.fed |= descriptor in ("", "0")
        elif descriptor in ("", "1"):
            self.now.sent = True
            self.now.errors |= target in ("&2", "2", "/dev/stderr") and kind in (">&", ">", ">>")

    def _parenthesis(self) -> None:
        reader = self.reader
        if not self.ready:
            reader.found.whole = False
            reader.pos += 1
        elif reader.text.startswith("((", reader.pos) and not self.defining:
            reader.pos += 2
            reader._balanced(self.end, "))")
            self.ready = False
        else:
            reader.pos += 1
            self._push(")")

    def _push(self, closer: str) -> None:
        self.open.append(_Open(closer, self.defining, self.piped, start=len(self.reader.found.commands)))
        self.defining, self.piped = "", False
        self._enter()

    def _enter(self) -> None:
        self.reader.enter(next((one.function for one in reversed(self.open) if one.function), self.function))

    def _pop(self, closer: str) -> None:
        if self.open and self.open[-1].closer == closer:
            self.closed = self.open.pop().start
            self._enter()
        else:
            self.reader.found.whole = False
        self.ready = False

    def _closes(self) -> bool:
        """Handle a closing parenthesis; tell whether it ends this level."""
        self._flush()
        self.reader.pos += 1
        if not self.open and self.closer:
            self.closer = ""
            return True
        self._pop(")")
        return False

    def _pattern(self) -> None:
        reader = self.reader
        if reader.text.startswith("(", reader.pos):
            reader.pos += 1
            reader._skip(_BLANK, self.end)
        first = reader.word(self.end)
        if first == "esac":
            self._pop("esac")
            return
        while reader.pos < self.end and not reader.text.startswith(")", reader.pos):
            reader._skip(_GAP, self.end)
            if not reader.word(self.end) and not reader.text.startswith(")", reader.pos):
                reader.pos += 1
        reader.pos += 1
        self.open[-1].pattern = False

    def _word(self) -> None:
        reader, at = self.reader, self.reader.pos
        raw = reader.word(self.end)
        if not raw:
            reader.found.whole = False
            reader.pos += 1
        elif raw.isdigit() and reader.text[reader.pos : reader.pos + 1] in ("<", ">"):
            self._redirect(raw)
        elif not self.ready:
            self.now.words.append(raw)
        elif not self.now.words and _ASSIGNED.match(raw):
            self._begin(at)
            self.now.assigned.append(raw)
        else:
            self._first(raw, at)

    def _begin(self, at: int) -> None:
        if not self.now.assigned:
            self.now.at = at
        self.now.fed |= self.piped or any(one.fed for one in self.open)

    def _first(self, raw: str, at: int) -> None:
        reader = self.reader
        if raw in _GOES_ON:
            return
        if raw == "{":
            self._push("}")
        elif raw == "}":
            self._pop("}")
        elif raw == "esac":
            self._pop("esac")
        elif raw == "done":
            self._pop("done")
        elif raw == "fi":
            self.ready = False
        elif raw == "function":
            reader._skip(_BLANK, self.end)
            self._define(reader.word(self.end), at)
        elif raw == "[[":
            self._test()
        elif raw in _LOOPS:
            self._push("done")
            if raw in ("for", "select"):
                self._for()
        elif raw == "case":
            self._case()
        elif _PARENTHESES.match(reader.text, reader.pos):
            self._define(raw, at)
        else:
            self._begin(at)
            if not self.now.assigned:
                self.now.at = at
            self.now.words.append(raw)
            self.ready = False

    def _define(self, name: str, at: int) -> None:
        self.reader._skip(_PARENTHESES, self.end)
        self.defining = name
        self.reader.found.functions.setdefault(name, self.reader.line(at))

    def _for(self) -> None:
        reader = self.reader
        reader._skip(_BLANK, self.end)
        if reader.text.startswith("((", reader.pos):
            reader.pos += 2
            reader._balanced(self.end, "))")
            return
        while reader.pos < self.end and reader.text[reader.pos] not in "\n;":
            reader._skip(_BLANK, self.end)
            if reader.pos < self.end and reader.text[reader.pos] not in "\n;" and not reader.word(self.end):
                reader.pos += 1

    def _case(self) -> None:
        reader = self.reader
        reader._skip(_BLANK, self.end)
        reader.word(self.end)
        reader._skip(_GAP, self.end)
        reader.found.whole &= reader.word(self.end) == "in"
        self.open.append(_Open("esac", "", self.piped, pattern=True, start=len(reader.found.commands)))

    def _test(self) -> None:
        reader = self.reader
        while reader.pos < self.end:
            reader._skip(_GAP, self.end)
            word = reader.word(self.end)
            if word == "]]":
                self.ready = False
                return
            if not word:
                reader.pos += 1
        reader.found.whole = False
