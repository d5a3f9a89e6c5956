"""The file of a campaign, and the runs that it asks for."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec

from onesim.errors import ConfigError
from onetck.certify import fault_level
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


def seeds(matrix: Matrix) -> tuple[int, ...]:
    """Return the seeds, one after the other."""
    return tuple(range(matrix.seeds)) if isinstance(matrix.seeds, int) else matrix.seeds


def jobs(matrix: Matrix, base: Path) -> Iterator[Job]:
    """Yield the runs of a campaign, without loading more than one setting at once. `base` is the directory of its file. Raises ConfigError."""
    tool = tool_sha256()
    given = [("--case", name, name, "") for name in matrix.cases]
    given += [("--trace", str((base / name).resolve()), Path(name).stem, _digest(base / name)) for name in matrix.traces]
    for row in matrix.driver:
        paths = [(base / path).resolve() for path in row.paths]
        config = (base / row.config).resolve() if row.config else None
        options = {"--datastore": row.datastore, "--tm": row.tm, "--system-tm": row.system_tm, "--backup": row.backup, "--config": str(config or "")}
        words = [*map(str, paths), *(word for option, value in options.items() if value for word in (option, value))]
        for contract, backend, hypervisor in product(matrix.contracts, matrix.backends or ("",), matrix.hypervisors or ("",)):
            chosen = Given(paths, row.datastore, row.tm, row.system_tm, contract, config, backup=row.backup, backend=backend, hypervisor=hypervisor)
            setting = settle(chosen)
            hosts = tuple(word for option, value in (("--backend", backend), ("--hypervisor", hypervisor)) if value for word in (option, value))
            for (option, value, case, digest), seed in product(given, seeds(matrix)):
                own = (*words, *hosts, "--contract", contract, option, value, "--seed", str(seed), "--faults", matrix.faults)
                about = (tool, setting.driver.sha256(), setting.spec.contract.version, digest, *own[len(paths) :])
                key = hashlib.sha256("\0".join((row.name, *about)).encode()).hexdigest()[:32]
                yield Job(key, row.name, contract, case, seed, setting.subject.backend, setting.subject.hypervisor, own, matrix.timeout_s)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name traces relative to the file of the campaign") from None
