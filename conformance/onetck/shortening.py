"""Making a trace shorter as long as it still breaks what it breaks: which traces to try, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import msgspec

from onesim.trace import Step, Trace

#: Tries traces one after the other, and returns the number and the trace of the first that still breaks, which may take its turns otherwise; None if none does.
First: TypeAlias = Callable[[Iterator[Trace]], tuple[int, Trace] | None]


def shorter(trace: Trace, last: int, first: First) -> Iterator[Trace]:
    """Yield ever shorter traces that break, until no step more can go. `last` is the operation in which it showed; -1 if nobody knows.

    First what comes later goes, then all that overlaps, what has nothing to do with that operation, objects from half of them to single ones and kinds of
    operation, pieces from the largest to single steps, and parts of steps.
    """
    for candidates in (_until, _alone, _concerned):
        found = first(iter(candidates(trace, last)))
        if found is not None:
            yield (trace := found[1])
    while (found := first(_coarse(trace))) is not None:
        yield (trace := found[1])
    size = max(len(trace.steps) // 2, 1)
    while size:
        before = len(trace.steps)
        at = before
        while at > 0:
            starts = range(max(at - size, 0), -1, -size)
            found = first(_kept(trace, [*trace.steps[:n], *trace.steps[n + size :]]) for n in starts)
            if found is None:
                break
            yield (trace := found[1])
            at = starts[found[0]]
        size = min(size // 2, max(len(trace.steps) // 2, 1)) if size > 1 or len(trace.steps) == before else 1
    while (found := first(_fine(trace))) is not None:
        yield (trace := found[1])


def _until(trace: Trace, last: int) -> list[Trace]:
    """Return the trace up to the operation, with those beside it."""
    end = next((group[-1][0] + 1 for group in trace.groups() if group[-1][0] >= last), len(trace.steps))
    return [_kept(trace, trace.steps[:end])] if last >= 0 and end < len(trace.steps) else []


def _alone(trace: Trace, last: int) -> list[Trace]:
    """Return the trace with one operation after the other, which needs no gates."""
    return [_kept(trace, [replace(step, beside="") for step in trace.steps])] if any(step.beside for step in trace.steps) else []


def _concerned(trace: Trace, last: int) -> list[Trace]:
    """Return the trace with no other VMs and images than those of the operation and of what is beside it, and what these were made from."""
    group = next((group for group in trace.groups() if group[0][0] <= last <= group[-1][0]), ())
    wanted: set[str] = set()
    more = {label for _, step in group for label in _labels(step)}
    while more != wanted:
        wanted = more
        # a VM is made from images, an image from one of them or from a disk of a VM
        more = wanted.union(*(_labels(step) for step in trace.steps if _made(step) in wanted))
    kept = [step for step in trace.steps if wanted.issuperset(_labels(step))]
    return [_kept(trace, kept)] if group and len(kept) < len(trace.steps) else []


def _coarse(trace: Trace) -> Iterator[Trace]:
    """Yield the trace without what belongs to some objects, with another image in place of one, and without one kind of operation; what is most of it first."""
    labels = list(dict.fromkeys(str(step.arguments[kind]) for step in trace.steps for kind in ("vm", "image") if kind in step.arguments))
    kinds = dict.fromkeys(step.op for step in trace.steps)
    pieces, size = [], max(len(labels) // 2, 1)
    while labels and size:
        for n in range(0, len(labels), size):
            some = set(labels[n : n + size])
            pieces.append([step for step in trace.steps if some.isdisjoint(_labels(step))])
        size //= 2
    images = dict.fromkeys(str(step.arguments["image"]) for step in trace.steps if "image" in step.arguments)
    pieces += [_replaced(trace, image, other) for image in images for other in images if other != image]
    pieces += [[step for step in trace.steps if step.op != op] for op in kinds]
    yield from (_kept(trace, kept) for kept in sorted(pieces, key=len) if kept)


def _fine(trace: Trace) -> Iterator[Trace]:
    """Yield the trace with a disk less, and with an overlap less."""
    for n, step in enumerate(trace.steps):
        disks = step.arguments.get("disks", ()) if step.op == "vm.create" else ()
        for left in [[*disks[:m], *disks[m + 1 :]] for m in range(len(disks)) if len(disks) > 1]:
            yield _kept(trace, [*trace.steps[:n], replace(step, arguments={**step.arguments, "disks": left}), *trace.steps[n + 1 :]])
        if step.beside:
            yield _kept(trace, [*trace.steps[:n], replace(step, beside=""), *trace.steps[n + 1 :]])


def _replaced(trace: Trace, image: str, other: str) -> list[Step]:
    """Return the steps without those that make or change an image; what has it gets another one."""
    kept = []
    for step in trace.steps:
        if step.arguments.get("image") != image:
            given = dict(step.arguments)
            if given.get("of") == image:
                given["of"] = other
            if "disks" in given:
                given["disks"] = [{**row, "image": other} if row.get("image") == image else row for row in given["disks"]]
            kept.append(replace(step, arguments=given))
    return kept


def _made(step: Step) -> str:
    """Return the VM or image that a step makes or changes out of others."""
    return str(step.arguments.get("image") or (step.arguments["vm"] if step.op == "vm.create" else ""))


def _labels(step: Step) -> set[str]:
    """Return the VMs and images that a step is about."""
    named = [step.arguments.get(kind) for kind in ("vm", "image", "of")] + [row.get("image") for row in step.arguments.get("disks", ())]
    return {str(label) for label in named if label is not None}


def _kept(trace: Trace, steps: Sequence[Step]) -> Trace:
    """Return a trace of some of the steps of another; the first is beside nothing, and without overlaps and faults there are no gates."""
    kept = [replace(step, beside="", after="") if n == 0 else step for n, step in enumerate(steps)]
    gated = any(step.beside or step.op in ("fault.next", "guest.busy") for step in kept)
    header = trace.header if gated else msgspec.structs.replace(trace.header, gates=())
    return replace(trace, header=header, steps=tuple(kept))
