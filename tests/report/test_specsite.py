"""The site of the specification shows every row of the tables, links only to what is there, and needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from urllib.parse import unquote

import pytest
from lxml import etree
from lxml import html as lxml_html

from onereport.spec_lifecycles import lifecycle_views
from onereport.spec_tables import documents
from onereport.specsite import requirement_urls, write_site
from onesim import __version__
from onesim.errors import HarnessError, SpecError
from onesim.spec import Spec, load

HOSTILE = "<script>alert(1)</script></p><img src=x onerror=alert(2)>\u202egnp.exe"
SVG = {"svg": "http://www.w3.org/2000/svg"}


DOCUMENTS = {
    "discrepancies.toml": """
[[discrepancy]]
id = "D-01"
topic = "TEXT"
actions = ["tm/clone", "ds/cp"]
guides = ["5.x", "6.x"]
promised = "TEXT one"
holds = "TEXT two"
promised_source = "guide 6.x: Storage Driver"
holds_source = "oned 7.4.0: src/tm/TransferManager.cc:170"
advice = "TEXT three"
requirements = ["TM-CLONE-001"]
recorded = ["7.0.1"]
""",
    "attributes.toml": """
[[attribute]]
name = "LN_TARGET"
where = "TM_MAD_CONF"
values = ["NONE", "SELF", "SYSTEM"]
default = ""
meaning = "TEXT"
changes = ["tm/ln", "quotas"]
since = "5.8.0"
source = "oned"

[[attribute]]
name = "LN_TARGET"
where = "TM_MAD_CONF"
meaning = "the same name once more"

[[driver]]
family = "tm"
name = "ceph"
since = "6.0.0"
attributes = { SHARED = "YES", NUMBER = 1 }
""",
    "helpers.toml": """
[[helper]]
name = "error_message"
arguments = ["text"]
does = "TEXT"
promised = "both guides"
since = ""
source = "oned"
note = ""
""",
    "formats.toml": """
[[format]]
name = "IMPORT_INFO"
title = "TEXT"
carried_by = ["ds/export"]
encoding = "plain"
sample = "<IMPORT_INFO>&lt;</IMPORT_INFO>"
meaning = "TEXT"
source = "oned"

[[enumeration]]
name = "IMAGE/STATE"
values = { INIT = 0, READY = 1 }

