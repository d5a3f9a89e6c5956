"""Which lines of bash scripts the commands of a call have run: told by bash itself into a file of the call, read here. Part of the agent; standard library only.

Every bash that starts with BASH_ENV pointing to the tracer writes its place before each command to a descriptor of its own, far above those that scripts use.
The files lie on a file system of their own, so that what drivers see of free space is not touched. What is read are places and the names of commands; what
the commands were expanded to stays in the world.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

#: Where the files lie: for the agent, and in the view of each host. Each is named after the call, the host and the process.
HERE, SEEN = "/lines", "/run/onetck/lines"
TRACER = f"{SEEN}/tracer"
#: Of a loud call so many bytes are read, then no more than the end of each file.
_READ_BYTES, _END_BYTES = 4 << 20, 1 << 16
#: A file larger than this is read and emptied while the call goes on.
_TRIM_BYTES = 1 << 20
#: Commands that report a failure or clean up after it, and those that look at things. No other names leave the world: they could be anything.
REPORTING = frozenset(
    {"exit", "return", "echo", "printf", "cat", "logger", "local", "declare", "export", "set", "trap", "shift"}
    | {":", "true", "rm", "rmdir", "kill", "wait", "popd", "cd", "exec", "unset"}
)
TESTING = frozenset({"[", "[[", "test", "((", "case", "date", "basename"})
OTHER, ASSIGNED = "*", "="
_TAIL = 64
_TAIL_OF_SUCCESS = 12
_PLACE = re.compile(rb"^\++\x01([^\x01\n]*)\x01(\d+)\x01([\d ]*)\x01([^\x01\n]*)\x01(\d+)\x01 ?((?:[\w./\[\]:-]|\(\(){0,40}\+?=?)", re.MULTILINE)


@dataclass
class Trail:
    """What was read of a call. `tail` are the last commands of the script itself, `last` is the last place of each process, by host and process."""

    ran: dict[bytes, set[bytes]] = field(default_factory=dict)
    sent: dict[str, set[int]] = field(default_factory=dict)
    firsts: dict[tuple[str, bytes], int] = field(default_factory=dict)
    tail: deque[tuple[bytes, ...]] = field(default_factory=lambda: deque(maxlen=_TAIL))
    last: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)
    bytes_read: int = 0

    def take(self, process: str, data: bytes, *, leads: bool, at_ns: int) -> None:
        """Take what a process (host.id) has written until `at_ns`; of what exceeds the bound no more than the end. `leads` = it is the script's own."""
        room = max(_READ_BYTES - self.bytes_read, 0)
        self.bytes_read += len(data)
        for piece in [data] if len(data) <= room else [data[:room], data[room:][-_END_BYTES:]]:
            rows = _PLACE.findall(piece)
            told = None
            for source, line, _, function, _, _ in rows:
                if b"/" in source:
                    self.ran.setdefault(source, set()).add(line)
                elif function and not self._trapped(process, function, int(line)):
                    self._sent(process, function, int(line))
                else:
                    continue
                told = source, int(line), function
            if leads:
                self.tail.extend(rows[-_TAIL:])
            host = process.rpartition(".")[0]
            if told is not None and at_ns >= self.last.get(host, (0, []))[0]:
                source, number, function = told
                place = [_text(source), number] if b"/" in source else [_text(function), self._sent(process, function, number)]
                self.last[host] = at_ns, place

    def _trapped(self, process: str, function: bytes, line: int) -> bool:
        """Whether a command of a function that a process was sent is a trap's: bash gives it the first line of all."""
        return line < self.firsts.get((process, function), line)

    def _sent(self, process: str, function: bytes, line: int) -> int:
        """Note a line of a function that a process was sent. Returns how far it is below the first one."""
        offset = line - self.firsts.setdefault((process, function), line)
        self.sent.setdefault(_text(function), set()).add(offset)
        return offset

    def told(self, *, success: bool) -> dict[str, Any]:
        """Return it as it travels to the harness."""
        return {
            "ran": {_text(source): sorted(map(int, lines)) for source, lines in self.ran.items()},
            "sent": {function: sorted(offsets) for function, offsets in self.sent.items()},
            "last": [[host, *place] for host, (_, place) in self.last.items()],
            "tail": [_row(*row) for row in list(self.tail)[-_TAIL_OF_SUCCESS if success else -_TAIL :]],
        }


def _row(source: bytes, line: bytes, calls: bytes, function: bytes, status: bytes, word: bytes) -> list[Any]:
    name = word.decode(errors="replace")
    known = ASSIGNED if name.endswith("=") else name if name in REPORTING or name in TESTING or not name else OTHER
    return [_text(source), int(line), [int(one) for one in calls.split()], _text(function), int(status), known]


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


class Lines:
    """The files of the calls. Without a tracer nothing is traced."""

    def __init__(self, tracer: bytes, left_alone: Iterable[str], here: str = HERE) -> None:
        self.on, self.here = bool(tracer), here
        self.left_alone = tuple(f"/{file}" for file in left_alone)
        self._trails: dict[str, Trail] = {}
        if self.on:
            with open(f"{here}/tracer", "wb") as file:
                file.write(tracer)

    def environment(self, call: str, script: str, given: dict[str, str]) -> dict[str, str]:
        """Return what a script finds in its environment besides `given`; nothing if it is left alone, or where BASH_ENV is somebody else's."""
        if not self.on or "BASH_ENV" in given or os.path.normpath(script).endswith(self.left_alone):
            return {}
        self._trails[call] = Trail()
        return {"BASH_ENV": TRACER}

    def follow(self, call: str) -> None:
        """Expect lines of a call that began on another machine."""
        if self.on:
            self._trails[call] = Trail()

    def inherited(self, pid: int) -> dict[str, str]:
        """Return what a command that comes by ssh finds in its environment, if its client is traced."""
        if self.on:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                if f"BASH_ENV={TRACER}".encode() in file.read().split(b"\0"):
                    return {"BASH_ENV": TRACER}
        return {}

    def trim(self, call: str, leader: int) -> None:
        """Read and empty the files of a call under way that have grown large."""
        if call in self._trails:
            for name in self._files(call):
                with contextlib.suppress(OSError):
                    if os.stat(f"{self.here}/{name}").st_size > _TRIM_BYTES:
                        self._read(call, name, leader)
                        os.truncate(f"{self.here}/{name}", 0)

    def told(self, call: str, leader: int, *, success: bool) -> dict[str, Any] | None:
        """Return what a call that has ended has run, and remove its files. None if it was not traced."""
        if call not in self._trails:
            return None
        for name in self._files(call):
            with contextlib.suppress(OSError):
                self._read(call, name, leader)
                os.unlink(f"{self.here}/{name}")
        return self._trails.pop(call).told(success=success)

    def _read(self, call: str, name: str, leader: int) -> None:
        process = name.partition(".")[2]
        with open(f"{self.here}/{name}", "rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            self._trails[call].take(process, file.read(), leads=process.rpartition(".")[2] == str(leader), at_ns=written)

    def _files(self, call: str) -> list[str]:
        start = call.rpartition("/")[2] + "."
        return [name for name in os.listdir(self.here) if name.startswith(start)]
