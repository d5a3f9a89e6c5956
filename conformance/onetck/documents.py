"""Documents given on the command line: read, verified, shown."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from onesim.errors import ConfigError
from onesim.recognition import MAX_BYTES, recognise
from onesim.spec import ContractSpec


class Place(msgspec.Struct, frozen=True):
    """One problem of a document: line (from 1), path (XPath, JSON pointer or column), what is wrong, what to do."""

    line: int
    path: str
    message: str
    remedy: str


class Finding(msgspec.Struct, frozen=True):
    """What one document is and what is wrong with it; no problems = in order."""

    file: str
    kind: str
    encoding: str
    contract: str
    requirement: str
    problems: tuple[Place, ...]


def check(spec: ContractSpec, file: str, kind: str, *, deep: bool = False) -> Finding:
    """Read and verify one document; `-` is standard input. Raises ConfigError if it cannot be read, or has no such kind."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; give a file that can be read") from None
    found = recognise(data, spec, kind, file, deep=deep)
    problems = tuple(Place(one.line, one.path, one.message, one.remedy) for one in found.problems)
    return Finding(file, found.kind, found.encoding, spec.contract.name, found.requirement, problems)


def show(finding: Finding, console: Console) -> None:
    """Print a finding: one line if the document is in order, else a line and a remedy for each problem."""
    what = (finding.kind or "unknown") + (" in base64" if finding.encoding == "base64" else "")
    if not finding.problems:
        console.print(f"{finding.file}: {what}, in order for {finding.contract}", markup=False)
        return
    for one in finding.problems:
        console.print(f"{finding.file}:{one.line}: {what}: {one.path}: {one.message}\n    remedy: {one.remedy}", markup=False)
    if finding.requirement:
        console.print(f"    requirement: {finding.requirement} (onetck explain {finding.requirement})", markup=False)
