"""The phases of the simulated oned: stretches of a lifecycle in which scripts run, one call after the other, and what follows from how they end.

Phases and scripts are rows of `spec/lifecycle` and `spec/scripts.toml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from onesim import backups, calling, datastores, documents, monitoring, operations, parsers, questions, quotas, stays
from onesim.calling import Job, Planned, Subjected, compose
from onesim.changes import SETTLES, Prepared
from onesim.cloud import Cloud
from onesim.derived import FACTS, IMAGE_FACTS, Subject
from onesim.errors import SpecError
from onesim.events import CallAsked, CallFinished, Changed, EmptyTransfer, Outcome, Output, QuestionAsked
from onesim.model import Datastore, Image, Vm
from onesim.object_changes import IMAGE_SETTLES
from onesim.rows import Phase, ScriptRow
from onesim.spec import ContractSpec

#: What a request is told whose driver has not answered in time (DriverManager.h, check_time_outs_action).
LATE = "Request timeout"


class Phases:
    """The objects of a cloud, and the phases under way with their calls."""

    def __init__(self, spec: ContractSpec, cloud: Cloud) -> None:
        self.spec = spec
        self.cloud = cloud
        self._calls: dict[int, tuple[Job, Planned, CallAsked]] = {}
        self._jobs: dict[tuple[str, int], list[Job]] = {}
        self._next_call = 0

    @property
    def busy(self) -> bool:
        """Whether calls are outstanding."""
        return bool(self._calls)

    def _bear(self, image: Image) -> Iterator[Output]:
        operations.add_image(self.cloud, image)
        original = self.cloud.images.get(image.cloning_id)
        if original is not None:
            original.cloning_ops += 1
            state = "CLONE" if original.persistent else "USED"
            if original.state != state:
                original.state = state
                yield self._changed("image", original)

    def _enter(
        self, kind: str, subject: Subjected, name: str, operation: int, prepared: Prepared | None = None, asked: QuestionAsked | None = None
    ) -> Iterator[Output]:
        phase = self.spec.phases[kind, name]
        job = Job(kind, subject, phase, operation, prepared or Prepared(), asked=asked)
        for index, script in enumerate(phase.scripts):
            job.waiting += self._plan(job, script, phase.places[index] if phase.places else phase.here)
        if kind == "vm":
            job.transfers = [one for one in job.waiting if self.spec.actions[one.row.action].family == "tm"]
            job.undo = list(self._plan(job, phase.rollback, phase.here)) if phase.rollback else []
        if not isinstance(subject, Datastore) and not phase.beside:
            new = isinstance(subject, Image) and subject.id < 0 and not phase.absent
            if isinstance(subject, Image) and new:
                yield from self._bear(subject)
            if isinstance(subject, Vm):
                subject.phase = phase.name
            if subject.state != phase.shown:
                subject.prev_state, subject.state = subject.state, phase.shown
                if not phase.absent:
                    yield self._changed(kind, subject, new=new)
        self._jobs.setdefault((kind, subject.id), []).append(job)
        if isinstance(subject, Vm) and phase.transfer and not job.waiting:
            yield EmptyTransfer(subject.id, f"{subject.history[-1].seq}.{phase.transfer}")
        if phase.ahead:
            job.settled = True
            yield from self._rest(kind, subject, phase.success, "", phase)
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
        jobs = self._jobs[job.kind, subject.id]
        jobs.remove(job)
        if not jobs:
            del self._jobs[job.kind, subject.id]
        if phase.beside or job.settled:
            return
        if failed and phase.return_ and isinstance(subject, Vm):
            stays.step_back(subject, self.cloud.now_s)
        settled = list(self._settle(subject, job.prepared, phase.drops if failed else phase.keeps))
        if isinstance(subject, Image) and subject.cloning_id >= 0 and phase.scripts == ("image_clone",):
            yield from self._clone_ended(subject)
        yield from self._go(
            job.kind, subject, phase.failure if failed else phase.success, job.operation, phase, job.prepared, job.error if failed else ""
        )
        yield from settled
        if job.asked is not None and isinstance(subject, Image):
            why = job.refused or f"Cannot parse image SIZE: {job.said}"
            yield questions.not_made(job.asked, why) if failed else questions.made(job.asked, subject.id)
        if phase.then == "monitor" and isinstance(subject, Image):
            yield from self._enter("datastore", self.cloud.datastores[subject.datastore], "MONITOR", job.operation)
        if phase.then == "trim" and not failed and isinstance(subject, Vm):
            yield from self._trim(subject, job.operation)

    def _trim(self, vm: Vm, operation: int) -> Iterator[Output]:
        found = backups.surplus(self.cloud, vm)
        if found is not None:
            image, phase = found
            yield from self._enter("image", image, phase, operation, Prepared(parameters={"keep_last": str(vm.backup.keep_last)}))

    def _settle(self, subject: Subjected, prepared: Prepared, change: str) -> Iterator[Output]:
        if change and isinstance(subject, Vm):
            for image in SETTLES[change](self.cloud, subject, prepared):
                yield self._changed("image", image)
        elif change and isinstance(subject, Image):
            IMAGE_SETTLES[change](self.cloud, subject)
        if isinstance(subject, Image):
            subject.target_snapshot = -1

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
            image.cloning_id = -1
            if not original.cloning_ops:
                original.state = "USED_PERS" if original.persistent and original.vms else "USED" if original.vms else "READY"
                yield self._changed("image", original)

    def _rest(self, kind: str, subject: Subjected, state: str, error: str, phase: Phase | None = None) -> Iterator[Output]:
        if isinstance(subject, Datastore):
            if state == "GONE":
                datastores.delete(self.cloud, subject)
                yield Changed(kind, subject.id, subject.name, state)
            return
        # what no document can hold is a fault of the driver's text, not of the object
        subject.error = "-" if documents.unwritable(error) else error
        if isinstance(subject, Vm) and state == "DONE":
            for image in operations.release_images(self.cloud, subject, phase.release if phase else "normal"):
                yield self._changed("image", image)
        if subject.state != state:
            subject.prev_state, subject.state = subject.state, state
            yield self._changed(kind, subject)
        if isinstance(subject, Vm):
            stays.settle(subject, self.spec.spec.number("vm", state))
        if isinstance(subject, Image) and state == "GONE" and subject.id >= 0:
            backups.forget(self.cloud, subject)
            operations.drop_image(self.cloud, subject)

    def _changed(self, kind: str, subject: Vm | Image, new: bool = False) -> Changed:
        return Changed(kind, subject.id, subject.name, subject.state, subject.error, new)

    # calls

    def _ask(self, job: Job, planned: Planned) -> CallAsked:
        action = self.spec.actions[planned.row.action]
        call = self._next_call
        self._next_call += 1
        subject = job.prepared.the_image() if planned.row.each == "saved" else job.subject
        asked = compose(self.spec, self.cloud, call, job, planned, subject, action)
        self._calls[call] = (job, planned, asked)
        return asked

    def transfer(self, call: int) -> tuple[str, tuple[CallAsked, ...]]:
        """Return the transfer script that a call which has just been asked stands in: the end of its name, and the calls from this one on, with the first.

        The name is empty for calls that no transfer script makes. Nothing changes.
        """
        job, _, asked = self._calls[call]
        if not job.phase.transfer or asked.action.family != "tm":
            return "", ()
        following = takewhile(lambda one: self.spec.actions[one.row.action].family == "tm", job.waiting)
        calls = [compose(self.spec, self.cloud, -1, job, one, job.subject, self.spec.actions[one.row.action]) for one in following]
        return f"{job.subject.history[-1].seq}.{job.phase.transfer}" if isinstance(job.subject, Vm) else "", (asked, *calls)

    def carried(self, call: int) -> str:
        """Return what a hypervisor's call that has just been asked gets on standard input. Nothing changes."""
        job, planned, asked = self._calls[call]
        return calling.carried(self.spec, self.cloud, job, planned, asked.action)

    def _finished(self, event: CallFinished) -> Iterator[Output]:
        if event.call not in self._calls:
            raise SpecError(f"call {event.call} was never asked, or has finished already")
        job, planned, asked = self._calls.pop(event.call)
        outcome = self._outcome(asked, event)
        job.said = event.stdout.partition("\n")[0] if event.ok and not event.late else outcome.error
        yield outcome
        if outcome.success or outcome.parsed:
            # what could be read is kept, even where something else is missing
            self._store(asked, job, outcome.parsed)
        if outcome.success:
            if planned.row.each == "saved":
                # the new image is locked once its source is known
                yield self._changed("image", job.prepared.the_image())
        elif planned.row.fails == "stop":
            job.error = job.error or outcome.error or outcome.parse_error or "-"
            if job.phase.fails == "stop":
                job.waiting.clear()
            if asked.action.key in job.phase.rollback_after:
                job.waiting += job.undo
        yield from self._next(job)

    def _outcome(self, asked: CallAsked, event: CallFinished) -> Outcome:
        if event.late:
            return Outcome(event.call, False, {}, "", LATE)
        error = "" if event.ok else parsers.ERRORS[self.spec.contract.error](event.stderr)
        parsed: dict[str, str] = {}
        complaint = ""
        if event.ok:
            parsed, complaint = parsers.PARSERS[self.spec.parser(asked.action.key)](event.stdout)
            for name, value in parsed.items() if self.spec.parser(asked.action.key) not in parsers.ELSEWHERE else ():
                unwritable = documents.unwritable(value)
                if unwritable and not complaint:
                    parsed, complaint = {}, f"{name.upper()} cannot be stored: {unwritable}"
        return Outcome(event.call, event.ok and not complaint, parsed, complaint, error)

    def _store(self, asked: CallAsked, job: Job, parsed: dict[str, str]) -> None:
        """Keep what was read: fields of a parser are named as those of the object."""
        subject = job.subject
        if isinstance(subject, Vm) and asked.action.key == "ds/mkfs":
            saved = job.prepared.the_image()
            saved.source = job.prepared.parameters["saved_source"] = parsed["source"]
            saved.format = job.prepared.the_disk().format
        elif isinstance(subject, Vm) and asked.action.key == "ds/backup":
            job.prepared.parameters |= parsed
        elif isinstance(subject, Image) and asked.action.key == "ds/stat":
            subject.size_mb = int(parsed["size_mb"])
            home = self.cloud.datastores[subject.datastore]
            lacking = monitoring.shortage(home, subject.size_mb) or quotas.exceeded(self.cloud, home, subject.size_mb)
            # oned looks at the name last, when it stores the image
            job.error = job.refused = lacking or operations.name_taken(self.cloud, subject.name)
        elif isinstance(subject, Image) and asked.action.key == "ds/increment_flatten":
            if not backups.flattened(subject, parsed["chain"], parsed["size_mb"]):
                job.error = "Error flattening backup increments"
        elif isinstance(subject, Image) and not job.phase.beside:
            subject.source = parsed.get("source", subject.source)
            subject.format = parsed.get("format", subject.format)
        elif isinstance(subject, Datastore):
            subject.total_mb, subject.free_mb, subject.used_mb = (int(float(parsed[name])) for name in ("total_mb", "free_mb", "used_mb"))
            subject.monitored = True
        elif isinstance(subject, Vm) and asked.action.key == "vmm/deploy":
            subject.deploy_id = parsed["text"]
