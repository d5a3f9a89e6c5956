"""Each of the 52 complaints of users is caught by a requirement that a miniature breaks in the same way, or found by reading, or said to be out of sight."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from build import HERE, all_miniatures, play
from lxml import html as lxml_html
from rich.console import Console

from onereport.html import render_html
from onereport.jsonout import summary
from onereport.results import RequirementVerdict
from onereport.specsite import write_site
from onereport.text import render_text
from onesim.data import data_dir
from onesim.rows import Complaint
from onesim.spec import load
from onetck.explain import explain
from onetck.lint.check import lint
from onetck.setting import Given, settle

COMPLAINTS = load().complaints
PLAYED = [row for row in COMPLAINTS if row.miniature]
VECTORS: dict[str, dict[str, str]] = json.loads((HERE / "vectors.json").read_text())
LEAD = "Drivers have broken here before: "


def named(row: Complaint) -> str:
    """Return the name of a complaint's test."""
    return f"{row.number}-{row.reference.partition('/')[2].replace(' ', '-')}"


def test_all_fifty_two_are_there_with_a_reference_and_a_symptom() -> None:
    """None is left out, none stands twice, and each is a sentence about something that anyone can look up."""
    assert sorted(row.number for row in COMPLAINTS) == list(range(1, 53))
    assert len({row.reference for row in COMPLAINTS}) == len({row.symptom for row in COMPLAINTS}) == 52
    for row in COMPLAINTS:
        assert re.fullmatch(r"[\w-]+/[\w-]+(#\d+| docs/[\w.]+)", row.reference), row.number
        assert row.symptom.endswith(".") and (not row.reason or row.reason.endswith(".")), row.number
    assert len(PLAYED) >= 42


@pytest.mark.parametrize("row", PLAYED, ids=named)
def test_the_miniature_of_a_complaint_breaks_a_requirement_that_catches_it(row: Complaint) -> None:
    """Its root cause is one of the requirements of the row; each of these has a check, and the profile of its case demands one that fails."""
    spec = load()
    miniature = next(one for one in all_miniatures() if one.name == row.miniature)
    assert row.miniature.startswith(f"complaint-{row.number:02}-")
    checks = {one.id: one.check for one in spec.requirements}
    checked = [id for id in row.requirements if checks[id]]
    failing = {id for id, verdict in VECTORS[row.miniature].items() if verdict in ("fail", "crash", "timeout")}
    assert miniature.breaks in checked and miniature.breaks in failing
    assert not miniature.text or miniature.text.startswith("#!"), "the first line names the interpreter"


def test_every_such_miniature_belongs_to_its_complaint() -> None:
    """No miniature is named after a complaint that does not name it."""
    assert {row.name for row in all_miniatures() if row.name.startswith("complaint-")} == {row.miniature for row in PLAYED}


CONF = """
TM_MAD = [ EXECUTABLE = "one_tm", ARGUMENTS = "-t 15 -d shared,ssh" ]
DATASTORE_MAD = [ EXECUTABLE = "one_datastore", ARGUMENTS = "-t 15 -d fs -s shared" ]
TM_MAD_CONF = [ NAME = "shared", LN_TARGET = "NONE", CLONE_TARGET = "SYSTEM", SHARED = "YES", DS_MIGRATE = "YES",
  TM_MAD_SYSTEM = "ssh", LN_TARGET_SSH = "SYSTEM", CLONE_TARGET_SSH = "SYSTEM", DISK_TYPE_SSH = "BLOCK" ]
DS_MAD_CONF = [ NAME = "fs", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO" ]
"""


def conf(right: str, wrong: str) -> Callable[[Path, Path], None]:
    """Return what breaks the fragment of oned.conf in one place."""

    def broken(_tree: Path, fragment: Path) -> None:
        assert right in CONF
        fragment.write_text(CONF.replace(right, wrong))

    return broken


