"""The lines between oned and its driver programs: against those of the real ones, and against what a broken program prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onesim.grammars import parse
from onesim.mad import transfer
from onesim.mad.results import Ended, info, logs
from onesim.mad.transfer import Command
from onesim.mad.wire import (
    LINE_MAX,
    Answer,
    Lines,
    Log,
    Request,
    Unreadable,
    raw,
    read_answer,
    read_request,
    text,
    write_answer,
    write_log,
    write_request,
)
from onesim.spec import for_contract

_ROWS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "data" / "recorded.jsonl").read_text().splitlines()[1:]]
# a second line of a driver's output, which a driver program passes on as a line of its own
_SECOND_LINES = {"bkA 55 raw", "/tmp/src raw"}


def _contract(version: str) -> str:
    return ".".join(version.split(".")[:2])


def test_every_recorded_request_is_read_and_written_as_it_was() -> None:
    """What the real oned wrote is read as the programs read it, and our oned writes the same bytes."""
    rows = [row for row in _ROWS if row["dir"] == "mad"]
    assert len(rows) > 300 and {row["mad"] for row in rows} == {"tm", "datastore", "vmm", "market"}
    for row in rows:
        request = read_request(row["line"])
        assert isinstance(request, Request) and request.id >= 0
        assert write_request(request, for_contract(_contract(row["version"])).request_line).rstrip() == raw(row["line"]).rstrip()


def test_every_recorded_answer_is_read_and_written_as_it_was() -> None:
    """What the real programs wrote is read as oned reads it, and written again alike; second lines of a driver's output are no answers."""
    rows = [row for row in _ROWS if row["dir"] == "oned"]
    assert len(rows) > 300
    for row in rows:
        found = read_answer(row["line"])
        if row["line"] in _SECOND_LINES:
            assert isinstance(found, Unreadable)
            continue
        assert isinstance(found, Answer) and write_answer(found) == raw(row["line"] + "\n")
        assert found.success == (row["line"].split()[1] == "SUCCESS")


def test_the_codec_agrees_with_the_grammar() -> None:
    """The published grammar of the lines takes what the codec takes, with the same parts."""
    for row in _ROWS[::5]:
        if row["dir"] == "oned" and row["line"] not in _SECOND_LINES:
            record: Any = parse("mad_answer", row["line"].rstrip(), row["version"])
            found = read_answer(row["line"])
            assert isinstance(found, Answer) and (record.action, record.id) == (found.action, found.id)
        elif row["dir"] == "mad":
            assert not isinstance(parse("mad_request", row["line"].rstrip(), row["version"]), list)


def test_every_recorded_transfer_script_is_read_and_written_as_it_was() -> None:
    """Every transfer script that the real oned wrote, and every line that it gave to one_vmm_exec."""
    scripts = [row["script"] for row in _ROWS if "script" in row]
    assert len(scripts) > 100
    for script in scripts:
        assert transfer.write(transfer.read(script)) == script
    commands = [row["commands"] for row in _ROWS if "commands" in row]
    assert len(commands) > 100
    # an argument that is empty, as the disks of a backup without any, is lost when the line is read
    assert all(transfer.write(transfer.read(one)).rstrip() == re.sub(" +", " ", one.rstrip()) for one in commands)


def test_a_transfer_script_is_split_at_blanks_alone() -> None:
    """Comments and empty lines are passed over, quotes are characters, a line of one word has no driver."""
    script = "# a comment\n\n  \t\n  CLONE.ssh  ceph 'a b' x\t3\nDELETE\n"
    assert transfer.read(script) == [Command("clone.ssh", "ceph", ("'a", "b'", "x", "3")), Command("delete", "")]
    assert transfer.path("/var/lib/one/vms", 7, 2, "epilog") == "/var/lib/one/vms/7/transfer.2.epilog"


@pytest.mark.parametrize(("contract", "line"), [("5.12", b"TRANSFER 23 /t\n"), ("6.0", b"TRANSFER  23 /t\n"), ("7.4", b"TRANSFER  23 /t\n")])
def test_the_status_of_a_request_depends_on_the_release(contract: str, line: bytes) -> None:
    """Since 6.0 an empty status makes two blanks; both are read alike. The two lines that frame a session have neither."""
    parts = for_contract(contract).request_line
    assert write_request(Request("TRANSFER", 23, "/t"), parts) == line
    assert read_request(text(line).rstrip("\n")) == Request("TRANSFER", 23, "/t")
    assert write_request(Request("INIT"), parts) == b"INIT\n"
    assert read_request("driver_cancel 5") == Request("DRIVER_CANCEL", 5)
    assert read_request("TRANSFER - 31 /x") == Request("TRANSFER", 0, "31 /x")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("INIT SUCCESS - -", Answer("INIT", True, -1, "-")),
        ("TRANSFER FAILURE 3 no  space left", Answer("TRANSFER", False, 3, "no  space left")),
        ("CLEANUP SUCCESS 113 ", Answer("CLEANUP", True, 113, "")),
        ("LOG I 4 ", Log("I", 4, "")),
        ("LOG E - lost", Log("E", -1, "lost")),
    ],
)
def test_answers(line: str, found: object) -> None:
    """The parts of an answer; what follows the number is kept as it is."""
    assert read_answer(line) == found


