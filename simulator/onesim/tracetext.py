"""A trace as text: the one way in which onetck writes traces, so that two of them can be compared line by line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from onesim.spec import Spec
from onesim.trace import Step, Trace, TraceHeader

_WORDS = ("about", "beside", "after")


def render(trace: Trace, spec: Spec, *, seen: bool = True) -> str:
    """Return the text of a trace file: arguments in the order of the table, nothing that is said by leaving it out; with the calls that were seen, if wished."""
    lines = [header_row(trace.header)]
    for step in trace.steps:
        lines.append(step_row(step, spec))
        lines += [msgspec.to_builtins(one) for one in (step.seen if seen else ())]
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)


def renamed(trace: Trace, name: str) -> Trace:
    """Return a trace under another name."""
    return replace(trace, header=msgspec.structs.replace(trace.header, name=name))


def header_row(header: TraceHeader) -> dict[str, Any]:
    """Return the first line of a trace."""
    usual = TraceHeader(header.trace, header.name, header.title)
    told = [field for field in header.__struct_fields__ if field in ("trace", "name", "title") or getattr(header, field) != getattr(usual, field)]
    return {field: getattr(header, field) for field in told}


def step_row(step: Step, spec: Spec) -> dict[str, Any]:
    """Return the line of an operation."""
    row = spec.trace_operations.by_name[step.op]
    order = list(spec.trace_operations.typed(row.needs + row.may))
    names = sorted(step.arguments, key=lambda name: (order.index(name), "") if name in order else (len(order), name))
    told: dict[str, Any] = {"op": step.op, **{name: step.arguments[name] for name in names}}
    if step.expect != "success":
        told["expect"] = step.expect
    told |= {word: getattr(step, word) for word in _WORDS if getattr(step, word)}
    return told | ({"beside": True} if step.beside == "*" else {})
