"""The operations of a trace and their arguments: `spec/operations.toml`, what is wrong with a line, and the JSON Schema of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from onesim.errors import TraceError
from onesim.rows import Row


class TraceOperation(Row, frozen=True):
    """An operation. Columns are explained at the top of `spec/operations.toml`."""

    name: str
    meaning: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    capitals: bool = False
    creates: str = ""


class TraceOperations(Row, frozen=True, dict=True):
    """The table."""

    types: dict[str, str]
    operation: tuple[TraceOperation, ...]

    @cached_property
    def by_name(self) -> dict[str, TraceOperation]:
        """The rows by the name of the operation."""
        return {row.name: row for row in self.operation}

    def typed(self, words: tuple[str, ...]) -> dict[str, str]:
        """Return arguments as a row writes them, each with its type."""
        return {name: type or self.types[name] for name, _, type in (word.partition(":") for word in words)}


class _Disk(msgspec.Struct, forbid_unknown_fields=True):
    image: str | None = None
    volatile: str | None = None
    size_mb: int | None = None
    format: str | None = None
    fs: str | None = None


class _Backup(msgspec.Struct, forbid_unknown_fields=True):
    mode: str | None = None
    keep_last: int | None = None
    volatile: bool | None = None
    freeze: str | None = None


#: Each type as JSON Schema has it, and in words.
_NUMBER = {"type": "integer", "minimum": 0}
TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"type": "string"}, "a text"),
    "number": (_NUMBER, "a whole number of at least 0"),
    "which": (_NUMBER, "the number of a disk, from 0"),
    "index": ({"type": "integer", "minimum": -1}, "a whole number of at least -1"),
    "share": ({"type": "number", "minimum": 0}, "a number of at least 0"),
    "flag": ({"type": "boolean"}, "true or false"),
    "job": (_NUMBER, "the number of a backup job"),
    "texts": ({"type": "object", "additionalProperties": {"type": "string"}}, "an object of texts"),
    "disk": ({"$ref": "#/$defs/disk"}, 'an object such as {"image": "os"} or {"volatile": "fs", "size_mb": 2}'),
    "disks": ({"type": "array", "items": {"$ref": "#/$defs/disk"}}, 'a list of objects such as {"image": "os"} or {"volatile": "fs", "size_mb": 2}'),
    "backup": ({"$ref": "#/$defs/backup"}, 'an object such as {"mode": "INCREMENT", "keep_last": 2}'),
    "attribute": (
        {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"kib": _NUMBER}, "required": ["kib"], "additionalProperties": False}]},
        'a text, or {"kib": n} for one of n KiB',
    ),
}


def check_arguments(where: str, table: TraceOperations, op: str, arguments: Mapping[str, object]) -> None:
    """Raise TraceError, which begins with `where`, for an argument that is missing, unknown or of another type."""
    row = table.by_name[op]
    needs, known = table.typed(row.needs), table.typed(row.needs + row.may)
    missing = [name for name in needs if name not in arguments]
    if missing:
        raise TraceError(f"{where}: {op} needs {', '.join(missing)}")
    for name, value in arguments.items():
        type = known.get(name, "attribute" if row.capitals and name.isupper() else "")
        if not type:
            there = ", ".join(known) + (", attributes in capitals" if row.capitals else "")
            raise TraceError(f"{where}: {op} has no argument {name!r}; it has {there or 'none'}")
        if not _fits(type, value):
            raise TraceError(f"{where}: {op}: {name!r} is {TYPES[type][1]}, not {msgspec.json.encode(value).decode()[:60]}")


def _fits(type: str, value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match type:
        case "text":
            return isinstance(value, str)
        case "number" | "which" | "job":
            return whole and isinstance(value, int) and value >= 0
        case "index":
            return whole and isinstance(value, int) and value >= -1
        case "share":
            return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        case "flag":
            return isinstance(value, bool)
        case "texts":
            return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        case "attribute":
            return isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"kib"} and _fits("number", value["kib"]))
        case "disks":
            return isinstance(value, list) and all(_fits("disk", one) for one in value)
        case "backup":
            return _converts(value, _Backup)
        case _:
            return _converts(value, _Disk) and isinstance(value, dict) and ("image" in value) != ("volatile" in value)


def _converts(value: object, type: Any) -> bool:
    try:
        msgspec.convert(value, type)
    except msgspec.ValidationError:
        return False
    return isinstance(value, dict) and None not in value.values()


def line_schemas(table: TraceOperations, common: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the JSON Schema of a line for each operation, with the `common` members that every one may have; and the definitions that these refer to."""
    schemas: list[dict[str, Any]] = []
    for row in table.operation:
        members: dict[str, Any] = {"op": {"const": row.name}}
        members |= {name: TYPES[type][0] for name, type in table.typed(row.needs + row.may).items()}
        schema: dict[str, Any] = {"title": row.name, "description": row.meaning, "type": "object", "properties": members | dict(common)}
        schema |= {"required": ["op", *table.typed(row.needs)], "additionalProperties": False}
        if row.capitals:
            schema["patternProperties"] = {"^[A-Z][A-Z0-9_]*$": TYPES["attribute"][0]}
        schemas.append(schema)
    texts = {"type": "string"}
    disk: dict[str, Any] = {"type": "object", "properties": {"image": texts, "volatile": texts, "size_mb": _NUMBER, "format": texts, "fs": texts}}
    disk |= {"oneOf": [{"required": ["image"]}, {"required": ["volatile"]}], "additionalProperties": False}
    backup: dict[str, Any] = {"type": "object", "properties": {"mode": texts, "keep_last": _NUMBER, "volatile": {"type": "boolean"}, "freeze": texts}}
    return schemas, {"disk": disk, "backup": backup | {"additionalProperties": False}}
