"""What a run was made from, besides the driver: the vendor's description and statement without secrets, and the files of the specification and of the tool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from onetck.config import NAME, without_secrets

if TYPE_CHECKING:
    from onetck.setting import Setting

SPECIFICATION, TOOL = "specification.sha256", "tool.sha256"
_PACKAGES = ("onesim", "onereport", "onetck")
_NOT_OURS = ("__pycache__", "_data")


def given(setting: Setting) -> dict[str, bytes]:
    """Return what a run is made from, by the name under which it is shown."""
    found = {
        NAME: without_secrets(setting.config, setting.redaction),
        SPECIFICATION: _listed(setting.spec.spec.root, sorted(path for path in setting.spec.spec.root.rglob("*") if path.is_file())),
        TOOL: _tool(),
    }
    if setting.statement is not None:
        from onetck import statement

        found[statement.NAME] = statement.render(setting.statement).encode()
    return found


@cache
def tool_sha256() -> str:
    """Return the digest over all files of the tool: its packages with their templates, as they are installed."""
    return hashlib.sha256(_tool()).hexdigest()


@cache
def _tool() -> bytes:
    roots = [Path(str(resources.files(name))) for name in _PACKAGES]
    return b"".join(_listed(root.parent, _files(root)) for root in roots)


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not set(path.relative_to(root).parts) & set(_NOT_OURS))


def _listed(root: Path, files: Iterable[Path]) -> bytes:
    """Return digests and names, as sha256sum writes and reads them."""
    rows = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n" for path in files)
    return "".join(rows).encode()
