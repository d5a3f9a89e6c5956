"""The machines of a vendor's lab, harness side: how each is reached, by OpenSSH's client, and what runs there for a world or to look at it."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shlex
import socket
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onesim.errors import HarnessError
from onesim.world import runs
from onesim.world.control import Control

#: The address of the machine that the harness runs on.
LOCAL = "local"
#: Seconds without a sign of life after which a machine counts as lost.
LOST_S = 4
_CONNECT_S = 5
_WORK_S = 30.0
_PACKAGE = Path(__file__).parents[1]
#: What cannot be done to machines that belong to somebody, with the reason.
CANNOT = {
    "full": "storage of a vendor's lab cannot be filled for the time of a call",
    "readonly": "storage of a vendor's lab cannot be made read-only for the time of a call",
}
#: What a machine runs before there is anything of ours: it takes the modules from standard input and keeps them in memory.
_BOOT = """import os, sys
if sys.version_info < (3, 11):
    sys.exit("onetck: Python there is %d.%d, and 3.11 or newer is needed; name it by `python` under [hosts]" % sys.version_info[:2])
def exactly(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data
held = os.memfd_create("onetck")
with open(os.dup(held), "wb") as file:
    file.write(exactly(int.from_bytes(exactly(4), "big")))
sys.path.insert(0, f"/proc/self/fd/{held}")
from onesim.world.guarding import main
main()
"""


@dataclass(frozen=True)
class LabHost:
    """A machine: its name, the host that it is in a world, and how it is reached. Other machines reach it at `inside`, its SSH server for a world at `ssh_port`.

    Below `datastores` its own storage for worlds lies, below `shared` that of all of them, if there is any.
    """

    name: str
    role: str
    address: str
    datastores: str
    shared: str = ""
    port: int = 0
    user: str = ""
    key: str = ""
    known_hosts: str = ""
    host_keys: str = "yes"
    inside: str = ""
    python: str = "python3"
    ssh_port: int = 7422

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name} ({self.address})"

    @property
    def places(self) -> tuple[str, ...]:
        """The directories in which something is made."""
        return tuple(path for path in (self.datastores, self.shared) if path)

    def command(self) -> list[str]:
        """Return the command line of this machine that runs Python there, as root."""
        python = [self.python, "-I", "-S", "-c", _BOOT]
        if self.address == LOCAL:
            return python if os.geteuid() == 0 else ["sudo", "-n", *python]
        sudo = [] if self.user == "root" else ["sudo", "-n"]
        return [*self._client(), "-T", "--", self.address, shlex.join([*sudo, *python])]

    def way_in(self) -> list[str]:
        """Return the command line whose input and output are a connection to the machine's SSH server for a world; empty where this machine is it."""
        return [] if self.address == LOCAL else [*self._client(), "-W", f"127.0.0.1:{self.ssh_port}", "--", self.address]

    def _client(self) -> list[str]:
        """Return the ssh client with the options of this machine."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(_CONNECT_S),
            "ServerAliveInterval": "1",
            "ServerAliveCountMax": str(LOST_S),
            "StrictHostKeyChecking": self.host_keys,
            "ControlMaster": "auto",
            "ControlPersist": "30",
            "LogLevel": "ERROR",
            **({"UserKnownHostsFile": self.known_hosts} if self.known_hosts else {}),
            **({"IdentityFile": self.key, "IdentitiesOnly": "yes"} if self.key else {}),
            **({"Port": str(self.port)} if self.port else {}),
            **({"User": self.user} if self.user else {}),
        }
        digest = hashlib.sha256(repr((self.address, sorted(options.items()))).encode()).hexdigest()[
            :20
        ]  # who checks more takes no connection of who checks less
        options["ControlPath"] = f"{runs.runtime_directory()}/{digest}"
        return ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


@cache
def _modules() -> bytes:
    """Return what runs on a machine, packed: a length and a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (_PACKAGE / "__init__.py", *sorted((_PACKAGE / "world").glob("*.py"))):
            archive.write(path, f"onesim/{path.relative_to(_PACKAGE)}")
    return len(packed.getvalue()).to_bytes(4, "big") + packed.getvalue()


class Line:
    """A connection to what runs on a machine for the harness. Raises HarnessError that names the machine where it is lost."""

    def __init__(self, host: LabHost, message: dict[str, Any]) -> None:
        self.host = host
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the connection is lost
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                host.command(), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._errors, start_new_session=True
            )
        except OSError as error:
            raise HarnessError(f"{host.title}: {error.filename}: {error.strerror}; install OpenSSH's client") from None
        finally:
            theirs.close()
        self._control = Control(ours)
        try:
            ours.sendall(_modules())
        except OSError:
            raise self._lost() from None
        self.send(message)

    def fileno(self) -> int:
        """Return the descriptor to wait at."""
        return self._control.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        try:
            self._control.send(message)
        except HarnessError:
            raise self._lost() from None

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Return the next message; None if it has not come in time."""
        try:
            return self._control.receive(timeout_s)
        except HarnessError as error:
            raise (HarnessError(f"{self.host.title}: {error}") if "failed" in str(error) else self._lost()) from None

    def _lost(self) -> HarnessError:
        self.close(1.0)
        self._errors.seek(0)
        said = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        why = said[-1].removeprefix("onetck: ").strip() if said else "the connection is lost"
        return HarnessError(f"{self.host.title}: {why}; see `onetck doctor --hosts`")

    def hang_up(self) -> None:
        """Close the connection: what runs there ends, and tidies up."""
        self._control.close()

    def close(self, patience_s: float = 10.0) -> None:
        """Close the connection and wait until what ran there has tidied up."""
        self.hang_up()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def label(world: str = "") -> dict[str, str]:
    """Return what machines write down about this run."""
    run = runs.run_id()
    return {"run": run, "world": world, "lock": str(runs.lock_path(run)), "machine": platform.node()}


def asked(hosts: Iterable[LabHost], messages: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Have each machine do what its message asks for, at once. Returns the answers by name; `unreachable` says why there is none, `refused` why it did not;

    `asked` and `answered` are the moments, in seconds since the epoch."""

    def ask(host: LabHost) -> dict[str, Any]:
        began = time.time()
        try:
            line = Line(host, messages[host.name])
            try:
                answer = line.receive(_WORK_S)
                heard = time.time()
            finally:
                line.close()
        except HarnessError as error:
            return {"unreachable": str(error).removeprefix(f"{host.title}: ").removesuffix("; see `onetck doctor --hosts`")}
        return {"unreachable": f"no answer within {_WORK_S:g} s"} if answer is None else {**answer, "asked": began, "answered": heard}

    chosen = list(hosts)
    with ThreadPoolExecutor(max_workers=max(len(chosen), 1)) as pool:
        return dict(zip([host.name for host in chosen], pool.map(ask, chosen), strict=True))


