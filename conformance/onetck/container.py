"""The file of an evidence bundle: a zip in which nothing depends on when, where and by whom it is made, and of which every byte is accounted for."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from onesim.errors import ConfigError

_MOMENT = (1980, 1, 1, 0, 0, 0)
_ATTRIBUTES = 0o644 << 16
_UNIX = 3
_UNPACKED_MAX = 8 << 30
#: Beyond these a zip has another form, of which the contents alone are looked at.
_ENTRIES_MAX, _BYTES_MAX = 0xFFFF, 1 << 31

#: The rows of the directory at the end of a zip, and what stands behind them.
_ROW, _END = "<4s4B4HL2L5H2L", "<4s4H2LH"


#: What zipfile and zlib raise for bytes that were changed; the file has been read before, so that no disk is at fault.
_SPOILED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Void(Exception):
    """A bundle that is not as it was made; the text says why."""


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _MOMENT)
    info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, _ATTRIBUTES, _UNIX
    return info


def write(files: Mapping[str, bytes], target: Path) -> None:
    """Write files in their order. Raises ConfigError if that cannot be."""
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in files.items():
                archive.writestr(_info(name), data)
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}; choose another -o") from None


def unpack(path: Path) -> dict[str, bytes]:
    """Return the files. Raises Void for a bundle that was changed, ConfigError for what is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a bundle that `onetck bundle` made") from None
    if data[:2] != b"PK" and not zipfile.is_zipfile(path):
        raise ConfigError(f"{path}: is no bundle; `onetck bundle` makes one")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries, comment = archive.infolist(), archive.comment
            names = [info.filename for info in entries]
            strange = next((name for name in names if name.startswith("/") or ".." in PurePosixPath(name).parts or name.endswith("/")), "")
            if strange or len(set(names)) < len(names):
                raise Void(f"{strange or 'a file'}: stands there twice, or leads out of the bundle")
            if sum(info.file_size for info in entries) > _UNPACKED_MAX:
                raise Void("it holds more than any run records")
            files = {name: archive.read(name) for name in names}
        large = len(entries) >= _ENTRIES_MAX or len(data) >= _BYTES_MAX
        if not large and (comment or data != _rebuilt(data, entries)):
            raise Void("between its files stand bytes that `onetck bundle` does not write")
    except _SPOILED as error:
        raise Void(f"cannot be unpacked: {error}") from None
    return files


def _rebuilt(data: bytes, entries: list[zipfile.ZipInfo]) -> bytes:
    """Return what the bundle is made of besides the packed bytes of its files, as it is written: names and sizes, and nothing else."""
    body, directory = [], []
    at = 0
    for entry in entries:
        info = _info(entry.filename)
        info.CRC, info.compress_size, info.file_size, info.flag_bits = entry.CRC, entry.compress_size, entry.file_size, entry.flag_bits & 0x800
        header = info.FileHeader(zip64=False)
        start = at + len(header)
        packed = data[start : start + info.compress_size]
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        stream.decompress(packed)
        body += [header, packed if stream.eof and not stream.unused_data else b""]
        name = info.filename.encode()
        version, date, time = 20, (1 << 5) | 1, 0
        sizes = (info.CRC, info.compress_size, info.file_size, len(name))
        row = (b"PK\1\2", version, _UNIX, version, 0, info.flag_bits, info.compress_type, time, date, *sizes, 0, 0, 0, 0, _ATTRIBUTES, at)
        directory.append(struct.pack(_ROW, *row) + name)
        at = start + info.compress_size
    rows = b"".join(directory)
    end = struct.pack(_END, b"PK\5\6", 0, 0, len(entries), len(entries), len(rows), at, 0)
    return b"".join(body) + rows + end
