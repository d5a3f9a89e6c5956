"""The specification in a terminal finds everything that has a name, and suggests where nothing has it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onereport.spec_tables import documents
from onereport.spectext import render, render_action, render_requirement, suggestions
from onesim.errors import ConfigError
from onesim.spec import load


def said(name: str, contract: str = "", width: int = 100) -> str:
    """Return what is printed for a name; empty where nothing is found."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() if render(load(), name, contract, console) else ""


def test_everything_with_a_name_is_found() -> None:
    """Actions, requirements, discrepancies, operations, attributes, formats, helpers and arguments are printed under their names."""
    spec = load()
    texts = documents(spec)
    names = [row.key for row in spec.actions] + [row.id for row in spec.requirements] + [row.id for row in texts.discrepancies]
    names += [f"{kind}.{row.name}" for kind, table in spec.lifecycles.items() for row in table.operation]
    names += [row.name for row in (*texts.attributes, *texts.formats, *texts.helpers, *spec.arguments.values())]
    for name in dict.fromkeys(names):
        assert name in said(name, width=200), name


def test_a_bare_name_gives_the_actions_of_both_families() -> None:
    """`clone` is a datastore action and a transfer-manager action; case does not matter."""
    text = said("Clone")
    assert "ds/clone" in text and "tm/clone" in text


def test_an_action_is_printed_as_its_contract_has_it() -> None:
    """The document is an argument in 5.12, on stdin in 7.4; an action that does not exist there says so; an unknown contract is refused."""
    assert "dump" in said("ds/cp", "5.12").split("In contract 5.12", 1)[1].split("stdin", 1)[0]
    assert "dump" not in said("ds/cp", "7.4").split("In contract 7.4", 1)[1].split("stdin", 1)[0]
    assert "It does not exist in 5.12" in said("ds/backup", "5.12")
    with pytest.raises(ConfigError, match=r"9\.9"):
        said("ds/cp", "9.9")


def test_an_operation_is_printed_as_its_contract_has_it() -> None:
    """Live migration calls three scripts; the clean-up after a failing premigrate is of 7.4 alone, and backups came with 6.6."""
    new, old = said("vm.migrate_live", "7.4", 200), said("vm.migrate_live", "7.2", 200)
    assert new.index("tm/premigrate") < new.index("vmm/migrate") < new.index("tm/postmigrate")
    assert "if tm/premigrate or vmm/migrate failed" in new and "if vmm/migrate failed" in old
    assert "does not exist" in said("vm.backup", "5.12")


def test_the_overview_names_contracts_and_actions() -> None:
    """Without a name: contracts with the default, all storage actions, the operations."""
    text = said("", width=200)
    assert "7.4 (default)" in text and "6.4-stdin" in text and "vm.migrate_live" in text
    assert all(row.key in text for row in load().actions if row.family != "vmm")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("clnoe", "tm/clone"), ("tm/clon", "tm/clone"), ("migrate_liv", "vm.migrate_live"), ("TM-CLONE-00", "TM-CLONE-001"), ("sizemb", "size_mb")],
)
def test_what_is_not_there_suggests_near_names(wrong: str, near: str) -> None:
    """A misspelt name prints nothing and suggests the one that was meant."""
    assert said(wrong) == ""
    assert near in suggestions(load(), wrong)


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    """A name that is far from all gives no suggestion; asking for it directly is refused in one line."""
    assert suggestions(load(), "qqqqqqqqqqqq") == []
    console = Console(file=io.StringIO())
    with pytest.raises(ConfigError, match="qq/qq"):
        render_action(load(), "qq/qq", "", console)
    with pytest.raises(ConfigError, match="QQ-1"):
        render_requirement(load(), "QQ-1", console)
