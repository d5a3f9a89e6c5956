"""Traces: what to do, one JSON object a line. The first line is a header; the rest are operations of users, guests and of the world.

`spec/operations.toml` lists the operations: those of the lifecycle tables, and the world's own.

An operation is asked when all calls of the one before have ended. One with `"beside": true` is asked while the one before still runs, as soon as its
first call has begun; `"beside": "tm/clone"` waits until a call of that action has begun. So each line with `beside` joins the lines above it to a
group, whose calls overlap:

    {"op": "vm.deploy", "vm": "one", "host": "host01"}
    {"op": "vm.deploy", "vm": "two", "host": "host02", "beside": true}

An operation with `"after": "failure"` is asked only if a call of the last operation without it has failed: it does again what a fault has spoiled.

A line with `seen` instead of `op` is a call that the operation above it has led to, where the trace was played before (`onesim/seen.py`). It changes nothing
of what is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import TraceError
from onesim.pool_datastores import PoolKind
from onesim.seen import Seen, read_seen
from onesim.spec import Spec
from onesim.trace_operations import check_arguments
from onesim.world.interface import ACTS
from onesim.writing import HOW

#: Those that nothing can be asked beside, as they run commands of their own.
_ALONE = frozenset({"host.probe", "monitor.encrypt"})
_MAX_BYTES = 8 * 1024 * 1024


class TraceHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line. `profile` is the one whose requirements the trace is for; it is played when that one is certified.

    `ds_migrate` = it is for drivers whose VMs may move to another system datastore, or for those whose may not; without it, for all.
    `pool` = it is for datastores that are such storage pools of libvirt; without it, for all.
    `shared` is the layout of the datastores that the trace is about; without it, the driver's own. `gates` are commands that report to the agent.
    `files` = it is for drivers whose images and disks are files, where one transfer driver has both.
    `any_format` = it is for those that make disks in the formats that users ask for.
    `bytes_of` is the case whose bytes users' files have, where a trace was made from another one; without it they are its own.
    `seen_under` is the exact OpenNebula version under which the calls of lines with `seen` were made.
    """

    trace: int
    name: str
    title: str
    profile: str = "core"
    shared: bool | None = None
    ds_migrate: bool | None = None
    pool: tuple[PoolKind, ...] = ()
    files: bool = False
    any_format: bool = False
    gates: tuple[str, ...] = ()
    bytes_of: str = ""
    seen_under: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Step:
    """One line after the header: the operation and its arguments; `line` counts from 1.

    `expect` is success; failure (a call of this operation must fail); or any (the trace has made it fail, or may have). `about` is a label that the
    calls of the operation carry, for requirements that are about one special situation. `beside` is empty for an operation that waits for the one
    before; else it is asked when that one has begun a call of the action named (`*`: any). `after` is failure for one that is asked only if a call of the last
    operation without it has failed. `seen` are the calls that it has led to before.
    """

    line: int
    op: str
    arguments: dict[str, Any]
    expect: str = "success"
    about: str = ""
    beside: str = ""
    after: str = ""
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True)
class Trace:
    """A trace as read. `path` names the file in messages."""

    path: str
    header: TraceHeader
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The name that commands and reports use."""
        return self.header.name

    def groups(self) -> Iterator[tuple[tuple[int, Step], ...]]:
        """Yield the steps, numbered from 0, that are played together: one that waits for those before, with all that are asked beside it."""
        group: list[tuple[int, Step]] = []
        for n, step in enumerate(self.steps):
            if group and not step.beside:
                yield tuple(group)
                group = []
            group.append((n, step))
        if group:
            yield tuple(group)


def read_trace(path: Path, spec: Spec) -> Trace:
    """Read and verify a trace file. Raises TraceError naming file, line and remedy."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise TraceError(f"{path}: larger than {_MAX_BYTES >> 20} MiB; split it")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}; give a trace file") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 at byte {error.start}; a trace is JSON lines") from None
    return parse_trace(text, path, spec)


