"""A vendor's starting point: the reference driver under the vendor's name, with what is still to be written refused properly."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli_w

from onesim.data import data_dir
from onesim.errors import ConfigError
from onetck import oned_conf, statement
from onetck.conclude import find_profile
from onetck.config import NAME
from onetck.setting import Given, Setting, settle

#: What the directories of a driver may be called: oned.conf lists them, and a mode's suffix stands behind a dot.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FOLDERS = {"ds": "datastore", "tm": "tm"}
_REFUSAL = """\
#!/bin/bash
set -euo pipefail
exec "${0%/*}/../../not_supported" WHAT "${0##*/}"
"""
_OTHER = re.compile(r"/\.\./([a-z0-9_]+)/([a-z0-9_.]+)")


@dataclass(frozen=True)
class Start:
    """What a vendor asks for: the directory to make, the driver's name, the role of the reference driver to start from, the profiles to keep."""

    directory: Path
    name: str
    like: str = "shared"
    profiles: str = "core"
    vendor: str = ""


def roles() -> list[str]:
    """Return the roles of the reference driver that a vendor can start from: its descriptions, by name."""
    return ["shared", *sorted(path.stem for path in data_dir("reference_driver").glob("*.toml") if path.name != NAME)]


def alone(reference: Setting) -> bool:
    """Tell whether a role is one pair of drivers: not those of a mixed mode, and none that keeps backups of another's disks."""
    return reference.driver.system_tm_mad == reference.driver.tm_mad and not reference.driver.backup_mad


def begin(start: Start) -> Setting:
    """Make the directory. Returns the setting of the driver in it. Raises ConfigError for a name that cannot be, or a directory that holds something."""
    if not _NAME.fullmatch(start.name):
        raise ConfigError(f"--name {start.name!r}: a driver's name is a lower case letter, then letters, digits and underscores, such as acme_san")
    if start.like not in roles():
        raise ConfigError(f"--like {start.like!r} is unknown; choose one of {', '.join(roles())}")
    if start.directory.exists() and (not start.directory.is_dir() or any(start.directory.iterdir())):
        raise ConfigError(f"{start.directory}: holds something; give a directory that is empty or not there")
    source = data_dir("reference_driver")
    reference = settle(Given(config=source / (NAME if start.like == "shared" else f"{start.like}.toml")))
    wanted = _wanted(reference, start.profiles)
    if not alone(reference):
        raise ConfigError(f"--like {start.like}: is several drivers together; start from one of {', '.join(roles())} that is not")
    _copy(source / "remotes", start, reference, wanted)
    _describe(start, reference, source)
    made = settle(Given([start.directory]))
    stated = statement.draft(made.spec, made.driver, made.subject.image_template, shared=made.shared, vendor=start.vendor, version="0.1")
    # those that no action shows are claimed where they were asked for
    by_name = [name.strip() for name in start.profiles.split(",") if made.spec.spec.profiles[name.strip()].named]
    stated = msgspec.structs.replace(stated, profiles=(*stated.profiles, *by_name))
    (start.directory / statement.NAME).write_text(statement.render(stated))
    (start.directory / "README.md").write_text("\n".join(_guide(start, made, stated.refuses)) + "\n")
    return settle(Given([start.directory]))


def _copy(tree: Path, start: Start, reference: Setting, wanted: set[str]) -> None:
    """Copy the helpers, and of the drivers the one of the role under its new name."""
    target = start.directory / "remotes"
    drivers = {f"{family}/{name}" for family, names in reference.driver.mads().items() for name in names}
    for path in sorted(tree.rglob("*")):
        relative = path.relative_to(tree).as_posix()
        if path.is_file() and not any(relative.startswith(f"{driver}/") for driver in drivers):
            _lay(path, target / relative)
    for family, name in (("ds", reference.driver.datastore_mad), ("tm", reference.driver.tm_mad)):
        folder = tree / _FOLDERS[family] / name
        for script in sorted(folder.iterdir()):
            made = target / _FOLDERS[family] / start.name / script.name
            key = f"{family}/{script.name}"
            if "." in script.name:
                continue  # for a mode with another driver
            if key in wanted or key not in reference.spec.actions:
                _lay(_followed(script), made)
            else:
                made.parent.mkdir(parents=True, exist_ok=True)
                made.write_text(_REFUSAL.replace("WHAT", "datastore" if family == "ds" else "transfer"))
                made.chmod(0o755)


def _wanted(reference: Setting, profiles: str) -> set[str]:
    """Return the actions that profiles are about, and those without which no datastore on the nodes is monitored."""
    kept = set(find_profile(reference.spec, profiles).requirements)
    named = {action for name in profiles.split(",") for action in reference.spec.spec.profiles[name.strip()].needs}
    return named | {row.action for row in reference.spec.spec.requirements if row.id in kept} | {"tm/monitor_ds"}


def _followed(script: Path) -> Path:
    """Return the script that does the work: where one of a driver goes on in that of another driver, the latter."""
    found = _OTHER.search(script.read_text())
    other = script.parent.parent / found[1] / found[2] if found else script
    return other if other.name == script.name and other.is_file() else script


def _lay(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _describe(start: Start, reference: Setting, source: Path) -> None:
    """Write onetck.toml: that of the role, under the vendor's name, with the files that it brings."""
    old, config = reference.driver, reference.config
    of_images, of_disks = config.ds_mad_conf.get(old.datastore_mad), config.tm_mad_conf.get(old.tm_mad)
    described = msgspec.structs.replace(
        config,
        driver=msgspec.structs.replace(config.driver, paths=("remotes",), datastore=start.name, tm=start.name, system_tm="", profiles=()),
        tm_mad_conf={start.name: of_disks} if of_disks else {},
        ds_mad_conf={start.name: of_images} if of_images else {},
    )
    for row in config.file:
        _lay(source / row.source, start.directory / row.source)
    text = f"# The driver {start.name} and its world. `onetck config --schema` tells all keys.\n{tomli_w.dumps(msgspec.to_builtins(described))}"
    (start.directory / NAME).write_text(text)


def _guide(start: Start, made: Setting, refused: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the vendor's README."""
    yield f"# The storage driver {start.name}"
    yield ""
    yield "Begun from the reference driver of onetck (Apache-2.0), which keeps files on storage; replace what it does by what your storage does."
    yield ""
    yield "```"
    yield "onetck run .                  # certify it: from the first minute it is CONFORMANT"
    yield f"onetck call tm/clone .        # one action of remotes/tm/{start.name}, with everything that it gets and does"
    yield "onetck spec tm/clone          # what the action must do"
    yield "```"
    yield ""
    yield "`onetck.toml` describes its world, `statement.toml` what you claim. An action that you add is claimed there by its profile."
    if refused:
        yield ""
        yield f"Refused so far, each by a script of its own: {', '.join(refused)}."
    yield ""
    yield "## On a front-end"
    yield ""
    yield "Copy `remotes/` over `/var/lib/one/remotes`, except `scripts_common.sh` and `tm/tm_common.sh`, which a front-end has. In `/etc/one/oned.conf`:"
    yield ""
    yield "```"
    yield from oned_conf.lines(made.config, made.driver)
    yield "```"
