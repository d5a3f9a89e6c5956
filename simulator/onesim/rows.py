"""The rows of the tables in `spec/`, typed. What each column means stands at the top of the table's file; an unknown column is refused."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

#: A release (dotted numbers), or one threshold for each release line that got the change.
Range = str | tuple[str, ...]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a table: unknown columns are refused."""


class Contract(Row, frozen=True):
    """A contract: `version` is the exact release, `generation` how driver action documents travel, `error` how error text is found.

    `option` is the option of the datastore MAD that the contract supposes; empty for none.
    """

    name: str
    version: str
    generation: Literal["argument", "hybrid", "stdin"]
    error: Literal["separated", "whole", "plain"]
    verified: tuple[str, ...]
    option: str = ""
    default: bool = False


class Passing(Row, frozen=True):
    """How a generation passes the driver action document."""

    generation: Literal["argument", "hybrid", "stdin"]
    argv: tuple[str, ...]
    stdin: str


class Carriage(Row, frozen=True):
    """What can travel on stdin: a document by its root, and how it is encoded."""

    name: str
    encoding: Literal["none", "base64", "plain"]
    root: str
    meaning: str


class Argument(Row, frozen=True):
    """A positional argument: grammar (see `schemas/grammars`), meaning, an example."""

    name: str
    grammar: str
    meaning: str
    example: str


class Output(Row, frozen=True):
    """The parser of an action's stdout, for a range of versions."""

    parser: str
    since: Range = ()
    until: Range = ()


class Form(Row, frozen=True):
    """The command line of an action and what is on its stdin, for a range of versions."""

    argv: tuple[str, ...] = ()
    stdin: str = "nothing"
    since: Range = ()
    until: Range = ()


class Child(Row, frozen=True):
    """A child of the driver action document. `when` says when an optional one is there; always there if empty."""

    name: str
    when: str = ""
    since: Range = ()
    until: Range = ()


class Action(Row, frozen=True):
    """An action that oned, a probe or another script calls. Columns are explained at the top of `spec/actions/datastore.toml`."""

    family: Literal["ds", "tm", "vmm"]
    name: str
    mad: Literal["datastore", "backup", "disk", "system", "file", "hypervisor", "mark", "own"]
    output: tuple[Output, ...]
    effect: str
    touches: tuple[str, ...]
    meaning: str
    source: str
    by: tuple[str, ...] = ()
    on: Literal["front-end", "node"] = "front-end"
    shared: Literal["", "YES", "NO"] = ""
    triggers: tuple[str, ...] = ()
    form: tuple[Form, ...] = ()
    passing: bool = False
    id: Literal["", "image", "new_image", "request", "datastore", "app"] = ""
    children: tuple[Child, ...] = ()
    ds_id: Literal["", "disk", "system", "both"] = ""
    suffix: Literal["never", "disk"] = "never"
    failure: str = ""
    again: str = ""
    note: str = ""
    parsed_at: str = ""
    wait_s: int = 0
    since: Range = ()
    until: Range = ()
    unverified: tuple[str, ...] = ()

    key: str = ""

    def __post_init__(self) -> None:
        """Set `key`: family and name, as scripts and requirements refer to it."""
        msgspec.structs.force_setattr(self, "key", f"{self.family}/{self.name}")


class ParserRow(Row, frozen=True):
    """How oned reads an action's stdout: the parser's name, what it takes, what garbage does."""

    name: str
    takes: str
    garbage: str
    source: str


class State(Row, frozen=True):
    """A state by name and number; `rest` = it waits for an operation, `away` = the disks of the VM wait at the front-end.

    `idle` = quotas for running VMs do not count it, `lost` = the host that the VM comes from counts as lost.
    """

    name: str
    state: int
    lcm: int = -1
    rest: bool = False
    away: bool = False
    idle: bool = False
    lost: bool = False


class Kind(Row, frozen=True):
    """A disk kind and the DISK attributes that mark it."""

    name: str
    type: str
    image: bool
    clone: str = ""
    save: str = ""
    readonly: str = ""
    meaning: str = ""
    since: Range = ()


