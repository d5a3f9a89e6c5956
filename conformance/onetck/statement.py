"""What a vendor states of a driver: `statement.toml`. A run certifies the profiles that it claims, and says where it and the driver disagree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import tomli_w

from onesim.errors import ConfigError
from onesim.spec import ContractSpec, Spec
from onetck.conclude import claimable
from onetck.driver import Driver

NAME = "statement.toml"


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `contracts` are aliases or exact versions; `profiles` the roles that the driver is made for; `refuses` the actions that it has not."""

    vendor: str
    driver: str
    version: str
    contracts: tuple[str, ...]
    profiles: tuple[str, ...]
    refuses: tuple[str, ...] = ()


def read_statement(path: Path, spec: Spec) -> Statement:
    """Read and verify a statement. Raises ConfigError naming file, place and remedy."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Statement)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; `onetck statement` drafts one") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; `onetck statement` drafts one") from None
    for what, names, known in (
        ("profile", found.profiles, spec.profiles),
        ("action", found.refuses, {action.key for action in spec.actions}),
    ):
        wrong = next((name for name in names if name not in known), "")
        if wrong:
            raise ConfigError(f"{path}: {what} {wrong!r} is unknown; choose of {', '.join(sorted(known))}")
    for name in found.contracts:
        try:
            spec.contract(name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return found


def draft(
    spec: ContractSpec, driver: Driver, template: Mapping[str, str] | None = None, *, shared: bool, vendor: str = "", version: str = ""
) -> Statement:
    """Return what can be stated of a driver as it is found: nothing that it has no action for."""
    profiles = claimable(spec, driver, template, shared=shared)
    return Statement(
        vendor,
        f"datastore/{driver.datastore_mad}, tm/{driver.tm_mad}",
        version,
        (spec.contract.name,),
        tuple(profiles),
        tuple(_refused(spec, driver)),
    )


def render(statement: Statement) -> str:
    """Return the text of the file."""
    head = "# What this driver is made for. `onetck run` certifies these profiles, and says where this file and the driver disagree.\n"
    return head + tomli_w.dumps(msgspec.to_builtins(statement))


def disagreements(
    statement: Statement, spec: ContractSpec, driver: Driver, template: Mapping[str, str] | None = None, *, shared: bool
) -> Iterator[str]:
    """Yield a sentence for everything that a statement and the driver say otherwise."""
    able = claimable(spec, driver, template, shared=shared)
    for name in statement.profiles:
        lacking = [action for action in spec.spec.profiles[name].needs if action in spec.actions and not driver.has(action)]
        if lacking:
            yield f"it claims {name}, but the driver refuses {', '.join(lacking)}"
    for name in able:
        if name not in statement.profiles:
            yield f"the driver has the actions of {name}, which it does not claim"
    refused = set(_refused(spec, driver))
    for action in sorted(set(statement.refuses) - refused):
        if action in spec.actions:
            yield f"it says that {action} is refused, but the driver has it"
    for action in sorted(refused - set(statement.refuses)):
        yield f"the driver refuses {action}, of which it says nothing"
    if spec.contract.name not in {spec.spec.contract(name).name for name in statement.contracts}:
        yield f"it does not claim the contract {spec.contract.name}"


def _refused(spec: ContractSpec, driver: Driver) -> Iterator[str]:
    """Yield the actions of a driver's scripts that do no more than refuse; those that are missing are not stated but wrong."""
    return (action.key for action in spec.actions.values() if driver.refuses(action.key))
