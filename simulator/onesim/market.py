"""The marketplace's side of an export, played by the harness: it fetches what IMPORT_INFO names, as a market driver's `import` does, and looks at the bytes.

The market driver is not under test. What it calls is: the downloader of the datastore drivers' tree, which knows the places that their `export` names.
Source: src/market_mad/one_market.rb and src/market_mad/remotes/http/import of OpenNebula 5.12.0 and 7.4.0.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from dataclasses import dataclass

from lxml import etree
from msgspec.structs import replace

from onesim import validation
from onesim.cloud import Cloud
from onesim.content import BLOCK, Version, image_key
from onesim.data import data_dir
from onesim.events import CallAsked
from onesim.journal import Writer
from onesim.layout import REMOTES, Subjected
from onesim.model import FRONTEND, Image
from onesim.observer import Observer, compare
from onesim.records import Imported
from onesim.spec import ContractSpec
from onesim.tracking import Tracking
from onesim.world.interface import Run, World

#: Where the marketplace keeps its files, and the helper runtime where the driver's tree has no downloader.
_MARKET = "/var/tmp/onetck-market"
_ERROR_BYTES = 300


@dataclass(frozen=True)
class Export:
    """An export that succeeded: its call, the call's number in the case, and the document that it printed."""

    asked: CallAsked
    n: int
    stdout: bytes


class Market:
    """Takes exports in, and writes down what became of each."""

    def __init__(
        self, spec: ContractSpec, subject: Subjected, world: World, observer: Observer, tracking: Tracking, writer: Writer, case: str
    ) -> None:
        self.spec, self.subject, self.world, self.observer = spec, subject, world, observer
        self.tracking, self.writer, self.case = tracking, writer, case

    @property
    def cloud(self) -> Cloud:
        """The cloud whose images are exported."""
        return self.tracking.cloud

    def take(self, export: Export, at_ns: int) -> None:
        """Fetch what an export names, compare it with the image, dispose of it as told, and forget it. A document that cannot be read leads to nothing."""
        root = validation.parse(export.stdout)
        image = self.cloud.images.get(export.asked.image)
        if not isinstance(root, etree._Element) or root.tag != "IMPORT_INFO" or image is None:
            return  # the grammar is another requirement's
        told = {str(child.tag): (child.text or "").strip() for child in root}
        place = f"{_MARKET}/app-{export.n}"
        self._run(["/bin/mkdir", "-p", _MARKET])
        fetched = self._run([self._downloader(), "-n", told.get("IMPORT_SOURCE", ""), place])
        if fetched.ended_by == "exit" and fetched.status == 0:
            seen = self._compared(export, image, told, place)
        else:
            why = fetched.stderr.decode(errors="replace").strip()[:_ERROR_BYTES] or f"the downloader ended by {fetched.ended_by} {fetched.status}"
            seen = Imported(self.case, export.asked.operation, export.n, image.id, told.get("IMPORT_SOURCE", ""), problem="missing", detail=why)
        self.writer.write(replace(seen, at_ns=at_ns))
        self._dispose(told)
        self._run(["/bin/rm", "-rf", "--", _MARKET])
        self.observer.refresh()

    def _downloader(self) -> str:
        """Return the path of the downloader: that of the driver's tree, or the reference driver's, which is laid down for the while."""
        own = f"{REMOTES}/datastore/downloader.sh"
        if self.world.exists(FRONTEND, own):
            return own
        self.world.unpack(_helpers(), (FRONTEND, f"{_MARKET}/remotes"))
        return f"{_MARKET}/remotes/datastore/downloader.sh"

    def _run(self, argv: list[str]) -> Run:
        return self.world.run(FRONTEND, argv, env=dict(self.subject.environment), limits=self.subject.limits)

    def _compared(self, export: Export, image: Image, told: dict[str, str], place: str) -> Imported:
        sum = self._run(["/usr/bin/md5sum", place]).stdout.decode(errors="replace").partition(" ")[0]
        seen = Imported(self.case, export.asked.operation, export.n, image.id, told.get("IMPORT_SOURCE", ""), told_sum=told.get("MD5", ""), sum=sum)
        # what an image holds while a guest may write to it is nobody's to say
        versions = None if image.state == "USED_PERS" else self.tracking.model.admits(image_key(image.id))
        format = told.get("FORMAT") or image.shown_format or "raw"
        content = self.world.read_disk(FRONTEND, place, format)
        if content.problem or versions is None:
            return replace(seen, problem=content.problem, detail=content.detail, compared=False)
        found, problem, detail, offset, nearest = compare(content, versions)
        expected = actual = ""
        if problem == "bytes" and nearest is not None:
            offset, expected, actual = self._differing(place, format, offset, nearest)
        return replace(
            seen, problem=problem, detail=detail, compared=True, found=found.id if found else "", offset=offset, expected=expected, actual=actual
        )

    def _differing(self, place: str, format: str, offset: int, nearest: Version) -> tuple[int, str, str]:
        """Return the first byte that differs, and 32 bytes there of both, in hex."""
        block = self.world.peek(FRONTEND, place, format, offset, BLOCK)
        wanted = nearest.read(offset, len(block))
        first = next((n for n, (a, b) in enumerate(zip(block, wanted, strict=True)) if a != b), 0)
        return offset + first, wanted[first : first + 32].hex(), block[first : first + 32].hex()

    def _dispose(self, told: dict[str, str]) -> None:
        """Remove a copy that was made for the export: since 6.0 by the command that IMPORT_INFO names, its words parted by blanks; before, by its path."""
        if told.get("DISPOSE") != "YES":
            return
        if self.spec.holds(since="5.13.80"):
            command = told.get("DISPOSE_CMD", "").split()
        else:
            command = ["/bin/rm", told.get("IMPORT_SOURCE", "")]
        if command:
            self._run(["/usr/bin/env", "--", *command])


def _helpers() -> bytes:
    """Return the reference driver's downloader with what it needs beside it, as a tar."""
    remotes = data_dir("reference_driver") / "remotes"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("", "datastore"):
            for path in sorted((remotes / folder).iterdir()):
                if path.is_file():
                    tar.add(path, posixpath.join(folder, path.name), filter=_of_nobody)
    return buffer.getvalue()


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
