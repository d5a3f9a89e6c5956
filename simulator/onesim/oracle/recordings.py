"""Recordings of the real oned: what it was asked, which drivers it called and what became of its objects. One JSON object a line.

Only what the comparison needs is read; other fields may be there. Files may be compressed with gzip (`.jsonl.gz`).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from onesim.errors import ConfigError

#: Longest line that is read, in bytes.
LINE_BYTES = 4 * 1024 * 1024


class Call(msgspec.Struct, frozen=True):
    """A driver call that was seen. `dt_ms` is its begin, in milliseconds after the first request; `action` is the file that ran, with its suffix."""

    kind: str
    driver: str
    action: str
    argv: tuple[str, ...]
    rc: int = 0
    stdout: str = ""
    dt_ms: int = 0
    stdin_encoding: str = "empty"
    stdin_root: str = ""
    stdin_root_elements: tuple[str, ...] = ()
    arg1_root: str = ""
    arg1_root_elements: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Kind, driver and file."""
        return f"{self.kind}/{self.driver}/{self.action}"


class Request(msgspec.Struct, frozen=True):
    """A request to oned over XML-RPC: method, arguments after the session, and whether oned accepted it."""

    rpc: str
    args: tuple[Any, ...] = ()
    ok: bool = True
    result: Any = None
    error: str = ""


class Message(msgspec.Struct, frozen=True):
    """A line between oned and a MAD; `transfer_script` is the text of the script that a TRANSFER line names."""

    line: str
    dir: str
    transfer_script: str = ""
    xml_fields: dict[str, str] = {}


class Seen(msgspec.Struct, frozen=True):
    """An object changed state."""

    state: str
    vm: str = ""
    image: str = ""


class Before(msgspec.Struct, frozen=True):
    """States before the operation."""

    vm_state: tuple[str, ...] = ()
    image_states: dict[str, str] = {}


class DiskOf(msgspec.Struct, frozen=True):
    """A disk that the VM was created with."""

    disk_id: int
    kind: str
    image_id: int | None = None


class Post(msgspec.Struct, frozen=True):
    """What oned showed of the VM afterwards; the documents are XML texts."""

    backups: str = ""
    snapshots: tuple[str, ...] = ()
    disks: tuple[dict[str, str], ...] = ()
    history: tuple[dict[str, str], ...] = ()


class Recording(msgspec.Struct, frozen=True):
    """One operation: the situation, the requests, and what followed."""

    oned_version: str
    scenario: str
    image_ds_tm: str
    system_ds_tm: str
    operation: str
    precondition: Before
    calls: tuple[Call, ...]
    rpc: tuple[Request, ...]
    states: tuple[Seen, ...]
    final_vm_state: dict[str, str]
    final_image_states: dict[str, str]
    disks: tuple[DiskOf, ...] = ()
    disk_attrs: tuple[dict[str, str], ...] = ()
    roles: dict[str, int] = {}
    mad: tuple[Message, ...] = ()
    injected_fault: dict[str, Any] | None = None
    post: Post = Post()
    final_images: dict[str, dict[str, str]] | None = None

    @property
    def fault(self) -> str:
        """The call that was made to fail, as text; empty for none."""
        found = self.injected_fault
        return f"{found['kind']}/{found['driver']}/{found['action']} #{found['n']} fails" if found else ""


def files(directory: Path) -> list[Path]:
    """Return the files with recordings of a directory (or the file itself). Raises ConfigError if there are none."""
    if directory.is_file():
        return [directory]
    found = sorted(path for pattern in ("*.jsonl", "*.jsonl.gz") for path in directory.glob(pattern)) if directory.is_dir() else []
    if not found:
        raise ConfigError(f"{directory}: no recordings here; expected files *.jsonl or *.jsonl.gz")
    return found


def read(path: Path) -> Iterator[tuple[int, Recording]]:
    """Yield the recordings of a file with their line numbers. Raises ConfigError that names the line and what is wrong with it."""
    decoder = msgspec.json.Decoder(Recording)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number in range(1, 1 << 62):
                line = stream.readline(LINE_BYTES + 1)
                if not line:
                    return
                if len(line) > LINE_BYTES:
                    raise ConfigError(f"{path}:{number}: the line is longer than {LINE_BYTES} bytes; no recording is")
                if line.strip():
                    yield number, decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}:{number}: no recording: {error}") from None
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