def parse_trace(text: str, path: Path, spec: Spec) -> Trace:
    """Verify the text of a trace; `path` names it in messages. Raises TraceError naming file, line and remedy."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise TraceError(f'{path}: empty; the first line is a header such as {{"trace": 1, "name": "x", "title": "..."}}')
    try:
        header = msgspec.json.decode(lines[0][1], type=TraceHeader)
    except msgspec.DecodeError as error:
        raise TraceError(f"{path}:{lines[0][0]}: header: {error}") from None
    if header.trace != 1:
        raise TraceError(f"{path}:1: trace format {header.trace} is unknown; this version reads 1")
    if header.profile not in spec.profiles:
        raise TraceError(f"{path}:1: profile {header.profile!r} is unknown; choose one of {', '.join(spec.profiles)}")
    steps = tuple(_steps(path, lines[1:], spec))
    for word in ("beside", "after"):
        if steps and getattr(steps[0], word):
            raise TraceError(f'{path}:{steps[0].line}: "{word}" needs an operation above it')
    for above, step in pairwise(steps):
        alone = {above.op, step.op} & _ALONE
        if step.beside and alone:
            raise TraceError(f'{path}:{step.line}: nothing can be asked beside {alone.pop()}; leave "beside" out')
        if above.op == "guest.busy" and step.op not in ("guest.busy", "vm.backup"):
            raise TraceError(f"{path}:{step.line}: a guest is busy while its VM is backed up; put vm.backup after guest.busy, not {step.op}")
    return Trace(str(path), header, steps)


def _steps(path: Path, lines: Iterable[tuple[int, str]], spec: Spec) -> list[Step]:
    """Return the steps of the lines after the header, each with the calls seen of it."""
    steps: list[Step] = []
    for number, line in lines:
        where = f"{path}:{number}"
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise TraceError(f"{where}: {error}; every line is one JSON object") from None
        if "seen" not in row:
            steps.append(_step(where, number, row, spec))
            continue
        if not steps:
            raise TraceError(f'{where}: "seen" needs an operation above it')
        steps[-1] = replace(steps[-1], seen=(*steps[-1].seen, read_seen(where, row, spec)))
    return steps


def _step(where: str, number: int, row: dict[str, Any], spec: Spec) -> Step:
    op = row.pop("op", None)
    if not isinstance(op, str):
        raise TraceError(f'{where}: no "op"; name an operation such as vm.create')
    if op not in spec.trace_operations.by_name:
        near = get_close_matches(op, spec.trace_operations.by_name, 1)
        raise TraceError(f"{where}: operation {op!r} is unknown; {f'{near[0]} is near; ' if near else ''}see `onetck trace`")
    expect = row.pop("expect", "success")
    if expect not in ("success", "failure", "any"):
        raise TraceError(f'{where}: "expect" is success, failure or any, not {expect!r}')
    about = row.pop("about", "")
    if not isinstance(about, str):
        raise TraceError(f'{where}: "about" is a word, not {about!r}')
    beside, after = _beside(where, row.pop("beside", False), spec), row.pop("after", "")
    if after not in ("", "failure") or (after and beside):
        raise TraceError(f'{where}: "after" is failure, and such an operation is beside no other')
    check_arguments(where, spec.trace_operations, op, row)
    if op == "fault.next":
        _fault(where, row, spec)
    if op == "documents.write" and row["how"] not in ("", *HOW):
        raise TraceError(f"{where}: documents are not written {row['how']!r}; choose one of {', '.join(HOW)}, or an empty text")
    return Step(number, op, row, expect, about, beside, after)


def _fault(where: str, row: dict[str, Any], spec: Spec) -> None:
    """Refuse a fault that could strike nothing. Raises TraceError."""
    if row["action"] not in {action.key for action in spec.actions}:
        raise TraceError(f"{where}: there is no action {row['action']!r} that a fault could strike; `onetck spec` lists them")
    if row["act"] not in ACTS:
        raise TraceError(f"{where}: act {row['act']!r} is unknown; choose one of {', '.join(ACTS)}")
    if row["action"].startswith("vmm/"):
        if row["act"] != "fail" or "command" in row:
            raise TraceError(f"{where}: {row['action']} is the hypervisor's own work: it can only fail, and at no command")
    elif (row["act"] == "lost") == ("command" in row):
        raise TraceError(f"{where}: {row['act']} {'strikes a call, and takes no' if 'command' in row else 'needs a'} command")
    if row["act"] == "unheard" and row["command"] != "ssh":
        raise TraceError(f"{where}: of ssh alone the answer can be unheard, not of {row['command']}")
    kind = row.get("kind")
    if kind is not None and kind not in spec.faults:
        raise TraceError(f"{where}: kind {kind!r} of fault is unknown; there are {', '.join(spec.faults)}")


def _beside(where: str, value: object, spec: Spec) -> str:
    if isinstance(value, bool):
        return "*" if value else ""
    if value not in {action.key for action in spec.actions}:
        raise TraceError(f'{where}: "beside" is true, or an action such as "tm/clone", not {value!r}')
    return str(value)


def library(spec: Spec, version: str) -> list[Trace]:
    """Return the traces that belong to profiles and hold for a version, in the order of their names."""
    return [one for one in _in(spec, "") if in_range(version, one.header.since, one.header.until)]


def shipped(spec: Spec) -> tuple[Trace, ...]:
    """Return all traces that ship with onetck: those of profiles, then those that are played by name alone."""
    return (*_in(spec, ""), *_in(spec, "more"))


@cache
def _in(spec: Spec, folder: str) -> tuple[Trace, ...]:
    return tuple(read_trace(path, spec) for path in sorted((data_dir("spec") / "traces" / folder).glob("*.jsonl")))
