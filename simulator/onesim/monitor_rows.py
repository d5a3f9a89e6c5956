"""The rows of `spec/monitor.toml`, typed. Columns are explained at the top of that file."""

from __future__ import annotations

from typing import Literal

import msgspec

from onesim.rows import Row


class Daemon(Row, frozen=True):
    """The monitor daemon: where drivers find it, and what it takes."""

    conf: str
    public_key: str
    private_key: str
    key_bits: int
    vm_disks_every: int
    garbage: str
    text: str
    source: str


class MessageRow(Row, frozen=True):
    """A kind of message to the daemon."""

    name: str
    meaning: str
    source: str
    reads: Literal["nothing", "vms", "host"] = "nothing"


class ProbeRow(Row, frozen=True):
    """A probe of a node that concerns datastores."""

    name: str
    message: str
    directories: str
    mark: str
    meaning: str
    source: str
    strip: Literal["newline", "both"] = "newline"
    script: str = ""
    argv: tuple[str, ...] = ()
    stdin: Literal["nothing"] = "nothing"
    cwd: str = ""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    succeeds: int = 0
    aborts: tuple[str, ...] = ()
    failed_text: str = ""
    location_text: tuple[str, ...] = ()
    datastore_text: tuple[str, ...] = ()


class MonitorTables(Row, frozen=True):
    """The whole file."""

    daemon: Daemon
    message: tuple[MessageRow, ...]
    probe: tuple[ProbeRow, ...]

    def kinds(self) -> frozenset[str]:
        """Return the names of the messages that the daemon knows."""
        return frozenset(row.name for row in self.message)

    def conf_text(self, *, encrypted: bool) -> str:
        """Return the text of monitord.conf, with or without keys."""
        keys = {"public_key": self.daemon.public_key, "private_key": self.daemon.private_key}
        text = self.daemon.text
        for name, path in keys.items():
            text = text.replace(f"{{{name}}}", path if encrypted else "")
        return text
