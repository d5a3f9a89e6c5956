"""Files and disks of a world, harness side: what is laid down, looked for, read and written on its hosts."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from onesim.errors import HarnessError
from onesim.world import wire
from onesim.world.interface import DatastoreSeen, DatastoresSeen, DiskContent, Means, Patch, Place, Room


class Filing(ABC):
    """What a world offers for files and disks."""

    @abstractmethod
    def _request(self, do: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        """Ask the agent."""

    def _must(self, do: str, **arguments: Any) -> dict[str, Any]:
        answer = self._request(do, **arguments)
        problem = answer.get("error") or answer.get("failed")
        if problem:
            raise HarnessError(f"{do} {arguments.get('host', '')}:{arguments.get('path', '')}: {problem}")
        return answer

    def put(self, host: str, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file."""
        self._must("put", host=host, **_laid(path, data, mode))

    def put_all(self, host: str, files: Mapping[str, bytes], needed: Sequence[Place]) -> list[bool]:
        """Write files, if there is something at all of these places; return of each whether there is."""
        here = all(one.host == host and _is_file(one) for one in needed)
        there = [] if here else self.exist(needed)
        if not all(there):
            return there
        laid = [_laid(path, data, 0o644) for path, data in files.items()]
        return self._must("put_all", host=host, needed=[one.path for one in needed if here], files=laid)["there"] or there

    def mkdir(self, host: str, *paths: str) -> None:
        """Make directories."""
        self._must("mkdir", host=host, paths=paths)

    def unpack(self, archive: bytes, *places: tuple[str, str]) -> None:
        """Unpack a tar on hosts, each below a path."""
        self._must("unpack", places=places, data=base64.b64encode(archive).decode())

    def exists(self, host: str, path: str, means: Means | None = None) -> bool:
        """Tell whether a path, address or disk is there."""
        return bool(self._must("exists", host=host, path=path, means=wire.means_of(means))["value"])

    def exist(self, places: Sequence[Place]) -> list[bool]:
        """Tell of each place whether something is there."""
        wanted = [{"do": "exists", "path": one.path, "means": wire.means_of(one.means)} for one in places]
        answers = self._each(places, wanted)
        for one, answer in zip(places, answers, strict=True):
            if "error" in answer:
                raise HarnessError(f"exists {one.host}:{one.path}: {answer['error']}")
        return [bool(answer["value"]) for answer in answers]

    def capacity_mb(self, host: str, path: str) -> tuple[int, int]:
        """Return total and free MiB; where the path is not there yet, those of what it would lie on."""
        answer = self._request("capacity", host=host, path=path)
        return int(answer.get("total", 0)), int(answer.get("free", 0))

    def disk_sizes(self, host: str, path: str) -> dict[str, tuple[int, int]]:
        """Return allocated and apparent bytes of every disk and snapshot below a system datastore's directory."""
        return {
            name: (allocated, apparent) for name, (allocated, apparent) in self._request("disk_sizes", host=host, path=path).get("disks", {}).items()
        }

    def datastores(self, host: str, path: str, directories: str, mark: str) -> DatastoresSeen:
        """Return what a node's probe sees."""
        answer = self._must("datastores", host=host, path=path, directories=directories, mark=mark)
        rows = [DatastoreSeen(row["name"], base64.b64decode(row["mark"]), Room(*row["room"])) for row in answer["marked"]]
        return DatastoresSeen(Room(*answer["room"]), tuple(rows))

    def read(self, host: str, path: str, most: int = 65536) -> bytes:
        """Return the beginning of a file; nothing where it cannot be read."""
        return base64.b64decode(self._request("read", host=host, path=path, most=most).get("data", ""))

    def offer(self, page: str, data: bytes, *, cut: int = -1, location: str = "") -> None:
        """Offer a page of the web server."""
        self._must("offer", page=page, data=base64.b64encode(data).decode(), cut=cut, location=location)

    def make_disk(self, host: str, path: str, format: str, size: int, patches: Sequence[Patch]) -> None:
        """Make a disk."""
        self._must("make_disk", host=host, path=path, format=format, size=size, patches=wire.rows(patches))

    def read_disk(self, host: str, path: str, format: str, means: Means | None = None) -> DiskContent:
        """Read a disk."""
        return _content(self._request("read_disk", host=host, path=path, format=format, means=wire.means_of(means)))

    def read_disks(self, places: Sequence[Place]) -> list[DiskContent]:
        """Read disks."""
        wanted = [{"do": "read_disk", "path": one.path, "format": one.format, "means": wire.means_of(one.means)} for one in places]
        return [_content(answer) for answer in self._each(places, wanted)]

    def _each(self, places: Sequence[Place], wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answer to each request. What is wanted of files of one host is asked at once; what takes its time, a vendor's commands, one by one."""
        answers: list[dict[str, Any]] = [{}] * len(places)
        files: dict[str, list[int]] = {}
        for n, one in enumerate(places):
            if _is_file(one):
                files.setdefault(one.host, []).append(n)
            else:
                answers[n] = self._request(host=one.host, **wanted[n])
        for host, numbers in files.items():
            answer = self._request("several", host=host, of=[wanted[n] for n in numbers])
            for at, n in enumerate(numbers):
                answers[n] = answer["results"][at] if "results" in answer else answer
        return answers

    def peek(self, host: str, path: str, format: str, offset: int, length: int, means: Means | None = None) -> bytes:
        """Return bytes of a disk."""
        stretch = {"offset": offset, "length": length}
        answer = self._request("peek", host=host, path=path, format=format, means=wire.means_of(means), stretch=stretch)
        return base64.b64decode(answer.get("data", ""))

    def write_disk(self, host: str, path: str, format: str, patches: Sequence[Patch], means: Means | None = None) -> str:
        """Let the guest write."""
        answer = self._request("write_disk", host=host, path=path, format=format, patches=wire.rows(patches), means=wire.means_of(means))
        return str(answer.get("error") or answer.get("failed", ""))


def _is_file(place: Place) -> bool:
    return place.means is None and place.path.startswith("/")


def _laid(path: str, data: bytes, mode: int) -> dict[str, Any]:
    return {"path": path, "data": base64.b64encode(data).decode(), "mode": mode}


def _content(answer: dict[str, Any]) -> DiskContent:
    if "error" in answer:
        return DiskContent(problem="unreadable", detail=answer["error"])
    return DiskContent(answer.get("virtual_size", -1), tuple(answer.get("blocks", ())), answer.get("problem", ""), answer.get("detail", ""))
