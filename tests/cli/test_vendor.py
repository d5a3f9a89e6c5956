"""A vendor's start: a driver under the vendor's name that passes at once, a statement that says what it can, and what disagrees with it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.spec import load
from onetck.setting import Given, Setting, settle
from onetck.starting import Start, backups, begin, roles
from onetck.statement import disagreements, draft, read_statement, render

REFERENCE = data_dir("reference_driver")


def onetck(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run([sys.executable, "-m", "onetck.cli", *words], capture_output=True, text=True, timeout=280, check=False)


def of_role(role: str) -> Setting:
    """Return the setting of a role of the reference driver."""
    return settle(Given(config=REFERENCE / ("onetck.toml" if role == "shared" else f"{role}.toml")))


@pytest.mark.components
def test_a_new_driver_is_conformant_from_the_first_minute(tmp_path: Path) -> None:
    """`onetck init` and `onetck run`, and nothing else: the verdict is that of the reference driver, and the statement agrees with what is there."""
    made = onetck("init", str(tmp_path / "acme"), "--name", "acme_san", "--vendor", "Acme")
    assert made.returncode == 0, made.stderr
    run = onetck("run", str(tmp_path / "acme"), "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "CONFORMANT" in run.stdout
    assert "statement.toml" not in run.stderr


#: What a vendor may begin with, and the drivers that come of it.
BEGUN = [(Start(Path(), "acme", role), ["acme"], ["acme"]) for role in roles() if role not in ("mixed", *backups())]
BEGUN += [(Start(Path(), "acme", "mixed"), ["acme"], ["acme", "acme_ssh"])]
BEGUN += [(Start(Path(), "acme", role), ["acme", "acme_backup"], ["acme"]) for role in backups()]
BEGUN += [(Start(Path(), "acme", "ssh", backup="rsync"), ["acme", "acme_backup"], ["acme"])]
IDS = [start.like + (start.backup and f"-{start.backup}") for start, _, _ in BEGUN]


@pytest.mark.parametrize(("start", "datastore", "tm"), BEGUN, ids=IDS)
def test_what_is_not_written_yet_is_refused(start: Start, datastore: list[str], tm: list[str], tmp_path: Path) -> None:
    """Every action beyond what is kept has a script that refuses it in one line, and the statement lists it; no other driver comes along."""
    setting = begin(replace(start, directory=tmp_path / "acme"))
    assert setting.statement is not None
    assert ({"ds-backup", "tm-backup"} if "acme_backup" in datastore else set()) <= set(setting.claimed.split(","))
    assert setting.driver.mads() == {"datastore": datastore, "tm": tm}
    template = setting.subject.image_template
    assert not list(disagreements(setting.statement, setting.spec, setting.driver, template, shared=setting.shared))
    for action in setting.statement.refuses:
        family, _, name = action.partition("/")
        for mad in {"ds": datastore}.get(family, tm):
            script = tmp_path / "acme/remotes" / {"ds": "datastore"}.get(family, family) / mad / name
            if script.exists():
                run = subprocess.run([script], input="", capture_output=True, text=True, check=False)
                assert (run.returncode, run.stdout) == (1, "")
                assert f"does not support {name}" in run.stderr


@pytest.mark.parametrize("start", [start for start, _, _ in BEGUN], ids=IDS)
def test_no_script_needs_a_driver_that_stayed_behind(start: Start, tmp_path: Path) -> None:
    """Whatever a script reads or goes on in lies in what was made."""
    begin(replace(start, directory=tmp_path / "acme"))
    needed = 0
    for script in (tmp_path / "acme/remotes").glob("*/acme*/*"):
        text = script.read_text().replace("${0##*/}", script.name)
        for found in re.finditer(r'\$\{(?:0|BASH_SOURCE\[0\])%/\*\}/([^"$]+)"', text):
            assert (script.parent / found[1]).exists(), f"{script}: {found[0]}"
            needed += 1
    assert needed > 20


CASES = {
    "mixed": (Start(Path(), "acme", "mixed"), ("vm-example",)),
    "restic": (Start(Path(), "acme", backup="restic"), ("vm-example", "backup-full")),
    "libvirt_pool": (Start(Path(), "acme", "libvirt_pool"), ("vm-example", "vm-files")),
}


@pytest.mark.whole
@pytest.mark.parametrize("role", CASES)
def test_drivers_that_belong_together_pass_under_their_new_names(role: str, tmp_path: Path) -> None:
    """They find each other and their modes: what cases of the role reach is as with the reference driver."""
    start, cases = CASES[role]
    begin(replace(start, directory=tmp_path / "acme"))
    run = onetck("run", str(tmp_path / "acme"), "--out", str(tmp_path / "out"), *(word for name in cases for word in ("--case", name)))
    assert ", 0 failed, 0 warned" in run.stdout, run.stdout + run.stderr
    assert " 0 errors" in run.stdout


def test_every_role_keeps_its_whole_driver_where_its_profiles_are_asked_for(tmp_path: Path) -> None:
    """With a role's own profiles nothing of them is refused."""
    for role in roles():
        reference = of_role(role)
        setting = begin(Start(tmp_path / role, "acme", role, reference.claimed))
        assert set(setting.claimed.split(",")) >= set(reference.claimed.split(","))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (Start(Path("x"), "Acme-SAN"), "lower case"),
        (Start(Path("x"), "../x"), "lower case"),
        (Start(Path("x"), "acme", "tape"), "choose one of shared"),
        (Start(Path("x"), "acme", backup="ceph"), "keeps no backups; choose one of backup, restic, rsync"),
        (Start(Path("x"), "acme", backup="tape"), "keeps no backups"),
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


def test_a_directory_that_is_a_link_is_a_driver(tmp_path: Path) -> None:
    """OpenNebula's `tm/shared` is a link to `tm/qcow2`: it has that driver's actions, refuses what it refuses, and stands in the list of drivers."""
    begin(Start(tmp_path / "acme", "acme"))
    remotes = tmp_path / "acme/remotes"
    (remotes / "tm/acme").rename(remotes / "tm/other")
    (remotes / "tm/acme").symlink_to("other")
    found = settle(Given([tmp_path / "acme"], tm="acme"))
    assert found.statement is not None
    assert found.driver.mads()["tm"] == ["acme", "other"]
    assert not list(disagreements(found.statement, found.spec, found.driver, shared=True))


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("#!/bin/bash\n" + "# a licence, of which each script has a copy\n" * 40 + 'cat >/dev/null\necho "cpds: Operation not supported" >&2\nexit 1\n', True),
        ("#!/bin/bash\n# an older format is not supported\ncp -- \"$1\" \"$2\"\n", False),
        ("#!/bin/bash\n" + 'one=${1%%:*} two=${1#*:}\n' * 40 + '[[ $one ]] || { echo "not supported" >&2; exit 1; }\ncp -- "$two" "$2"\n', False),
    ],
    ids=["licence", "remark", "branch"],
)  # fmt: skip
def test_a_script_that_only_refuses_is_told_by_what_it_does(text: str, refused: bool, tmp_path: Path) -> None:
    """A packaged driver has copies in place of links to `not_supported`, each under its licence; comments decide nothing, nor does one branch of many."""
    setting = begin(Start(tmp_path / "acme", "acme"))
    (tmp_path / "acme/remotes/tm/acme/cpds").write_text(text)
    assert setting.driver.refuses("tm/cpds") == refused
    assert setting.driver.has("tm/cpds") != refused
