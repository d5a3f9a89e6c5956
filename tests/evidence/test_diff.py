"""Two runs side by side: every kind of difference is found and told, and two equal runs differ in nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from lxml import html as lxml_html
from planting import command

from onereport.comparison import Comparison, compare
from onesim.journal import BlobStore, Writer, read
from onesim.records import Blob, Call, CaseBegin, CaseEnd, DriverFile, Footer, Header, Record, Together
from onesim.rows import Profile
from onesim.spec import for_contract
from onetck.judge import judge
from onetck.published import json_schema

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"
DOCUMENT = "<DS_DRIVER_ACTION_DATA><IMAGE><SIZE>{size}</SIZE>{more}<SOURCE>{source}</SOURCE></IMAGE></DS_DRIVER_ACTION_DATA>"


def clone(n: int, **more: Any) -> Call:
    """Return the n-th call of a case: a clone of a disk."""
    given = {
        "case": "c",
        "n": n,
        "operation": n,
        "family": "tm",
        "mad": "acme",
        "action": "clone",
        "script": "/clone",
        "host": "frontend",
        "argv": ("a", "b"),
        "arguments": {"source": f"frontend:/ds/name-{n}", "vm_id": "3"},
        "success": True,
        "ended_by": "exit",
        "duration_ns": 10**7,
        "vm": n,
        "facts": {"kind": "nonpersistent", "expect": "success", "op": "vm.deploy"},
    }
    return Call(**{**given, **more})


def run(
    place: Path, calls: list[Call], *, driver: str = "1", case: str = "c", contract: str = "7.4", demands: str = "TM-CLONE-001", more: Any = ()
) -> Path:
    """Make the directory of a run with these calls in a case, judged."""
    place.mkdir()
    spec = for_contract(contract)
    files = (DriverFile("tm/acme/clone", driver * 64, 0o755), DriverFile("tm/acme/mv", "a" * 64, 0o755))
    writer = Writer(place / "history.jsonl")
    writer.write(
        Header(2, "onetck", contract, spec.version, "/driver", "fs", "acme", "acme", 0, 1.8e9, spec.spec.sha256, driver, files),
    )
    for record in (CaseBegin(case, "A case", ("frontend",), True, ("tm/clone",)), *calls, *more, CaseEnd(case, "completed", "", len(calls), 1)):
        writer.write(msgspec.structs.replace(record, case=case))
    writer.write(Footer(1, len(calls), writer.records + 1, ""))
    writer.close()
    judgement = judge(
        read(place / "history.jsonl", Record), spec, Profile("core", "Core", (demands,)), "history.jsonl", writer.chain, "onetck run --case {case}"
    )
    results = Writer(place / "results.jsonl")
    for one in judgement.records():
        results.write(one)
    results.close()
    return place


FAILED = {"success": False, "status": 1, "error": f"no space {HOSTILE}", "stderr": Blob(8, "no space")}


def verdicts(rows: Any) -> dict[str, tuple[str, str]]:
    """Return requirements with both verdicts."""
    return {row.requirement: (row.before, row.after) for row in rows}


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    """Although the driver has chosen other names for its images, and calls that overlap came in another order."""

    def two(names: tuple[str, str], order: tuple[int, int]) -> list[Call]:
        made = clone(0, family="ds", action="cp", parsed={"source": f"/ds/{names[0]}"}, arguments={}, vm=-1)
        document = Blob(1, DOCUMENT.format(size=1, more="", source=f"/ds/{names[0]}"))
        calls = [
            clone(n, operation=9, vm=vm, arguments={"source": f"host:/ds/{names[0]}", "vm_id": str(vm)}, stdin=document)
            for n, vm in enumerate(order, 1)
        ]
        return [made, *calls]

    together = [Together("c", 9, (1, 2), ())]
    old = run(tmp_path / "a", two(("x1", "y1"), (1, 2)), more=together)
    new = run(tmp_path / "b", two(("x2", "y2"), (2, 1)), more=together)
    found = compare(old, new)
    assert (found.verdict_sentence, found.exit_code, found.same) == ("nothing differs", 0, True)
    assert "nothing differs" in command("diff", str(old), str(new)).stdout


def test_what_fails_newly_is_told_with_its_evidence_and_makes_it_worse(tmp_path: Path) -> None:
    """And the other way round it is fixed."""
    old = run(tmp_path / "a", [clone(0), clone(1)])
    new = run(tmp_path / "b", [clone(0), clone(1, **FAILED)], driver="2")
    found = compare(old, new)
    (row,) = [one for one in found.newly_failing if one.requirement == "TM-CLONE-001"]
    assert (row.before, row.after, row.required) == ("pass", "fail", True)
    assert row.seen.startswith("c: ") and row.repeat == "onetck run --case c"
    assert [(one.path, one.change) for one in found.files] == [("tm/acme/clone", "changed")]
    assert [(one.action, one.change, one.before) for one in found.calls] == [("tm/clone", "ended otherwise", "exit status 0")]
    assert found.exit_code == 1 and not found.same
    back = compare(new, old)
    assert verdicts(back.fixed)["TM-CLONE-001"] == ("fail", "pass")
    assert back.exit_code == 0 and not back.newly_failing


def test_one_driver_that_passes_and_fails_is_flaky(tmp_path: Path) -> None:
    """Nothing was changed between the runs."""
    old, new = run(tmp_path / "a", [clone(0)]), run(tmp_path / "b", [clone(0, **FAILED)])
    for found in (compare(old, new), compare(new, old)):
        assert "TM-CLONE-001" in verdicts(found.flaky) and not found.newly_failing and not found.fixed
        assert found.exit_code == 1


def test_what_is_no_longer_tested_is_lost(tmp_path: Path) -> None:
    """The case that reached it was not played: that is no pass, and it is told which one."""
    old, new = run(tmp_path / "a", [clone(0)]), run(tmp_path / "b", [], case="other", driver="2")
    found = compare(old, new)
    assert verdicts(found.lost)["TM-CLONE-001"] == ("pass", "not_tested")
    assert (found.cases_gone, found.cases_new, found.exit_code) == (("c",), ("other",), 1)


def test_slower_and_faster_actions(tmp_path: Path) -> None:
    """By the median of at least three calls; what differs by little, or ran seldom, is noise."""
    old = run(tmp_path / "a", [clone(n) for n in range(3)])
    new = run(tmp_path / "b", [clone(n, duration_ns=10**8 * (n + 1)) for n in range(3)], driver="2")
    (row,) = compare(old, new).slower
    assert (row.action, row.before_ms, row.after_ms, row.calls_after) == ("tm/clone", 10.0, 200.0, 3)
    (row,) = compare(new, old).faster
    assert (row.before_ms, row.after_ms) == (200.0, 10.0)
    assert compare(old, new).exit_code == 0
    assert not compare(old, new, factor=30).slower
    seldom = run(tmp_path / "c", [clone(n, duration_ns=10**9) for n in range(2)], driver="2")
    little = run(tmp_path / "d", [clone(n, duration_ns=4 * 10**7) for n in range(3)], driver="2")
    assert not compare(old, seldom).slower and not compare(old, little).slower


def test_changed_calls_and_arguments(tmp_path: Path) -> None:
    """A call that came, one that went; an argument and elements of documents, also of those that lie beside the log, each once."""
    place = tmp_path / "b"
    large = DOCUMENT.format(size=2, more="<FORMAT></FORMAT>" + "<X>y</X>" * 1000, source="s")
    blob = BlobStore(place.with_name("blobs")).put(large.encode())
    assert not blob.complete
    small = Blob(1, DOCUMENT.format(size=1, more="<X>y</X>" * 1000, source="s"))
    old = run(tmp_path / "a", [clone(0, stdin=small), clone(1, stdin=small), clone(2, action="mvds"), clone(3)])
    new = run(
        place,
        [clone(0, stdin=blob), clone(1, stdin=blob), clone(3, arguments={"source": "frontend:/ds/name-3", "vm_id": "4", "x": ""}), clone(4)],
        driver="2",
    )
    place.with_name("blobs").rename(place / "blobs")
    found = compare(old, new)
    assert [(one.action, one.change, one.call) for one in found.calls] == [("tm/mvds", "removed", 2), ("tm/clone", "added", 4)]
    rows = {one.name: (one.before, one.after, one.calls) for one in found.arguments}
    assert rows == {
        "DS_DRIVER_ACTION_DATA/IMAGE/SIZE": ("1", "2", 2),
        "DS_DRIVER_ACTION_DATA/IMAGE/FORMAT": (None, "", 2),
        "vm_id": ("3", "4", 1),
        "x": (None, "", 1),
    }


def test_two_contracts(tmp_path: Path) -> None:
    """How the document travels is an argument; what only one contract has is neither failing nor fixed."""
    document = DOCUMENT.format(size=1, more="", source="s")
    given = {"family": "ds", "action": "rm", "arguments": {"id": "4"}}
    old = run(tmp_path / "a", [clone(0, **given, argv=(document, "4"))], contract="5.12", demands="DS-RM-001")
    new = run(tmp_path / "b", [clone(0, **given, argv=("-", "4"), stdin=Blob(1, document))], demands="DS-RM-001")
    found = compare(old, new)
    assert (found.before.version, found.after.version, found.same) == ("5.12.13", "7.4.0", False)
    assert [(one.name, one.before, one.after) for one in found.arguments] == [("the document", "plain as argument 1", "plain on stdin")]
    assert not found.newly_failing and not found.fixed


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that differ, with texts of a driver that are to stay text."""
    old = run(tmp_path / "a", [clone(0), clone(1)])
    return old, run(tmp_path / "b", [clone(0, arguments={"source": HOSTILE, "vm_id": "3"}), clone(1, **FAILED)], driver="2")


