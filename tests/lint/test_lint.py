"""`onetck lint`: each rule finds what it is for in a tree made for it, and is silent where the same tree is right; the reference driver is clean."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.spec import load
from onetck.lint.check import lint
from onetck.lint.findings import Finding, Report
from onetck.setting import Given, settle

REFERENCE = data_dir("reference_driver")
CP, CLONE = "datastore/fs/cp", "tm/shared/clone"
EVERY_CONTRACT = [row.name for row in load().contracts]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the reference driver, to be broken in one way."""
    return Path(shutil.copytree(REFERENCE / "remotes", tmp_path / "remotes", symlinks=True))


def put(tree: Path, name: str, text: str, mode: int = 0o755) -> None:
    """Write a script of the tree."""
    path = tree / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def read(tree: Path, contract: str = "", oned_conf: Path | None = None, *, shellcheck: bool = False) -> Report:
    """Lint the tree as `onetck lint` does."""
    return lint(settle(Given([tree], "fs", "shared", contract=contract)), oned_conf, shellcheck=shellcheck)


def found(tree: Path, rule: str, contract: str = "", oned_conf: Path | None = None) -> list[Finding]:
    """Return what a rule finds."""
    return [one for one in read(tree, contract, oned_conf).findings if one.rule == rule]


@pytest.mark.parametrize("role", sorted(path.stem for path in REFERENCE.glob("*.toml")))
@pytest.mark.parametrize("contract", EVERY_CONTRACT)
def test_the_reference_driver_is_clean(role: str, contract: str) -> None:
    """No error and no warning in any role under any contract."""
    setting = settle(Given(config=REFERENCE / f"{role}.toml", contract=contract))
    assert [one for one in lint(setting).findings if one.level != "note"] == []


SYNTAX = [
    ("#!/bin/bash\nif true; then\n", "#!/bin/bash\nif true; then :; fi\n", 3),
    ("#!/bin/sh\ncase x in\n(a) ;;\n", "#!/bin/sh\ncase x in\n(a) ;;\nesac\n", 4),
    ("#!/usr/bin/env python3\nx = 1\ndef (\n", "#!/usr/bin/env python3\nx = 1\ndef f(): pass\n", 3),
    ("#!/usr/bin/env ruby\nx = 1\ndef f(\n", "#!/usr/bin/env ruby\nx = 1\ndef f() end\n", 0),
    ("#!/usr/bin/perl\nmy $x = 1;\nif ($x {\n}\n", "#!/usr/bin/perl\nmy $x = 1;\nif ($x) {\n}\n", 4),
]


@pytest.mark.parametrize(("wrong", "right", "line"), SYNTAX, ids=["bash", "sh", "python", "ruby", "perl"])
def test_syntax_is_checked_by_the_scripts_own_interpreter(tree: Path, wrong: str, right: str, line: int) -> None:
    """A script that does not parse is found, at its line where the interpreter names one; nothing of it has run."""
    program = wrong.partition("\n")[0].removeprefix("#!").split()[-1]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    put(tree, CP, wrong)
    one = found(tree, "syntax")[0]
    assert (one.file, one.level, one.requirements) == (CP, "error", ("GEN-EXEC-008",))
    assert line in (0, one.line)
    put(tree, CP, right)
    assert found(tree, "syntax") == []


@pytest.mark.parametrize("head", ["#!/bin/bash", "#!/usr/bin/env python3", "#!/usr/bin/env ruby", "#!/usr/bin/perl"])
def test_reading_runs_nothing(tree: Path, tmp_path: Path, head: str) -> None:
    """A script that would leave a trace when it is run, or loaded, leaves none; that goes for perl's BEGIN, which is said."""
    trace = tmp_path / "ran"
    lines = {"bash": f"touch {trace}\n", "python3": f"open('{trace}', 'w')\n", "ruby": f"File.write('{trace}', '')\n"}
    put(tree, CP, f"{head}\n" + lines.get(head.split()[-1].rpartition("/")[2], f"BEGIN {{ open(my $f, '>', '{trace}'); }}\n"))
    report = read(tree)
    assert not trace.exists()
    assert any(one.rule == "unread" for one in report.findings) == head.endswith("perl")


def without_run_bit(tree: Path) -> None:
    """Take the run bit away."""
    path = tree / CP
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o111)


def linked(tree: Path, name: str, target: str) -> None:
    """Put a link in place of a script."""
    (tree / name).unlink()
    (tree / name).symlink_to(target)


