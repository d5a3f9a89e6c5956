"""Whether the files of an evidence bundle agree with one another: the chains, the counts, the digests, and what follows from them.

Who changes a record must change all that follows from it; a signature over the manifest is what that cannot be done for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from onereport.results import ResultRecord, ResultsFooter, ResultsHeader
from onesim.errors import ConfigError
from onesim.journal import BrokenChain, head, normal_sha256, read
from onesim.records import Blob, CaseEnd, Footer, Header, Record
from onetck import bundling, manifest, provenance
from onetck.bundling import HISTORY, RESULTS
from onetck.manifest import Manifest
from onetck.repeating import runs_of


def problems(root: Path, told: Manifest) -> Iterator[str]:
    """Yield a sentence for each thing in an unpacked bundle that does not fit the rest."""
    runs = told.predicate.runs
    try:
        if runs != runs_of(root):
            yield "the directories of the repeated run are not those of the manifest"
            return
        for run in runs or ("",):
            yield from _history(root / run)
            yield from _results(root / run, root / run / HISTORY)
            if (root / run / bundling.BESIDE).is_file():
                bundling.history_ends(root / run / bundling.BESIDE)
        if runs:
            yield from _results(root, root / runs[0] / HISTORY)
        yield from _manifest(root, told)
    except (BrokenChain, ConfigError) as error:
        yield str(error).replace(f"{root}/", "")


def _history(place: Path) -> Iterator[str]:
    """Yield what is wrong with a history, its blobs among it."""
    path, count, cases, calls = place / HISTORY, 0, 0, 0
    header: Header | None = None
    footer: Footer | None = None
    wanted: set[str] = set()
    for record in read(path, Record):
        if footer is not None:
            yield f"{path}: records stand behind its end"
            return
        count += 1
        match record:
            case Header():
                if count > 1:
                    yield f"{path}: has two beginnings"
                header = record
                wanted |= set(record.given.values())
            case CaseEnd():
                cases, calls = cases + 1, calls + record.calls
            case Footer():
                footer = record
            case _:
                wanted |= set(_blobs(record))
    if header is None:
        yield f"{path}: has no beginning"
        return
    digest = hashlib.sha256("".join(f"{row.path}\0{row.mode:o}\0{row.sha256}\n" for row in header.files).encode()).hexdigest()
    if digest != header.driver_sha256:
        yield f"{path}: the digest of the driver is not that of its files"
    if footer is not None:
        if (footer.records, footer.cases, footer.calls) != (count, cases, calls):
            yield f"{path}: ends with {footer.records} records, {footer.cases} cases and {footer.calls} calls, and has {count}, {cases} and {calls}"
        # another tool may normalise otherwise
        if header.tool_sha256 == provenance.tool_sha256() and footer.normal_sha256 != normal_sha256(path):
            yield f"{path}: the digest of its normalised form is another one"
    elif path.read_bytes()[-1:] != b"\n":
        yield f"{path}: is cut in the midst of a record"
    # runs of the first form did not keep all pieces, such as answers to questions
    yield from _content(place / "blobs", wanted if header.schema > 1 else set())


def _blobs(record: object) -> Iterator[str]:
    """Yield the digests of the pieces beside the log that a record stands for."""
    for name in getattr(record, "__struct_fields__", ()):
        value = getattr(record, name)
        if isinstance(value, Blob):
            if not value.complete and value.sha256:
                yield value.sha256
        elif name in ("answer_sha256", "sha256", "trace_sha256") and isinstance(value, str) and value:
            yield value


def _content(folder: Path, wanted: set[str]) -> Iterator[str]:
    there = {path.name: path for path in folder.glob("*")}
    for name in sorted(wanted - set(there)):
        yield f"blobs/{name}: is missing; a record stands for it"
    for name, path in there.items():
        if hashlib.sha256(path.read_bytes()).hexdigest() != name:
            yield f"blobs/{name}: its bytes have another digest"


def _results(place: Path, history: Path) -> Iterator[str]:
    """Yield what is wrong with results that are to be of a history."""
    path = place / RESULTS
    results, decided = bundling.ends(path)
    header, footer = bundling.history_ends(history)
    if results.history_sha256 != head(history):
        yield f"{path}: is of another history"
    for name in ("contract", "version", "driver_sha256", "spec_sha256", "started_s", "environment", "isolation"):
        if getattr(results, name) != getattr(header, name):
            yield f"{path}: {name} is not that of the history"
    if footer is not None and decided is None:
        yield f"{path}: has no end, and its history has one"
    kinds = [type(record) for record in read(path, ResultRecord)]
    if kinds.count(ResultsHeader) > 1 or kinds.count(ResultsFooter) > 1:
        yield f"{path}: has two beginnings or ends"


def _manifest(root: Path, told: Manifest) -> Iterator[str]:
    """Yield what the manifest, and the files made for readers, say otherwise than the records."""
    results, decided = bundling.ends(root / RESULTS)
    header, footer = bundling.history_ends(root / (told.predicate.runs[0] if told.predicate.runs else "") / HISTORY)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for name, data in bundling.derived(header, results, files).items():
        if files.get(name) != data:
            yield f"{name}: is not what follows from the records"
    if manifest.compose(header, footer, results, decided, told.predicate.runs, files) != told:
        yield f"{manifest.NAME}: does not say what the records say"
