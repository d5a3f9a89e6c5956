"""The files of a driver as rules read them: what each is written in, which action it is, and what it leads to."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from onesim.data import data_dir
from onesim.spec import ContractSpec
from onetck.driver import Driver, refuses
from onetck.lint.shell import Shell, read_shell

#: The folder of each family of actions in a remotes tree.
FOLDERS = {"ds": "datastore", "tm": "tm"}
_FIRST = re.compile(r"#![ \t]*(\S+)(?:[ \t]+([^\r\n]*\S))?")
_SUFFIXES = {".sh": "bash", ".rb": "ruby", ".py": "python", ".pl": "perl"}
_LANGUAGES = re.compile(r"(bash|dash|ksh|sh|ruby|python|perl)[\d.]*")
# paths in a script that lead to another file of the tree
_STEPS = re.compile(r"(?:\.\./)+[\w./-]*\w")
_BELOW = re.compile(r"(?:\b(?:tm|datastore)|\.)/[\w./-]*\w|(?<=require_relative ['\"])[\w./-]+")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Script:
    """A file of text. `key` is its path in the remotes tree; `action` what oned calls it for, with `mode` after the dot; both empty if nothing."""

    key: str
    path: Path
    text: str
    action: str = ""
    mode: str = ""

    @cached_property
    def first(self) -> tuple[str, ...]:
        """The words of the first line, if it names an interpreter."""
        found = _FIRST.match(self.text)
        return (found.group(1), *(found.group(2) or "").split()) if found else ()

    @cached_property
    def program(self) -> str:
        """The interpreter as the first line names it, also through env; empty if there is no such line."""
        if self.first and self.first[0].endswith("/env"):
            return next((word for word in self.first[1:] if not word.startswith("-") and "=" not in word), "")
        return self.first[0] if self.first else ""

    @cached_property
    def interpreter(self) -> str | None:
        """Where the interpreter is on this machine; None if it is not there."""
        # a carriage return at the end of the line belongs to the name, as it does for the kernel
        if "\r" in self.text.partition("\n")[0]:
            return None
        return shutil.which(self.program) if self.program else None

    @cached_property
    def language(self) -> str:
        """What it is written in: bash, sh, ruby, python, perl; empty for anything else."""
        known = _LANGUAGES.fullmatch(self.program.rpartition("/")[2]) if self.first else None
        if known:
            return {"dash": "sh", "ksh": ""}.get(known.group(1), known.group(1))
        return "" if self.first else _SUFFIXES.get(self.path.suffix, "")

    @cached_property
    def shell(self) -> Shell | None:
        """The script as a shell reads it; None if it is none."""
        return read_shell(self.text) if self.language in ("bash", "sh") else None

    @cached_property
    def loads(self) -> dict[str, int]:
        """The names of the shell libraries that it loads, with their lines."""
        commands = self.shell.commands if self.shell else []
        held = {name: text for command in commands for name, _, text in (one.partition("=") for one in command.assigned)}
        found = {}
        for command in commands:
            if command.name in (".", "source") and len(command.words) > 1:
                word = command.words[1].strip("\"'")
                text = held.get(word.strip("${}"), word).strip("\"'")
                found[text.rpartition("/")[2]] = command.line
        return {name: line for name, line in found.items() if name.endswith(".sh")}

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their comments, as far as the sign # tells them; numbers are kept."""
        return [re.sub(r"(^|\s)#.*", "", line) for line in self.text.split("\n")]


@dataclass(frozen=True)
class Link:
    """A link as it stands in the tree."""

    key: str
    path: Path
    target: str


