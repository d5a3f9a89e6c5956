"""A tape: what a storage array was asked and what it answered, and answering from it.

A tape is JSON lines, one exchange each. On replay a request is met by an exchange that is the same but for names (`one-12-3`, UUIDs, times), which have to
correspond: a name of the tape always stands for the same name here, and answers are rewritten accordingly. Of several exchanges the one is taken before which
the same changes were made to the objects that the request names. What is not on the tape is refused, and said.
"""

from __future__ import annotations

import base64
import fcntl
import json
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: Names that differ from one run to the next. The option --names adds to them.
NAMES = (
    r"\bone-\d+(?:-\d+)*\b",
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
)
#: Words of a command line by which it only looks; of HTTP, GET and HEAD do. The option --reads replaces them.
READS = r"\b(show|list|get|info|status|query|ls|df|stat|version|help|--version|--help)\b"


def text_of(data: bytes) -> dict[str, str]:
    """Return bytes as JSON can hold them."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def bytes_of(held: dict[str, str]) -> bytes:
    """Return the bytes that `text_of` has made JSON of."""
    return held["text"].encode() if "text" in held else base64.b64decode(held["base64"])


class TapeError(Exception):
    """A tape that cannot be read, or a line of it that is no exchange."""


class Rules:
    """What counts as a name, and what only looks."""

    def __init__(self, names: Iterable[str] = (), reads: str = READS) -> None:
        self.name = re.compile("|".join(f"(?:{one})" for one in (*names, *NAMES)))
        self.read = re.compile(reads)

    def split(self, request: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what stands around the names of a request, and the names."""
        around, names, at = [], [], 0
        for found in self.name.finditer(request):
            around.append(request[at : found.start()])
            names.append(found.group())
            at = found.end()
        return (*around, request[at:]), tuple(names)

    def looks(self, request: str) -> bool:
        """Whether a request changes nothing."""
        method = request.partition(" ")[0]
        return method in ("GET", "HEAD") if method.isupper() and " /" in request else bool(self.read.search(request))


class Tape:
    """A recording, and what was done of it so far: `done` are the numbers of exchanges that changed something, `bound` what names of the tape stand for here."""

    def __init__(self, path: str, rules: Rules) -> None:
        self.rules = rules
        self.exchanges: list[tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = []
        for number, line in enumerate(Path(path).read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                self.exchanges.append((*rules.split(row["request"]), row))
            except (ValueError, KeyError, TypeError):
                raise TapeError(f"{path}:{number}: no exchange; record the tape again") from None
        self.done: list[int] = []
        self.bound: dict[str, str] = {}
        self.used: list[int] = []

    def answer(self, request: str) -> dict[str, Any] | None:
        """Return the answer to a request; None if the tape has none for it in this state."""
        around, names = self.rules.split(request)
        met = [(n, bound) for n, one in enumerate(self.exchanges) if one[0] == around and (bound := self._binds(one[1], names)) is not None]
        exact = [(n, bound) for n, bound in met if self._state(self.done, self.exchanges[n][1]) == self._state(self._before(n), self.exchanges[n][1])]
        if not names and not exact:
            # it is about the whole array: what was answered after the most of what was done
            met = [(n, bound) for n, bound in met if self.rules.looks(request)]
            exact = sorted(met, key=lambda one: -len(set(self._before(one[0])) & set(self.done)))[:1]
        if not exact:
            return None
        n, bound = min(exact, key=lambda one: (self.used.count(one[0]), one[0]))
        self.bound |= bound
        self.used.append(n)
        if not self.rules.looks(request):
            self.done.append(n)
        return self._rewritten(self.exchanges[n][2])

    def _before(self, n: int) -> list[int]:
        """Return the changes that stand on the tape before an exchange."""
        return [one for one in range(n) if not self.rules.looks(self.exchanges[one][2]["request"])]

    def _state(self, done: Sequence[int], names: Sequence[str]) -> list[Any]:
        """Return the changes among those done that name one of these objects."""
        return [self.exchanges[n][0] for n in done if set(self.exchanges[n][1]) & set(names)] if names else list(done)

    def _binds(self, taped: Sequence[str], here: Sequence[str]) -> dict[str, str] | None:
        """Return what the names of an exchange stand for, if that goes with what they stood for before."""
        bound: dict[str, str] = {}
        for old, new in zip(taped, here, strict=True):
            if self.bound.get(old, bound.get(old, new)) != new:
                return None
            if old not in self.bound and new in {**self.bound, **bound}.values() and bound.get(old) != new:
                return None
            bound[old] = new
        return bound

    def _rewritten(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with the names of here; what the array itself has named keeps the name of the tape."""
        told = json.dumps(row["answer"])
        answer: dict[str, Any] = json.loads(self.rules.name.sub(lambda found: self.bound.get(found.group(), found.group()), told))
        return answer

    def known(self, request: str) -> list[str]:
        """Return requests on the tape that are alike, for who has to find out what is missing."""
        around, _ = self.rules.split(request)
        same = [one[2]["request"].splitlines()[0] for one in self.exchanges if one[0] == around]
        near = [one[2]["request"].splitlines()[0] for one in self.exchanges if one[0][0].split()[:2] == around[0].split()[:2]]
        return list(dict.fromkeys(same or near))[:3]


class Player:
    """Answers from a tape; what was done so far is kept in a file, so that the calls of a command line know of each other."""

    def __init__(self, tape: str, state: str, rules: Rules, misses: str | None) -> None:
        self.tape, self.state, self.rules, self.misses = tape, Path(state), rules, misses
        self.lock = threading.Lock()

    def answer(self, request: str) -> tuple[dict[str, Any] | None, str]:
        """Return the answer, or why there is none."""
        with self.lock, self.state.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            tape = Tape(self.tape, self.rules)
            file.seek(0)
            kept = file.read()
            if kept:
                tape.done, tape.bound, tape.used = json.loads(kept)
            found = tape.answer(request)
            if found is not None:
                file.truncate(0)
                file.write(json.dumps([tape.done, tape.bound, tape.used]))
                return found, ""
            after = [tape.exchanges[n][2]["request"].splitlines()[0] for n in tape.done[-3:]]
        first = request.splitlines()[0]
        known = " | ".join(tape.known(request)) or "nothing like it"
        why = f"array-kit: {self.tape} has no answer to `{first}` after {' | '.join(after) or 'nothing'}; on the tape: {known}"
        if self.misses:
            with Path(self.misses).open("a") as file:
                file.write(why + "\n")
        return None, why


def append(tape: str, row: dict[str, Any]) -> None:
    """Add an exchange to a tape."""
    with Path(tape).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row) + "\n")
