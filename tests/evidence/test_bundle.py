"""A bundle is equal for equal results, answers four questions, and whatever was changed in it is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from planting import command

from onereport.results import RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader
from onesim.journal import Writer, head, normal_sha256, read
from onesim.records import Call, Footer, Header, Record
from onesim.spec import for_contract
from onetck import bundling, conclude, container, manifest, provenance
from onetck.published import json_schema
from onetck.repeating import judge_runs
from onetck.verifying import Answer, Verification, verify


@pytest.fixture(scope="session")
def bundle(run: Path) -> Path:
    """The bundle of the run."""
    path = run.parent / "x.onetck"
    bundling.bundle(run, path)
    return path


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("spec")))


def answers(found: Verification) -> dict[str, Answer]:
    """Return the answers by question."""
    return {one.question: one for one in found.answers}


def states(found: Verification) -> dict[str, str]:
    """Return how each question is answered."""
    return {one.question: one.state for one in found.answers}


def rewritten(path: Path, records: list[Any]) -> None:
    """Write records anew, with a chain that holds."""
    writer = Writer(path)
    for record in records:
        writer.write(record)
    writer.close()


def forged(place: Path) -> Path:
    """Bundle a directory whatever is wrong with it, with a manifest that fits."""
    files = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    results, decided = bundling.ends(place / "results.jsonl")
    header, footer = bundling.history_ends(place / "history.jsonl")
    files |= bundling.derived(header, results, files)
    made = manifest.compose(header, footer, results, decided, (), files)
    container.write({manifest.NAME: manifest.encode(made), **files}, place.parent / "forged.onetck")
    return place.parent / "forged.onetck"


def repacked(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], Mapping[str, bytes]]) -> Path:
    """Return a bundle with other files."""
    container.write(change(container.unpack(bundle)), target)
    return target


def test_two_bundles_of_the_same_results_are_equal_byte_for_byte(run: Path, bundle: Path, tmp_path: Path) -> None:
    """Whenever and wherever they are made; the command says where it is."""
    made = command("bundle", str(shutil.copytree(run, tmp_path / "elsewhere")), "-o", str(tmp_path / "y.onetck"))
    assert made.returncode == 0 and made.stdout.strip() == str((tmp_path / "y.onetck").resolve())
    assert (tmp_path / "y.onetck").read_bytes() == bundle.read_bytes()


def test_a_bundle_that_is_whole_gives_four_answers(bundle: Path) -> None:
    """And the verdict that the checks reach again, with its exit code."""
    found = verify(bundle)
    assert states(found) == {"INTEGRITY": "holds", "SIGNATURE": "open", "COMPLETENESS": "open", "RE-JUDGED": "holds"}
    assert (found.verdict, found.exit_code) == ("NOT CONFORMANT", 1)
    assert "bytes are not re-read" in answers(found)["RE-JUDGED"].sentence
    assert any(detail.startswith("DS-MKFS-002: not tested") for detail in answers(found)["COMPLETENESS"].details)


def test_the_command_prints_the_answers(bundle: Path, tmp_path: Path) -> None:
    """For people, and as JSON by its published schema."""
    told = command("verify", str(bundle))
    assert told.returncode == 1 and [line.split()[0] for line in told.stdout.splitlines() if line[0] != " "] == [
        "INTEGRITY", "SIGNATURE", "COMPLETENESS", "RE-JUDGED", "NOT",
    ]  # fmt: skip
    found = json.loads(command("verify", str(bundle), "--json").stdout)
    jsonschema.validate(found, json_schema("verification"))
    assert found["exit_code"] == 1


def test_the_manifest_is_an_in_toto_statement_about_the_files_of_the_driver(run: Path, bundle: Path) -> None:
    """Read as plain JSON: the subject is what was certified, the predicate names all that it was done with."""
    with zipfile.ZipFile(bundle) as archive:
        told = json.loads(archive.read("manifest.json"))
        names = set(archive.namelist())
        listed = archive.read("specification.sha256").decode()
    assert told["_type"] == "https://in-toto.io/Statement/v1" and told["predicateType"].startswith("urn:onetck:evidence")
    subjects = {one["name"]: one["digest"]["sha256"] for one in told["subject"]}
    done = subprocess.run(["sha256sum", run.parent / "remotes/datastore/fs/cp"], capture_output=True, text=True, check=True)
    assert subjects["datastore/fs/cp"] == done.stdout.split()[0]
    predicate = told["predicate"]
    assert predicate["tool"]["digest"]["sha256"] == provenance.tool_sha256()
    assert {one["name"] for one in predicate["files"]} == names - {"manifest.json"}
    for name in ("history.jsonl", "results.jsonl", "report.html", "junit.xml", "onetck.toml", "environment.json", "driver.sha256", "tool.sha256"):
        assert name in names
    assert "requirements/errors.toml" in listed
    jsonschema.validate(told, json_schema("manifest"))


def test_every_byte_of_the_file_counts(bundle: Path, tmp_path: Path) -> None:
    """A flipped bit is caught wherever it is: in a file, in the headers between, in the directory at the end."""
    data = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        start = archive.start_dir
    places = [*range(60), *range(60, start, max(1, start // 60)), *range(start, start + 120), *range(len(data) - 40, len(data))]
    path = tmp_path / "flipped.onetck"
    passed = []
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            files = container.unpack(path)
        except container.Void:
            continue
        if files == container.unpack(bundle):
            passed.append(place)
    assert passed == []
    path.write_bytes(data[: start // 2] + bytes([data[start // 2] ^ 8]) + data[start // 2 + 1 :])
    assert verify(path).exit_code == 7
    path.write_bytes(data + b"more")
    assert command("verify", str(path)).returncode == 7


FILES: list[tuple[str, Callable[[dict[str, bytes]], Mapping[str, bytes]], str]] = [
    ("one is missing", lambda files: {name: data for name, data in files.items() if name != "history.jsonl"}, "history.jsonl: is missing"),
    ("one is added", lambda files: {**files, "more.txt": b"x"}, "more.txt: the manifest does not know it"),
    ("one is changed", lambda files: {**files, "report.html": files["report.html"].replace(b"NOT CONFORMANT", b"CONFORMANT")}, "report.html: its bytes"),
    ("no manifest", lambda files: {name: data for name, data in files.items() if name != "manifest.json"}, "manifest.json"),
    ("another manifest", lambda files: {**files, "manifest.json": files["manifest.json"].replace(b'"NOT CONFORMANT"', b'"CONFORMANT"')}, "does not say what"),
    ("a way out", lambda files: {**files, "../../etc/passwd": b"x"}, "leads out of the bundle"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "word"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_files_that_are_not_those_of_the_manifest(
    bundle: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], Mapping[str, bytes]], word: str
) -> None:
    """Nothing of such a bundle counts."""
    found = verify(repacked(bundle, tmp_path / "y.onetck", change))
    assert found.exit_code == 7
    assert answers(found)["INTEGRITY"].state == "changed" and word in " ".join(answers(found)["INTEGRITY"].details)


def test_a_removed_record_breaks_the_chain(copy: Path) -> None:
    """As it is found by whoever reads the history."""
    lines = (copy / "history.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "history.jsonl").write_bytes(b"".join(lines[:20] + lines[21:]))
    with pytest.raises(Exception, match="the record was changed, or one before it removed"):
        forged(copy)
    assert command("bundle", str(copy), "-o", str(copy.parent / "x")).returncode == 7


def test_a_removed_record_is_missed_where_chains_and_manifest_were_made_anew(copy: Path) -> None:
    """By the counts at the end, and by the digest over all records."""
    records = list(read(copy / "history.jsonl", Record))
    kept = [one for one in records if not (isinstance(one, Call) and one.n == 1)]
    assert len(kept) == len(records) - 1
    rewritten(copy / "history.jsonl", kept)
    results = list(read(copy / "results.jsonl", ResultRecord))
    rewritten(copy / "results.jsonl", [msgspec.structs.replace(results[0], history_sha256=head(copy / "history.jsonl")), *results[1:]])
    found = verify(forged(copy))
    assert found.exit_code == 7
    assert "records" in found.answers[0].details[0] and "normalised form" in found.answers[0].details[1]


def test_a_changed_record_is_found_by_judging_again(copy: Path) -> None:
    """Where everything that follows from it in the history was made anew too: the verdicts no longer follow from what is recorded."""
    records = list(read(copy / "history.jsonl", Record))
    changed = [msgspec.structs.replace(one, stderr=type(one.stderr)()) if isinstance(one, Call) and one.action == "cp" else one for one in records]
    rewritten(copy / "history.jsonl", changed[:-1])
    footer = changed[-1]
    assert isinstance(footer, Footer)
    changed[-1] = msgspec.structs.replace(footer, normal_sha256=normal_sha256(copy / "history.jsonl"))
    rewritten(copy / "history.jsonl", changed)
    results = list(read(copy / "results.jsonl", ResultRecord))
    rewritten(copy / "results.jsonl", [msgspec.structs.replace(results[0], history_sha256=head(copy / "history.jsonl")), *results[1:]])
    found = verify(forged(copy))
    assert found.exit_code == 7
    assert any(detail.startswith("GEN-LOG-003 in planted: recorded") for detail in answers(found)["RE-JUDGED"].details)


def test_a_changed_verdict_is_found_by_judging_again(copy: Path) -> None:
    """Results, reports and manifest all say CONFORMANT; what was recorded does not."""

    def better(record: ResultRecord) -> ResultRecord:
        if isinstance(record, ResultsFooter):
            return msgspec.structs.replace(record, verdict="CONFORMANT", sentence="The driver keeps all requirements.", exit_code=0)
        if isinstance(record, Result | RequirementVerdict) and record.verdict == "fail":
            return msgspec.structs.replace(record, verdict="pass")
        return record

    records = [better(one) for one in read(copy / "results.jsonl", ResultRecord)]
    rewritten(copy / "results.jsonl", records)
    conclude.write_reports(for_contract("7.4"), copy, records, copy / "history.jsonl")
    found = verify(forged(copy))
    assert states(found)["INTEGRITY"] == "holds"
    assert answers(found)["RE-JUDGED"].state == "changed"
    assert "GEN-LOG-003: recorded verdict 'pass', judged 'fail'" in answers(found)["RE-JUDGED"].details
    assert (found.exit_code, found.verdict) == (7, "NOT CONFORMANT")


def test_a_report_that_shows_something_else_is_found(copy: Path) -> None:
    """Although the manifest fits it."""
    page = copy / "report.html"
    page.write_text(page.read_text().replace("NOT CONFORMANT", "CONFORMANT"))
    found = verify(forged(copy))
    assert found.exit_code == 7
    assert answers(found)["RE-JUDGED"].details == ("report.html: does not show what the results say",)


def test_the_history_of_another_run_is_found(copy: Path) -> None:
    """Swapped, with a manifest that fits."""
    header, *records = read(copy / "history.jsonl", Record)
    assert isinstance(header, Header)
    rewritten(copy / "history.jsonl", [msgspec.structs.replace(header, driver="/another"), *records])
    found = verify(forged(copy))
    assert found.exit_code == 7
    assert "is of another history" in " ".join(found.answers[0].details)


def test_a_piece_beside_the_log_is_held_to_its_digest(copy: Path) -> None:
    """Changed, or taken away."""
    header = next(iter(read(copy / "history.jsonl", Record)))
    assert isinstance(header, Header)
    digest = header.given["tool.sha256"]
    (copy / "blobs" / digest).write_bytes(b"x")
    assert f"blobs/{digest}: its bytes have another digest" in verify(forged(copy)).answers[0].details
    (copy / "blobs" / digest).unlink()
    found = verify(forged(copy))
    assert found.exit_code == 7 and f"blobs/{digest}: is missing; a record stands for it" in found.answers[0].details


def test_another_version_of_the_tool_says_that_it_is_another(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds otherwise may be its own doing: nobody is accused, and the exit code is that of its own verdict."""
    monkeypatch.setattr(provenance, "tool_sha256", lambda: "f" * 64)
    found = answers(verify(bundle))
    assert found["RE-JUDGED"].state == "open"
    assert "onetck ffffffffffff with the same tables, not by what made the evidence; it says the same" in found["RE-JUDGED"].sentence


