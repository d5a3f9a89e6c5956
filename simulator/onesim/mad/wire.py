"""The lines between oned and a driver program (MAD), both ways. Pure; standard library only.

What a program prints is never an exception: what cannot be read is `Unreadable`, a value with its reason. Text that is no UTF-8 is kept by surrogates, so that
it compares and travels unchanged.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Longest line that is kept, in bytes: more than any document, and a bound on what a program that prints without end can take.
LINE_MAX = 16 << 20
_WORD = re.compile(r"[A-Z][A-Z_]*")
# what operator>> takes for a number: it reads on to the first character that is none
_NUMBER = re.compile(r"[+-]?\d+")
# what Ruby and C++ part words at; str.split() knows more blanks
_WORDS = re.compile(r"[^ \t\r\n\f\v]+")
_ANSWER = re.compile(r"[ \t]*(\S+)[ \t]+(\S+)(?:[ \t]+(\S+))?(?:[ \t]+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """oned asks: the action in capitals, the number that the answer repeats, and what the action takes."""

    action: str
    id: int = -1
    payload: str = ""


@dataclass(frozen=True)
class Answer:
    """A program answers a request. `info` is what follows the number, `-` for nothing; `id` is -1 where the program gives a dash."""

    action: str
    success: bool
    id: int
    info: str


@dataclass(frozen=True)
class Log:
    """A program logs a line: severity E, I, D or W, and the number of the object, -1 for none."""

    severity: str
    id: int
    text: str


@dataclass(frozen=True)
class Unreadable:
    """A line that says nothing in the protocol, and why."""

    line: str
    why: str


@dataclass
class Lines:
    """Cuts a stream of bytes into lines. What exceeds `LINE_MAX` comes out as one line that is too long, and the rest of it is dropped."""

    buffer: bytearray = field(default_factory=bytearray)
    dropping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived and return the whole lines, without their newline."""
        self.buffer += data
        *whole, rest = bytes(self.buffer).split(b"\n")
        if self.dropping and whole:
            whole, self.dropping = whole[1:], False
        if len(rest) > LINE_MAX or self.dropping:
            if not self.dropping:
                whole.append(rest)
            rest, self.dropping = b"", True
        self.buffer = bytearray(rest)
        return whole


def text(data: bytes) -> str:
    """Return bytes as text that can be turned back without loss."""
    return data.decode("utf-8", "surrogateescape")


def raw(words: str) -> bytes:
    """Return the bytes of a text."""
    return words.encode("utf-8", "surrogateescape")


def split(line: str) -> list[str]:
    """Return the words of a line."""
    return _WORDS.findall(line)


def write_request(request: Request, parts: Sequence[str]) -> bytes:
    """Return a request as oned writes it; `parts` is the row of `spec/mads.toml`. INIT and FINALIZE stand alone."""
    if request.action in ("INIT", "FINALIZE"):
        return raw(f"{request.action}\n")
    words = {"action": request.action, "status": "", "id": str(request.id), "payload": request.payload}
    return raw(" ".join(words[part] for part in parts) + "\n")


def read_request(line: str) -> Request | Unreadable:
    """Read a line of oned as the programs do: words parted by blanks, so that the empty status vanishes. Words after the number are the payload."""
    words = split(line)
    if not words:
        return Unreadable(line, "empty")
    action, rest = words[0].upper(), words[1:]
    if not rest:
        return Request(action)
    found = _NUMBER.match(rest[0])
    return Request(action, int(found.group()) if found else 0, " ".join(rest[1:]))


def write_answer(answer: Answer) -> bytes:
    """Return an answer as a program writes it. Text of several lines is written as it is: what follows the first newline reaches oned as lines of its own."""
    number = str(answer.id) if answer.id >= 0 else "-"
    return raw(f"{answer.action} {'SUCCESS' if answer.success else 'FAILURE'} {number} {answer.info}\n")


def write_log(log: Log) -> bytes:
    """Return a log line."""
    return raw(f"LOG {log.severity} {log.id} {log.text}\n")


def read_answer(line: str) -> Answer | Log | Unreadable:
    """Read a line of a program as oned does, but strictly: oned takes every status but SUCCESS for a failure, and drops what it does not know."""
    if len(line) > LINE_MAX:
        return Unreadable(line[:200], "too long")
    found = _ANSWER.fullmatch(line)
    if found is None or not _WORD.fullmatch(found[1]):
        return Unreadable(line, "no action in capitals and result")
    action, status, number, rest = found[1], found[2], found[3] or "", found[4] or ""
    if number == "-":
        id = -1
    elif re.fullmatch(_NUMBER, number):
        id = int(number)
    else:
        return Unreadable(line, "no number after the result")
    if action == "LOG":
        return Log(status, id, rest) if status in ("E", "I", "D", "W") else Unreadable(line, "no severity E, I, D or W after LOG")
    if status not in ("SUCCESS", "FAILURE"):
        return Unreadable(line, "neither SUCCESS nor FAILURE")
    return Answer(action, status == "SUCCESS", id, rest)


def encoded(info: str) -> str:
    """Return text as the answers of `encodes` carry it: base64 on one line."""
    return base64.b64encode(raw(info)).decode()
