"""The manifest of an evidence bundle: an in-toto statement whose subject is the driver, file by file, and whose predicate says what was found of it, by what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from onereport.results import ResultsFooter, ResultsHeader
from onesim.records import Footer, Header

STATEMENT = "https://in-toto.io/Statement/v1"
EVIDENCE = "urn:onetck:evidence:1"
NAME, SIGNATURE = "manifest.json", "manifest.json.sig"


class Resource(msgspec.Struct, frozen=True, omit_defaults=True):
    """A thing and its digests. `size` in bytes, -1 = not told."""

    name: str
    digest: dict[str, str]
    size: int = -1


class Predicate(msgspec.Struct, frozen=True):
    """What was found, and with what. `files` are all files of the bundle but the manifest and its signature.

    `history` is the head of the history's chain, `normal` the digest of its normalised form, by which equal runs are equal. `runs` are the directories of a run
    that was repeated.
    """

    tool: Resource
    specification: Resource
    contract: str
    version: str
    profile: Resource
    verdict: str
    sentence: str
    exit_code: int
    level: str
    counts: dict[str, int]
    started_s: float
    history: str
    normal: str
    runs: tuple[str, ...]
    environment: dict[str, str]
    isolation: dict[str, str]
    files: tuple[Resource, ...]


class Manifest(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    """The statement."""

    type: str
    subject: tuple[Resource, ...]
    predicate_type: str
    predicate: Predicate


def compose(
    header: Header, footer: Footer | None, results: ResultsHeader, decided: ResultsFooter | None, runs: tuple[str, ...], files: Mapping[str, bytes]
) -> Manifest:
    """Return the manifest of these files; without a decision the run is PARTIAL."""
    return Manifest(
        STATEMENT,
        subject(header),
        EVIDENCE,
        Predicate(
            Resource(header.tool, {"sha256": header.tool_sha256}),
            Resource("specification", {"sha256": header.spec_sha256}),
            header.contract,
            header.version,
            Resource(results.profile, {"sha256": results.profile_sha256}),
            decided.verdict if decided else "PARTIAL",
            decided.sentence if decided else "The run was interrupted; what ran is recorded, and no verdict follows.",
            decided.exit_code if decided else 2,
            decided.level if decided else "",
            dict(decided.counts) if decided else {},
            header.started_s,
            results.history_sha256,
            footer.normal_sha256 if footer else "",
            runs,
            header.environment,
            header.isolation,
            tuple(Resource(name, {"sha256": hashlib.sha256(data).hexdigest()}, len(data)) for name, data in sorted(files.items())),
        ),
    )


def subject(header: Header) -> tuple[Resource, ...]:
    """Return the files of the driver; the digest of a link is that of where it leads."""
    return tuple(Resource(row.path, {"sha256": row.sha256}) for row in header.files)


def encode(manifest: Manifest) -> bytes:
    """Return the text of the file."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    return msgspec.json.schema(Manifest)