def test_requirements_that_were_asked_for_alone_do_not_make_a_profile(copy: Path) -> None:
    """The evidence holds, and is not complete: the profile demands more."""
    spec = for_contract("7.4")
    narrowed = msgspec.structs.replace(conclude.find_profile(spec, "ds-core"), requirements=("DS-CP-001",))
    conclude.conclude(spec, copy, narrowed, "repeat {case}")
    results = next(iter(read(copy / "results.jsonl", ResultRecord)))
    assert isinstance(results, ResultsHeader) and results.requirements == ("DS-CP-001",)
    bundling.bundle(copy, copy.parent / "narrow.onetck")
    found = verify(copy.parent / "narrow.onetck")
    assert answers(found)["RE-JUDGED"].state == "holds"
    assert answers(found)["COMPLETENESS"].state == "open" and len(answers(found)["COMPLETENESS"].details) > 5
    assert found.exit_code == 1  # by the whole profile


def test_another_profile_and_one_that_there_is_not(bundle: Path, tmp_path: Path) -> None:
    """--against names what the run is to cover."""
    found = answers(verify(bundle, "core"))["COMPLETENESS"]
    assert "missing of core under contract 7.4" in found.sentence and any(one.startswith("TM-CLONE-001") for one in found.details)
    wrong = command("verify", str(bundle), "--against", "platinum")
    assert wrong.returncode == 4 and "platinum" in wrong.stderr and "ds-core" in wrong.stderr


