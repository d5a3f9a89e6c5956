"""No file of a run holds a secret, in any form in which one may travel, and what is judged by secrets is judged all the same."""

from __future__ import annotations

import base64
import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import msgspec
import pytest
from planting import PLANTED, command

from onereport.results import RequirementVerdict, ResultRecord
from onesim.journal import BlobStore, Writer, read
from onesim.records import Call, Command, Header, Question, Record
from onesim.redaction import MARK, Redaction
from onesim.spec import load

TABLES = load().secrets


def shown(data: bytes, depth: int = 0) -> Iterator[str]:
    """Yield the planted secrets that stand in bytes: plain, as XML and in URLs, and in base64 of any depth, found by another way than that of the code."""
    for secret in PLANTED:
        if any(form.encode() in data for form in (secret, escape(secret), quote(secret), quote(secret, safe=""))):
            yield secret
    for found in re.finditer(rb"[A-Za-z0-9+/]{10,}={0,2}", data) if depth < 3 else ():
        for start in range(4):  # it may begin behind other letters
            text = found.group().rstrip(b"=")[start:]
            text = text[: len(text) - (len(text) % 4 == 1)]
            data = base64.b64decode(text + b"=" * (-len(text) % 4))
            yield from shown(data, depth + 1)
            with contextlib.suppress(zlib.error):  # the report packs some parts
                yield from shown(zlib.decompressobj(-15).decompress(data), depth + 1)


def test_the_search_of_this_test_finds_what_is_planted() -> None:
    """Else it would prove nothing."""
    assert set(shown(base64.b64encode(b"x" + base64.b64encode(b"<A>planted five</A>")))) == {"planted five"}
    assert set(shown(b"<A>planted &lt;one&gt; &amp; 'more'</A>")) == {PLANTED[0]}


def test_no_file_of_a_run_holds_a_secret(run: Path) -> None:
    """Log, blobs, results, every report; names of files too. And the secrets were there: their words stand where they stood."""
    files = [path for path in run.rglob("*") if path.is_file() and "spec" not in path.relative_to(run).parts]
    assert len(files) > 10
    assert {path.name: secrets for path in files if (secrets := set(shown(path.read_bytes() + path.name.encode())))} == {}
    log = (run / "history.jsonl").read_text()
    for word in ("ACME_PASSWORD", "RESTIC_PASSWORD", "ACME_API_KEY", "ARRAY_TOKEN", "PASSWORD"):
        coded = base64.b64encode(f"{MARK}{word}".encode()).decode()
        assert f"{MARK}{word}" in log or coded in log


def test_the_bundle_of_a_run_holds_no_secret(run: Path, tmp_path: Path) -> None:
    """The vendor's description is in it, without them."""
    assert command("bundle", str(run), "-o", str(tmp_path / "x.onetck")).returncode == 0
    with zipfile.ZipFile(tmp_path / "x.onetck") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert {name: secrets for name, data in files.items() if (secrets := set(shown(data)))} == {}
    described = msgspec.toml.decode(files["onetck.toml"])
    assert described["image_datastore"] == {"ACME_PASSWORD": f"{MARK}ACME_PASSWORD", "RESTIC_PASSWORD": f"{MARK}RESTIC_PASSWORD"}
    assert described["secret"] == {"ARRAY_TOKEN": {"env": "PLANTED_TOKEN"}}
    assert described["etc"] == {"tm/acme.conf": f"PASSWORD={MARK}PASSWORD\n"}


def test_a_driver_that_shows_a_secret_is_found_out_all_the_same(run: Path) -> None:
    """GEN-LOG-003 is judged by the words that stand for the values."""
    verdicts = {one.requirement: one.verdict for one in read(run / "results.jsonl", ResultRecord) if isinstance(one, RequirementVerdict)}
    assert verdicts["GEN-LOG-003"] == "fail"


def test_arguments_of_commands_lose_secrets_that_nobody_has_named(run: Path) -> None:
    """The user of curl stays, the password and the token do not."""
    calls = [one for one in read(run / "history.jsonl", Record) if isinstance(one, Call)]
    (command,) = [one for call in calls for one in call.commands if one.name == "curl"]
    assert f"bob:{MARK}ARRAY_TOKEN" in command.argv
    assert f"X-Auth-Token: {MARK}X-Auth-Token" in command.argv