@pytest.mark.parametrize(
    "line", ["", "\x00\x01", "hello world", "CP MAYBE 3 x", "CP SUCCESS x y", "cp SUCCESS 3 -", "LOG X 3 text", "CP", "CP SUCCESS", "\udcff"]
)
def test_rubbish_is_a_value(line: str) -> None:
    """What cannot be read comes back with the reason."""
    found = read_answer(line)
    assert isinstance(found, Unreadable) and found.why


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    """Whatever a program prints, reading it gives values, and nothing is lost on the way."""
    lines = Lines()
    whole = lines.feed(data)
    assert b"\n".join([*whole, bytes(lines.buffer)]) == data
    for line in whole:
        assert raw(text(line)) == line
        read_answer(text(line))
        read_request(text(line))
        transfer.read(text(line))


def test_a_line_without_end_is_cut() -> None:
    """It comes out once, is refused for its length, and what follows its newline is read again."""
    lines = Lines()
    assert lines.feed(b"x" * 10) == []
    (long,) = lines.feed(b"x" * LINE_MAX)
    assert read_answer(text(long)) == Unreadable("x" * 200, "too long")
    assert lines.feed(b"x" * LINE_MAX) == [] and len(lines.buffer) == 0
    assert lines.feed(b"rest\nCP SUCCESS 1 a\n") == [b"CP SUCCESS 1 a"]


@pytest.mark.parametrize(
    ("ended", "errors", "encodes", "answer"),
    [
        (Ended(0, "/d/1 raw\n", "noise"), "plain", False, "/d/1 raw\n"),
        (Ended(0), "plain", False, "-"),
        (Ended(0), "plain", True, "LQ=="),
        (Ended(1, "/d/1", "INFO: x\nplain one\nERROR: y\nplain two\n"), "plain", False, "plain oneplain two"),
        (Ended(1, "", "INFO: x\nplain one\n"), "whole", False, "INFO: x plain one"),
        (Ended(1, "", "ERROR MESSAGE --8<------\nwhy\nERROR MESSAGE ------>8--\n"), "separated", False, "why"),
        (Ended(255), "plain", False, "-"),
    ],
)
def test_the_text_of_an_answer(ended: Ended, errors: str, encodes: bool, answer: str) -> None:
    """stdout of what succeeded; of what failed the error text as the release finds it."""
    assert info(ended, errors, encodes=encodes) == answer


def test_the_recorded_error_texts() -> None:
    """The driver of the recordings wrote an error block to stderr; each release's program made of it what ours makes."""
    seen = set()
    for row in _ROWS:
        found = re.search(r"ERROR MESSAGE --8<------( ?)(recorded fault in [^ ]+?)( ?)ERROR MESSAGE ------>8--$", row["line"])
        if row["dir"] == "oned" and row["mad"] in ("tm", "datastore") and found:
            stderr = f"ERROR MESSAGE --8<------\n{found[2]}\nERROR MESSAGE ------>8--\n"
            spec = for_contract(_contract(row["version"]))
            answer = read_answer(row["line"])
            assert isinstance(answer, Answer) and info(Ended(1, "", stderr), spec.contract.error) == answer.info
            seen.add(row["version"])
    assert seen == {"6.4.0", "7.0.1", "7.4.0"}


def test_what_is_logged() -> None:
    """Of a failure all of stderr; since 7.0 log lines always, under their own number."""
    failed = Ended(1, "", "ERROR: 42 broken\nplain\n")
    assert [write_log(log) for log in logs(failed, "whole", 7, "/x/clone")] == [
        b"LOG I 7 Command execution failed (exit code: 1): /x/clone\n",
        b"LOG E 7 42 broken\n",
        b"LOG I 7 plain\n",
    ]
    assert list(logs(failed, "plain", 7, "/x/clone"))[-1] == Log("E", 42, "broken")
    assert list(logs(Ended(0, "", "WARN: slow\n"), "plain", 7, "x")) == [Log("W", -1, "slow")]
    assert list(logs(Ended(0, "", "WARN: slow\n"), "whole", 7, "x")) == []
