"""`onetck.toml`: a vendor's world. Its JSON Schema comes from these classes (`onetck config --schema`); unknown keys are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from onesim.cloud import MadConf, Mode
from onesim.errors import ConfigError
from onesim.layout import ExtraFile
from onesim.world.interface import Limits

NAME = "onetck.toml"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class DriverTable(_Table, frozen=True):
    """`[driver]`: paths are relative to the file; they are used where the command line names none."""

    paths: tuple[str, ...] = ()
    datastore: str = ""
    tm: str = ""
    system_tm: str = ""
    backup: str = ""
    contract: str = ""


class ModeTable(_Table, frozen=True):
    """`[tm_mad_conf.<tm_mad>.modes.<system tm_mad>]`: LN_TARGET_x, CLONE_TARGET_x and DISK_TYPE_x for a name x of TM_MAD_SYSTEM."""

    LN_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    CLONE_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    DISK_TYPE: str = "FILE"


class TmConfTable(_Table, frozen=True):
    """`[tm_mad_conf.<tm_mad>]`: the attributes of TM_MAD_CONF in oned.conf."""

    LN_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "NONE"
    CLONE_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    SHARED: Literal["YES", "NO"] = "YES"
    DS_MIGRATE: Literal["YES", "NO"] = "YES"
    DISK_TYPE: str = "FILE"
    DRIVER: str = ""
    ALLOW_ORPHANS: str = "FORMAT"
    modes: dict[str, ModeTable] = {}


class DsConfTable(_Table, frozen=True):
    """`[ds_mad_conf.<ds_mad>]`: the attributes of DS_MAD_CONF in oned.conf."""

    REQUIRED_ATTRS: tuple[str, ...] = ()
    PERSISTENT_ONLY: Literal["YES", "NO"] = "NO"


class FileTable(_Table, frozen=True):
    """`[[file]]`: a file or binary of the machine that stands in the world at `to`. `where` is all, frontend, hosts or a host's name."""

    source: str
    to: str
    mode: str = "0644"
    where: str = "all"


class SecretTable(_Table, frozen=True):
    """`[secret.<NAME>]`: a variable of the driver's environment whose value stands elsewhere: in an environment variable or a file."""

    env: str = ""
    file: str = ""


class MadTable(_Table, frozen=True):
    """`[mad.tm]` and `[mad.datastore]`: a driver program that stands between oned and the scripts, in place of the harness's own start of each script.

    `program` is a file relative to this one, a program that every host has (an absolute path below /usr), or `own` for that of `onetck mad`. `arguments` are
    those of oned.conf; if there are none, as many threads and all drivers of the tree, as oned.conf has them.
    """

    program: str
    arguments: tuple[str, ...] = ()


class LimitsTable(_Table, frozen=True):
    """`[limits]`: the bounds of one call; `scripts` is how many scripts each of oned's helpers runs at once (`-t` in oned.conf)."""

    time_s: float = 60
    output_kb: int = 1024
    processes: int = 256
    memory_mb: int = 1024
    scripts: int = 15


class HooksTable(_Table, frozen=True):
    """`[hooks]`: shell commands run as oneadmin on the front-end of every world, before the first and after the last operation."""

    setup: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()


class Config(_Table, frozen=True):
    """The whole file."""

    driver: DriverTable = DriverTable()
    image_datastore: dict[str, str] = {}
    system_datastore: dict[str, str] = {}
    backup_datastore: dict[str, str] = {}
    tm_mad_conf: dict[str, TmConfTable] = {}
    ds_mad_conf: dict[str, DsConfTable] = {}
    etc: dict[str, str] = {}
    file: tuple[FileTable, ...] = ()
    hooks: HooksTable = HooksTable()
    environment: dict[str, str] = {}
    secret: dict[str, SecretTable] = {}
    limits: LimitsTable = LimitsTable()
    mad: dict[Literal["tm", "datastore"], MadTable] = {}


def describes(path: Path) -> bool:
    """Tell whether a directory is no driver itself but describes one."""
    return (path / NAME).is_file() and not any((path / family).is_dir() for family in ("datastore", "tm"))


def _nearest(drivers: Sequence[Path]) -> Path | None:
    """Return the description that applies where none is named: the one given in place of a driver, that of this directory, that above the driver."""
    given = [path / NAME for path in drivers if describes(path)]
    above = [path.resolve().parent / NAME for path in drivers]
    return next((path for path in (*given, Path(NAME), *above) if path.is_file()), None)


