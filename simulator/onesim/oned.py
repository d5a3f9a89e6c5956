"""The simulated oned: fed events, yields calls and answers. It opens no file, starts no process and knows no clock or chance.

The lifecycles are rows of `spec/lifecycle`; a phase runs its scripts one call after the other, and the row says what follows. An operation for which no
row holds is refused as oned refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from onesim import documents, operations, parsers, questions
from onesim.calling import Job, Planned, Subjected, compose
from onesim.changes import IMAGE_MAKES, IMAGE_SETTLES, MAKES, SETTLES, Prepared
from onesim.cloud import Cloud
from onesim.derived import FACTS, IMAGE_FACTS, Subject
from onesim.errors import SpecError
from onesim.events import (
    CallAsked,
    CallFinished,
    Changed,
    DatagramReceived,
    Event,
    OperationAsked,
    Outcome,
    Output,
    QuestionAsked,
    Refused,
    TimerFired,
)
from onesim.model import Datastore, Image, Vm
from onesim.operations import Refusal
from onesim.rows import OperationRow, Phase, ScriptRow
from onesim.spec import ContractSpec


class Oned:
    """The daemon's state and its one entrance, `feed`."""

    def __init__(self, spec: ContractSpec, cloud: Cloud) -> None:
        self.spec = spec
        self.cloud = cloud
        self._calls: dict[int, tuple[Job, Planned, CallAsked]] = {}
        self._next_call = 0

    @property
    def busy(self) -> bool:
        """Whether calls are outstanding."""
        return bool(self._calls)

    def feed(self, event: Event) -> list[Output]:
        """Take one event and return what follows from it, in order."""
        match event:
            case OperationAsked():
                self.cloud.now_s += 1
                try:
                    return list(self._operation(event))
                except Refusal as refusal:
                    return [Refused(str(refusal))]
            case CallFinished():
                return list(self._finished(event))
            case QuestionAsked():
                return [questions.answer(self.cloud, self.spec, event)]
            case TimerFired(name):
                return self.feed(OperationAsked(-1, "datastore.monitor", {"datastore": name}))
            case DatagramReceived():
                return []

    # operations

    def _operation(self, event: OperationAsked) -> Iterator[Output]:
        kind, _, name = event.op.partition(".")
        rows = self.spec.operations(kind, name) if kind in self.spec.spec.lifecycles else []
        if not rows:
            raise Refusal(f"operation {event.op!r} is unknown")
        if not rows[0].from_:
            yield from self._birth(kind, name, rows[0], event)
            return
        id = operations.known(self.cloud, kind, event.arguments)
        subject = self._object(kind, id)
        state = "READY" if isinstance(subject, Datastore) else subject.state
        row = self._holding(rows, subject, state)
        beside = row is not None and row.enter and self.spec.phases[kind, row.enter].beside
        if not beside and any(job.subject is subject for job, _, _ in self._calls.values()):
            raise Refusal(f"{kind} {self.cloud.label(kind, id)!r} is {state} and busy")
        if row is None:
            raise Refusal(f"operation {event.op} is not allowed for {kind} {self.cloud.label(kind, id)!r} in state {state}")
        prepared = self._prepare(row, subject, event)
        if prepared.image is not None:
            yield self._changed("image", prepared.image)
        if prepared.disk is not None and prepared.disk.image >= 0 and row.makes == "disk":
            yield self._changed("image", self.cloud.images[prepared.disk.image])
        if row.to:
            yield from self._rest(kind, subject, row.to, "")
        elif row.ends:
            # the operator says that the phase which failed has been made good: it goes on as if it had succeeded
            done = next(phase for (of, _), phase in self.spec.phases.items() if of == kind and phase.failure == state)
            yield from self._go(kind, subject, done.success, event.n, done, prepared)
        elif row.enter:
            enter = "MONITOR_SYSTEM" if isinstance(subject, Datastore) and subject.type == "SYSTEM_DS" else row.enter
            if isinstance(subject, Datastore) and subject.type == "SYSTEM_DS" and not self.cloud.conf(subject.tm_mad).shared:
                return
            yield from self._enter(kind, subject, enter, event.n, prepared)

    def _prepare(self, row: OperationRow, subject: Subjected, event: OperationAsked) -> Prepared:
        """Make what the row says before the first call. A refusal comes before anything has changed."""
        prepared = Prepared()
        if isinstance(subject, Image) and row.makes:
            prepared = IMAGE_MAKES[row.makes](self.cloud, subject, event.arguments)
        elif isinstance(subject, Vm):
            if row.makes:
                prepared = MAKES[row.makes](self.cloud, self.spec, subject, event.arguments)
            if row.record == "new":
                operations.new_record(self.cloud, subject, event.arguments)
            elif row.record == "copy":
                subject.history.append(replace(subject.history[-1], seq=len(subject.history), stime_s=self.cloud.now_s))
            elif row.record == "back":
                operations.step_back(subject, self.cloud.now_s)
        return prepared

    def _object(self, kind: str, id: int) -> Subjected:
        match kind:
            case "vm":
                return self.cloud.vms[id]
            case "image":
                return self.cloud.images[id]
            case _:
                return self.cloud.datastores[id]

    def _holding(self, rows: list[OperationRow], subject: Subjected, state: str) -> OperationRow | None:
        previous = subject.prev_state if isinstance(subject, Vm) else ""
        for row in rows:
            if state in row.from_ and (not row.previous or previous in row.previous):
                return row
        return None

    def _birth(self, kind: str, name: str, row: OperationRow, event: OperationAsked) -> Iterator[Output]:
        if kind == "vm":
            vm = operations.make_vm(self.cloud, self.spec, event.arguments)
            for id in sorted({disk.image for disk in vm.disks if disk.image >= 0}):
                yield self._changed("image", self.cloud.images[id])
            yield self._changed("vm", vm)
            return
        image = operations.make_image(self.cloud, event.arguments, name)
        yield from self._enter(kind, image, row.enter, event.n)

    def _bear(self, image: Image) -> None:
        operations.add_image(self.cloud, image)
        original = self.cloud.images.get(image.cloning_id)
        if original is not None:
            original.cloning_ops += 1
            original.state = "CLONE" if original.persistent else "USED"

    # phases

    def _enter(self, kind: str, subject: Subjected, name: str, operation: int, prepared: Prepared | None = None) -> Iterator[Output]:
        phase = self.spec.phases[kind, name]
        job = Job(kind, subject, phase, operation, prepared or Prepared())
        for index, script in enumerate(phase.scripts):
            job.waiting += self._plan(job, script, phase.places[index] if phase.places else phase.here)
        if not isinstance(subject, Datastore) and not phase.beside:
            if isinstance(subject, Image) and subject.id < 0 and not phase.absent:
                self._bear(subject)
            if subject.state != phase.shown:
                subject.prev_state, subject.state = subject.state, phase.shown
                if not phase.absent:
                    yield self._changed(kind, subject)
        yield from self._next(job)

    def _plan(self, job: Job, script: str, here: str) -> Iterator[Planned]:
        subject, there = job.subject, job.phase.there
        rows = self.spec.scripts.get(script, [])
        if not isinstance(subject, Vm):
            yield from (Planned(row) for row in rows if not row.needs or IMAGE_FACTS[row.needs](subject))
            return
        disks = {row.kind: row for row in rows if row.each == "disk"}
        carried = ""
        for disk in subject.disks if disks else ():
            own = f".{disk.tm_mad_system}" if disk.tm_mad_system else ""
            carried = own or carried
            row = disks.get(disk.kind)
            if row is not None and self._needed(job, row, here):
                yield Planned(row, here, there, disk, {"none": "", "own": own, "carried": carried}[row.suffix])
        for row in rows:
            if row.each == "disk" or not self._needed(job, row, here):
                continue
            if row.each == "file":
                yield from (Planned(row, here, there, file=file) for file in subject.files)
            elif row.each == "subject":
                disk = job.prepared.the_disk()
                if disk.kind == row.kind:
                    yield Planned(row, here, there, disk, f".{disk.tm_mad_system}" if disk.tm_mad_system and row.suffix == "own" else "")
            elif row.each != "context" or subject.context is not None:
                yield Planned(row, here, there, job.prepared.disk if row.each == "vm" else None)

    def _needed(self, job: Job, row: ScriptRow, here: str) -> bool:
        if not row.needs:
            return True
        assert isinstance(job.subject, Vm), "rows of other objects need facts of images"
        return bool(FACTS[row.needs](Subject(self.spec, self.cloud, job.subject, None, here, job.phase.there)))

    def _next(self, job: Job) -> Iterator[Output]:
        if job.waiting:
            yield self._ask(job, job.waiting.pop(0))
        else:
            yield from self._end(job)

    def _end(self, job: Job) -> Iterator[Output]:
        failed = bool(job.error) and job.phase.fails == "stop"
        subject, phase = job.subject, job.phase
        if phase.beside:
            return
        if failed and phase.return_ and isinstance(subject, Vm):
            subject.history.pop()
        settled = list(self._settle(job, phase.drops if failed else phase.keeps))
        if isinstance(subject, Image) and subject.cloning_id >= 0 and phase.scripts == ("image_clone",):
            yield from self._clone_ended(subject)
        yield from self._go(
            job.kind, subject, phase.failure if failed else phase.success, job.operation, phase, job.prepared, job.error if failed else ""
        )
        yield from settled
        if phase.then == "monitor" and isinstance(subject, Image):
            yield from self._enter("datastore", self.cloud.datastores[subject.datastore], "MONITOR", job.operation)
        if phase.then == "trim" and not failed and isinstance(subject, Vm) and subject.keep_last and len(subject.backups) > subject.keep_last:
            yield from self._enter("image", self.cloud.images[subject.backups.pop(0)], "REMOVE", job.operation)

    def _settle(self, job: Job, change: str) -> Iterator[Output]:
        if change and isinstance(job.subject, Vm):
            for image in SETTLES[change](self.cloud, job.subject, job.prepared):
                yield self._changed("image", image)
        elif change and isinstance(job.subject, Image):
            IMAGE_SETTLES[change](job.subject)
        if isinstance(job.subject, Image):
            job.subject.target_snapshot = -1

    def _go(self, kind: str, subject: Subjected, goal: str, operation: int, phase: Phase, prepared: Prepared, error: str = "") -> Iterator[Output]:
        """Go on from the end of a phase: into the next one, or to rest."""
        if (kind, goal) in self.spec.phases and not self.spec.spec.rests(kind, goal):
            yield from self._enter(kind, subject, goal, operation, prepared)
        else:
            yield from self._rest(kind, subject, goal, error, phase)

    def _clone_ended(self, image: Image) -> Iterator[Output]:
        original = self.cloud.images.get(image.cloning_id)
        if original is not None:
            original.cloning_ops -= 1
            if not original.cloning_ops:
                original.state = "USED_PERS" if original.persistent and original.vms else "USED" if original.vms else "READY"
                yield self._changed("image", original)

    def _rest(self, kind: str, subject: Subjected, state: str, error: str, phase: Phase | None = None) -> Iterator[Output]:
        if isinstance(subject, Datastore):
            return
        subject.error = error
        if isinstance(subject, Vm) and state == "DONE":
            for image in operations.release_images(self.cloud, subject, phase.release if phase else "normal"):
                yield self._changed("image", image)
        if subject.state != state:
            subject.prev_state, subject.state = subject.state, state
        yield self._changed(kind, subject)
        if isinstance(subject, Image) and state == "GONE" and subject.id >= 0:
            operations.drop_image(self.cloud, subject)

    def _changed(self, kind: str, subject: Vm | Image) -> Changed:
        return Changed(kind, subject.id, subject.name, subject.state, subject.error)

    # calls

    def _ask(self, job: Job, planned: Planned) -> CallAsked:
        action = self.spec.actions[planned.row.action]
        call = self._next_call
        self._next_call += 1
        subject = job.prepared.the_image() if planned.row.each == "saved" else job.subject
        asked = compose(self.spec, self.cloud, call, job, planned, subject, action)
        self._calls[call] = (job, planned, asked)
        return asked

    def transfer(self, call: int) -> tuple[str, list[CallAsked]]:
        """Return the transfer script that a call which has just been asked stands in: the end of its name, and the calls from this one on, with the first.

        The name is empty for calls that no transfer script makes. Nothing changes.
        """
        job, _, asked = self._calls[call]
        if not job.phase.transfer or asked.action.family != "tm":
            return "", []
        following = takewhile(lambda one: self.spec.actions[one.row.action].family == "tm", job.waiting)
        calls = [compose(self.spec, self.cloud, -1, job, one, job.subject, self.spec.actions[one.row.action]) for one in following]
        return f"{job.subject.history[-1].seq}.{job.phase.transfer}" if isinstance(job.subject, Vm) else "", [asked, *calls]

    def _finished(self, event: CallFinished) -> Iterator[Output]:
        if event.call not in self._calls:
            raise SpecError(f"call {event.call} was never asked, or has finished already")
        job, planned, asked = self._calls.pop(event.call)
        outcome = self._outcome(asked, event)
        yield outcome
        if outcome.success:
            self._store(asked, job, outcome.parsed)
        elif planned.row.fails == "stop":
            job.error = job.error or outcome.error or outcome.parse_error or "-"
            if job.phase.fails == "stop":
                job.waiting.clear()
            if asked.action.key in job.phase.rollback_after:
                job.waiting += self._plan(job, job.phase.rollback, job.phase.here)
        yield from self._next(job)

    def _outcome(self, asked: CallAsked, event: CallFinished) -> Outcome:
        error = "" if event.ok else parsers.ERRORS[self.spec.contract.error](event.stderr)
        parsed: dict[str, str] = {}
        complaint = ""
        if event.ok:
            parsed, complaint = parsers.PARSERS[self.spec.parser(asked.action.key)](event.stdout)
            for name, value in parsed.items():
                unwritable = documents.unwritable(value)
                if unwritable and not complaint:
                    parsed, complaint = {}, f"{name.upper()} cannot be stored: {unwritable}"
        return Outcome(event.call, event.ok and not complaint, parsed, complaint, error)

    def _store(self, asked: CallAsked, job: Job, parsed: dict[str, str]) -> None:
        """Keep what was read: fields of a parser are named as those of the object."""
        subject = job.subject
        if isinstance(subject, Vm) and asked.action.key == "ds/mkfs":
            job.prepared.the_image().source = job.prepared.parameters["saved_source"] = parsed["source"]
        elif isinstance(subject, Vm) and asked.action.key == "ds/backup":
            job.prepared.parameters |= parsed
        elif isinstance(subject, Image) and asked.action.key == "ds/stat":
            subject.size_mb = int(parsed["size_mb"])
        elif isinstance(subject, Image) and not job.phase.beside:
            subject.source = parsed.get("source", subject.source)
            subject.format = parsed.get("format", subject.format)
        elif isinstance(subject, Datastore):
            subject.total_mb, subject.free_mb, subject.used_mb = (int(float(parsed[name])) for name in ("total_mb", "free_mb", "used_mb"))
        elif isinstance(subject, Vm) and asked.action.key == "vmm/deploy":
            subject.deploy_id = f"one-{subject.id}"
