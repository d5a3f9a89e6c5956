"""What a reader meets who opens the report in a browser: real Chromium, by playwright."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from build import all_miniatures, play
from playwright.sync_api import Browser, Page, expect

from onereport.html import render_html
from onereport.results import ResultRecord, ResultsFooter, ResultsHeader
from onesim.journal import read
from onesim.records import Blob, Call, CaseBegin, Record
from onetck.judge import Judgement

pytestmark = pytest.mark.components

#: What a hostile driver prints: markup, ends of elements, control and direction characters, and much of it.
HOSTILE = [
    "<script>window.hit = 1</script>",
    "</pre></details></script><img src=x onerror='window.hit = 2'>",
    "\u202egnp.exe\x00\x1b[31m\x9b",
    "--><svg onload=window.hit=3>",
    "{{ 7 * 7 }}{% raw %}",
    "'\"><a href='javascript:window.hit=4' id=requirements>x</a>",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judgement, Path]:
    """A driver whose clone loses the end of the disk."""
    out = tmp_path_factory.mktemp("run")
    return play(next(row for row in all_miniatures() if row.name == "tm-clone-loses-the-end"), out), out


@pytest.fixture(scope="module")
def written(run: tuple[Judgement, Path]) -> Path:
    """Its report."""
    judgement, out = run
    path = out / "report.html"
    path.write_text(render_html(judgement.records(), read(out / "history.jsonl", Record), out / "blobs"))
    return path


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong unseen."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert not wrong


def shown(page: Page, selector: str) -> list[str]:
    """Return the ids of the elements that are not hidden."""
    return page.eval_on_selector_all(selector, "all => all.filter(one => !one.hidden).map(one => one.id)")


def test_a_filter_leaves_what_was_asked_for_and_stands_in_the_address(page: Page, written: Path) -> None:
    """By verdict, action and words; whoever opens the address again sees the same."""
    page.goto(written.as_uri())
    everything = shown(page, "#requirements tbody tr")
    page.check("input[name=verdict][value=fail]")
    assert "TM-CLONE-002" in shown(page, "#requirements tbody tr") != everything
    assert page.eval_on_selector_all("#requirements tbody tr:not([hidden]) .chip", "all => [...new Set(all.map(one => one.textContent))]") == ["fail"]
    page.select_option("select[name=action]", "tm/clone")
    page.fill("input[name=q]", "bytes image")
    assert shown(page, "#requirements tbody tr") == ["TM-CLONE-002"]
    assert page.inner_text("form.filter output") == f"1 of {len(everything)} requirements"
    again = page.url
    page.goto("about:blank")
    page.goto(again)
    assert shown(page, "#requirements tbody tr") == ["TM-CLONE-002"] == [id.removeprefix("finding-") for id in shown(page, ".finding")]
    page.click("form.filter button[type=reset]")
    expect(page.locator("form.filter output")).to_have_text("")
    assert shown(page, "#requirements tbody tr") == everything


def test_the_keyboard_reaches_the_filter(page: Page, written: Path) -> None:
    """A slash goes to it, and it can be left as it was entered."""
    page.goto(written.as_uri())
    page.keyboard.press("/")
    page.keyboard.type("clone")
    assert page.input_value("input[name=q]") == "clone"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "action"


def test_the_repeating_command_is_copied(page: Page, written: Path) -> None:
    """The button beside a command puts it into the clipboard."""
    page.goto(written.as_uri())
    wanted = page.inner_text("#finding-TM-CLONE-002 .repeat code")
    page.click("#finding-TM-CLONE-002 .repeat .copy")
    assert page.evaluate("navigator.clipboard.readText()") == wanted == "onetck run --case vm-siblings"


def test_a_bar_leads_to_the_whole_call(page: Page, written: Path) -> None:
    """Arguments, the document behind the base64, output, what it changed; also by a link to the call, and away again with its button."""
    page.goto(written.as_uri())
    bar = page.locator("#case-vm-siblings a.bar:has-text('clone')").first
    target = bar.get_attribute("href")
    assert target is not None
    bar.click()
    below = page.locator(f"{target} + tr.below")
    below.wait_for()
    text = below.inner_text()
    for word in ("exit status 0", "/var/lib/one/remotes/tm/shared/clone", "What it changed", "disk.0"):
        assert word in text
    page.locator("#case-vm-siblings a.bar:has-text('cp')").first.click()
    document = page.locator("tr.below:has-text('datastore/fs/cp') details").first
    document.locator("summary").click()
    assert "<DS_DRIVER_ACTION_DATA>" in document.inner_text()
    button = page.locator(f"{target} button.more")
    expect(button).to_have_attribute("aria-expanded", "true")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(below).to_be_hidden()
    page.goto("about:blank")
    page.goto(written.as_uri() + target)
    page.locator(f"{target} + tr.below").wait_for()


def test_without_scripts_all_that_matters_is_there(browser: Browser, written: Path) -> None:
    """Verdict, finding, bytes, command and the calls; and no control that does nothing."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    assert page.inner_text("h1") == "NOT CONFORMANT"
    finding = page.inner_text("#finding-TM-CLONE-002")
    assert "onetck run --case vm-siblings" in finding and re.search("expected.*46 46 46", finding)
    assert page.locator("form.filter").is_hidden() and page.locator("button").count() == page.locator("form.filter button").count()
    page.click("#case-vm-siblings .calls > summary")
    assert "/var/lib/one/remotes/tm/shared/clone" in page.inner_text("#case-vm-siblings .calls")
    context.close()


