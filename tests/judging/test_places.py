"""A result names the line of the driver that failed, or ran last; a run tells which lines never ran. The same in every format."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from junitparser import JUnitXml
from rich.console import Console

from onereport.html import render_html
from onereport.jsonout import summary
from onereport.junit import write_junit
from onereport.markdown import render_markdown
from onereport.results import Evidence, Result
from onereport.text import render_lines, render_text
from onesim.journal import Normal, Writer, normal_sha256, normalised
from onesim.records import Call, CaseBegin, CaseEnd, Footer, Header, Lines, Place, Record, Script
from onesim.redaction import Redaction
from onesim.spec import for_contract, load
from onesim.untraced import Untraced, untraced
from onetck.judge import Judgement, judge
from onetck.repeating import combined

SPEC = for_contract("7.4")
TEXT = "#!/bin/bash\nset -e\n\nif [[ $1 ]]; then\n    cp -- \"$1\" '<b>&'\nfi\necho done\n"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
FAILED = Place("tm/shared/clone", 5, text="cp -- \"$1\" '<b>&'")
LAST = Place("tm/shared/clone", 7, text="echo done")
THERE = Place("tm/lib.sh", 3, "host01", "sync")


def _call(status: int, failed: Place | None, last: tuple[Place, ...]) -> Call:
    facts = {"kind": "nonpersistent", "expect": "success", "op": "vm.deploy", "vm_directory": "/d/0/0", "system_base_path": "/d/0"}
    return Call(
        "c", 0, 0, "tm", "shared", "clone", "/var/lib/one/remotes/tm/shared/clone", "frontend", ("a", "b", "0", "1"), {}, status == 0, "exit", status,
        facts=facts, failed_at=failed, last_at=last,
    )  # fmt: skip


def _judged(status: int = 1, failed: Place | None = FAILED, last: tuple[Place, ...] = (LAST, THERE), ran: tuple[int, ...] = (2, 4)) -> Judgement:
    return judge(_history(status, failed, last, ran), SPEC, SPEC.spec.profiles["core"], "history.jsonl", "", "repeat {case}")


def _history(status: int, failed: Place | None, last: tuple[Place, ...], ran: tuple[int, ...] = (2, 4)) -> Iterator[Record]:
    yield Header(1, "onetck", "7.4", "7.4.0", "/driver", "fs", "shared", "shared", 0, 0.0, "", "")
    yield CaseBegin("c", "A case", ("frontend", "host01"), True, ("tm/clone",))
    yield _call(status, failed, last)
    yield Lines("c", {"tm/shared/clone": ran})
    yield CaseEnd("c", "stopped", "call 0 failed", 1, 1)
    yield Script("tm/shared/clone", DIGEST, (2, 4, 5, 7))
    yield Script("tm/shared/ln", DIGEST, (2, 3), traced=False)
    yield Script("tm/shared/mv.py", DIGEST, (), traced=False)
    yield Footer(1, 1, 5, "")


def _failing(judgement: Judgement) -> Result:
    return next(one for one in judgement.results if one.requirement == "TM-CLONE-001")


def test_a_failure_names_the_line_that_failed_and_those_that_ran_last() -> None:
    """The text of the line comes with it; what passes has no place."""
    judgement = _judged()
    (said,) = _failing(judgement).evidence
    assert (said.at, said.code, said.last) == ("tm/shared/clone:5", FAILED.text, ("tm/shared/clone:7", "tm/lib.sh:3 on host01"))
    assert said.place == f"at tm/shared/clone:5  {FAILED.text} (ran last: tm/shared/clone:7, tm/lib.sh:3 on host01)"
    assert not any(one.place for result in judgement.results if result.verdict == "pass" for one in result.evidence)


def test_a_call_that_succeeded_names_the_line_that_ran_last() -> None:
    """Nothing failed there, so it does not say so; and without any place nothing is said."""
    evidence = Evidence("wrong bytes", 0, "", "", "echo done", ("tm/shared/clone:7", "tm/lib.sh:3 on host01"))
    assert evidence.place == "ran last: tm/shared/clone:7  echo done, tm/lib.sh:3 on host01"
    assert Evidence("wrong bytes", 0).place == ""
    (said,) = _failing(_judged(failed=None, last=())).evidence
    assert said.place == ""


def test_what_never_ran_is_counted_by_script() -> None:
    """Of a script that is left alone nothing is said to have never run; over several runs a line counts that no run has reached."""
    judgement = _judged()
    assert [(one.file, one.lines, one.unrun, one.traced) for one in judgement.scripts] == [
        ("tm/shared/clone", 4, (5, 7), True),
        ("tm/shared/ln", 2, (), False),
        ("tm/shared/mv.py", 0, (), False),
    ]
    both = combined([judgement, _judged(ran=(2, 4, 7))])
    assert [one.unrun for one in both.scripts] == [(5,), (), ()]


def test_every_format_tells_the_place(tmp_path: Path) -> None:
    """Terminal, Markdown, JSON and JUnit."""
    judgement = _judged()
    out = io.StringIO()
    render_text(judgement.records(), Console(file=out, width=400))
    assert f"           at tm/shared/clone:5  {FAILED.text} (ran last: tm/shared/clone:7, tm/lib.sh:3 on host01)\n" in out.getvalue()
    assert "at tm/shared/clone\\:5" in render_markdown(judgement.records())
    rows = summary(judgement.records())
    (said,) = next(one for one in rows["requirements"] if one["id"] == "TM-CLONE-001")["evidence"]
    assert (said["at"], said["code"], said["ran_last"]) == ("tm/shared/clone:5", FAILED.text, ["tm/shared/clone:7", "tm/lib.sh:3 on host01"])
    assert rows["scripts"] == [
        {"file": "tm/shared/clone", "lines": 4, "never_ran": [5, 7], "traced": True},
        {"file": "tm/shared/ln", "lines": 2, "never_ran": [], "traced": False},
    ]
    write_junit(judgement.records(), tmp_path / "junit.xml")
    messages = [row.message for suite in JUnitXml.fromfile(str(tmp_path / "junit.xml")) for test in suite for row in test.result]
    assert any(f"[at tm/shared/clone:5  {FAILED.text}" in (message or "") for message in messages)


def test_the_report_shows_the_lines_around_and_the_lines_that_never_ran(tmp_path: Path) -> None:
    """From the script that lies beside the history; escaped; the line itself is marked. Without the script the line alone is shown."""
    (tmp_path / DIGEST).write_text(TEXT)
    judgement = _judged()
    page = render_html(judgement.records(), _history(1, FAILED, (LAST, THERE)), tmp_path)
    assert "It failed at <code>tm/shared/clone:5</code>; what ran last: " in page
    line = "cp -- &#34;$1&#34; &#39;&lt;b&gt;&amp;&#39;"
    assert f'<span class="n">4</span>if [[ $1 ]]; then\n<mark><span class="n">5</span>    {line}</mark>\n<span class="n">6</span>fi\n' in page
    assert "4 of 6 lines ran in this run (66 %), in 2 bash scripts" in page and "<b>&" not in page
    assert "the script could tell that it is traced: <code>tm/shared/ln</code>.</p>" in page
    bare = render_html(judgement.records(), _history(1, FAILED, (LAST, THERE)))
    assert f'<mark><span class="n">5</span>{line}</mark>' in bare


def test_the_terminal_tells_the_scripts_of_which_most_never_ran() -> None:
    """One line a script, then what to do."""
    out = io.StringIO()
    render_lines(_judged().records(), "report.html", Console(file=out, width=200))
    assert out.getvalue().splitlines() == [
        "tm/shared/clone  2 of 4 lines never ran",
        "give a trace that reaches them: onetck run --trace FILE; all lines: report.html",
        "lines not told, for the script could tell that it is traced: tm/shared/ln",
    ]


def test_places_are_no_part_of_the_normalised_form() -> None:
    """A script may wait once more, or once less: runs that differ in nothing else compare equal, also with one that told no lines."""
    assert normalised(_call(1, FAILED, (LAST,))) == normalised(_call(1, None, ())) != normalised(_call(2, None, ()))


@pytest.mark.parametrize(
    ("scripts", "alone", "below"),
    [
        ({"tm/a/x": "#!/bin/bash\n# set -x\necho set -e\n"}, set(), set()),
        ({"tm/a/x": "#!/bin/bash\nset -ex\n", "tm/a/y": "#!/bin/bash\ntrue\n"}, {"tm/a/x"}, set()),
        ({"tm/a/x": "#!/bin/bash -eux\ntrue\n"}, {"tm/a/x"}, set()),
        ({"tm/a/x": '#!/bin/bash\ncat "/proc/$$/fd/$file" /proc/self/fd/0\n'}, set(), set()),
        ({"tm/a/x": "#!/bin/bash\nls /proc/self/fd/ | wc -l\n"}, {"tm/a/x"}, set()),
        ({"tm/a/x": "#!/bin/bash\nulimit -c 0\n", "tm/a/y": "#!/bin/bash\nulimit -Sf 10\n"}, {"tm/a/y"}, set()),
        # a function of a library, and who calls it, by way of another
        (
            {
                "lib.sh": "function loud\n{\n    set -xv\n}\nquiet() { true; }\nby() {\n    loud\n}\n",
                "tm/a/x": "#!/bin/bash\n. ./lib.sh\nquiet\n",
                "tm/a/y": "#!/bin/bash\n. ./lib.sh\nby it\n",
            },
            {"tm/a/y"},
            set(),
        ),
        # a library that does it when it is read in
        ({"lib.sh": "set -x\n", "tm/a/x": "#!/bin/bash\n. ./lib.sh\n", "tm/a/y": "#!/bin/bash\ntrue\n"}, {"lib.sh", "tm/a/x"}, set()),
        # what is handed to a host, by a script, by a function of a library, and by a program in another language
        ({"tm/a/x": "#!/bin/bash\nssh host bash -s <<'EOF'\nset -ex\nEOF\ntrue\n"}, set(), {"tm/a/x"}),
        (
            {
                "lib.sh": "loud() {\n    bash -s <<-EOF\n\tset -x\n\tEOF\n}\nquiet() { true; }\n",
                "tm/a/x": "#!/bin/bash\nloud\n",
                "tm/a/y": "#!/bin/bash\nquiet\n",
            },
            set(),
            {"tm/a/x"},
        ),
        ({"tm/a/x": "#!/usr/bin/ruby\nx = <<~EOS\n    set -x -e\nEOS\n"}, {"tm/a/x"}, set()),
    ],
)
def test_scripts_that_could_tell_are_left_alone(scripts: dict[str, str], alone: set[str], below: set[str]) -> None:
    """What they do themselves, and what libraries do for them; of what a bash script hands to others, these alone are left alone."""
    assert untraced(scripts) == Untraced(frozenset(alone), frozenset(below))


def test_the_digest_of_a_history_grows_with_it_and_does_not_ask_which_case_came_first(tmp_path: Path) -> None:
    """What is noted while a history is written, without its secrets, is the digest of the file; another order of cases has the same one, of calls another one."""
    calls = [msgspec.structs.replace(_call(n, None, ()), case=case, argv=("x", f"s3cret {n}")) for n in (1, 2) for case in ("b", "a")]
    digests = []
    for name, records in (("mixed", calls), ("one by one", sorted(calls, key=lambda one: one.case)), ("turned", calls[::-1])):
        normal = Normal()
        writer = Writer(tmp_path / name, Redaction(load().secrets, (("password", "s3cret"),)), normal.note)
        for record in records:
            writer.write(record)
        writer.close()
        assert b"s3cret" not in (tmp_path / name).read_bytes()
        assert normal.hexdigest() == normal_sha256(tmp_path / name)
        digests.append(normal.hexdigest())
    assert digests[0] == digests[1] != digests[2]
