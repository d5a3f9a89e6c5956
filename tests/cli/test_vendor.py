"""A vendor's start: a driver under the vendor's name that passes at once, a statement that says what it can, and what disagrees with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.spec import load
from onetck.setting import Given, Setting, settle
from onetck.starting import Start, alone, begin, roles
from onetck.statement import disagreements, draft, read_statement, render

REFERENCE = data_dir("reference_driver")


def onetck(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run([sys.executable, "-m", "onetck.cli", *words], capture_output=True, text=True, timeout=280, check=False)


def of_role(role: str) -> Setting:
    """Return the setting of a role of the reference driver."""
    return settle(Given(config=REFERENCE / ("onetck.toml" if role == "shared" else f"{role}.toml")))


def test_a_new_driver_is_conformant_from_the_first_minute(tmp_path: Path) -> None:
    """`onetck init` and `onetck run`, and nothing else: the verdict is that of the reference driver, and the statement agrees with what is there."""
    made = onetck("init", str(tmp_path / "acme"), "--name", "acme_san", "--vendor", "Acme")
    assert made.returncode == 0, made.stderr
    run = onetck("run", str(tmp_path / "acme"), "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "CONFORMANT" in run.stdout
    assert "statement.toml" not in run.stderr


@pytest.mark.parametrize("role", [role for role in roles() if alone(of_role(role))])
def test_what_is_not_written_yet_is_refused(role: str, tmp_path: Path) -> None:
    """Every action beyond the core has a script that refuses it in one line, and the statement lists it; no other driver comes along."""
    setting = begin(Start(tmp_path / "acme", "acme", role))
    assert setting.statement is not None
    assert "core" in setting.claimed.split(",")
    assert setting.driver.mads() == {"datastore": ["acme"], "tm": ["acme"]}
    assert not list(disagreements(setting.statement, setting.spec, setting.driver, shared=setting.shared))
    for action in setting.statement.refuses:
        family, _, name = action.partition("/")
        script = tmp_path / "acme/remotes" / {"ds": "datastore"}.get(family, family) / "acme" / name
        run = subprocess.run([script], input="", capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout) == (1, "")
        assert f"does not support {name}" in run.stderr


def test_every_role_keeps_its_whole_driver_where_its_profiles_are_asked_for(tmp_path: Path) -> None:
    """With a role's own profiles nothing of them is refused."""
    for role in roles():
        reference = of_role(role)
        if not alone(reference):
            continue
        setting = begin(Start(tmp_path / role, "acme", role, reference.claimed))
        assert set(setting.claimed.split(",")) >= set(reference.claimed.split(","))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (Start(Path("x"), "Acme-SAN"), "lower case"),
        (Start(Path("x"), "../x"), "lower case"),
        (Start(Path("x"), "acme", "tape"), "choose one of shared"),
        (Start(Path("x"), "acme", "mixed"), "several drivers together"),
        (Start(Path("x"), "acme", "restic"), "several drivers together"),
        (Start(Path("/etc"), "acme"), "holds something"),
        (Start(Path("/etc/passwd"), "acme"), "holds something"),
        (Start(Path("x"), "acme", "shared", "gold"), "profile 'gold' is unknown"),
    ],
)
def test_what_cannot_be_begun_is_said(start: Start, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, roles, profiles and directories that will not do; nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        begin(start)
    assert not list(tmp_path.iterdir())


def test_a_statement_is_read_as_it_is_written(tmp_path: Path) -> None:
    """The draft of the reference driver says what it has, and comes back equal."""
    setting = settle(Given([REFERENCE]))
    stated = draft(setting.spec, setting.driver, shared=True, vendor='A "quoted" vendor', version="1")
    assert "core" in stated.profiles
    (tmp_path / "statement.toml").write_text(render(stated))
    assert read_statement(tmp_path / "statement.toml", load()) == stated


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"core"', '"gold"', "profile 'gold' is unknown"),
        ('"7.4"', '"9.9"', "contract '9.9' is unknown"),
        ("vendor =", "seller =", "seller"),
        ('"ds/export"', '"ds/sell"', "action 'ds/sell' is unknown"),
        ('"core"', "7", "Expected"),
    ],
)
def test_a_wrong_statement_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    """Unknown keys, names and types: one message that names the file."""
    begin(Start(tmp_path / "acme", "acme"))
    path = tmp_path / "acme/statement.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    run = onetck("run", str(tmp_path / "acme"), "--out", str(tmp_path / "out"))
    assert run.returncode == 4
    assert "statement.toml" in run.stderr
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_disagreements_are_told_both_ways(tmp_path: Path) -> None:
    """What is claimed and refused, and what is there and not claimed."""
    setting = begin(Start(tmp_path / "acme", "acme"))
    assert setting.statement is not None
    (tmp_path / "acme/remotes/tm/acme/cpds").write_text('#!/bin/bash\ncp -- "$1" "$2"\n')
    found = settle(Given([tmp_path / "acme"], contract="6.4"))
    assert found.statement is not None
    said = list(disagreements(found.statement, found.spec, found.driver, shared=True))
    assert any("tm/cpds is refused, but the driver has it" in one for one in said)
    assert any("does not claim the contract 6.4" in one for one in said)
