"""The file of a campaign, and the runs that it asks for."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import msgspec

from onesim.errors import ConfigError
from onetck.certify import fault_level
from onetck.config import without_secrets
from onetck.provenance import tool_sha256
from onetck.setting import Given, settle


class DriverTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A driver of the matrix: its directories, relative to the file of the campaign, and the words of `onetck run` that choose it."""

    name: str
    paths: tuple[str, ...]
    datastore: str = ""
    tm: str = ""
    system_tm: str = ""
    backup: str = ""
    config: str = ""


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A campaign. `seeds` is a list, or how many from 0 on; `timeout_s` what one run may take. Without `backends` or `hypervisors` each driver has its own."""

    driver: tuple[DriverTable, ...]
    contracts: tuple[str, ...]
    cases: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    seeds: tuple[int, ...] | int = 1
    backends: tuple[str, ...] = ()
    hypervisors: tuple[str, ...] = ()
    faults: str = "off"
    timeout_s: int = 600


class Job(msgspec.Struct, frozen=True):
    """One run: what it is about, the words of `onetck run`, and the key that is the same whenever it would do the same."""

    key: str
    driver: str
    contract: str
    case: str
    seed: int
    backend: str
    hypervisor: str
    words: tuple[str, ...]
    timeout_s: int


def read_matrix(path: Path) -> Matrix:
    """Read the file of a campaign. Raises ConfigError naming file, place and remedy."""
    try:
        matrix = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Matrix)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the file of a campaign, see docs/campaign.md") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}; docs/campaign.md tells what stands in it") from None
    for what, given in (
        ("driver", matrix.driver),
        ("contracts", matrix.contracts),
        ("cases or traces", matrix.cases + matrix.traces),
        ("seeds", seeds(matrix)),
    ):
        if not given:
            raise ConfigError(f"{path}: no {what}; a campaign needs one of each, see docs/campaign.md")
    names = [one.name for one in matrix.driver]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: two drivers have one name; name them apart")
    fault_level(matrix.faults)
    return matrix


def seeds(matrix: Matrix) -> Sequence[int]:
    """Return the seeds, one after the other, each once."""
    return range(matrix.seeds) if isinstance(matrix.seeds, int) else list(dict.fromkeys(matrix.seeds))


class _Settled(NamedTuple):
    """What all runs of a driver on a contract, backend and hypervisor share."""

    driver: str
    contract: str
    backend: str
    hypervisor: str
    words: tuple[str, ...]
    key: hashlib._Hash


class Plan:
    """The runs of a campaign. They are made one after the other each time they are asked for, as a million of them would fill the memory.

    `base` is the directory of the file. What can be wrong is found at once: raises ConfigError.
    """

    def __init__(self, matrix: Matrix, base: Path) -> None:
        self._settled = list(_settled(matrix, base))
        self._given = [("--case", name, name, "") for name in dict.fromkeys(matrix.cases)]
        self._given += [("--trace", str((base / name).resolve()), Path(name).stem, _digest(base / name)) for name in dict.fromkeys(matrix.traces)]
        self._seeds, self._faults, self._timeout_s = seeds(matrix), matrix.faults, matrix.timeout_s

    def __len__(self) -> int:
        return len(self._settled) * len(self._given) * len(self._seeds)

    def __iter__(self) -> Iterator[Job]:
        for one, (option, value, case, digest) in product(self._settled, self._given):
            words = (*one.words, option, value, "--faults", self._faults, "--seed")
            shared = one.key.copy()
            shared.update("\0".join((option, value, digest, self._faults, "")).encode())
            for seed in self._seeds:
                key = shared.copy()
                key.update(b"%d" % seed)
                own = (*words, str(seed))
                yield Job(key.hexdigest()[:32], one.driver, one.contract, case, seed, one.backend, one.hypervisor, own, self._timeout_s)


def _settled(matrix: Matrix, base: Path) -> Iterator[_Settled]:
    """Yield the settings of a campaign. No more than one is loaded at once."""
    for row in matrix.driver:
        paths = [(base / path).resolve() for path in row.paths]
        config = (base / row.config).resolve() if row.config else None
        options = {"--datastore": row.datastore, "--tm": row.tm, "--system-tm": row.system_tm, "--backup": row.backup, "--config": str(config or "")}
        axes = (matrix.contracts, matrix.backends or ("",), matrix.hypervisors or ("",))
        for contract, backend, hypervisor in product(*map(dict.fromkeys, axes)):
            chosen = Given(paths, row.datastore, row.tm, row.system_tm, contract, config, backup=row.backup, backend=backend, hypervisor=hypervisor)
            setting = settle(chosen)
            named = {**options, "--backend": backend, "--hypervisor": hypervisor, "--contract": contract}
            words = tuple(word for option, value in named.items() if value for word in (option, value))
            about = (row.name, tool_sha256(), setting.spec.spec.sha256, setting.driver.sha256(), setting.spec.contract.version, *words, "")
            key = hashlib.sha256("\0".join(about).encode() + without_secrets(setting.config, setting.redaction) + b"\0")
            yield _Settled(row.name, contract, setting.subject.backend, setting.subject.hypervisor, (*map(str, paths), *words), key)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name traces relative to the file of the campaign") from None
