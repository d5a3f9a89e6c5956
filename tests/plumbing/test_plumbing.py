"""The set-up script's mistakes, the journal, and that the installed package is whole."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import onesim
from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.journal import START, BlobStore, BrokenChain, Writer, head, normalised, read
from onesim.records import Blob, CaseBegin, CaseEnd, Datagram, Footer, Record, StateChange

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["spec", "schemas", "reference_driver"])
def test_the_data_is_installed(name: str) -> None:
    """The package finds its tables, schemas and reference driver, in a checkout and in a wheel."""
    assert any(data_dir(name).rglob("*"))
    scripts = [path for path in (data_dir("reference_driver") / "remotes").rglob("*") if path.is_file()]
    assert len(scripts) > 30
    assert all(os.access(path, os.X_OK) for path in scripts if path.parent.name in ("fs", "shared"))
    assert all(os.access(Path(onesim.__file__).parent / "world" / "skel" / name, os.R_OK) for name in ("gate", "libvirtd", "shim"))


def test_dev_says_what_it_can_do() -> None:
    """No argument: usage. An unknown command: one line and exit 4."""
    usage = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True)
    assert "certify" in usage.stdout and "test" in usage.stdout
    wrong = subprocess.run([ROOT / "dev", "fly"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (4, 1)


def written(path: Path) -> None:
    """Write three records."""
    writer = Writer(path)
    writer.write(CaseBegin("a", "A case"))
    writer.write(StateChange("a", "vm", 0, "vm", "RUNNING", 3, 3, at_ns=5))
    writer.write(CaseEnd("a", "completed", "", 0, 7))
    writer.close()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Records come back equal, and the head of the chain is that of the last line."""
    path = tmp_path / "history.jsonl"
    written(path)
    records = list(read(path, Record))
    assert [type(one).__name__ for one in records] == ["CaseBegin", "StateChange", "CaseEnd"]
    assert records[1] == StateChange("a", "vm", 0, "vm", "RUNNING", 3, 3, at_ns=5)
    assert head(path) != START and len(head(path)) == 64


@pytest.mark.parametrize("harm", ["change", "remove", "swap"])
def test_a_changed_removed_or_exchanged_record_is_found(tmp_path: Path, harm: str) -> None:
    """Whatever is done to a line, the chain breaks there or at the next."""
    path = tmp_path / "history.jsonl"
    written(path)
    lines = path.read_text().splitlines(keepends=True)
    if harm == "change":
        lines[1] = lines[1].replace("RUNNING", "STOPPED")
    elif harm == "remove":
        del lines[1]
    else:
        lines[0], lines[1] = lines[1], lines[0]
    path.write_text("".join(lines))
    with pytest.raises(BrokenChain, match=r"history\.jsonl:"):
        list(read(path, Record))


def test_a_line_cut_by_a_kill_ends_the_file(tmp_path: Path) -> None:
    """What was finished before is whole."""
    path = tmp_path / "history.jsonl"
    written(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(list(read(path, Record))) == 2


def test_a_file_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    """The message names the path and the option."""
    with pytest.raises(ConfigError, match="--out"):
        Writer(tmp_path / "none" / "history.jsonl")


def test_large_pieces_lie_beside_the_log_once(tmp_path: Path) -> None:
    """Short text is in the record; long text is stored by its digest, and counted in full."""
    store = BlobStore(tmp_path / "blobs")
    assert store.put(b"short").complete
    large = store.put(b"x" * 10_000, seen=10**9)
    assert (large.complete, large.size, large.bytes_seen) == (False, 10_000, 10**9)
    store.put(b"x" * 10_000)
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [large.sha256]


def test_the_normalised_form_has_no_times() -> None:
    """Two records that differ in time alone have one normalised form; another state has another."""
    one, other = (StateChange("a", "vm", 0, "vm", "RUNNING", at_ns=n) for n in (1, 2))
    assert normalised(one) == normalised(other) != normalised(StateChange("a", "vm", 0, "vm", "DONE"))
    assert normalised(Footer(1, 1, 1, "0" * 64, wall_s=1.0)) == normalised(Footer(1, 1, 1, "f" * 64, wall_s=2.0))


def test_the_normalised_form_of_what_was_encrypted_is_its_text() -> None:
    """The bytes of a datagram count, those of an encrypted one do not."""
    for encrypted in (False, True):
        first, second = (Datagram("c", 1, Blob(1, text), encrypted=encrypted, text=Blob(1, "clear")) for text in ("one", "two"))
        assert (normalised(first) == normalised(second)) == encrypted
