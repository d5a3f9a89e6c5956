"""The simulated oned: fed events, yields calls and answers. It opens no file, starts no process and knows no clock or chance.

An operation is a row of `spec/lifecycle`; one for which no row holds is refused as oned refuses it. What follows from it are phases (`onesim/phases.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from onesim import allocation, datastores, monitoring, operations, questions, quotas, stays
from onesim.calling import Job, Subjected
from onesim.changes import MAKES, Prepared
from onesim.derived import IMAGE_FACTS
from onesim.events import (
    CallFinished,
    Cancelled,
    DatagramReceived,
    Event,
    OperationAsked,
    Output,
    QuestionAsked,
    Refused,
    TimerFired,
)
from onesim.model import Datastore, Image, Vm
from onesim.object_changes import DATASTORE_MAKES, IMAGE_MAKES, USER_MAKES
from onesim.operations import Refusal
from onesim.phases import Phases
from onesim.rows import OperationRow


class Oned(Phases):
    """The daemon's state and its one entrance, `feed`."""

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
                return list(self._question(event))
            case TimerFired(name):
                return self.feed(OperationAsked(-1, "datastore.monitor", {"datastore": name}))
            case DatagramReceived(payload):
                return [monitoring.receive(self.cloud, self.spec, payload)]

    def _question(self, event: QuestionAsked) -> Iterator[Output]:
        """Answer a question at once; one that makes an image is answered when oned knows its size, or that there is none."""
        wanted = questions.wanted_image(event)
        if wanted is None:
            yield replace(questions.answer(self.cloud, self.spec, event), question=event.number)
            return
        try:
            if event.call not in self._calls:
                raise Refusal("images are made for calls under way only")
            image = allocation.new_image(self.cloud, wanted, self.spec.version)
        except Refusal as refusal:
            yield questions.not_made(event, str(refusal))
            return
        operation = self._calls[event.call][0].operation
        if image.path:
            yield from self._enter("image", image, "STAT", operation, asked=event)
            return
        if image.source:
            operations.add_image(self.cloud, image)
            yield from self._rest("image", image, "READY", "")
        else:
            yield from self._enter("image", image, "MAKE", operation)
        yield questions.made(event, image.id)

    # operations

    def _operation(self, event: OperationAsked) -> Iterator[Output]:
        kind, _, name = event.op.partition(".")
        rows = self.spec.operations(kind, name) if kind in self.spec.spec.lifecycles else []
        if not rows:
            raise Refusal(f"operation {event.op!r} is unknown")
        if kind == "user":
            USER_MAKES[rows[0].makes](self.cloud, event.arguments)
            return
        if not rows[0].from_:
            yield from self._birth(kind, name, rows[0], event)
            return
        id = operations.known(self.cloud, kind, event.arguments)
        subject = self._object(kind, id)
        state = "READY" if isinstance(subject, Datastore) else subject.state
        row = self._holding(rows, subject, state)
        beside = row is not None and (row.stays or row.abandons or (row.enter and self.spec.phases[kind, row.enter].beside))
        running = [job for job in self._jobs.get((kind, id), ()) if not job.settled]
        if running and not beside:
            raise Refusal(f"{kind} {self.cloud.label(kind, id)!r} is {state} and busy")
        if row is None:
            raise Refusal(f"operation {event.op} is not allowed for {kind} {self.cloud.label(kind, id)!r} in state {state}")
        prepared = self._prepare(row, subject, event)
        if prepared.image is not None:
            yield self._changed("image", prepared.image, new=True)
        if prepared.disk is not None and prepared.disk.image >= 0 and row.makes == "disk":
            yield self._changed("image", self.cloud.images[prepared.disk.image])
        if row.abandons:
            yield from self._abandon(running, row.abandons)
        if running and not row.makes:
            # what the phase under way has prepared, such as the backup datastore, is what this one is about
            prepared = running[-1].prepared
        if row.through and isinstance(subject, Vm):
            subject.prev_state, subject.state = state, row.through
            yield self._changed(kind, subject)
        if row.to:
            yield from self._rest(kind, subject, row.to, "")
        elif isinstance(subject, Vm) and (row.ends or row.fails or row.again):
            yield from self._recover(row, subject, event.n, prepared)
        elif row.enter:
            yield from self._begin(kind, subject, row.enter, event.n, prepared)

    def _begin(self, kind: str, subject: Subjected, enter: str, operation: int, prepared: Prepared) -> Iterator[Output]:
        if isinstance(subject, Datastore) and subject.type == "SYSTEM_DS":
            if not self.cloud.conf(subject.tm_mad).shared:
                return
            enter = "MONITOR_SYSTEM"
        yield from self._enter(kind, subject, enter, operation, prepared)

    def _abandon(self, running: list[Job], how: str) -> Iterator[Output]:
        """Give up the phase that is under way: its script goes on beside what follows, or no more of it is called."""
        for job in running:
            job.settled = True
            if how == "cancelled":
                job.waiting.clear()
                yield from (Cancelled(call) for call, (of, _, _) in self._calls.items() if of is job)

    def _recover(self, row: OperationRow, vm: Vm, operation: int, prepared: Prepared) -> Iterator[Output]:
        """Take the last phase as ended well or badly, as the operator says, or run it again."""
        phase = self.spec.phases["vm", vm.phase]
        if row.again:
            yield from self._enter("vm", vm, phase.name, operation, prepared)
            return
        if row.fails and phase.return_:
            stays.step_back(vm, self.cloud.now_s)
        settled = list(self._settle(vm, prepared, phase.drops if row.fails else phase.keeps))
        yield from self._go("vm", vm, phase.failure if row.fails else phase.success, operation, phase, prepared)
        yield from settled

    def _prepare(self, row: OperationRow, subject: Subjected, event: OperationAsked) -> Prepared:
        """Make what the row says before the first call. A refusal comes before anything has changed."""
        prepared = Prepared()
        if isinstance(subject, Image) and row.makes:
            prepared = IMAGE_MAKES[row.makes](self.cloud, subject, event.arguments)
        elif isinstance(subject, Datastore) and row.makes:
            DATASTORE_MAKES[row.makes](subject, event.arguments)
        elif isinstance(subject, Vm):
            if row.quota:
                operations.within(quotas.resumed(self.cloud, self.spec, subject))
            if row.makes:
                prepared = MAKES[row.makes](self.cloud, self.spec, subject, event.arguments)
            stays.keep_record(self.cloud, subject, row, event.arguments)
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
        previous = subject.away if isinstance(subject, Vm) else ""
        for row in rows:
            if state in row.from_ and (not row.previous or previous in row.previous) and self._met(row, subject):
                return row
        return None

    def _met(self, row: OperationRow, subject: Subjected) -> bool:
        return not row.needs or (not isinstance(subject, Vm) and bool(IMAGE_FACTS[row.needs](subject)))

    def _birth(self, kind: str, name: str, row: OperationRow, event: OperationAsked) -> Iterator[Output]:
        if kind == "vm":
            vm = operations.make_vm(self.cloud, self.spec, event.arguments)
            for id in sorted({disk.image for disk in vm.disks if disk.image >= 0}):
                yield self._changed("image", self.cloud.images[id])
            yield self._changed("vm", vm, new=True)
            return
        if kind == "datastore":
            yield from self._begin(kind, datastores.create(self.cloud, self.spec, event.arguments), row.enter, event.n, Prepared())
            return
        image = operations.make_image(self.cloud, self.spec.version, event.arguments, name)
        if row.enter:
            yield from self._enter(kind, image, row.enter, event.n)
        else:
            operations.add_image(self.cloud, image)
            yield from self._rest(kind, image, row.to, "")
