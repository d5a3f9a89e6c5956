"""Tells of backups: which of them are increments of a chain, what KEEP_LAST took away, and from which a VM or new images came.

The VM document of a backup tells its mode and the chain that it goes on; without one, the document of a front-end and the requests do.
Merged increments, and full backups that KEEP_LAST takes away, are oned's own work after a backup: they are part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lxml import etree

from onesim.recording.backup_facts import Config, Standing, Survey, number, vm_of
from onesim.recording.calls import Place, SeenCall

if TYPE_CHECKING:
    from onesim.recording.retelling import Step, Teller

#: Increments that are told of a chain which was there before, where KEEP_LAST does not ask for more.
_EARLIER_MAX = 8


@dataclass(eq=False)
class Kept:
    """A backup image that `steps` made. `number` is its id, -1 as long as nothing tells.

    `last` is its newest increment, as oned counts; `skipped` how many the trace lacks.
    """

    label: str
    number: int = -1
    last: int = 0
    skipped: int = 0
    steps: list[Step] = field(default_factory=list)


@dataclass
class Series:
    """The backups of a VM: those that are there, the oldest first; those that KEEP_LAST takes away; and the chain that goes on.

    `step` is the last one, made by `calls`; `open` = it is not among the others yet, `failed` = nothing came of it, `number` is that of its image, if known.
    `unsure` = one has failed since the last that did not, and might succeed when it is made again.
    """

    config: Config | None = None
    kept: list[Kept] = field(default_factory=list)
    surplus: list[Kept] = field(default_factory=list)
    chain: Kept | None = None
    step: Step = field(default_factory=dict)
    at_s: float = 0.0
    calls: list[SeenCall] = field(default_factory=list)
    open: bool = False
    failed: bool = False
    unsure: bool = False
    number: int = -1


@dataclass
class _Named:
    """A step that names a backup by its number, and perhaps an increment; `likely` is the one that is meant if nothing tells the number."""

    step: Step
    vm: int
    number: int
    increment: int
    likely: Kept | None


class Backups:
    """The backups of all VMs. `known` is what documents tell at whatever time."""

    def __init__(self, teller: Teller, known: Survey) -> None:
        self.teller, self.known = teller, known
        self.of: dict[int, Series] = {}
        self._all: list[Kept] = []
        self._named: list[_Named] = []

    def series(self, vm: int) -> Series:
        """Return the backups of a VM."""
        return self.of.setdefault(vm, Series())

    # what is made

    def begun(self, vm: int, call: SeenCall, now: Standing | None, *, reset: bool = False, job: int | None = None) -> None:
        """Tell a backup of a VM. `now` is what its document tells as the backup begins; else `reset` is whether a new chain was asked for."""
        mine = self.series(vm)
        self.settle(mine)
        config = self._config(vm, mine, now)
        volatile = True if now is not None and now.config.volatile and not config.volatile else None
        if now is not None:
            self._agree(vm, mine, now, call.begun_s)
            reset = now.chain < 0 and config.mode == "INCREMENT" and (mine.chain is not None or mine.unsure)
        if reset:
            mine.chain = None
        label = mine.chain.label if mine.chain is not None else self._label("backup")
        more = {"reset": reset or None, "volatile": volatile, "job": job}
        mine.step = self._say(vm, call.begun_s, label, **more)
        mine.at_s, mine.calls, mine.open, mine.failed, mine.number = call.begun_s, [], True, False, -1
        if not call.ok:
            self._fails(mine)

    def call(self, vm: int, call: SeenCall) -> None:
        """Take a call of the backup that was told last: what came of it."""
        mine = self.series(vm)
        mine.calls.append(call)
        if not call.ok:
            self._fails(mine)
        elif call.action == "backup" and call.stdout.split():
            mine.number = self.known.numbers.get(call.stdout.split()[0].decode(errors="replace"), -1)

    def lacks(self, vm: int, action: str) -> bool:
        """Whether the backup that was told last has made no such call yet: this one is of it."""
        mine = self.series(vm)
        return mine.open and all(one.plain != action for one in mine.calls)

    def cancelled(self, vm: int, call: SeenCall) -> None:
        """Tell that the last backup was given up; at the time of the backup, as that goes on meanwhile."""
        mine = self.series(vm)
        if not mine.step:
            self.teller.left_out["cancelled backups of which nothing else tells"] += 1
            return
        running = [one for one in mine.calls if one.begun_s <= call.begun_s <= one.ended_s] or mine.calls[-1:]
        beside = f"{running[-1].family}/{running[-1].action}" if running else "ds/backup"
        mine.step["expect"] = "any"
        self.teller.say(mine.at_s, "vm.backup_cancel", vm=self.teller.vm(vm).label, beside=beside, expect="any")
        if not mine.calls:
            # a log tells of no calls
            self._fails(mine)

    # what becomes of it

    def flattened(self, call: SeenCall, image: etree._Element) -> None:
        """Take increments that were merged as part of the backup before."""
        mine = self.series(vm_of(image))
        if not mine.step:
            self.teller.left_out["ds/increment_flatten after a backup that nothing tells of"] += 1
        elif not call.ok:
            mine.step["expect"] = "any"

    def removed(self, call: SeenCall, image: etree._Element) -> None:
        """Tell that a backup was deleted, unless it was KEEP_LAST's doing: that is part of the backup before."""
        mine = self.series(vm_of(image))
        kept = self._kept(image)
        if kept in mine.surplus:
            mine.surplus.remove(kept)
            if not call.ok:
                mine.step["expect"] = "any"
            return
        self.teller.say(call.begun_s, "image.delete", call.ok, image=kept.label)
        if call.ok:
            self._gone(mine, kept)

    def images_restored(self, call: SeenCall, image: etree._Element) -> str:
        """Tell that new images were made of a backup. Return the name that they are given; empty if that is left to the driver."""
        kept = self._kept(image)
        name = self._label("restored") if call.field("TEMPLATE/NAME") else ""
        step = self.teller.say(call.begun_s, "image.restore", call.ok, image=kept.label, name=name or None)
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
        step = self.teller.say(call.begun_s, "vm.restore", call.ok, vm=self.teller.vm(vm).label, image="", disk=which)
        self._named.append(_Named(step, vm, number(image), number(increment), mine.kept[-1] if mine.kept else None))
        if call.ok:
            mine.chain, mine.unsure = None, False
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
                self._agree(vm, mine, last, mine.at_s, at_end=True)
        for one in self._named:
            vm = one.vm if one.vm >= 0 else self.known.owners.get(one.number, -1)
            kept = next((kept for kept in self._all if kept.number == one.number >= 0), None)
            if kept is None and vm >= 0 and (one.number >= 0 or one.likely is not None):
                kept = self._by_number(vm, one.number, max(one.increment, self.known.newest.get(one.number, 0)), one.likely)
            if kept is not None:
                one.step["image"] = kept.label
                self._increment(one.step, "increment" if one.step["op"] == "vm.restore" else "increment_id", kept, one.increment)
            elif one.step["op"].startswith("image.delete"):
                one.step["image"] = self.teller.numbered(one.number)
            else:
                self.teller.left_out[f"{one.step['op']} of a backup that nothing tells of"] += 1
                self.teller.steps = [row for row in self.teller.steps if row[2] is not one.step]

    # inner workings

    def settle(self, mine: Series) -> None:
        """Count the last backup among the others, if something came of it; and what KEEP_LAST then takes away."""
        if not mine.open:
            return
        mine.open = False
        if mine.failed:
            return
        mine.unsure = False
        if mine.chain is not None:
            mine.chain.last += 1
            mine.chain.steps.append(mine.step)
            mine.chain.number = max(mine.chain.number, mine.number)
            return
        kept = Kept(mine.step["image"], mine.number, steps=[mine.step])
        self._all.append(kept)
        mine.kept.append(kept)
        config = mine.config or Config()
        if config.mode == "INCREMENT":
            mine.chain = kept
        elif config.keep_last and len(mine.kept) > config.keep_last:
            mine.surplus.append(mine.kept.pop(0))

    def _fails(self, mine: Series) -> None:
        mine.step["expect"] = "any"
        mine.failed = mine.unsure = True

    def _gone(self, mine: Series, kept: Kept) -> None:
        mine.kept = [one for one in mine.kept if one is not kept]
        mine.chain = None if mine.chain is kept else mine.chain

    def _config(self, vm: int, mine: Series, now: Standing | None) -> Config:
        """Return how a VM was configured when it was made: what is first told of it."""
        seen = now or self.known.standings.get(vm)
        if mine.config is None and seen is not None:
            mine.config = seen.config
        elif mine.config is None:
            self.teller.left_out[
                "VMs of whose backups no document tells the mode: told as " + ("increments" if vm in self.known.incremental else "full")
            ] += 1
            mine.config = Config("INCREMENT" if vm in self.known.incremental else "FULL")
        elif now is not None and now.config not in (mine.config, replace(mine.config, volatile=True)):
            self.teller.left_out["backups of VMs whose BACKUP_CONFIG had changed: told with the first one"] += 1
        self.teller.vm(vm).created |= {"backup": mine.config.told()} if mine.config.told() else {}
        return mine.config

    def _agree(self, vm: int, mine: Series, now: Standing, at_s: float, at_end: bool = False) -> None:
        """Take over what a document tells of the backups that are there: their numbers, and those that the trace does not have.

        A document of the time of a backup knows of those before it, one that a front-end keeps of all.
        """
        free = [id for id in now.ids if all(one.number != id for one in self._all)]
        mine.kept = [one for one in mine.kept if one.number < 0 or one.number in now.ids]
        for one in [one for one in reversed(mine.kept) if one.number < 0]:
            if free:
                one.number = free.pop()
                newest = now.last if one.number == now.chain else self.known.newest.get(one.number, one.last)
                while at_end and free and one.last > newest >= 0:
                    self._divided(mine, one, free.pop(), newest)
                    newest = self.known.newest.get(one.number, one.last)
            elif not at_end:
                # no image came of it, though no call tells why
                mine.step["expect"] = "any"
                self._gone(mine, one)
        for id in free:
            self._earlier(vm, mine, id, now.last if id == now.chain else self.known.newest.get(id, 0))
        chain = next((one for one in mine.kept if one.number == now.chain), None)
        if chain is None:
            return
        if chain.last < now.last:
            self._increments(vm, mine, chain, now.last - chain.last, self.teller.vm(vm).since_s if at_end else at_s)
            chain.last = now.last
        elif chain.last > now.last and not at_end:
            mine.step["expect"] = "any"
            chain.last = now.last
        mine.chain = chain

    def _divided(self, mine: Series, chain: Kept, id: int, last: int) -> None:
        """Take the first of what was told as one chain for another one, the image `id`; the rest began with a reset."""
        newer = Kept(self._label("backup"), chain.number, last)
        newer.steps = chain.steps[-last - 1 :]
        chain.number, chain.last, chain.steps = id, chain.last - last - 1, chain.steps[: -last - 1]
        for step in newer.steps:
            step["image"] = newer.label
        newer.steps[0]["reset"] = True
        mine.kept.insert(mine.kept.index(chain) + 1, newer)
        self._all.append(newer)

    def _earlier(self, vm: int, mine: Series, id: int, last: int) -> Kept:
        """Return a backup that was made before: it is told as soon as there is the VM. `last` is its newest increment."""
        self.teller.known(Place(self.teller.vm(vm).host, vm))
        config = self._config(vm, mine, None)
        kept = Kept(self._label("backup"), id, -1)
        at = sum(0 <= one.number < id for one in mine.kept)
        self._increments(vm, mine, kept, last + 1, self.teller.vm(vm).since_s)
        kept.last = last
        if config.mode == "INCREMENT" and at:
            kept.steps[0]["reset"] = True
        if config.mode == "INCREMENT" and len(mine.kept) > at and mine.kept[at].steps:
            mine.kept[at].steps[0]["reset"] = True
        mine.kept.insert(at, kept)
        self._all.append(kept)
        if at == len(mine.kept) - 1 and config.mode == "INCREMENT":
            mine.chain = kept
        return kept

    def _increments(self, vm: int, mine: Series, kept: Kept, count: int, at_s: float) -> None:
        """Tell of backups that were not seen: all if they are few, else as many as there may be at once."""
        most = max((mine.config or Config()).keep_last, _EARLIER_MAX)
        kept.skipped += max(count - most, 0)
        kept.steps[:0] = [self._say(vm, at_s, kept.label) for _ in range(min(count, most))]

    def _kept(self, image: etree._Element) -> Kept:
        """Return the backup that an image document is of."""
        vm, id = vm_of(image), number(image.findtext("ID"))
        mine = self.series(vm)
        if any(one.plain != "prebackup" and one.plain != "prebackup_live" for one in mine.calls):
            self.settle(mine)
        return self._by_number(vm, id, self.known.newest.get(id, 0), mine.kept[-1] if mine.kept else None)

    def _by_number(self, vm: int, id: int, newest: int, likely: Kept | None) -> Kept:
        found = next((one for one in self._all if one.number == id >= 0), None)
        if found is None and likely is not None and (likely.number < 0 or id < 0):
            likely.number, found = max(likely.number, id), likely
        return found or self._earlier(vm, self.series(vm), id, newest)

    def _increment(self, step: Step, name: str, kept: Kept, increment: int) -> None:
        """Say which increment is meant, as the trace counts them."""
        if increment >= kept.skipped:
            step[name] = increment - kept.skipped
        elif increment >= 0:
            self.teller.left_out["increments that are older than those which the trace tells: the newest is restored"] += 1

    def _label(self, what: str) -> str:
        self.teller.made += 1
        return f"{what}{self.teller.made}"

    def _say(self, vm: int, at_s: float, image: str, **more: Any) -> Step:
        return self.teller.say(at_s, "vm.backup", vm=self.teller.vm(vm).label, datastore="backups", image=image, **more)
