"""Runs the calls of a case through driver programs (MADs) that the user brings: requests go over the wire, the programs start the scripts, shims report them.

What a program does wrong is noted as its own fault; a script that it starts wrongly is not run, so that nothing of it is laid on the driver.
"""

from __future__ import annotations

import base64
import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, runtime_checkable

from onesim.events import CallAsked, EmptyTransfer
from onesim.layout import MadProgram
from onesim.mad import results, transfer
from onesim.mad.conversation import Conversation, Wrong
from onesim.mad.results import Ended
from onesim.mad.transfer import Command
from onesim.mad.wire import Answer, Request, raw, text
from onesim.model import FRONTEND
from onesim.records import MadEnd, MadFault, MadLine
from onesim.rows import Mad
from onesim.running import DirectRunner, Start
from onesim.spec import ContractSpec
from onesim.world.conversing import End, Heard, Output, Started
from onesim.world.interface import Fault, Limits, Run, World

_LINE_CHARS = 400
#: Faults and lines of one program that are noted in a case; one that prints without end shall not fill the disk.
_NOTES_MAX = 500
#: Signals by which a program does not end itself: HUP, INT, KILL, TERM.
_KILLING = (1, 2, 9, 15)


@runtime_checkable
class ProgramWorld(World, Protocol):
    """A world in which programs can live."""

    def start_program(self, host: str, name: str, argv: Sequence[str], env: dict[str, str]) -> str: ...
    def tell(self, name: str, data: bytes, *, last: bool = False) -> None: ...
    def hear(self, time_s: float) -> Heard | None: ...
    def drop(self, shim: int, status: int) -> None: ...
    def dismiss(self, name: str) -> None: ...
    def begin_started(self, script: Started, *, limits: Limits, call_id: str, faults: Sequence[Fault] = ()) -> None: ...
    def run_started(self, script: Started, *, limits: Limits, call_id: str) -> Run: ...


@dataclass(eq=False)
class _Exchange:
    """A request and what belongs to it. `calls` are those whose scripts it starts, one after the other; `left` are how many of them have not begun.

    `awaited` is the one whose script is to begin now. `cancelled` = oned has given the request up: no answer is awaited.
    """

    request: Request
    calls: tuple[CallAsked, ...] = ()
    left: int = 0
    awaited: CallAsked | None = None
    cancelled: bool = False

    @property
    def next(self) -> CallAsked | None:
        """The call whose script it is to start next."""
        return self.calls[-self.left] if self.left else None

    def answered_by(self, answer: Answer) -> bool:
        """Whether an answer is that to this request; of the answer to INIT oned reads two words."""
        return answer.action == self.request.action and (answer.action == "INIT" or answer.id == self.request.id)

    def named_as(self, other: _Exchange) -> bool:
        """Whether an answer does not tell this request from another."""
        return (self.request.action, self.request.id) == (other.request.action, other.request.id)


@dataclass
class _Program:
    """A program under way. `open` are the requests that it has not done; `abandoned` are calls that oned has given up before their scripts ran."""

    row: Mad
    given: MadProgram
    talk: Conversation
    answers: list[Answer] = field(default_factory=list)
    open: list[_Exchange] = field(default_factory=list)
    abandoned: list[CallAsked] = field(default_factory=list)
    scripts: int = 0
    notes: int = 0
    ready: bool = False
    ended: bool = False