def circle(tree: Path) -> None:
    """Let two actions lead to one another."""
    linked(tree, CP, "stat")
    linked(tree, "datastore/fs/stat", "cp")


FILES: list[tuple[str, str, str, Callable[[Path], None], Callable[[Path], None]]] = [
    ("run_bit", "error", CP, without_run_bit, lambda tree: (tree / CP).chmod(0o755)),
    ("interpreter", "error", CP, lambda tree: put(tree, CP, "#!/opt/none/bash\n"), lambda tree: put(tree, CP, "#!/bin/bash\n")),
    ("interpreter", "error", CP, lambda tree: put(tree, CP, "#!/bin/bash\r\nexit 0\r\n"), lambda tree: put(tree, CP, "#!/bin/bash -e\n")),
    ("interpreter", "error", CP, lambda tree: put(tree, CP, "#!/usr/bin/env nobash\n"), lambda tree: put(tree, CP, "#!/usr/bin/env -S bash -e\n")),
    ("no_first_line", "warn", CP, lambda tree: put(tree, CP, "exit 0\n"), lambda tree: put(tree, CP, "#!/bin/sh\nexit 0\n")),
    ("dangling", "error", CP, lambda tree: linked(tree, CP, "../none/cp"), lambda tree: linked(tree, CP, "stat")),
    ("installed_link", "warn", CP, lambda tree: linked(tree, CP, "/var/lib/one/remotes/none"), lambda tree: linked(tree, CP, "stat")),
    ("loop", "error", CP, circle, lambda tree: linked(tree, CP, "rm")),
    ("loop", "error", "tm/shared/all", lambda tree: (tree / "tm/shared/all").symlink_to(".."), lambda tree: (tree / "tm/shared/all").unlink()),
    ("own_entry", "note", "tm/shared/spy", lambda tree: put(tree, "tm/shared/spy", "#!/bin/sh\n"), lambda tree: put(tree, "tm/shared/spy", "#\n")),
    ("missing", "error", CP, lambda tree: (tree / CP).unlink(), lambda tree: put(tree, CP, "#!/bin/sh\n")),
    (
        "left_out",
        "warn",
        "tm/shared/snap_revert",
        lambda tree: (tree / "tm/shared/snap_revert").unlink(),
        lambda tree: linked(tree, CLONE, "snap_create"),
    ),
    ("left_out", "warn", "tm/shared/restore", lambda tree: (tree / "tm/shared/restore").unlink(), lambda tree: linked(tree, CLONE, "restore")),
]


@pytest.mark.parametrize(("rule", "level", "file", "wrong", "right"), FILES, ids=[f"{row[0]}-{place}" for place, row in enumerate(FILES)])
def test_files(tree: Path, rule: str, level: str, file: str, wrong: Callable[[Path], None], right: Callable[[Path], None]) -> None:
    """What is wrong with a file is found there, once and for that reason; what is right is not."""
    shutil.copytree(tree, tree.parent / "right", symlinks=True)
    wrong(tree)
    assert [(one.level, one.file) for one in found(tree, rule) if one.file == file] == [(level, file)]
    if rule == "loop" and file == "tm/shared/all":
        right(tree)
        assert found(tree, rule) == []
        return
    right(tree.parent / "right")
    assert [one for one in found(tree.parent / "right", rule) if one.file == file] == []


def test_a_refusal_is_said_and_is_no_failure(tree: Path) -> None:
    """A link to a script that refuses is a note; the action then is not missing."""
    put(tree, "tm/refuse.sh", "#!/bin/sh\ncat >/dev/null\necho not supported >&2\nexit 1\n")
    linked(tree, "tm/shared/resize", "../refuse.sh")
    rules = {one.rule: one.level for one in read(tree).findings if one.file == "tm/shared/resize"}
    assert rules == {"refused": "note"}


def test_a_backup_driver_is_not_asked_for_what_it_is_not_for(tmp_path: Path) -> None:
    """A driver that has the actions of backup datastores alone lacks nothing of an image datastore, and is told what it lacks of its own role."""
    folder = tmp_path / "datastore/vault"
    for name in ("backup", "backup_cancel", "restore", "rm", "stat", "monitor", "increment_flatten"):
        put(tmp_path, f"datastore/vault/{name}", "#!/bin/sh\ncat >/dev/null\n")
    put(tmp_path, "datastore/vault/not_supported", "#!/bin/sh\ncat >/dev/null\necho not supported >&2\nexit 1\n")
    for name in ("mkfs", "snap_delete", "snap_revert", "snap_flatten"):
        (folder / name).symlink_to("not_supported")
    report = lint(settle(Given([folder])))
    lacking = {one.file for one in report.findings if one.rule in ("missing", "left_out")}
    assert lacking == {"datastore/vault/ls"}


