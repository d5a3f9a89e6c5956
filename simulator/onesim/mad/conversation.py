"""What oned and one driver program say to each other: which requests are open, and what is wrong with what the program says. Pure; standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from onesim.mad.wire import Answer, Lines, Log, Request, Unreadable, read_answer, text, write_request


@dataclass(frozen=True)
class Wrong:
    """A line that breaks the protocol: a fault of `spec/mads.toml`, and what was seen."""

    fault: str
    detail: str


@dataclass(frozen=True)
class Said:
    """A line of the program, as it stands and as it is read. None: what a driver printed beyond its first line, which is passed on as it is."""

    line: str
    meaning: Answer | Log | Wrong | None


class Conversation:
    """One side of the conversation: oned's. `parts` is the form of its lines."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.requests = 0
        self._parts = parts
        self._lines = Lines()
        self._open: Counter[tuple[str, int]] = Counter()
        self._cancelled: set[tuple[str, int]] = set()
        self._echoes: Counter[str] = Counter()

    def ask(self, request: Request) -> bytes:
        """Return the line of a request that is to be answered."""
        self._open[request.action, request.id] += 1
        self._cancelled.discard((request.action, request.id))
        self.requests += 1
        return write_request(request, self._parts)

    def cancel(self, request: Request) -> bytes:
        """Return the line that cancels a request: no answer is awaited any more; one that was on its way is let pass."""
        self._open[request.action, request.id] = 0
        self._cancelled.add((request.action, request.id))
        return write_request(Request("DRIVER_CANCEL", request.id), self._parts)

    def finish(self) -> bytes:
        """Return the line that ends the program."""
        return write_request(Request("FINALIZE"), self._parts)

    def expect(self, printed: str) -> None:
        """Tell what a driver has printed: its lines after the first come as lines of their own, and are no fault of the program."""
        self._echoes.update(line for line in printed.split("\n")[1:] if line)

    def hear(self, data: bytes) -> list[Said]:
        """Take what the program has printed and return its whole lines."""
        return [Said(line, self._meaning(line)) for line in map(text, self._lines.feed(data)) if line]

    def _meaning(self, line: str) -> Answer | Log | Wrong | None:
        if self._echoes[line] > 0:
            self._echoes[line] -= 1
            return None
        found = read_answer(line)
        if isinstance(found, Unreadable):
            return Wrong("line", f"{found.why}: {line[:200]!r}")
        if isinstance(found, Log):
            return found
        # of the answer to INIT oned reads two words
        key = (found.action, -1 if found.action == "INIT" else found.id)
        if self._open[key] > 0:
            self._open[key] -= 1
            return found
        if key in self._cancelled:
            self._cancelled.discard(key)
            return None
        return Wrong("answer", f"nothing that was asked is open for {line[:200]!r}")