class MadRunner:
    """A runner over driver programs. Calls that none of them makes are started directly. `note` writes a record; `look` takes what changed out of sight."""

    def __init__(
        self,
        world: ProgramWorld,
        spec: ContractSpec,
        programs: Sequence[MadProgram],
        environment: dict[str, str],
        case: str,
        note: Callable[[MadLine | MadFault | MadEnd], None],
        look: Callable[[], None],
    ) -> None:
        self.world, self.spec, self.environment, self.case = world, spec, environment, case
        self.broken = ""
        self._note, self._look = note, look
        self._direct = DirectRunner(world)
        self._call = -1
        self._programs = {one.name: _Program(spec.spec.mads[one.name], one, Conversation(spec.request_line)) for one in programs}
        self._running: dict[str, tuple[_Program, _Exchange]] = {}
        self._early: list[Started] = []

    # a case

    def open(self) -> None:
        """Start the programs and wait for their answer to INIT."""
        for program in self._programs.values():
            why = self.world.start_program(FRONTEND, program.given.name, program.given.command, self.environment)
            if why:
                self._wrong(program, "start", f"{program.given.path}: {why}")
                return
            exchange = self._ask(program, Request("INIT"))
            answer = self._listen(program, exchange, self.spec.spec.mad_wait.init_s, "init")
            program.open.remove(exchange)
            if isinstance(answer, Answer) and not answer.success:
                self._wrong(program, "init", f"answered INIT FAILURE {answer.info}")
            if self.broken:
                return
            program.ready = True

    def free(self, asked: CallAsked, transfer: str) -> bool:
        """Whether the program of a call has a thread for it: as many as it was told to have (-t), 1 if it was told nothing."""
        program = self._program_of(asked, transfer)
        if program is None or self._exchange(program, asked) is not None:
            return True
        threads = next((word for option, word in pairwise(program.given.arguments) if option in ("-t", "--threads")), "1")
        return len(program.open) < (int(threads) if threads.isdigit() else 1) or not program.open

    def begin(self, start: Start) -> Run | None:
        """Have a call begun by the program that makes it: its script waits until it is the one that was asked."""
        self._call = start.n
        program = self._program_of(start.asked, start.transfer[0])
        if program is None:
            return self._direct.begin(start)
        if self.broken:
            return Run("mad", status=-1)
        exchange = self._exchange(program, start.asked) or self._request(program, start)
        exchange.left, exchange.awaited = exchange.left - 1, start.asked
        script = self._script(program, exchange, start)
        exchange.awaited = None
        if not isinstance(script, Started):
            program.open.remove(exchange)
            return self._not_run(program, start, script)
        program.scripts += 1
        self._look()  # what the program itself has changed is not the driver's
        self._running[start.id] = program, exchange
        self.world.begin_started(script, limits=start.limits, call_id=start.id, faults=start.faults)
        return None

    def empty(self, asked: EmptyTransfer, time_s: float) -> None:
        """Ask the program that reads transfer scripts for one without a line: it is to answer with success, and to start nothing."""
        program = next((one for one in self._programs.values() if one.row.carries == "script"), None)
        if program is None or self.broken:
            return
        self._call = -1
        exchange = self._ask(program, Request("TRANSFER", asked.vm, self._lay(asked.vm, asked.transfer, "")))
        heard = self._listen(program, exchange, time_s, "silent")
        while isinstance(heard, Started):
            self._wrong(program, "unasked", f"started {' '.join(heard.argv)[:300]} for an empty transfer script")
            self.world.drop(heard.shim, 1)
            heard = self._listen(program, exchange, time_s, "silent")
        if heard is not None and not heard.success:
            self._wrong(program, "result", f"answered {_shown(heard)} to an empty transfer script")
        program.open.remove(exchange)

    def ended(self, start: Start, run: Run) -> None:
        """Take the answer of the program, if it has one to give now."""
        program, exchange = self._running.pop(start.id, (None, None))
        if program is None or exchange is None:
            return
        self._call = start.n
        ended = Ended(run.status if run.ended_by == "exit" else 255, text(run.stdout), text(run.stderr))
        if ended.success and exchange.left and not exchange.cancelled:
            return
        exchange.left = 0
        if not exchange.cancelled and run.ended_by != "world_lost":
            self._answer(program, exchange, start, ended)
        program.open.remove(exchange)

    def cancel(self, start: Start) -> None:
        """Cancel the transfer script that a call under way stands in: what runs of it goes on, the rest is not to begin, and no answer is awaited."""
        program, exchange = self._running.get(start.id, (None, None))
        if program is not None and exchange is not None and program.row.carries == "script" and not self.broken:
            self._cancel(program, exchange)

    def abandon(self, start: Start) -> None:
        """Cancel the transfer script that a call stands in, if it is open: the call's script does not run, and no answer is awaited.

        The program may have started the script already, or may do so before it reads the line.
        """
        program = self._program_of(start.asked, start.transfer[0])
        exchange = self._exchange(program, start.asked) if program is not None else None
        if program is not None and exchange is not None and not self.broken:
            self._cancel(program, exchange)
            program.open.remove(exchange)

    def _cancel(self, program: _Program, exchange: _Exchange) -> None:
        program.abandoned += exchange.calls[len(exchange.calls) - exchange.left :]
        exchange.cancelled, exchange.left = True, 0
        self._tell(program, program.talk.cancel(exchange.request))

    def close(self) -> None:
        """Tell the programs to end, and see to it that they do."""
        for program in self._programs.values():
            if not self.broken:
                self._tell(program, program.talk.finish(), last=True)  # oned closes the pipe at once
                self._await_end(program)
            program.ended = True
            self.world.dismiss(program.given.name)
            self._note(MadEnd(self.case, program.given.name, program.given.command, program.talk.requests, program.scripts))

    def _await_end(self, program: _Program) -> None:
        until = time.monotonic() + self.spec.spec.mad_wait.finalize_s
        while not program.ended and time.monotonic() < until and not self.broken:
            heard = self.world.hear(max(until - time.monotonic(), 0))
            if isinstance(heard, End) and heard.name == program.given.name:
                program.ended = True
            elif heard is not None:
                self._take(heard)
        if not program.ended and not self.broken:
            self._wrong(program, "end", f"did not end within {self.spec.spec.mad_wait.finalize_s:g} s after FINALIZE")

    # a call

    def _program_of(self, asked: CallAsked, transfer: str) -> _Program | None:
        """Return the program that makes a call: of transfer scripts one_tm, of the others the one that the action's row names."""
        for program in self._programs.values():
            if program.row.carries == "script" and transfer:
                return program
            if program.row.carries == "document" and program.row.program in asked.action.by and asked.document and asked.vm < 0:
                return program
        return None

    def _exchange(self, program: _Program, asked: CallAsked) -> _Exchange | None:
        """Return the open request whose next script is that of a call."""
        return next((one for one in program.open if one.next is not None and _same(one.next, asked)), None)

    def _request(self, program: _Program, start: Start) -> _Exchange:
        """Ask the program for a call, and for those that follow in its transfer script."""
        asked = start.asked
        if program.row.carries == "document":
            document = base64.b64encode(asked.document.encode()).decode()
            return self._ask(program, Request(asked.action.name.upper(), int(asked.arguments["id"]), document), (asked,))
        script = transfer.write(_command(one) for one in start.transfer[1])
        path = self._lay(asked.vm, start.transfer[0], script)
        return self._ask(program, Request("TRANSFER", asked.vm, path), start.transfer[1], script)

    def _lay(self, vm: int, end: str, script: str) -> str:
        """Write a transfer script where oned does. Returns its path."""
        sequence, _, name = end.partition(".")
        path = transfer.path("/var/lib/one/vms", vm, int(sequence), name)
        self.world.put(FRONTEND, path, raw(script))
        self._look()
        return path

    def _script(self, program: _Program, exchange: _Exchange, start: Start) -> Started | Answer | None:
        """Wait for the script that was asked. Others that the program starts are run and noted."""
        while True:
            early = next((one for one in self._early if _stands_for(one, start.asked)), None)
            if early is not None:
                self._early.remove(early)
            heard = early or self._listen(program, exchange, start.limits.time_s, "silent")
            if not isinstance(heard, Started):
                return heard
            if self._unasked(program, start, heard):
                continue
            if not heard.closed:
                self._wrong(program, "open", f"left stdin of {start.script} open")
            different = _difference(start, heard)
            if not different:
                if len(program.open) == 1:
                    program.abandoned.clear()  # lines are read in order: what was cancelled before this request does not start any more
                return heard
            self._wrong(program, "arguments", different)
            self.world.drop(heard.shim, 1)
            return None

    def _unasked(self, program: _Program, start: Start, script: Started) -> bool:
        """Run and note a script that is not the one that was asked; end one that was cancelled. Returns whether it was such a one."""
        abandoned = next((one for one in program.abandoned if _stands_for(script, one)), None)
        if abandoned is not None and not _stands_for(script, start.asked):
            program.abandoned.remove(abandoned)
            self.world.drop(script.shim, 1)
            return True
        if posixpath.normpath(script.argv[0]) == start.script:
            return False
        self._wrong(program, "unasked", f"started {' '.join(script.argv)[:300]}, which nobody asked for")
        if self._running:
            self.world.drop(script.shim, 1)
        else:
            self.world.run_started(script, limits=start.limits, call_id=f"{start.id}+{script.shim}")
            self._look()
        return True

    def _not_run(self, program: _Program, start: Start, answer: Answer | None) -> Run:
        """Say of a call whose script did not run whose fault that was: the driver's only if the script cannot be started."""
        if answer is None:
            return Run("mad", status=-1)
        if not answer.success and not self.world.exists(FRONTEND, start.script):
            return Run("missing", status=127)
        if not answer.success and self.world.run(FRONTEND, ["/usr/bin/test", "-x", start.script]).status:
            return Run("not_executable", status=126)
        self._wrong(program, "skipped", f"answered {_shown(answer)} without having run {start.script}")
        return Run("mad", status=-1)

    def _answer(self, program: _Program, exchange: _Exchange, start: Start, ended: Ended) -> None:
        """Wait for the answer and hold it against what the script made."""
        document = program.row.carries == "document"
        expected = results.info(ended, self.spec.contract.error, encodes=start.asked.action.name in program.row.encodes)
        if document:
            program.talk.expect(expected)
        first = expected.split("\n", 1)[0].strip() or "-"

        def right(answer: Answer) -> bool:
            return answer.success == ended.success and answer.info.strip() == first

        while isinstance(heard := self._listen(program, exchange, start.limits.time_s, "silent", right), Started):
            if not self._unasked(program, start, heard):
                self._wrong(program, "unasked", f"started {start.script} a second time")
                self.world.drop(heard.shim, ended.status)
        if heard is None:
            return
        if heard.success != ended.success or (document and heard.success and heard.info.strip() != first):
            self._wrong(program, "result", f"answered {_shown(heard)} where {start.script} ended with {ended.status} and printed {first[:200]!r}")
        elif not heard.success and heard.info.strip() != first:
            self._wrong(program, "text", f"answered {heard.info[:200]!r} where oned's own program says {first[:200]!r}")

    # the wire

    def _ask(self, program: _Program, request: Request, calls: tuple[CallAsked, ...] = (), script: str = "") -> _Exchange:
        exchange = _Exchange(request, calls, len(calls))
        program.open.append(exchange)
        self._tell(program, program.talk.ask(request), script)
        return exchange

    def _tell(self, program: _Program, line: bytes, script: str = "", *, last: bool = False) -> None:
        self._line(program, "mad", text(line).rstrip("\n"), script)
        self.world.tell(program.given.name, line, last=last)

    def _line(self, program: _Program, to: str, line: str, script: str = "") -> None:
        program.notes += 1
        if program.notes <= _NOTES_MAX:
            shown = line[:_LINE_CHARS].encode(errors="replace").decode()
            self._note(MadLine(self.case, program.given.name, to, shown, script, self._call))

    def _listen(
        self, program: _Program, exchange: _Exchange, time_s: float, late: str, right: Callable[[Answer], bool] = lambda answer: False
    ) -> Started | Answer | None:
        """Return the next script that is started, or the answer to a request; None if there is neither. `late` is the fault of saying nothing in time.

        Scripts that other requests are to start next are put by until their time. Where another open request has the same name and id, such as two of
        MONITOR, an answer that is not `right` may be the other's.
        """
        until = time.monotonic() + time_s
        alone = not any(one is not exchange and one.named_as(exchange) for one in program.open)
        while not self.broken:
            mine = [one for one in program.answers if exchange.answered_by(one)]
            # when the time is over, any of them will do
            answer = next((one for one in mine if alone or right(one) or time.monotonic() >= until), None)
            if answer is not None:
                program.answers.remove(answer)
                return answer
            left = until - time.monotonic()
            heard = self.world.hear(left) if left > 0 else None
            if isinstance(heard, Started):
                if not self._of_another(exchange, heard):
                    return heard
                self._early.append(heard)
                continue
            if heard is not None:
                self._take(heard)
            elif not mine:
                self._wrong(program, late, f"no answer to {exchange.request.action} within {time_s:g} s")
        return None

    def _of_another(self, exchange: _Exchange, script: Started) -> bool:
        if exchange.awaited is not None and _stands_for(script, exchange.awaited):
            return False
        others = (one.next for program in self._programs.values() for one in program.open if one is not exchange)
        return any(one is not None and _stands_for(script, one) for one in others)

    def _take(self, heard: Heard) -> None:
        """Take what a program has printed, or its end, which comes when it is still needed."""
        if isinstance(heard, Started):
            self.world.drop(heard.shim, 1)
            return
        program = self._programs[heard.name]
        if program.ended:
            return  # it was dismissed
        if isinstance(heard, Output):
            for said in program.talk.hear(heard.data):
                self._line(program, "oned", said.line)
                if isinstance(said.meaning, Wrong):
                    self._wrong(program, said.meaning.fault, said.meaning.detail)
                elif isinstance(said.meaning, Answer):
                    program.answers.append(said.meaning)
            return
        how = f"ended with {heard.status}" if heard.status >= 0 else f"was ended by signal {-heard.status}"
        stderr = " ".join(heard.stderr.split())[-300:]
        fault = "init" if not program.ready else "killed" if heard.within and -heard.status in _KILLING else "died"
        self._wrong(program, fault, how + (f": {stderr}" if stderr else ""))

    def _wrong(self, program: _Program, fault: str, detail: str) -> None:
        row = self.spec.spec.mad_faults[fault]
        program.notes += 1
        if program.notes <= _NOTES_MAX or row.ends:
            self._note(MadFault(self.case, program.given.name, fault, detail.encode(errors="replace").decode(), self._call))
        if row.ends and not self.broken:
            self.broken = f"the {program.given.name} driver program {program.given.path} failed ({fault}): {detail}"


