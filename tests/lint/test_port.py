"""`onetck port`: what changes between two contracts comes from the tables, and the lines that rely on the old form are those of the driver."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.spec import for_contract
from onetck.contract_changes import Both
from onetck.porting import Plan, Ported, Reliance, port
from onetck.setting import Given, settle

REFERENCE = data_dir("reference_driver") / "remotes"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the reference driver."""
    return Path(shutil.copytree(REFERENCE, tmp_path / "remotes"))


def put(tree: Path, name: str, text: str) -> None:
    """Write a script of the tree."""
    (tree / name).write_text(text)
    (tree / name).chmod(0o755)


def plan(tree: Path, old: str, new: str) -> Plan:
    """Compare two contracts for the driver in the tree."""
    return port(settle(Given([tree], "fs", "shared", contract=new)), for_contract(old))


def script(tree: Path, name: str, old: str, new: str) -> Ported:
    """Return what is said of one script."""
    return next(one for one in plan(tree, old, new).scripts if one.file == name)


def lines(tree: Path, name: str, old: str, new: str, kind: str) -> list[Reliance]:
    """Return the lines of a script that rely on the old form in one way."""
    return [line for line in script(tree, name, old, new).lines if line.kind == kind]


@pytest.mark.parametrize(("old", "new"), [("5.12", "7.4"), ("6.4", "7.4"), ("6.6", "6.8")])
def test_the_reference_driver_has_nothing_to_change(tree: Path, old: str, new: str) -> None:
    """It keeps every contract as it is; what changes is told all the same."""
    found = plan(tree, old, new)
    assert found.to_do == 0
    assert any(change.kind == "argv" for one in found.scripts for change in one.changes)


def test_a_document_that_was_an_argument(tree: Path) -> None:
    """The lines that take the document and the id by their old places are named, with the new requirement; a script that takes both forms copes."""
    put(tree, "datastore/fs/cp", "#!/bin/bash\nDRV_ACTION=$1\nID=$2\nbase64 -d <<<$DRV_ACTION\n")
    found = lines(tree, "datastore/fs/cp", "6.4", "7.4", "argv")
    assert [(line.line, line.copes, line.requirements) for line in found] == [(2, False, ("GEN-DOC-003",)), (3, False, ("GEN-DOC-003",))]
    assert plan(tree, "6.4", "7.4").to_do == 2
    put(tree, "datastore/fs/cp", '#!/bin/bash\nif [ -n "$2" ]; then D=$1; else D=$(cat); fi\nbase64 -d <<<$D\n')
    assert {line.copes for line in lines(tree, "datastore/fs/cp", "6.4", "7.4", "argv")} == {True}
    assert plan(tree, "6.8", "7.4").to_do == 0


def test_a_document_that_was_on_standard_input(tree: Path) -> None:
    """Backwards: who reads standard input alone finds nothing there in 6.4."""
    put(tree, "datastore/fs/cp", "#!/bin/bash\nD=$(cat)\nID=$1\n")
    assert [(line.line, line.copes) for line in lines(tree, "datastore/fs/cp", "7.4", "6.4", "stdin")] == [(2, False)]
    assert plan(tree, "7.4", "7.2").to_do == 0


def test_an_argument_that_moves(tree: Path) -> None:
    """The VM's id of prebackup moves from the fourth place to the fifth with 6.8; the places before it stay."""
    put(tree, "tm/shared/prebackup", "#!/bin/bash\ndir=$1\ndisks=$2\nvm=$4\nds=$5\n")
    found = lines(tree, "tm/shared/prebackup", "6.6", "6.8", "argv")
    assert [line.line for line in found] == [4, 5]
    assert found[0].sentence == "uses argument 4: vm_id in 6.6, job_id in 6.8"
    assert "TM-PREBK-010" in found[0].requirements


