"""The driver under test: found in a directory, packed with the helper runtime that it needs, and hashed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.records import DriverFile

#: Helpers that stand for what a front-end brings itself: no part of a driver.
OF_THE_FRONT_END = frozenset(("scripts_common.sh", "tm/tm_common.sh", "datastore/libfs.sh", "datastore/downloader.sh"))
_FAMILIES = ("datastore", "tm")
_TEXT_MAX = 1 << 18
#: A script that only refuses has no more bytes than this beside its comments, such as a licence, and says so.
_SHORT = 512
_READ = 16 << 10
_REFUSAL = re.compile(rb"not[ _-]?(supported|implemented)", re.IGNORECASE)


@dataclass(frozen=True)
class Driver:
    """A driver as found. `root` is what the user named; `files` its files by their path in the remotes tree."""

    root: Path
    datastore_mad: str
    tm_mad: str
    system_tm_mad: str
    files: dict[str, Path]
    backup_mad: str = ""

    def hashes(self) -> tuple[DriverFile, ...]:
        """Return path, SHA-256 and mode of every file."""
        rows = []
        for name, path in sorted(self.files.items()):
            data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            rows.append(DriverFile(name, hashlib.sha256(data).hexdigest(), stat.S_IMODE(path.lstat().st_mode)))
        return tuple(rows)

    def sha256(self) -> str:
        """Digest over names, modes and contents."""
        digest = hashlib.sha256()
        for row in self.hashes():
            digest.update(f"{row.path}\0{row.mode:o}\0{row.sha256}\n".encode())
        return digest.hexdigest()

    def helpers(self) -> bytes:
        """Return `scripts_common.sh`: the driver's own, else that of the reference driver."""
        own = self.files.get("scripts_common.sh")
        return (own or data_dir("reference_driver") / "remotes" / "scripts_common.sh").read_bytes()

    def texts(self) -> dict[str, str]:
        """Return the text of every file that is one, by its path in the tree."""
        found = {}
        for name, path in self.files.items():
            with contextlib.suppress(OSError, UnicodeDecodeError):  # a dangling link, a directory, a program
                if path.stat().st_size <= _TEXT_MAX:
                    found[name] = path.read_text(encoding="utf-8")
        return found

    def has(self, action: str) -> bool:
        """Tell whether the driver has an action, such as tm/snap_create, and does more in it than refuse it.

        A script refuses if it is a link to `not_supported`, or if a few lines say no more than that.
        """
        return any(not refuses(script) for script in self._scripts(action))

    def refuses(self, action: str) -> bool:
        """Tell whether the driver has a script for an action that does no more than refuse it."""
        scripts = self._scripts(action)
        return bool(scripts) and all(refuses(script) for script in scripts)

    def _scripts(self, action: str) -> list[Path]:
        family, _, name = action.partition("/")
        mads = {"ds": (self.datastore_mad, self.backup_mad), "tm": (self.tm_mad, self.system_tm_mad)}.get(family, ())
        folders = [f"{'datastore' if family == 'ds' else family}/{mad}" for mad in mads if mad]
        return [script for folder in folders if (script := self._script(folder, name)) is not None]

    def _script(self, folder: str, name: str) -> Path | None:
        """Return a script of one directory, which may itself be a link to another one, as OpenNebula's own `shared` is."""
        linked = self.files.get(folder)
        if linked is None:
            return self.files.get(f"{folder}/{name}")
        script = linked / name
        return script if script.is_symlink() or script.is_file() else None

    def mads(self) -> dict[str, list[str]]:
        """Return the drivers that the tree holds, by family: directories, and links to such."""
        found: dict[str, dict[str, None]] = {family: {} for family in _FAMILIES}
        for name, path in sorted(self.files.items()):
            family, _, rest = name.partition("/")
            if family in found and ("/" in rest or (path.is_symlink() and path.is_dir())):
                found[family][rest.partition("/")[0]] = None
        return {family: list(names) for family, names in found.items()}

    def archive(self, version: str) -> bytes:
        """Return the remotes tree as a tar, with `VERSION` saying the contract's version."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:  # one header a file, and none for parts of a second
            for name, path in sorted(self.files.items()):
                tar.add(path, arcname=name, recursive=False)
            info = tarfile.TarInfo("VERSION")
            data = f"{version}\n".encode()
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def refuses(path: Path) -> bool:
    """Tell whether a script does no more than refuse its action."""
    try:
        script = path.resolve(strict=True)
        text = script.read_bytes()[:_READ]
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return True
    does = b"\n".join(line for line in text.splitlines() if not line.lstrip().startswith(b"#"))
    return _REFUSAL.search(script.name.encode()) is not None or (len(does) < _SHORT and _REFUSAL.search(does) is not None)


def _walk(root: Path, prefix: str) -> dict[str, Path]:
    found: dict[str, Path] = {}

    def refuse(error: OSError) -> None:
        raise ConfigError(f"{error.filename}: {error.strerror}; make the driver directory readable")

    for directory, folders, names in os.walk(root, onerror=refuse):
        links = [name for name in folders if Path(directory, name).is_symlink()]
        for name in sorted(names + links):
            path = Path(directory, name)
            if not path.is_symlink() and not path.is_file():
                continue
            if not path.is_symlink() and not os.access(path, os.R_OK):
                raise ConfigError(f"{path}: not readable; make the driver directory readable")
            relative = path.relative_to(root).as_posix()
            found[f"{prefix}/{relative}" if prefix else relative] = path
    return found


def _mads(root: Path, family: str) -> list[str]:
    folder = root / family
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _pick(root: Path, family: str, given: str, option: str) -> str:
    there = _mads(root, family)
    if given:
        if given not in there:
            raise ConfigError(f"{root / family}: no driver {given!r}; it holds {', '.join(there) or 'none'}; correct {option}")
        return given
    if len(there) != 1:
        raise ConfigError(f"{root / family}: holds {', '.join(there) or 'no driver'}; name one with {option}")
    return there[0]


def find_driver(paths: list[Path], datastore: str = "", tm: str = "", system_tm: str = "", backup: str = "") -> Driver:
    """Find the driver in a `remotes/` tree, or in `datastore/<mad>` and `tm/<mad>` directories given singly.

    A directory given singly gets the helper runtime of the reference driver around it, and the reference driver for the family that is not given.
    Raises ConfigError naming the path and the remedy.
    """
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: no such directory; give a remotes tree, or datastore/<mad> and tm/<mad> directories")
        if not os.access(path, os.R_OK | os.X_OK):
            raise ConfigError(f"{path}: not readable; make the driver directory readable")
    paths = [path.resolve() for path in paths]
    if len(paths) == 1 and any((paths[0] / family).is_dir() for family in _FAMILIES):
        root = paths[0]
        tm_mad = _pick(root, "tm", tm, "--tm")
        datastore_mad, system_tm_mad = _pick(root, "datastore", datastore, "--datastore"), _pick(root, "tm", system_tm or tm_mad, "--system-tm")
        backup_mad = _pick(root, "datastore", backup, "--backup") if backup else ""
        return Driver(root, datastore_mad, tm_mad, system_tm_mad, _walk(root, ""), backup_mad)
    files = _walk(data_dir("reference_driver") / "remotes", "")
    names = {"datastore": datastore, "tm": tm}
    for path in paths:
        family = path.parent.name
        if family not in _FAMILIES:
            raise ConfigError(f"{path}: neither a remotes tree (datastore/ and tm/ in it) nor a directory datastore/<mad> or tm/<mad>")
        files |= _walk(path, f"{family}/{path.name}")
        if path.name != backup:
            names[family] = names[family] or path.name
    datastore_mad, tm_mad = names["datastore"] or "fs", names["tm"] or "shared"
    if backup and not any(name.startswith(f"datastore/{backup}/") for name in files):
        raise ConfigError(f"{paths[0]}: no driver datastore/{backup}; give its directory, or correct --backup")
    return Driver(paths[0], datastore_mad, tm_mad, system_tm or tm_mad, files, backup)