def _command(asked: CallAsked) -> Command:
    return Command(asked.action.name + asked.suffix, asked.mad, asked.argv)


def _same(one: CallAsked, other: CallAsked) -> bool:
    return (one.action.key, one.mad, one.suffix, one.argv) == (other.action.key, other.mad, other.suffix, other.argv)


def _stands_for(script: Started, asked: CallAsked) -> bool:
    """Whether a script that a program has started is that of a call, with or without the suffix of its mode."""
    folder, name = posixpath.split(posixpath.normpath(script.argv[0]))
    named = posixpath.basename(folder) == asked.mad and name in (asked.action.name, asked.action.name + asked.suffix)
    return named and script.argv[1:] == asked.argv


def _difference(start: Start, script: Started) -> str:
    """Return how what a program gave a script differs from what oned asked for; empty if it does not."""
    given = script.argv[1:]
    if given != start.argv:
        return f"{start.script} was asked with {list(start.argv)} and started with {list(given)}"[:600]
    if script.stdin != start.stdin:
        return f"{start.script} was to get {len(start.stdin)} bytes on stdin and got {len(script.stdin)}" + (
            "" if len(start.stdin) != len(script.stdin) else ", of which some differ"
        )
    return ""


def _shown(answer: Answer) -> str:
    return f"{answer.action} {'SUCCESS' if answer.success else 'FAILURE'} {answer.id} {answer.info[:200]}".strip()
