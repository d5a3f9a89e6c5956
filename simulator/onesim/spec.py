"""The tables of `spec/`, read once, typed, and refused where they contradict each other.

The table is the program: the simulator, the checks, the documentation and the report read these rows. A cell that differs between contracts is
a list of alternatives with `since` (inclusive) and `until` (exclusive); exactly one must hold for every contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import ConfigError, SpecError

Range = str | tuple[str, ...]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a table: unknown columns are refused."""


class Contract(Row, frozen=True):
    """A contract: `version` is the exact release, `generation` how driver action documents travel, `error` how error text is found."""

    name: str
    version: str
    generation: Literal["argument", "hybrid", "stdin"]
    error: Literal["separated", "whole", "plain"]
    verified: tuple[str, ...]
    default: bool = False


class Passing(Row, frozen=True):
    """How a generation passes the driver action document."""

    generation: Literal["argument", "hybrid", "stdin"]
    argv: tuple[str, ...]
    stdin: Literal["nothing", "dump"]


class Output(Row, frozen=True):
    """The parser of an action's stdout, for a range of versions."""

    parser: str
    since: Range = ()
    until: Range = ()


class Action(Row, frozen=True):
    """An action that oned calls. Columns are explained at the top of `spec/actions/*.toml`."""

    family: Literal["ds", "tm", "vmm"]
    name: str
    mad: Literal["datastore", "disk", "system", "hypervisor"]
    output: tuple[Output, ...]
    effect: str
    touches: tuple[str, ...]
    meaning: str
    source: str
    argv: tuple[str, ...] = ()
    passing: bool = False
    id: Literal["", "image", "request", "datastore"] = ""
    children: tuple[str, ...] = ()
    since: Range = ()
    until: Range = ()

    @property
    def key(self) -> str:
        """Family and name, as scripts and requirements refer to it."""
        return f"{self.family}/{self.name}"


class State(Row, frozen=True):
    """A state by name and number; `rest` = it waits for an operation."""

    name: str
    state: int
    lcm: int = -1
    rest: bool = False


class Kind(Row, frozen=True):
    """A disk kind and the DISK attributes that mark it."""

    name: str
    type: str
    image: bool
    clone: str = ""
    save: str = ""
    readonly: str = ""


class ScriptRow(Row, frozen=True):
    """A call of a script. Columns are explained at the top of `spec/scripts.toml`."""

    script: str
    each: Literal["disk", "directory", "context", "vm", "image", "datastore"]
    action: str
    kind: str = ""
    suffix: Literal["none", "own", "carried"] = "none"
    needs: str = ""
    fails: Literal["stop", "ignore"] = "stop"
    bind: dict[str, str] = {}
    since: Range = ()
    until: Range = ()


Place = Literal["", "host", "frontend", "previous_host", "previous_frontend"]


class OperationRow(Row, frozen=True):
    """What a user may ask of an object. Columns are explained at the top of `spec/lifecycle/vm.toml`."""

    name: str
    from_: tuple[str, ...] = msgspec.field(name="from")
    previous: tuple[str, ...] = ()
    enter: str = ""
    to: str = ""
    record: Literal["", "new", "copy"] = ""
    since: Range = ()
    until: Range = ()


class Phase(Row, frozen=True):
    """A stretch of a lifecycle in which scripts run. Columns are explained at the top of `spec/lifecycle/vm.toml`."""

    name: str
    scripts: tuple[str, ...]
    success: str
    failure: str
    state: str = ""
    here: Place = ""
    there: Place = ""
    places: tuple[Place, ...] = ()
    fails: Literal["stop", "ignore"] = "stop"
    release: Literal["", "normal", "forced"] = ""
    return_: Literal["", "previous"] = msgspec.field(name="return", default="")
    then: Literal["", "monitor"] = ""
    shows: Literal["", "before"] = ""
    absent: bool = False

    @property
    def shown(self) -> str:
        """The state that the object shows while the phase runs."""
        return self.state or self.name


class Lifecycle(Row, frozen=True):
    """The operations and phases of one kind of object."""

    object: Literal["vm", "image", "datastore"]
    operation: tuple[OperationRow, ...]
    phase: tuple[Phase, ...]


class Effect(Row, frozen=True):
    """What an action does to content. Columns are explained at the top of `spec/content.toml`."""

    name: str
    target: Literal["none", "image", "disk"]
    from_: Literal["none", "path", "original", "image", "disk"] = msgspec.field(name="from")
    success: Literal["same", "from", "zero", "any", "gone", "alias"] = "same"
    failure: Literal["same", "from", "any", "widen"] = "same"


class PlaceRow(Row, frozen=True):
    """A place that actions may touch: patterns over the facts of a call."""

    name: str
    pattern: tuple[str, ...]
    meaning: str
    only: Literal["", "created"] = ""


class Requirement(Row, frozen=True):
    """A numbered requirement. `check` names the check that observes it; a MUST without one says in `untestable` why.

    `when` narrows what the check looks at: for each key (a field of the call or observation, or a fact) the values that count.
    """

    id: str
    level: Literal["MUST", "SHOULD", "MAY"]
    action: str
    sentence: str
    source: str
    check: str = ""
    untestable: str = ""
    when: dict[str, tuple[str, ...]] = {}
    since: Range = ()
    until: Range = ()


