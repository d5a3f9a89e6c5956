"""The program that installs and removes the recording shims, as one file for a front-end: a shell and coreutils are all that it needs."""

from __future__ import annotations

from pathlib import Path

from onesim.spec import Spec

FOLDERS = {"ds": "datastore", "tm": "tm"}


def packed(spec: Spec) -> str:
    """Return the recorder with the shim in it, and the names of the scripts that OpenNebula calls."""
    here = Path(__file__).parent
    names = dict.fromkeys(f"{FOLDERS[one.family]}/{one.name}" for one in spec.actions if one.family in FOLDERS)
    shim = (here / "shim.sh").read_text(encoding="utf-8").rstrip("\n")
    return (here / "recorder.sh").read_text(encoding="utf-8").replace("@ACTIONS@", " ".join(names)).replace("@SHIM@", shim)
