"""The JSON Schema of a line of a trace: the header, an operation of the table, or a call that was seen."""

from __future__ import annotations

from typing import Any

import msgspec

from onesim.seen import Seen
from onesim.spec import load
from onesim.trace import TraceHeader
from onesim.trace_operations import line_schemas

_COMMON = {
    "expect": {"enum": ["success", "failure", "any"], "description": "What the calls of the operation are to come to; success if not given."},
    "about": {"type": "string", "description": "A label that its calls carry, for requirements that are about one special situation."},
    "beside": {
        "type": ["boolean", "string"],
        "description": "It is asked while the operation above still runs: at once, or after a call of this action.",
    },
    "after": {"const": "failure", "description": "It is asked only if a call of the last operation without it has failed."},
}


def trace_schema() -> dict[str, Any]:
    """Return the schema; which lines may follow which is told by `onetck trace check`."""
    lines, definitions = line_schemas(load().trace_operations, _COMMON)
    (header, seen), classes = msgspec.json.schema_components([TraceHeader, Seen], ref_template="#/$defs/{name}")
    return {"anyOf": [header, seen, {"$ref": "#/$defs/operation"}], "$defs": {**classes, **definitions, "operation": {"oneOf": lines}}}