DOCUMENT_AS_ARGUMENT = "#!/bin/bash\nDRV_ACTION=$1\nID=$2\nbase64 -d <<<$DRV_ACTION\n"
DOCUMENT_ON_STDIN = "#!/bin/bash\nDRV_ACTION=$(cat -)\nID=$1\nbase64 -d <<<$DRV_ACTION\n"
EITHER = '#!/bin/bash\nif [ -n "$2" ] && [ "$1" != - ]; then DRV_ACTION=$1; else DRV_ACTION=$(cat -); fi\nbase64 -d <<<$DRV_ACTION\n'
RUBY_ARGUMENT = "#!/usr/bin/ruby\nxml = Base64.decode64(ARGV[0])\nid = ARGV[1]\n"
RUBY_STDIN = "#!/usr/bin/ruby\nxml = Base64.decode64(STDIN.read)\nid = ARGV[0]\n"
PYTHON_ARGUMENT = "#!/usr/bin/python3\nimport base64, sys\nxml = base64.b64decode(sys.argv[1])\nid = sys.argv[2]\n"
PYTHON_STDIN = "#!/usr/bin/python3\nimport base64, sys\nxml = base64.b64decode(sys.stdin.read())\nid = sys.argv[1]\n"


@pytest.mark.parametrize(("contract", "argument", "stdin"), [("6.4", True, False), ("6.4-stdin", False, True), ("7.4", False, True)])
def test_the_document_is_where_the_contract_gives_it(tree: Path, contract: str, argument: bool, stdin: bool) -> None:
    """A script of one generation fits its contracts and no other; one that takes either form fits all. The requirement is that of the contract."""
    for text, fits in (
        (DOCUMENT_AS_ARGUMENT, argument),
        (DOCUMENT_ON_STDIN, stdin),
        (EITHER, True),
        (RUBY_ARGUMENT, argument),
        (RUBY_STDIN, stdin),
        (PYTHON_ARGUMENT, argument),
        (PYTHON_STDIN, stdin),
    ):
        put(tree, CP, text)
        assert [one.file for one in found(tree, "document", contract)] == ([] if fits else [CP]), text
    put(tree, CP, DOCUMENT_ON_STDIN if argument else DOCUMENT_AS_ARGUMENT)
    one = found(tree, "document", contract)[0]
    assert one.level == "error"
    assert one.line == 2
    assert set(one.requirements) <= {"GEN-DOC-001", "GEN-DOC-002", "GEN-DOC-003"}
    assert one.requirements


def test_reading_standard_input_in_a_function_or_a_library_counts(tree: Path) -> None:
    """Who calls a function that reads standard input reads it; who feeds that function does not."""
    put(tree, "datastore/lib.sh", "take() {\n    base64 -d\n}\n")
    head = '#!/bin/bash\n. "$(dirname "$0")/../lib.sh"\n'
    put(tree, CP, f"{head}take >/tmp/x\nid=$2\n")
    assert found(tree, "document", "7.4") == []
    put(tree, CP, f'{head}echo "$1" | take\nid=$2\n')
    assert [one.file for one in found(tree, "document", "7.4")] == [CP]
    put(tree, CP, f"{head}while read -r line; do take; done <file\nid=$2\n")
    assert [one.file for one in found(tree, "document", "7.4")] == [CP]


def test_arguments_that_nobody_gives_are_said(tree: Path) -> None:
    """The fifth argument of clone is a note; inside a function, after a shift, and of an action with any number of words it is none."""
    put(tree, CLONE, '#!/bin/bash\nvm=$3\nmore=${5:-}\nf() { echo "$7"; }\n')
    assert [(one.level, one.line) for one in found(tree, "position")] == [("note", 3)]
    for text in ('#!/bin/bash\nf() { echo "$7"; }\n', '#!/bin/bash\nshift\necho "$7"\n', "#!/bin/bash\necho '$7'\n# $9\n"):
        put(tree, CLONE, text)
        assert found(tree, "position") == []
    put(tree, "tm/shared/context", '#!/bin/bash\necho "$9"\n')
    assert found(tree, "position") == []


