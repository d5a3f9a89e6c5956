"""The store of a campaign has each row once, in few files, whatever moment its process is killed at."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyarrow import parquet

from onesim.errors import ConfigError
from onetck.campaign import store as module
from onetck.campaign.playing import COLUMNS
from onetck.campaign.store import Store

KINDS = {"int64": 7, "double": 0.1, "string": 'two\nlines, "quotes", \\, \u2028 and é'}


def row(number: int, outcome: str = "passed") -> dict[str, Any]:
    """A row whose cells hold what is hard to write."""
    return {**{name: KINDS[kind] for name, kind in COLUMNS.items()}, "key": f"{number:032x}", "seed": number, "outcome": outcome}


def read(root: Path) -> list[dict[str, Any]]:
    """The rows as other programs read them: they are given the directory, or its Parquet files."""
    found: list[dict[str, Any]] = parquet.read_table(root).to_pylist()
    return sorted(found, key=lambda one: one["seed"])


def key(number: int) -> bytes:
    return bytes.fromhex(row(number)["key"])


def test_rows_of_a_killed_process_are_there(tmp_path: Path) -> None:
    """Proves that what was added before SIGKILL is there, equal, when the store is opened again, and that a line that was cut in the midst is not."""
    child = (
        "import os, signal, sys; from pathlib import Path; from onetck.campaign.store import Store; import json\n"
        "store = Store(Path(sys.argv[1])); [store.add(one) for one in json.loads(sys.argv[2])]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    rows = [row(number) for number in range(3)]
    done = subprocess.run([sys.executable, "-c", child, tmp_path, msgspec.json.encode(rows)], check=False)
    assert done.returncode == -signal.SIGKILL and not list(tmp_path.glob("*.parquet"))
    (journal,) = tmp_path.glob(".part-*.jsonl")
    with journal.open("ab") as file:
        file.write(msgspec.json.encode(row(3))[:-9])
    (tmp_path / ".part-z.new").write_bytes(b"half")
    with closing(Store(tmp_path)) as store:
        assert store.outcomes() == {key(number): "passed" for number in range(3)}
        store.add(row(3))
    assert read(tmp_path) == [*rows, row(3)]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".parquet"]


@pytest.mark.parametrize("moment", ["replace", "unlink"])
def test_a_kill_while_a_file_is_made_of_a_journal_doubles_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Proves it for both steps: before the file takes its place, and before the journal is removed; with a file that grew over several campaigns."""
    with closing(Store(tmp_path)) as store:
        store.add(row(0))
    store = Store(tmp_path)
    store.add(row(1))

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            store.close()
    assert list(tmp_path.glob(".part-*.jsonl")) and read(tmp_path) == [row(0), row(1)][: 1 if moment == "replace" else 2]
    with closing(Store(tmp_path)) as again:
        assert len(again.outcomes()) == 2
    assert read(tmp_path) == [row(0), row(1)]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".parquet"]


def test_rows_can_be_read_while_a_campaign_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the file which grows is written anew after a while, and that its rows are the same when the journal is gone."""
    with closing(Store(tmp_path)) as store:
        store.add(row(0))
        assert not list(tmp_path.glob("*.parquet"))
        monkeypatch.setattr(module, "ANEW_S", 0.0)
        store.add(row(1))
        early = read(tmp_path)
        assert early == [row(0), row(1)]
    assert read(tmp_path) == early


def test_few_files_hold_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that files are filled, also when each campaign adds a few rows, and that none outgrows its size."""
    monkeypatch.setattr(module, "PART", 10)
    for first in range(0, 35, 7):
        with closing(Store(tmp_path)) as store:
            for number in range(first, first + 7):
                store.add(row(number))
    assert sorted(parquet.read_metadata(path).num_rows for path in tmp_path.glob("*.parquet")) == [5, 10, 10, 10]
    assert read(tmp_path) == [row(number) for number in range(35)]


def test_lost_runs_that_are_made_again_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that these rows go, those of other lost runs stay, and a file without rows goes too."""
    monkeypatch.setattr(module, "PART", 2)
    with closing(Store(tmp_path)) as store:
        for number, outcome in enumerate(("lost", "lost", "passed", "lost", "lost")):
            store.add(row(number, outcome))
    with closing(Store(tmp_path)) as store:
        store.forget({key(number) for number in (0, 1, 2, 3)})
    assert [(one["seed"], one["outcome"]) for one in read(tmp_path)] == [(2, "passed"), (4, "lost")]
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_two_campaigns_do_not_write_to_one_store(tmp_path: Path) -> None:
    """Proves that the second one is told so, as it would take the journal of the first for a leftover, and that the first loses nothing by it."""
    with closing(Store(tmp_path)) as store:
        store.add(row(0))
        with pytest.raises(ConfigError, match="another campaign is under way there; wait"):
            Store(tmp_path)
    Store(tmp_path).close()
    assert read(tmp_path) == [row(0)]


@pytest.mark.parametrize("name, remedy", [(".part-a.jsonl", "remove the line"), ("part-a.parquet", "remove it")])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, remedy: str) -> None:
    """Proves that the error has the file and the remedy."""
    (tmp_path / name).write_text("no row\n")
    with pytest.raises(ConfigError, match=f"{name}.*{remedy}"), closing(Store(tmp_path)) as store:
        store.outcomes()


def test_a_full_disk_costs_no_row(tmp_path: Path) -> None:
    """Proves with a limit on the size of files that what was added is there when there is room again."""
    child = (
        "import resource, signal, sys; from pathlib import Path; from onetck.campaign.store import Store; import json\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "store, row, added = Store(Path(sys.argv[1])), json.loads(sys.argv[2]), 0\n"
        "try:\n"
        "    for added in range(9):\n"
        "        store.add({**row, 'key': f'{added:032x}', 'seed': added})\n"
        "except OSError:\n"
        "    print(added, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", child, tmp_path, msgspec.json.encode(row(0))], stdout=subprocess.PIPE, text=True, check=False)
    added = int(done.stdout)
    assert 1 <= added < 9
    with closing(Store(tmp_path)) as store:
        assert len(store.outcomes()) == added
    assert read(tmp_path) == [row(number) for number in range(added)]
