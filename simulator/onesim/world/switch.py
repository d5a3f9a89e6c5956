"""The harness's end of the connections to several agents, each of one machine, as if they were one: requests go where they belong, what comes back is joined.

A call begins on one machine, and the others are told of it before and after: what it does there by ssh is of it, and no call is over unless all of them answer.
"""

from __future__ import annotations

import select
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from onesim.errors import HarnessError
from onesim.world.control import Control
from onesim.world.lab import CANNOT, Line

_EVERYWHERE = frozenset({"picture", "hold", "let_go", "host"})
#: Requests about something that an agent has told of, by the name that numbers it.
_NUMBERED = ("client", "held", "question")
_ABOUT_PROGRAMS = frozenset({"program", "tell", "hear", "drop", "dismiss", "offer"})
_JOINED = ("changes", "leftovers")

Message = dict[str, Any]


@dataclass
class _Gathering:
    """Answers that are waited for; `done` gets them all, in the order of the machines, and returns the one for the harness, or nothing yet."""

    wanted: Sequence[str]
    done: Callable[[list[Message]], Message | None]
    had: dict[str, Message] = field(default_factory=dict)


class Switch(Control):
    """Speaks with the agents of machines, by the names of the hosts that they are; the first is the front-end."""

    def __init__(self, lines: dict[str, Line]) -> None:
        self._lines = lines
        self._names = list(lines)
        self._next = 0
        self._gatherings: dict[int, _Gathering] = {}
        self._ready: deque[Message] = deque()
        self._serving: dict[str, str] = {}
        self._faults: dict[str, list[Message]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    # requests

    def post(self, do: str, fds: Sequence[int] = (), **arguments: Any) -> int:
        """Send a request to where it belongs. Returns its number."""
        if fds:
            raise HarnessError("a terminal does not reach a machine of a lab; use ssh")
        number = self._number()
        message = {"do": do, **arguments}
        if do == "run" and arguments["call"]:
            self._visit(number, message)
        elif do in _EVERYWHERE:
            self._ask(number, dict.fromkeys(self._names, message), _joined)
        elif do == "unpack":
            at = {host: [place for place in arguments["places"] if place[0] == host] for host, _ in arguments["places"]}
            self._ask(number, {host: {**message, "places": places} for host, places in at.items()}, _joined)
        else:
            name, message = self._addressed(message)
            self._ask(number, {name: message}, lambda answers: answers[0])
        return number

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _addressed(self, message: Message) -> tuple[str, Message]:
        """Return the machine that a message is for, and the message with that machine's own number for what it is about."""
        for key in _NUMBERED:
            if key in message:
                number, place = divmod(message[key], len(self._names))
                return self._names[place], {**message, key: number}
        if message["do"] == "serve":
            self._serving[message["path"]] = message["host"]
        if message["do"] == "service":
            return self._serving[message["name"]], message
        return (self._names[0] if message["do"] in _ABOUT_PROGRAMS else message["host"]), message

    def _ask(self, number: int, messages: dict[str, Message], done: Callable[[list[Message]], Message | None]) -> None:
        self._gatherings[number] = _Gathering(list(messages), done)
        for name, message in messages.items():
            self._lines[name].send({**message, "id": number})

    def _visit(self, number: int, message: Message) -> None:
        """Tell the other machines of a call, begin it when they know, and end it when they have told what it did there."""
        cannot = next((CANNOT[fault["act"]] for fault in message["faults"] if fault["act"] in CANNOT), "")
        if cannot:
            raise HarnessError(cannot)
        anywhere = [fault for fault in message["faults"] if not fault["host"]]
        asks = sorted({fault["command"] for fault in anywhere})
        faults = [fault for fault in message["faults"] if fault["host"]]
        self._faults[message["call"]] = anywhere
        message = {**message, "faults": faults, "asks": asks}
        home = message["host"]
        others = [name for name in self._names if name != home]
        visit = {"do": "visit", "call": message["call"], "limits": message["limits"], "faults": faults, "asks": asks}

        def known(answers: list[Message]) -> None:
            self._ask(number, {home: message}, over)

        def over(answers: list[Message]) -> None:
            leave = {"do": "leave", "call": message["call"], "ended_by": answers[0]["ended_by"]}
            self._ask(number, dict.fromkeys(others, leave), lambda told: _whole(answers[0], told))

        self._ask(number, dict.fromkeys(others, visit), known)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message that nobody answers."""
        if message["do"] == "close":
            return  # an agent ends with its connection
        name, message = self._addressed(message)
        self._lines[name].send(message)

    # answers

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """Return the next message of any agent; None if it has not come in time."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            for place, line in enumerate(self._lines.values()):
                while (message := line.receive(0)) is not None:
                    self._take(place, message)
            if self._ready:
                return self._ready.popleft()
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return None
            select.select(list(self._lines.values()), [], [], left)

    def _take(self, place: int, message: Message) -> None:
        """Note a message, under numbers that are no other machine's."""
        if "reply" not in message:
            for key in _NUMBERED:
                if key in message:
                    message = {**message, key: message[key] * len(self._names) + place}
            if message.get("kind") == "gate":
                self._gate(message)
            else:
                self._ready.append(message)
            return
        number = message["reply"]
        gathering = self._gatherings[number]
        gathering.had[self._names[place]] = message
        if len(gathering.had) == len(gathering.wanted):
            del self._gatherings[number]
            answer = gathering.done([gathering.had[name] for name in gathering.wanted])
            if answer is not None:
                self._ready.append({**answer, "reply": number})

    def _gate(self, message: Message) -> None:
        """Count a command of a call wherever it is run, and say what is done to it."""
        call, name = message["call"], message["argv"][0]
        self._counts[call, name] += 1
        due = (one for one in self._faults.get(call, ()) if one["command"] == name and one["ordinal"] == self._counts[call, name])
        fault = next(due, {"act": "", "arg": ""})
        self.send({"do": "answer", "question": message["question"], "act": fault["act"], "arg": fault["arg"]})

    def close(self) -> None:
        """Close the connections; what runs on the machines ends and tidies up."""
        for line in self._lines.values():
            line.hang_up()
        for line in self._lines.values():
            line.close()


def _joined(answers: list[Message]) -> Message:
    """Return one answer for several: the first problem, else what they list, one after the other."""
    problem = next((one for one in answers if "error" in one or "failed" in one), None)
    if problem is not None:
        return problem
    lists: Message = {key: [row for one in answers for row in one[key]] for key in _JOINED if key in answers[0]}
    return {**answers[0], **lists}


def _whole(told: Message, elsewhere: list[Message]) -> Message:
    """Return what was seen of a call with what it did on other machines."""
    if any(one["ended_by"] == "world_lost" for one in (told, *elsewhere)):
        return {**told, "ended_by": "world_lost", "broken": True}
    found = {**told, "broken": any(one["broken"] for one in (told, *elsewhere))}
    ended_by = next((one["ended_by"] for one in elsewhere if one["ended_by"] != "exit"), "exit")
    if told["ended_by"] == "exit":
        found["ended_by"] = ended_by
    for key in ("datagrams", "leftovers"):
        found[key] = [row for one in (told, *elsewhere) for row in one[key]]
    found["commands"] = sorted((row for one in (told, *elsewhere) for row in one["commands"]), key=lambda row: row["at_ns"])
    if told["lines"] is not None:
        found["lines"] = _lines([told["lines"], *(one["lines"] for one in elsewhere if one["lines"])])
    return found


def _lines(parts: list[Message]) -> Message:
    merged = {
        key: {name: sorted({line for part in parts for line in part[key].get(name, ())}) for part in parts for name in part[key]}
        for key in ("ran", "sent")
    }
    return {**parts[0], **merged, "last": [row for part in parts for row in part["last"]]}
