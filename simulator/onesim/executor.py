"""The executor: plays one trace in a world of its own and writes what is seen to the history.

One direction: trace -> oned -> call -> the script on a host -> what was seen -> oned. Calls run one after the other in the order in which oned asks, so
that two runs of one trace give equal histories, unless the trace asks operations beside others or a driver's question leads to calls: then they overlap,
and their schedule is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from onesim import monitord, monitoring, operations, questions, quotas
from onesim.backup_listing import BackupListing
from onesim.content import image_key
from onesim.errors import HarnessError, Lacking, TraceError
from onesim.events import Answer, CallAsked, Changed, OperationAsked, Outcome, Output, QuestionAsked, Refused
from onesim.guests import Guests
from onesim.hypervisor import Hypervisor
from onesim.journal import BlobStore, Writer
from onesim.layout import HOSTS, REMOTES, Subjected, furnish, make_cloud, shared_of
from onesim.lending import lend
from onesim.mad.runner import MadRunner, ProgramWorld
from onesim.market import Export, Market
from onesim.model import FRONTEND, Datastore
from onesim.observer import Observer
from onesim.oned import Oned
from onesim.outstanding import Outstanding, Told
from onesim.pool_datastores import pool_kind, with_lent
from onesim.probing import Probing
from onesim.qemu import Qemu
from onesim.records import Call, CaseBegin, CaseEnd, Lines, MadEnd, MadFault, MadLine, Operation, Question, StateChange
from onesim.running import DirectRunner, Runner
from onesim.schedule import Chooser, Seeded
from onesim.scripts import Begun, Scripts
from onesim.seats import Seat, image_seat, on_network
from onesim.spec import ContractSpec
from onesim.trace import Step, Trace
from onesim.tracetext import render
from onesim.tracking import Tracking
from onesim.userfiles import UserFiles
from onesim.virsh import Virsh
from onesim.world.interface import Datagram as WorldDatagram
from onesim.world.interface import Question as WorldQuestion
from onesim.world.interface import Run, World

_DATASTORE_CONF = f"{REMOTES}/etc/datastore/datastore.conf"
_CLOSED = "monitoring told of no room"


@dataclass(frozen=True)
class CaseSummary:
    """How a case ended, for progress and for the plan."""

    case: str
    outcome: str
    reason: str
    calls: int
    duration_s: float


#: Of requests that the recording of an array has no answer to so many are kept, and so much of each.
_UNANSWERED, _UNANSWERED_CHARS = 20, 1000


class CaseRun:
    """One case: a trace, a world, an oned, a content model. `call_seen` is told of each call for progress.

    `chooser` makes the schedule of calls that overlap, from the operation that they begin with; by default the one that the seed 0 picks.
    """

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
        chooser: Callable[[int], Chooser] | None = None,
    ) -> None:
        self.spec, self.subject, self.trace, self.world = spec, subject, trace, world
        self.writer, self.blobs, self.expects = writer, blobs, expects
        self.case = trace.name
        self.shared = shared_of(subject, trace.header.shared)
        self.cloud = make_cloud(subject, self.shared)
        self.oned = Oned(spec, self.cloud)
        self.tracking = Tracking(spec.spec, self.cloud)
        self.virsh: Hypervisor = (Qemu if subject.hypervisor == "qemu" else Virsh)(world, (FRONTEND, *HOSTS))
        self.observer = Observer(world, self.cloud, self.tracking.model, writer, blobs, self.case, subject.probes, self.virsh.layer)
        self.market = Market(spec, subject, world, self.observer, self.tracking, writer, self.case)
        self.runner = self._make_runner()
        self.scripts = Scripts(self.oned, subject, trace, world, self.runner, self.observer, writer, blobs, call_seen, self.virsh)
        told = Told(self._begins, self._state, self._ended, self._hypervisor_failed, self._answered)
        self.outstanding = Outstanding(self.oned, self.scripts, told, chooser or (lambda n: Seeded(f"0:{self.case}:{n}")), subject.scripts)
        number, at = self.outstanding.number, self.scripts.at
        self.listing = BackupListing(self.oned, subject, trace, world, self.observer, writer, blobs, number, at, call_seen)
        self.guests = Guests(trace, world, self.observer, self.tracking, self.virsh, writer, at)
        self.files = UserFiles(world, trace.header.bytes_of or self.case, self.tracking.files, self.tracking.packed)
        self.lost = ""
        self.sources: dict[int, Seat] = {}
        self._lent: set[int] = set()  # images of volumes that were in a pool before, and stay there
        self.stopped = ""
        self._acted = False
        self._last = -1
        self._failed: set[int] = set()
        self._gone: list[tuple[int, Changed]] = []
        self._of: dict[tuple[str, int], int] = {}
        self._given_up: set[int] = set()
        self._waiting: dict[int, WorldQuestion] = {}
        self._exports: list[Export] = []
        world.on_datagram = self._datagram

    @property
    def images(self) -> Datastore:
        """The datastore that images come into."""
        return next(one for one in self.cloud.datastores.values() if one.name == "images")

    def _make_runner(self) -> Runner:
        if not self.subject.mads:
            return DirectRunner(self.world)
        if not isinstance(self.world, ProgramWorld):
            raise HarnessError("driver programs need hosts made of namespaces")

        def note(record: MadLine | MadFault | MadEnd) -> None:
            self.writer.write(msgspec.structs.replace(record, at_ns=self.scripts.at()))

        return MadRunner(self.world, self.spec, self.subject.mads, dict(self.subject.environment), self.case, note, self.observer.refresh)

    def run(self) -> CaseSummary:
        """Play the trace to its end, or to the point where the driver has made the rest impossible."""
        volumes = any(on_network(one) for one in self.cloud.datastores.values())
        hosts, probed, pool = self.subject.machines, self.subject.probes.tells, pool_kind(self.images.template)
        driver, gates, title = self.cloud.conf(self.subject.tm_mad).driver, self.trace.header.gates, self.trace.header.title
        played = self.blobs.put(render(self.trace, self.spec.spec, seen=False).encode(), inline=0).sha256
        self.writer.write(CaseBegin(self.case, title, hosts, self.shared, self.expects, volumes, probed, pool, driver, gates, played))
        outcome, reason = "completed", ""
        try:
            self._require()
            furnish(self.world, self.cloud, self.subject)
            self.virsh.open()
            self.observer.refresh()
            self.runner.open()
            for group in self.trace.groups():
                if self._skips(*group[0]):
                    continue
                reason = self.runner.broken or self._play(group)
                if reason:
                    outcome = "stopped"
                    break
            self.runner.close()
            for command in self.subject.teardown:
                self.world.must_run(FRONTEND, ["/bin/bash", "-c", command])
        except HarnessError as error:
            outcome, reason = "lacking" if isinstance(error, Lacking) else "error", str(error)
        duration, calls = self.scripts.at(), self.outstanding.calls
        if self.scripts.lines:
            self.writer.write(Lines(self.case, {file: tuple(sorted(lines)) for file, lines in sorted(self.scripts.lines.items())}))
        self.writer.write(CaseEnd(self.case, outcome, reason, calls, duration, self._unanswered()))
        return CaseSummary(self.case, outcome, reason, calls, duration / 1e9)

    def _require(self) -> None:
        """Raise Lacking if the trace has a fault made that this backend cannot make, or needs an agent that no guest here has."""
        for step in self.trace.steps:
            if not self.virsh.agent and step.arguments.get("backup", {}).get("freeze") == "AGENT":
                raise Lacking("a guest without an operating system has no agent that freezes its file systems; the simulated hypervisor has one")
            act = "down" if step.op == "host.down" else str(step.arguments["act"]) if step.op == "fault.next" else ""
            if act in self.world.unable:
                raise Lacking(f"the hosts of this backend cannot have the fault {act}: {self.world.unable[act]}")

    def _unanswered(self) -> tuple[str, ...]:
        """Return what the driver asked of an array that is answered for, in vain."""
        if not self.subject.misses:
            return ()
        try:
            told = self.world.read(FRONTEND, self.subject.misses).decode(errors="replace")
        except HarnessError:
            return ()  # the world is gone, and how the case ended says so
        return tuple(line[:_UNANSWERED_CHARS] for line in told.splitlines()[:_UNANSWERED])

    def _skips(self, n: int, step: Step) -> bool:
        """Whether a step is left out: one that is to do again what has not failed."""
        if not step.after and not self._of_the_world(step):
            self._last = n
        return bool(step.after) and self._last not in self._failed

    def _play(self, group: tuple[tuple[int, Step], ...]) -> str:
        """Play the steps of a group. Returns why the case cannot go on, empty if it can."""
        self.stopped, self._acted, self._gone, self._of, self._given_up, self._exports = "", False, [], {}, set(), []
        busy = self.guests.busy
        self.outstanding.play(group, self._ask)
        self.guests.rest(busy)
        if self.outstanding.lost_world or self.runner.broken:
            return self.runner.broken or self.lost
        if self.stopped or not self._acted:
            return self.stopped
        for export in self._exports:
            self.market.take(export, self.scripts.at())
        self.tracking.settle()
        self.observer.observe(group[-1][0], self.outstanding.calls - 1, self._of)
        for n, changed in self._gone:
            if changed.kind == "vm" and changed.id in self._given_up:
                continue  # a script that nobody stopped may have made something again
            self.observer.observe_gone(changed.kind, changed.label, self._places_of(changed.kind, changed.id), n)
        return ""

    def _of_the_world(self, step: Step) -> bool:
        return step.op.partition(".")[0] not in self.spec.spec.lifecycles

    def _ask(self, n: int, step: Step) -> list[Output] | None:
        """Ask one operation of oned or of the world. Returns what follows; None, with the reason in `stopped`, if the case cannot go on."""
        if "source" in step.arguments:
            step = replace(step, arguments={**step.arguments, "source": with_lent(str(step.arguments["source"]), self.images)})
        arguments = {name: value for name, value in step.arguments.items() if isinstance(value, str | int | bool)}
        arguments["expect"] = step.expect
        if step.op in UserFiles.OPERATIONS:
            arguments |= self.files.play(step.op, step.arguments, f"{self.trace.path}:{step.line}")
            self.observer.refresh()
        if self._of_the_world(step):
            self.writer.write(Operation(self.case, n, step.op, arguments, "", self.scripts.at()))
            self._acted = self._acted or step.op == "guest.write"
            self.stopped = self._world_step(n, step)
            return None if self.stopped else []
        outputs = self.oned.feed(OperationAsked(n, step.op, step.arguments))
        refused = next((one.reason for one in outputs if isinstance(one, Refused)), "")
        self.writer.write(Operation(self.case, n, step.op, arguments, refused, self.scripts.at()))
        if refused and step.expect != "success":
            if step.expect == "any":
                self.lost = self.lost or f"{step.op} was refused ({refused})"
            return []  # a refusal is a failure that no driver is asked for
        if refused.startswith((monitoring.FULL, monitoring.NO_HOST)):
            self.lost = self.lost or _CLOSED
        if refused and not self.lost:
            raise TraceError(f"{self.trace.path}:{step.line}: oned refuses {step.op}: {refused}")
        if refused:
            self.stopped = f"{step.op} became impossible ({refused}) after {self.lost}"
            return None
        self._acted = True
        if not any(isinstance(one, CallAsked) for one in outputs):
            # a VM that waits for a host ends, and oned asks nobody to take away what it has left at its last one (DispatchManager::delete_vm)
            self._given_up |= {one.id for one in outputs if isinstance(one, Changed) and (one.kind, one.state) == ("vm", "DONE")}
        if step.op.startswith("vm.recover"):
            id = self.cloud.find("vm", step.arguments["vm"])
            self._given_up |= {one.asked.vm for one in self.outstanding.running.values() if one.asked.vm == id}
            if step.op == "vm.recover_success" and id is not None:
                self._given_up.add(id)  # an operator says that it was done; no driver was asked
        id = self.cloud.find("image", step.arguments["image"]) if step.op == "image.adopt" else None
        if id is not None and pool_kind(self.cloud.datastores[self.cloud.images[id].datastore].template):
            self._lent.add(id)
            held = self.tracking.files.get(str(step.arguments["source"]))
            if held is not None:
                self.tracking.model.put(image_key(id), frozenset({held}))
        # what a backup's SOURCE means, its driver alone knows
        lying = [image for image in self.cloud.images.values() if image.source and image.type != "BACKUP"]
        self.sources |= {image.id: image_seat(self.cloud, image, self.subject.probes) for image in lying}
        return outputs

    def _places_of(self, kind: str, id: int) -> list[Seat]:
        """Return where nothing may be left of an object that is gone."""
        if kind == "image":
            return [self.sources[id]] if id in self.sources and id not in self._lent else []
        vm = self.cloud.vms[id]
        directories = [Seat(host, self.cloud.directory(record, vm)) for record in vm.history for host in (FRONTEND, *HOSTS)]
        own = [self.observer.seat(vm, disk) for disk in vm.disks if vm.history and disk.kind in ("nonpersistent", "volatile", "swap")]
        return directories + [one for one in own if one.means or not one.path.startswith("/")]

    # steps of the world

    def _world_step(self, n: int, step: Step) -> str:
        arguments = step.arguments
        match step.op:
            case "file.put":
                self.world.put(arguments["host"], arguments["path"], arguments["text"].encode())
                self.observer.refresh()
            case "guest.write" | "guest.busy":
                return self.guests.play(n, step, self.lost)
            case "volume.make":
                source, held = lend(self.world, self.images, self.subject.probes, self.case, step.arguments)
                self.tracking.files[source] = held
                self.observer.refresh()
            case "fault.next":
                self.scripts.faults.append(step)
            case "host.down":
                self.world.host_down(arguments["host"])
                self._known_down(arguments["host"], "the host does not answer" if arguments.get("known") else "")
            case "host.up":
                self.world.host_up(arguments["host"])
                self._known_down(arguments["host"], "")
            case "host.probe":
                self._probe(n, step)
            case "backup.base":
                self._backup_base(arguments["path"])
            case "documents.write":
                self.cloud.writing = arguments["how"]
            case "monitor.encrypt":
                failed = monitord.encrypt(self.world, self.oned)
                self.observer.refresh()
                return failed
        return ""

    def _backup_base(self, path: str) -> None:
        """Set BACKUP_BASE_PATH to a directory of the hosts, as an administrator does."""
        for host in HOSTS:
            self.world.must_run(host, ["/bin/mkdir", "-p", "--", path])
        conf = self.world.read(FRONTEND, _DATASTORE_CONF)
        self.world.put(FRONTEND, _DATASTORE_CONF, conf + f'BACKUP_BASE_PATH="{path}"\n'.encode())
        self.cloud.backup_base = path
        self.observer.refresh()

    def _known_down(self, name: str, error: str) -> None:
        host = self.cloud.host_named(name)
        if host is not None:
            host.error = error

    def _probe(self, n: int, step: Step) -> None:
        """Run the probes of a node; what it sends reaches the monitor daemon."""
        host = self.cloud.host_named(step.arguments["host"])
        if host is None:
            raise TraceError(f"{self.trace.path}:{step.line}: host.probe names no host; this world has {', '.join(HOSTS)}")
        facts = {"expect": step.expect, "op": step.op, "about": step.about}
        number, at, limits = self.outstanding.number, self.scripts.at, self.subject.limits
        probing = Probing(self.world, self.oned, self.blobs, self.case, n, facts, limits, number, at, self._note_probe)
        for message in probing.messages(host):
            monitord.take(self.oned, self.writer, self.blobs, self.case, -1, message, at(), host.name)

    def _note_probe(self, call: Call) -> None:
        """Write down a call that a node's probe has made, with what it changed."""
        self.writer.write(msgspec.structs.replace(call, tree=self.observer.changes()))
        if self.scripts.seen is not None:
            self.scripts.seen(call)

    # what oned and the calls tell

    def _begins(self, asked: CallAsked) -> None:
        self.listing.ask(asked)
        self.tracking.began(asked)

    def _state(self, operation: int, changed: Changed) -> None:
        if changed.error == monitoring.FULL:
            self.lost = self.lost or _CLOSED
        elif changed.error.startswith((quotas.BEYOND, operations.TAKEN)):
            self.lost = self.lost or changed.error
        row = self.spec.spec.number(changed.kind, changed.state)
        self.writer.write(
            StateChange(
                self.case,
                changed.kind,
                changed.id,
                changed.label,
                changed.state,
                row.state,
                row.lcm,
                changed.error,
                operation,
                self.scripts.at(),
            )
        )
        self._of[changed.kind, changed.id] = operation
        self.tracking.changed(changed)
        if changed.kind != "datastore" and changed.state in ("GONE", "DONE") and changed.id >= 0:
            self._gone.append((operation, changed))

    def _ended(self, begun: Begun, run: Run, outcome: Outcome) -> None:
        asked = begun.asked
        self.tracking.ended(asked, success=outcome.success and run.ended_by != "lost")
        if asked.action.key == "ds/export" and outcome.success:
            self._exports.append(Export(asked, begun.n, run.stdout))
        if run.ended_by == "world_lost" or self.world.broken:
            self.lost = f"world lost in call {begun.n} ({asked.action.key})"
        elif not outcome.success:
            self._failed.add(asked.operation)
            self.lost = f"call {begun.n} ({asked.action.key}) failed"
        elif self.trace.steps[asked.operation].expect == "failure":
            self.lost = f"call {begun.n} ({asked.action.key}) succeeded"
        self.guests.between(asked.vm, asked.operation)

    def _hypervisor_failed(self, error: str) -> None:
        self.lost = f"the hypervisor found that {error}"

    def question(self, asked: WorldQuestion) -> Answer | None:
        """Answer a question that a driver asks oned or libvirt while it runs; called by the world. None if the answer needs calls of its own."""
        asking = self.outstanding.running.get(asked.call)
        if asked.kind == "virsh":
            answer = self.virsh.answer(asked)
            self._note_question(asked, answer)
            if asking is not None:
                self.guests.served(asking.asked.vm, asking.asked.operation, asked)
            return answer
        outputs = self.oned.feed(QuestionAsked(asked.kind, asked.argv, asked.body, asking.asked.call if asking else -1, asked.number))
        match outputs:
            case [Answer() as answer]:
                self._note_question(asked, answer)
                return answer
        self._waiting[asked.number] = asked
        self.outstanding.nested(asked.call, outputs)
        return None

    def _answered(self, answer: Answer) -> None:
        asked = self._waiting.pop(answer.question)
        self._note_question(asked, answer)
        self.world.answer(answer.question, answer)

    def _note_question(self, asked: WorldQuestion, answer: Answer) -> None:
        asking = self.outstanding.running.get(asked.call)
        digest = self.blobs.put(answer.stdout, inline=0).sha256
        n = asking.n if asking else -1
        words = questions.spoken(asked.body) if asked.kind == "xmlrpc" else asked.argv
        self.writer.write(Question(self.case, n, asked.kind, words, answer.status, digest, self.scripts.at(), asked.host))

    def _datagram(self, sent: WorldDatagram) -> None:
        """Hand a datagram to oned as it comes, also while the call that sent it and others still run; called by the world."""
        call = int(sent.call.rpartition("/")[2]) if sent.call else -1
        monitord.take(self.oned, self.writer, self.blobs, self.case, call, sent.data, self.scripts.at())
