"""The page about faults shows the tables as they are."""

from __future__ import annotations

from pathlib import Path

from onesim.spec import load
from onesim.world.interface import ACTS

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def test_the_page_has_every_kind_and_class_and_no_other() -> None:
    """A row of the page is a row of the table."""
    expected = []
    for kind in load().faults.values():
        at = "every command" if kind.at == ("*",) else ", ".join(kind.at) or "before the call"
        at += " on another host, or to one" if kind.away else ""
        holds = ", ".join(kind.holds) or "-"
        expected.append(f"| `{kind.name}` | {kind.title} | {at} | {kind.level} | {'it succeeds; ' if kind.ends == 'success' else ''}{holds} |")
    expected += [f"| {row.name} | {', '.join(row.commands)} | {row.meaning} |" for row in load().command_classes.values()]
    assert [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| kind |", "| class |"))] == expected


def test_the_page_names_every_act() -> None:
    """What `fault.next` can do is told."""
    assert [act for act in ACTS if f"`{act}`" not in PAGE] == []
