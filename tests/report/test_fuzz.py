"""Whatever a driver prints, does or is called, the report's elements stay those of a harmless one: markup never comes of text."""

from __future__ import annotations

import base64
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from onereport.html import render_html
from onereport.results import Evidence, Result, ResultRecord, ResultsHeader, ScriptLines
from onesim.journal import read
from onesim.records import Blob, Call, CaseEnd, Command, FaultInjected, Observation, Place, Record, TreeChange

RUN = Path(__file__).parents[1] / "evidence" / "data" / "schema1"
PIECES = [
    "<",
    ">",
    "&",
    '"',
    "'",
    "<script>",
    "</script>",
    "</pre>",
    "</details></article>",
    "<!--",
    "-->",
    "]]>",
    "<svg onload=x>",
    "</svg>",
    "&lt;",
    "&#0;",
    "{{ x }}",
    "{% raw %}",
    "javascript:",
    "`",
    "\x00",
    "\x1b[2J",
    "\x9b",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\r\n",
    "\n",
    "\t",
    "\u00e9",
    "\U0001f4a5",
    "A" * 4000,
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(min_size=1, max_size=8), min_size=1, max_size=12).map("".join)


@cache
def _recorded() -> tuple[list[Any], list[Any]]:
    """Return the results and the history of a small run."""
    return list(read(RUN / "results.jsonl", ResultRecord)), list(read(RUN / "history.jsonl", Record))


def _spoiled_call(one: Call, text: str) -> Call:
    said = Blob(size=9, text=text, complete=False, sha256="", bytes_seen=10**7)
    place = Place(text, 1, text, text)
    return msgspec.structs.replace(
        one,
        script=text,
        argv=(text, text),
        success=False,
        ended_by="exit",
        parsed={text: text},
        error=text,
        stdin=said,
        stdout=said,
        stderr=said,
        commands=(Command(text, text, (text,)),),
        tree=(TreeChange(text, text, "created", "f", (text,), 1, text),),
        failed_at=place,
        last_at=(place, Place(text, 2)),
    )


def _spoiled(one: Any, text: str) -> Any:
    """Return a record in which everything that is a driver's own is the text."""
    match one:
        case ResultsHeader():
            return msgspec.structs.replace(one, driver=text, environment={"user": text}, isolation={"network": text}, faults=text)
        case Result():
            return msgspec.structs.replace(one, verdict="fail", evidence=(Evidence(text, 0, f"{text}:{text}", text, text, (text,)),), repeat=text)
        case ScriptLines():
            return msgspec.structs.replace(one, file=text)
        case Call():
            return _spoiled_call(one, text)
        case Observation():
            return msgspec.structs.replace(
                one, label=text, host=text, path=text, problem="bytes", detail=text, expected="00ff", actual="ff00", offset=1
            )
        case FaultInjected():
            return msgspec.structs.replace(one, command=text)
        case CaseEnd():
            return msgspec.structs.replace(one, outcome="stopped", reason=text)
    return one


def _shape(text: str) -> list[tuple[str, ...]]:
    """Return the elements of the page and of what is packed with it, in their order, each with the names of its attributes."""
    results, history = ([_spoiled(one, text) for one in records] for records in _recorded())
    tree = lxml_html.fromstring(render_html(results, history))
    trees = [tree]
    for packed in tree.xpath("//script[@type='application/octet-stream']/text()"):
        trees.append(lxml_html.fromstring(f"<main>{zlib.decompress(base64.b64decode(packed), -15).decode()}</main>"))
    return [(element.tag, *sorted(element.keys())) for one in trees for element in one.iter("*")]


@cache
def _plain() -> list[tuple[str, ...]]:
    return _shape("plain")


@settings(max_examples=30, deadline=None)
@given(text=TEXTS)
def test_no_text_of_a_driver_makes_or_ends_an_element(text: str) -> None:
    """The elements and attributes are those of a page on which the same places hold a plain word."""
    assert _shape(text) == _plain()
