"""A simulated oned whose calls are answered by hand: asked, outstanding, answered. What it does is kept for the comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Output, Refused
from onesim.oned import Oned

#: How a call ended: exit status 0, standard output.
Answer = tuple[bool, str]


@dataclass
class Play:
    """An oned, its outstanding calls in the order in which it asked, and what was seen since the last `forget`."""

    oned: Oned
    outstanding: list[CallAsked] = field(default_factory=list)
    changes: list[Changed] = field(default_factory=list)
    refused: str = ""

    def ask(self, op: str, arguments: Mapping[str, object]) -> str:
        """Ask an operation. Returns why oned refuses it; empty if it does not."""
        self.refused = ""
        self._take(self.oned.feed(OperationAsked(0, op, dict(arguments))))
        return self.refused

    def answer(self, call: CallAsked, answer: Answer) -> None:
        """Finish an outstanding call."""
        self.outstanding.remove(call)
        self._take(self.oned.feed(CallFinished(call.call, answer[0], answer[1], "" if answer[0] else "recorded fault")))

    def settle(self, answers: Callable[[CallAsked], Answer]) -> None:
        """Answer all outstanding calls, and those that follow."""
        while self.outstanding:
            self.answer(self.outstanding[0], answers(self.outstanding[0]))

    def forget(self) -> None:
        """Forget the changes seen so far."""
        self.changes.clear()

    def _take(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case CallAsked():
                    self.outstanding.append(output)
                case Changed():
                    self.changes.append(output)
                case Refused(reason):
                    self.refused = reason
                case _:
                    pass
