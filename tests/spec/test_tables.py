"""The tables load, and each contradiction is refused with file and row."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from onereport.spec_tables import documents
from onesim.contracts import at_least, in_range
from onesim.data import data_dir
from onesim.errors import ConfigError, SpecError
from onesim.spec import Spec, for_contract, load
from onesim.specrules import verify
from onetck.checks import CHECKS

# file, text in it, what stands there instead, words of the refusal
CONTRADICTIONS = [
    ("contracts.toml", 'name = "5.12"', 'name = "7.4"', ("contract 7.4", "twice")),
    ("contracts.toml", "default = true", "default = false", ("exactly one", "default")),
    ("contracts.toml", 'version = "7.4.0"', 'version = "seven"', ("seven", "6.4.2")),
    ("contracts.toml", '{ generation = "stdin", argv', '{ generation = "hybrid", argv', ("6.8", "passing")),
    ("contracts.toml", 'argv = ["dash", "id"], stdin = "dump"', 'argv = ["dash", "id"], stdin = "bump"', ("passing hybrid", "bump")),
    ("contracts.toml", 'argv = ["dump", "id"]', 'argv = ["lump", "id"]', ("passing argument", "lump", "arguments.toml")),
    ("actions/transfer.toml", '["here", "there", "directory_path", "vm_id", "ds_id"], stdin = "vm_base64"', '["here", "there", "directory_path", "vm_id", "ds_id"], stdin = "wm"', ("tm/premigrate", "wm", "carriage")),
    ("actions/transfer.toml", '{ argv = ["size_mb", "format",', '{ argv = ["size_mb", "formal",', ("tm/mkimage", "formal", "arguments.toml")),
    ("actions/transfer.toml", 'since = "5.9.80", argv', 'since = "6.9.80", argv', ("tm/premigrate", "0 forms", "5.12")),
    ("actions/transfer.toml", 'name = "ln"', 'name = "clone"', ("tm/clone", "two rows")),
    ("actions/transfer.toml", 'effect = "copy"', 'effect = "magic"', ("tm/clone", "magic")),
    ("actions/transfer.toml", 'touches = ["vm_directory", "monitor_mark", "volume", "pool"]', 'touches = ["the_moon"]', ("tm/clone", "the_moon")),
    ("actions/datastore.toml", 'parser = "size"', 'parser = "guess"', ("ds/stat", "guess")),
    ("actions/datastore.toml", '{ until = "5.13.80", parser = "source" },\n  { since = "5.13.80", parser = "source_format" },', '{ since = "5.13.80", parser = "source_format" },', ("ds/cp", "0 outputs", "5.12")),
    ("actions/datastore.toml", 'passing = true\nid = "request"', 'form = [{ argv = ["disk"] }]\nid = "request"', ("scripts.toml", "image_stat", "binds other arguments", "disk")),
    ("actions/hypervisor.toml", 'name = "deploy"', 'nam = "deploy"', ("hypervisor.toml", "nam")),
    ("quarantine.toml", "quarantine = []", 'quarantine = [{ requirement = "TM-NO-1", since = "2027-01-01", reason = "r", issue = "i" }]', ("TM-NO-1", "unknown requirement")),
    ("scripts.toml", 'action = "tm/mkswap"', 'action = "tm/mkswamp"', ("prolog/disk/swap", "tm/mkswamp")),
    ("scripts.toml", 'destination = "disk_there", ds_id = "disk_datastore" }', 'destination = "disk_there" }', ("prolog/disk/nonpersistent", "ds_id")),
    ("scripts.toml", 'target = "disk_here"', 'target = "disk_anywhere"', ("disk_anywhere",)),
    ("scripts.toml", 'kind = "cdrom"', 'kind = "floppy"', ("floppy",)),
    ("scripts.toml", 'each = "subject", kind = "nonpersistent"', 'each = "subject"', ("attach/subject", "kind")),
    ("scripts.toml", 'kind = "cdrom", action = "tm/ln"', 'kind = "swap", action = "tm/ln"', ("prolog/disk/swap", "two rows")),
    ("scripts.toml", 'needs = "deploy_id"', 'needs = "luck"', ("cancel", "luck")),
    ("lifecycle/vm.toml", 'success = "BOOT", failure', 'success = "BOOTS", failure', ("vm.toml", "phase PROLOG", "BOOTS")),
    ("lifecycle/vm.toml", 'state = "CLEANUP_DELETE", scripts = ["delete"]', 'state = "CLEANUP", scripts = ["delete"]', ("phase DELETE", "CLEANUP")),
    ("lifecycle/vm.toml", 'scripts = ["save"], here = "host", success = "EPILOG_STOP"', 'scripts = ["saves"], here = "host", success = "EPILOG_STOP"', ("SAVE_STOP", "saves")),
    ("lifecycle/vm.toml", 'enter = "SAVE_STOP"', 'enter = "SAVE_STOPS"', ("operation stop", "SAVE_STOPS")),
    ("lifecycle/vm.toml", 'name = "suspend", from = ["RUNNING"]', 'name = "stop", from = ["RUNNING"]', ("operation stop", "two rows", "RUNNING")),
    ("lifecycle/vm.toml", 'name = "hold", from = ["PENDING"]', 'name = "hold", from = ["PROLOG"]', ("operation hold", "PROLOG")),
    ("lifecycle/vm.toml", 'makes = "saved"', 'makes = "lost"', ("disk_saveas", "lost")),
    ("lifecycle/vm.toml", 'keeps = "snapshot"', 'keeps = "snaps"', ("DISK_SNAPSHOT", "snaps")),
    ("lifecycle/vm.toml", 'rollback = "detach"', 'rollback = "undo"', ("HOTPLUG", "undo")),
    ("lifecycle/vm.toml", 'rollback_after = ["vmm/attach_disk"]', 'rollback_after = ["vmm/attach"]', ("HOTPLUG", "vmm/attach")),
    ("lifecycle/vm.toml", 'return = "previous", until = "7.3.80"', 'return = "previous"', ("phase MIGRATE", "two rows", "7.4")),
    ("lifecycle/vm.toml", 'enter = "REBOOT"', 'enter = "REBOOT", stays = true', ("operation reboot", "exactly one")),
    ("lifecycle/image.toml", 'success = "GONE", failure = "ERROR", then', 'success = "AWAY", failure = "ERROR", then', ("image.toml", "AWAY")),
    ("lifecycle/vm.toml", 'here = "host", there = "frontend"', 'here = "mars", there = "frontend"', ("vm.toml", "mars")),
    ("lifecycle/image.toml", 'scripts = ["image_cp"]', 'scripts = ["image_cp"], transfer = "copy"', ("image.toml", "COPY", "transfer script")),
    ("mads.toml", ', since = "5.13.80"', "", ("line", "2 rows", "5.12")),
    ("mads.toml", 'encodes = ["monitor"]', 'encodes = ["look"]', ("mad datastore", "look")),
    ("mads.toml", 'carries = "script"', 'carries = "letters"', ("mads.toml", "letters")),
    ("requirements/mad.toml", '"skipped"', '"missed"', ("MAD-CALL-002", "missed")),
    ("places.toml", "{source}.*", "{sauce}.*", ("place image", "sauce")),
    ("requirements/execution.toml", "GEN-EXEC-002", "GEN-EXEC-001", ("GEN-EXEC-001", "twice")),
    ("requirements/execution.toml", 'action = "*", check = "exists"', 'action = "tm/fly", check = "exists"', ("GEN-EXEC-001", "tm/fly")),
    ("requirements/execution.toml", 'check = "exists", ', "", ("GEN-EXEC-001", "check")),
    ("requirements/execution.toml", 'level = "MUST", action = "*", check = "exists"', 'level = "WILL", action = "*", check = "exists"', ("execution.toml", "WILL")),
    ("profiles/core.toml", '"GEN-EXEC-001"', '"GEN-EXEC-999"', ("profile core", "GEN-EXEC-999")),
    ("complaints.toml", '["GEN-STDIN-003"]', '["GEN-STDIN-999"]', ("complaint 1:", "GEN-STDIN-999")),
    ("complaints.toml", 'rule = "syntax"', 'rule = "grammar"', ("complaint 18:", "grammar")),
    ("complaints.toml", "number = 2,", "number = 1,", ("complaint 1:", "twice")),
    ("complaints.toml", 'miniature = "complaint-01-document-as-one-argument", ', "", ("complaint 1:", "reason")),
    ("profiles/core.toml", '"GEN-EXEC-001"', '"GEN-EXEC-002"', ("profile core", "GEN-EXEC-002", "twice")),
    ("profiles/core.toml", '  "GEN-EXEC-001",\n', "", ("profile core", "frozen", 'sha256 = "')),
    ("levels.toml", '"faults"]', '"every-fault"]', ("level gold", "every-fault")),
    ("profiles/parts.toml", 'of = "core"', 'of = "cores"', ("profile ds-core", "cores")),
    ("profiles/parts.toml", '"vms-together"]', '"vm-together"]', ("profile quick", "vm-together")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text", "instead", "words"), CONTRADICTIONS, ids=lambda value: value if isinstance(value, str) and value.endswith(".toml") else None
)
def test_a_contradiction_is_refused_with_file_and_row(tmp_path: Path, file: str, text: str, instead: str, words: tuple[str, ...]) -> None:
    """One cell changed so that the tables contradict themselves: loading fails in one line that names where."""
    root = tmp_path / "spec"
    shutil.copytree(data_dir("spec"), root)
    path = root / file
    before = path.read_text()
    assert text in before
    path.write_text(before.replace(text, instead, 1))
    with pytest.raises(SpecError) as refusal:
        verify(Spec(root))
    message = str(refusal.value)
    assert "\n" not in message.strip()
    assert str(root) in message or "version" in message
    for word in words:
        assert word in message


def test_the_tables_hold_and_load_fast() -> None:
    """All tables, those for readers too, are free of contradictions, and reading them takes less than 150 ms of processor time."""
    verify(Spec(data_dir("spec")))  # the first time imports what reading needs
    spent = []
    for _ in range(3):
        documents.cache_clear()
        began = time.process_time()
        spec = Spec(data_dir("spec"))
        verify(spec)
        documents(spec)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.15


def test_there_are_requirements_with_levels_sources_and_checks() -> None:
    """At least 250 requirements in chapters, each one sentence with a source; every check that is named exists, and none is unused."""
    rows = load().requirements
    assert len(rows) >= 250
    assert all(row.sentence.endswith(".") and row.source for row in rows)
    assert len({row.sentence for row in rows}) == len(rows)
    assert all(bool(row.check) != bool(row.untestable) for row in rows)
    assert all(chapter.title and chapter.preface for chapter in load().chapters.values())
    assert {row.check for row in rows if row.check} == set(CHECKS)


def test_a_change_brought_to_several_lines_holds_from_each_threshold() -> None:
    """The threshold of a version's own line counts, else the greatest."""
    since = ("6.4.2", "6.5.80")
    assert [at_least(version, since) for version in ("6.2.9", "6.4.1", "6.4.2", "6.4.10", "6.5.79", "6.6.0")] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert in_range("5.12.13", "", "5.13.80") and not in_range("6.0.0", "", "5.13.80")


def test_an_unknown_contract_is_the_users_error() -> None:
    """The message names the contracts that there are."""
    with pytest.raises(ConfigError, match=r"9\.9.*5\.12, 6\.0.*7\.4"):
        for_contract("9.9")
    assert for_contract("").contract.name == "7.4"
    assert for_contract("5.12.13").contract.name == "5.12"
