"""What a world offers to the rest of the harness, whatever its backend. Plain data and one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Commands that can be gated, in the order in which reports list them. ssh, sudo and the one* commands always are.
GATEABLE = (
    "scp",
    "rsync",
    "qemu-img",
    "qemu-nbd",
    "virsh",
    "rbd",
    "cp",
    "mv",
    "ln",
    "rm",
    "mkdir",
    "dd",
    "tar",
    "mkswap",
    "mkfs",
    "mkfs.ext4",
    "mkfs.xfs",
    "genisoimage",
    "xorriso",
    "mkisofs",
    "truncate",
    "touch",
    "chmod",
    "sha256sum",
    "md5sum",
    "df",
    "du",
    "stat",
    "flock",
)

#: What can be done at a gate; see `Fault`. A call that is lost never began.
ACTS = ("fail", "unheard", "cut", "slow", "hang", "die", "full", "readonly", "lose", "pause", "lock", "lost", "refuse", "reset")


@dataclass(frozen=True)
class Limits:
    """Bounds of one call: seconds of real time, bytes of stdout and of stderr, processes at once, MiB of resident memory of all of them."""

    time_s: float = 60.0
    output_bytes: int = 1 << 20
    processes: int = 256
    memory_mb: int = 1024


@dataclass(frozen=True)
class Fault:
    """A fault at a gate: the `ordinal`-th time (from 1) that `command` is run in the call; with `host`, that it is run there.

    To the command: fail (`arg`: exit status and message), unheard (of ssh: what it was asked for is done to the end; `arg`: exit status and message in
    place of its own), cut (`arg`: KiB that may be written to a file), slow (`arg`: milliseconds), or hang (`arg`: milliseconds after which the call's time
    is up). To the script itself: die (`arg`: TERM or KILL). To the world, before the command goes on and until the call has ended: full (`arg`: KiB that
    storage still takes), readonly (the datastores), lose (the host of the command, or that it goes to), pause
    (that host stands still; `arg`: milliseconds, at most 3000), lock (what the command wants to lock is held;
    `arg`: milliseconds, 0 for until the call ends).

    A connection by a link of the world is the command `tcp:PORT`. To it: refuse (from the `ordinal`-th one on, until the call has ended), reset (when the
    first bytes have come), or slow (`arg`: milliseconds until it goes on).
    """

    command: str
    ordinal: int
    act: str
    arg: str = ""
    host: str = ""


@dataclass(frozen=True)
class GateCommand:
    """A command that passed a gate; `at_ns` since the call began; `fault` what was done to it."""

    name: str
    argv: tuple[str, ...]
    host: str
    at_ns: int
    fault: str = ""


@dataclass(frozen=True)
class Traced:
    """A command that bash was about to run: its place, as bash names it, and its first word (`=` for an assignment, `*` for most).

    `calls` are the lines from which the functions were called that it stands in, the innermost first, then 0; `status` is the exit status of the command
    before it.
    """

    source: str
    line: int
    calls: tuple[int, ...]
    function: str
    status: int
    word: str


@dataclass(frozen=True)
class LinesRun:
    """The lines of bash scripts that a call has run: by file, and for functions that came on standard input by their name, counted from their first command.

    `last` is the last place on each host (a file or a function), `tail` are the last commands of the script itself.
    """

    ran: Mapping[str, tuple[int, ...]]
    sent: Mapping[str, tuple[int, ...]]
    last: tuple[tuple[str, str, int], ...]
    tail: tuple[Traced, ...]


@dataclass(frozen=True)
class Run:
    """What was seen of one command. `ended_by` is exit, signal, timeout, output, processes, memory, missing, not_executable, bad_interpreter or world_lost.

    `*_seen` count the bytes printed, of which at most the limit is kept. `leftovers` are command lines still alive when the leader had ended.
    `stdin_left` are bytes that nobody had read when the leader ended (0 where stdin is larger than a pipe). `lines` is None where it was not traced.
    """

    ended_by: str
    status: int = 0
    signal: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_seen: int = 0
    stderr_seen: int = 0
    duration_ns: int = 0
    commands: tuple[GateCommand, ...] = ()
    datagrams: tuple[bytes, ...] = ()
    leftovers: tuple[str, ...] = ()
    stdin_left: int = 0
    lines: LinesRun | None = None


@dataclass(frozen=True)
class Question:
    """A driver asks oned: a command line, or the body of an XML-RPC request (kind xmlrpc). Or it asks libvirt (kind virsh).

    `call` is the `call_id` of the command that asks, empty if nobody knows; `number` is what `World.answer` needs for an answer that comes later.
    For virsh, `host` is where it runs, `root` whether as root, `uri` the connection that its environment names.
    """

    kind: str
    argv: tuple[str, ...] = ()
    body: bytes = b""
    call: str = ""
    number: int = -1
    host: str = ""
    root: bool = False
    uri: str = ""


@dataclass(frozen=True)
class Datagram:
    """A datagram has reached the monitor daemon's port. `call` is the `call_id` of the command that sent it, empty if nobody knows."""

    data: bytes
    call: str = ""