[[enumeration]]
name = "DISK_TYPE"
values = [{ name = "FILE", number = 0 }, { name = "RBD_CDROM", number = 4, since = "5.4.0" }]
""",
}


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Path]:
    """A site of tables of which every text is hostile."""
    folder = tmp_path_factory.mktemp("documented")
    shutil.copytree(load().root, folder / "spec")
    for name, text in DOCUMENTS.items():
        (folder / "spec" / name).write_text(text.replace("TEXT", HOSTILE), encoding="utf-8")
    prose = re.compile(
        r'\b((?:meaning|sentence|preface|failure|again|note|takes|garbage|applies|untestable|title|source) = ")([A-Z](?:[^"\\]|\\.)+)"'
    )
    for path in (folder / "spec").rglob("*.toml"):
        if path.name not in (*DOCUMENTS, "libvirt.toml"):
            path.write_text(prose.sub(rf'\g<1>\g<2> {HOSTILE}"', path.read_text(encoding="utf-8")), encoding="utf-8")
    spec = Spec(folder / "spec")
    write_site(spec, folder / "site")
    return spec, folder / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the installation's tables."""
    folder = tmp_path_factory.mktemp("site")
    write_site(load(), folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, lxml_html.HtmlElement]:
    """Every page by its name."""
    return {path.name: lxml_html.document_fromstring(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


def test_pages_are_well_formed_with_unique_ids(site: Path) -> None:
    """Every tag that is opened is closed where it must be, no id stands twice, and there is one heading of the first level."""
    void = "area|base|br|col|hr|img|input|link|meta"
    for path in site.glob("*.html"):
        text = re.sub(rf"<({void})\b([^>]*?)/?>", r"<\1\2/>", path.read_text(encoding="utf-8").removeprefix("<!doctype html>"))
        text = re.sub(r"(\s)(hidden|defer)(?=[\s/>])", r'\1\2="\2"', text)
        tree = etree.fromstring(re.sub(r"&(?!amp;|lt;|gt;|quot;|#\d+;)", "&amp;", text).encode())
        ids = tree.xpath("//@id")
        assert len(ids) == len(set(ids)), path.name
        assert len(tree.xpath("//h1")) == 1, path.name
        assert tree.xpath("/html/@lang") == ["en"], path.name


def test_every_internal_link_leads_to_a_page_and_an_anchor(site: Path, pages: dict[str, lxml_html.HtmlElement]) -> None:
    """No link is broken, whether it names a page, an anchor or both; none leads out of the folder."""
    ids = {name: set(tree.xpath("//@id")) for name, tree in pages.items()}
    links = 0
    for name, tree in pages.items():
        for link in tree.xpath("//@href | //@src"):
            page, _, anchor = unquote(str(link)).partition("#")
            assert not re.match(r"[a-z]+:|/|\.\.", page), f"{name}: {link}"
            assert not page or (site / page).is_file(), f"{name}: {link}"
            assert not anchor or anchor in ids[page or name], f"{name}: {link}"
            links += 1
    assert links > 1000


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Neither pages nor style nor scripts name an address; pages have no script of their own and no style attribute."""
    for path in site.iterdir():
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".css", ".js") and path.name != "search-index.js":
            assert "//" not in text.replace("// Search", "") and "@import" not in text and "url(" not in text, path.name
        if path.suffix == ".html":
            tree = lxml_html.document_fromstring(text)
            assert {*tree.xpath("//script/@src")} == {"search.js", "search-index.js"} and not tree.xpath("//script[text()]"), path.name
            assert not tree.xpath("//@style | //@onclick | //iframe | //img"), path.name


def test_every_action_requirement_state_and_discrepancy_has_its_place(pages: dict[str, lxml_html.HtmlElement]) -> None:
    """What the tables list is on the site: actions as pages, the others under an anchor of their name with their sentences."""
    spec = load()
    for action in spec.actions:
        page = pages[f"action-{action.family}-{action.name}.html"]
        assert page.findtext(".//h1") == action.key
        assert action.meaning in page.text_content() and action.source in page.text_content()
    for row in spec.requirements:
        name, _, anchor = requirement_urls(spec)[row.id].partition("#")
        text = pages[name].get_element_by_id(anchor).text_content()
        assert row.id in text and row.sentence in text and row.source in text and row.level in text
        assert row.check in text and row.untestable in text
    for kind, states in spec.states.items():
        for state in states:
            assert state.name in pages[f"lifecycle-{kind}.html"].get_element_by_id(f"state-{state.name}").text_content()
    for one in documents(spec).discrepancies:
        text = pages["discrepancies.html"].get_element_by_id(one.id).text_content()
        assert one.promised in text and one.holds in text and one.advice in text
    assert set(requirement_urls(spec)) == {row.id for row in spec.requirements}


def test_an_action_shows_each_contract_with_its_own_signature(pages: dict[str, lxml_html.HtmlElement]) -> None:
    """Side by side: the argument generation, the hybrid one and stdin, each with its arguments; equal contracts are one column."""
    page = pages["action-ds-cp.html"]
    table = page.xpath("//table[@class='signature']")[0]
    heads = [head.text_content() for head in table.xpath(".//thead/th | .//thead//th")]
    assert heads == ["5.12", "6.0 – 6.6", "6.4-stdin, 6.6-stdin", "6.8 – 6.10", "7.0 – 7.4"]
    cells = [(cell.get("colspan"), [item.text_content() for item in cell.findall(".//li")]) for cell in table.findall(".//tbody/tr")[0].findall("td")]
    assert cells == [("2", ["dump", "id"]), ("1", ["dash", "id"]), ("2", ["id"])]
    changes = page.xpath("//dl[@class='changes']")[0].text_content()
    assert "5.13.80" in changes and "source_format" in changes
    assert "dash" in page.get_element_by_id("argument-dash").text_content()


def test_diagrams_hold_every_operation_phase_and_call_of_the_tables(pages: dict[str, lxml_html.HtmlElement]) -> None:
    """Each operation has a picture with its states, phases and calls, and stands in the overview; each phase is drawn somewhere."""
    for kind, view in lifecycle_views(load()).items():
        page = pages[f"lifecycle-{kind}.html"]
        pictures = {
            str(one.get("aria-label")): {text.text_content() for text in one.iter("text")} for one in page.iter("svg") if one.get("aria-label")
        }
        drawn = set().union(*pictures.values())
        for operation in view.operations:
            words = next(words for title, words in pictures.items() if title.endswith(f": {operation.name}"))
            for track in operation.tracks:
                wanted = {step.phase.name for step in track.steps} | {
                    call.action for step in track.steps for script in step.scripts for call in script.calls
                }
                assert wanted <= words, f"{kind}.{operation.name}: {wanted - words}"
                assert all(any(word.split()[0] == state for word in words) for state in track.froms), operation.name
                assert track.row.stays or any(word.split()[0] == track.end for word in words), operation.name
                for step in track.steps:
                    assert step.phase.fails == "ignore" or any(word.split()[0] == step.phase.failure for word in words), operation.name
        assert {phase.name for phase, _ in view.phases} <= drawn
    overview = pages["lifecycle-vm.html"].xpath("//section[@aria-labelledby='overview']//text()")
    assert {"PENDING", "RUNNING", "DONE", "migrate_live", "deploy"} <= set(map(str, overview))


def test_boxes_of_a_diagram_do_not_lie_over_each_other(pages: dict[str, lxml_html.HtmlElement]) -> None:
    """No two boxes of a picture overlap, and all lie within it."""
    for page in (tree for name, tree in pages.items() if name.startswith("lifecycle-")):
        for svg in page.xpath("//article//*[local-name()='svg']"):
            boxes = [tuple(float(rect.get(side)) for side in ("x", "y", "width", "height")) for rect in svg.iter("rect")]
            for n, (x, y, width, height) in enumerate(boxes):
                assert x >= 0 and y >= 0 and x + width <= float(svg.get("width")) and y + height <= float(svg.get("height"))
                for ox, oy, owidth, oheight in boxes[n + 1 :]:
                    assert x + width <= ox or ox + owidth <= x or y + height <= oy or oy + oheight <= y, svg.get("aria-label")


def test_equal_tables_give_equal_bytes(site: Path, tmp_path: Path) -> None:
    """Written twice, every file is the same: no date, no order by chance. The footer names version and tables."""
    again = write_site(Spec(load().root), tmp_path / "new" / "folder")
    assert sorted(path.name for path in again) == sorted(path.name for path in site.iterdir())
    for path in again:
        assert path.read_bytes() == (site / path.name).read_bytes(), path.name
    footer = lxml_html.document_fromstring((site / "index.html").read_text(encoding="utf-8")).find(".//footer").text_content()
    assert __version__ in footer and load().sha256[:16] in footer


def test_hostile_text_in_tables_stays_text(documented: tuple[Spec, Path]) -> None:
    """Markup and direction characters in any row reach every page as visible text, in the search index too."""
    spec, folder = documented
    for path in folder.iterdir():
        said = path.read_text(encoding="utf-8")
        assert "<img" not in said and "<script>" not in said and (path.suffix == ".js" or "\u202e" not in said), path.name
    key, row = spec.actions[0].key, next(one for one in spec.requirements if one.sentence[0].isupper())
    page = lxml_html.document_fromstring((folder / f"action-{key.replace('/', '-')}.html").read_text(encoding="utf-8"))
    assert "<script>alert(1)</script>" in page.xpath("//p[@class='lead']")[0].text_content()
    name, _, anchor = requirement_urls(spec)[row.id].partition("#")
    page = lxml_html.document_fromstring((folder / name).read_text(encoding="utf-8"))
    assert "<script>alert(1)</script>" in page.get_element_by_id(anchor).text_content()


def test_tables_for_readers_are_shown_whole(documented: tuple[Spec, Path]) -> None:
    """Discrepancies, attributes, driver rows, helpers, formats and enumerations stand under their anchors, and every link to them holds."""
    _, folder = documented
    pages = {path.name: lxml_html.document_fromstring(path.read_text(encoding="utf-8")) for path in folder.glob("*.html")}
    row = pages["discrepancies.html"].get_element_by_id("D-01")
    assert "<script>" in row.text_content() and "recorded from oned 7.0.1" in row.text_content()
    assert {"action-tm-clone.html", "action-ds-cp.html"} <= set(row.xpath(".//a/@href"))
    assert "discrepancies.html#D-01" in pages["action-ds-cp.html"].xpath("//a/@href")
    attributes = pages["attributes.html"]
    assert "NONE, SELF, SYSTEM" in attributes.get_element_by_id("TM_MAD_CONF-LN_TARGET").text_content()
    assert "once more" in attributes.get_element_by_id("TM_MAD_CONF-LN_TARGET-2").text_content()
    assert "NUMBER=1" in attributes.text_content() and attributes.get_element_by_id("helper-error_message") is not None
    formats = pages["formats.html"]
    assert "<IMPORT_INFO>&lt;</IMPORT_INFO>" in formats.get_element_by_id("format-IMPORT_INFO").text_content()
    assert "READY" in formats.get_element_by_id("enumeration-IMAGE-STATE").text_content()
    assert "since 5.4.0" in formats.get_element_by_id("enumeration-DISK_TYPE").text_content()
    ids = {name: set(tree.xpath("//@id")) for name, tree in pages.items()}
    for name, tree in pages.items():
        for link in tree.xpath("//a/@href"):
            page, _, anchor = str(link).partition("#")
            assert not anchor or anchor in ids[page or name], f"{name}: {link}"


@pytest.mark.parametrize(
    ("name", "text"), [("formats.toml", "format = ["), ("helpers.toml", '[[helper]]\nname = "log"'), ("attributes.toml", "\udcff")]
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    """Broken TOML, a row without a column and bytes that are no text end in one line with the file."""
    shutil.copytree(load().root, tmp_path / "spec")
    (tmp_path / "spec" / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SpecError, match=name):
        write_site(Spec(tmp_path / "spec"), tmp_path / "site")


def test_the_search_index_leads_to_places_that_are_there(site: Path, pages: dict[str, lxml_html.HtmlElement]) -> None:
    """The index is one script with data alone; it knows actions, requirements, arguments, states and operations."""
    script = (site / "search-index.js").read_text(encoding="utf-8")
    rows = json.loads(script.removeprefix("window.ONETCK_INDEX = ").rstrip().removesuffix(";"))
    ids = {name: set(tree.xpath("//@id")) for name, tree in pages.items()}
    for title, kind, url, _ in rows:
        page, _, anchor = url.partition("#")
        assert page in pages and (not anchor or anchor in ids[page]), (title, kind, url)
    titles = {title for title, *_ in rows}
    assert {"ds/cp", "tm/clone", "vm.migrate_live", "PROLOG_FAILURE", "size_mb"} <= titles
    assert {row.id for row in load().requirements} <= titles


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    """A file in the folder's place ends in an error that names it."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(HarnessError, match="taken"):
        write_site(load(), tmp_path / "taken")


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        digits = colour.removeprefix("#")
        digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
        parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable_in_light_and_dark(site: Path) -> None:
    """Every colour of text has at least the contrast 4.5 that WCAG AA wants, on every ground, in both schemes."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", rule)) for rule in re.findall(r":root \{[^}]*\}", (site / "site.css").read_text(encoding="utf-8"))
    ]
    assert len(schemes) == 2
    for colours in schemes:
        for text in ("ink", "soft", "good", "bad", "warn", "open"):
            for ground in ("paper", "shade", "lane"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground}"


def _pixels(png: bytes) -> set[bytes]:
    """Return the different rows of pixels of a PNG without interlacing, unfiltered enough to tell a blank picture."""
    data, at = b"", 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    stride = 1 + width * {2: 3, 6: 4}[colour] * depth // 8
    raw = zlib.decompress(data)
    return {raw[n * stride : (n + 1) * stride] for n in range(height)}


@pytest.mark.components
@pytest.mark.parametrize("page", ["index.html", "action-ds-cp.html", "lifecycle-vm.html"])
@pytest.mark.parametrize(("look", "size", "switch"), [("light", "1280,1200", ""), ("dark", "1280,1200", "0"), ("narrow", "390,1200", "")])
def test_a_browser_draws_the_pages(site: Path, tmp_path: Path, page: str, look: str, size: str, switch: str) -> None:
    """Light, dark and on a narrow screen the page is drawn from its file, and is not blank."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "no Chromium here; install the package chromium"
    picture = tmp_path / f"{look}.png"
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={size}", f"--screenshot={picture}", *([f"--blink-settings=preferredColorScheme={switch}"] if switch else [])]
    subprocess.run([*command, (site / page).as_uri()], check=True, capture_output=True, timeout=60)
    assert len(_pixels(picture.read_bytes())) > 100


@pytest.mark.components
def test_search_finds_and_goes_by_keyboard_from_a_file(site: Path, tmp_path: Path) -> None:
    """In a browser, what is typed finds places; arrows choose, and Enter goes there, all from file://."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "no Chromium here; install the package chromium"
    shutil.copytree(site, tmp_path / "site")
    drive = """
      addEventListener("load", () => {
        const input = document.querySelector("#search"), list = document.querySelector("#found");
        input.focus(); input.value = "migrate live"; input.dispatchEvent(new Event("input", {bubbles: true}));
        const first = list.querySelector("[aria-selected=true] b").textContent;
        input.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true}));
        const second = list.querySelector("[aria-selected=true] b").textContent;
        input.value = "zzzz"; input.dispatchEvent(new Event("input", {bubbles: true}));
        document.title = [first, second, list.hidden, document.querySelector(".count").textContent, input.form.hidden].join("|");
      });"""
    with (tmp_path / "site" / "search.js").open("a", encoding="utf-8") as script:
        script.write(drive)
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, (tmp_path / "site" / "index.html").as_uri()], check=True, capture_output=True, timeout=60, text=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found
    first, second, hidden, count, off = found.group(1).split("|")
    assert first == "vm.migrate_live" and second != first and (hidden, count, off) == ("true", "0 places", "false")
