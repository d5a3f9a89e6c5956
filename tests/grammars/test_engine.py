"""The table of grammars and the engine around them: nothing early, everything bounded, whose fault is whose."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
import zlib

import pytest

from onesim import grammars
from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.grammar_values import Datagram, Location

_LINES = {"newest": "7.4.0", "oldest": "5.12.13"}


def test_nothing_is_imported_before_it_is_needed() -> None:
    """Importing the module and the simulated oned leaves lark and jsonschema alone."""
    code = "import sys, onesim.grammars, onesim.oned; sys.exit(any(name in sys.modules for name in ('lark', 'jsonschema')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("version", _LINES.values(), ids=_LINES)
def test_every_row_compiles(version: str) -> None:
    """Every kind of text of a release has exactly one row, whose grammar compiles and whose start exists."""
    for name in grammars.names(version):
        assert grammars.grammar(name, version).name == name
        assert isinstance(grammars.problems(name, "\x01", version), list)


def test_every_file_has_a_row() -> None:
    """No grammar lies about that nobody reads."""
    used = {row.file for row in grammars._tables().grammar} | {"common.lark"}
    assert used == {path.name for path in (data_dir("schemas") / "grammars").iterdir()}


@pytest.mark.parametrize(("name", "version"), [("nonsense", "7.4.0"), ("datagram", "5.10.0"), ("result/backup", "6.4.0"), ("error_block", "6.0.3")])
def test_an_unknown_text_is_our_fault(name: str, version: str) -> None:
    """A kind of text that a release does not have is an error of the table or of the caller, in one line."""
    with pytest.raises(SpecError) as caught:
        grammars.parse(name, "", version)
    assert "\n" not in str(caught.value)


def test_error_blocks_end_in_each_line() -> None:
    """The change came to two release lines: 6.0.3 and 6.1.80."""
    assert "error_block" in grammars.names("6.0.2")
    assert "error_block" not in grammars.names("6.0.3")
    assert "error_block" not in grammars.names("6.2.0")


def _datagram(payload: bytes) -> str:
    return f"MONITOR_VM SUCCESS -1 0 {base64.b64encode(payload).decode()}"


def test_a_datagram_is_decoded() -> None:
    """Base64 and zlib are undone, and a line feed at the end does no harm."""
    assert grammars.parse("datagram", _datagram(zlib.compress(b"VM=[ID=1]")) + "\n") == Datagram("MONITOR_VM", "SUCCESS", -1, 0, "VM=[ID=1]")


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        (zlib.compress(b"\0" * 40_000_000), "inflates"),
        (zlib.compress(b"VM=[ID=1]")[:-3], "cut"),
        (b"VM=[ID=1]", "zlib"),
        (zlib.compress(b"\xff\xfe"), "encrypted"),
    ],
    ids=["bomb", "cut", "not compressed", "not text"],
)
def test_a_bad_payload_is_a_problem(payload: bytes, word: str) -> None:
    """A bomb, a cut stream, what is not compressed and what is no text each end in a problem at the payload."""
    (problem,) = grammars.problems("datagram", _datagram(payload))
    assert word in problem.message
    assert problem.path == "column 25"


@pytest.mark.parametrize(
    "text",
    ["A=" + "=" * 60000, 'A="' * 20000, 'A="' + '\\"' * 30000, "A=1 " * 16000, "#" * 65000, "A=1 #" * 13000, "A=[B=" * 12000, "\n" * 65000],
    ids=["equals", "quotes", "escapes", "values", "hashes", "comments", "brackets", "lines"],
)
def test_hostile_templates_take_no_time(text: str) -> None:
    """The longest texts of the worst kinds are done within seconds: no pattern explodes."""
    start = time.process_time()
    grammars.parse("template", text)
    assert time.process_time() - start < 5


def test_too_long() -> None:
    """What is longer than the table says is refused unread, as is a line."""
    assert "70000 characters" in grammars.problems("monitor", "x" * 70000)[0].message
    assert "a line has 200000" in grammars.problems("vm_sizes", "x" * 200000)[0].message
    assert grammars.problems("vm_sizes", 'VM=[ID=1,MONITOR=""]\n' * 4000) == []


def test_huge_numbers() -> None:
    """A number of a thousand digits is read or refused, never raised."""
    assert grammars.problems("size", "9" * 5000)
    assert grammars.problems("monitor", "TOTAL_MB=" + "9" * 5000) == []
    assert grammars.problems("disk_sizes", f"DISK_SIZE=[ID=0,SIZE={'9' * 5000}]")
    assert grammars.problems("datagram", f"MONITOR_VM SUCCESS {'9' * 5000} 0 eJwDAAAAAAE=")
    assert grammars.problems("mad_answer", f"CP SUCCESS {'9' * 5000} x")
    assert grammars.parse("location", f"h:/d/0/{'9' * 5000}/disk.0") == Location("h", f"/d/0/{'9' * 5000}/disk.0", "disk", disk=0)
    assert grammars.problems("backup_url", f"rsync://{'9' * 5000}//0:a/d/0/0/a/disk.0")