ARGUMENTS = [
    (("curl", "-ubob:hunter2", "http://h/"), ("curl", f"-ubob:{MARK}u", "http://h/")),
    (("curl", "--user", "bob", "h"), ("curl", "--user", "bob", "h")),
    (("wget", "https://bob:hunter2@h/x?token=hunter2&y=1"), ("wget", f"https://bob:{MARK}userinfo@h/x?token={MARK}token&y=1")),
    (("sshpass", "-p", "hunter2", "ssh", "h"), ("sshpass", "-p", f"{MARK}p", "ssh", "h")),
    (("ssh", "h", "rbd --key hunter2 ls 'a b'"), ("ssh", "h", f"rbd --key {MARK}key ls 'a b'")),
    (("x", "--password=hunter2"), ("x", f"--password={MARK}password")),
    (("x", "--data", '{"apiToken": "hunter2", "n": 1}'), ("x", "--data", f'{{"apiToken": "{MARK}apiToken", "n": 1}}')),
    (("qemu-img", "create", "--object", "secret,id=s,data=hunter2"), ("qemu-img", "create", "--object", f"secret,id=s,data={MARK}object")),
    (("x", "--password-file", "/root/key", "TOKEN_FILE=/root/t", "PASSWORD=$SET"), ("x", "--password-file", "/root/key", "TOKEN_FILE=/root/t", "PASSWORD=$SET")),
    (("cp", "-p", "a", "b"), ("cp", "-p", "a", "b")),
]  # fmt: skip


@pytest.mark.parametrize(("given", "clean"), ARGUMENTS, ids=lambda words: words[0] + words[1][:12])
def test_options_headers_and_names_tell_what_is_secret(given: tuple[str, ...], clean: tuple[str, ...]) -> None:
    """By the rows of the table; what only looks alike stays."""
    assert Redaction(TABLES).argv(given) == clean


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: secret,
        lambda secret: escape(secret),
        lambda secret: quote(secret, safe=""),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(b"??>" + secret.encode()).decode(),
        lambda secret: "/var/one/" + base64.b64encode(base64.b64encode(secret.encode())).decode(),
        lambda secret: base64.encodebytes(b"x" * 70 + secret.encode()).decode(),
        lambda secret: base64.b64encode(zlib.compress(secret.encode())).decode(),
    ],
)
def test_a_known_value_is_found_in_every_form(form: object) -> None:
    """Plain, XML, URL, base64 of both alphabets, twice, behind a path, in lines, packed as messages to the monitor daemon are."""
    secret = "p&ss w<rd'é"
    assert callable(form)
    text = f"before {form(secret)} after"
    clean = Redaction(TABLES, [("X", secret)]).text(text)
    assert clean != text and clean.startswith("before") and clean.endswith("after")
    assert form(secret) not in clean


def test_what_is_cut_in_the_midst_of_a_secret_does_not_end_with_its_beginning(tmp_path: Path) -> None:
    """Output that a limit has cut, and lines that are cut."""
    redaction = Redaction(TABLES, [("X", "a long secret")])
    blob = BlobStore(tmp_path, redaction).put(b"text a long sec", 4000)
    assert (blob.text, blob.size, blob.bytes_seen) == (f"text {MARK}X", 15, 4000 - 15 + 15)
    assert redaction.text("." * 300 + "a long", cut=True).endswith(f"{MARK}X")


def test_a_short_value_is_replaced_behind_its_name_alone() -> None:
    """It would be found in words that have nothing to do with it."""
    redaction = Redaction(TABLES, [("PASSWORD", "no")])
    assert redaction.text("<PASSWORD><![CDATA[no]]></PASSWORD> no nothing") == f"<PASSWORD><![CDATA[{MARK}VALUE]]></PASSWORD> no nothing"


def test_records_are_equal_but_for_the_secrets(tmp_path: Path) -> None:
    """What is redacted reads as the record that it was, and one value has one word everywhere."""
    call = Call(
        "c",
        0,
        0,
        "ds",
        "fs",
        "cp",
        "/cp",
        "frontend",
        ("a secret",),
        {"x": "a secret"},
        True,
        "exit",
        commands=(Command("x", ("x", "a secret"), "h"),),
    )
    header = Header(
        2, "onetck", "7.4", "7.4.0", "/a secret", "fs", "shared", "shared", 0, 0.0, "", "", command=("onetck", "--mad", "tm=x --token abcdef")
    )
    question = Question("c", 0, "command", ("onevm", "a secret"), 0)
    writer = Writer(tmp_path / "log", Redaction(TABLES, [("X", "a secret")]))
    for record in (header, call, question):
        writer.write(record)
    writer.close()
    told, called, asked = read(tmp_path / "log", Record)
    word = f"{MARK}X"
    assert called == msgspec.structs.replace(call, argv=(word,), arguments={"x": word}, commands=(Command("x", ("x", word), "h"),))
    assert told == msgspec.structs.replace(header, driver=f"/{word}", command=("onetck", "--mad", f"tm=x --token {MARK}token"))
    assert asked.argv == ("onevm", word)
    plain = Writer(tmp_path / "plain", Redaction(TABLES))
    plain.write(call)
    plain.close()
    assert list(read(tmp_path / "plain", Record)) == [call]