def test_a_run_that_was_repeated_and_one_that_was_cut(copy: Path, tmp_path: Path) -> None:
    """All histories are in the bundle and judged as one; of what was cut the cases that did not end are missing."""
    spec, profile = for_contract("7.4"), conclude.find_profile(for_contract("7.4"), "ds-core")
    place = tmp_path / "repeated"
    for n in (1, 2):
        shutil.copytree(copy, place / f"run-{n}")
    conclude.write(spec, place, judge_runs(spec, place, profile, "repeat {case}"), place / "run-1" / "history.jsonl")
    made = bundling.bundle(place, tmp_path / "r.onetck")
    assert made.predicate.runs == ("run-1", "run-2")
    assert states(verify(tmp_path / "r.onetck")) == {"INTEGRITY": "holds", "SIGNATURE": "open", "COMPLETENESS": "open", "RE-JUDGED": "holds"}
    lines = (copy / "history.jsonl").read_bytes().splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if b'"record":"case_end"' in line)
    (copy / "history.jsonl").write_bytes(b"".join(lines[:end]))
    conclude.conclude(spec, copy, profile, "repeat {case}")
    assert bundling.bundle(copy, tmp_path / "cut.onetck").predicate.verdict == "PARTIAL"
    found = verify(tmp_path / "cut.onetck")
    assert "case planted: planned, and not played to its end" in answers(found)["COMPLETENESS"].details
    assert answers(found)["RE-JUDGED"].state == "holds" and found.exit_code == 2


MISTAKES = [
    (("bundle", "/no/such"), 4, ("/no/such", "onetck run")),
    (("bundle", "{several}"), 4, ("7.0, 7.4",)),
    (("bundle", "{run}", "-o", "/no/such/x"), 4, ("/no/such/x", "-o")),
    (("bundle", "{run}", "--sign", "/no/key"), 4, ("/no/key", "--sign")),
    (("verify", "/no/such"), 4, ("/no/such",)),
    (("verify", "{bundle}", "--signers", "/no/signers"), 4, ("/no/signers", "--signers")),
    (("verify", "{run}/report.html"), 4, ("is no bundle", "onetck bundle")),
]


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES, ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None)
def test_a_mistake_is_one_line(run: Path, bundle: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: tuple[str, ...]) -> None:
    """With the thing and the remedy."""
    for contract in ("7.0", "7.4"):
        (tmp_path / "several" / contract).mkdir(parents=True)
        (tmp_path / "several" / contract / "results.jsonl").touch()
    places = {"run": run, "bundle": bundle, "several": tmp_path / "several"}
    ended = command(*(word.format(**places) for word in words))
    assert ended.returncode == code and len(ended.stderr.splitlines()) == 1
    for word in said:
        assert word in ended.stderr