def surveyed(hosts: tuple[LabHost, ...]) -> dict[str, dict[str, Any]]:
    """Look at the machines; see `onesim.world.surveying`. Nothing is made there."""
    where = {host.name: [host.inside, host.ssh_port] for host in hosts}
    return asked(
        hosts,
        {
            host.name: {"do": "survey", "places": host.places, "peers": {name: at for name, at in where.items() if name != host.name}}
            for host in hosts
        },
    )


def swept(hosts: tuple[LabHost, ...]) -> tuple[list[str], list[str]]:
    """Remove what dead runs have left on machines. Returns what was removed, and what could not be, with the reason."""
    before = asked(hosts, {host.name: {"do": "survey", "places": [], "peers": {}} for host in hosts})
    dead = {
        host.name: [having["run"]]
        for host in hosts
        if (having := before[host.name].get("holder")) and having.get("machine") == platform.node() and runs.abandoned(having["lock"])
    }
    answers = asked(hosts, {host.name: {"do": "clean", "dead": dead.get(host.name, [])} for host in hosts})
    removed, stayed = [], []
    for host in hosts:
        answer = answers[host.name]
        problem = answer.get("unreachable") or answer.get("refused")
        removed += [f"{host.name}:{path}" for path in answer.get("removed", ())]
        stayed += [f"{host.title}: {one}" for one in ([problem] if problem else answer.get("stayed", ()))]
    return removed, stayed
