"""All formats of one run say the same: each is read back by another parser than wrote it, and its counts are those of the results."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from lxml import html as lxml_html
from markdown_it import MarkdownIt
from planting import command

from onereport.results import FAILURES, VERDICTS, worst

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def records(run: Path) -> Rows:
    """The results as plain JSON."""
    return [json.loads(line)["data"] for line in (run / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def counts(records: Rows) -> dict[str, int]:
    """How many requirements have which verdict, counted here."""
    found = Counter(one["verdict"] for one in records if one["record"] == "requirement")
    return {name: found[name] for name in VERDICTS}


def test_the_footer_has_the_counts_of_the_records(records: Rows, counts: dict[str, int]) -> None:
    """And of each requirement the worst verdict of its cases."""
    assert records[-1]["counts"] == counts and counts["fail"] > 1
    cases: dict[str, list[str]] = {}
    for one in records:
        if one["record"] == "result":
            cases.setdefault(one["requirement"], []).append(one["verdict"])
    told = {one["requirement"]: one["verdict"] for one in records if one["record"] == "requirement"}
    assert all(told[id] == worst(verdicts) for id, verdicts in cases.items())


def test_junit_has_the_counts(run: Path, counts: dict[str, int]) -> None:
    """By the elements and types of its test cases, the worst for each requirement."""
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(run / "junit.xml").getroot().iter("testcase"):
        mark = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        warned = (case.findtext("system-out") or "").startswith("warning:")
        verdict = mark.attrib["type"] if mark is not None else "warn" if warned else "pass"
        found.setdefault(case.attrib["name"].partition(" ")[0], []).append(verdict)
    assert Counter(map(worst, found.values())) == Counter({name: count for name, count in counts.items() if count})


def test_markdown_badge_and_page_have_the_counts(run: Path, records: Rows, counts: dict[str, int]) -> None:
    """Read by a Markdown parser, an XML parser and an HTML parser."""
    footer = records[-1]
    tree = lxml_html.fromstring(MarkdownIt("commonmark").enable("table").render((run / "summary.md").read_text()))
    table = tree.findall(".//table")[0]
    names = [cell.text_content() for cell in table.findall("thead//th")]
    numbers = [int(cell.text_content()) for cell in table.findall("tbody//td")]
    assert dict(zip(names, numbers, strict=True)) == {name.replace("_", " "): count for name, count in counts.items() if count}
    picture = ElementTree.parse(run / "badge.svg").getroot()
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-1] == f"not conformant {footer['executed']}/{footer['required']}"
    page = lxml_html.fromstring((run / "report.html").read_text())
    told = {item.text_content().strip().lstrip("0123456789/ "): item.findtext(".//b") for item in page.xpath("//*[contains(@class, 'counts')]/li")}
    assert told["required executed"] == f"{footer['executed']} / {footer['required']}"
    assert int(told["passed"]) == counts["pass"] and int(told["not tested"]) == counts["not_tested"]
    assert int(told["failed"]) == sum(counts[name] for name in FAILURES)


def test_sarif_has_the_counts_and_every_finding_whose_line_is_known(run: Path, records: Rows, counts: dict[str, int]) -> None:
    """The lines are those of the results, and the text of each is that of the script."""
    (told,) = json.loads((run / "results.sarif").read_text())["runs"]
    assert told["properties"] == {"verdict": "NOT CONFORMANT", "counts": counts}
    places = {
        (one["requirement"], *(said.get("at") or said["last"][0]).partition(" ")[0].rsplit(":", 1))
        for one in records
        if one["record"] == "result" and one["verdict"] in (*FAILURES, "warn")
        for said in one["evidence"]
        if said.get("at") or said.get("last")
    }
    found = set()
    for one in told["results"]:
        (location,) = one["locations"]
        place = location["physicalLocation"]
        file, line = place["artifactLocation"]["uri"], place["region"]["startLine"]
        text = (run.parent / "remotes" / file).read_text().splitlines()[line - 1]
        assert place["region"]["snippet"]["text"].strip() in text
        assert told["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        found.add((one["ruleId"], file, str(line)))
    assert found == places and len(found) > 1


def sarif_schema() -> Any:
    """Return the schema of SARIF 2.1.0 as the package `schemastore` keeps it."""
    store = sqlite3.connect(str(distribution("schemastore").locate_file("schemastore/cache.sqlite")))
    (value,) = (value for (value,) in store.execute("select value from responses") if b"(SARIF) Version 2.1.0 JSON Schema" in value)
    return json.JSONDecoder().raw_decode(value[value.index(b'{\r\n  "$schema"') :].decode(errors="replace"))[0]


def test_sarif_keeps_its_schema(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of results and of `onetck lint`; and what is no SARIF does not."""
    validator = jsonschema.Draft7Validator(sarif_schema())
    log = json.loads((run / "results.sarif").read_text())
    validator.validate(log)
    assert not validator.is_valid({**log, "runs": [{**log["runs"][0], "results": [{"level": "bad"}]}]})
    monkeypatch.setenv("PLANTED_TOKEN", "x")  # the description beside the driver names it
    script = run.parent / "remotes/datastore/fs/a b"
    script.write_text("#!/bin/bash\necho 'open\n")
    script.chmod(0o755)
    try:
        ended = command("lint", str(run.parent / "remotes"), "--datastore", "fs", "--tm", "shared", "--json", "--sarif", str(tmp_path / "x.sarif"))
    finally:
        script.unlink()
    assert ended.returncode == 1
    (told,) = json.loads((tmp_path / "x.sarif").read_text())["runs"]
    validator.validate({**log, "runs": [told]})
    found = json.loads(ended.stdout)
    assert told["properties"]["counts"] == found["counts"]
    levels = Counter({"warning": found["counts"]["warn"], "error": found["counts"]["error"], "note": found["counts"]["note"]})
    assert Counter(one["level"] for one in told["results"]) == +levels
    uris = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in told["results"]}
    assert "datastore/fs/a%20b" in uris
