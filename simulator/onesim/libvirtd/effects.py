"""What a simulated libvirtd wants done on its host. A plan is a generator: it yields effects, gets their results, and returns what it was made for."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effect:
    """Something done on a host; the deeds are those of `onesim.world.libvirt`. `root`: with libvirtd's rights, else with those of QEMU."""

    host: str
    deed: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    root: bool = False


@dataclass(frozen=True)
class ClientFile:
    """A file that the command names, opened with the command's own rights: read, or written where there is `data`."""

    path: str
    data: bytes | None = None


@dataclass(frozen=True)
class Result:
    """What came of an effect: `errno` and `why` where it was refused."""

    data: Mapping[str, Any]

    @property
    def errno(self) -> int:
        """The number of the error, 0 for none."""
        return int(self.data.get("errno", 0))

    @property
    def why(self) -> str:
        """The error in words."""
        return str(self.data.get("why", ""))


Plan = Generator[Effect | ClientFile, Result, T]


class Refused(Exception):
    """libvirt refuses. The lines are what virsh prints behind `error: `; the first one may come from the command itself."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


@dataclass(frozen=True)
class Hand:
    """Effects on one host with one kind of rights."""

    host: str
    root: bool

    def do(self, deed: str, **arguments: Any) -> Plan[Result]:
        """Do something; what the host refuses is told in the result."""
        return (yield Effect(self.host, deed, arguments, self.root))

    def tool(self, *argv: str, stdin: str = "") -> Plan[str]:
        """Run a tool. Returns its stdout; raises Refused with its own words if it fails."""
        result = yield from self.do("tool", argv=list(argv), stdin=stdin)
        if result.data.get("status", 1):
            raise Refused(str(result.data.get("stderr", result.why)).strip() or f"{argv[0]} failed")
        return str(result.data["stdout"])

    def info(self, path: str, format: str = "") -> Plan[dict[str, Any]]:
        """Return what qemu-img knows of an image."""
        text = yield from self.tool("qemu-img", "info", "-U", "--output=json", *(("-f", format) if format else ()), path)
        found: dict[str, Any] = json.loads(text)
        return found

    def look(self, path: str) -> Plan[Mapping[str, Any] | None]:
        """Return what is known of a path; None where nothing is."""
        result = yield from self.do("look", path=path)
        return None if result.errno else result.data


def read_client(path: str) -> Plan[bytes]:
    """Read a file that the command names. Raises Refused as virsh does."""
    result = yield ClientFile(path)
    if result.errno:
        raise Refused(f"Failed to open file '{path}': {result.why}")
    return base64.b64decode(str(result.data["data"]))
