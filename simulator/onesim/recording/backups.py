"""Tells of backups: which of them are increments of a chain, what KEEP_LAST took away, and from which a VM or new images came.

The VM document of a backup tells its mode and the chain that it goes on; without one, the document of a front-end and the requests do.
Merged increments, and full backups that KEEP_LAST takes away, are oned's own work after a backup: they are part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lxml import etree

from onesim.recording.backup_facts import Standing, Survey, number, standing, vm_document, vm_of
from onesim.recording.calls import SeenCall, place
from onesim.recording.chains import Chains, Kept, Series
from onesim.recording.earlier import known
from onesim.recording.steps import Step
from onesim.recording.vms import Vms

#: LCM_STATE of a VM that runs while it is backed up.
_RUNNING = "69"


@dataclass
class _Named:
    """A step that names a backup by its number, and perhaps an increment; `likely` is the one that is meant if nothing tells the number."""

    step: Step
    vm: int
    number: int
    increment: int
    likely: Kept | None


class Backups(Chains):
    """Takes calls, states and requests that are about backups, and makes steps of them."""

    def __init__(self, vms: Vms, known: Survey) -> None:
        super().__init__(vms, known)
        self._named: list[_Named] = []

    # what is made

    def seen(self, call: SeenCall) -> None:
        """Take a call of a backup. It begins with the first of them that is seen: a transfer driver may not be recorded, or a datastore driver."""
        where = place(call.argv[0]) if call.argv else None
        if where is None:
            self.steps.left_out[f"{call.family}/{call.plain}: arguments that are not understood"] += 1
        elif call.plain == "backup_cancel":
            self.cancelled(where.vm, call)
        elif call.plain.startswith("pre") or (call.plain == "backup" and not self.lacks(where.vm, "backup")):
            disks = [int(word) for word in call.argv[1].split(":") if word.isdigit()]
            vm = known(self.vms, replace(where, disk=max(disks, default=-1)), vm_document(call.document))
            if call.family == "tm" or call.field("VM/LCM_STATE"):
                self.vms.awake(vm, call.begun_s, call.plain.endswith("_live") or call.field("VM/LCM_STATE") == _RUNNING)
            # OpenNebula before 6.8 says nothing of a job
            job = int(call.argv[3]) if len(call.argv) > 5 and call.argv[3].isdigit() else None
            self.begun(where.vm, call, standing(call.document), job=job)
            self.call(where.vm, call)
        elif self.series(where.vm).open:
            self.call(where.vm, call)

    def begun(self, vm: int, call: SeenCall, now: Standing | None, *, reset: bool = False, job: int | None = None) -> None:
        """Tell a backup of a VM. `now` is what its document tells as the backup begins; else `reset` is whether a new chain was asked for."""
        mine = self.series(vm)
        self.settle(mine)
        config = self.configured(vm, mine, now)
        volatile = True if now is not None and now.config.volatile and not config.volatile else None
        if now is not None:
            self.agree(vm, mine, now, call.begun_s)
            reset = now.chain < 0 and config.mode == "INCREMENT" and (mine.chain is not None or mine.unsure)
        if reset:
            mine.chain = None
        image = mine.chain.label if mine.chain is not None else self.steps.label("backup")
        mine.step = self.say(vm, call.begun_s, image, reset=reset or None, volatile=volatile, job=job)
        mine.at_s, mine.calls, mine.open, mine.failed, mine.source = call.begun_s, [], True, False, ""
        if not call.ok:
            self._fails(mine)

    def call(self, vm: int, call: SeenCall) -> None:
        """Take a call of the backup that was told last: what came of it."""
        mine = self.series(vm)
        mine.calls.append(call)
        if not call.ok:
            self._fails(mine)
        elif call.action == "backup" and call.stdout.split():
            mine.source = call.stdout.split()[0].decode(errors="replace")

    def lacks(self, vm: int, action: str) -> bool:
        """Whether the backup that was told last has made no such call yet: this one is of it."""
        mine = self.series(vm)
        return mine.open and all(one.plain != action for one in mine.calls)

    def cancelled(self, vm: int, call: SeenCall) -> None:
        """Tell that the last backup was given up; at the time of the backup, as that goes on meanwhile."""
        mine = self.series(vm)
        if not mine.step:
            self.steps.left_out["cancelled backups of which nothing else tells"] += 1
            return
        running = [one for one in mine.calls if one.begun_s <= call.begun_s <= one.ended_s] or mine.calls[-1:]
        beside = f"{running[-1].family}/{running[-1].action}" if running else "ds/backup"
        mine.step["expect"] = "any"
        self.steps.say(mine.at_s, "vm.backup_cancel", vm=self.vms.vm(vm).label, beside=beside, expect="any")
        if not mine.calls:
            # a log tells of no calls
            self._fails(mine)

    # what becomes of it

    def flattened(self, call: SeenCall, image: etree._Element) -> None:
        """Take increments that were merged as part of the backup before."""
        mine = self.series(vm_of(image))
        if not mine.step:
            self.steps.left_out["ds/increment_flatten after a backup that nothing tells of"] += 1
            return
        if not call.ok:
            mine.step["expect"] = "any"
        if not call.ok or not call.stdout.strip():
            # when it is played again, they may be merged
            self._kept(image).unmerged = True

    def removed(self, call: SeenCall, image: etree._Element) -> None:
        """Tell that a backup was deleted, unless it was KEEP_LAST's doing: that is part of the backup before."""
        mine = self.series(vm_of(image))
        kept = self._kept(image)
        if kept in mine.surplus:
            mine.surplus.remove(kept)
            if not call.ok:
                mine.step["expect"] = "any"
            return
        self.steps.say(call.begun_s, "image.delete", call.ok, image=kept.label)
        if call.ok:
            self.gone(mine, kept)

    def images_restored(self, call: SeenCall, image: etree._Element) -> str:
        """Tell that new images were made of a backup. Return the name that they are given; empty if that is left to the driver."""
        kept = self._kept(image)
        name = self.steps.label("restored") if call.field("TEMPLATE/NAME") else ""
        step = self.steps.say(call.begun_s, "image.restore", call.ok, image=kept.label, name=name or None)
        if call.field("TEMPLATE/INCREMENT_ID").isdigit():
            self._increment(step, "increment_id", kept, int(call.field("TEMPLATE/INCREMENT_ID")))
        if call.field("TEMPLATE/DISK_ID").isdigit():
            step["disk_id"] = int(call.field("TEMPLATE/DISK_ID"))
        step |= {name: True for name in ("no_ip", "no_nic") if call.field(f"TEMPLATE/{name.upper()}").upper() in ("YES", "TRUE")}
        return name

    def disks_restored(self, vm: int, call: SeenCall, image: str, increment: str, disk: str) -> Step:
        """Tell that a VM's disks were put back, and return the step. Which image it was may be known at the end only."""
        mine = self.series(vm)
        self.settle(mine)
        which = int(disk) if disk.isdigit() else None
        step = self.steps.say(call.begun_s, "vm.restore", call.ok, vm=self.vms.vm(vm).label, image="", disk=which)
        self._named.append(_Named(step, vm, number(image), number(increment), mine.kept[-1] if mine.kept else None))
        if call.ok:
            mine.chain, mine.unsure = None, any(one.unmerged for one in mine.kept)
        return step

    def named(self, step: Step, image: int, increment: int = -1) -> None:
        """Have a step name an image by its number, which may be known as a backup at the end only."""
        self._named.append(_Named(step, -1, image, increment, None))

    def finish(self) -> None:
        """Settle what could not be told before the end."""
        for vm, mine in self.of.items():
            self.settle(mine)
            last = self.known.standings.get(vm)
            if last is not None and mine.step:
                self.agree(vm, mine, last, mine.at_s, at_end=True)
        for one in self._named:
            vm = one.vm if one.vm >= 0 else self.known.owners.get(one.number, -1)
            kept = next((kept for kept in self.all if kept.number == one.number >= 0), None)
            if kept is None and vm >= 0 and (one.number >= 0 or one.likely is not None):
                kept = self.by_number(vm, one.number, max(one.increment, self.known.newest.get(one.number, 0)), one.likely)
            if kept is not None:
                one.step["image"] = kept.label
                self._increment(one.step, "increment" if one.step["op"] == "vm.restore" else "increment_id", kept, one.increment)
            elif one.step["op"].startswith("image.delete"):
                one.step["image"] = self.vms.images.numbered(one.number)
            else:
                self.steps.left_out[f"{one.step['op']} of a backup that nothing tells of"] += 1
                self.steps.rows = [row for row in self.steps.rows if row[2] is not one.step]

    def _fails(self, mine: Series) -> None:
        mine.step["expect"] = "any"
        mine.failed = mine.unsure = True

    def _kept(self, image: etree._Element) -> Kept:
        """Return the backup that an image document is of."""
        vm, id = vm_of(image), number(image.findtext("ID"))
        mine = self.series(vm)
        if any(one.plain != "prebackup" and one.plain != "prebackup_live" for one in mine.calls):
            self.settle(mine)
        # what its document calls another source is another image
        likely = next((one for one in reversed(mine.kept) if not one.source), None)
        return self.by_number(vm, id, self.known.newest.get(id, 0), likely)

    def _increment(self, step: Step, name: str, kept: Kept, increment: int) -> None:
        """Say which increment is meant, as the trace counts them."""
        if increment >= 0 and kept.unmerged:
            step["expect"] = "any"
        if increment >= kept.skipped:
            step[name] = increment - kept.skipped
        elif increment >= 0:
            self.steps.left_out["increments that are older than those which the trace tells: the newest is restored"] += 1
