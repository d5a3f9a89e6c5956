"""Faults: from a run in which all went well, the places where one can strike, and for each a trace that makes it and then does again what it has spoiled.

Pure: it reads calls and writes traces. Which faults there are, and where they apply, stands in `spec/faults.toml`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from onesim.events import CallAsked, CallFinished, Refused
from onesim.faultrules import HYPERVISOR
from onesim.guests import impossible
from onesim.layout import Subjected, make_cloud, shared_of
from onesim.model import FRONTEND
from onesim.oned import Oned
from onesim.records import Call
from onesim.rehearsal import rehearse
from onesim.rows import FaultKind
from onesim.spec import ContractSpec, Spec
from onesim.trace import Step, Trace
from onetck.checks.base import RETRY
from onetck.plan import file_sizes, null_output

LEVELS = ("off", "basic", "full")
#: How many cases a run makes at most; beyond that, chance picks.
MOST = 3000
#: Operations that make an image under a name of the trace, which is in the way of doing it again.
_MAKES_IMAGE = ("image.register", "image.make", "image.clone", "vm.disk_saveas", "vm.backup")
#: A VM's plain life, and what it needs.
_PLAIN = (
    *("vm.create", "vm.deploy", "vm.stop", "vm.undeploy", "vm.poweroff", "vm.resume", "vm.terminate", "vm.terminate_hard"),
    *("image.register", "image.make", "image.clone", "image.persistent", "image.nonpersistent", "image.delete"),
)
_OVERLAPS = ("guest.busy", "fault.next", "host.down")


@dataclass(frozen=True)
class Place:
    """Where a fault strikes: a call of a case (the `skip`-th of its action in the operation), and there a command; none for a call that never begins.

    `way` is what the call runs in all, sorted, as the two ends of a pipe come in any order: places of calls that went the same way are alike. `cost` are the
    calls of the case.
    """

    case: str
    operation: int
    action: str
    skip: int
    kind: FaultKind
    way: tuple[str, ...]
    cost: int
    host: str = ""
    command: str = ""
    ordinal: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it another place than others."""
        return self.action, self.way, _side(self.host), self.command, self.ordinal, self.kind.name

    @property
    def rank(self) -> tuple[str, int, int, str, str, int, str]:
        """An order in which it does not show which end of a pipe came first."""
        return self.case, self.operation, self.skip, self.host, self.command, self.ordinal, self.kind.name

    @property
    def name(self) -> str:
        """The name of the case that makes the fault; the number of another call of the same action may follow."""
        where = (() if self.host in ("", FRONTEND) else (self.host,)) + ((self.command, str(self.ordinal)) if self.command else ())
        return "-".join(("fault", *self.action.split("/"), *where, self.kind.name))


def widened(spec: Spec, trace: Trace) -> Trace:
    """Return a trace whose case shows every command at which a fault may strike."""
    return _gated(trace, (name for row in spec.command_classes.values() for name in row.commands))


def _gated(trace: Trace, commands: Iterable[str]) -> Trace:
    gates = tuple(dict.fromkeys([*trace.header.gates, *commands]))
    return replace(trace, header=msgspec.structs.replace(trace.header, gates=gates))


# where


def overlaps(trace: Trace) -> bool:
    """Tell whether a case makes faults, or lets operations overlap, of its own: then it is left as it is."""
    return any(step.op in _OVERLAPS or step.beside for step in trace.steps)


def places(spec: Spec, level: str, trace: Trace, calls: Sequence[Call], cannot: Collection[str] = ()) -> Iterator[Place]:
    """Yield the places of a case, from the calls that it led to when all went well; none of a case that makes faults of its own.

    Acts that the hosts `cannot` make are left out.
    """
    if overlaps(trace):
        return
    kinds = [kind for kind in spec.faults.values() if kind.act not in cannot and (level == "full" or kind.level == "basic")]
    before: Counter[tuple[int, str]] = Counter()
    for call in sorted(calls, key=lambda one: one.n):
        action = f"{call.family}/{call.action.partition('.')[0]}"
        skip = before[call.operation, action]
        before[call.operation, action] += 1
        if not _can_be_struck(trace, call):
            continue
        here = [kind for kind in kinds if _matches(kind, action) and (kind.guests or not _speaks_with_hypervisor(spec, call))]
        way = tuple(sorted(f"{_side(one.host)}:{one.name}" for one in call.commands))
        spot = Place(trace.name, call.operation, action, skip, kinds[0], way, len(calls))
        counts: Counter[tuple[str, str]] = Counter()
        for kind in here:
            if not kind.at:
                yield replace(spot, kind=kind, way=())
        for one in call.commands:
            counts[one.host, one.name] += 1
            classes = {row.name for row in spec.command_classes.values() if one.name in row.commands}
            for kind in here:
                at = bool(classes) and ("*" in kind.at or bool(classes & set(kind.at)))
                if at and not (kind.away and one.host == FRONTEND and one.name != "ssh"):
                    yield replace(spot, kind=kind, host=one.host, command=one.name, ordinal=counts[one.host, one.name])