def test_commands_that_are_not_there_are_said_with_their_line(tree: Path) -> None:
    """A misspelt command is named once; what is a function, is asked for first, is a word of a string, or may be in a library that is elsewhere is not."""
    put(tree, CLONE, "#!/bin/bash\nmkdirr -p x\nmkdirr y\n")
    assert [(one.line, one.sentence.split()[0]) for one in found(tree, "command")] == [(2, "mkdirr")]
    right = (
        "#!/bin/bash\nmkdirr() { :; }\nmkdirr x\n",
        "#!/bin/bash\nif command -v mkdirr; then mkdirr x; fi\n",
        "#!/bin/bash\nssh host 'mkdirr x' <<EOT\nmkdirr y\nEOT\n",
        "#!/bin/bash\ncase $1 in\n    mkdirr | x) exit ;;\nesac\nfor mkdirr in a; do :; done\nx=(mkdirr y)\n[[ mkdirr < x ]]\n",
        "#!/bin/bash\nonevm show 1\nlog x\n",
    )
    for text in right:
        put(tree, CLONE, text)
        assert [one.sentence for one in found(tree, "command")] == []
    put(tree, CLONE, '#!/bin/bash\nLIB=$ONE/lib/other.sh\n. "$LIB"\nmkdirr x\n')
    assert found(tree, "command") == []
    assert any("mkdirr" in one.sentence for one in found(tree, "library"))


def test_fixed_paths_break_where_one_location_is_set(tree: Path) -> None:
    """A path of the installation is a warning, unless ONE_LOCATION decides, or it stands in a comment or is longer than the name."""
    put(tree, CLONE, "#!/bin/bash\n:\nsource /var/lib/one/remotes/tm/tm_common.sh\n")
    assert [(one.level, one.line, one.requirements) for one in found(tree, "fixed_path")] == [("warn", 3, ("GEN-HELP-001",))]
    for text in (
        '#!/bin/bash\nif [ -z "$ONE_LOCATION" ]; then\n    lib=/usr/lib/one\nelse\n    lib=$ONE_LOCATION/lib\nfi\n',
        "#!/bin/bash\n. ${ONE_LOCATION:-/var/lib/one}/x\n# /etc/one\n",
        "#!/bin/bash\nls /var/lib/onetwo $HOME/var/lib/one\n",
    ):
        put(tree, CLONE, text)
        assert found(tree, "fixed_path") == []


def test_separators_belong_to_old_releases(tree: Path) -> None:
    """Separators around the error text are a warning since 6.0.3, and none before."""
    put(tree, CLONE, "#!/bin/bash\necho 'ERROR MESSAGE --8<------' >&2\n")
    assert [(one.level, one.line) for one in found(tree, "separators", "7.4")] == [("warn", 2)]
    assert found(tree, "separators", "5.12") == []


CONF = """
TM_MAD = [ EXECUTABLE = "one_tm", ARGUMENTS = "-t 15 -d shared,ssh" ]
DATASTORE_MAD = [ EXECUTABLE = "one_datastore", ARGUMENTS = "-t 15 -d fs -s shared" ]
TM_MAD_CONF = [ NAME = "shared", LN_TARGET = "NONE", CLONE_TARGET = "SYSTEM", SHARED = "YES", DS_MIGRATE = "YES",
  TM_MAD_SYSTEM = "ssh", LN_TARGET_SSH = "SYSTEM", CLONE_TARGET_SSH = "SYSTEM", DISK_TYPE_SSH = "FILE" ]
DS_MAD_CONF = [ NAME = "fs", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO", MARKETPLACE_ACTIONS = "export" ]
"""
FRAGMENTS = [
    ("conf_text", 3, '-d shared,ssh" ]', '-d shared,ssh"'),
    ("conf_row", 0, 'NAME = "shared"', 'NAME = "other"'),
    ("conf_row", 0, 'NAME = "fs"', 'NAME = "other"'),
    ("conf_value", 4, 'LN_TARGET = "NONE"', 'LN_TARGET = "NOWHERE"'),
    ("conf_value", 6, 'PERSISTENT_ONLY = "NO"', 'PERSISTENT_ONLY = "MAYBE"'),
    ("conf_unknown", 4, "DS_MIGRATE", "DS_MIGRATES"),
    ("conf_mode", 5, 'LN_TARGET_SSH = "SYSTEM", ', ""),
    ("conf_list", 2, "-d shared,ssh", "-d ssh"),
    ("conf_list", 3, "-d fs", "-d ceph"),
    ("conf_list", 3, "-s shared", "-s ssh"),
    ("conf_unsaid", 0, "DATASTORE_MAD =", "SOME_MAD ="),
    ("missing", 6, 'ACTIONS = "export"', 'ACTIONS = "export,import"'),
]


