"""The kit as one file for labs and worlds: a program of Python that needs nothing but its standard library."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from onesim.data import data_dir

_MODULES = ("kit", "tape", "redacting", "serving")
_MAIN = "import sys\n\nfrom onesim.arraykit.kit import main\n\nsys.exit(main())\n"


def packed() -> bytes:
    """Return the program: a first line that names Python, and an archive of the kit's modules and the table of secrets. The same bytes each time."""
    here = Path(__file__).parent
    files = {f"onesim/arraykit/{name}.py": (here / f"{name}.py").read_bytes() for name in _MODULES}
    files |= {"onesim/__init__.py": b"", "onesim/arraykit/__init__.py": b"", "__main__.py": _MAIN.encode()}
    files["onesim/arraykit/secrets.toml"] = (data_dir("spec") / "secrets.toml").read_bytes()
    held = io.BytesIO(b"#!/usr/bin/env python3\n")
    held.seek(0, io.SEEK_END)
    with zipfile.ZipFile(held, "a") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), data)
    return held.getvalue()
