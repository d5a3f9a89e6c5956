"""A vendor's starting point: the reference driver under the vendor's name, with what is still to be written refused properly.

A role may be several drivers together: those of a mixed mode, or one that keeps backups beside the pair whose disks it keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import tomli_w
from msgspec.structs import replace as replaced

from onesim.data import data_dir
from onesim.errors import ConfigError
from onetck import oned_conf, statement
from onetck.conclude import find_profile
from onetck.config import NAME
from onetck.setting import Given, Setting, settle
from onetck.transplanting import FOLDERS, Graft, driver, helpers, lay

#: What the directories of a driver may be called: oned.conf lists them, and a mode's suffix stands behind a dot.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Start:
    """What a vendor asks for: the directory to make, the driver's name, the role of the reference driver to start from, the profiles to keep.

    `backup` is a role whose backup driver comes along, under the driver's name with `_backup` behind it.
    """

    directory: Path
    name: str
    like: str = "shared"
    profiles: str = "core"
    vendor: str = ""
    backup: str = ""


def roles() -> list[str]:
    """Return the roles of the reference driver that a vendor can start from: its descriptions, by name."""
    return ["shared", *sorted(path.stem for path in data_dir("reference_driver").glob("*.toml") if path.name != NAME)]


def backups() -> list[str]:
    """Return the roles with a backup driver."""
    return [role for role in roles() if _role(role).driver.backup_mad]


@cache  # asked for several times, and each reads a whole driver
def _role(name: str) -> Setting:
    return settle(Given(config=data_dir("reference_driver") / (NAME if name == "shared" else f"{name}.toml")))


def begin(start: Start) -> Setting:
    """Make the directory. Returns the setting of the driver in it. Raises ConfigError for a name that cannot be, or a directory that holds something."""
    if not _NAME.fullmatch(start.name):
        raise ConfigError(f"--name {start.name!r}: a driver's name is a lower case letter, then letters, digits and underscores, such as acme_san")
    if start.like not in roles():
        raise ConfigError(f"--like {start.like!r} is unknown; choose one of {', '.join(roles())}")
    if start.directory.exists() and (not start.directory.is_dir() or any(start.directory.iterdir())):
        raise ConfigError(f"{start.directory}: holds something; give a directory that is empty or not there")
    reference, keeper = _role(start.like), _keeper(start)
    start = replace(start, profiles=_profiles(start, reference, keeper))
    names = _names(start, reference, keeper)
    wanted = _wanted(reference, start.profiles)
    graft = Graft(data_dir("reference_driver") / "remotes", start.directory / "remotes", names, wanted, set(reference.spec.actions))
    helpers(graft, {f"{family}/{name}" for family, names in _families(reference).items() for name in names})
    for family, old in names:
        driver(graft, family, old, whole=keeper is not None and old == keeper.driver.backup_mad)
    _describe(start, reference, keeper, names)
    made = settle(Given([start.directory]))
    stated = statement.draft(made.spec, made.driver, made.subject.image_template, shared=made.shared, vendor=start.vendor, version="0.1")
    # those that no action shows are claimed where they were asked for
    by_name = [name.strip() for name in start.profiles.split(",") if made.spec.spec.profiles[name.strip()].named]
    stated = replaced(stated, profiles=(*stated.profiles, *by_name))
    (start.directory / statement.NAME).write_text(statement.render(stated))
    (start.directory / "README.md").write_text("\n".join(_guide(start, made, stated.refuses)) + "\n")
    return settle(Given([start.directory]))


def _keeper(start: Start) -> Setting | None:
    """Return the role whose backup driver comes along. Raises ConfigError for one that has none."""
    role = start.backup or (start.like if start.like in backups() else "")
    if role and role not in backups():
        raise ConfigError(f"--backup {role!r} keeps no backups; choose one of {', '.join(backups())}")
    return _role(role) if role else None


def _profiles(start: Start, reference: Setting, keeper: Setting | None) -> str:
    """Return the profiles to keep; with a backup driver those of its own too, and of making backups where the pair can."""
    more = [name for name in ("ds-backup", "tm-backup") if keeper is not None and (name == "ds-backup" or reference.driver.has("tm/prebackup"))]
    return ",".join(dict.fromkeys([*(name.strip() for name in start.profiles.split(",")), *more]))


def _names(start: Start, reference: Setting, keeper: Setting | None) -> dict[tuple[str, str], str]:
    """Return the new names of the drivers, by family and old name."""
    old = reference.driver
    found = {("ds", old.datastore_mad): start.name, ("tm", old.tm_mad): start.name}
    if old.system_tm_mad != old.tm_mad:
        found["tm", old.system_tm_mad] = f"{start.name}_{old.system_tm_mad}"
    if keeper is not None:
        found["ds", keeper.driver.backup_mad] = f"{start.name}_backup"
    return found


def _families(reference: Setting) -> dict[str, list[str]]:
    return {family: reference.driver.mads()[folder] for family, folder in FOLDERS.items()}


def _wanted(reference: Setting, profiles: str) -> set[str]:
    """Return the actions that profiles are about, and those without which no datastore on the nodes is monitored."""
    kept = set(find_profile(reference.spec, profiles).requirements)
    named = {action for name in profiles.split(",") for action in reference.spec.spec.profiles[name.strip()].needs}
    return named | {row.action for row in reference.spec.spec.requirements if row.id in kept} | {"tm/monitor_ds"}


def _describe(start: Start, reference: Setting, keeper: Setting | None, names: dict[tuple[str, str], str]) -> None:
    """Write onetck.toml: that of the role, under the vendor's names, with the files that it brings."""
    old, config, source = reference.driver, reference.config, data_dir("reference_driver")
    kept = config if keeper is None else keeper.config
    transfer = {names["tm", mad]: row for mad, row in config.tm_mad_conf.items() if ("tm", mad) in names}
    modes = {name: replaced(row, modes={names["tm", mode]: targets for mode, targets in row.modes.items()}) for name, row in transfer.items()}
    described = replaced(
        config,
        driver=replaced(
            config.driver,
            paths=("remotes",),
            datastore=start.name,
            tm=start.name,
            system_tm=names["tm", old.system_tm_mad] if old.system_tm_mad != old.tm_mad else "",
            backup=f"{start.name}_backup" if keeper is not None else "",
            profiles=(),
        ),
        backup_datastore=kept.backup_datastore,
        tm_mad_conf=modes,
        ds_mad_conf={names["ds", mad]: row for mad, row in {**config.ds_mad_conf, **kept.ds_mad_conf}.items() if ("ds", mad) in names},
    )
    for row in config.file:
        lay(source / row.source, start.directory / row.source)
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
