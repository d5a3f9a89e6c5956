"""The kill matrix as an appendix: of the report, of the page of several runs, in a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lxml import html as lxml_html

from onereport.kills import Broken, Selftest, matrix
from onereport.overview import render_overview
from onetck.bundling import bundle
from onetck.cli import main
from onetck.verifying import verify

RUN = Path(__file__).parents[1] / "evidence" / "data" / "schema1"
HOSTILE = "</td><script>alert(1)</script>\u202e\x1b[31m"
TRIALS = [
    ("a", "tm/shared/mv", 7, "drop_command", "error", ""),
    ("a", "tm/shared/mv", 7, "drop_command", "killed", "TM-MV-001"),
    ("b", "tm/shared/mv", 9, "exit_zero", "killed", "TM-MV-001"),
    ("c", "datastore/fs/rm", 3, "drop_command", "killed", "DS-RM-002"),
    ("d", "tm/shared/ln", 4, "exit_zero", "survived", ""),
    ("e", HOSTILE, 5, HOSTILE, "not_covered", ""),
    ("f", "tm/shared/ln", 6, "unquote", "equivalent", ""),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What a self-test has left: one mutant was tried twice, the last line was cut off."""
    made = tmp_path / "selftest"
    made.mkdir()
    lines = [json.dumps({"suite": "5" * 64})]
    for id, file, line, operator, outcome, requirement in TRIALS:
        mutant = {"id": id, "file": file, "line": line, "operator": operator, "before": "x", "after": "y"}
        lines.append(json.dumps({"mutant": mutant, "outcome": outcome, "requirement": requirement, "tried": 1}))
    (made / "trials.jsonl").write_text("\n".join([*lines, '{"mutant":{"id":"g"']))
    return made


def rendered(words: list[str]) -> int:
    """Run `onetck report`. Returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    return int(str(ended.value.code))


def test_the_matrix_counts_what_each_requirement_has_killed() -> None:
    """By operator and in all, the strongest first; the rate leaves out what counts neither way."""
    made = matrix(Broken(*row[1:]) for row in TRIALS[1:])
    assert made.operators == ("drop_command", "exit_zero")
    assert [(row.requirement, row.counts, row.total) for row in made.rows] == [("TM-MV-001", (1, 1), 2), ("DS-RM-002", (1, 0), 1)]
    assert made.rate == 3 / 5 and [one.line for one in made.alive] == [4, 5]
    assert matrix(()).rate is None and matrix(()).rows == ()


def test_a_report_has_it_from_then_on(directory: Path, tmp_path: Path) -> None:
    """Also when it is written again, in a bundle, and where a reviewer renders it again; what it holds stays text."""
    out = Path(shutil.copytree(RUN, tmp_path / "run"))
    assert rendered([str(out), "--selftest", str(directory)]) == 1
    text = (out / "report.html").read_text()
    tree = lxml_html.fromstring(text)
    part = tree.get_element_by_id("kills")
    assert [[cell.text_content().strip() for cell in row] for row in part.xpath(".//tbody/tr")] == [
        ["TM-MV-001", "1", "1", "2"],
        ["DS-RM-002", "1", "", "1"],
    ]
    assert "60.0 %" in part.text_content() and "6 ways" in part.text_content() and "5555555555555555" in part.text_content()
    assert part.xpath(".//tbody/tr/th/a/@href") == ["#TM-MV-001", "#DS-RM-002"]
    assert all(len(tree.xpath(f"//*[@id='{link[1:]}']")) == 1 for link in part.xpath(".//tbody//a/@href"))
    assert not part.xpath(".//script") and "\u202e" not in text and "\x1b" not in text
    assert rendered([str(out)]) == 1 and (out / "report.html").read_text() == text
    bundle(out, tmp_path / "x.onetck")
    states = {one.question: one.state for one in verify(tmp_path / "x.onetck").answers}
    assert states["INTEGRITY"] == states["RE-JUDGED"] == "holds"


def test_several_runs_have_it_too(directory: Path, tmp_path: Path) -> None:
    """On the page that compares them; without a self-test there is no such section."""
    page = tmp_path / "o.html"
    assert rendered([str(RUN), "--overview", str(page), "--selftest", str(directory)]) == 0
    assert lxml_html.fromstring(page.read_text()).get_element_by_id("kills").xpath(".//tbody/tr")
    assert 'id="kills"' not in render_overview([]) and 'id="kills"' in render_overview([], Selftest("5", ()))


@pytest.mark.parametrize("text", [None, "", "no json", '{"suite":"5"}', '{"suite":"5"}\n{"mutant":1}'])
def test_what_is_no_self_test_is_said_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str | None) -> None:
    """Exit 4, with the file and the remedy; the run is left as it was."""
    if text is not None:
        (tmp_path / "trials.jsonl").write_text(text)
    out = Path(shutil.copytree(RUN, tmp_path / "run"))
    assert rendered([str(out), "--selftest", str(tmp_path)]) == 4
    said = capfd.readouterr().err.strip()
    assert "trials.jsonl" in said and "onetck selftest --out" in said and len(said.splitlines()) == 1
    assert {path.name for path in out.iterdir()} == {path.name for path in RUN.iterdir()}


def test_a_damaged_appendix_is_said_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit 4, with the command that writes it anew."""
    out = Path(shutil.copytree(RUN, tmp_path / "run"))
    (out / "selftest.json").write_text('{"suite": 5}')
    assert rendered([str(out), "--as-judged"]) == 4
    said = capfd.readouterr().err.strip()
    assert "selftest.json" in said and "--selftest" in said and len(said.splitlines()) == 1
