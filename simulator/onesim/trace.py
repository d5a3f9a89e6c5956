"""Traces: what to do, one JSON object a line. The first line is a header; the rest are operations of users, guests and of the world.

`vm.*`, `image.*` and `datastore.*` are the operations of the lifecycle tables; the others are the world's own and are listed in `WORLD_OPERATIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import TraceError
from onesim.spec import Spec

#: Operations that are not oned's, with the arguments they need.
WORLD_OPERATIONS = {
    "file.make": ("path", "format", "size_mb"),
    "file.put": ("host", "path", "text"),
    "guest.write": ("vm", "disk"),
    "fault.next": ("action", "act"),
    "host.down": ("host",),
    "host.up": ("host",),
    "host.probe": ("host",),
    "monitor.encrypt": (),
}
_MAX_BYTES = 8 * 1024 * 1024


class TraceHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line. `shared` is the layout of the datastores that the trace is about; without it, the driver's own. `gates` are commands that report to the agent."""

    trace: int
    name: str
    title: str
    shared: bool | None = None
    gates: tuple[str, ...] = ()
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Step:
    """One line after the header: the operation and its arguments; `line` counts from 1.

    `expect` is success; failure (a call of this operation must fail); or any (the trace has made it fail, or may have). `about` is a label that the
    calls of the operation carry, for requirements that are about one special situation.
    """

    line: int
    op: str
    arguments: dict[str, Any]
    expect: str = "success"
    about: str = ""


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
    return Trace(str(path), header, tuple(_step(path, number, line, spec) for number, line in lines[1:]))


def _step(path: Path, number: int, line: str, spec: Spec) -> Step:
    where = f"{path}:{number}"
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise TraceError(f"{where}: {error}; every line is one JSON object") from None
    op = row.pop("op", None)
    if not isinstance(op, str):
        raise TraceError(f'{where}: no "op"; name an operation such as vm.create')
    kind, _, name = op.partition(".")
    known = op in WORLD_OPERATIONS or (kind in spec.lifecycles and any(one.name == name for one in spec.lifecycles[kind].operation))
    if not known:
        raise TraceError(f"{where}: operation {op!r} is unknown; see `onetck trace`")
    missing = [argument for argument in WORLD_OPERATIONS.get(op, ()) if argument not in row]
    if missing:
        raise TraceError(f"{where}: {op} needs {', '.join(missing)}")
    expect = row.pop("expect", "success")
    if expect not in ("success", "failure", "any"):
        raise TraceError(f'{where}: "expect" is success, failure or any, not {expect!r}')
    about = row.pop("about", "")
    if not isinstance(about, str):
        raise TraceError(f'{where}: "about" is a word, not {about!r}')
    return Step(number, op, row, expect, about)


def library(spec: Spec, version: str) -> list[Trace]:
    """Return the traces that ship with onetck and hold for a version, in the order of their names."""
    traces = [read_trace(path, spec) for path in sorted((data_dir("spec") / "traces").glob("*.jsonl"))]
    return [one for one in traces if in_range(version, one.header.since, one.header.until)]