@dataclass(frozen=True)
class Held:
    """A command of a call stands at its gate until `World.release` lets it go; it is the `ordinal`-th of that name in the call, from 1."""

    number: int
    call: str
    command: str
    ordinal: int


@dataclass(frozen=True)
class Ended:
    """A command that `World.begin` started has ended."""

    call: str
    run: Run


@dataclass(frozen=True)
class Strays:
    """What could not be told to be of one call while several ran: command lines of processes that outlived their calls."""

    leftovers: tuple[str, ...] = ()


class Reply(Protocol):
    """The answer to a question."""

    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...
    @property
    def status(self) -> int: ...


@dataclass(frozen=True)
class Change:
    """One difference between two pictures of the watched trees. Directories are compared by mode and owner alone.

    `mode` (in octal) and `owner` (oneadmin, root or a number) are those after it; of what was removed nobody says them.
    """

    host: str
    path: str
    change: str
    kind: str
    fields: tuple[str, ...]
    size: int
    target: str
    mode: str = ""
    owner: str = ""


@dataclass(frozen=True)
class DiskContent:
    """What a disk holds: digests of its 64 KiB blocks, or the problem (missing, unreadable, format)."""

    virtual_size: int = -1
    blocks: tuple[str, ...] = ()
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Room:
    """Room on a file system in MiB, as df tells it: rounded up."""

    used_mb: int
    total_mb: int
    free_mb: int


@dataclass(frozen=True)
class DatastoreSeen:
    """A marked directory: its name, what its mark holds, its room."""

    name: str
    mark: bytes
    room: Room


@dataclass(frozen=True)
class DatastoresSeen:
    """What a node's probe sees: the room of all, and the datastores that are marked, in the order of their names as texts."""

    room: Room
    marked: tuple[DatastoreSeen, ...]


@dataclass(frozen=True)
class Means:
    """A vendor's own commands for one disk, run by bash with `environment`: `read` prints its bytes, `write` takes bytes for $OFFSET on standard input,
    `exists` ends with 0 where the disk is there, with 1 where it is not.
    """

    read: str = ""
    write: str = ""
    exists: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A daemon of the vendor's world: `command` starts it on `host` as oneadmin, and may stay or leave processes behind; it is up when `ready` ends with 0.

    It has `ready_s` seconds for that. With `root` it is the world's root that starts it, in place of oneadmin.
    """

    name: str
    command: str
    ready: str = ""
    ready_s: float = 60.0
    host: str = "frontend"
    root: bool = False


class Patch(Protocol):
    """One byte repeated over a stretch of a disk."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def byte(self) -> int: ...