def superfluous_word(tree: Path, _fragment: Path) -> None:
    """Write one `then` too many into a script."""
    script = tree / "tm/shared/snap_revert"
    script.write_text(script.read_text() + "\nif true; then; then\n    :\nfi\n")


READ: dict[int, Callable[[Path, Path], None]] = {
    14: conf("-d fs", "-d ceph"),
    15: conf("-s shared", "-s fs"),
    16: conf(', DISK_TYPE_SSH = "BLOCK"', ""),
    18: superfluous_word,
    26: conf('NAME = "shared"', 'NAME = "shared2"'),
}


@pytest.mark.parametrize("row", [row for row in COMPLAINTS if row.rule], ids=named)
def test_reading_the_files_finds_what_no_run_shows(row: Complaint, tmp_path: Path) -> None:
    """`onetck lint` is silent about the rule where all is right, and finds it as an error where just that is wrong."""
    tree = Path(shutil.copytree(data_dir("reference_driver") / "remotes", tmp_path / "remotes"))
    fragment = tmp_path / "oned.conf"
    fragment.write_text(CONF)

    def found() -> list[str]:
        return [one.level for one in lint(settle(Given([tree], "fs", "shared")), fragment).findings if one.rule == row.rule]

    assert found() == []
    READ[row.number](tree, fragment)
    assert found() == ["error"]


def test_reports_tell_where_drivers_have_broken_before_at_failures_alone(tmp_path: Path) -> None:
    """Terminal, page and JSON name the reference once for the requirement that fails, and for none that passes."""
    row = next(one for one in PLAYED if one.number == 20)
    judgement = play(next(one for one in all_miniatures() if one.name == row.miniature), tmp_path)
    verdicts = {one.requirement: one for one in judgement.records() if isinstance(one, RequirementVerdict)}
    assert verdicts["DS-CP-001"].broken_before == (row.reference,)
    assert verdicts["DS-STAT-001"].verdict == "pass" and "DS-STAT-001" in row.requirements
    assert not verdicts["DS-STAT-001"].broken_before
    out = io.StringIO()
    render_text(judgement.records(), Console(file=out, width=200))
    assert [line.strip() for line in out.getvalue().splitlines() if LEAD in line] == [LEAD + row.reference]
    tree = lxml_html.fromstring(render_html(judgement.records(), []))
    assert LEAD + row.reference in tree.get_element_by_id("finding-DS-CP-001").text_content()
    assert tree.text_content().count(LEAD) == 1
    rows = {one["id"]: one for one in summary(judgement.records())["requirements"]}
    assert rows["DS-CP-001"]["broken_before"] == [row.reference] and "broken_before" not in rows["DS-STAT-001"]


def test_explain_and_the_site_lead_from_a_requirement_to_its_complaints(tmp_path: Path) -> None:
    """`explain` has a line for each; the site a table with all of them, linked from its first page and from each requirement's entry."""
    spec = load()
    for row in COMPLAINTS:
        for id in row.requirements:
            assert f"{LEAD}{row.reference}: {row.symptom}" in explain(spec, id)
    assert not any(LEAD in line for line in explain(spec, "GEN-MEM-001"))
    pages = {
        path.name: lxml_html.document_fromstring(path.read_text(encoding="utf-8")) for path in write_site(spec, tmp_path) if path.suffix == ".html"
    }
    assert pages["index.html"].xpath("//main//a[@href='complaints.html']")
    entry = pages["requirements-mv.html"].get_element_by_id("TM-MV-010")
    assert entry.xpath(".//a[@href='complaints.html#complaint-11']") and entry.xpath(".//a[@href='complaints.html#complaint-34']")
    for row in COMPLAINTS:
        text = pages["complaints.html"].get_element_by_id(f"complaint-{row.number}").text_content()
        assert all(word in text for word in (row.reference, row.symptom, row.reason, row.rule, row.miniature, *row.requirements))
