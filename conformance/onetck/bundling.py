"""The evidence bundle: everything that a reviewer needs of a run in one file, which is equal, byte for byte, for equal results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import tomli_w

from onereport.results import ResultRecord, ResultsFooter, ResultsHeader
from onesim.errors import ConfigError
from onesim.journal import BrokenChain, head, read
from onesim.records import Footer, Header, Record
from onetck import container, manifest, waivers
from onetck.conclude import REFERENCE, SELFTEST
from onetck.repeating import runs_of
from onetck.signing import sign

HISTORY, RESULTS = "history.jsonl", "results.jsonl"
#: What a bundle takes of a run's directory, where it is there.
REPORTS = ("report.html", "junit.xml", "summary.md", "badge.svg", "results.sarif")
FOLDERS = ("blobs", "faults")
#: The history of the reference driver that was played beside the driver: the report shows its durations, and nothing of it is judged.
BESIDE = f"{REFERENCE}/{HISTORY}"
DRIVER, ENVIRONMENT = "driver.sha256", "environment.json"


def bundle(out: Path, target: Path, key: Path | None = None) -> manifest.Manifest:
    """Write the bundle of the run in `out` to `target`, signed with an SSH key if one is given. Returns its manifest.

    Raises ConfigError for what is no run that was judged, BrokenChain for one that was changed since.
    """
    runs = runs_of(out)
    histories = [out / run / HISTORY for run in runs] or [out / HISTORY]
    if not (out / RESULTS).is_file() or not histories[0].is_file():
        several = sorted(path.parent.name for path in out.glob(f"*/{RESULTS}"))
        remedy = f"give one of its directories: {', '.join(several)}" if several else "`onetck run` makes one, `onetck report` judges it"
        raise ConfigError(f"{out}: holds no run that was judged; {remedy}")
    results, decided = ends(out / RESULTS)
    if results.history_sha256 != head(histories[0]):
        raise BrokenChain(f"{out / RESULTS}: is of another history than {histories[0]}; `onetck report {out}` judges this one")
    files = {name: path.read_bytes() for name, path in _found(out, runs)}
    header, footer = history_ends(histories[0])
    for history in histories[1:]:
        history_ends(history)
    files |= derived(header, results, files)
    made = manifest.compose(header, footer, results, decided, runs, files)
    text = manifest.encode(made)
    signature = {} if key is None else {manifest.SIGNATURE: sign(text, key)}
    container.write({manifest.NAME: text, **signature, **dict(sorted(files.items()))}, target)
    return made


def ends(path: Path) -> tuple[ResultsHeader, ResultsFooter | None]:
    """Return the header and the footer of results. Raises ConfigError for another file, BrokenChain for one that was changed."""
    records = list(read(path, ResultRecord))
    if not records or not isinstance(records[0], ResultsHeader):
        raise ConfigError(f"{path}: holds no results; give the directory of a run")
    return records[0], records[-1] if isinstance(records[-1], ResultsFooter) else None


def history_ends(path: Path) -> tuple[Header, Footer | None]:
    """Return the header and the footer of a history. Raises ConfigError for another file, BrokenChain for one that was changed."""
    first: Header | None = None
    last: Footer | None = None
    for record in read(path, Record):
        first = record if first is None and isinstance(record, Header) else first
        last = record if isinstance(record, Footer) else None
    if first is None:
        raise ConfigError(f"{path}: holds no history; give the directory of a run")
    return first, last


def _found(out: Path, runs: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for place in (out, *(out / run for run in runs)):
        for name in (HISTORY, RESULTS, BESIDE, SELFTEST, *REPORTS):
            if (place / name).is_file():
                yield (place / name).relative_to(out).as_posix(), place / name
        for folder in FOLDERS:
            for path in (place / folder).glob("*"):
                if path.is_file():
                    yield path.relative_to(out).as_posix(), path


def derived(header: Header, results: ResultsHeader, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that a bundle has for its readers, from the records: what was given, the driver's digests, the environment, the waivers."""
    blobs = "run-1/blobs" if results.history.startswith("run-1/") else "blobs"
    found = {name: files[f"{blobs}/{digest}"] for name, digest in header.given.items() if f"{blobs}/{digest}" in files}
    found[DRIVER] = "".join(f"{row.sha256}  {row.path}\n" for row in header.files).encode()
    about = {"system": header.environment, "isolation": header.isolation, "command": header.command, "seed": header.seed, "driver": header.driver}
    found[ENVIRONMENT] = msgspec.json.format(msgspec.json.encode(about)) + b"\n"
    if results.waivers:
        found[waivers.NAME] = tomli_w.dumps({"waiver": [msgspec.to_builtins(one) for one in results.waivers]}).encode()
    return found
