"""The page of a self-test: its counts are those of the trials, and what stands in a script stays text."""

from __future__ import annotations

import msgspec
from lxml import html as lxml_html

from onetck.selftest.mutants import Mutant
from onetck.selftest.page import render_page
from onetck.selftest.results import count
from onetck.selftest.show import Outcome, outcome_of
from onetck.selftest.trial import OUTCOMES, Trial

HOSTILE = "</pre><script>alert(1)</script><img src=x>\u202e\x1b[31m"


def outcome(*stale: str) -> Outcome:
    """Return a self-test with every outcome, of two operators in two scripts."""
    first, other = (
        Mutant("0000000001", "tm/shared/mv", 7, "drop_command", 'mv -- "$a" "$b"', ":"),
        Mutant("2", "tm/ssh/ln", 3, "exit_zero", HOSTILE, "x"),
    )
    killed = Trial(first, "killed", requirement="TM-MV-001", verdict="fail", case="vm-example", role="shared", tried=1)
    survivors = [Trial(msgspec.structs.replace(other, id=f"s{n}"), "survived", tried=6) for n in range(2)]
    rest = [Trial(msgspec.structs.replace(first, id=name), name, reason="Nobody sees it.", warned=("GEN-LOG-001",)) for name in OUTCOMES[3:]]
    return outcome_of([killed, killed, *survivors, *rest, Trial(first, "warned", warned=("GEN-LOG-001",))], 1.0, 40, 7, stale)


def test_the_tables_have_the_counts_of_the_trials() -> None:
    """By operator and by script; the rate is that of the self-test; a group in which nothing is to be killed has none."""
    made = outcome()
    tree = lxml_html.fromstring(render_page(made))
    for what, groups in (("operator", {one.mutant.operator for one in made.trials}), ("script", {one.mutant.file for one in made.trials})):
        rows = {row.findtext("th"): [cell.text_content() for cell in row.findall("td")] for row in tree.get_element_by_id(what).xpath(".//tbody/tr")}
        assert set(rows) == groups
        for n, name in enumerate(OUTCOMES):
            assert sum(int(row[n] or 0) for row in rows.values()) == sum(one.outcome == name for one in made.trials)
    assert tree.findtext(".//h1") == f"{100 * count(made.trials).rate:.1f} % killed"
    kills = tree.get_element_by_id("kills")
    assert kills.xpath(".//thead//th/span/text()") == ["drop command"]
    assert [cell.text_content().strip() for cell in kills.xpath(".//tbody/tr/*")] == ["TM-MV-001", "2", "2"]
    alone = render_page(outcome_of([one for one in made.trials if one.outcome == "equivalent"], 1.0, 40, None, ()))
    assert lxml_html.fromstring(alone).xpath("//section[@id='operator']//tbody/tr/td[last()]/text()") == ["–"]


def test_a_survivor_stands_there_with_its_lines_and_an_equivalent_with_its_reason() -> None:
    """Before and after, where, by which operator, how many cases were tried; stale reasons are named."""
    tree = lxml_html.fromstring(render_page(outcome("0123456789")))
    survived = tree.get_element_by_id("survived")
    assert len(survived.xpath(".//article")) == 2
    text = survived.text_content()
    for word in ("tm/ssh/ln:3", "exit_zero", "6 cases tried", "- </pre>", "+ x"):
        assert word in text
    assert "Nobody sees it." in tree.get_element_by_id("equivalent").text_content()
    assert "0123456789" in tree.get_element_by_id("stale").text_content()


def test_lines_of_a_script_stay_text() -> None:
    """No markup of theirs comes alive, and nothing of them is invisible."""
    text = render_page(outcome())
    assert not lxml_html.fromstring(text).xpath("//script | //img")
    assert "\u202e" not in text and "\x1b" not in text and "alert(1)" in text
