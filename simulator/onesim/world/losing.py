"""Worlds whose hosts have SSH servers of their own, harness side: a host is lost, and comes back, by what the backend does to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from onesim.world.control import Control
from onesim.world.interface import Question, Reply, Run
from onesim.world.served import AgentWorld


class LosingWorld(AgentWorld):
    """A world whose agent asks for a host to be lost when a fault says so."""

    def __init__(self, control: Control, on_question: Callable[[Question], Reply | None]) -> None:
        super().__init__(control, None, on_question)
        self._lost: list[str] = []

    @abstractmethod
    def cut_off(self, host: str) -> None:
        """Let a host be reached no more."""

    @abstractmethod
    def rejoin(self, host: str) -> None:
        """Let it be reached again."""

    def _ask(self, message: dict[str, Any]) -> None:
        """Answer a question; one of the agent itself is that a host be lost."""
        if message["kind"] != "host":
            super()._ask(message)
            return
        host = message["argv"][1]
        self.cut_off(host)
        self._lost.append(host)
        self.answer(message["question"], _Done())

    def _seen(self, answer: dict[str, Any]) -> Run:
        """Hosts that were lost in a call are there again when it has ended."""
        while self._lost:
            self.rejoin(self._lost.pop())
        return super()._seen(answer)


class _Done:
    stdout = stderr = b""
    status = 0
