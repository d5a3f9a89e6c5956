"""Plays a trace on oned alone: with answers instead of drivers, in memory. So a plan knows the calls that a driver will get."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from onesim.datagrams import Message, encode
from onesim.events import CallAsked, CallFinished, DatagramReceived, OperationAsked, Output
from onesim.oned import Oned
from onesim.trace import Step, Trace

#: What a node's probe tells here.
_ROOM = "DS_LOCATION_TOTAL_MB = 1048576\nDS_LOCATION_FREE_MB = 1048575\nDS_LOCATION_USED_MB = 1\n"


def rehearse(
    oned: Oned, trace: Trace, answer: Callable[[CallAsked], CallFinished], comes: Callable[[int, Step], None] = lambda n, step: None
) -> Iterator[tuple[int, Output]]:
    """Yield what follows from a trace in order (calls, their outcomes, states, refusals), each with the number of the step that led to it.

    `answer` plays the driver.

    `comes` is told of each step before it is asked. Operations that are asked beside others are asked as early as they may.
    """
    failed: set[int] = set()
    last = -1
    for group in trace.groups():
        if group[0][1].after:
            if last not in failed:
                continue
        elif group[0][1].op.partition(".")[0] in oned.spec.spec.lifecycles:
            last = group[0][0]
        for n, step in group:
            comes(n, step)
            if step.op == "host.probe":
                host = oned.cloud.host_named(step.arguments["host"])
                oned.feed(DatagramReceived(encode(Message("SYSTEM_HOST", "SUCCESS", host.id if host else -1, 0, _ROOM))))
        pending = deque((n, step) for n, step in group if step.op.partition(".")[0] in oned.spec.spec.lifecycles)
        waiting: deque[tuple[int, Output]] = deque()
        while waiting or pending:
            if pending and (not waiting or _begun(waiting, pending[0][1])):
                n, step = pending.popleft()
                waiting.extend((n, output) for output in oned.feed(OperationAsked(n, step.op, step.arguments)))
                continue
            n, output = waiting.popleft()
            yield n, output
            if isinstance(output, CallAsked):
                answered = answer(output)
                if not answered.ok:
                    failed.add(n)
                waiting.extend((n, one) for one in oned.feed(answered))


def _begun(waiting: deque[tuple[int, Output]], step: Step) -> bool:
    """Whether a step may be asked although calls are outstanding: one of the action that it is to run beside is among them."""
    return bool(step.beside) and any(isinstance(one, CallAsked) and step.beside in ("*", one.action.key) for _, one in waiting)
