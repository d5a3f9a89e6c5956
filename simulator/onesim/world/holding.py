"""What waits in the agent: commands held at their gates until the harness lets them go, and commands that are made slow. Standard library only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onesim.world.calls import Call

#: How many times its own bound of processes a call may see in the world when others run beside it: the kernel counts all of one user.
CROWD = 16


class Holding:
    """Holds commands. `on` = every gated command of a call is held."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self.on = False
        self._send = send
        self._held: dict[int, tuple[Call, int, Callable[[], None]]] = {}
        self._next = 0
        self._slow: list[tuple[float, int, Callable[[], None]]] = []

    def hold(self, call: Call, pid: int, command: str, go: Callable[[], None]) -> None:
        """Tell the harness of a command and keep it; the time it stands there does not count against the call."""
        number, self._next = self._next, self._next + 1
        self._held[number] = call, pid, go
        call.stops()
        self._send({"held": number, "call": call.id, "command": command, "ordinal": call.counts[command]})

    def release(self, number: int) -> None:
        """Let a command go on, if its process still lives."""
        if number in self._held:
            call, pid, go = self._held.pop(number)
            call.goes_on()
            if os.path.exists(f"/proc/{pid}"):
                go()

    def release_all(self) -> None:
        """Hold nothing any more."""
        self.on = False
        for number in list(self._held):
            self.release(number)

    def later(self, after_s: float, pid: int, go: Callable[[], None]) -> None:
        """Let a command go on after a time."""
        self._slow.append((time.monotonic() + after_s, pid, go))

    def due(self) -> None:
        """Let those go whose time is over."""
        now = time.monotonic()
        over = [one for one in self._slow if one[0] <= now]
        self._slow = [one for one in self._slow if one[0] > now]
        for _, pid, go in over:
            if os.path.exists(f"/proc/{pid}"):
                go()

    def patience_s(self, most: float) -> float:
        """Return how long the loop may wait for something to happen, in seconds."""
        return max(min([most, *(at - time.monotonic() for at, _, _ in self._slow)]), 0)
