"""The JSON Schemas of what is written for other programs, made from the record classes and the tables themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from onereport.comparison import Comparison
from onereport.results import ResultRecord
from onesim.journal import Line
from onesim.records import Record
from onesim.trace import Trace
from onetck import config
from onetck.lint.findings import Report
from onetck.manifest import Manifest
from onetck.trace_schema import trace_schema
from onetck.verifying import Verification

#: By name: what it is, and the classes.
SCHEMAS: dict[str, tuple[str, Any]] = {
    "results": ("a line of results.jsonl", Line[ResultRecord]),
    "history": ("a line of history.jsonl", Line[Record]),
    "manifest": ("manifest.json of an evidence bundle", Manifest),
    "verification": ("what `onetck verify --json` prints", Verification),
    "diff": ("what `onetck diff --json` prints", Comparison),
    "lint": ("what `onetck lint --json` prints", Report),
    "config": (config.NAME, config.Config),
    "trace": ("a line of a trace", Trace),
}


def json_schema(name: str) -> dict[str, Any]:
    """Return a schema by name. Raises KeyError for an unknown one."""
    title, type = SCHEMAS[name]
    schema = trace_schema() if type is Trace else msgspec.json.schema(type)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