class ScriptRow(Row, frozen=True):
    """A call of a script. Columns are explained at the top of `spec/scripts.toml`."""

    script: str
    each: Literal["disk", "subject", "saved", "file", "directory", "context", "vm", "image", "datastore"]
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
    ends: bool = False
    stays: bool = False
    makes: str = ""
    needs: str = ""
    by: Literal["", "scheduler", "oned", "monitor"] = ""
    record: Literal["", "new", "copy", "back"] = ""
    action: int = 0
    marks: Literal["ended", "both", "next"] = "ended"
    anew: bool = False
    again: bool = False
    fails: bool = False
    abandons: Literal["", "goes_on", "cancelled"] = ""
    through: str = ""
    quota: Literal["", "running"] = ""
    unverified: tuple[str, ...] = ()
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
    rollback: str = ""
    rollback_after: tuple[str, ...] = ()
    release: Literal["", "normal", "forced"] = ""
    return_: Literal["", "previous"] = msgspec.field(name="return", default="")
    then: Literal["", "monitor", "trim"] = ""
    shows: Literal["", "before"] = ""
    transfer: str = ""
    keeps: str = ""
    drops: str = ""
    absent: bool = False
    ahead: bool = False
    beside: bool = False
    since: Range = ()
    until: Range = ()

    @property
    def shown(self) -> str:
        """The state that the object shows while the phase runs."""
        return self.state or self.name


class RequestLine(Row, frozen=True):
    """The parts of a line from oned to a driver program, for a range of versions."""

    parts: tuple[Literal["action", "status", "id", "payload"], ...]
    source: str
    since: Range = ()
    until: Range = ()


class Mad(Row, frozen=True):
    """A driver program (MAD). Columns are explained at the top of `spec/mads.toml`."""

    name: Literal["tm", "datastore"]
    program: str
    arguments: tuple[str, ...]
    threads: int
    carries: Literal["script", "document"]
    source: str
    encodes: tuple[str, ...] = ()
    bounds: Range = ()


class MadFaultRow(Row, frozen=True):
    """What a driver program can do wrong; `ends` = the case cannot go on."""

    name: str
    ends: bool
    meaning: str


class MadWait(Row, frozen=True):
    """How many seconds oned waits for a driver program to answer INIT, and to end after FINALIZE."""

    init_s: float
    finalize_s: float
    source: str


class Lifecycle(Row, frozen=True):
    """The operations and phases of one kind of object."""

    object: Literal["vm", "image", "datastore", "user"]
    operation: tuple[OperationRow, ...]
    phase: tuple[Phase, ...]


class Effect(Row, frozen=True):
    """What an action does to content. Columns are explained at the top of `spec/content.toml`."""

    name: str
    target: Literal["none", "image", "disk", "disk_snapshot", "image_snapshot", "disks", "copies", "backup"]
    from_: Literal["none", "path", "original", "image", "disk", "disk_snapshot", "image_snapshot", "copies", "backup"] = msgspec.field(name="from")
    success: Literal["same", "from", "zero", "any", "gone", "alias", "return", "back", "flat", "grown"] = "same"
    failure: Literal["same", "from", "any", "gone", "widen"] = "same"
    changes: bool = False
    names_only: str = ""
    meaning: str = ""


class PlaceRow(Row, frozen=True):
    """A place that actions may touch: patterns over the facts of a call."""

    name: str
    pattern: tuple[str, ...]
    meaning: str
    only: Literal["", "created"] = ""


class Requirement(Row, frozen=True):
    """A numbered requirement. `check` names the check that observes it; a MUST without one says in `untestable` why.

    `when` narrows what the check looks at: for each key (a field of the call or observation, or a fact) the values that count. `applies` says in
    words for which drivers the sentence holds; empty = for all that have the action.
    """

    id: str
    level: Literal["MUST", "SHOULD", "MAY"]
    action: str
    sentence: str
    source: str
    check: str = ""
    untestable: str = ""
    applies: str = ""
    when: dict[str, tuple[str, ...]] = {}
    since: Range = ()
    until: Range = ()


class CommandClass(Row, frozen=True):
    """Commands of one kind, at which faults apply alike."""

    name: str
    commands: tuple[str, ...]
    meaning: str