def _can_be_struck(trace: Trace, call: Call) -> bool:
    step = trace.steps[call.operation] if 0 <= call.operation < len(trace.steps) else None
    ours = step is not None and step.expect == "success" and step.op.partition(".")[0] in ("vm", "image", "datastore")
    return ours and call.observed and call.success and call.ended_by == "exit" and call.family in ("ds", "tm")


def _speaks_with_hypervisor(spec: Spec, call: Call) -> bool:
    return any(one.name in spec.command_classes[HYPERVISOR].commands for one in call.commands)


def _side(host: str) -> str:
    return "front" if host == FRONTEND else "host"


def _matches(kind: FaultKind, action: str) -> bool:
    return any(one in ("*", action) or (one.endswith("/*") and action.startswith(one[:-1])) for one in kind.actions)


def alike(found: Iterable[Place]) -> list[Place]:
    """Return each place once, in the case that costs least. Those of an action at the same command are alike, if their calls run the same."""
    kept: dict[tuple[object, ...], Place] = {}
    for place in found:
        known = kept.get(place.key)
        if known is None or place.cost < known.cost:
            kept[place.key] = place
    return list(kept.values())


def order(level: str, seed: int, found: Sequence[Place]) -> list[list[Place]]:
    """Return what to try: of each list, the first place for which there is a trace.

    basic: a list for each action and kind of fault, in the order that the seed picks, those in cases that cost up to twice as much as the least first;
    full: every place, of too many those that the seed picks.
    """
    found = sorted(found, key=lambda place: place.rank)
    if level == "full":
        picked = found if len(found) <= MOST else random.Random(f"{seed}:full").sample(found, MOST)
        return [[place] for place in picked]
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in found:
        groups.setdefault((place.action, place.kind.name), []).append(place)
    for (action, kind), group in groups.items():
        least = min(place.cost for place in group)
        random.Random(f"{seed}:{action}:{kind}").shuffle(group)
        group.sort(key=lambda place: place.cost > 2 * least)
    return [groups[key] for key in sorted(groups)]


# traces


def derive(spec: ContractSpec, subject: Subjected, trace: Trace, place: Place, *, brief: bool = False) -> Trace | None:
    """Return the trace of a fault: the case's own up to the operation, the fault, the operation, what does it again, the rest; if that is to be `brief`, without
    what is no VM's plain life.

    The rest is without what names snapshots where that would be refused: one that is made again has another id. None if nothing that a user could ask leads
    back to where the case goes on. `name` and `path` are still those of the case.
    """
    kind, n = place.kind, place.operation
    arguments: dict[str, Any] = {"action": place.action, "act": kind.act, "kind": kind.name}
    if place.command:
        arguments |= {"command": place.command, "ordinal": place.ordinal, "host": place.host}
    if kind.arg:
        arguments["arg"] = kind.arg.format(command=place.command)
    if place.skip:
        arguments["skip"] = place.skip
    fault, spoiled = Step(0, "fault.next", arguments), replace(trace.steps[n], expect=kind.ends)
    bytes_of = trace.header.bytes_of or trace.name
    header = msgspec.structs.replace(trace.header, bytes_of=bytes_of, title=f"{kind.title}: {_said(place)} in {trace.name}")
    rest = trace.steps[n + 1 :]
    if kind.beside:
        return _given_up(spec, subject, Trace(trace.path, header, (*trace.steps[:n], fault, spoiled)), place, rest)
    shorter = (tuple(_brief(rest)),) if brief else ()
    for following in (*shorter, rest, tuple(step for step in rest if "snapshot" not in step.arguments)):
        for again in (
            [[]] if kind.ends == "success" else _again(trace.steps[n], may_fail=place.action in spec.spec.once and "again" not in kind.holds)
        ):
            derived = Trace(trace.path, header, (*trace.steps[:n], fault, spoiled, *again, *following))
            if _leads_on(spec, subject, derived, n + 1, place, len(again)):
                return _gated(derived, (place.command,) if place.command else ())
    return None


def _leads_on(spec: ContractSpec, subject: Subjected, derived: Trace, n: int, place: Place, again: int) -> bool:
    """Whether the operation `n` leads to the same whether its call fails or not, by the steps after it that do it again; if they may fail, to an end."""
    whole = _final(spec, subject, derived, {})
    if whole is None or place.kind.ends == "success":
        return whole is not None
    fails = {n: (place.action, place.skip)}
    if again and derived.steps[n + again].expect == "any" and _final(spec, subject, derived, {**fails, n + again: (place.action, 0)}) is None:
        return False
    return _final(spec, subject, derived, fails) == whole


