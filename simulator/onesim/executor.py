"""The executor: plays one trace in a world of its own and writes what is seen to the history.

One direction: trace -> oned -> call -> the script on a host -> what was seen -> oned. Calls run one after the other in the order in which oned asks, so
that two runs of one trace give equal histories.
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from onesim import hypervisor, validation
from onesim.content import ContentModel, Key, Version, disk_key, image_key, pattern
from onesim.errors import HarnessError, TraceError
from onesim.events import Answer, CallAsked, CallFinished, Changed, DatagramReceived, OperationAsked, Outcome, Output, QuestionAsked, Refused
from onesim.journal import BlobStore, Writer
from onesim.layout import HOSTS, REMOTES, Subjected, context_script, furnish, make_cloud
from onesim.mad.runner import MadRunner, ProgramWorld
from onesim.model import FRONTEND
from onesim.observer import Observer
from onesim.oned import Oned
from onesim.records import (
    Call,
    CaseBegin,
    CaseEnd,
    Command,
    Datagram,
    FaultInjected,
    GuestWrite,
    MadEnd,
    MadFault,
    MadLine,
    Operation,
    Question,
    StateChange,
    TreeChange,
)
from onesim.running import DirectRunner, Runner, Start
from onesim.spec import ContractSpec
from onesim.trace import Step, Trace
from onesim.world.interface import Fault, Run, World
from onesim.world.interface import Question as WorldQuestion

MIB = 1024 * 1024
_SCRIPT_FOLDERS = {"ds": "datastore", "tm": "tm"}


@dataclass(frozen=True)
class CaseSummary:
    """How a case ended, for progress and for the plan."""

    case: str
    outcome: str
    reason: str
    calls: int
    duration_s: float


class CaseRun:
    """One case: a trace, a world, an oned, a content model. `call_seen` is told of each call for progress."""

    def __init__(
        self,
        spec: ContractSpec,
        subject: Subjected,
        trace: Trace,
        world: World,
        writer: Writer,
        blobs: BlobStore,
        expects: tuple[str, ...] = (),
        call_seen: Callable[[Call], None] | None = None,
    ) -> None:
        self.spec, self.subject, self.trace, self.world = spec, subject, trace, world
        self.writer, self.blobs, self.expects = writer, blobs, expects
        self.call_seen = call_seen
        self.case = trace.name
        self.cloud = make_cloud(subject, trace.header.shared)
        self.oned = Oned(spec, self.cloud)
        self.content = ContentModel()
        self.observer = Observer(world, self.cloud, self.content, writer, blobs, self.case)
        self.runner = self._make_runner()
        self.files: dict[str, Version] = {}
        self.faults: list[Step] = []
        self.started_ns = time.monotonic_ns()
        self.calls = 0
        self.step: Step | None = None
        self.operation = -1
        self.lost = ""
        self.current_call = -1
        self.sources: dict[int, str] = {}

    def _make_runner(self) -> Runner:
        if not self.subject.mads:
            return DirectRunner(self.world)
        if not isinstance(self.world, ProgramWorld):
            raise HarnessError("driver programs need hosts made of namespaces")

        def note(record: MadLine | MadFault | MadEnd) -> None:
            self.writer.write(msgspec.structs.replace(record, at_ns=self._at()))

        return MadRunner(self.world, self.spec, self.subject.mads, dict(self.subject.environment), self.case, note, self.observer.refresh)

    def run(self) -> CaseSummary:
        """Play the trace to its end, or to the point where the driver has made the rest impossible."""
        self.writer.write(CaseBegin(self.case, self.trace.header.title, (FRONTEND, *HOSTS), self.trace.header.shared, self.expects))
        outcome, reason = "completed", ""
        try:
            furnish(self.world, self.cloud, self.subject)
            self.observer.refresh()
            self.runner.begin()
            for n, step in enumerate(self.trace.steps):
                self.step, self.operation = step, n
                reason = self.runner.broken or self._play(n, step)
                if reason:
                    outcome = "stopped"
                    break
            self.runner.end()
            for command in self.subject.teardown:
                self.world.must_run(FRONTEND, ["/bin/bash", "-c", command])
        except HarnessError as error:
            outcome, reason = "error", str(error)
        duration = time.monotonic_ns() - self.started_ns
        self.writer.write(CaseEnd(self.case, outcome, reason, self.calls, duration))
        return CaseSummary(self.case, outcome, reason, self.calls, duration / 1e9)

    def _at(self) -> int:
        return time.monotonic_ns() - self.started_ns

    def _play(self, n: int, step: Step) -> str:
        """Play one step. Returns why the case cannot go on, empty if it can."""
        arguments = {name: value for name, value in step.arguments.items() if isinstance(value, str | int | bool)}
        arguments["expect"] = step.expect
        if step.op.partition(".")[0] not in self.spec.spec.lifecycles:
            self.writer.write(Operation(self.case, n, step.op, arguments, "", self._at()))
            stopped = self._world_step(step)
            if step.op == "guest.write" and not stopped:
                self.observer.observe(n, self.calls - 1)
            return stopped
        outputs = self.oned.feed(OperationAsked(n, step.op, step.arguments))
        refused = next((one.reason for one in outputs if isinstance(one, Refused)), "")
        self.writer.write(Operation(self.case, n, step.op, arguments, refused, self._at()))
        if refused and not self.lost:
            raise TraceError(f"{self.trace.path}:{step.line}: oned refuses {step.op}: {refused}")
        if refused:
            return f"{step.op} became impossible ({refused}) after {self.lost}"
        self.sources = {image.id: image.source for image in self.cloud.images.values()}
        gone = self._settle(outputs)
        if self.lost.startswith("world") or self.runner.broken:
            return self.runner.broken or self.lost
        self.observer.observe(n, self.calls - 1)
        for kind, id, label in gone:
            self.observer.observe_gone(kind, label, self._places_of(kind, id), n)
        return ""

    def _places_of(self, kind: str, id: int) -> list[tuple[str, str]]:
        """Return where nothing may be left of an object that is gone."""
        if kind == "image":
            return [(FRONTEND, self.sources[id])] if self.sources.get(id) else []
        vm = self.cloud.vms[id]
        return [(host, self.cloud.directory(record, vm)) for record in vm.history for host in (FRONTEND, *HOSTS)]

    # steps of the world

    def _world_step(self, step: Step) -> str:
        arguments = step.arguments
        match step.op:
            case "file.make":
                size = int(arguments["size_mb"]) * MIB
                version = Version(size, pattern(f"{self.case}:{arguments['path']}", size))
                self.world.make_disk(FRONTEND, arguments["path"], arguments["format"], size, version.writes)
                self.files[arguments["path"]] = version
                self.observer.refresh()
            case "guest.write":
                return self._guest_write(step)
            case "fault.next":
                self.faults.append(step)
            case "host.down":
                self.world.host_down(arguments["host"])
            case "host.up":
                self.world.host_up(arguments["host"])
        return ""

    def _guest_write(self, step: Step) -> str:
        id = self.cloud.find("vm", step.arguments["vm"])
        vm = self.cloud.vms.get(-1 if id is None else id)
        disk = next((one for one in vm.disks if one.id == step.arguments["disk"]), None) if vm is not None else None
        if vm is None or disk is None:
            raise TraceError(f"{self.trace.path}:{step.line}: guest.write names no disk of a VM that exists")
        if vm.state != "RUNNING":
            if self.lost:
                return f"guest.write became impossible (the VM is {vm.state}) after {self.lost}"
            raise TraceError(f"{self.trace.path}:{step.line}: guest.write needs a RUNNING VM; {vm.name} is {vm.state}")
        host, path = self.observer.seat(vm, disk)
        writes = pattern(f"{self.case}:{step.line}", disk.size_mb * MIB, 3)
        failed = self.world.write_disk(host, path, disk.format or "raw", writes)
        version = "" if failed else self.content.write(disk_key(vm.id, disk.id), writes)
        self.writer.write(GuestWrite(self.case, self.operation, vm.id, disk.id, host, path, version, failed, self._at()))
        self.observer.refresh()
        return ""

    # calls

    def _settle(self, outputs: list[Output]) -> list[tuple[str, int, str]]:
        """Run the calls that follow. Returns the objects that are gone afterwards: kind, id, label."""
        gone = []
        waiting = deque(outputs)
        while waiting:
            output = waiting.popleft()
            match output:
                case CallAsked():
                    waiting.extend(self._call(output))
                case Changed():
                    self._state(output)
                    if output.state in ("GONE", "DONE") and output.id >= 0:
                        gone.append((output.kind, output.id, output.label))
                case _:
                    pass
        return gone

    def _state(self, changed: Changed) -> None:
        row = self.spec.spec.number(changed.kind, changed.state)
        self.writer.write(
            StateChange(
                self.case, changed.kind, changed.id, changed.label, changed.state, row.state, row.lcm, changed.error, self.operation, self._at()
            )
        )

    def _call(self, asked: CallAsked) -> list[Output]:
        self.current_call = self.calls
        self.calls += 1
        if asked.action.family == "vmm":
            return self._hypervisor_call(asked)
        if self.lost.startswith("world"):
            return self.oned.feed(CallFinished(asked.call, False))
        self._prepare(asked)
        script = self._script(asked)
        stdin = self._stdin(asked)
        fault = self._fault(asked)
        at = self._at()
        start = self._start(asked, script, stdin, fault)
        if fault is not None and fault.arguments["act"] == "lost":
            self.runner.abandon(start)
            run = Run(ended_by="lost", status=-1)
        else:
            run = self.runner.run(start)
        tree = self.observer.changes()
        finished = self.oned.feed(
            CallFinished(
                asked.call, run.ended_by == "exit" and run.status == 0, run.stdout.decode(errors="replace"), run.stderr.decode(errors="replace")
            )
        )
        outcome = finished[0]
        assert isinstance(outcome, Outcome)
        self._note(asked, run, script, stdin, outcome, at, tree, fault)
        self._content(asked, outcome.success and run.ended_by != "lost")
        if run.ended_by == "world_lost" or self.world.broken:
            self.lost = f"world lost in call {self.current_call} ({asked.action.key})"
        elif not outcome.success:
            self.lost = f"call {self.current_call} ({asked.action.key}) failed"
        return finished[1:]

    def _start(self, asked: CallAsked, script: str, stdin: bytes, fault: Step | None) -> Start:
        end, calls = self.oned.transfer(asked.call)
        return Start(
            asked,
            self.current_call,
            f"{self.case}/{self.current_call}",
            script,
            tuple(self._argv(asked)),
            stdin,
            self.subject.environment,
            self.subject.limits,
            () if fault is None else (_gate_fault(fault),),
            (end, tuple(calls)),
        )

    def _hypervisor_call(self, asked: CallAsked) -> list[Output]:
        vm = self.cloud.vms[asked.vm]
        names = tuple(f"disk.{disk.id}" for disk in vm.disks) + ((f"disk.{vm.context_disk}",) if vm.context is not None else ())
        at = self._at()
        error = hypervisor.act(self.world, asked, names)
        self.observer.refresh()
        finished = self.oned.feed(CallFinished(asked.call, not error, "", error))
        self.writer.write(
            Call(
                self.case,
                self.current_call,
                asked.operation,
                "vmm",
                asked.mad,
                asked.action.name,
                "",
                asked.facts["host"],
                asked.argv,
                asked.arguments,
                not error,
                "exit",
                1 if error else 0,
                facts=self._facts(asked),
                error=error,
                at_ns=at,
                duration_ns=self._at() - at,
                vm=asked.vm,
            )
        )
        if error:
            self.lost = f"the hypervisor found that {error}"
        return finished[1:]

    def _facts(self, asked: CallAsked) -> dict[str, str]:
        step = self.step
        told = {"expect": step.expect, "op": step.op, "about": step.about} if step else {"expect": "success"}
        return {**asked.facts, **{name: value for name, value in told.items() if value}}

    def _capacity(self, asked: CallAsked) -> dict[str, str]:
        """Return the true capacity of a datastore that a monitor call is about, in MiB."""
        if asked.action.name != "monitor":
            return {}
        total, free = self.world.capacity_mb(FRONTEND, asked.facts["base_path"])
        return {"true_total_mb": str(total), "true_free_mb": str(free)}

    def _prepare(self, asked: CallAsked) -> None:
        """Write the files that oned itself writes before a call."""
        vm = self.cloud.vms.get(asked.vm)
        if asked.action.key == "tm/context" and vm is not None and vm.context is not None:
            self.world.put(FRONTEND, f"{self.cloud.vms_dir}/{vm.id}/context.sh", context_script(vm.context))
            self.observer.refresh()
        if asked.document:
            validation.validate_or_raise(asked.action.key, self.spec.version, asked.document.encode())

    def _script(self, asked: CallAsked) -> str:
        """Return the path of the script: with the mode's suffix if that file is there, else without (one_tm.rb:103)."""
        folder = f"{REMOTES}/{_SCRIPT_FOLDERS[asked.action.family]}/{asked.mad}"
        suffixed = f"{folder}/{asked.action.name}{asked.suffix}"
        return suffixed if asked.suffix and self.world.exists(FRONTEND, suffixed) else f"{folder}/{asked.action.name}"

    def _argv(self, asked: CallAsked) -> list[str]:
        if not asked.document:
            return list(asked.argv)
        encoded = base64.b64encode(asked.document.encode()).decode()
        names = self.spec.argv(asked.action)
        return [encoded if name == "dump" else asked.arguments[name] for name in names]

    def _stdin(self, asked: CallAsked) -> bytes:
        return base64.b64encode(asked.document.encode()) if asked.document and asked.stdin == "dump" else b""

    def _fault(self, asked: CallAsked) -> Step | None:
        for step in self.faults:
            if step.arguments["action"] == asked.action.key:
                self.faults.remove(step)
                return step
        return None

    def _note(
        self, asked: CallAsked, run: Run, script: str, stdin: bytes, outcome: Outcome, at: int, tree: tuple[TreeChange, ...], fault: Step | None
    ) -> None:
        call = Call(
            case=self.case,
            n=self.current_call,
            operation=asked.operation,
            family=asked.action.family,
            mad=asked.mad,
            action=asked.action.name + asked.suffix,
            script=script,
            host=FRONTEND,
            argv=tuple(self._argv(asked)),
            arguments={name: value for name, value in asked.arguments.items() if name != "dump"},
            success=outcome.success,
            ended_by=run.ended_by,
            status=run.status or 0,
            signal=run.signal or 0,
            facts=self._facts(asked) | self._capacity(asked),
            stdin=self.blobs.put(stdin),
            stdout=self.blobs.put(run.stdout, run.stdout_seen),
            stderr=self.blobs.put(run.stderr, run.stderr_seen),
            parsed=outcome.parsed,
            parse_error=outcome.parse_error,
            error=outcome.error,
            at_ns=at,
            duration_ns=run.duration_ns,
            commands=tuple(Command(one.name, one.argv, one.host, one.at_ns, one.fault) for one in run.commands),
            tree=tree,
            leftovers=run.leftovers,
            stdin_left=run.stdin_left,
            vm=asked.vm,
            disk=asked.disk,
            image=asked.image,
            datastore=asked.datastore,
        )
        self.writer.write(call)
        if fault is not None:
            command, hit = str(fault.arguments.get("command", "")), run.ended_by == "lost" or any(one.fault for one in run.commands)
            self.writer.write(
                FaultInjected(self.case, self.current_call, command, int(fault.arguments.get("ordinal", 1)), str(fault.arguments["act"]), hit)
            )
        for datagram in run.datagrams:
            self.oned.feed(DatagramReceived(datagram))
            self.writer.write(Datagram(self.case, self.current_call, self.blobs.put(datagram), self._at()))
        if self.call_seen is not None:
            self.call_seen(call)

    def question(self, asked: WorldQuestion) -> Answer:
        """Answer a question that a driver asks while it runs; called by the world."""
        answers = self.oned.feed(QuestionAsked(asked.kind, asked.argv, asked.body))
        answer = answers[0]
        assert isinstance(answer, Answer)
        digest = self.blobs.put(answer.stdout).sha256
        self.writer.write(Question(self.case, self.current_call, asked.kind, asked.argv, answer.status, digest, self._at()))
        return answer

    # content

    def _content(self, asked: CallAsked, success: bool) -> None:
        effect = self.spec.spec.effects[asked.action.effect]
        if effect.target == "none" or (effect.target == "disk" and asked.disk < 0):
            return
        image: Key = image_key(asked.image)
        disk: Key = disk_key(asked.vm, asked.disk)
        target = image if effect.target == "image" else disk
        origin: Key | None = None
        path: Version | None = None
        match effect.from_:
            case "path":
                path = self.files.get(asked.facts.get("path", ""))
            case "original":
                origin = image_key(self.cloud.images[asked.image].cloning_id)
            case "image":
                origin = image
            case "disk":
                origin = disk
        size = int(asked.facts.get("size_mb", "0")) * MIB
        alias = asked.facts.get("ln_target", "NONE") == "NONE"
        named = effect.names_only != "" and self.cloud.images[asked.image].format == effect.names_only
        self.content.apply(effect, success and not named, target, origin, path, size, alias)


def _gate_fault(step: Step) -> Fault:
    return Fault(
        str(step.arguments.get("command", "")), int(step.arguments.get("ordinal", 1)), str(step.arguments["act"]), str(step.arguments.get("arg", ""))
    )
