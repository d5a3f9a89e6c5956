"""What was seen of a trace: the calls that an operation led to, as lines of the trace, with placeholders for all that is one cloud's own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from onesim.errors import TraceError
from onesim.placeholders import Names
from onesim.records import Blob, Call, StateChange
from onesim.spec import ContractSpec, Spec

#: The families whose calls are kept: those of storage drivers.
FAMILIES = ("ds", "tm")
#: What differs from one measurement to the next.
_ROOM = ("total_mb", "free_mb", "used_mb")


class Seen(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One call. `seen` is the action with its suffix (`tm/clone`, `tm/resize.ssh`); `vm` and `image` are labels, `disk` the number of the disk.

    `document` is the document in clear; where it travelled stands `${document}`, and `carried` says how: plain or base64. `argv`, `stdin`, `stdout` and `error` are
    texts with placeholders (onesim/placeholders.py). `parsed` is what oned read of stdout. `ended_by`, `status` and `signal` are as in a history.
    """

    seen: str
    argv: tuple[str, ...] = ()
    stdin: str = ""
    document: str = ""
    carried: str = ""
    vm: str = ""
    disk: int = -1
    image: str = ""
    success: bool = True
    ended_by: str = "exit"
    status: int = 0
    signal: int = 0
    stdout: str = ""
    parsed: dict[str, str] = {}
    error: str = ""

    @property
    def action(self) -> str:
        """The action without the suffix of a mode: `tm/resize`."""
        return self.seen.partition(".")[0]


def read_seen(where: str, row: dict[str, Any], spec: Spec) -> Seen:
    """Return what a line says. Raises TraceError, which begins with `where`, for one that says nothing a driver could have been asked."""
    try:
        seen = msgspec.convert(row, Seen)
    except msgspec.ValidationError as error:
        raise TraceError(f"{where}: seen: {error}; `onetck schema trace` has the form") from None
    known = {action.key for action in spec.actions if action.family in FAMILIES}
    if seen.action not in known:
        raise TraceError(f"{where}: no datastore or transfer driver has an action {seen.seen!r}; `onetck spec` lists them")
    if seen.carried not in ("", "plain", "base64") or bool(seen.carried) != bool(seen.document):
        raise TraceError(f'{where}: "carried" says how the document travels: plain or base64; it stands where there is a document')
    return seen


def names_of(records: Iterable[StateChange | Call], hosts: Sequence[str], datastores: Mapping[int, str]) -> Names:
    """Return the names of a case's cloud. `datastores` are those that it had from the beginning."""
    ids = {("datastore", id): label for id, label in datastores.items()}
    sources: dict[str, str] = {}
    location = ""
    for record in records:
        if isinstance(record, StateChange):
            ids[record.object, record.id] = record.label
        else:
            location = location or record.facts.get("location", "")
            source = record.parsed.get("source", "")
            if source and record.facts.get("image"):
                sources[source] = record.facts["image"]
    return Names(ids, sources, {name: name for name in hosts}, *([location] if location else []))


def seen_of(call: Call, names: Names, spec: ContractSpec, blobs: Path) -> Seen:
    """Return a call of a history as a line of a trace. `blobs` is the directory of the pieces beside the history."""
    row = spec.actions.get(f"{call.family}/{call.plain}")
    called = spec.argv(row) if row is not None else ()
    words = called if len(called) == len(call.argv) else [_name(call, word) for word in call.argv]
    argv, stdin, document, carried = travelled(
        list(zip(words, call.argv, strict=True)), whole(call.stdin, blobs).decode(errors="replace"), names, call.image
    )
    return Seen(
        f"{call.family}/{call.action}",
        argv,
        stdin,
        names.document(document),
        carried,
        names.ids.get(("vm", call.vm), "") if call.vm >= 0 else "",
        call.disk,
        names.ids.get(("image", call.image), "") if call.image >= 0 else "",
        call.success,
        call.ended_by,
        call.status,
        call.signal,
        names.output(whole(call.stdout, blobs).decode(errors="replace")),
        read_of(call.parsed, names),
        names.output(call.error),
    )


def travelled(words: Sequence[tuple[str, str]], stdin: str, names: Names, image: int) -> tuple[tuple[str, ...], str, str, str]:
    """Return the arguments (given with their names) and stdin of a call with placeholders, its document in clear (without), and how that travelled."""
    argv, document, carried = [], "", ""
    for name, word in words:
        clear = "" if document else _decoded(word)
        if clear:
            document, carried = clear, "base64"
        argv.append("${document}" if clear else names.argument(name, word, image))
    if stdin and not document:
        clear = _decoded(stdin)
        if clear or stdin.lstrip().startswith("<"):
            document, carried, stdin = clear or stdin, "base64" if clear else "plain", "${document}"
    return tuple(argv), stdin, document, carried


def read_of(parsed: Mapping[str, str], names: Names) -> dict[str, str]:
    """Return what oned read of an output with placeholders."""
    return {name: "${capacity}" if name in _ROOM else names.output(value) for name, value in parsed.items()}


def _name(call: Call, word: str) -> str:
    return next((name for name, value in call.arguments.items() if value == word), "")


def whole(blob: Blob, blobs: Path) -> bytes:
    """Return the bytes that a record stands for."""
    path = blobs / blob.sha256
    return path.read_bytes() if not blob.complete and blob.sha256.isalnum() and path.is_file() else blob.text.encode()


def _decoded(text: str) -> str:
    """Return the document behind base64; empty for anything else."""
    if len(text) < 16:
        return ""
    try:
        clear = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return clear if clear.lstrip().startswith("<") else ""
