"""The record classes of `history.jsonl`: what was asked, called, seen. The judge reads nothing else.

Every record that belongs to a case names it, so that concurrent cases may interleave in one file. Offsets and durations are
nanoseconds of real time since the case began; sizes are bytes unless the name says otherwise.
"""

from __future__ import annotations

import msgspec

#: Of both files. 1: as it began; 2: without secrets, with what a run was made from and what has judged it.
SCHEMA = 2


class Blob(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes that were seen: short text stands here, all of it lies content-addressed beside the log (`blobs/<sha256>`).

    `text` is the decoded beginning (errors replaced); `complete` tells whether it is the whole; `bytes_seen` counts what was produced
    even where the limit cut it. `sha256` is empty for the empty string.
    """

    size: int = 0
    text: str = ""
    complete: bool = True
    sha256: str = ""
    bytes_seen: int = 0


class DriverFile(msgspec.Struct, frozen=True):
    """One file of the driver under test, relative to the remotes tree."""

    path: str
    sha256: str
    mode: int


class ConfRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row for oned.conf as the driver's description has it: `table` with its attributes. Without a table, `said` tells what else is to be done there.

    `of` are the datastores that the row is for: image, system, backup.
    """

    table: str = ""
    words: dict[str, str] = {}
    said: str = ""
    of: tuple[str, ...] = ()


class Described(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is said of a driver before it runs: by a statement, if it is `stated`, in which sentences that and the driver disagree, and the rows for oned.conf.

    `lacking` are the actions of the contract that the driver has no script for, or does no more in than refuse.
    """

    stated: bool = False
    disagreements: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    conf: tuple[ConfRow, ...] = ()


class Header(msgspec.Struct, frozen=True, tag="header", tag_field="record", omit_defaults=True):
    """First record of a history. `isolation` says what the backend obtained; `started_s` is seconds since the epoch.

    `claimed` are the profiles that the driver claims, `faults` the level of faults that were played. `tool_sha256` is that of the program that ran.
    `given` names what else the run was made from, each by the digest under which it lies beside the log: the vendor's description and statement without secrets, and
    the files of the specification and of the tool with their digests.
    """

    schema: int
    tool: str
    contract: str
    version: str
    driver: str
    datastore_mad: str
    tm_mad: str
    system_tm_mad: str
    seed: int
    started_s: float
    spec_sha256: str
    driver_sha256: str
    files: tuple[DriverFile, ...] = ()
    isolation: dict[str, str] = {}
    environment: dict[str, str] = {}
    plan: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    mads: tuple[str, ...] = ()
    backup_mad: str = ""
    claimed: tuple[str, ...] = ()
    faults: str = "off"
    tool_sha256: str = ""
    given: dict[str, str] = {}
    described: Described = Described()


class CaseBegin(msgspec.Struct, frozen=True, tag="case", tag_field="record", omit_defaults=True):
    """A case begins: one trace, run in a world of its own. `expects` lists the calls that a correct driver will get (family/action).

    `volumes` = disks are no files below the datastores; `probed` is what the vendor's probe tells of their store: inventory, capacity.
    `pool` is what the storage pool of libvirt keeps that the image datastore is: files, blocks or lent volumes; empty for any other datastore.
    `driver` is the format that TM_MAD_CONF gives to all disks (DRIVER), `gates` are the commands at which the harness stands.
    `trace_sha256` is the digest by which the trace lies beside the log.
    """

    case: str
    title: str
    hosts: tuple[str, ...] = ()
    shared: bool = True
    expects: tuple[str, ...] = ()
    volumes: bool = False
    probed: tuple[str, ...] = ()
    pool: str = ""
    driver: str = ""
    gates: tuple[str, ...] = ()
    trace_sha256: str = ""


class Operation(msgspec.Struct, frozen=True, tag="operation", tag_field="record", omit_defaults=True):
    """An operation of the trace, by a user. `refused` is oned's reason, empty if it was accepted."""

    case: str
    n: int
    op: str
    arguments: dict[str, str | int | bool] = {}
    refused: str = ""
    at_ns: int = 0


class StateChange(msgspec.Struct, frozen=True, tag="state", tag_field="record", omit_defaults=True):
    """An object of oned changed state. `object` is vm, image or datastore; `label` is the trace's name for it."""

    case: str
    object: str
    id: int
    label: str
    state: str
    number: int = -1
    lcm_number: int = -1
    error: str = ""
    operation: int = -1
    at_ns: int = 0


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """An external command that passed a gate during a call, with the host it ran on and what a fault did to it."""

    name: str
    argv: tuple[str, ...]
    host: str
    at_ns: int = 0
    fault: str = ""


#: The kind of a change that is none of a file: a thing of that name came into the vendor's store or left it, as the probe of its inventory tells.
STORED = "v"


class TreeChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference of the watched trees around a call. `change` is created, removed or changed; `fields` names what changed.

    `kind` is f, d, l or another letter of `ls -l`; `size` is the size after (before, if removed).
    `text` is what a mark for monitoring (`.monitor`) holds; no other file is read. `mode` is in octal, such as 0660, and `owner` oneadmin, root or a number:
    both as they are after it, and empty if it was removed.
    """

    host: str
    path: str
    change: str
    kind: str
    fields: tuple[str, ...] = ()
    size: int = 0
    target: str = ""
    text: str = ""
    mode: str = ""
    owner: str = ""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the driver: file (relative to the remotes tree), line from 1, the host that it ran on, and the line's text, cut at 200 characters."""

    file: str
    line: int
    host: str = "frontend"
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" on {self.host}" if self.host != "frontend" else "")


class Call(msgspec.Struct, frozen=True, tag="call", tag_field="record", omit_defaults=True):
    """One driver script that ran, as oned called it, and what was seen of it.

    `action` is the name asked for (with its suffix), `script` the file that ran. `arguments` are the argv by the names of the action table; `facts`
    what the simulator knew when it called (base_path, source, format, size_mb, host, vm_dir, ...). `ended_by` is exit, signal, timeout, output,
    processes, memory, missing, not_executable, bad_interpreter, world_lost, or mad (the driver program did not get to it). `parsed` is what the contract's
    parser read; `error` the text that oned would show; `stdin_left` are bytes of stdin that nobody read. Where calls overlap nobody knows which of them
    changed what: then `observed` is false, `tree` is empty, and the differences stand in the record `together`.
    `failed_at` is the line of the script whose command failed, as far as it is known; `last_at` the line of it that ran last, then the last one of the driver
    on each host. Neither is part of the normalised form.
    """

    case: str
    n: int
    operation: int
    family: str
    mad: str
    action: str
    script: str
    host: str
    argv: tuple[str, ...]
    arguments: dict[str, str]
    success: bool
    ended_by: str
    status: int = 0
    signal: int = 0
    facts: dict[str, str] = {}
    stdin: Blob = Blob()
    stdout: Blob = Blob()
    stderr: Blob = Blob()
    parsed: dict[str, str] = {}
    parse_error: str = ""
    error: str = ""
    at_ns: int = 0
    duration_ns: int = 0
    commands: tuple[Command, ...] = ()
    tree: tuple[TreeChange, ...] = ()
    leftovers: tuple[str, ...] = ()
    stdin_left: int = 0
    vm: int = -1
    disk: int = -1
    image: int = -1
    datastore: int = -1
    observed: bool = True
    failed_at: Place | None = None
    last_at: tuple[Place, ...] = ()

    @property
    def plain(self) -> str:
        """The name of the action without the suffix of a mode: `resize` of `resize.ssh`."""
        return self.action.partition(".")[0]


class Question(msgspec.Struct, frozen=True, tag="question", tag_field="record", omit_defaults=True):
    """What a driver asked oned while it ran, and the answer's status (1 for an error of the API) and digest, by which it is kept.

    Or what it asked libvirt (kind virsh).

    `argv` is a command line (`onevm show -x 3`), or an XML-RPC method with its parameters but the session. `call` is -1 if nobody knows who asked. `host` is
    where a virsh ran.
    """

    case: str
    call: int
    kind: str
    argv: tuple[str, ...]
    status: int
    answer_sha256: str = ""
    at_ns: int = 0
    host: str = ""


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One moment of a schedule. `what` is begin (a call begins), pass (a command of it, the `ordinal`-th of that name, passes its gate) or end."""

    what: str
    call: int
    command: str = ""
    ordinal: int = 0


class Together(msgspec.Struct, frozen=True, tag="together", tag_field="record", omit_defaults=True):
    """A stretch in which calls overlapped, from the operation `operation` on. It ends when none is outstanding.

    `turns` is the schedule: what went on, in order. `diverged` tells where a schedule that was to be repeated could not be, empty if it could. `tree` is what
    the calls together have changed; `leftovers` are processes that outlived them and could be of any.
    """

    case: str
    operation: int
    calls: tuple[int, ...]
    turns: tuple[Turn, ...]
    diverged: str = ""
    tree: tuple[TreeChange, ...] = ()
    leftovers: tuple[str, ...] = ()


class Datagram(msgspec.Struct, frozen=True, tag="datagram", tag_field="record", omit_defaults=True):
    """A UDP datagram that reached the monitor daemon's port, and what the daemon made of it.

    `call` is the call that sent it, -1 for a message of a node's own, which `node` names, and where calls overlapped and nobody knows whose it is. `text` is
    what it says in clear; `problem` why nothing was taken of it, `unknown` the VMs and disks in it that oned does not have. `kind` is empty where it could not
    be read at all. `sizes` are the MiB told, `3/0=2 3/0/1=5` for the disk 0 of VM 3 and its snapshot 1; `wrong` is what is not written as it should be,
    whether the daemon minds or not.
    """

    case: str
    call: int
    payload: Blob
    at_ns: int = 0
    kind: str = ""
    status: str = ""
    oid: int = -1
    text: Blob = Blob()
    encrypted: bool = False
    problem: str = ""
    unknown: tuple[str, ...] = ()
    sizes: str = ""
    wrong: str = ""
    node: str = ""


class GuestWrite(msgspec.Struct, frozen=True, tag="guest_write", tag_field="record", omit_defaults=True):
    """The guest wrote to its disk: `version` is the content that follows. `failed` tells why the write could not be made.

    `moment` counts from 1 the times that a busy guest wrote to all its disks while the operation went on; -1 for a write that a trace has asked for.
    """

    case: str
    operation: int
    vm: int
    disk: int
    host: str
    path: str
    version: str
    failed: str = ""
    at_ns: int = 0
    moment: int = -1


class FaultInjected(msgspec.Struct, frozen=True, tag="fault", tag_field="record", omit_defaults=True):
    """A fault that the trace planned for a coming call; `hit` tells whether the call reached it. `kind` is its row of `spec/faults.toml`, if it is of one."""

    case: str
    call: int
    command: str
    ordinal: int
    act: str
    hit: bool
    kind: str = ""


class Observation(msgspec.Struct, frozen=True, tag="observation", tag_field="record", omit_defaults=True):
    """The bytes of an image or a disk, compared with what the content register admits.

    `subject` is image or disk. `admits` are the version ids allowed; `found` the version that was matched, empty if none. `problem` is empty, or
    missing, unreadable, format, size or bytes. On `bytes`, `offset` is the first differing byte and `expected` / `actual` are 32 bytes there, in hex.
    `digest` identifies the list of 64 KiB block digests (a blob). `snapshots` is how many an image has.
    """

    case: str
    operation: int
    subject: str
    label: str
    host: str
    path: str
    format: str
    admits: tuple[str, ...]
    found: str = ""
    problem: str = ""
    detail: str = ""
    virtual_size: int = -1
    expected_size: int = -1
    offset: int = -1
    expected: str = ""
    actual: str = ""
    digest: str = ""
    after_call: int = -1
    role: str = ""
    vm: int = -1
    disk: int = -1
    image: int = -1
    snapshots: int = 0
    at_ns: int = 0


class Imported(msgspec.Struct, frozen=True, tag="imported", tag_field="record", omit_defaults=True):
    """What a marketplace got of an image that was exported: the downloader's work on IMPORT_SOURCE, compared with the image.

    `problem` is empty, missing (nothing could be fetched, and `detail` says why), or as in an observation; `compared` = the bytes were known. `sum` is the MD5 of
    the bytes that were fetched, `told_sum` what IMPORT_INFO says.
    """

    case: str
    operation: int
    call: int
    image: int
    source: str
    problem: str = ""
    detail: str = ""
    compared: bool = False
    told_sum: str = ""
    sum: str = ""
    found: str = ""
    offset: int = -1
    expected: str = ""
    actual: str = ""
    at_ns: int = 0


class MadLine(msgspec.Struct, frozen=True, tag="mad_line", tag_field="record", omit_defaults=True):
    """A line between oned and a driver program (MAD), cut after 400 characters. `to` is mad or oned; `script` the transfer script that the line names."""

    case: str
    mad: str
    to: str
    line: str
    script: str = ""
    call: int = -1
    at_ns: int = 0


class MadFault(msgspec.Struct, frozen=True, tag="mad_fault", tag_field="record", omit_defaults=True):
    """What a driver program did wrong: a row of `spec/mads.toml` and what was seen. It says nothing of the driver's scripts."""

    case: str
    mad: str
    fault: str
    detail: str
    call: int = -1
    at_ns: int = 0


class MadEnd(msgspec.Struct, frozen=True, tag="mad_end", tag_field="record", omit_defaults=True):
    """A driver program was dismissed at the end of a case: its command, how many requests it got and how many scripts it ran for them."""

    case: str
    mad: str
    command: tuple[str, ...]
    requests: int
    scripts: int
    at_ns: int = 0


class Lines(msgspec.Struct, frozen=True, tag="lines", tag_field="record"):
    """The lines of the driver's bash scripts that a case has run, by file. No part of the normalised form: a script may wait once more, or once less."""

    case: str
    ran: dict[str, tuple[int, ...]]


class Script(msgspec.Struct, frozen=True, tag="script", tag_field="record"):
    """A bash script of the driver that the run is about, and its lines that hold code. The file itself lies beside the log by its digest.

    `traced` is false for a script whose lines are not told, because it could tell that they are. One that is no bash script stands here without lines if a call
    has failed in it.
    """

    file: str
    sha256: str
    lines: tuple[int, ...]
    traced: bool = True


class CaseEnd(msgspec.Struct, frozen=True, tag="case_end", tag_field="record", omit_defaults=True):
    """A case ended: completed; stopped (the driver's failure made the rest impossible); lacking (the machine cannot do what it needs); or error (the
    harness's own fault).

    `unanswered` is what the driver asked of a storage array that is not there, and the recording of it has no answer to.
    """

    case: str
    outcome: str
    reason: str = ""
    calls: int = 0
    duration_ns: int = 0
    unanswered: tuple[str, ...] = ()


class Footer(msgspec.Struct, frozen=True, tag="footer", tag_field="record", omit_defaults=True):
    """Last record. A history without it is PARTIAL. `normal_sha256` is the hash of the normalised form, for comparing runs."""

    cases: int
    calls: int
    records: int
    normal_sha256: str
    interrupted: bool = False
    wall_s: float = 0.0


Record = (
    Header
    | CaseBegin
    | Operation
    | StateChange
    | Call
    | Question
    | Together
    | Datagram
    | GuestWrite
    | FaultInjected
    | Observation
    | Imported
    | MadLine
    | MadFault
    | MadEnd
    | Lines
    | Script
    | CaseEnd
    | Footer
)
