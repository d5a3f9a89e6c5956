"""The JSON document of `ls`: what is right, and where each kind of mistake is found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from onesim.data import data_dir
from onesim.grammars import validate_ls

_URL = "rsync://102//0:0e6658/var/lib/one/datastores/102/21/0e6658/disk.{}.0"
_FULL = json.dumps({"0": _URL.format(0), "12": _URL.format(12), "tpm": _URL.format("tpm")}, indent=1)

RIGHT = [
    # the guide's example
    '{\n  "0": "rsync://102//0:0e6658/var/lib/one/datastores/102/21/0e6658/disk.0.0"\n}\n',
    '{"0":"restic://100/23/0:25f4b298,1:6968545c//var/lib/one/datastores/0/0/backup/disk.0.0"}',
    '{"0":"rsync+rbd://100/3/0:a/d/100/3/a/disk.0.rbd2"}',
    _FULL,
]
WRONG = [
    ("", 1, "", "JSON"),
    ("[]", 1, "", "not of type 'object'"),
    ("{}", 1, "", "non-empty"),
    (_FULL + "\n{}", 6, "", "second document"),
    (_FULL.replace('"12"', '"0"'), 3, "/0", "twice"),
    (_FULL.replace('"12"', '"012"'), 3, "/012", "name"),
    (_FULL.replace('"12"', '"a/b~"'), 3, "/a~1b~0", "name"),
    (_FULL.replace('"12"', '"1\\u0033"'), 3, "/13", "disk 12"),
    (_FULL.replace("rsync://", "http://", 1), 2, "/0", "address"),
    (_FULL.replace("disk.12", "disk.x"), 3, "/12", "address"),
    (_FULL.replace("datastores/102/21/0e6658/disk.tpm", "datastores/103/21/0e6658/disk.tpm"), 4, "/tpm", "path"),
    ('{"0": 5}', 1, "/0", "not of type 'string'"),
    ('{"0": NaN}', 1, "", "NaN"),
    ('{"0": ' + "[" * 100000 + "]" * 100000 + "}", 1, "", "deeply"),
    ('{"0": "' + "x" * 1100000 + '"}', 1, "", "characters"),
    ('{"0": ' + "1" * 5000 + "}", 1, "", "read"),
]


@pytest.mark.parametrize("text", RIGHT)
def test_right(text: str) -> None:
    """The document has no problem."""
    assert validate_ls(text) == []


@pytest.mark.parametrize(("text", "line", "pointer", "word"), WRONG, ids=range(len(WRONG)))
def test_wrong(text: str, line: int, pointer: str, word: str) -> None:
    """The one mistake is found, on its line, with its JSON pointer."""
    found = validate_ls(text)
    assert [(one.line, one.path) for one in found] == [(line, pointer)], found
    assert word in found[0].message


def test_a_release_knows_its_protocols() -> None:
    """RBD disks have a protocol of their own since 6.10.1 only."""
    text = '{"0":"rsync+rbd://100/3/0:a/d/100/3/a/disk.0.rbd2"}'
    assert validate_ls(text, "6.10.1") == []
    assert [one.path for one in validate_ls(text, "6.10.0")] == ["/0"]


def test_the_schema_is_one() -> None:
    """The published file is a JSON Schema by itself and judges the guide's example alike."""
    schema = json.loads((data_dir("schemas") / "ls.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(json.loads(RIGHT[0]))
    assert not Draft202012Validator(schema).is_valid({"0": "/var/lib/one/disk.0"})


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(max_size=40) | st.text('{}[]":,0 \\unx', max_size=40))
def test_nothing_raises(text: str) -> None:
    """Whatever a driver prints, the answer is a list."""
    assert isinstance(validate_ls(text), list)
