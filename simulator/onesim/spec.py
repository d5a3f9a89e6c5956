"""The tables of `spec/`, read once, typed, and refused where they contradict each other.

The table is the program: the simulator, the checks, the documentation and the report read these rows. A cell that differs between contracts is
a list of alternatives with `since` (inclusive) and `until` (exclusive); exactly one must hold for every contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import msgspec
import tomli

from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import ConfigError, SpecError
from onesim.monitor_rows import MonitorTables
from onesim.redaction import SecretTables
from onesim.rows import (
    Action,
    Argument,
    AskedRow,
    Carriage,
    Chapter,
    Child,
    CommandClass,
    Complaint,
    Contract,
    Discrepancy,
    Effect,
    ExitRow,
    FaultKind,
    Form,
    Kind,
    Level,
    Lifecycle,
    Mad,
    MadFaultRow,
    MadWait,
    Once,
    OperationRow,
    Output,
    ParserRow,
    Passing,
    Phase,
    PlaceRow,
    Profile,
    Quarantined,
    Range,
    RequestLine,
    Requirement,
    Row,
    ScriptRow,
    State,
    StaticRule,
    VerdictRow,
)
from onesim.trace_operations import TraceOperations


class _Contracts(Row, frozen=True):
    contract: tuple[Contract, ...]
    passing: tuple[Passing, ...]
    carriage: tuple[Carriage, ...]
    encrypted: tuple[str, ...]


class _States(Row, frozen=True):
    vm: tuple[State, ...]
    image: tuple[State, ...]
    datastore: tuple[State, ...]
    user: tuple[State, ...]


class _Actions(Row, frozen=True):
    action: tuple[Action, ...]


class _Arguments(Row, frozen=True):
    argument: tuple[Argument, ...]


class _Parsers(Row, frozen=True):
    parser: tuple[ParserRow, ...]


class _Questions(Row, frozen=True):
    object: tuple[AskedRow, ...]
    family: tuple[str, ...]


class _Discrepancies(Row, frozen=True):
    discrepancy: tuple[Discrepancy, ...]


class _Verdicts(Row, frozen=True):
    verdict: tuple[VerdictRow, ...]
    exit: tuple[ExitRow, ...]


class _Scripts(Row, frozen=True):
    row: tuple[ScriptRow, ...]


class _Kinds(Row, frozen=True):
    kind: tuple[Kind, ...]


class _Mads(Row, frozen=True):
    line: tuple[RequestLine, ...]
    mad: tuple[Mad, ...]
    wait: MadWait
    fault: tuple[MadFaultRow, ...]


class _Faults(Row, frozen=True):
    class_: tuple[CommandClass, ...] = msgspec.field(name="class")
    once: tuple[Once, ...]
    kind: tuple[FaultKind, ...]


class _Effects(Row, frozen=True):
    effect: tuple[Effect, ...]


class _Places(Row, frozen=True):
    place: tuple[PlaceRow, ...]


class _Static(Row, frozen=True):
    rule: tuple[StaticRule, ...]


class _Quarantine(Row, frozen=True):
    quarantine: tuple[Quarantined, ...]


class _Levels(Row, frozen=True):
    level: tuple[Level, ...]


class _Complaints(Row, frozen=True):
    complaint: tuple[Complaint, ...]


class _Profiles(Row, frozen=True):
    profile: tuple[Profile, ...]


_Table = TypeVar("_Table", bound=Row)
_Ranged = TypeVar("_Ranged", Output, Form, Child, Action, ScriptRow, OperationRow, Phase, RequestLine, Requirement)


def _read(path: Path, table: type[_Table]) -> _Table:
    try:
        return msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), table)
    except (msgspec.ValidationError, tomli.TOMLDecodeError, UnicodeDecodeError) as error:
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
        self.encrypted = frozenset(contracts.encrypted)
        self.carriages = {row.name: row for row in contracts.carriage}
        states = _read(root / "states.toml", _States)
        self.states: dict[str, tuple[State, ...]] = {"vm": states.vm, "image": states.image, "datastore": states.datastore, "user": states.user}
        self._numbers = {(kind, row.name): row for kind, rows in self.states.items() for row in rows}
        self.actions = tuple(row for path in self._files("actions") for row in _read(path, _Actions).action)
        self.arguments = {row.name: row for row in _read(root / "arguments.toml", _Arguments).argument}
        self.trace_operations = _read(root / "operations.toml", TraceOperations)
        self.parsers = {row.name: row for row in _read(root / "parsers.toml", _Parsers).parser}
        self.kinds = {row.name: row for row in _read(root / "kinds.toml", _Kinds).kind}
        self.scripts = _read(root / "scripts.toml", _Scripts).row
        mads = _read(root / "mads.toml", _Mads)
        self.request_lines = mads.line
        self.mads: dict[str, Mad] = {row.name: row for row in mads.mad}
        self.mad_wait = mads.wait
        self.mad_faults = {row.name: row for row in mads.fault}
        self.lifecycles: dict[str, Lifecycle] = {table.object: table for table in (_read(path, Lifecycle) for path in self._files("lifecycle"))}
        self.effects = {row.name: row for row in _read(root / "content.toml", _Effects).effect}
        faults = _read(root / "faults.toml", _Faults)
        self.command_classes = {row.name: row for row in faults.class_}
        self.faults = {row.name: row for row in faults.kind}
        self.once = {row.action: row for row in faults.once}
        self.fault_rows = (faults.class_, faults.kind)
        self.places = {row.name: row for row in _read(root / "places.toml", _Places).place}
        self.chapters: dict[str, Chapter] = {path.stem: _read(path, Chapter) for path in self._files("requirements")}
        self.requirements = tuple(row for chapter in self.chapters.values() for row in chapter.requirement)
        questions = _read(root / "questions.toml", _Questions)
        self.asked = {row.kind: row for row in questions.object}
        self.api_families = frozenset(questions.family)
        self.monitor = _read(root / "monitor.toml", MonitorTables)
        self.discrepancies = _read(root / "discrepancies.toml", _Discrepancies).discrepancy
        verdicts = _read(root / "verdicts.toml", _Verdicts)
        self.verdicts = {row.name: row for row in verdicts.verdict}
        self.exits = {row.code: row for row in verdicts.exit}
        self.complaints = _read(root / "complaints.toml", _Complaints).complaint
        self.static_rules = {row.name: row for row in _read(root / "static.toml", _Static).rule}
        self.secrets = _read(root / "secrets.toml", SecretTables)
        self.quarantine = {row.requirement: row for row in _read(root / "quarantine.toml", _Quarantine).quarantine}
        self.levels = {row.name: row for row in _read(root / "levels.toml", _Levels).level}
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
        row = self._numbers.get((kind, name))
        if row is not None:
            return row
        raise SpecError(f"{self.root / 'states.toml'}: no {kind} state {name!r}")

    @cached_property
    def known_breaks(self) -> dict[str, tuple[str, ...]]:
        """Where drivers have broken a requirement before: the public references, by the requirement's id."""
        found: dict[str, tuple[str, ...]] = {}
        for row in self.complaints:
            for id in row.requirements:
                found[id] = (*found.get(id, ()), row.reference)
        return found

    def rests(self, kind: str, name: str) -> bool:
        """Tell whether a state waits for an operation."""
        row = self._numbers.get((kind, name))
        return row is not None and row.rest


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
        self.phases: dict[tuple[str, str], Phase] = {
            (kind, row.name): row for kind, table in spec.lifecycles.items() for row in self._holding(table.phase)
        }
        # decided once: these are asked for with every call
        self._operations: dict[tuple[str, str], list[OperationRow]] = {}
        for kind, table in spec.lifecycles.items():
            for operation in self._holding(table.operation):
                self._operations.setdefault((kind, operation.name), []).append(operation)
        self._parsers = {key: self._holding(row.output)[0].parser for key, row in self.actions.items()}
        self._forms = {key: self._holding(row.form)[0] for key, row in self.actions.items() if row.form}
        self._children = {key: self._holding(row.children) for key, row in self.actions.items()}

    def _holding(self, rows: Iterable[_Ranged]) -> list[_Ranged]:
        return [row for row in rows if in_range(self.version, row.since, row.until)]

    def holds(self, since: Range = (), until: Range = ()) -> bool:
        """Tell whether what holds from `since` until `until` holds in this contract."""
        return in_range(self.version, since, until)

    def parser(self, action: str) -> str:
        """Return the name of the output parser of an action."""
        return self._parsers[action]

    def operations(self, kind: str, name: str) -> list[OperationRow]:
        """Return the rows of an operation in this contract."""
        return self._operations.get((kind, name), [])

    def argv(self, action: Action) -> Sequence[str]:
        """Return the names of the arguments of an action in order."""
        return self.passing.argv if action.passing else self._forms[action.key].argv

    def stdin(self, action: Action) -> str:
        """Return the name of what travels on an action's stdin: a row of the carriages."""
        return self.passing.stdin if action.passing else self._forms[action.key].stdin

    def children(self, action: Action) -> list[Child]:
        """Return the children of an action's document in order, optional ones too."""
        return self._children[action.key]

    @property
    def request_line(self) -> tuple[str, ...]:
        """The parts of a line from oned to a driver program."""
        return self._holding(self.spec.request_lines)[0].parts


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
def for_release(version: str, root: Path | None = None) -> ContractSpec:
    """Return the tables for an exact release (`7.0.1`), which need not be the one that its line's contract names. Raises ConfigError for another line."""
    spec = load(root)
    line = ".".join(version.split(".")[:2])
    return ContractSpec(spec, msgspec.structs.replace(spec.contract(line), version=version))


@cache
def for_contract(name: str = "", root: Path | None = None) -> ContractSpec:
    """Return the tables for a contract (alias or exact version; empty = the newest)."""
    spec = load(root)
    return ContractSpec(spec, spec.contract(name))
