"""Reports are written again from the files of runs alone: of several, of older forms, as they are judged now or as they were judged then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import msgspec
import pytest
from planting import command

from onesim.journal import Writer, read
from onesim.records import SCHEMA, Header, Record
from onetck import bundling
from onetck.published import SCHEMAS, json_schema
from onetck.verifying import verify

#: A run of the first form: one case, a driver whose rm does nothing.
OLDER = Path(__file__).parent / "data/schema1"
REPORTS = {"report.html", "junit.xml", "summary.md", "badge.svg", "results.sarif"}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A copy of the older run, which has none of the reports."""
    return Path(shutil.copytree(OLDER, tmp_path / "older"))


def test_several_runs_are_rendered_again_with_the_exit_status_of_the_worst(run: Path, older: Path, tmp_path: Path) -> None:
    """Byte for byte what the run itself wrote, where the same tool reads it."""
    before = {name: (run / name).read_bytes() for name in REPORTS}
    results = (run / "results.jsonl").read_bytes()
    ended = command("report", str(run), str(older), "--as-judged")
    assert ended.returncode == 1 and ended.stdout.count("NOT CONFORMANT") == 2
    assert {name: (run / name).read_bytes() for name in REPORTS} == before
    assert (run / "results.jsonl").read_bytes() == results
    assert {path.name for path in older.iterdir()} == REPORTS | {"history.jsonl", "results.jsonl", "spec"}


def test_an_older_run_keeps_its_verdicts_or_is_judged_again(older: Path) -> None:
    """As it was judged: one requirement broken of 69. Judged by today's tables: more of them, and that one among them."""
    assert command("report", str(older), "--as-judged").returncode == 1
    assert "The driver breaks 1 requirement of 69: DS-RM-002." in (older / "summary.md").read_text().replace("\\", "")
    ended = command("report", str(older))
    assert ended.returncode == 1 and "DS-RM-002  After rm, nothing is left at SOURCE." in ended.stdout
    assert "of 69" not in ended.stdout
    header = json.loads((older / "results.jsonl").read_text().splitlines()[0])["data"]
    assert header["schema"] == SCHEMA and header["tables_sha256"] != header["spec_sha256"]


def test_results_alone_are_those_that_come_with_pages(run: Path, tmp_path: Path) -> None:
    """Byte for byte, and the same is said, with the same exit status; no page is written. What is about pages is refused."""
    out = Path(shutil.copytree(run, tmp_path / "out"))
    with_pages = command("report", str(out))
    results = (out / "results.jsonl").read_bytes()
    for name in (*REPORTS, "results.jsonl"):
        (out / name).unlink()
    alone = command("report", str(out), "--no-pages", "--profile", json.loads(results.splitlines()[0])["data"]["profile"])
    assert (alone.returncode, alone.stdout) == (with_pages.returncode, with_pages.stdout) and alone.returncode == 1
    assert (out / "results.jsonl").read_bytes() == results and not REPORTS & {path.name for path in out.iterdir()}
    refused = command("report", str(out), "--no-pages", "--as-judged")
    assert refused.returncode == 4 and "--no-pages" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_an_older_run_is_bundled_and_says_by_whom_it_is_judged_again(older: Path, tmp_path: Path) -> None:
    """The evidence holds; other tables judge it, and say so."""
    bundling.bundle(older, tmp_path / "x.onetck")
    found = {one.question: one for one in verify(tmp_path / "x.onetck").answers}
    assert found["INTEGRITY"].state == "holds"
    assert found["RE-JUDGED"].state == "open" and "with other tables, not by what made the evidence" in found["RE-JUDGED"].sentence


def test_a_run_of_a_newer_form_is_refused(older: Path) -> None:
    """In one line, with the remedy."""
    header, *records = read(older / "history.jsonl", Record)
    assert isinstance(header, Header)
    writer = Writer(older / "history.jsonl")
    for record in (msgspec.structs.replace(header, schema=SCHEMA + 1), *records):
        writer.write(record)
    writer.close()
    ended = command("report", str(older))
    assert ended.returncode == 4 and len(ended.stderr.splitlines()) == 1
    assert "newer onetck" in ended.stderr and "history.jsonl" in ended.stderr


def test_each_line_of_a_run_keeps_the_published_schema(run: Path) -> None:
    """Of results and history, of this form and the first one; and a line that does not is found."""
    for name in ("results", "history"):
        schema = json.loads(command("schema", name).stdout)
        validator = jsonschema.Draft202012Validator(schema)
        validator.check_schema(schema)
        for folder in (run, OLDER):
            lines = (folder / f"{name}.jsonl").read_text().splitlines()
            for line in [*lines[:40], *lines[40::9], lines[-1]]:
                validator.validate(json.loads(line))
        assert not validator.is_valid({"chain": "", "data": {"record": "poem"}})
    assert set(SCHEMAS) >= {"results", "history", "manifest", "diff", "lint", "config"}
    for name in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(json_schema(name))
    ended = command("schema", "poem")
    assert ended.returncode == 4 and "results, history" in ended.stderr
