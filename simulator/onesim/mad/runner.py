"""Runs the calls of a case through driver programs (MADs) that the user brings: requests go over the wire, the programs start the scripts, shims report them.

What a program does wrong is noted as its own fault; a script that it starts wrongly is not run, so that nothing of it is laid on the driver.
"""

from __future__ import annotations

import base64
import posixpath
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from onesim.events import CallAsked
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
    def release(self, shim: int, status: int) -> None: ...
    def dismiss(self, name: str) -> None: ...
    def run_started(self, script: Started, *, limits: Limits, call_id: str, faults: Sequence[Fault] = ()) -> Run: ...


@dataclass
class _Program:
    """A program under way. `left` are the lines of its transfer script that have not been run; `request` what it is asked now."""

    row: Mad
    given: MadProgram
    talk: Conversation
    answers: deque[Answer] = field(default_factory=deque)
    request: Request = field(default_factory=lambda: Request("INIT"))
    left: int = 0
    abandoned: list[tuple[str, ...]] = field(default_factory=list)
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

    # a case

    def begin(self) -> None:
        """Start the programs and wait for their answer to INIT."""
        for program in self._programs.values():
            why = self.world.start_program(FRONTEND, program.given.name, program.given.command, self.environment)
            if why:
                self._wrong(program, "start", f"{program.given.path}: {why}")
                return
            self._ask(program, Request("INIT"))
            answer = self._listen(program, self.spec.spec.mad_wait.init_s, "init")
            if isinstance(answer, Answer) and not answer.success:
                self._wrong(program, "init", f"answered INIT FAILURE {answer.info}")
            if self.broken:
                return
            program.ready = True

    def run(self, start: Start) -> Run:
        """Have a call run by the program that makes it."""
        self._call = start.n
        program = self._program_of(start)
        if program is None:
            return self._direct.run(start)
        if self.broken:
            return Run("mad", status=-1)
        if program.row.carries == "document":
            document = base64.b64encode(start.asked.document.encode()).decode()
            self._ask(program, Request(start.asked.action.name.upper(), int(start.asked.arguments["id"]), document))
        elif not program.left:
            self._open_transfer(program, start)
        program.left = max(program.left - 1, 0)
        return self._scripted(program, start)

    def abandon(self, start: Start) -> None:
        """Cancel the transfer script that a call stands in, if it is open: the call's script does not run, and no answer is awaited.

        The program may have started the script already, or may do so before it reads the line.
        """
        program = self._program_of(start)
        if program is not None and program.left > 0 and not self.broken:
            program.left = 0
            program.abandoned.append((start.script, *start.argv))
            self._tell(program, program.talk.cancel(program.request))

    def end(self) -> None:
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

    def _program_of(self, start: Start) -> _Program | None:
        """Return the program that makes a call: of transfer scripts one_tm, of the others the one that the action's row names."""
        for program in self._programs.values():
            if program.row.carries == "script" and start.transfer[0]:
                return program
            if program.row.carries == "document" and program.row.program in start.asked.action.by and start.asked.document and start.asked.vm < 0:
                return program
        return None

    def _open_transfer(self, program: _Program, start: Start) -> None:
        asked = start.asked
        script = transfer.write(_command(one) for one in start.transfer[1])
        sequence, _, end = start.transfer[0].partition(".")
        path = transfer.path("/var/lib/one/vms", asked.vm, int(sequence), end)
        self.world.put(FRONTEND, path, raw(script))
        self._look()
        program.left = len(start.transfer[1])
        self._ask(program, Request("TRANSFER", asked.vm, path), script)

    def _scripted(self, program: _Program, start: Start) -> Run:
        """Wait for the script of a call, run it, and take the answer if the program has one to give now."""
        script = self._script(program, start)
        if not isinstance(script, Started):
            program.left = 0
            return self._not_run(program, start, script)
        program.scripts += 1
        self._look()  # what the program itself has changed is not the driver's
        run = self.world.run_started(script, limits=start.limits, call_id=start.id, faults=start.faults)
        ended = Ended(run.status if run.ended_by == "exit" else 255, text(run.stdout), text(run.stderr))
        if not ended.success:
            program.left = 0
        if program.left <= 0 and run.ended_by != "world_lost":
            self._answer(program, start, ended)
        return run

    def _script(self, program: _Program, start: Start) -> Started | Answer | None:
        """Wait for the script that was asked. Others that the program starts are run and noted."""
        while True:
            heard = self._listen(program, start.limits.time_s, "silent")
            if not isinstance(heard, Started):
                return heard
            if self._unasked(program, start, heard):
                continue
            if not heard.closed:
                self._wrong(program, "open", f"left stdin of {start.script} open")
            different = _difference(start, heard)
            if not different:
                program.abandoned.clear()  # lines are read in order: what was cancelled before this request does not start any more
                return heard
            self._wrong(program, "arguments", different)
            self.world.release(heard.shim, 1)
            return None

    def _unasked(self, program: _Program, start: Start, script: Started) -> bool:
        """Run and note a script that is not the one that was asked; end one that was cancelled. Returns whether it was such a one."""
        given = (posixpath.normpath(script.argv[0]), *script.argv[1:])
        if given in program.abandoned:
            program.abandoned.remove(given)
            self.world.release(script.shim, 1)
            return True
        if given[0] == start.script:
            return False
        self._wrong(program, "unasked", f"started {' '.join(script.argv)[:300]}, which nobody asked for")
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

    def _answer(self, program: _Program, start: Start, ended: Ended) -> None:
        """Wait for the answer and hold it against what the script made."""
        document = program.row.carries == "document"
        expected = results.info(ended, self.spec.contract.error, encodes=start.asked.action.name in program.row.encodes)
        if document:
            program.talk.expect(expected)
        while isinstance(heard := self._listen(program, start.limits.time_s, "silent"), Started):
            if not self._unasked(program, start, heard):
                self._wrong(program, "unasked", f"started {start.script} a second time")
                self.world.release(heard.shim, ended.status)
        if heard is None:
            return
        first = expected.split("\n", 1)[0].strip() or "-"
        if heard.success != ended.success or (document and heard.success and heard.info.strip() != first):
            self._wrong(program, "result", f"answered {_shown(heard)} where {start.script} ended with {ended.status} and printed {first[:200]!r}")
        elif not heard.success and heard.info.strip() != first:
            self._wrong(program, "text", f"answered {heard.info[:200]!r} where oned's own program says {first[:200]!r}")

    # the wire

    def _ask(self, program: _Program, request: Request, script: str = "") -> None:
        program.request = request
        self._tell(program, program.talk.ask(request), script)

    def _tell(self, program: _Program, line: bytes, script: str = "", *, last: bool = False) -> None:
        self._line(program, "mad", text(line).rstrip("\n"), script)
        self.world.tell(program.given.name, line, last=last)

    def _line(self, program: _Program, to: str, line: str, script: str = "") -> None:
        program.notes += 1
        if program.notes <= _NOTES_MAX:
            shown = line[:_LINE_CHARS].encode(errors="replace").decode()
            self._note(MadLine(self.case, program.given.name, to, shown, script, self._call))

    def _listen(self, program: _Program, time_s: float, late: str) -> Started | Answer | None:
        """Return the next script that is started, or the next answer of a program; None if it did neither. `late` is the fault of saying nothing in time."""
        until = time.monotonic() + time_s
        while not self.broken:
            if program.answers:
                return program.answers.popleft()
            left = until - time.monotonic()
            heard = self.world.hear(left) if left > 0 else None
            if isinstance(heard, Started):
                return heard
            if heard is not None:
                self._take(heard)
            else:
                self._wrong(program, late, f"no answer to {program.request.action} within {time_s:g} s")
        return None

    def _take(self, heard: Heard) -> None:
        """Take what a program has printed, or its end, which comes when it is still needed."""
        if isinstance(heard, Started):
            self.world.release(heard.shim, 1)
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