def _given_up(spec: ContractSpec, subject: Subjected, begun: Trace, place: Place, rest: Sequence[Step]) -> Trace | None:
    """Return the trace in which the user ends the VM meanwhile, and the rest goes on without it. None where oned takes neither."""
    vm = begun.steps[-1].arguments.get("vm")
    if vm is None:
        return None
    meanwhile = Step(0, place.kind.beside, {"vm": vm}, expect="any", beside=place.action)
    derived = Trace(begun.path, begun.header, (*begun.steps, meanwhile, *_without(rest, {vm} | _made(begun.steps[-1]))))
    ends = _final(spec, subject, derived, {})
    state = ends.get(f"vm {vm}") if ends is not None else None
    return _gated(derived, (place.command,)) if isinstance(state, tuple) and state[0] == "DONE" else None


def _without(rest: Sequence[Step], lacking: set[object]) -> Iterator[Step]:
    """Yield the steps that name nothing that is lacking, nor what only such steps would have made."""
    for step in rest:
        if not _named(step) & lacking:
            yield step
        else:
            lacking = lacking | _made(step)


def _brief(rest: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps in which VMs start, write and end and images go, but those that name what another step would have made."""
    lacking: set[object] = set()
    for step in rest:
        ours = step.op.partition(".")[0] in ("vm", "image", "datastore")
        if (step.op in _PLAIN or not ours) and not _named(step) & lacking:
            yield step
        else:
            lacking |= _made(step)


def _named(step: Step) -> set[object]:
    """Return the images and VMs that a step is about."""
    disks = step.arguments.get("disks", ())
    return {step.arguments.get("image"), step.arguments.get("vm"), *(disk.get("image") for disk in disks)} - {None}


def _made(step: Step) -> set[object]:
    """Return the image or VM that a step makes."""
    if step.op in _MAKES_IMAGE:
        return {step.arguments["image"]}
    return {step.arguments["vm"]} if step.op == "vm.create" else set()


def _said(place: Place) -> str:
    where = f" at {place.command} {place.ordinal} on {place.host}" if place.command else ""
    return f"{place.action}{where}"


def _again(step: Step, *, may_fail: bool) -> Iterator[list[Step]]:
    """Yield what a user may ask after an operation has failed, what oned has for it first. What oned ignores nobody asks again."""
    same = replace(step, about=RETRY, after="failure", expect="any" if may_fail else "success")
    if step.op.startswith("vm.") and step.op != "vm.create":
        yield [Step(0, "vm.recover_retry", {"vm": step.arguments["vm"]}, about=RETRY, after="failure")]
    yield [same]
    if step.op in _MAKES_IMAGE:
        yield [Step(0, "image.delete", {"image": step.arguments["image"]}, after="failure"), same]


def _final(spec: ContractSpec, subject: Subjected, trace: Trace, failing: Mapping[int, tuple[str, int]]) -> dict[str, object] | None:
    """Play a trace on oned alone and return in which states its objects end. None if oned refuses a step, a guest could not write, a failing call is not
    among those that oned asks for, or oned does not ask for it again: of a VM that was undeployed it then cleans up another host than the one that failed.

    `failing` are calls that fail, by their operation: the action, and how many of that action are before it there.
    """
    oned = Oned(spec, make_cloud(subject, shared_of(subject, trace.header.shared)))
    cloud, sizes = oned.cloud, file_sizes(trace.steps)
    passed: Counter[tuple[int, str]] = Counter()
    possible, struck = True, 0
    lost: set[tuple[str, tuple[str, ...]]] = set()

    def answer(asked: CallAsked) -> CallFinished:
        nonlocal struck
        here = asked.operation, asked.action.key
        fails = failing.get(asked.operation) == (asked.action.key, passed[here])
        words = asked.action.key, tuple(word for word in asked.argv if ":" in word)  # ids and new names may be others
        struck += fails
        if fails:
            lost.add(words)
        elif trace.steps[asked.operation].after:
            lost.discard(words)
        fails = fails or trace.steps[asked.operation].expect == "failure"
        passed[here] += 1
        return CallFinished(asked.call, not fails, null_output(spec, asked, sizes), "refused")

    def comes(n: int, step: Step) -> None:
        nonlocal possible
        possible = possible and not (step.op == "guest.write" and impossible(cloud, step))

    for n, output in rehearse(oned, trace, answer, comes):
        if isinstance(output, Refused) and trace.steps[n].expect == "success":
            return None
    again = any(step.after and step.expect == "success" for step in trace.steps)
    return _states(oned) if possible and struck == len(failing) and not (again and lost) else None


def _states(oned: Oned) -> dict[str, object]:
    cloud = oned.cloud
    found: dict[str, object] = {}
    for (kind, label), id in cloud.labels.items():
        if kind == "image":
            image = cloud.images.get(id)
            found[f"image {label}"] = (image.state, len(image.snapshots.known)) if image is not None else "gone"
        elif kind == "vm":
            vm = cloud.vms[id]
            found[f"vm {label}"] = vm.state, [(disk.id, len(disk.snapshots.known)) for disk in vm.disks]
    return found


def names(found: Collection[Place]) -> list[str]:
    """Return a name for each place; where several would have one, a number follows."""
    counts: Counter[str] = Counter()
    given = []
    for place in found:
        counts[place.name] += 1
        given.append(place.name if counts[place.name] == 1 else f"{place.name}-{counts[place.name]}")
    return given