class Profile(Row, frozen=True):
    """A frozen list of the requirements that a driver in this role keeps."""

    name: str
    title: str
    requirements: tuple[str, ...]


class _Contracts(Row, frozen=True):
    contract: tuple[Contract, ...]
    passing: tuple[Passing, ...]


class _States(Row, frozen=True):
    vm: tuple[State, ...]
    image: tuple[State, ...]
    datastore: tuple[State, ...]


class _Actions(Row, frozen=True):
    action: tuple[Action, ...]


class _Scripts(Row, frozen=True):
    row: tuple[ScriptRow, ...]


class _Kinds(Row, frozen=True):
    kind: tuple[Kind, ...]


class _Effects(Row, frozen=True):
    effect: tuple[Effect, ...]


class _Places(Row, frozen=True):
    place: tuple[PlaceRow, ...]


class _Requirements(Row, frozen=True):
    requirement: tuple[Requirement, ...]


class _Profiles(Row, frozen=True):
    profile: tuple[Profile, ...]


_Table = TypeVar("_Table", bound=Row)
_Ranged = TypeVar("_Ranged", Output, Action, ScriptRow, OperationRow, Requirement)


def _read(path: Path, table: type[_Table]) -> _Table:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=table)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {error}") from None
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; the installation lacks this table") from None


class Spec:
    """All tables of a directory. Build it with `load`; it is complete and free of contradictions once built."""

    def __init__(self, root: Path) -> None:
        self.root = root
        contracts = _read(root / "contracts.toml", _Contracts)
        self.contracts = contracts.contract
        self.passings = contracts.passing
        states = _read(root / "states.toml", _States)
        self.states: dict[str, tuple[State, ...]] = {"vm": states.vm, "image": states.image, "datastore": states.datastore}
        self.actions = tuple(row for path in self._files("actions") for row in _read(path, _Actions).action)
        self.kinds = {row.name: row for row in _read(root / "kinds.toml", _Kinds).kind}
        self.scripts = _read(root / "scripts.toml", _Scripts).row
        self.lifecycles: dict[str, Lifecycle] = {table.object: table for table in (_read(path, Lifecycle) for path in self._files("lifecycle"))}
        self.effects = {row.name: row for row in _read(root / "content.toml", _Effects).effect}
        self.places = {row.name: row for row in _read(root / "places.toml", _Places).place}
        self.requirements = tuple(row for path in self._files("requirements") for row in _read(path, _Requirements).requirement)
        self.profiles = {row.name: row for path in self._files("profiles") for row in _read(path, _Profiles).profile}

    def _files(self, folder: str) -> list[Path]:
        return sorted((self.root / folder).glob("*.toml"))

    @cached_property
    def sha256(self) -> str:
        """Digest over all tables (names and bytes), in hex."""
        digest = hashlib.sha256()
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(self.root).as_posix()}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def contract(self, name: str) -> Contract:
        """Return a contract by alias or exact version; the empty name is the default. Raises ConfigError for an unknown one."""
        for row in self.contracts:
            if name in (row.name, row.version) or (not name and row.default):
                return row
        known = ", ".join(row.name for row in self.contracts)
        raise ConfigError(f"contract {name!r} is unknown; choose one of {known}")

    def number(self, kind: str, name: str) -> State:
        """Return the row of a state. Raises SpecError for an unknown one."""
        for row in self.states[kind]:
            if row.name == name:
                return row
        raise SpecError(f"{self.root / 'states.toml'}: no {kind} state {name!r}")


class ContractSpec:
    """The tables as they hold for one contract: every ranged cell decided."""

    def __init__(self, spec: Spec, contract: Contract) -> None:
        self.spec = spec
        self.contract = contract
        self.version = contract.version
        self.actions = {row.key: row for row in self._holding(spec.actions)}
        self.scripts: dict[str, list[ScriptRow]] = {}
        for row in self._holding(spec.scripts):
            self.scripts.setdefault(row.script, []).append(row)
        self.passing = next(row for row in spec.passings if row.generation == contract.generation)
        self.requirements = {row.id: row for row in self._holding(spec.requirements)}
        self.phases: dict[tuple[str, str], Phase] = {(kind, row.name): row for kind, table in spec.lifecycles.items() for row in table.phase}

    def _holding(self, rows: Iterable[_Ranged]) -> list[_Ranged]:
        return [row for row in rows if in_range(self.version, row.since, row.until)]

    def parser(self, action: str) -> str:
        """Return the name of the output parser of an action."""
        return self._holding(self.actions[action].output)[0].parser

    def operations(self, kind: str, name: str) -> list[OperationRow]:
        """Return the rows of an operation in this contract."""
        return [row for row in self._holding(self.spec.lifecycles[kind].operation) if row.name == name]

    def argv(self, action: Action) -> Sequence[str]:
        """Return the names of the arguments of an action in order."""
        return self.passing.argv if action.passing else action.argv


@cache
def load(root: Path | None = None) -> Spec:
    """Read and verify all tables (of the installation, unless `root` is given).

    Raises SpecError naming file and row.
    """
    from onesim.specrules import verify

    spec = Spec(root or data_dir("spec"))
    verify(spec)
    return spec


@cache
def for_contract(name: str = "", root: Path | None = None) -> ContractSpec:
    """Return the tables for a contract (alias or exact version; empty = the newest)."""
    spec = load(root)
    return ContractSpec(spec, spec.contract(name))
