"""Verifies what the datastore action `ls` prints: one JSON object of disks and the addresses of their backups.

What is wrong with a driver's output is a list of problems, never an exception. jsonschema is imported when it is needed.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.grammar_values import BackupUrl
from onesim.grammars import NEWEST, parse
from onesim.validation import MAX_PROBLEMS, Problem

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

#: A VM with a thousand disks and long chains stays below this.
MAX_CHARS = 1024 * 1024

_NAME = re.compile(r'("(?:[^"\\]|\\.)*+")\s*+:')
_REMEDIES = {
    "type": "print one JSON object whose values are strings",
    "minProperties": "list each disk of the backup",
    "maxProperties": "list each disk once",
    "pattern": "name a disk by its id without leading zeros, or tpm",
    "maxLength": "write a shorter address",
    "anyOf": "write restic:// or rsync://, datastore/[job]/increment:snapshot,..., and the absolute path that the protocol wants",
}


class _RepeatedError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def validate_ls(text: str, version: str = NEWEST) -> list[Problem]:
    """Return what is wrong with the output of `ls`, nothing if it is as the restore scripts want it; the path of a problem is a JSON pointer.

    `version` is an exact release: the addresses must be ones that its downloader knows. Raises SpecError if it has no backups.
    """
    if len(text) > MAX_CHARS:
        return [Problem(1, "", f"the document has {len(text)} characters", f"keep it to {MAX_CHARS}")]
    try:
        document = json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        more = error.msg == "Extra data"
        what = "a second document or other text follows the first" if more else f"column {error.colno} is not JSON: {error.msg}"
        return [Problem(error.lineno, "", what, "print one JSON object and nothing else")]
    except _RepeatedError as error:
        return [Problem(_line(text, error.name, 2), _pointer(error.name), "the name stands there twice", "list each disk once")]
    except (RecursionError, ValueError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return [Problem(1, "", f"the document cannot be read: {what}", "print one JSON object whose values are strings")]
    problems = _against_schema(document, text)
    return problems or _against_release(document, text, version)


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _RepeatedError(name)
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _against_schema(document: Any, text: str) -> list[Problem]:
    problems = []
    for error in _validator().iter_errors(document):
        # of a wrong name the instance is the name itself
        name = error.instance if error.schema_path and error.schema_path[0] == "propertyNames" else next(iter(error.absolute_path), None)
        pointer = "" if name is None else _pointer(str(name))
        line = 1 if name is None else _line(text, str(name))
        kind = str(error.validator)
        what = {"anyOf": "the address is not that of a disk in a backup", "pattern": "the name is not that of a disk"}.get(kind, error.message[:200])
        problems.append(Problem(line, pointer, what, _REMEDIES.get(kind, "print what the schema wants")))
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _against_release(document: dict[str, str], text: str, version: str) -> list[Problem]:
    """Find addresses that the release's downloader refuses, and those of another disk than their name says."""
    problems = []
    for name, address in document.items():
        found, line = parse("backup_url", address, version), _line(text, name)
        if isinstance(found, list):
            first = found[0]
            problems.append(Problem(line, _pointer(name), f"{first.path} of the address: {first.message}", first.remedy))
        elif isinstance(found, BackupUrl) and found.disk != name:
            problems.append(Problem(line, _pointer(name), f"the address is that of disk {found.disk}", "list it under the disk's own id"))
    return problems[:MAX_PROBLEMS]


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _line(text: str, name: str, time: int = 1) -> int:
    """Return the line on which a name stands for the n-th time."""
    for found in _NAME.finditer(text):
        if json.loads(found.group(1), strict=False) == name:
            time -= 1
            if not time:
                return text.count("\n", 0, found.start()) + 1
    return 1


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    path = data_dir("schemas") / "ls.schema.json"
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, json.JSONDecodeError, SchemaError) as error:
        raise SpecError(f"{path}: {str(error).splitlines()[0]}; correct the schema") from error
    return Draft202012Validator(schema)
