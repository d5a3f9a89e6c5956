"""Reports say what was found, agree with each other, and are safe against anything that a driver prints."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from build import all_miniatures, play
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from onereport.badge import render_badge
from onereport.html import render_html
from onereport.jsonout import summary
from onereport.junit import write_junit
from onereport.markdown import render_markdown
from onereport.results import FAILURES, Evidence, RequirementVerdict, Result, ResultsHeader, decide, worst
from onesim.journal import read
from onesim.records import Blob, Call, Record
from onetck.judge import Judgement

HOSTILE = "<script>alert(1)</script></details><img src=x onerror=alert(2)>\u202egnp.exe\x00\x1b[31m" + "A" * 5000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judgement, Path]:
    """A miniature whose clone loses the end of the disk, played once."""
    out = tmp_path_factory.mktemp("run")
    miniature = next(row for row in all_miniatures() if row.name == "tm-clone-loses-the-end")
    return play(miniature, out), out


def page(judgement: Judgement, records: list[Any], out: Path) -> str:
    """Render the report."""
    return render_html(judgement.records(), records, out / "blobs")


def test_the_page_shows_verdict_evidence_bytes_and_the_repeating_command(run: tuple[Judgement, Path]) -> None:
    """Everything that a vendor needs to see stands on the page, and nothing on it needs the network or JavaScript."""
    judgement, out = run
    text = page(judgement, list(read(out / "history.jsonl", Record)), out)
    tree = lxml_html.fromstring(text)
    assert tree.findtext(".//h1") == "NOT CONFORMANT"
    finding = tree.get_element_by_id("finding-TM-CLONE-002").text_content()
    for word in (
        "After clone, the VM's disk has the bytes of the image.",
        "TransferManager.cc",
        "/var/lib/one/remotes/tm/shared/clone",
        "exit status 0",
        "onetck run --case vm-siblings",
    ):
        assert word in finding
    about = {row.findtext("dt"): row.find("dd").text_content() for row in tree.xpath("//dl[@class='about']/div")}
    header = judgement.header
    assert set(about) == {"Driver", "Contract", "Profiles", "Level", "Waivers", "Run", "Isolation", "Machine", "Hashes"}
    for name, words in {
        "Driver": (header.driver,),
        "Contract": (header.contract, header.version),
        "Profiles": (header.profile,),
        "Level": ("none was reached",),
        "Waivers": ("none",),
        "Machine": tuple(header.environment.values()),
        "Isolation": tuple(header.isolation.values()),
        "Hashes": (header.driver_sha256, header.spec_sha256, header.profile_sha256, header.history_sha256),
    }.items():
        assert all(word and word in about[name] for word in words), name
    counted = tree.xpath("string(//ul[@class='counts']/following-sibling::p)")
    assert f"all {len(judgement.requirements)} requirements" in counted and f"{judgement.footer.required} of them are required" in counted
    assert re.search(r"expected\s*46 46 46", finding) and re.search(r"found\s*00 00 00", finding)
    lanes = tree.get_element_by_id("case-vm-siblings").xpath(".//*[@class='host']/text()")
    assert lanes == ["frontend", "host01", "host02"]
    (script,) = tree.xpath("//script[not(@type)]")
    assert "fetch(" not in script.text and "http" not in script.text
    assert (
        not tree.xpath("//script[@type!='application/octet-stream']")
        and not tree.xpath("//@src | //@href[starts-with(., 'http')]")
        and "url(" not in text
        and "@import" not in text
    )
    assert not [link for link in tree.xpath("//@href | //@src") if not str(link).startswith("#")]
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert all(str(link)[1:] in set(ids) for link in tree.xpath("//a/@href"))


def test_what_a_driver_prints_stays_inert(run: tuple[Judgement, Path]) -> None:
    """Markup, control characters, direction overrides and long lines in every text of a call end up as visible text."""
    judgement, out = run
    records = [
        msgspec.structs.replace(
            one,
            stdout=Blob(len(HOSTILE), HOSTILE, True, "", 10**7),
            stderr=Blob(9, HOSTILE),
            error=HOSTILE,
            argv=(HOSTILE,),
            success=False,
            parsed={"source": HOSTILE},
        )
        if isinstance(one, Call)
        else one
        for one in read(out / "history.jsonl", Record)
    ]
    text = page(judgement, records, out)
    tree = lxml_html.fromstring(text)
    assert len(tree.xpath("//script[not(@type)]")) == 1 and not tree.xpath("//img")
    for packed in tree.xpath("//script[@type='application/octet-stream']/text()"):
        assert not lxml_html.fromstring(zlib.decompress(base64.b64decode(packed), -15).decode()).xpath("//script | //img")
    assert "\u202e" not in text and "\x1b" not in text and "\x00" not in text
    assert "10000000 bytes were printed" in text
    assert len(text) < 3_000_000


def test_a_run_without_footer_is_partial(run: tuple[Judgement, Path]) -> None:
    """No verdict is shown, and the page says so in its watermark."""
    judgement, out = run
    text = render_html(list(judgement.records())[:-1], read(out / "history.jsonl", Record), None)
    assert '<body class="partial">' in text and "PARTIAL" in text
    assert summary(list(judgement.records())[:-1])["verdict"] == "PARTIAL"


def test_junit_read_by_another_parser_has_the_same_counts(run: tuple[Judgement, Path], tmp_path: Path) -> None:
    """Failures, errors and skipped are real elements, as many as the results say."""
    judgement, _ = run
    write_junit(judgement.records(), tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    lonely = [row for row in judgement.requirements if not row.cases]
    failed = sum(row.verdict in FAILURES for row in judgement.results)
    skipped = sum(row.verdict in ("blocked", "not_applicable", "not_tested") for row in judgement.results) + len(lonely)
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) == len(judgement.results) + len(lonely)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == failed > 0
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped")) == skipped
    assert judgement.footer is not None
    outcome = summary(judgement.records())
    assert outcome["counts"] == judgement.footer.counts == json.loads(msgspec.json.encode(outcome))["counts"]


def test_summary_and_badge_read_by_others_have_the_same_counts(run: tuple[Judgement, Path]) -> None:
    """The tables of the page are tables to a Markdown parser, with the counts of the footer; the picture is XML that says the verdict."""
    judgement, _ = run
    assert judgement.footer is not None
    tree = lxml_html.fromstring(MarkdownIt("commonmark").enable("table").render(render_markdown(judgement.records())))
    assert tree.findtext(".//h2") == judgement.footer.verdict == "NOT CONFORMANT"
    counts, wrong = tree.findall(".//table")
    names = [cell.text_content() for cell in counts.findall("thead//th")]
    numbers = [int(cell.text_content()) for cell in counts.findall("tbody//td")]
    assert dict(zip(names, numbers, strict=True)) == {name.replace("_", " "): count for name, count in judgement.footer.counts.items() if count}
    rows = {row.findtext("td"): [cell.text_content() for cell in row.findall("td")] for row in wrong.findall("tbody/tr")}
    assert rows["TM-CLONE-002"][1] == "fail" and "vm-siblings" in rows["TM-CLONE-002"][3]
    assert rows["TM-CLONE-002"][4].startswith("onetck run --case")
    picture = ElementTree.fromstring(render_badge(judgement.records()))
    said = f"not conformant {judgement.footer.executed}/{judgement.footer.required}"
    assert [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")] == ["OpenNebula 7.4 core", said]


def test_what_a_driver_prints_stays_inert_in_the_summary(run: tuple[Judgement, Path]) -> None:
    """Markup, links, HTML and control characters in evidence and names end up as text of one cell."""
    judgement, _ = run
    hostile = HOSTILE + " | [click](http://example.com) `x` *y*\n# z ![i](http://example.com/i.png) https://example.com @user"
    records = [
        msgspec.structs.replace(one, evidence=(Evidence(hostile),), repeat=hostile) if isinstance(one, Result) else one for one in judgement.records()
    ]
    records = [msgspec.structs.replace(one, driver=hostile, profile=hostile) if isinstance(one, ResultsHeader) else one for one in records]
    text = render_markdown(records)
    tree = lxml_html.fromstring(MarkdownIt("commonmark").enable("table").render(text))
    assert not tree.xpath("//script | //img | //a | //details | //em")
    assert {len(row.findall("td")) for row in tree.findall(".//table")[1].findall("tbody/tr")} == {5}
    assert "\x1b" not in text and "\u202e" not in text and len(text) < 200_000
    assert ElementTree.fromstring(render_badge(records)) is not None


def verdict(name: str, value: str, *, required: bool = True) -> RequirementVerdict:
    """Return a verdict on a requirement."""
    return RequirementVerdict(name, value, "MUST", "It holds.", "source", "tm", "tm/clone", required)


@pytest.mark.parametrize(
    ("values", "partial", "code"),
    [
        (["pass", "pass"], False, 0),
        (["pass", "not_applicable"], False, 0),
        (["pass", "fail", "error"], False, 1),
        (["pass", "crash"], True, 1),
        (["pass", "timeout"], False, 1),
        (["pass", "pass"], True, 2),
        (["pass", "blocked"], False, 3),
        (["pass", "not_tested"], False, 3),
        (["pass", "error"], False, 3),
        (["not_tested", "not_tested"], False, 5),
        ([], False, 5),
    ],
)
def test_the_precedence_of_verdicts(values: list[str], partial: bool, code: int) -> None:
    """Nothing hides a failure, and what did not run is never green."""
    decision = decide([verdict(f"X-{n}", value) for n, value in enumerate(values)], partial=partial)
    assert decision.exit_code == code
    assert (decision.verdict == "CONFORMANT") is (code == 0)


def test_what_is_not_required_never_changes_the_exit_code() -> None:
    """A broken SHOULD warns."""
    assert decide([verdict("A", "pass"), verdict("B", "warn", required=False), verdict("C", "not_tested", required=False)]).exit_code == 0
    assert worst(["pass", "blocked", "fail", "warn"]) == "fail"
    assert worst([]) == "not_tested"
