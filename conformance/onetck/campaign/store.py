"""The store of a campaign: a directory of Parquet files with a row for each run, which DuckDB, pandas and the like read as one table."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from onesim.errors import ConfigError
from onetck.campaign.playing import COLUMNS, Row

#: Rows that are gathered in one file. Until then each has its own, as a row must not be lost.
PART = 1000


def arrow() -> tuple[Any, Any]:
    """Return the modules of pyarrow that are needed. Raises ConfigError where it is not installed."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError("pyarrow is not installed, and campaigns write Parquet; pip install 'onetck[cluster]'") from None


class Store:
    """Rows are written one by one and gathered. Whatever moment a process is killed at, each row is there, once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._arrow, self._parquet = arrow()
        self._schema = self._arrow.schema([(name, getattr(self._arrow, kind if kind != "double" else "float64")()) for name, kind in COLUMNS.items()])
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--store {root}: {error.strerror}; name a directory that can be written") from None
        for path in root.glob("*.new"):
            path.unlink()
        gathered = {row["key"] for path in root.glob("part-*.parquet") for row in self._rows(path)}
        for path in root.glob("run-*.parquet"):
            # gathered before, when the process that was to remove it was killed
            if path.stem.removeprefix("run-") in gathered:
                path.unlink()
        self.singles = len(list(root.glob("run-*.parquet")))

    def rows(self) -> list[Row]:
        """Return all rows."""
        return [row for path in sorted(self.root.glob("*.parquet")) for row in self._rows(path)]

    def done(self) -> dict[str, str]:
        """Return the outcomes of the runs that are there, by key."""
        return {row["key"]: row["outcome"] for row in self.rows()}

    def forget(self, keys: Collection[str]) -> None:
        """Take away the rows of runs that are made again."""
        for path in self.root.glob("*.parquet"):
            rows = self._rows(path)
            kept = [row for row in rows if row["key"] not in keys]
            if kept and len(kept) < len(rows):
                self._write(path, kept)
            elif not kept:
                path.unlink()

    def add(self, row: Row) -> None:
        """Write a row."""
        self._write(self.root / f"run-{row['key']}.parquet", [row])
        self.singles += 1
        if self.singles >= PART:
            self.gather()

    def gather(self) -> None:
        """Put the rows that have files of their own into one."""
        paths = sorted(self.root.glob("run-*.parquet"))
        if len(paths) > 1:
            self._write(self.root / f"part-{uuid.uuid4().hex}.parquet", [row for path in paths for row in self._rows(path)])
            for path in paths:
                path.unlink()
            self.singles = 0

    def _rows(self, path: Path) -> list[Row]:
        try:
            found: list[Row] = self._parquet.read_table(path).to_pylist()
        except (OSError, self._arrow.ArrowException) as error:
            raise ConfigError(f"{path}: {error}; remove it, and its runs are made again") from None
        return found

    def _write(self, path: Path, rows: Sequence[Row]) -> None:
        new = path.with_suffix(".new")
        self._parquet.write_table(self._arrow.Table.from_pylist(list(rows), schema=self._schema), new)
        new.replace(path)
