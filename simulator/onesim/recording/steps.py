"""The steps of a trace as they are told, at their times, and what is left out of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

Step = dict[str, Any]
#: The size of every disk, in MiB: a trace is about what is done, not about how much.
SIZE_MB = 2


class Steps:
    """What is told so far. `rows` are times, in seconds, with a number and the step; `left_out` counts what is not told, by its kind."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, int, Step]] = []
        self.left_out: Counter[str] = Counter()
        self._named = 0

    def say(self, at_s: float, op: str, ok: bool = True, **arguments: Any) -> Step:
        """Tell an operation, and return its step. Arguments that are None are not said."""
        step: Step = {"op": op, **{name: value for name, value in arguments.items() if value is not None}}
        if not ok:
            step["expect"] = "any"
        self.rows.append((at_s, len(self.rows), step))
        return step

    def label(self, what: str) -> str:
        """Return a name that nothing has yet."""
        self._named += 1
        return f"{what}{self._named}"

    def in_order(self) -> list[Step]:
        """Return the steps in the order of their times, with their disks in the order of their ids."""
        return [_plain(step) for _, _, step in sorted(self.rows, key=lambda one: one[:2])]


def _plain(step: Step) -> Step:
    disks = step.get("disks")
    return {**step, "disks": [disks[id] for id in sorted(disks)]} if isinstance(disks, dict) else dict(step)
