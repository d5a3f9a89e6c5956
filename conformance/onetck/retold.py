"""Writes what was seen elsewhere as a trace, and says what was left out: for `onetck record collect` and `onetck import`."""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from onereport.results import EXIT_NOTHING
from onesim.recording.calls import SeenCall
from onesim.recording.retelling import Retold
from onesim.redaction import Redaction
from onesim.spec import load
from onesim.trace import parse_trace
from onetck.terminal import err_console, stop, write_page

OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The trace; it is printed if not given.", show_default=False)]


def deliver(retold: Retold, seen: Sequence[SeenCall], notes: Counter[str], *, name: str, out: Path | None, calls: Path | None, as_json: bool) -> None:
    """Write the trace and the calls, and say on stderr, or as JSON, what was found. Ends with status 5 if there is no operation."""
    if not retold.steps:
        stop("no operation was found" + "".join(f"; {count} {what}" for what, count in (notes + retold.left_out).items()), EXIT_NOTHING)
    hidden = _redaction(seen)
    text = hidden.text(trace_text(name, retold.steps))
    parse_trace(text, out or Path(name), load())
    if out is not None:
        write_page(out, text, "--out")
    if calls is not None:
        write_page(calls, "".join(_line(call, hidden) for call in seen), "--calls")
    if as_json:
        found = {"operations": len(retold.steps), "calls": len(seen), "notes": dict(notes), "left_out": dict(retold.left_out)}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    elif out is None:
        sys.stdout.write(text)
    err_console.print(f"{len(seen)} calls, {len(retold.steps)} operations", markup=False)
    for what, count in (notes + retold.left_out).items():
        err_console.print(f"  left out: {count} {what}", markup=False)


def trace_text(name: str, steps: Iterable[dict[str, Any]]) -> str:
    """Return the text of a trace: a header, and an operation a line."""
    header = {"trace": 1, "name": name, "title": "What was seen on a front-end"}
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (header, *steps))


def _redaction(seen: Iterable[SeenCall]) -> Redaction:
    """Return what replaces the secrets that the documents of the calls hold: values of elements that are secret by their names."""
    tables = load().secrets
    found: dict[str, str] = {}
    for call in seen:
        if call.document is not None:
            found |= {node.text: str(node.tag) for node in call.document.iter() if node.text and tables.names(str(node.tag))}
    return Redaction(tables, ((name, value) for value, name in found.items()))


def _line(call: SeenCall, hidden: Redaction) -> str:
    """Return a call as a line of JSON, without secrets; bytes that are no text are in base64."""
    row: dict[str, Any] = {
        "call": f"{call.family}/{call.action}",
        "mad": call.mad,
        "begun_s": call.begun_s,
        "seconds": round(call.ended_s - call.begun_s, 6),
        "status": call.status,
        "argv": list(hidden.argv([word.encode(errors="replace").decode() for word in call.argv])),
    }
    for stream in ("stdin", "stdout", "stderr"):
        data = hidden.data(getattr(call, stream), cut=True)
        try:
            row |= {stream: hidden.assigned(data.decode())} if data else {}
        except UnicodeDecodeError:
            row[f"{stream}_base64"] = base64.b64encode(data).decode()
    return json.dumps(row, ensure_ascii=False) + "\n"
