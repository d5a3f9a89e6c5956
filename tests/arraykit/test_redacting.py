"""What goes on a tape holds no secret, and is answered all the same; the kit is one file that needs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onesim.arraykit.packing import packed
from onesim.arraykit.redacting import Secrets

SECRET = "s3cr3t-of-the-array"


@pytest.mark.parametrize(
    "words",
    [
        ["arrayctl", "--password", SECRET, "show"],
        ["arrayctl", f"--password={SECRET}", "show"],
        ["arrayctl", f"API_TOKEN={SECRET}", "show"],
        ["arrayctl", "--at", f"https://admin:{SECRET}@array/", "show"],
        ["curl", "-u", f"admin:{SECRET}", "https://array/"],
        ["curl", f"-uadmin:{SECRET}", "https://array/"],
        ["curl", "-H", f"Authorization: Bearer {SECRET}", "https://array/"],
    ],
)
def test_a_command_line_keeps_all_but_its_secret(words: list[str]) -> None:
    """Proves for each way in which a secret is given that it is gone, and that the other words stand."""
    clean = Secrets().argv(words)
    assert SECRET not in " ".join(clean) and "REDACTED-" in " ".join(clean)
    assert [one for one, was in zip(clean, words, strict=True) if SECRET not in was] == [one for one in words if SECRET not in one]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"user": "admin", "session": [{"access_token": SECRET}]}),
        f"user=admin\npassword = {SECRET}\n",
        f"<a><user>admin</user><password>{SECRET}</password></a>",
    ],
    ids=["json", "text", "xml"],
)
def test_an_answer_keeps_all_but_its_secret(text: str) -> None:
    """Proves for JSON, text and XML that a secret is gone by its name, where the same answer holds it again too, and that the rest stands."""
    row = {"request": f"GET /v?at={SECRET}", "answer": {"status": 200, "headers": {"x-auth-token": SECRET}, "body": {"text": text}}}
    told = json.dumps(Secrets().exchange(row))
    assert SECRET not in told and "admin" in told and "REDACTED-x-auth-token" in told


def test_what_is_no_secret_stands() -> None:
    """Proves that names which only say where a secret lies, and words that are like one, are left."""
    for text in ("PASSWORD_FILE=/etc/array/password", "a compass=north", '{"size": 4, "name": "one-1"}', "key value"):
        assert Secrets().text(text) == text
        assert Secrets().content({"text": text}) == {"text": text}


def test_one_file_records_without_the_secret_and_answers_to_another_one(tmp_path: Path) -> None:
    """Proves that the packed kit runs without the installation, and that a call with another password is met by what was recorded with the first."""
    program, tape, lab = tmp_path / "array-kit", tmp_path / "tape.jsonl", tmp_path / "arrayctl"
    program.write_bytes(packed())
    assert packed() == program.read_bytes()
    lab.write_text('#!/bin/sh\necho "token: $2 of $3"\n')
    lab.chmod(0o755)

    def call(how: str, password: str) -> tuple[int, str, str]:
        command = [sys.executable, "-I", "-S", program, how, "--tape", tape, "--", lab, "--password", password, "show"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert call("record", SECRET) == (0, f"token: {SECRET} of show\n", "")
    assert SECRET not in tape.read_text()
    status, out, err = call("replay", "another-secret")
    assert (status, err) == (0, "") and out.startswith("token: REDACTED-") and out.endswith(" of show\n")