@pytest.mark.turns(4)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, written: Path, scheme: Any) -> None:
    """Names, roles, contrast, order: the rules of axe, with all that opens opened."""
    context = browser.new_context(bypass_csp=True, color_scheme=scheme, viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.goto(written.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.locator("#case-vm-siblings button.more").first.click()
    page.locator("tr.below").first.wait_for()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")] == []
    context.close()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 400, "height": 900}}),
        ("print", {}),
    ],
)
def test_it_looks_as_it_should(browser: Browser, written: Path, tmp_path: Path, name: str, settings: Any) -> None:
    """Light, dark, narrow and printed: what must be seen is in sight, nothing runs out of the page, and the ground has the colour of the scheme."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **settings})
    page = context.new_page()
    if name == "print":
        page.emulate_media(media="print")
    page.goto(written.as_uri())
    for selector in ("h1", ".counts", ".about", "#finding-TM-CLONE-002"):
        assert page.locator(selector).first.is_visible()
    box = page.locator("h1").bounding_box()
    assert box is not None and box["y"] < 200
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if name == "dark" else "rgb(255, 255, 255)")
    assert page.locator("form.filter").is_visible() == (name != "print")
    sticks = page.evaluate("getComputedStyle(document.querySelector('.bar-top')).position")
    assert name == "print" or sticks == ("static" if name == "narrow" else "sticky")
    if name == "print":
        assert page.evaluate("[...document.querySelectorAll('.case svg')].every(one => one.getBoundingClientRect().right <= innerWidth)")
    page.screenshot(path=tmp_path / f"{name}.png")
    assert (tmp_path / f"{name}.png").stat().st_size > 30_000
    context.close()


def test_a_timeline_can_be_read(page: Page, written: Path) -> None:
    """What stands on a bar does not run out of it, what stands below it is its duration, and no text of a row covers another."""
    page.goto(written.as_uri())
    page.locator("#case-vm-siblings svg").scroll_into_view_if_needed()
    wide = "one => one.querySelector('text').getBoundingClientRect().width <= one.querySelector('rect').getBoundingClientRect().width"
    assert page.locator("#case-vm-siblings .bar").evaluate_all(f"all => all.length > 10 && all.every({wide})")
    assert re.fullmatch(r"[\d.]+ m?s", page.locator("#case-vm-siblings .bar .took").first.text_content() or "")
    apart = """all => {
        const boxes = all.map(one => one.getBoundingClientRect()).sort((a, b) => a.left - b.left);
        return boxes.length > 3 && boxes.every((one, n) => n === 0 || boxes[n - 1].right <= one.left);
    }"""
    for row in (".op", ".state"):
        assert page.locator(f"#case-vm-siblings {row}").evaluate_all(apart), row
    assert {"PROLOG", "BOOT", "RUNNING"} <= set(
        page.locator("#case-vm-siblings .state").evaluate_all("all => all.map(one => one.lastChild.textContent)")
    )


def test_a_partial_run_bears_its_watermark(page: Page, run: tuple[Judgement, Path], tmp_path: Path) -> None:
    """A run that was interrupted says so all over the page."""
    judgement, out = run
    (tmp_path / "report.html").write_text(render_html(list(judgement.records())[:-1], read(out / "history.jsonl", Record), out / "blobs"))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("getComputedStyle(document.body, '::before').content") == '"PARTIAL"'


def test_nothing_that_a_driver_prints_comes_alive(page: Page, run: tuple[Judgement, Path], tmp_path: Path) -> None:
    """In output, arguments, names of files, errors and evidence; on the page and in what is unpacked; and ten megabytes of it do not fill the page."""
    judgement, out = run
    big = "A" * 10_000_000

    def spoiled(n: int, one: Record) -> Record:
        if not isinstance(one, Call):
            return one
        text = HOSTILE[n % len(HOSTILE)]
        tree = tuple(msgspec.structs.replace(row, path=text, target=text) for row in one.tree)
        said = Blob(len(text), text + big)
        return msgspec.structs.replace(
            one, stdout=said, stderr=said, error=text, argv=(text, *one.argv), success=False, parsed={text: text}, tree=tree
        )

    records = [spoiled(n, one) for n, one in enumerate(read(out / "history.jsonl", Record))]
    (tmp_path / "report.html").write_text(render_html(judgement.records(), records, out / "blobs"))
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
    page.goto((tmp_path / "report.html").as_uri())
    buttons = page.locator("button.more")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for n in range(buttons.count()):
        buttons.nth(n).click()
    page.locator("tr.below").first.wait_for(state="attached")
    assert page.evaluate("window.hit") is None
    assert page.locator("img, tr.below svg, tr.below a").count() == 0


def _long(judgement: Judgement, out: Path, calls: int) -> tuple[list[ResultRecord], Iterator[Record], int]:
    """Return the results and the history of a run of so many calls: the recorded cases, again and again under other names."""
    history = list(read(out / "history.jsonl", Record))
    names = [one.case for one in history if isinstance(one, CaseBegin)]
    times = calls // sum(isinstance(one, Call) for one in history) + 1
    cases = [(f"{name}-{n}", name) for n in range(times) for name in names]

    def records() -> Iterator[Record]:
        for new, old in cases:
            yield from (msgspec.structs.replace(one, case=new) for one in history if getattr(one, "case", None) == old)

    ends = [one for one in judgement.records() if isinstance(one, ResultsHeader | ResultsFooter)]
    passed = [one for one in judgement.results if one.verdict == "pass"]
    results = [msgspec.structs.replace(one, case=f"{one.case}-{n}") for n in range(times) for one in passed]
    return [ends[0], *results, *judgement.requirements, ends[-1]], records(), len(results)


def test_a_thousand_checks_fit_into_a_page_and_a_half_megabyte(page: Page, run: tuple[Judgement, Path], tmp_path: Path) -> None:
    """With every document and output of their calls; it is open in less than a second."""
    judgement, out = run
    per_run = sum(one.verdict == "pass" for one in judgement.results)
    calls = sum(isinstance(one, Call) for one in read(out / "history.jsonl", Record))
    results, history, checks = _long(judgement, out, calls * (1000 // per_run))
    path = tmp_path / "report.html"
    path.write_text(render_html(results, history, out / "blobs"))
    assert checks >= 1000 and path.stat().st_size < 1_500_000
    opened_ms = []
    for _ in range(5):
        page.goto(path.as_uri(), wait_until="load")
        opened_ms.append(page.evaluate("performance.getEntriesByType('navigation')[0].domComplete"))
    assert 0 < min(opened_ms) < 1000
    assert page.locator("#requirements").is_visible()


def test_a_run_of_a_hundred_thousand_calls_opens(browser: Browser, run: tuple[Judgement, Path], tmp_path: Path) -> None:
    """It is summarised where it is too long to be drawn, and what is not drawn can be unpacked, or says how it is seen."""
    judgement, out = run
    results, history, _ = _long(judgement, out, 100_000)
    path = tmp_path / "report.html"
    path.write_text(render_html(results, history, out / "blobs"))
    assert path.stat().st_size < 64 << 20
    context = browser.new_context()
    page = context.new_page()
    began = time.monotonic()
    page.goto(path.as_uri())
    opened_s = time.monotonic() - began
    assert opened_s < 30
    late = page.locator(".case:has(.packed) .later").first
    article = late.locator("xpath=ancestor::article")
    name = article.get_attribute("id")
    late.locator("button.show").click()
    page.locator(f"#{name} svg").wait_for()
    assert "--case" in (page.locator(".case:not(:has(.packed)) .later").first.text_content() or "")
    context.close()