class Place(Protocol):
    """Where bytes lie: see `onesim.seats.Seat`."""

    @property
    def host(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def means(self) -> Means | None: ...


class World(Protocol):
    """The hosts of one case. Paths are those inside the host's view; everything runs with the driver's rights unless said otherwise.

    `on_datagram` is told of each datagram as it comes, in the thread that waits. `unable` are the faults that this backend cannot make, by act (`ACTS`, or
    `down` for a host that is down), each with the reason.
    """

    broken: bool
    unable: Mapping[str, str]
    on_datagram: Callable[[Datagram], None]

    def run(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        call_id: str = "",
        faults: Sequence[Fault] = (),
        cwd: str = "/var/lib/one",
    ) -> Run:
        """Run a command as oneadmin, to its end. One with a `call_id` is traced if the world tells which lines are run."""

    def begin(
        self,
        host: str,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        call_id: str = "",
        faults: Sequence[Fault] = (),
    ) -> None:
        """Start a command as `run` does, in /var/lib/one; `wait` tells when it has ended."""

    def wait(self, timeout_s: float | None = None) -> Held | Ended | None:
        """Wait for what happens next. None when the seconds are over, or when a question was asked: it may have led to something."""

    def hold(self) -> None:
        """From now on every gated command of a call waits for `release`."""

    def let_go(self) -> Strays:
        """Release what is held and hold nothing from now on. Ends what calls have left behind."""

    def release(self, number: int) -> None:
        """Let a held command go on."""

    def answer(self, number: int, reply: Reply) -> None:
        """Answer a question to which there was no answer at once."""

    def must_run(self, host: str, argv: Sequence[str]) -> None:
        """Run a command of the harness or the vendor's set-up. Raises HarnessError if it fails."""

    def serve(self, service: Service) -> None:
        """Start a service and wait until it is ready. Its processes belong to the world, not to any call. Raises HarnessError if it does not come up."""

    def picture(self) -> None:
        """Take a picture of the watched trees."""

    def changes(self) -> list[Change]:
        """Return what changed since the last picture, and take a new one."""

    def put(self, host: str, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file as oneadmin, with the directories above it (as world-root outside oneadmin's reach)."""

    def put_all(self, host: str, files: Mapping[str, bytes], needed: Sequence[Place]) -> list[bool]:
        """Write files as oneadmin, by path, if there is something at all of these places. Returns of each whether there is."""

    def mkdir(self, host: str, *paths: str) -> None:
        """Make directories and those above them."""

    def unpack(self, archive: bytes, *places: tuple[str, str]) -> None:
        """Unpack a tar in each place, a host and a path on it, owned by oneadmin."""

    def exists(self, host: str, path: str, means: Means | None = None) -> bool:
        """Tell whether there is something at `path` (a dangling link counts), or at the address that it is, or what `means` look for.

        Raises HarnessError where that cannot be told.
        """

    def exist(self, places: Sequence[Place]) -> list[bool]:
        """Tell the same of many places."""

    def capacity_mb(self, host: str, path: str) -> tuple[int, int]:
        """Return total and free MiB of the file system that `path` is on."""

    def disk_sizes(self, host: str, path: str) -> dict[str, tuple[int, int]]:
        """Return what each disk and snapshot below a system datastore's directory takes up: allocated and apparent bytes, links followed.

        Names are those below the directory, such as 3/disk.0 or 3/disk.0.snap/1.
        """

    def datastores(self, host: str, path: str, directories: str, mark: str) -> DatastoresSeen:
        """Return what a node's probe sees below `path`: the directories whose name is `directories` (a regular expression) and that hold a file `mark`."""

    def read(self, host: str, path: str, most: int = 65536) -> bytes:
        """Return the beginning of a file, at most so many bytes; nothing where it is no file or cannot be read."""

    def offer(self, page: str, data: bytes, *, cut: int = -1, location: str = "") -> None:
        """Offer a page of the world's web server: bytes, of which the connection breaks off after `cut` (-1: never), or the address where it is instead."""

    def make_disk(self, host: str, path: str, format: str, size: int, patches: Sequence[Patch]) -> None:
        """Make a disk of `size` bytes. Raises HarnessError if that fails."""

    def read_disk(self, host: str, path: str, format: str, means: Means | None = None) -> DiskContent:
        """Read a disk through the host's view: the file or device at a path, what is at an address that QEMU opens, or what `means` read."""

    def read_disks(self, places: Sequence[Place]) -> list[DiskContent]:
        """Read many disks."""

    def peek(self, host: str, path: str, format: str, offset: int, length: int, means: Means | None = None) -> bytes:
        """Return bytes of a disk; fewer at its end or if it cannot be read."""

    def write_disk(self, host: str, path: str, format: str, patches: Sequence[Patch], means: Means | None = None) -> str:
        """The guest writes. Returns why it could not, empty if it could."""

    def client_read(self, number: int, path: str) -> tuple[int, bytes]:
        """Read a file that the command behind a question names, as that command would. Returns an error number (0: none) and the bytes."""

    def client_write(self, number: int, path: str, data: bytes) -> int:
        """Write a file that the command behind a question names, as that command would. Returns an error number, 0 for none."""

    def client_run(self, number: int) -> tuple[int, bytes, bytes]:
        """Run the machine's own virsh for the command behind a question, with its rights, words and files. Returns status, stdout and stderr."""

    def host_virsh(self, host: str, argv: Sequence[str], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run the machine's own virsh on a host as the world's root. Returns status, stdout and stderr."""

    def libvirt(self, host: str, deed: str, arguments: Mapping[str, object], *, root: bool) -> dict[str, Any]:
        """Do something that libvirtd does on a host (`onesim.world.libvirt`), as root or with QEMU's rights. Returns the result; `errno` where refused."""

    def host_down(self, host: str) -> None:
        """From now on the host cannot be reached by ssh."""

    def host_up(self, host: str) -> None:
        """The host can be reached again."""

    def close(self) -> None:
        """End every process and remove the world."""
