"""Reading and writing the two files on the way, `history.jsonl` and `results.jsonl`: one flushed line per record, chained by hash.

A line is `{"chain":"<sha256>","data":{...}}`; the chain of a line is the SHA-256 of the chain before it (64 zeros at first) followed by the bytes of
the data. So a removed, changed or exchanged record is found.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from onesim.errors import ConfigError
from onesim.records import SCHEMA, Blob, Call, CaseEnd, Datagram, Lines, Record
from onesim.redaction import Redaction

START = "0" * 64
INLINE_LIMIT = 4096

_Record = TypeVar("_Record")


class Writer:
    """Appends records to a file, without the secrets of `redaction`. Safe to use from several threads.

    `note` is given the bytes of each record as they stand in the file, in their order. Raises ConfigError if the file cannot be written.
    """

    def __init__(self, path: Path, redaction: Redaction | None = None, note: Callable[[bytes], None] = lambda data: None) -> None:
        self.path = path
        self._note = note
        self._encode = msgspec.json.encode if redaction is None else redaction.record
        self.chain = START
        self.records = 0
        self._lock = threading.Lock()
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; choose another --out") from None

    def write(self, record: msgspec.Struct) -> None:
        """Append one record and flush it."""
        data = self._encode(record)
        with self._lock:
            self.chain = _link(self.chain, data)
            try:
                self._file.write(b'{"chain":"' + self.chain.encode() + b'","data":' + data + b"}\n")
                self._file.flush()
            except OSError as error:
                raise ConfigError(f"{self.path}: {error.strerror}; free space or choose another --out") from None
            self.records += 1
            self._note(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _link(chain: str, data: bytes) -> str:
    return hashlib.sha256(chain.encode() + data).hexdigest()


class Line(msgspec.Struct, Generic[_Record]):
    """One line as decoded."""

    chain: str
    data: _Record


class BrokenChain(Exception):
    """The file was changed after it was written; the text names the line."""


def read(path: Path, records: Any) -> Iterator[Any]:
    """Yield the records of a file in order.

    `records` is the union of record classes. A last line that is cut (a killed run) ends the file. Raises BrokenChain where the chain does not hold, ConfigError
    for what is no such file, or one of a newer form.
    """
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Line[records])
    chain = START
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    decoded = decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise BrokenChain(f"{path}:{number}: {error}") from None
                data = line[line.index(b'"data":') + 7 : -2]
                chain = _link(chain, data)
                if chain != decoded.chain:
                    raise BrokenChain(f"{path}:{number}: the record was changed, or one before it removed; the evidence is void")
                if getattr(decoded.data, "schema", 0) > SCHEMA:
                    raise ConfigError(f"{path}: was made by a newer onetck (schema {decoded.data.schema}, known is {SCHEMA}); read it with that one")
                yield decoded.data
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def head(path: Path) -> str:
    """Return the head of a file's chain: the chain of its last whole line."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                last = line
    return last[10:74].decode() if last else ""


class BlobStore:
    """Large pieces, content-addressed in a directory, without the secrets of `redaction`; each is written once."""

    def __init__(self, directory: Path, redaction: Redaction | None = None) -> None:
        self.directory = directory
        self._redaction = redaction

    def put(self, data: bytes, seen: int | None = None, *, inline: int = INLINE_LIMIT) -> Blob:
        """Store bytes and return the record that stands for them; `seen` counts what was produced if the limit cut it. No more than `inline` bytes need no file."""
        if not data:
            return Blob(bytes_seen=seen or 0)
        if self._redaction is not None:
            lost = max(0, (seen or 0) - len(data))
            data = self._redaction.data(data, cut=lost > 0)
            seen = len(data) + lost
        digest = hashlib.sha256(data).hexdigest()
        if len(data) > inline:
            path = self.directory / digest
            if not path.exists():
                self.directory.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f"{digest}.{os.getpid()}.{threading.get_ident()}")
                partial.write_bytes(data)
                partial.replace(path)
        text = data[:INLINE_LIMIT].decode(errors="replace")
        return Blob(len(data), text, len(data) <= INLINE_LIMIT and (seen or 0) <= len(data), digest, seen or len(data))


_VOLATILE = re.compile(rb'"(at_ns|duration_ns|wall_s|started_s|answer_sha256|sha256|size|bytes_seen)":(?:"[^"]*"|-?[\d.e+-]+)')
_ENCODED = re.compile(rb"[A-Za-z0-9+/]{80,}={0,2}")
_NAMES = re.compile(rb"[0-9a-f]{32,64}|(?<=[._-])[A-Za-z0-9]{6,}(?=\b)")


def _opened(found: re.Match[bytes]) -> bytes:
    """Return the document behind base64, so that names in it are normalised too."""
    text = found.group()
    try:
        return base64.b64decode(text[: len(text) // 4 * 4]).replace(b'"', b"'")
    except ValueError:
        return text


def normalised(record: msgspec.Struct) -> bytes:
    """Return the normalised form of a record: without times, digests and generated names (32 or more hexadecimal digits, or a suffix of six letters
    or more as temporary names have), also within base64 documents, and without places in the driver, so that equal runs compare equal.
    """
    if isinstance(record, Datagram) and record.encrypted:
        # encryption differs each time; the text stands beside it
        record = msgspec.structs.replace(record, payload=Blob())
    if isinstance(record, Call):
        record = msgspec.structs.replace(record, failed_at=None, last_at=())
    plain = _ENCODED.sub(_opened, _VOLATILE.sub(rb'"\1":0', msgspec.json.encode(record)))
    return _NAMES.sub(b"*", plain)


class Normal:
    """The digest of the normalised form of a history as it grows: equal runs have equal ones, whatever the order in which their cases ended."""

    def __init__(self) -> None:
        self._cases: dict[str, Any] = {}
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Record)

    def note(self, data: bytes) -> None:
        """Take a record as it stands in the file."""
        self.take(self._decoder.decode(data))

    def take(self, record: msgspec.Struct) -> None:
        """Take the next record. Those of no case, and how long a case took and what it ran, do not count."""
        case = getattr(record, "case", None)
        if case is not None and not isinstance(record, CaseEnd | Lines):
            self._cases.setdefault(case, hashlib.sha256()).update(normalised(record) + b"\n")

    def hexdigest(self) -> str:
        """Return the digest of what was taken."""
        return hashlib.sha256(b"".join(name.encode() + b"\0" + one.digest() for name, one in sorted(self._cases.items()))).hexdigest()


def normal_sha256(history: Path) -> str:
    """Return the digest of the normalised form of a history."""
    normal = Normal()
    for record in read(history, Record):
        normal.take(record)
    return normal.hexdigest()
