"""The grammars against what was recorded: oned's own template parser, real oned and its driver programs, and our parsers of oned's results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onesim.grammar_values import Single, Template
from onesim.grammars import parse
from onesim.parsers import PARSERS

_DATA = Path(__file__).parent / "data"


def _rows(name: str) -> list[dict[str, Any]]:
    lines = (_DATA / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[1:] if line]


def test_templates_as_oned_reads_them() -> None:
    """What oned's parser accepts is parsed to the same attributes, what it refuses is refused: ordinary and absurd texts alike."""
    rows = _rows("templates.jsonl")
    assert sum(row["attributes"] is None for row in rows) > 50 < sum(row["attributes"] is not None for row in rows)
    for row in rows:
        found = parse("template", row["text"])
        got = [[one.name, one.value if isinstance(one, Single) else one.values] for one in found.attributes] if isinstance(found, Template) else None
        assert got == row["attributes"], row["text"]


@pytest.mark.parametrize("row", _rows("recorded.jsonl"), ids=lambda row: f"{row['name']}-{row['version']}-{row['text'][:30]!r}")
def test_recorded(row: dict[str, Any]) -> None:
    """What real programs wrote is accepted; what a probing driver wrote wrongly on purpose is refused."""
    found = parse(row["name"], row["text"], row["version"])
    assert isinstance(found, list) != row["good"], found


#: The parser in `onesim.parsers`, and its fields by those of the record.
AGREE = [
    ("result/cp", "7.4.0", "source_format", "/d/1/x raw", {"source": "source", "format": "format"}),
    ("result/cp", "7.4.0", "source_format", "  /d/1/x\tqcow2 more", {"source": "source", "format": "format"}),
    ("result/clone", "7.4.0", "source_maybe_format", "/d/1/x", {"source": "source"}),
    ("result/mkfs", "7.4.0", "source_line", "/d/1/x raw", {"line": "source"}),
    ("result/stat", "7.4.0", "size", "+10 MB", {"size_mb": "size_mb"}),
    ("result/backup", "7.4.0", "backup_format", "id 5 rbd", {"id": "backup_id", "size_mb": "size_mb", "format": "format"}),
    ("result/backup", "7.4.0", "backup_format", "id 5", {"format": "format"}),
    ("result/increment_flatten", "7.4.0", "increments", "5 0:a,1:b", {"size_mb": "size_mb"}),
    ("monitor", "7.4.0", "monitor", 'USED_MB=1 TOTAL_MB="10M"\nFREE_MB=9', {"used_mb": "used_mb", "total_mb": "total_mb", "free_mb": "free_mb"}),
]


@pytest.mark.parametrize(("name", "version", "parser", "text", "fields"), AGREE)
def test_agrees_with_the_simulated_oned(name: str, version: str, parser: str, text: str, fields: dict[str, str]) -> None:
    """A grammar and the simulated oned's own parser read the same values."""
    record, (read, error) = parse(name, text, version), PARSERS[parser](text)
    assert not error
    for ours, theirs in fields.items():
        value = getattr(record, ours)
        assert str(int(value) if isinstance(value, float) else value) == read[theirs]


@pytest.mark.parametrize(
    ("name", "parser", "text"),
    [("result/cp", "source_format", "/d/1/x"), ("result/stat", "size", "M"), ("result/increment_flatten", "increments", "5 0:a:b")],
)
def test_both_refuse(name: str, parser: str, text: str) -> None:
    """What the simulated oned calls an error has no place in the grammar."""
    assert PARSERS[parser](text)[1]
    assert isinstance(parse(name, text), list)
