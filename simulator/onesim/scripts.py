"""One call: the script with its arguments and stdin is started in the world, and what was seen of it becomes a record."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from onesim import documents, hypervisor, measuring, validation
from onesim.events import CallAsked, Outcome
from onesim.hypervisor import Hypervisor
from onesim.journal import BlobStore, Writer
from onesim.layout import REMOTES, Subjected, context_script
from onesim.model import FRONTEND
from onesim.observer import Observer
from onesim.oned import Oned
from onesim.records import Call, Command, FaultInjected, TreeChange
from onesim.running import Runner, Start
from onesim.trace import Step, Trace
from onesim.world.interface import Fault, Held, Run, World

_FOLDERS = {"ds": "datastore", "tm": "tm"}


@dataclass
class Begun:
    """A call under way; `run` is there once it has ended.

    `moving` = it has not come to a gate since it was let go; `held` are its commands that stand at one.
    """

    start: Start
    fault: Step | None
    at_ns: int
    run: Run | None = None
    moving: bool = True
    held: list[Held] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Its number among the calls of the case."""
        return self.start.n

    @property
    def id(self) -> str:
        """The world's name for it."""
        return self.start.id

    @property
    def asked(self) -> CallAsked:
        """What oned has asked for."""
        return self.start.asked


class Scripts:
    """Has the driver's scripts of one case run, by `runner`.

    `faults` are the steps that wait for a call; `seen` is told of each record, `domains` of what the hypervisor is to do.
    `lines` are those of the driver that were run, by file; `failed_in` the files in which calls have failed.
    """

    def __init__(
        self,
        oned: Oned,
        subject: Subjected,
        trace: Trace,
        world: World,
        runner: Runner,
        observer: Observer,
        writer: Writer,
        blobs: BlobStore,
        seen: Callable[[Call], None] | None,
        domains: Hypervisor,
    ) -> None:
        self.oned, self.subject, self.trace, self.world, self.runner = oned, subject, trace, world, runner
        self.spec, self.cloud = oned.spec, oned.cloud
        self.observer, self.writer, self.blobs, self.seen = observer, writer, blobs, seen
        self.domains = domains
        self.faults: list[Step] = []
        self.lines: dict[str, set[int]] = {}
        self.failed_in: set[str] = set()
        self.started_ns = time.monotonic_ns()

    def at(self) -> int:
        """Return the nanoseconds since the case began."""
        return time.monotonic_ns() - self.started_ns

    def free(self, asked: CallAsked) -> bool:
        """Whether a call can begin now."""
        return self.runner.free(asked, self.oned.transfer(asked.call)[0])

    def begin(self, n: int, asked: CallAsked) -> Begun:
        """Have a script started. A call that is planned to be lost ends at once."""
        self._prepare(asked)
        fault = self._fault(asked)
        start = Start(
            asked,
            n,
            f"{self.trace.name}/{n}",
            self._script(asked),
            tuple(self._argv(asked)),
            self._stdin(asked),
            self.subject.environment,
            self.subject.limits,
            () if fault is None else (_gate_fault(fault),),
            self.oned.transfer(asked.call),
        )
        begun = Begun(start, fault, self.at())
        if fault is not None and fault.arguments["act"] == "lost":
            self.runner.abandon(start)
            begun.run = Run(ended_by="lost", status=-1)
        else:
            begun.run = self.runner.begin(start)
        begun.moving = begun.run is None
        return begun

    def _prepare(self, asked: CallAsked) -> None:
        """Write the files that oned itself writes before a call."""
        vm = self.cloud.vms.get(asked.vm)
        if asked.action.key == "tm/context" and vm is not None and vm.context is not None:
            self.world.put(FRONTEND, f"{self.cloud.vms_dir}/{vm.id}/context.sh", context_script(vm.context))
            self.observer.refresh()
        if asked.document and not self.cloud.writing:
            validation.validate_or_raise(asked.action.key, self.spec.version, asked.document.encode())

    def _script(self, asked: CallAsked) -> str:
        """Return the path of the script: with the mode's suffix if that file is there, else without (one_tm.rb:103)."""
        folder = f"{REMOTES}/{_FOLDERS[asked.action.family]}/{asked.mad}"
        suffixed = f"{folder}/{asked.action.name}{asked.suffix}"
        return suffixed if asked.suffix and self.world.exists(FRONTEND, suffixed) else f"{folder}/{asked.action.name}"

    def _argv(self, asked: CallAsked) -> list[str]:
        names = self.spec.argv(asked.action)
        if "dump" not in names:
            return list(asked.argv)
        encoded = base64.b64encode(asked.document.encode()).decode()
        return [encoded if name == "dump" else asked.arguments[name] for name in names]

    def _stdin(self, asked: CallAsked) -> bytes:
        document = asked.document.encode()
        return {"none": b"", "plain": document, "base64": base64.b64encode(document)}[self.spec.spec.carriages[asked.stdin].encoding]

    def _fault(self, asked: CallAsked) -> Step | None:
        """Return the fault that is meant for a call: the first one for its action, unless it lets some calls of that action pass before."""
        for n, step in enumerate(self.faults):
            if step.arguments["action"] == asked.action.key:
                passing = int(step.arguments.get("skip", 0))
                if passing:
                    self.faults[n] = replace(step, arguments={**step.arguments, "skip": passing - 1})
                    return None
                return self.faults.pop(n)
        return None

    def wait_s(self, asked: CallAsked) -> float:
        """Return how many seconds the user's request waits for a call; 0 if it does not."""
        return asked.action.wait_s * self.subject.wait_scale

    def _facts(self, asked: CallAsked) -> dict[str, str]:
        step = self.trace.steps[asked.operation] if asked.operation >= 0 else None
        waits = {"wait_s": f"{self.wait_s(asked):g}"} if asked.action.wait_s else {}
        told = {"expect": step.expect, "op": step.op, "about": step.about} if step else {"expect": "success"}
        return {**asked.facts, **waits, **{name: value for name, value in told.items() if value}}

    def record(self, begun: Begun, run: Run, outcome: Outcome, tree: tuple[TreeChange, ...], observed: bool) -> None:
        """Write down a call that has ended."""
        asked, sources = begun.asked, self.subject.sources
        if sources is not None and run.lines is not None:
            for file, lines in sources.lines(run.lines, self.lines).items():
                self.lines.setdefault(file, set()).update(lines)
        failed_at = sources.failed(run, begun.start.script) if sources is not None and not outcome.success else None
        if failed_at is not None:
            self.failed_in.add(failed_at.file)
        call = Call(
            case=self.trace.name,
            n=begun.n,
            operation=asked.operation,
            family=asked.action.family,
            mad=asked.mad,
            action=asked.action.name + asked.suffix,
            script=begun.start.script,
            host=FRONTEND,
            argv=begun.start.argv,
            arguments={name: value for name, value in asked.arguments.items() if name != "dump"},
            success=outcome.success,
            ended_by=run.ended_by,
            status=run.status or 0,
            signal=run.signal or 0,
            facts=self._facts(asked) | measuring.truth(self.world, self.cloud, asked, self.subject.probes),
            stdin=self.blobs.put(begun.start.stdin),
            stdout=self.blobs.put(run.stdout, run.stdout_seen),
            stderr=self.blobs.put(run.stderr, run.stderr_seen),
            parsed=outcome.parsed,
            parse_error=outcome.parse_error,
            error=outcome.error,
            at_ns=begun.at_ns,
            duration_ns=run.duration_ns,
            commands=tuple(Command(one.name, one.argv, one.host, one.at_ns, one.fault) for one in run.commands),
            tree=tree,
            leftovers=run.leftovers,
            stdin_left=run.stdin_left,
            vm=asked.vm,
            disk=asked.disk,
            image=asked.image,
            datastore=asked.datastore,
            observed=observed,
            failed_at=failed_at,
            last_at=sources.last(run, begun.start.script, self.lines) if sources is not None else (),
        )
        self.writer.write(call)
        self._note_fault(begun, run)
        if self.seen is not None:
            self.seen(call)

    def _note_fault(self, begun: Begun, run: Run) -> None:
        if begun.fault is not None:
            fault = begun.fault.arguments
            hit = run.ended_by == "lost" or any(one.fault for one in run.commands)
            ordinal = int(fault.get("ordinal", 1))
            words = str(fault.get("command", "")), ordinal, str(fault["act"]), hit, str(fault.get("kind", ""))
            self.writer.write(FaultInjected(self.trace.name, begun.n, *words))

    def _files(self, asked: CallAsked, deployment: str) -> hypervisor.Files:
        """Return what one_vmm_exec lays into the VM directory."""
        datastore = documents.datastore_xml(self.cloud.datastores[asked.datastore], self.spec.version, self.cloud)
        return hypervisor.Files(deployment, documents.vm_xml(self.cloud.vms[asked.vm], self.cloud, self.spec, records="last"), datastore)

    def hypervisor(self, n: int, asked: CallAsked) -> str:
        """Let the simulated hypervisor act, unless a fault has it refuse, and write that down. Returns the error, empty for success."""
        vm = self.cloud.vms[asked.vm]
        places = {disk.id: self.observer.seat(vm, disk) for disk in vm.disks if disk.kind != "virtiofs"}
        if vm.context is not None:
            places[vm.context_disk] = self.observer.context_seat(vm)
        at = self.at()
        document = self.oned.carried(asked.call)
        carriage = self.spec.spec.carriages[self.spec.stdin(asked.action)]
        if carriage.root != "domain":
            validation.validate_or_raise(carriage.root, self.spec.version, document.encode())
        struck = self._fault(asked)
        if struck is not None:
            error = str(struck.arguments.get("arg", "")).partition(" ")[2] or "the hypervisor refuses"
            self.domains.fails(asked, vm)
        else:
            error = hypervisor.act(self.world, asked, places, partial(self._files, asked, document), brings=self.spec.holds(since="5.13.80"))
        error = error or self.domains.acted(asked, vm, asked.facts["vm_directory"], document)
        if error and asked.action.name == "deploy":
            self.observer.unbooted[vm.id] = asked.operation
        self.observer.refresh()
        self.writer.write(
            Call(
                self.trace.name,
                n,
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
                stdin=self.blobs.put(document.encode()),
                error=error,
                at_ns=at,
                duration_ns=self.at() - at,
                vm=asked.vm,
            )
        )
        return error


def _gate_fault(step: Step) -> Fault:
    given = step.arguments
    return Fault(
        str(given.get("command", "")), int(given.get("ordinal", 1)), str(given["act"]), str(given.get("arg", "")), str(given.get("host", ""))
    )
