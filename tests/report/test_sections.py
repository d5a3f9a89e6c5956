"""The report's sections on claims, performance and capability, the lines for oned.conf, and the page that compares runs."""

from __future__ import annotations

import datetime
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from build import all_miniatures
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from onereport.capability import ELSEWHERE, NO, OPEN, YES, areas, offered, seen
from onereport.capability_page import render_capability
from onereport.html import render_html
from onereport.overview import by_action, by_requirement, render_overview, run_of
from onereport.performance import Measured, compared
from onereport.results import (
    FAILURES,
    ConfLine,
    ProfileRow,
    RequirementVerdict,
    ResultRecord,
    ResultsFooter,
    ResultsHeader,
    ShownBy,
    WaiverUse,
)
from onesim import grammars
from onesim.data import data_dir
from onesim.grammar_values import Template
from onesim.journal import read
from onesim.records import Call, FaultInjected, Header, Record
from onetck.cli import main
from onetck.rendering import names

HOSTILE = "<script>alert(1)</script></pre></details><img src=x onerror=alert(2)>\u202egnp.exe\x00\x1b[31m | `x` ```\n# z"
STATEMENT = """
vendor = "acme"
driver = "datastore/fs, tm/shared"
version = "1"
contracts = ["7.2"]
profiles = ["core", "ds-snapshots", "tm-ssh"]
refuses = ["tm/cpds"]
"""
WAIVER = """
[[waiver]]
requirement = "DS-SNAPREV-002"
check = "content"
reason = "with the next firmware"
owner = "ana"
issue = "https://example.com/17"
expires = {expires}
"""


