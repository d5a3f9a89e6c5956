"""The backups of each VM as they come about: the images, the chains of increments, and those that were made before anything was seen of the VM."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from onesim.recording.backup_facts import Config, Standing, Survey
from onesim.recording.calls import Place, SeenCall
from onesim.recording.earlier import known
from onesim.recording.steps import Step
from onesim.recording.vms import Vms

#: Increments that are told of a chain which was there before, where KEEP_LAST does not ask for more.
_EARLIER_MAX = 8


@dataclass(eq=False)
class Kept:
    """A backup image that `steps` made. `number` is its id, -1 as long as nothing tells; `source` what its driver answered, if that was seen.

    `last` is its newest increment, as oned counts; `skipped` how many the trace lacks; `unmerged` = some were there longer than they ought to be.
    """

    label: str
    number: int = -1
    source: str = ""
    last: int = 0
    skipped: int = 0
    unmerged: bool = False
    steps: list[Step] = field(default_factory=list)


@dataclass
class Series:
    """The backups of a VM: those that are there, the oldest first; those that KEEP_LAST takes away; and the chain that goes on.

    `step` is the last one, made by `calls`; `open` = it is not among the others yet, `failed` = nothing came of it, `source` is what its driver answered.
    `unsure` = since the last that succeeded one has failed, or a restore ended the chain, and it may be otherwise when this is played again.
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
    source: str = ""


class Chains:
    """The backups of all VMs. `known` is what documents tell at whatever time."""

    def __init__(self, vms: Vms, known: Survey) -> None:
        self.vms, self.steps, self.known = vms, vms.steps, known
        self.of: dict[int, Series] = {}
        self.all: list[Kept] = []

    def series(self, vm: int) -> Series:
        """Return the backups of a VM."""
        return self.of.setdefault(vm, Series())

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
            mine.chain.number = max(mine.chain.number, self.known.numbers.get(mine.source, -1))
            return
        kept = Kept(mine.step["image"], self.known.numbers.get(mine.source, -1), mine.source, steps=[mine.step])
        self.all.append(kept)
        mine.kept.append(kept)
        config = mine.config or Config()
        if config.mode == "INCREMENT":
            mine.chain = kept
        elif config.keep_last and len(mine.kept) > config.keep_last:
            mine.surplus.append(mine.kept.pop(0))

    def gone(self, mine: Series, kept: Kept) -> None:
        """Strike a backup that is no longer there."""
        mine.kept = [one for one in mine.kept if one is not kept]
        mine.chain = None if mine.chain is kept else mine.chain

    def configured(self, vm: int, mine: Series, now: Standing | None) -> Config:
        """Return how a VM was configured when it was made: what is first told of it."""
        seen = now or self.known.standings.get(vm)
        if mine.config is None and seen is not None:
            mine.config = seen.config
        elif mine.config is None:
            mode, told = ("INCREMENT", "increments") if vm in self.known.incremental else ("FULL", "full")
            self.steps.left_out[f"VMs of whose backups no document tells the mode: told as {told}"] += 1
            mine.config = Config(mode)
        elif now is not None and now.config not in (mine.config, replace(mine.config, volatile=True)):
            self.steps.left_out["backups of VMs whose BACKUP_CONFIG had changed: told with the first one"] += 1
        self.vms.vm(vm).created |= {"backup": mine.config.told()} if mine.config.told() else {}
        return mine.config

    def agree(self, vm: int, mine: Series, now: Standing, at_s: float, at_end: bool = False) -> None:
        """Take over what a document tells of the backups that are there: their numbers, and those that the trace does not have.

        A document of the time of a backup knows of those before it, one that a front-end keeps of all.
        """
        free = [id for id in now.ids if all(one.number != id for one in self.all)]
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
                self.gone(mine, one)
        for id in free:
            self._earlier(vm, mine, id, now.last if id == now.chain else self.known.newest.get(id, 0))
        chain = next((one for one in mine.kept if one.number == now.chain), None)
        if chain is None:
            return
        if chain.last < now.last:
            self._increments(vm, mine, chain, now.last - chain.last, self.vms.vm(vm).since_s if at_end else at_s, ahead=at_end)
            chain.last = now.last
        elif chain.last > now.last and not at_end:
            mine.step["expect"] = "any"
            chain.last = now.last
        mine.chain = chain

    def _divided(self, mine: Series, chain: Kept, id: int, last: int) -> None:
        """Take the first of what was told as one chain for another one, the image `id`; the rest began with a reset."""
        newer = Kept(self.steps.label("backup"), chain.number, last=last)
        newer.steps = chain.steps[-last - 1 :]
        chain.number, chain.last, chain.steps = id, chain.last - last - 1, chain.steps[: -last - 1]
        for step in newer.steps:
            step["image"] = newer.label
        newer.steps[0]["reset"] = True
        mine.kept.insert(mine.kept.index(chain) + 1, newer)
        self.all.append(newer)

    def _earlier(self, vm: int, mine: Series, id: int, last: int) -> Kept:
        """Return a backup that was made before: it is told as soon as there is the VM. `last` is its newest increment."""
        known(self.vms, Place(self.vms.vm(vm).host, vm))
        config = self.configured(vm, mine, None)
        kept = Kept(self.steps.label("backup"), id, last=last)
        at = sum(0 <= one.number < id for one in mine.kept)
        self._increments(vm, mine, kept, last + 1, self.vms.vm(vm).since_s, ahead=True)
        if config.mode == "INCREMENT" and at:
            kept.steps[0]["reset"] = True
        if config.mode == "INCREMENT" and len(mine.kept) > at and mine.kept[at].steps:
            mine.kept[at].steps[0]["reset"] = True
        mine.kept.insert(at, kept)
        self.all.append(kept)
        if at == len(mine.kept) - 1 and config.mode == "INCREMENT":
            mine.chain = kept
        return kept

    def _increments(self, vm: int, mine: Series, kept: Kept, count: int, at_s: float, ahead: bool) -> None:
        """Tell of backups that were not seen, `ahead` of those that were or not: all if they are few, else as many as there may be at once."""
        most = max((mine.config or Config()).keep_last, _EARLIER_MAX)
        kept.skipped += max(count - most, 0)
        made = [self.say(vm, at_s, kept.label) for _ in range(min(count, most))]
        if ahead and kept.steps and kept.steps[0].pop("reset", False):
            made[0]["reset"] = True
        kept.steps = made + kept.steps if ahead else kept.steps + made

    def by_number(self, vm: int, id: int, newest: int, likely: Kept | None) -> Kept:
        """Return the backup that is image `id`: one that is known by it, else the likely one if its number is not known, else one that was made before."""
        found = next((one for one in self.all if one.number == id >= 0), None)
        if found is None and likely is not None and (likely.number < 0 or id < 0):
            likely.number, found = max(likely.number, id), likely
        return found or self._earlier(vm, self.series(vm), id, newest)

    def say(self, vm: int, at_s: float, image: str, **more: Any) -> Step:
        """Tell a backup."""
        return self.steps.say(at_s, "vm.backup", vm=self.vms.vm(vm).label, datastore="backups", image=image, **more)
