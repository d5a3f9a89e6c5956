"""Our own driver program under a contract: its manner out of the tables, and packed into one file that runs wherever there is a Python."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import onesim
from onesim.mad.handlers import Manner
from onesim.spec import ContractSpec

#: What the packed program consists of: the modules that need the standard library alone.
_MODULES = ("__init__", "parsers", "mad/__init__", "mad/wire", "mad/transfer", "mad/results", "mad/scripts", "mad/handlers", "mad/server")


def manner(spec: ContractSpec, name: str) -> Manner:
    """Return how a program (tm or datastore) behaves under a contract."""
    row = spec.spec.mads[name]
    return Manner(
        name,
        spec.contract.error,
        tuple(dict.fromkeys(action.name for action in spec.actions.values() if row.program in action.by)) if row.carries == "document" else (),
        tuple(spec.passing.argv),
        spec.passing.stdin != "nothing",
        row.encodes,
        row.threads,
        bool(row.bounds) and spec.holds(since=row.bounds),
    )


def packed(spec: ContractSpec, name: str) -> bytes:
    """Return the program as one executable file, for a world in which this package is not installed."""
    root = Path(onesim.__file__).parent
    buffer = io.BytesIO(b"#!/usr/bin/python3 -IS\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        for module in _MODULES:
            archive.write(root / f"{module}.py", f"onesim/{module}.py")
        call = f"import sys\nfrom onesim.mad.handlers import Manner\nfrom onesim.mad.server import main\nsys.exit(main({manner(spec, name)!r}, sys.argv[1:]))\n"
        archive.writestr("__main__.py", call)
    return buffer.getvalue()