@dataclass(frozen=True)
class Ran:
    """A run as it lies on the disk."""

    out: Path
    records: list[ResultRecord]

    @property
    def verdicts(self) -> dict[str, RequirementVerdict]:
        """The verdicts by requirement."""
        return {one.requirement: one for one in self.records if isinstance(one, RequirementVerdict)}

    @property
    def tree(self) -> lxml_html.HtmlElement:
        """The report."""
        return lxml_html.fromstring((self.out / "report.html").read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A driver whose revert of images does nothing, with a statement and a waiver, played with the reference driver beside it."""
    folder = tmp_path_factory.mktemp("driver")
    shutil.copytree(data_dir("reference_driver") / "remotes", folder / "remotes")
    row = next(one for one in all_miniatures() if one.name == "image-snap-revert-does-nothing")
    (folder / "remotes" / row.script).write_text(row.text)
    (folder / "onetck.toml").write_text('[driver]\npaths = ["remotes"]\ndatastore = "fs"\ntm = "shared"\n')
    (folder / "statement.toml").write_text(STATEMENT)
    expires = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=40)
    (folder / "waivers.toml").write_text(WAIVER.format(expires=expires))
    out = folder / "out"
    command = [sys.executable, "-m", "onetck.cli", "run", str(folder), "--case", "image-snapshots-raw", "--out", str(out), "--beside-reference"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "plays 1 of 1 cases beside the driver" in run.stderr
    return Ran(out, list(read(out / "results.jsonl", ResultRecord)))


def cells(table: lxml_html.HtmlElement) -> dict[str, list[str]]:
    """Return the rows of a table by the first words of their heading."""
    return {
        row.find("th").text_content().split()[0] if row.find("th").find("small") is None else (row.find("th").text or "").strip(): [
            " ".join(cell.text_content().split()) for cell in row.findall("td")
        ]
        for row in table.findall("tbody/tr")
    }


def test_claimed_stands_beside_observed_with_the_counts_of_the_verdicts(ran: Ran) -> None:
    """Each profile that is claimed, with its MUSTs as they came out; and where statement and driver disagree."""
    rows = cells(ran.tree.xpath("//details[@class='claims']//table")[0])
    assert list(rows) == ["core", "ds-snapshots", "tm-ssh"]
    for name, row in rows.items():
        profile = next(one for one in ran.records if isinstance(one, ProfileRow) and one.name == name)
        verdicts = [ran.verdicts[id].verdict for id in profile.requirements if ran.verdicts[id].level == "MUST"]
        failed = sum(one in FAILURES for one in verdicts)
        assert row[1:4] == [str(verdicts.count("pass")), str(failed), str(sum(one in ("not_tested", "blocked", "error") for one in verdicts))]
        assert row[0] == "yes"
    assert rows["ds-snapshots"][5].startswith("no breaks") and rows["tm-ssh"][5].startswith(ELSEWHERE)
    assert "Claimed is what the statement says." in ran.tree.xpath("//details[@class='claims']//p")[0].text_content()
    assert "0 of 3 profiles kept; not kept: core, ds-snapshots" in ran.tree.xpath("//details[@class='claims']/summary")[0].text_content()
    said = " ".join(ran.tree.xpath("//div[@class='claims']//li/text()"))
    for sentence in ("it claims tm-ssh", "tm-resize, which it does not claim", "it says that tm/cpds is refused", "does not claim the contract 7.4"):
        assert sentence in said


def test_page_one_tells_the_days_that_a_waiver_has_left(ran: Ran) -> None:
    """In a sentence that leads to the table."""
    header = next(one for one in ran.records if isinstance(one, ResultsHeader))
    (use,) = header.waivers
    (sentence,) = ran.tree.xpath("//header//p[@class='waived']")
    assert " ".join(sentence.text_content().split()) == f"1 waiver: DS-SNAPREV-002 until {use.expires}, {use.days_left} days left."
    assert use.days_left in (39, 40)
    assert ran.tree.get_element_by_id("waivers") is not None


def test_capability_is_what_was_observed_and_not_what_is_claimed(ran: Ran) -> None:
    """Snapshots of images are claimed and broken; backups are neither there nor claimed; what no case has shown is not said to work."""
    rows = ran.tree.get_element_by_id("capability").xpath(".//tbody/tr")
    found = {row.find("th/small").text: (row.findall("td")[0].text_content(), row.findall("td")[1].text_content()) for row in rows}
    assert found["ds-snapshots"][0] == NO and "DS-SNAPREV-002" in found["ds-snapshots"][1]
    assert found["ds-backup"] == (NO, "the driver does not have ds/backup, ds/restore")
    assert found["tm-live"][0] == OPEN and found["tm-ssh"][0] == ELSEWHERE
    assert not {"ds-core", "tm-shared", "quick"} & set(found)
    assert "concurrency" in found


def test_an_attribute_that_is_contradicted_is_not_offered(ran: Ran, tmp_path: Path) -> None:
    """The lines are what oned reads; PERSISTENT_SNAPSHOTS is put right, and said so; the Markdown has the same ones."""
    section = ran.tree.get_element_by_id("capability")
    (lines,) = section.xpath(".//pre[contains(@class, 'copied')]/text()")
    read_back = grammars.parse("template", lines, "7.4.0")
    assert isinstance(read_back, Template)
    (row,) = read_back.vectors("TM_MAD_CONF")
    assert row.values["PERSISTENT_SNAPSHOTS"] == "NO" and row.values["NAME"] == "shared" and row.values["DS_MIGRATE"] == "YES"
    (note,) = section.xpath(".//ul[@class='notes']/li/text()")
    assert "CONF-TM-015" in note and "PERSISTENT_SNAPSHOTS" in note
    page = tmp_path / "new" / "can.md"
    with pytest.raises(SystemExit):
        main(["report", str(ran.out), "--capability", str(page), "--waivers", str(ran.out.parent / "waivers.toml")])
    tree = lxml_html.fromstring(MarkdownIt("commonmark").enable("table").render(page.read_text()))
    assert tree.findtext(".//pre/code") == lines
    shown = {cell[0].text_content(): cell[1].text_content() for cell in (row.findall("td") for row in tree.findall(".//tbody/tr"))}
    assert shown["Snapshots of images"] == NO


def test_durations_are_those_of_the_history_and_of_the_reference_driver(ran: Ran) -> None:
    """Median and maximum are computed again from the calls; the ratio is that of the medians; nothing of the reference driver is judged."""
    own, beside = (
        [one for one in read(path / "history.jsonl", Record) if isinstance(one, Call) and one.success and one.observed and one.family != "vmm"]
        for path in (ran.out, ran.out / "reference")
    )
    rows = cells(ran.tree.get_element_by_id("performance").find(".//table"))
    assert set(rows) == {f"{one.family}/{one.action}" for one in own}
    for action, row in rows.items():
        ours, theirs = ([one.duration_ns / 1e6 for one in calls if f"{one.family}/{one.action}" == action] for calls in (own, beside))
        ratio = statistics.median(ours) / statistics.median(theirs)
        median, longest = f"{statistics.median(ours):.1f}", f"{max(ours):.1f}"
        assert (row[0], row[1], row[3], row[9]) == (str(len(ours)), median, longest, f"{ratio:.2f}")
        assert (row[5], row[6]) == (str(len(theirs)), f"{statistics.median(theirs):.1f}")
        for n, durations in ((2, ours), (7, theirs)):
            assert sum(round(one, 1) <= float(row[n]) for one in durations) >= 0.95 * len(durations) and row[n] in {f"{one:.1f}" for one in durations}
    assert "has played 1 of these cases" in ran.tree.get_element_by_id("performance").text_content()
    header, *_ = read(ran.out / "reference" / "history.jsonl", Record)
    assert isinstance(header, Header) and (header.datastore_mad, header.tm_mad) == ("fs", "shared")
    footer = next(one for one in ran.records if isinstance(one, ResultsFooter))
    assert footer.cases == 1 and footer.verdict == "NOT CONFORMANT"


def call(n: int, ms: int, **more: object) -> Call:
    """Return a call of tm/clone."""
    made = Call("c", n, 0, "tm", "shared", "clone", "clone", "host01", (), {}, True, "exit", duration_ns=ms * 10**6)
    return msgspec.structs.replace(made, **more)


def test_only_calls_that_ran_alone_and_unharmed_count() -> None:
    """Not those that failed, that overlapped, that a fault struck, or of the hypervisor; p95 is a duration that was measured."""
    measured = Measured()
    rows = [call(n, n) for n in range(1, 21)]
    rows += [call(31, 999, success=False), call(32, 999, observed=False), call(33, 999), call(34, 999, family="vmm")]
    measured.take(rows, [FaultInjected("c", 33, "ssh", 1, "slow", True), FaultInjected("c", 1, "ssh", 1, "slow", False)])
    (row,) = compared(measured, Measured())
    assert (row.own.calls, row.own.median_ms, row.own.p95_ms, row.own.max_ms, row.ratio) == (20, 10.5, 19, 20, None)


def verdict(id: str, value: str, level: str = "MUST") -> RequirementVerdict:
    """Return a verdict."""
    return RequirementVerdict(id, value, level, "It holds.", "source", "tm", "tm/clone", True)


@pytest.mark.parametrize(
    ("values", "more", "answer"),
    [
        (["pass", "pass"], {}, YES),
        (["pass", "not_applicable"], {}, YES),
        (["pass", "not_tested"], {}, OPEN),
        (["pass", "blocked"], {}, OPEN),
        (["pass", "error"], {}, OPEN),
        (["not_tested"], {}, OPEN),
        (["not_applicable"], {}, OPEN),
        ([], {}, OPEN),
        (["pass", "flaky"], {}, NO),
        (["not_tested"], {"lacks": ("tm/resize",)}, NO),
        (["fail"], {"elsewhere": "for mixed mode"}, ELSEWHERE),
    ],
)
def test_only_what_was_all_seen_to_work_is_a_yes(values: list[str], more: dict[str, object], answer: str) -> None:
    """A SHOULD that is broken changes nothing; what does not apply does not count."""
    verdicts = {f"X-{n}": verdict(f"X-{n}", value) for n, value in enumerate(values)} | {"S-1": verdict("S-1", "warn", "SHOULD")}
    row = msgspec.structs.replace(ProfileRow("p", "P", (*verdicts, "GONE-1")), **more)
    (found,) = seen([row], verdicts)
    assert found.answer == answer and found.why


def test_parts_of_a_profile_do_not_stand_beside_it() -> None:
    """The table of capabilities names each area once."""
    rows = [ProfileRow("core", "Core", ()), ProfileRow("quick", "Quick", (), part=True)]
    assert [one.row.name for one in areas(seen(rows, {}))] == ["core"]


@pytest.mark.parametrize(
    ("value", "words", "expected", "notes"),
    [
        ("fail", {"NAME": "x", "DS_MIGRATE": "YES"}, {"NAME": "x", "DS_MIGRATE": "NO"}, 1),
        ("fail", {"NAME": "x", "DS_MIGRATE": "NO"}, {"NAME": "x", "DS_MIGRATE": "NO"}, 0),
        ("fail", {"NAME": "x"}, {"NAME": "x", "DS_MIGRATE": "NO"}, 1),
        ("pass", {"NAME": "x"}, {"NAME": "x", "DS_MIGRATE": "YES"}, 1),
        ("pass", {"NAME": "x", "DS_MIGRATE": "YES"}, {"NAME": "x", "DS_MIGRATE": "YES"}, 0),
        ("not_tested", {"NAME": "x", "DS_MIGRATE": "YES"}, {"NAME": "x", "DS_MIGRATE": "YES"}, 0),
        ("blocked", {"NAME": "x"}, {"NAME": "x"}, 0),
    ],
)
def test_an_attribute_follows_from_the_verdict(value: str, words: dict[str, str], expected: dict[str, str], notes: int) -> None:
    """Broken: put right, absent or not. Kept: offered. No verdict: as it is described."""
    line = ConfLine("TM_MAD_CONF", words, shown=(ShownBy("DS_MIGRATE", "CONF-TM-008", "YES", "NO"),))
    (found,) = offered([line], {"CONF-TM-008": verdict("CONF-TM-008", value)})
    read_back = grammars.parse("template", found.text)
    assert isinstance(read_back, Template)
    assert (dict(read_back.vectors("TM_MAD_CONF")[0].values), len(found.notes)) == (expected, notes)


def test_what_cannot_be_put_right_is_left_out() -> None:
    """Where no value is right, the attribute is not offered at all."""
    line = ConfLine("TM_MAD_CONF", {"NAME": "x", "DRIVER": "raw"}, shown=(ShownBy("DRIVER", "CONF-TM-017"),))
    (found,) = offered([line], {"CONF-TM-017": verdict("CONF-TM-017", "fail")})
    assert "DRIVER" not in found.text and "left out" in found.notes[0]


def hostile(records: list[ResultRecord]) -> list[ResultRecord]:
    """Return results in which everything that a vendor or a driver names is hostile."""
    use = WaiverUse("X-1", "expired", HOSTILE, HOSTILE, HOSTILE, "2026-01-01", -3)
    made: list[ResultRecord] = []
    for one in records:
        match one:
            case ResultsHeader():
                made.append(msgspec.structs.replace(one, driver=HOSTILE, profile=HOSTILE, disagreements=(HOSTILE,), waivers=(use,)))
            case ConfLine():
                made.append(
                    msgspec.structs.replace(one, said=HOSTILE, words={HOSTILE: HOSTILE}, shown=(ShownBy(HOSTILE, "CONF-TM-015", "", HOSTILE),))
                )
            case _:
                made.append(one)
    return made


def inert(text: str) -> None:
    """Nothing of what is hostile is more than text, and nothing of it is invisible."""
    tree = lxml_html.fromstring(text)
    assert not tree.xpath("//img | //script[contains(., 'alert')]")
    assert "\u202e" not in text and "\x1b" not in text and "\x00" not in text and "gnp.exe" in text


def test_what_a_vendor_or_a_driver_says_stays_inert(ran: Ran) -> None:
    """On the report, on the Markdown page, on the page of several runs."""
    records = hostile(ran.records)
    inert(render_html(records, read(ran.out / "history.jsonl", Record)))
    page = render_capability(records)
    inert(MarkdownIt("commonmark").enable("table").render(page))
    assert page.count("```") == 2
    inert(render_overview([run_of(HOSTILE, f"{HOSTILE}/report.html", records)] * 2))


def test_a_matrix_leads_from_each_verdict_into_the_report_of_its_run(ran: Ran, tmp_path: Path) -> None:
    """What a run found wrong stands first; a cell has the verdict of the results, and its link exists in that report."""
    other = tmp_path / "other" / "out"
    shutil.copytree(ran.out, other, ignore=shutil.ignore_patterns("blobs", "spec"))
    page = tmp_path / "pages" / "overview.html"
    with pytest.raises(SystemExit) as ended:
        main(["report", str(ran.out), str(other), "--overview", str(page)])
    assert ended.value.code == 0
    tree = lxml_html.fromstring(page.read_text())
    assert not tree.xpath("//script") and not tree.xpath("//section[@id='upgrade']")
    heads = tree.xpath("//section[@id='runs']//tbody//th//a/text()")
    assert heads == [f"{ran.out.parent.name}/out", "other/out"]
    rows = tree.xpath("//section[@id='matrix']//tbody/tr")
    wrong = {one.requirement for one in ran.verdicts.values() if one.verdict in FAILURES or one.verdict == "warn"}
    assert {row.find("th").text for row in rows[: len(wrong)]} == wrong
    for row in rows:
        id = row.find("th").text
        for link in row.findall("td/a"):
            target, _, anchor = link.get("href").partition("#")
            assert anchor == id and link.text_content().replace(" ", "_") == ran.verdicts[id].verdict
            assert f'id="{anchor}"' in (page.parent / target).resolve().read_text()


def test_runs_under_several_contracts_have_a_table_of_actions(ran: Ran) -> None:
    """The worst of what is required of an action, and how much of it passes."""
    older = [msgspec.structs.replace(one, version="6.4.7") if isinstance(one, ResultsHeader) else one for one in ran.records]
    runs = [run_of("6.4", "6.4/report.html", older), run_of("7.4", "7.4/report.html", ran.records)]
    lines = {line.name: line for line in by_action(runs)}
    mine = [one for one in ran.verdicts.values() if one.action == "ds/snap_revert" and one.required and one.verdict != "not_applicable"]
    for cell in lines["ds/snap_revert"].cells:
        assert (cell.verdict, cell.of, cell.kept) == ("fail", len(mine), sum(one.verdict == "pass" for one in mine))
        assert cell.url.endswith("/report.html#DS-SNAPREV-002")
    assert lines["ds/snap_revert"].state == "wrong" and "Actions by contract" in render_overview(runs)
    assert len(by_requirement(runs)) == sum(one.required or bool(one.cases) for one in ran.verdicts.values())


def test_runs_are_told_apart_by_the_least_of_their_paths(tmp_path: Path) -> None:
    """By the directory's name, else with that above it."""
    assert names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert names([tmp_path / "a" / "out", tmp_path / "b" / "out"]) == ["a/out", "b/out"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "{a}", "{b}", "--capability", "{b}/c.md"], "one directory"),
        (["report", "{a}", "--overview", "{a}/o.html"], "onetck report"),
        (["report", "{out}", "--overview", "/proc/o.html"], "choose a file"),
        (["report", "{out}", "--capability", "/proc/c.md"], "choose a file"),
    ],
)
def test_what_cannot_be_rendered_is_said_in_one_line(
    ran: Ran, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit 4, naming what is wrong and the remedy."""
    with pytest.raises(SystemExit) as ended:
        main([word.format(a=tmp_path, b=tmp_path / "b", out=ran.out) for word in words])
    text = capfd.readouterr().err.strip()
    assert ended.value.code == 4 and said in text and len(text.splitlines()) == 1
