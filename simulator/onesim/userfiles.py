"""The files that users bring: made on the front-end, packed, linked to, and offered by a web server of the world. What is in each is known here."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from onesim.content import Version, Write, pattern
from onesim.errors import TraceError
from onesim.model import FRONTEND
from onesim.world.interface import World

#: The name of the web server, as the hosts of a world know it.
WEB_SERVER = "files.example"
MIB = 1024 * 1024
_FILE_MAX = 64 * MIB
_PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda data: gzip.compress(data, mtime=0), "bzip2": bz2.compress, "xz": lzma.compress}


class UserFiles:
    """Plays the operations `file.*` and `url.*` that make or offer images, and keeps what is in them, by path or URL.

    `disks` has the content of the disk in each, `packed` the bytes of a packed file itself. A URL has those of the file that it offers.
    """

    OPERATIONS = frozenset({"file.make", "file.pack", "file.link", "url.serve", "url.redirect"})

    def __init__(self, world: World, case: str, disks: dict[str, Version], packed: dict[str, Version]) -> None:
        self.world = world
        self.case = case
        self.disks = disks
        self.packed = packed

    def play(self, op: str, arguments: Mapping[str, Any], where: str) -> dict[str, str | int]:
        """Do what a line of the trace asks; `where` names it. Returns what the history tells of the file besides.

        Raises TraceError for arguments that cannot be played.
        """
        match op:
            case "file.make":
                return self._make(arguments)
            case "file.pack":
                return self._pack(arguments, where)
            case "file.link":
                self.world.must_run(FRONTEND, ["/bin/ln", "-sT", "--", str(arguments["to"]), str(arguments["path"])])
            case "url.redirect":
                self.world.offer(_page(arguments, where), b"", location=str(arguments["to"]))
            case "url.serve":
                data = self._read(arguments, where)
                cut = int(arguments.get("cut_kb", -1))
                self.world.offer(_page(arguments, where), data, cut=cut << 10 if cut >= 0 else -1)
                self._same(str(arguments["url"]), str(arguments["path"]))
        return {}

    def _make(self, arguments: Mapping[str, Any]) -> dict[str, str | int]:
        path, size = str(arguments["path"]), int(arguments["size_mb"]) * MIB
        version = Version(size, pattern(f"{self.case}:{path}", size))
        self.world.make_disk(FRONTEND, path, arguments["format"], size, version.writes)
        if "mode" in arguments:
            self.world.must_run(FRONTEND, ["/bin/chmod", str(arguments["mode"]), "--", path])
        self.disks[path] = version
        return {}

    def _pack(self, arguments: Mapping[str, Any], where: str) -> dict[str, str | int]:
        path, how = str(arguments["path"]), str(arguments["how"])
        if how not in _PACK:
            raise TraceError(f"{where}: file.pack by {how!r} is unknown; there are {', '.join(_PACK)}")
        data = _PACK[how](self._read({"path": arguments["of"]}, where))
        self.world.put(FRONTEND, path, data)
        self._same(path, str(arguments["of"]))
        self.packed[path] = Version(len(data), _writes(data))
        return {"bytes": len(data), "md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}

    def _read(self, arguments: Mapping[str, Any], where: str) -> bytes:
        path = str(arguments["path"])
        if path not in self.disks:
            raise TraceError(f"{where}: {path} is no file that this trace has made; make it with file.make")
        return self.world.read(FRONTEND, path, _FILE_MAX)

    def _same(self, name: str, as_path: str) -> None:
        self.disks[name] = self.disks[as_path]
        if as_path in self.packed:
            self.packed[name] = self.packed[as_path]


def _page(arguments: Mapping[str, Any], where: str) -> str:
    scheme, _, rest = str(arguments["url"]).partition("://")
    host, slash, page = rest.partition("/")
    if (scheme, host, slash) != ("http", WEB_SERVER, "/"):
        raise TraceError(f"{where}: the web server of a world is http://{WEB_SERVER}/, not {arguments['url']}")
    return "/" + page.replace(" ", "%20")


def _writes(data: bytes) -> tuple[Write, ...]:
    """Return any bytes in the terms of the content register."""
    writes, at = [], 0
    for byte, run in groupby(data):
        length = sum(1 for _ in run)
        if byte:
            writes.append(Write(at, length, byte))
        at += length
    return tuple(writes)
