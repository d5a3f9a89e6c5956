"""The tree of the reference driver: complete, installable, clean, and readable by every awk and shell that it may meet."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from onesim.data import data_dir

REMOTES = data_dir("reference_driver") / "remotes"
FILES = sorted(one for one in REMOTES.rglob("*") if not one.is_dir())
SHELL = [one for one in FILES if one.suffix != ".awk"]
RUNTIME = {"scripts_common.sh", "tm_common.sh", "xpath.rb", "downloader.sh"}
BACKUP_DRIVERS = ("backup", "rsync", "restic")
ACTIONS = [one for one in SHELL if one.parent.name in ("fs", "shared", "ssh", "libvirt_pool", *BACKUP_DRIVERS) and one.name != "store.sh"]
BACKUP = "backup backup_cancel restore ls increment_flatten rm stat monitor cp mkfs clone export snap_delete snap_revert snap_flatten"
DATASTORE = "cp mkfs rm stat clone monitor export snap_delete snap_revert snap_flatten"
TRANSFER = (
    "clone ln mv mvds delete context mkimage mkswap monitor premigrate postmigrate failmigrate cpds resize restore"
    " snap_create snap_create_live snap_delete snap_revert prebackup prebackup_live postbackup postbackup_live"
)
# where the system datastore is of the driver ssh; of the others the plain ones do
MIXED = "clone.ssh ln.ssh mvds.ssh cpds.ssh"


def tool(name: str) -> str:
    """Return a tool's path, or skip the test where the machine lacks it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_every_action_has_a_script() -> None:
    """An action without a script fails with a message that tells the user nothing: each exists, and nothing else does."""
    assert {one.name for one in ACTIONS if one.parent.name == "fs"} == set(DATASTORE.split())
    assert {one.name for one in ACTIONS if one.parent.name == "shared"} == set(TRANSFER.split()) | set(MIXED.split())
    assert {one.name for one in ACTIONS if one.parent.name == "ssh"} == {*TRANSFER.split(), "monitor_ds"}
    for driver in BACKUP_DRIVERS:
        assert {one.name for one in ACTIONS if one.parent.name == driver} == set(BACKUP.split())
    for family, actions in (("datastore", DATASTORE), ("tm", TRANSFER)):
        assert {one.name for one in ACTIONS if one.parent == REMOTES / family / "libvirt_pool"} == set(actions.split())


@pytest.mark.parametrize("file", FILES, ids=lambda one: str(one.relative_to(REMOTES)))
def test_files_can_be_installed(file: Path) -> None:
    """No links, which do not survive packaging; everything with the run bit."""
    assert not file.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) & 0o111 == 0o111


def test_the_version_is_the_worlds() -> None:
    """The tree says no version of OpenNebula: the front-end does."""
    assert not (REMOTES / "VERSION").exists()


@pytest.mark.parametrize("script", ACTIONS, ids=lambda one: f"{one.parent.name}/{one.name}")
def test_scripts_are_short_and_strict(script: Path) -> None:
    """Bash, strict from the first command on, and short enough to read at one look."""
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert next(line for line in lines if line and not line.startswith("#")) == "set -euo pipefail"
    assert len(lines) < 70


def test_the_driver_leans_on_no_function_of_doubtful_status() -> None:
    """is_disk of a front-end prints its answer and always succeeds: no script of ours takes it for a condition."""
    assert not [one for one in SHELL if one.name not in RUNTIME and re.search(r"\bis_disk\b", one.read_text())]


def test_shfmt_changes_nothing() -> None:
    """The scripts are formatted as shfmt does it."""
    done = subprocess.run([tool("shfmt"), "-i", "4", "-ci", "-d", *map(str, SHELL)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def bash(script: str, *, options: str = "", remotes: Path = REMOTES, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has sourced the helper runtime."""
    text = f"{options}\nsource {remotes}/scripts_common.sh\n{script}"
    return subprocess.run(["bash", "-c", text, "/drivers/clone"], capture_output=True, text=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("options", ["", "set -u", "set -euo pipefail"])
def test_the_runtime_suits_every_shell_mode(options: str) -> None:
    """Drivers source the runtime with and without strict mode; the functions do the same in each."""
    done = bash(
        'arg_host h:/a; arg_path h:/a//b:c/; arg_path h:a//b/ NOFIX; log "2 hi"; exec_and_log "true"; fix_dir_slashes /a///b//; fix_dir_slashes /',
        options=options,
    )
    assert (done.returncode, done.stdout) == (0, "h\n/a/b:c\na//b/\n/a/b\n/\n")
    assert done.stderr == "INFO: clone: 2 hi\n"


@pytest.mark.parametrize("options", ["", "set -euo pipefail"])
@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ('exec_and_log "ls /nowhere;" "Cannot do it"', 2, "Cannot do it"),
        ('multiline_exec_and_log "echo broken >&2; exit 3" "Cannot do it"', 3, "Cannot do it"),
        ('multiline_exec_and_log "exit 3"', 3, "Error executing exit 3: "),
        ('timeout_exec_and_log 0.1 "sleep 5" "Too slow"', 143, "Too slow"),
        ('timeout_exec_and_log 5 "false"', 1, "Error executing false: "),
        ("retry_if none 3 0 false", 1, None),
        ("said=$(monitor_and_log 'echo a; exit 5') || exit", 5, None),
        ("said=$(ssh_monitor_and_log h 'exit 6') || exit", 6, None),
        ("ssh_exec_and_log_stdin h 'exit 7' /dev/null 'Cannot there'", 7, "Cannot there"),
        ("mkfs_command /d raw 1 ext4,xfs ../x", 255, None),
        ('ssh_exec_and_log h "exit 4" "Cannot there"', 4, "Cannot there"),
        ("make_path /dev/null/x", 1, "Cannot make directory /dev/null/x"),
    ],
)
def test_the_runtime_ends_a_script_that_fails(options: str, call: str, status: int, told: str | None, tmp_path: Path) -> None:
    """A command that fails ends the script with its status, and its text is the only line without a prefix."""
    (tmp_path / "ssh").write_text('#!/bin/bash\nexec bash -c "${*:2}"\n')
    (tmp_path / "ssh").chmod(0o755)
    done = bash(f"{call}\necho still here", options=options, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (status, "")
    assert [line for line in done.stderr.splitlines() if not re.match(r"(ERROR|INFO): ", line)] == ([told] if told else [])


@pytest.mark.parametrize(
    ("version", "separated"), [("5.12.13", True), ("6.0.2", True), ("6.0.3", False), ("6.0.20", False), ("7.4.0", False), ("", False)]
)
def test_error_texts_follow_the_version(version: str, separated: bool, tmp_path: Path) -> None:
    """Until 6.0.2 oned takes the error text from between separators, later it is a plain line."""
    shutil.copy(REMOTES / "scripts_common.sh", tmp_path)
    if version:
        (tmp_path / "VERSION").write_text(version)
    done = bash('error_message "no space"', remotes=tmp_path)
    assert done.stderr == ("ERROR MESSAGE --8<------\nno space\nERROR MESSAGE ------>8--\n" if separated else "no space\n")
