"""The driver programs (MADs) of a run: named on the command line or in `onetck.toml`, and laid out for the world."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onesim.errors import ConfigError
from onesim.layout import MadProgram
from onesim.mad.own import packed
from onesim.spec import ContractSpec
from onetck.config import Config, MadTable
from onetck.driver import Driver

OWN = "own"
_WHERE = "/usr/lib/one/mads"


def mads_of(options: Iterable[str], config: Config, base: Path, spec: ContractSpec, driver: Driver) -> tuple[MadProgram, ...]:
    """Return the driver programs of a run. `options` are the words of `--mad`, such as `tm=./one_tm -t 15`; they go before the file's.

    Raises ConfigError for a name that is none, or a program that is not to be had.
    """
    tables: dict[str, tuple[Path, MadTable]] = {name: (base, table) for name, table in config.mad.items()}
    for option in options:
        name, given, command = option.partition("=")
        words = _words(option, command)
        if name not in spec.spec.mads or not given or not words:
            raise ConfigError(f"--mad {option!r} is not NAME=PROGRAM with one of {', '.join(spec.spec.mads)}; such as --mad tm=./one_tm")
        tables[name] = (Path(), MadTable(words[0], tuple(words[1:])))
    return tuple(_program(name, *tables[name], spec, driver) for name in spec.spec.mads if name in tables)


def _words(option: str, command: str) -> Sequence[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--mad {option!r}: {error}") from None


def _program(name: str, base: Path, table: MadTable, spec: ContractSpec, driver: Driver) -> MadProgram:
    row = spec.spec.mads[name]
    arguments = table.arguments or _usual(row.arguments, driver.mads(), spec.contract.option if row.carries == "document" else "")
    if table.program == OWN:
        return MadProgram(name, f"{_WHERE}/{row.program}", arguments, packed(spec, name))
    if table.program.startswith("/usr/"):
        return MadProgram(name, table.program, arguments)
    path = base / table.program
    try:
        return MadProgram(name, f"{_WHERE}/{path.name}", arguments, path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name the driver program {name} with --mad or in [mad.{name}]") from None


def _usual(words: Sequence[str], there: Mapping[str, Sequence[str]], option: str) -> tuple[str, ...]:
    filled = tuple(word.format(**{family: ",".join(names) for family, names in there.items()}) for word in words)
    return (*filled, option) if option else filled