class Once(Row, frozen=True):
    """An action that must fail for what is gone already, so that asking again fails where it was ended after its work."""

    action: str
    source: str


class FaultKind(Row, frozen=True):
    """A kind of fault that a run makes. Columns are explained at the top of `spec/faults.toml`."""

    name: str
    title: str
    act: str
    level: Literal["basic", "full"]
    holds: tuple[Literal["truth", "reason", "remains", "temporary", "time", "guest", "again"], ...]
    source: str
    arg: str = ""
    at: tuple[str, ...] = ()
    away: bool = False
    guests: bool = True
    actions: tuple[str, ...] = ("*",)
    beside: str = ""
    ends: Literal["any", "success"] = "any"


class Quarantined(Row, frozen=True):
    """A requirement whose check is wrong, since a day, and why; `issue` is where that is discussed."""

    requirement: str
    since: str
    reason: str
    issue: str


class Chapter(Row, frozen=True):
    """A file of requirements: one action or topic. `retired` are ids that are never used again."""

    title: str
    preface: str
    requirement: tuple[Requirement, ...]
    retired: tuple[str, ...] = ()


class AskedRow(Row, frozen=True):
    """A kind of object that drivers ask for. Columns are explained at the top of `spec/questions.toml`."""

    kind: str
    command: str
    called: str
    pages: bool = False


class Discrepancy(Row, frozen=True):
    """Where a guide promises what oned does not do. Columns are explained at the top of `spec/discrepancies.toml`."""

    id: str
    topic: str
    actions: tuple[str, ...]
    guides: tuple[str, ...]
    promised: str
    holds: str
    promised_source: str
    holds_source: str
    advice: str
    requirements: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()


class Profile(Row, frozen=True):
    """A frozen list of the requirements that a driver in this role keeps.

    A driver that has all actions that the role `needs`, and is used in the role's `layout` with image datastores that have its `attributes`, claims it.
    Layouts: shared or not_shared system datastores; mixed = the system datastore has another transfer driver than the image datastore; empty = any.
    `pool` is what libvirt must be able to do with volumes where the image datastore is a storage pool of libvirt.
    One that is to be `named` is claimed by the vendor's description, as no action shows it.
    One without cases of its own is judged by the cases `of` another profile, or by those of them that are named as `cases`.
    `sha256` is that of the list: of the requirements' names, one a line.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    sha256: str = ""
    of: str = ""
    cases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    layout: Literal["", "shared", "not_shared", "mixed"] = ""
    pool: Literal["", "create", "resize"] = ""
    named: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 of the list."""
        return hashlib.sha256("\n".join(self.requirements).encode()).hexdigest()

    def plays(self, case: str, profile: str) -> bool:
        """Whether a case that belongs to a profile is played for this one."""
        return profile == (self.of or self.name) and (not self.cases or case in self.cases)


class Level(Row, frozen=True):
    """What a conformant driver has reached; see `spec/levels.toml`."""

    name: str
    profiles: tuple[str, ...]
    claimed: bool
    faults: Literal["off", "basic", "full"]
    waivers: bool
    meaning: str


class VerdictRow(Row, frozen=True):
    """What a verdict means, whose fault it is, and what to do."""

    name: str
    blame: Literal["driver", "harness", "input", "machine", "nobody"]
    meaning: str
    remedy: str


class ExitRow(Row, frozen=True):
    """What an exit code means, and what to do."""

    code: int
    meaning: str
    remedy: str


class Complaint(Row, frozen=True):
    """What users of drivers have met. Columns are explained at the top of `spec/complaints.toml`."""

    number: int
    reference: str
    symptom: str
    requirements: tuple[str, ...] = ()
    miniature: str = ""
    trace: str = ""
    rule: str = ""
    reason: str = ""


class StaticRule(Row, frozen=True):
    """What can be told by reading a driver's files. Columns are explained at the top of `spec/static.toml`."""

    name: str
    level: Literal["error", "warn", "note"]
    requirements: tuple[str, ...]
    meaning: str
    remedy: str
    words: tuple[str, ...] = ()
