"""What the report of a run costs: the time that it takes to make it beside that of reading the records alone, its size, and how long a browser takes to open it.

    python benchmarks/report.py [CALLS ...]

Some cases are played once with the reference driver; their records, under other names, make runs of 1,000 and of 100,000 calls, if no others are asked for.
The browser is Chromium, by playwright; without it that column stays empty.
"""

from __future__ import annotations

import itertools
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from onereport.html import render_html
from onereport.results import ResultRecord, ResultsFooter, ResultsHeader
from onesim.data import data_dir
from onesim.journal import head, read
from onesim.records import Call, CaseBegin, Record
from onetck.conclude import find_profile
from onetck.execution import Progress, execute
from onetck.judge import Judgement, judge
from onetck.plan import choose
from onetck.setting import Given, settle

CASES = ("image-clone", "vm-example", "vm-siblings")


def played(out: Path) -> Judgement:
    """Play the cases and judge them."""
    setting = settle(Given(config=data_dir("reference_driver") / "onetck.toml"))
    cases = choose(setting.spec, setting.subject, [], list(CASES), ["core"])
    execute(setting.spec, setting.driver, setting.subject, cases, out, jobs=2, progress=Progress(), command=["benchmark"])
    history = out / "history.jsonl"
    return judge(read(history, Record), setting.spec, find_profile(setting.spec, "core"), history.name, head(history), "onetck run --case {case}")


def longer(judgement: Judgement, history: list[Record], calls: int) -> tuple[list[ResultRecord], Iterator[Record]]:
    """Return results and records of a run of so many calls."""
    names = [one.case for one in history if isinstance(one, CaseBegin)]
    times = calls // sum(isinstance(one, Call) for one in history) + 1

    def records() -> Iterator[Record]:
        for n, name in itertools.product(range(times), names):
            yield from (msgspec.structs.replace(one, case=f"{name}-{n}") for one in history if getattr(one, "case", None) == name)

    ends = [one for one in judgement.records() if isinstance(one, ResultsHeader | ResultsFooter)]
    results = [msgspec.structs.replace(one, case=f"{one.case}-{n}") for n in range(times) for one in judgement.results]
    return [ends[0], *results, *judgement.requirements, ends[-1]], records()


def made(judgement: Judgement, history: list[Record], calls: int, out: Path) -> tuple[float, float, float]:
    """Make the report of a run of so many calls. Returns the seconds of reading the records and of making it, and its megabytes."""
    _, records = longer(judgement, history, calls)
    began = time.perf_counter()
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Record)
    for one in records:
        decoder.decode(encoder.encode(one))
    reading_s = time.perf_counter() - began
    results, records = longer(judgement, history, calls)
    began = time.perf_counter()
    text = render_html(results, records, out / "blobs")
    made_s = time.perf_counter() - began
    (out / "report.html").write_text(text, encoding="utf-8")
    return reading_s, made_s, len(text) / 1e6


def opened_ms(page: Path) -> str:
    """Return how long a browser takes until the page can be used."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return ""
    if program is None:
        return ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page()
        shown.goto(page.as_uri())
        took = shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        browser.close()
    return f"{took:.0f}"


def main() -> None:
    """Print the table."""
    wanted = [int(word) for word in sys.argv[1:]] or [1000, 100_000]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'calls':>8} {'checks':>8} {'made in s':>10} {'x reading':>10} {'MB':>7} {'opened in ms':>13}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        judgement = played(out)
        history = list(read(out / "history.jsonl", Record))
        for calls in wanted:
            reading_s, made_s, size_mb = made(judgement, history, calls, out)
            page = out / "report.html"
            checks = len(longer(judgement, history, calls)[0]) - len(judgement.requirements) - 2
            print(f"{calls:8} {checks:8} {made_s:10.2f} {made_s / reading_s:10.1f} {size_mb:7.2f} {opened_ms(page):>13}", flush=True)


if __name__ == "__main__":
    main()
