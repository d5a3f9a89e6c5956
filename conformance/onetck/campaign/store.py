"""The store of a campaign: a directory of Parquet files with a row for each run, which DuckDB, pandas and the like read as one table."""

from __future__ import annotations

import fcntl
import os
import sys
import time
import uuid
from collections.abc import Collection, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from onesim.errors import ConfigError
from onetck.campaign.playing import COLUMNS, LOST, Row

#: Rows of one file, seconds after which the file that grows is written anew, and seconds of rows that a machine without power may forget.
PART, ANEW_S, SYNC_S = 50_000, 60.0, 1.0


def arrow() -> tuple[Any, Any, Any]:
    """Return the modules of pyarrow that are needed. Raises ConfigError where it is not installed."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet"), import_module("pyarrow.json")
    except ImportError:
        raise ConfigError("pyarrow is not installed, and campaigns write Parquet; pip install 'onetck[cluster]'") from None


class Store:
    """Whatever moment a process is killed at, each row that was added is there, once.

    A row is appended to the journal `.part-ID.jsonl`, from which `part-ID.parquet` is made: every `ANEW_S`, when it has `PART` rows, and at the end. Then the
    journal is removed. A journal always holds all rows of its file, so one that a killed process left is made a file as any other. Raises ConfigError for what
    cannot be read, and where another process holds the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._arrow, self._parquet, self._json = arrow()
        self._schema = self._arrow.schema([(name, getattr(self._arrow, kind if kind != "double" else "float64")()) for name, kind in COLUMNS.items()])
        self._file: BinaryIO | None = None
        self._rows = 0
        self._anew_s = self._synced_s = time.monotonic()
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = (root / ".lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--store {root}: another campaign is under way there; wait until it has ended, or name another directory") from None
        except OSError as error:
            raise ConfigError(f"--store {root}: {error.strerror}; name a directory that can be written and locked") from None
        for path in root.glob(".*.new"):
            path.unlink()
        for path in root.glob(".part-*.jsonl"):
            self._gather(path)

    def rows(self) -> list[Row]:
        """Return all rows that are in files."""
        return [row for path in sorted(self.root.glob("*.parquet")) for row in self._table(path).to_pylist()]

    def outcomes(self) -> dict[bytes, str]:
        """Return the outcomes of the runs that have a row in a file, by the bytes of their keys."""
        found: dict[bytes, str] = {}
        for path in self.root.glob("*.parquet"):
            table = self._table(path, ["key", "outcome"])
            found.update(zip(map(bytes.fromhex, table["key"].to_pylist()), map(sys.intern, table["outcome"].to_pylist()), strict=True))
        return found

    def forget(self, keys: Collection[bytes]) -> None:
        """Take the rows of runs that were lost out of the files, as they are made again."""
        for path in self.root.glob("*.parquet") if keys else ():
            table = self._table(path, ["key", "outcome"])
            told = zip(table["key"].to_pylist(), table["outcome"].to_pylist(), strict=True)
            kept = [outcome != LOST or bytes.fromhex(key) not in keys for key, outcome in told]
            if not any(kept):
                path.unlink()
            elif not all(kept):
                self._write(path, self._table(path).filter(self._arrow.array(kept)))

    def add(self, row: Row) -> None:
        """Write a row. It is safe when this returns."""
        if self._file is None:
            self._file = self._journal()
        self._file.write(msgspec.json.encode(row) + b"\n")
        self._file.flush()
        self._rows += 1
        now = time.monotonic()
        if self._rows >= PART:
            self._end()
        elif now - self._anew_s >= ANEW_S:
            self._make(Path(self._file.name))
        elif now - self._synced_s >= SYNC_S:
            os.fsync(self._file.fileno())
            self._synced_s = time.monotonic()

    def close(self) -> None:
        """Have all rows in files, and give the store free."""
        with self._lock:
            self._end()

    def _journal(self) -> BinaryIO:
        """Begin a journal: that of a file which is not full, with its rows, or of a new one."""
        sizes = {path: self._parquet.read_metadata(path).num_rows for path in self.root.glob("part-*.parquet")}
        part = min(sizes, key=lambda path: sizes[path], default=None)
        if part is None or sizes[part] >= PART:
            part = self.root / f"part-{uuid.uuid4().hex}.parquet"
        journal, self._rows = self.root / f".{part.stem}.jsonl", sizes.get(part, 0)
        if self._rows:
            new = journal.with_suffix(".new")
            with new.open("wb") as file:
                file.writelines(msgspec.json.encode(row) + b"\n" for row in self._table(part).to_pylist())
            new.replace(journal)
        self._anew_s = self._synced_s = time.monotonic()
        return journal.open("ab")

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._gather(Path(self._file.name))
            self._file = None

    def _gather(self, journal: Path) -> None:
        """Make a journal a file."""
        self._make(journal)
        journal.unlink()

    def _make(self, journal: Path) -> None:
        """Write the file of a journal anew, without a last line that is cut."""
        text = journal.read_bytes()
        text = text[: text.rfind(b"\n") + 1]
        options = self._json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore")
        try:
            if text:
                self._write(self.root / f"{journal.stem[1:]}.parquet", self._json.read_json(self._arrow.BufferReader(text), parse_options=options))
        except self._arrow.ArrowInvalid as error:
            raise ConfigError(f"{journal}: {error}; remove the line, and its run is made again") from None
        self._anew_s = self._synced_s = time.monotonic()

    def _table(self, path: Path, columns: Iterable[str] | None = None) -> Any:
        try:
            return self._parquet.read_table(path, columns=columns)
        except (OSError, self._arrow.ArrowException) as error:
            raise ConfigError(f"{path}: {error}; remove it, and its runs are made again") from None

    def _write(self, path: Path, table: Any) -> None:
        """Write a file in its place, so that it is there whole before anything else is removed."""
        new = self.root / f".{path.stem}.new"
        with new.open("wb") as file:
            self._parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        directory = os.open(self.root, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
