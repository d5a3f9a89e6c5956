"""Programs in a world, harness side: start one, write to it, hear what it prints and which scripts it starts."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onesim.world.interface import Fault, Limits, Run


@dataclass(frozen=True)
class Output:
    """A program printed something."""

    name: str
    data: bytes


@dataclass(frozen=True)
class End:
    """A program has ended: exit status (negative: by that signal), and the end of what it printed to stderr. `within` = while a script that it started ran."""

    name: str
    status: int
    stderr: str
    within: bool = False


@dataclass(frozen=True)
class Started:
    """A program has started a driver script, which waits for the harness. `argv` begins with its path; `closed` = its stdin was closed."""

    shim: int
    argv: tuple[str, ...]
    stdin: bytes
    closed: bool


Heard = Output | End | Started


class Conversing(ABC):
    """What a world offers for programs. One thread at a time."""

    @abstractmethod
    def _request(self, do: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        """Ask the agent."""

    @abstractmethod
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
        cwd: str = "",
        root: bool = False,
        shim: int = -1,
    ) -> Run:
        """Run a command to its end."""

    @abstractmethod
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
        shim: int = -1,
    ) -> None:
        """Start a command."""

    def start_program(self, host: str, name: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """Start a program as oneadmin in /var/lib/one; `name` tells it from others. Returns why it could not be started, empty if it could.

        It sees the host as it is, but every script below `remotes/tm` and `remotes/datastore` reports here when it is started, and waits for `begin` or `drop`.
        """
        script = (Path(__file__).parent / "skel" / "shim").read_bytes()
        answer = self._request("program", host=host, name=name, argv=list(argv), env=dict(env), shim_script=base64.b64encode(script).decode())
        return str(answer.get("failed", "") or answer.get("error", ""))

    def tell(self, name: str, data: bytes, *, last: bool = False) -> None:
        """Write to a program's stdin, and close it after the `last`. It never waits for the program."""
        self._request("tell", name=name, data=base64.b64encode(data).decode(), last=last)

    def hear(self, time_s: float) -> Heard | None:
        """Return the next thing that a program does; None if nothing comes within the time."""
        answer = self._request("hear", time_s=time_s)
        match answer.get("heard"):
            case "data":
                return Output(answer["name"], base64.b64decode(answer["data"]))
            case "ended":
                return End(answer["name"], answer["status"], answer["stderr"], answer["within"])
            case "script":
                return Started(answer["shim"], tuple(answer["argv"]), base64.b64decode(answer["stdin"]), answer["closed"])
            case _:
                return None

    def begin_started(self, script: Started, *, limits: Limits, call_id: str, faults: Sequence[Fault] = ()) -> None:
        """Begin a script that a program has started, as a call: with what the program gave it, and with its output to the program."""
        self.begin("frontend", script.argv, limits=limits, call_id=call_id, faults=faults, shim=script.shim)

    def run_started(self, script: Started, *, limits: Limits, call_id: str) -> Run:
        """Run such a script to its end."""
        return self.run("frontend", script.argv, limits=limits, call_id=call_id, shim=script.shim)

    def drop(self, shim: int, status: int) -> None:
        """End a script that a program has started, without running it."""
        self._request("drop", shim=shim, status=status)

    def dismiss(self, name: str) -> None:
        """Kill what is left of a program."""
        self._request("dismiss", name=name)
