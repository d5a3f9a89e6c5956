"""The commands that read: spec, explain and validate, as a user meets them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from onereport.results import VERDICTS
from onesim.data import data_dir
from onesim.spec import load

SAMPLE = (Path(__file__).parents[1] / "documents" / "data" / "oned-7.4.0-cp.xml").read_text()
DOCUMENT = SAMPLE[SAMPLE.index("<DS_DRIVER_ACTION_DATA") :].strip().encode()
TRACE = (data_dir("spec") / "traces" / "vm-example.jsonl").read_bytes()


def onetck(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run the command line. Returns exit code, stdout and stderr."""
    run = subprocess.run([sys.executable, "-m", "onetck.cli", *words], input=stdin, capture_output=True, timeout=60, check=False)
    return run.returncode, run.stdout.decode(), run.stderr.decode()


@pytest.mark.parametrize(
    ("stdin", "words", "code", "said"),
    [
        (DOCUMENT, (), 0, "ds/cp, in order for 7.4"),
        (base64.b64encode(DOCUMENT), (), 0, "ds/cp in base64, in order"),
        (base64.encodebytes(DOCUMENT), (), 0, "ds/cp in base64, in order"),
        (DOCUMENT.replace(b"<STATE>4", b"<STATE>44"), (), 1, "-:1: ds/cp: /DS_DRIVER_ACTION_DATA/IMAGE/STATE"),
        (DOCUMENT, ("--contract", "5.12"), 1, "MODTIME"),
        (DOCUMENT, ("--as", "ds/stat"), 1, "/DS_DRIVER_ACTION_DATA/IMAGE"),
        (b"USED_MB=1 TOTAL_MB=2 FREE_MB=1\n", (), 0, "monitor, in order"),
        (b"USED_MB=1, TOTAL_MB=2\n", (), 1, "DS-MON-002"),
        (b'{"0": "restic://100/12/0:abc/var/lib/one/datastores/0/7/backup/disk.0.0"}', (), 0, "ls, in order"),
        (b'{"0": "nowhere"}', (), 1, "ls: "),
        (b"<IMPORT_INFO><IMPORT_SOURCE>/x</IMPORT_SOURCE><SIZE>1</SIZE></IMPORT_INFO>", (), 0, "IMPORT_INFO, in order"),
        (b"<IMPORT_INFO><DISPOSE_CMD><<![CDATA[x]]>/DISPOSE_CMD></IMPORT_INFO>", (), 1, "not well-formed"),
        (b'<pool type="rbd"><name>x</name><source/></pool>', (), 1, "a pool of type 'rbd' needs"),
        (TRACE, (), 0, "trace, in order"),
        (TRACE + b'{"op": "vm.fly"}\n', (), 1, "operation 'vm.fly' is unknown"),
        (b"/var/lib/one/x raw\n", ("--as", "result/cp"), 0, "result/cp, in order"),
        (b"hello", (), 1, "cannot be told from its content"),
        (b"", (), 1, "the document is empty"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><VM>&a;</VM>", (), 1, "document type declaration"),
        (b"<a>" * 200_000, (), 1, "well-formed"),
        (b"\0" * 9_000_000, (), 1, "bytes"),
        (DOCUMENT, ("--as", "ds/fly"), 4, "choose one of"),
    ],
    ids=range(22),
)  # fmt: skip
def test_validate_tells_what_a_document_is_and_where_it_is_wrong(stdin: bytes, words: tuple[str, ...], code: int, said: str) -> None:
    """One line if it is in order, else line, path, message and remedy for each problem; exit 0, 1, or 4 for a wrong request."""
    seen, out, err = onetck("validate", "-", *words, stdin=stdin)
    assert seen == code
    assert said in out + err
    assert "Traceback" not in err
    assert code != 1 or "remedy: " in out


def test_validate_takes_several_files_and_prints_json(tmp_path: Path) -> None:
    """Every file has a finding; one wrong file makes the exit code."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(DOCUMENT)
    bad.write_bytes(DOCUMENT.replace(b"<PERSISTENT>0", b"<PERSISTENT>no"))
    code, out, _ = onetck("validate", str(good), str(bad), "--json")
    findings = json.loads(out)
    assert code == 1
    assert [(one["kind"], len(one["problems"])) for one in findings] == [("ds/cp", 0), ("ds/cp", 1)]
    assert findings[1]["problems"][0]["path"] == "/DS_DRIVER_ACTION_DATA/IMAGE/PERSISTENT"
    code, _, err = onetck("validate", str(tmp_path / "nowhere"))
    assert code == 4 and "nowhere" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DS-CP-001", "DS-CP-001 (MUST, ds/cp)"),
        ("ds-cp-001", "checked by succeeds"),
        ("D-13", "what to do: "),
        ("blocked", "never counts as passed"),
        ("3", "no verdict"),
        ("exit 1", "not conformant"),
    ],
)
def test_explain_says_what_an_id_means(name: str, said: str) -> None:
    """Requirements, discrepancies, verdicts and exit codes."""
    code, out, _ = onetck("explain", *name.split(" ", 0))
    assert code == 0 and said in out


def test_explain_names_what_is_near() -> None:
    """A wrong id ends in one line with near ones, and exit code 4."""
    code, _, err = onetck("explain", "DS-CPP-001")
    assert code == 4 and "DS-CP-0" in err and err.count("\n") == 1


def test_verdicts_and_exit_codes_are_those_of_the_results() -> None:
    """The table that explains them names exactly those that a run can give."""
    assert set(load().verdicts) == set(VERDICTS)
    assert set(load().exits) == set(range(8))


@pytest.mark.parametrize("name", ["", "tm/clone", "TM-CLONE-001", "vm.migrate", "D-01", "cp"])
def test_spec_shows_one_thing_or_all(name: str) -> None:
    """The overview, an action, a requirement, an operation, a discrepancy."""
    code, out, _ = onetck("spec", *([name] if name else []))
    assert code == 0 and (name.rpartition("/")[2] or "ds/cp") in out


def test_spec_writes_schemas_that_other_tools_take(tmp_path: Path) -> None:
    """libxml2 judges a recorded document by the written XSD as we do; a broken one too."""
    code, out, _ = onetck("spec", "--xsd", str(tmp_path / "xsd"), "--contract", "7.4")
    assert code == 0 and "schemas in" in out
    schema = etree.XMLSchema(etree.parse(str(tmp_path / "xsd" / "ds-cp.xsd")))
    assert schema.validate(etree.fromstring(DOCUMENT))
    assert not schema.validate(etree.fromstring(DOCUMENT.replace(b"<STATE>4", b"<STATE>44")))
    assert etree.XMLSchema(etree.parse(str(tmp_path / "xsd" / "libvirt" / "pool.xsd"))) is not None


def test_spec_writes_a_site_and_nothing_over_other_files(tmp_path: Path) -> None:
    """The site has its index; a directory with other files is refused with one line."""
    code, out, _ = onetck("spec", "--html", str(tmp_path / "site"))
    assert code == 0 and Path(out.strip()).is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    code, _, err = onetck("spec", "--html", str(tmp_path / "mine"))
    assert code == 4 and "other files" in err
    code, _, err = onetck("spec", "tm/clne")
    assert code == 4 and "tm/clone" in err