def test_a_fragment_of_oned_conf_that_fits_is_left_alone(tree: Path, tmp_path: Path) -> None:
    """Nothing but the note that the mode has no scripts of its own."""
    path = tmp_path / "oned.conf"
    path.write_text(CONF.replace("ssh", "far").replace("SSH", "FAR"))
    plain = read(tree)
    added = [one for one in read(tree, oned_conf=path).findings if one not in plain.findings]
    assert [(one.rule, one.line) for one in added] == [("conf_fallback", 5)]
    put(tree, f"{CLONE}.far", "#!/bin/sh\n")
    assert found(tree, "conf_fallback", oned_conf=path) == []


@pytest.mark.parametrize(("rule", "line", "right", "wrong"), FRAGMENTS, ids=[f"{row[0]}-{place}" for place, row in enumerate(FRAGMENTS)])
def test_a_fragment_of_oned_conf(tree: Path, tmp_path: Path, rule: str, line: int, right: str, wrong: str) -> None:
    """What does not fit is found at its line of the fragment."""
    assert right in CONF
    path = tmp_path / "oned.conf"
    path.write_text(CONF.replace(right, wrong))
    assert (str(path), line) in {(one.file, one.line) for one in found(tree, rule, oned_conf=path)}


def test_oned_conf_and_the_description_are_compared(tree: Path, tmp_path: Path) -> None:
    """Where oned.conf and onetck.toml differ, a run tries something else than production has."""
    path = tmp_path / "oned.conf"
    path.write_text(CONF)
    (tmp_path / "onetck.toml").write_text('[driver]\npaths = ["remotes"]\n[tm_mad_conf.shared]\nCLONE_TARGET = "SELF"\n')
    setting = settle(Given([tree], "fs", "shared", config=tmp_path / "onetck.toml"))
    differing = [one for one in lint(setting, path).findings if one.rule == "conf_differs"]
    assert [(one.level, one.line) for one in differing if "CLONE_TARGET" in one.sentence] == [("warn", 4)]
    assert not [one for one in differing if "LN_TARGET" in one.sentence]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_speaks_where_it_is_asked(tree: Path) -> None:
    """Its findings are notes, and only with --shellcheck."""
    put(tree, CLONE, '#!/bin/bash\ncd "$1"\n')
    notes = [one for one in read(tree, shellcheck=True).findings if one.rule == "shellcheck"]
    assert [(one.level, one.file, one.line, one.sentence[:6]) for one in notes if one.file == CLONE] == [("note", CLONE, 2, "SC2164")]
    assert found(tree, "shellcheck") == []


def onetck(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run([sys.executable, "-m", "onetck.cli", *words], capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


def test_the_command_ends_as_documented(tree: Path, tmp_path: Path) -> None:
    """0 without errors, 1 with, 4 for words that are wrong; the text is by file with counts at the end, the JSON has all of it."""
    good = onetck("lint", str(tree), "--datastore", "fs", "--tm", "shared", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[-1].endswith(("note", "notes"))
    put(tree, CP, "#!/bin/bash\nif\n")
    bad = onetck("lint", str(tree), "--datastore", "fs", "--tm", "shared", "--json", cwd=tmp_path)
    report = json.loads(bad.stdout)
    assert bad.returncode == 1
    assert report["counts"]["error"] == 1
    assert {"level", "rule", "file", "line", "sentence", "remedy", "requirements"} == set(report["findings"][0])
    for words in (["lint", str(tmp_path / "none")], ["lint", str(tree), "--datastore", "fs", "--tm", "shared", "--oned-conf", "none"]):
        usage = onetck(*words, cwd=tmp_path)
        assert (usage.returncode, len(usage.stderr.splitlines())) == (4, 1)


def test_a_hundred_scripts_take_less_than_a_second_of_work(tree: Path) -> None:
    """Measured in time of processors, this process and those that it starts, since others may be at work on the machine."""
    script = (REFERENCE / "remotes" / CLONE).read_text()
    for number in range(100):
        put(tree, f"tm/shared/clone.m{number}", script)
    setting = settle(Given([tree], "fs", "shared"))
    before, started = os.times(), time.monotonic()
    assert lint(setting).files > 100
    after = os.times()
    spent_s = sum(after[:4]) - sum(before[:4])
    assert min(spent_s, time.monotonic() - started) < 1


def test_every_rule_is_used_and_every_requirement_of_a_rule_exists() -> None:
    """The rules of the table and those that the code names are the same."""
    folder = Path(lint.__code__.co_filename).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    for name in load().static_rules:
        assert f'"{name}"' in code, name
