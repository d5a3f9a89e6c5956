"""A call under way inside the agent: its processes, its bounds, what it printed. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_TICKS_S = os.sysconf("SC_CLK_TCK")
_PASSES = 20
DATAGRAMS_MAX = 1000
#: Below it every service has a directory of its own; it is not watched: what daemons write there is nobody's doing.
SERVICES = "/run/one"


@dataclass
class Call:
    """One run command. `sessions` are the sessions that belong to it: the script's own and those of its ssh commands.

    At commands that it `asks` about it is the harness that counts and says what is done: they may be run on any of several machines.
    """

    request: int
    id: str
    host: str
    limits: dict[str, float]
    faults: list[dict[str, object]]
    leader: int = 0
    sessions: set[int] = field(default_factory=set)
    began_ns: int = field(default_factory=time.monotonic_ns)
    streams: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    seen: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    open_streams: dict[str, int] = field(default_factory=dict)
    commands: list[dict[str, object]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    datagrams: list[bytes] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    stdin: int = -1
    stdin_left: int = 0
    ended_by: str = ""
    status: int | None = None
    ended_ns: int = 0
    killed_at: float = 0.0
    alone: bool = True
    asks: frozenset[str] = frozenset()
    held: int = 0
    held_since_ns: int = 0
    held_ns: int = 0

    def stops(self) -> None:
        """A command of it is held: from the first on, its time does not count."""
        self.held += 1
        if self.held == 1:
            self.held_since_ns = time.monotonic_ns()

    def goes_on(self) -> None:
        """A held command of it goes on."""
        self.held -= 1
        if not self.held:
            self.held_ns += time.monotonic_ns() - self.held_since_ns

    def elapsed_ns(self, now_ns: int) -> int:
        """Return how long it has run until `now_ns`, without the time in which it was held."""
        waiting = now_ns - self.held_since_ns if self.held else 0
        return now_ns - self.began_ns - self.held_ns - waiting

    def ends_within(self, seconds: float) -> None:
        """Its time is up after so many seconds more, if it is not up before."""
        self.limits["time_s"] = min(self.limits["time_s"], self.elapsed_ns(time.monotonic_ns()) / 1e9 + seconds)

    def take(self, stream: str, data: bytes) -> bool:
        """Keep output up to the limit. Returns whether the limit is passed."""
        self.seen[stream] += len(data)
        room = int(self.limits["output_bytes"]) - len(self.streams[stream])
        if room > 0:
            self.streams[stream] += data[:room]
        return self.seen[stream] > self.limits["output_bytes"]


def processes() -> list[int]:
    """Return the ids of all processes of the world but the agent."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _environment_id(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                if entry.startswith(b"ONETCK_CALL="):
                    return entry[12:].decode(errors="replace")
    except OSError:
        pass
    return ""


#: Tells the processes that belong to no call, such as those of services.
Spared = Callable[[], Collection[int]]


def members(call: Call, alone: bool, spared: Spared) -> list[int]:
    """Return the living processes of a call; `alone` = no other call was under way while it ran, so that every process is its but those `spared`."""
    found = []
    others = spared()
    for pid in processes():
        if pid in others:
            continue
        row = _stat(pid)
        if not row or row[0] in "ZX":
            continue
        if alone or int(row[3]) in call.sessions or _environment_id(pid) == call.id:
            found.append(pid)
    return found


def session(leader: int) -> list[int]:
    """Return the processes of a session."""
    return [pid for pid in processes() if (row := _stat(pid)) and int(row[3]) == leader]


def owner(pid: int, running: dict[str, Call], *, certain: bool = False) -> Call | None:
    """Return the call that a process belongs to: by its session, those above it, or its environment; unless `certain`, else the only one that runs."""
    at, steps = pid, 0
    while at > 1 and steps < 64:
        row = _stat(at)
        if not row:
            break
        for call in running.values():
            if int(row[3]) in call.sessions:
                return call
        at, steps = int(row[1]), steps + 1
    return running.get(_environment_id(pid)) or (next(iter(running.values())) if len(running) == 1 and not certain else None)


def orphan(parent: int, since_s: float, known: Collection[int]) -> int:
    """Return the process that leads a session, was started after a moment of the machine's boot time by a process that is gone, and is not known; or 0."""
    for pid in processes():
        row = _stat(pid)
        if row and int(row[1]) in (1, parent) and int(row[3]) == pid and int(row[19]) >= int(since_s * _TICKS_S) and pid not in known:
            return pid
    return 0


def usage(call: Call, alone: bool, spared: Spared) -> tuple[int, float]:
    """Return how many processes a call has and how many MiB are resident in them."""
    count, resident = 0, 0.0
    for pid in members(call, alone, spared):
        count += 1
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm") as file:
            words = file.read().split()
            resident += (int(words[1]) - int(words[2])) * _PAGE_MB
    return count, resident


def kill(call: Call, alone: bool, spared: Spared) -> bool:
    """Kill every process of a call. Returns False if that took killing everything in the world."""
    for _ in range(_PASSES):
        pids = members(call, alone, spared)
        if not pids:
            return True
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)  # atomic against fork: process 1 itself is spared
    return False


def end_strays(running: dict[str, Call], sessions: Collection[int], spared: Spared) -> list[str]:
    """Kill the processes that belong to no call under way, to none of those `sessions`, and are not `spared`; return their command lines."""
    others = spared()
    left = [pid for pid in processes() if pid not in others and (row := _stat(pid)) and row[0] not in "ZX" and int(row[3]) not in sessions]
    strays = [pid for pid in left if owner(pid, running, certain=True) is None]
    lines = [line for line in (command_line(pid) for pid in strays[:20]) if line]
    for pid in strays:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return lines


def command_line(pid: int) -> str:
    """Return the command line of a process."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(300).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