class Sources:
    """What the user gave of a driver: its own directories, what stands above them, and what these lead to."""

    def __init__(self, driver: Driver, spec: ContractSpec, *, shared: bool) -> None:
        self.driver = driver
        self.spec = spec
        self.shared = shared
        self.actions = {row.key: row for row in spec.spec.actions if row.family in FOLDERS}
        reference = data_dir("reference_driver")
        given = not driver.root.is_relative_to(reference)
        self.files = {key: path for key, path in driver.files.items() if not (given and path.is_relative_to(reference))}
        self._expand()
        self.links: list[Link] = []
        self.scripts: dict[str, Script] = {}
        self._gather()

    @property
    def folders(self) -> dict[str, tuple[str, ...]]:
        """The driver's own directories by family."""
        own = self.driver
        stores = (f"datastore/{name}" for name in (own.datastore_mad, own.backup_mad) if name)
        return {"ds": tuple(dict.fromkeys(stores)), "tm": tuple(dict.fromkeys((f"tm/{own.tm_mad}", f"tm/{own.system_tm_mad}")))}

    @property
    def entries(self) -> Iterator[Script]:
        """The scripts that oned calls."""
        return (script for script in self.scripts.values() if script.action)

    def script(self, action: str, folder: str) -> Script | None:
        """Return the script of an action in one of the driver's directories."""
        return self.scripts.get(f"{folder}/{action.partition('/')[2]}")

    def place(self, folder: str, name: str) -> Path:
        """Return where a script of one of the driver's directories is, or would be."""
        beside = next((path for key, path in self.files.items() if key.startswith(f"{folder}/")), Path(folder, name))
        return self.files.get(f"{folder}/{name}", beside.parent / name)

    def driver_has(self, action: str) -> bool:
        """Tell whether the driver has a file for an action, whatever it does."""
        family, _, name = action.partition("/")
        return any(f"{folder}/{name}" in self.files for folder in self.folders[family])

    def does(self, action: str) -> bool:
        """Tell whether the driver has a file for an action that does more than refuse it."""
        family, _, name = action.partition("/")
        places = (self.files.get(f"{folder}/{name}") for folder in self.folders[family])
        return any(place is not None and not refuses(place) for place in places)

    def holds(self, folder: str) -> bool:
        """Tell whether the user gave anything of a directory."""
        return any(key.startswith(f"{folder}/") for key in self.files)

    def _expand(self) -> None:
        """A driver's directory may be a link to another one: then that one's files are its own."""
        for folder in (folder for folders in self.folders.values() for folder in folders):
            path = self.files.get(folder)
            if path is not None and path.is_dir():
                self.files |= {f"{folder}/{inner.name}": inner for inner in sorted(path.resolve().iterdir()) if not inner.is_dir()}

    def _own(self, key: str) -> bool:
        shared = key.count("/") == 1 and key.partition("/")[0] in FOLDERS.values()
        return shared or any(key.startswith(f"{folder}/") for folders in self.folders.values() for folder in folders)

    def _gather(self) -> None:
        by_path = {os.path.normpath(path): key for key, path in self.files.items()}
        waiting = [key for key in sorted(self.files) if self._own(key)]
        seen = set(waiting)
        while waiting:
            key = waiting.pop()
            path = self.files[key]
            leads: list[Path] = []
            if path.is_symlink():
                target = str(path.readlink())
                if self._own(key):
                    self.links.append(Link(key, path, target))
                leads.append(path.parent / target)
            if path.is_file():
                script = self._read(key, path)
                if script is not None:
                    self.scripts[key] = script
                    leads += self._named(script)
            for lead in leads:
                for found in (by_path.get(os.path.normpath(f"{lead}{end}")) for end in ("", *_SUFFIXES)):
                    if found and found not in seen:
                        seen.add(found)
                        waiting.append(found)
        self.scripts = dict(sorted(self.scripts.items()))

    def _named(self, script: Script) -> Iterator[Path]:
        """Yield the places in the tree that a script's text may mean."""
        folder = script.path.resolve().parent
        root = script.path
        for _ in script.key.split("/"):
            root = root.parent
        for name in sorted(script.loads):
            yield root / name
        for line in script.lines:
            if "/" in line or "require_relative" in line:
                yield from (folder / found for found in _STEPS.findall(line))
                for found in _BELOW.findall(line):
                    yield root / found
                    yield folder / found

    def _read(self, key: str, path: Path) -> Script | None:
        try:
            if path.stat().st_size > _LARGEST:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        if b"\0" in data:
            return None
        action, mode = self._action(key)
        return Script(key, path, data.decode("utf-8", "replace"), action, mode)

    def _action(self, key: str) -> tuple[str, str]:
        folder, _, name = key.rpartition("/")
        for family, folders in self.folders.items():
            if folder in folders:
                for end in (len(name), name.rfind(".")):
                    if end > 0 and f"{family}/{name[:end]}" in self.actions:
                        return f"{family}/{name[:end]}", name[end + 1 :]
        return "", ""
