"""The sections on claims, performance and capability, and the pages beside the report, in real Chromium: seen, read aloud, narrow and copied from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from build import all_miniatures, play
from playwright.sync_api import Browser

from onereport.comparison import compare
from onereport.diffpage import render_diff_page
from onereport.html import render_html
from onereport.kills import Broken, Selftest
from onereport.overview import render_overview, run_of
from onereport.results import ConfLine, ResultRecord, ResultsHeader, ShownBy, WaiverUse
from onesim.journal import Writer, read
from onesim.records import Record
from onetck.selftest.mutants import Mutant
from onetck.selftest.page import render_page
from onetck.selftest.show import outcome_of
from onetck.selftest.trial import OUTCOMES, Trial

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with everything in its sections, two runs under two contracts side by side, a self-test with every outcome."""
    out = tmp_path_factory.mktemp("run")
    judgement = play(next(row for row in all_miniatures() if row.name == "tm-clone-loses-the-end"), out)
    use = WaiverUse("TM-CLONE-002", "used", "with the next firmware", "ana", "https://example.com/17", "2027-01-31", 12)
    line = ConfLine("TM_MAD_CONF", {"NAME": "shared", "DS_MIGRATE": "YES"}, shown=(ShownBy("DS_MIGRATE", "TM-CLONE-002", "YES", "NO"),))

    def full(one: ResultRecord) -> ResultRecord:
        return msgspec.structs.replace(one, waivers=(use,), disagreements=("it does not claim it",)) if isinstance(one, ResultsHeader) else one

    records = [*(full(one) for one in judgement.records()), line]
    history = list(read(out / "history.jsonl", Record))
    older = [msgspec.structs.replace(one, version="6.4.7") if isinstance(one, ResultsHeader) else one for one in records]
    mutant = Mutant("0000000001", "tm/shared/mv", 7, "drop_command", 'mv -- "$a" "$b"', ":")
    trials = [Trial(msgspec.structs.replace(mutant, id=name), name, "TM-MV-001", tried=6, reason="Nobody sees it.") for name in OUTCOMES]
    kept = Selftest("5" * 64, tuple(Broken("tm/shared/mv", n, f"operator_{n % 30:02}", "killed", f"TM-MV-{n % 9:03}") for n in range(200)))
    writer = Writer(out / "results.jsonl")
    for record in judgement.records():
        writer.write(record)
    writer.close()
    texts = {
        "report": render_html(records, history, out / "blobs", beside=history, selftest=kept),
        "diff": render_diff_page(compare(Path(__file__).parents[1] / "evidence" / "data" / "schema1", out)),
        "overview": render_overview([run_of("6.4", "6.4/report.html", older), run_of("7.4", "7.4/report.html", records)]),
        "selftest": render_page(outcome_of(trials, 1.0, 40, 7, ("0123456789",))),
    }
    for name, text in texts.items():
        (out / f"{name}.html").write_text(text)
    return {name: out / f"{name}.html" for name in texts}


@pytest.mark.turns(4)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("report", [[".waived"], [".claims"], ["#performance"], ["#capability"], ["#kills"]]),
        ("overview", [["html"]]),
        ("diff", [["html"]]),
        ("selftest", [["html"]]),
    ],
)
def test_axe_finds_nothing_serious(browser: Browser, pages: dict[str, Path], name: str, parts: list[list[str]], scheme: Any) -> None:
    """With all that opens opened, wide and as narrow as a telephone."""
    for width in (1280, 400):
        context = browser.new_context(bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 1000})
        page = context.new_page()
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        found = Axe().run(page, context={"include": parts}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")] == []
        context.close()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("report", (".waived", ".claims table", "#performance table", "#capability table", "#capability pre", "#kills table")),
        ("diff", ("h1.sentence", "#runs table", "#failing table", "#other table", "#new code")),
        ("overview", ("#runs table", "#upgrade table", "#matrix table")),
        ("selftest", ("#operator table", "#script table", "#kills td.some", "#survived pre", "#equivalent .said", "#stale")),
    ],
)
def test_nothing_runs_out_of_the_page_however_narrow(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, name: str, wanted: tuple[str, ...]
) -> None:
    """What must be seen is in sight, wide, narrow and printed; tables are no wider than the page."""
    for width, media in ((1280, "screen"), (720, "screen"), (400, "screen"), (320, "screen"), (800, "print")):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.emulate_media(media=media)
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('.claims').forEach(one => { one.open = true; })")
        for selector in wanted:
            assert page.locator(selector).first.is_visible(), (selector, width)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        # between a telephone and a desk a table of many figures scrolls by itself
        tables = ".stacks:not(.timed)" if width == 720 else ".stacks"
        fit = "all => all.every(one => one.parentElement.scrollWidth <= one.parentElement.clientWidth)"
        assert page.locator(tables).evaluate_all(fit), width
        page.screenshot(path=tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
        context.close()


def test_the_lines_for_oned_conf_are_copied_as_they_stand_there(browser: Browser, pages: dict[str, Path]) -> None:
    """By a button that is not there without scripts."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(pages["report"].as_uri())
    page.click("#capability .copy")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text == page.text_content("#capability pre") == 'TM_MAD_CONF = [ NAME = "shared", DS_MIGRATE = "NO" ]\n'
    context.close()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["report"].as_uri())
    assert page.locator("#capability button").count() == 0 and page.locator("#capability pre").is_visible()
    context.close()
