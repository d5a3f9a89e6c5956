"""The ssh backend: hosts are machines of a vendor's lab, with the real storage behind them. An agent on each owns what happens there."""

from __future__ import annotations

import itertools
import shlex
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from onesim.errors import ConfigError, HarnessError
from onesim.world import lab, ledger, sshd, surveying
from onesim.world.interface import Question, Reply
from onesim.world.lab import LabHost, Line
from onesim.world.losing import LosingWorld
from onesim.world.served import Wanted, settings
from onesim.world.switch import Switch

_START_S = 30.0
_numbers = itertools.count(1)
_turn = threading.Lock()


def obtainable(hosts: Sequence[LabHost]) -> dict[str, str]:
    """Return what this backend isolates, for the record."""
    return {
        "backend": "ssh",
        "hosts": ", ".join(f"{host.role} = {host.name}" for host in hosts),
        "users": "oneadmin of the machines; sudo is their root",
        "processes": "a namespace of their own on each machine",
        "files": "/var/lib/one, /etc/one, /tmp and /var/tmp in memory; the rest is the machines' own",
        "network": "the machines' own",
        "limits": "rlimits and the agent's watch",
    }


@cache
def ready(hosts: tuple[LabHost, ...]) -> None:
    """Look whether worlds can be made, after what killed runs have left was removed. Raises HarnessError, or ConfigError for storage that is not empty."""
    lab.swept(hosts)
    for host, seen in zip(hosts, lab.surveyed(hosts).values(), strict=True):
        if "unreachable" in seen:
            raise HarnessError(f"{host.title}: {seen['unreachable']}; see `onetck doctor --hosts`")
        for path, place in seen["places"].items():
            if path == host.shared and host.role != hosts[0].role:
                continue  # the front-end has looked
            if place.get("strange"):
                raise ConfigError(f"{host.title}: {surveying.occupied(path, place['strange'])}")


@cache
def _keys() -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="onetck-") as directory:
        try:
            return sshd.make_keys(directory)
        except sshd.KeysRefused as error:
            raise HarnessError(str(error)) from None


class SshWorld(LosingWorld):
    """A world of machines; there is one at a time. A host that is down has no SSH server."""

    unable = MappingProxyType(lab.CANNOT)
    _machines: Sequence[LabHost] = ()
    _entry: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def start(cls, machines: tuple[LabHost, ...], *, on_question: Callable[[Question], Reply | None], **wanted: Unpack[Wanted]) -> SshWorld:
        """Start a world on machines, the front-end first. Raises HarnessError with the remedy."""
        if wanted.get("keep"):
            raise HarnessError("a world on machines of a lab is not kept; leave --keep out, or choose another --backend")
        ready(machines)
        described = settings(wanted)
        chosen = [host for host in machines if host.role in described["hosts"]]
        if described["shared"] and any(not host.shared for host in chosen if host.role not in described["apart"]):
            raise HarnessError("the case needs storage that the hosts share, and [hosts] names none; give each host `shared`")
        label = lab.label()
        label["world"] = f"{ledger.PREFIX}{label['run']}-{next(_numbers)}"
        addresses = {host.role: host.inside for host in chosen}
        message = {**described, "do": "world", "label": label, "keys": _keys(), "addresses": addresses}
        lines: dict[str, Line] = {}
        _turn.acquire()
        try:
            gates: list[tuple[str, ...]] = []
            for group in (chosen[:1], chosen[1:]):  # the others look for the storage that the front-end has made
                for host in group:
                    lines[host.role] = Line(host, {**message, **_own(host, label["world"])})
                gates += [_gates(lines[host.role]) for host in group]
        except BaseException:
            _close(lines)
            raise
        world = cls(Switch(lines), on_question)
        world.gates, world._machines = gates[0], chosen
        try:
            world.require_ways(chosen)
        except BaseException:
            world.close()
            raise
        return world

    def require_ways(self, machines: Sequence[LabHost]) -> None:
        """Raise HarnessError where a machine does not reach the SSH server of another one."""
        for host in machines:
            others = [one for one in machines if one is not host]
            tries = "; ".join(f"ssh {one.role} true || echo {one.role}" for one in others)
            seen = self.run(host.role, ["/bin/bash", "-c", tries])
            away = [one for one in others if one.role in seen.stdout.decode().split()]
            if away:
                why = seen.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                remedy = f"open port {away[0].ssh_port} between the machines, or give another `ssh_port`"
                raise HarnessError(f"{host.title}: does not reach {away[0].title} by ssh: {why[0]}; {remedy}")

    def cut_off(self, host: str) -> None:
        """End the SSH server of a host, with all that has come through it."""
        self._must("host", host=host, up=False)

    def rejoin(self, host: str) -> None:
        """Start it again."""
        self._must("host", host=host, up=True)

    def ssh_config(self, host: str) -> Path:
        """Return a configuration of OpenSSH's client by which the harness reaches a host under its name, as oneadmin. It lasts as long as the world.

        Raises HarnessError for a host that this world does not have.
        """
        if host not in (roles := [one.role for one in self._machines]):
            raise HarnessError(f"host {host!r} is not in this world; there are {', '.join(roles)}")
        if self._entry is None:
            self._entry = tempfile.TemporaryDirectory(prefix="onetck-")
            keys = Path(self._entry.name, "key"), Path(self._entry.name, "known_hosts")
            for path, text in zip(keys, (_keys()["key"], "* " + _keys()["host_key.pub"]), strict=True):
                path.touch(0o600)
                path.write_text(text)
            sections = [sshd.entry(host.role, host.ssh_port, shlex.join(host.way_in()), self._entry.name) for host in self._machines]
            Path(self._entry.name, "config").write_text("".join(sections))
        return Path(self._entry.name, "config")

    def close(self) -> None:
        """End the world and remove what was made for it on the machines."""
        super().close()
        if self._entry is not None:
            self._entry.cleanup()
        _turn.release()


def _own(host: LabHost, world: str) -> dict[str, Any]:
    """Return what a machine is told of itself: where its directories of a world are."""
    storage = f"{host.shared}/{world}" if host.shared else ""
    return {"host": host.role, "ssh_port": host.ssh_port, "datastores": f"{host.datastores}/{world}", "storage": storage}


def _gates(line: Line) -> tuple[str, ...]:
    """Wait until a machine is ready. Returns the commands that are gated there."""
    while True:
        answer = line.receive(_START_S)
        if answer is None:
            raise HarnessError(f"{line.host.title}: no world came up within {_START_S:g} s; see `onetck doctor --hosts`")
        if "refused" in answer:
            raise HarnessError(f"{line.host.title}: {answer['refused']}")
        if "ready" in answer:
            return tuple(answer["gates"])


def _close(lines: dict[str, Line]) -> None:
    Switch(lines).close()
    _turn.release()