def test_output_is_judged_by_the_parsers_of_both(tree: Path) -> None:
    """A SOURCE alone was enough for cp up to 5.12; SOURCE and FORMAT are good for both; what goes into a pipe or a file is no output."""
    put(tree, "datastore/fs/cp", '#!/bin/bash\necho "$SRC" | grep x\necho "$SRC" >/tmp/x\necho "$SRC"\n')
    assert [line.line for line in lines(tree, "datastore/fs/cp", "5.12", "7.4", "output")] == [4]
    assert "DS-CP-002" in lines(tree, "datastore/fs/cp", "5.12", "7.4", "output")[0].requirements
    put(tree, "datastore/fs/cp", '#!/bin/bash\nprintf "%s %s\\n" "$SRC" raw\n')
    assert lines(tree, "datastore/fs/cp", "5.12", "7.4", "output") == []
    put(tree, "datastore/fs/cp", '#!/bin/bash\nif old; then echo "$SRC"; else echo "$SRC raw"; fi\n')
    assert [line.copes for line in lines(tree, "datastore/fs/cp", "5.12", "7.4", "output")] == [True]
    # mkfs: the first word was taken, now it is the whole line
    put(tree, "datastore/fs/mkfs", '#!/bin/bash\necho "$SRC raw"\n')
    assert [line.line for line in lines(tree, "datastore/fs/mkfs", "5.12", "7.4", "output")] == [2]


def test_elements_that_are_gone(tree: Path) -> None:
    """FSTYPE is FORMAT and FS since 6.0: the line that reads it is named, other lines are not."""
    put(
        tree, "datastore/fs/mkfs", "#!/bin/bash\nxpath /DS_DRIVER_ACTION_DATA/IMAGE/FSTYPE\nxpath /DS_DRIVER_ACTION_DATA/IMAGE/PATH\n# IMAGE/FSTYPE\n"
    )
    assert [line.line for line in lines(tree, "datastore/fs/mkfs", "5.12", "7.4", "document")] == [2]


def test_error_text(tree: Path) -> None:
    """Separators are shown to the user since 6.0.3; a line that looks like one of the log is no error text since 7.0."""
    put(tree, "tm/shared/clone", "#!/bin/bash\necho 'ERROR MESSAGE --8<------' >&2\n")
    assert [line.line for line in lines(tree, "tm/shared/clone", "5.12", "7.4", "error")] == [2]
    put(tree, "tm/shared/clone", '#!/bin/bash\necho "ERROR: no space on $1" >&2\necho "no space" >&2\n')
    assert [line.line for line in lines(tree, "tm/shared/clone", "6.4", "7.4", "error")] == [2]


def test_actions_that_are_new(tree: Path) -> None:
    """An action that the driver's role needs in the new contract and that has no script is to be written; one with a script is not."""
    (tree / "tm/shared/prebackup").unlink()
    found = script(tree, "tm/shared/prebackup", "6.4", "7.4")
    assert found.missing
    assert "TM-ROLE-003" in found.changes[0].requirements
    assert not script(tree, "tm/shared/postbackup", "6.4", "7.4").missing
    assert plan(tree, "6.4", "7.4").to_do == 1


@pytest.mark.parametrize("name", ["6.0", "6.4", "6.4-stdin", "6.6", "6.8", "6.10", "7.0", "7.2"])
def test_every_difference_of_the_tables_is_told(name: str) -> None:
    """Arguments, standard input and parser of each action: a change is told exactly where the rows differ."""
    old, new = for_contract(name), for_contract("7.4")
    for key in sorted(set(old.actions) & set(new.actions)):
        kinds = {change.kind for change in Both(old, new).of(key)}
        before, after = old.actions[key], new.actions[key]
        assert ("argv" in kinds) == (list(old.argv(before)) != list(new.argv(after))) if before.passing or before.form else True
        assert ("output" in kinds) == (old.parser(key) != new.parser(key))
    for key in sorted(set(new.actions) - set(old.actions)):
        assert [change.kind for change in Both(old, new).of(key)] == ["new"]


def test_the_command_ends_as_documented(tree: Path, tmp_path: Path) -> None:
    """0 where nothing is to change, 1 where something is, 4 for contracts that are the same."""

    def onetck(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "onetck.cli", "port", str(tree), "--datastore", "fs", "--tm", "shared", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)

    assert onetck("--from", "6.4", "--to", "7.4").returncode == 0
    put(tree, "datastore/fs/cp", "#!/bin/bash\nD=$1\nID=$2\nbase64 -d <<<$D\n")
    relying = onetck("--from", "6.4", "--json")
    assert relying.returncode == 1
    assert json.loads(relying.stdout)["new"] == "7.4"
    assert onetck("--from", "7.4", "--to", "7.4").returncode == 4
    with pytest.raises(ConfigError):
        plan(tree, "6.4", "6.4")
