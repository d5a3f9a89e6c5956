"""The five kinds of event that oned is fed, and what it yields. Plain data; no event carries a file, a process or a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from onesim.rows import Action


@dataclass(frozen=True)
class OperationAsked:
    """A user asks for an operation, such as `vm.deploy`. `arguments` are those of the trace line."""

    n: int
    op: str
    arguments: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class CallFinished:
    """A driver script ended. `ok` = exit status 0; what it printed is parsed as the contract parses it.

    `late` = oned had waited as long as it waits for the action, and had given up the request: whatever the script did then is lost on it.
    """

    call: int
    ok: bool
    stdout: str = ""
    stderr: str = ""
    late: bool = False


@dataclass(frozen=True)
class QuestionAsked:
    """A driver asks oned while it runs: a command line such as `onevm show -x 3`, or the body of an XML-RPC request.

    `call` is the call that asks (-1: nobody knows); `number` tells the answer to this question from others, where that comes later.
    """

    kind: str
    argv: tuple[str, ...] = ()
    body: bytes = b""
    call: int = -1
    number: int = -1


@dataclass(frozen=True)
class DatagramReceived:
    """A datagram reached the monitor daemon's port."""

    payload: bytes


@dataclass(frozen=True)
class TimerFired:
    """A timer that oned set has run out; `name` is a datastore's label for periodic monitoring."""

    name: str


Event = OperationAsked | CallFinished | QuestionAsked | DatagramReceived | TimerFired


@dataclass(frozen=True)
class CallAsked:
    """oned wants a driver action to run. `document` is the XML that travels (encoded by the runner as the generation says).

    `argv` are the arguments in order; `arguments` the same by name; `suffix` the mixed-mode suffix with its dot, or empty. `facts` are what
    oned knows of the call: they name the places that it may touch and the objects that it concerns.
    """

    call: int
    operation: int
    action: Action
    mad: str
    suffix: str
    argv: tuple[str, ...]
    arguments: dict[str, str]
    document: str
    stdin: str
    facts: dict[str, str]
    vm: int = -1
    disk: int = -1
    image: int = -1
    datastore: int = -1


@dataclass(frozen=True)
class Outcome:
    """What oned made of a finished call: success, the fields read, the parser's complaint, the error text shown to the user."""

    call: int
    success: bool
    parsed: dict[str, str]
    parse_error: str
    error: str


@dataclass(frozen=True)
class Changed:
    """An object changed state. `new` = it was written for the first time, in this state (oned's hooks do not see that of an image)."""

    kind: str
    id: int
    label: str
    state: str
    error: str = ""
    new: bool = False


@dataclass(frozen=True)
class Refused:
    """oned refuses the operation, and why. Nothing has changed."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """The answer to a question: what the command prints and its exit status; or the body of an XML-RPC response, and 1 for an error.

    `question` is the number of the question.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0
    question: int = -1


@dataclass(frozen=True)
class Cancelled:
    """oned gives up a call that is under way, and tells the program that makes it. Its script may go on; its end is still to be told."""

    call: int


@dataclass(frozen=True)
class EmptyTransfer:
    """oned has one_tm read a transfer script without a line, as of a VM that has no disks; `transfer` is the end of its name. No script is called."""

    vm: int
    transfer: str


@dataclass(frozen=True)
class Monitored:
    """What the monitor daemon made of a datagram: kind, status, object id, text in clear, and what it did not like.

    `problem` is why it took nothing of it, empty if it took it; `unknown` are VMs and disks in it that oned does not have.
    """

    kind: str = ""
    status: str = ""
    oid: int = -1
    text: str = ""
    encrypted: bool = False
    problem: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimerWanted:
    """oned wants to be woken after `after_s` virtual seconds."""

    name: str
    after_s: int


Output = CallAsked | Outcome | Changed | Refused | Answer | Cancelled | EmptyTransfer | Monitored | TimerWanted