def test_terminal_json_and_page_say_the_same(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The page needs neither network nor JavaScript, JSON keeps its schema, and nothing that a driver prints is more than text."""
    words = ("diff", *map(str, pair))
    told = command(*words, "--html", str(tmp_path / "diff.html"))
    found = msgspec.json.decode(command(*words, "--json").stdout, type=Comparison)
    jsonschema.validate(json.loads(msgspec.json.encode(found)), json_schema("diff"))
    assert found == compare(*pair)
    assert told.returncode == found.exit_code == 1
    assert told.stdout.splitlines()[-1] == found.verdict_sentence
    assert f"newly failing: {len(found.newly_failing)}" in told.stdout and "changed arguments: 1" in told.stdout
    assert "\x1b" not in told.stdout and "\u202e" not in told.stdout
    text = (tmp_path / "diff.html").read_text()
    tree = lxml_html.fromstring(text)
    assert tree.findtext(".//h1") == found.verdict_sentence
    assert not tree.xpath("//script | //@src | //@href[not(starts-with(., '#'))] | //@onerror") and "url(" not in text and "@import" not in text
    assert "\x1b" not in text and "\u202e" not in text
    rows = {row.findtext("th"): row.text_content() for row in tree.xpath("//section[@id='failing']//tbody/tr")}
    assert set(rows) == set(verdicts(found.newly_failing)) and "onetck run --case c" in rows["TM-CLONE-001"]
    assert "<script>" in tree.get_element_by_id("arguments").text_content()
    assert list(tree.xpath("//section/@id")) == ["failing", "other", "files", "calls", "arguments"]


MISTAKES = [
    (("{a}", "/no/such"), ("/no/such", "directory of a run")),
    (("{a}", "{several}"), ("7.0, 7.4",)),
    (("{a}", "{b}", "--slower", "1"), ("--slower 1", "1.5")),
    (("{a}", "{b}", "--html", "/no/such/x"), ("/no/such/x", "--html")),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda value: value[-1])
def test_a_mistake_is_one_line(pair: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]) -> None:
    """With the thing and the remedy; exit 4."""
    for contract in ("7.0", "7.4"):
        (tmp_path / "several" / contract).mkdir(parents=True)
        (tmp_path / "several" / contract / "results.jsonl").touch()
    places = {"a": pair[0], "b": pair[1], "several": tmp_path / "several"}
    ended = command("diff", *(word.format(**places) for word in words))
    assert ended.returncode == 4 and len(ended.stderr.splitlines()) == 1
    for word in said:
        assert word in ended.stderr


def test_a_run_that_was_changed_is_no_evidence(pair: tuple[Path, Path]) -> None:
    """Exit 7, as for whoever reads such a file."""
    path = pair[1] / "results.jsonl"
    path.write_text(path.read_text().replace('"fail"', '"pass"', 1))
    assert command("diff", *map(str, pair)).returncode == 7
