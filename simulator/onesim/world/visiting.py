"""Calls that began on another machine, as an agent sees them whose hosts they reach by ssh. Part of the agent; standard library only."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from onesim.world.calls import Call

if TYPE_CHECKING:
    from onesim.world.agent import Agent


class Visiting:
    """The calls that may come here. `do_*` are requests of the harness."""

    VERBS = frozenset({"visit", "leave"})

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def do_visit(self, message: dict[str, Any]) -> dict[str, Any]:
        """A call begins elsewhere. What it starts here is of it; its time is watched where it began."""
        agent = self.agent
        call = Call(message["id"], message["call"], "", {**message["limits"], "time_s": math.inf}, message["faults"])
        call.asks = frozenset(message["asks"])
        if agent.running:
            for one in (call, *agent.running.values()):
                one.alone = False
        agent.running[call.id] = call
        agent.lines.follow(call.id)
        return {}

    def do_leave(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """It has ended there, in the way that `ended_by` tells. The reply follows when what it has left here has ended too."""
        call = self.agent.running.get(message["call"])
        if call is None:
            return {"ended_by": "world_lost", "broken": self.agent.broken}
        call.request, call.status, call.ended_ns = message["id"], 0, time.monotonic_ns()
        call.ended_by = call.ended_by or ("" if message["ended_by"] == "exit" else message["ended_by"])
        self.agent.finish(call)
        return None