def read_config(path: Path | None, drivers: Sequence[Path] = ()) -> tuple[Config, Path]:
    """Read the file given; else `onetck.toml` in a directory given in place of a driver, here, or beside the driver's tree.

    Returns it and the directory that its paths are relative to. Raises ConfigError naming file, place and remedy.
    """
    found = path or _nearest(drivers)
    if found is None:
        return Config(), Path()
    try:
        return msgspec.toml.decode(found.read_bytes(), type=Config), found.parent
    except OSError as error:
        raise ConfigError(f"{found}: {error.strerror}; give a configuration with --config") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{found}: {error}; see `onetck config --schema`") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `onetck.toml`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "onetck.toml", **msgspec.json.schema(Config)}


def tm_conf(config: Config) -> dict[str, MadConf]:
    """Return the TM_MAD_CONF attributes as the simulator takes them."""
    return {
        name: MadConf(
            row.SHARED == "YES",
            row.LN_TARGET,
            row.CLONE_TARGET,
            row.DISK_TYPE,
            row.DRIVER,
            row.ALLOW_ORPHANS,
            row.DS_MIGRATE == "YES",
            {system: Mode(mode.LN_TARGET, mode.CLONE_TARGET, mode.DISK_TYPE) for system, mode in row.modes.items()},
        )
        for name, row in config.tm_mad_conf.items()
    }


def limits(config: Config, time_s: float | None) -> Limits:
    """Return the bounds of a call; `time_s` of the command line goes before the file's."""
    row = config.limits
    seconds = row.time_s if time_s is None else time_s
    if seconds <= 0:
        raise ConfigError(f"a time limit of {seconds:g} s is no limit; give a number above 0")
    return Limits(time_s=seconds, output_bytes=row.output_kb * 1024, processes=row.processes, memory_mb=row.memory_mb)


def scripts(config: Config) -> int:
    """Return how many scripts run at once."""
    if config.limits.scripts < 1:
        raise ConfigError(f"[limits] scripts = {config.limits.scripts} lets no script run; give a number of at least 1")
    return config.limits.scripts


def files(config: Config, base: Path) -> tuple[ExtraFile, ...]:
    """Return the vendor's files with their bytes, and those of `remotes/etc`."""
    rows = []
    for row in config.file:
        path = base / row.source
        if not row.to.startswith("/"):
            raise ConfigError(f"file {row.source}: `to` is an absolute path in the world, not {row.to!r}")
        if not re.fullmatch(r"0?[0-7]{3}", row.mode):
            raise ConfigError(f"file {row.source}: mode {row.mode!r} is not octal such as 0755")
        try:
            rows.append(ExtraFile(row.to, path.read_bytes(), int(row.mode, 8), row.where))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; correct `source` of [[file]]") from None
    rows += [ExtraFile(f"/var/lib/one/remotes/etc/{name}", text.encode(), 0o644, "frontend") for name, text in config.etc.items()]
    return tuple(rows)


def environment(config: Config, base: Path) -> dict[str, str]:
    """Return the driver's environment with the secrets filled in. Raises ConfigError for a secret that is not to be had."""
    filled = dict(config.environment)
    for name, row in config.secret.items():
        if bool(row.env) == bool(row.file):
            raise ConfigError(f"secret {name}: name either env or file")
        if row.env:
            if row.env not in os.environ:
                raise ConfigError(f"secret {name}: the environment variable {row.env} is not set")
            filled[name] = os.environ[row.env]
        else:
            try:
                filled[name] = (base / row.file).read_text().rstrip("\n")
            except OSError as error:
                raise ConfigError(f"secret {name}: {base / row.file}: {error.strerror}") from None
    return filled


def require_attributes(config: Config, datastore_mad: str, backup_mad: str) -> None:
    """Raise ConfigError if a datastore's template lacks an attribute that DS_MAD_CONF requires, as oned refuses it."""
    for table, mad, template in (("image", datastore_mad, config.image_datastore), ("backup", backup_mad, config.backup_datastore)):
        row = config.ds_mad_conf.get(mad)
        missing = [name for name in row.REQUIRED_ATTRS if name not in template] if row else []
        if missing:
            raise ConfigError(f"[{table}_datastore] lacks {', '.join(missing)}, which REQUIRED_ATTRS of {mad} demands")
