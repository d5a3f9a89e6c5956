"""The machines of a vendor's lab: what `[hosts]` of `onetck.toml` says of them, and the consent to work on them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from onesim.errors import ConfigError
from onesim.layout import Subjected, shared_directories
from onesim.model import FRONTEND
from onesim.world import ledger
from onesim.world.lab import LOCAL, LabHost
from onetck.config import NAME, Config, MachineTable, read_config
from onetck.terminal import err_console

_agreed: set[tuple[LabHost, ...]] = set()


def machines(config: Config, base: Path) -> tuple[LabHost, ...]:
    """Return the machines, the front-end first, as `host01`, `host02` and so on in the order of the file. Raises ConfigError naming the one that is wrong."""
    front = [name for name, row in config.hosts.items() if row.frontend]
    if config.hosts and len(front) != 1:
        raise ConfigError(f"[hosts] has {len(front)} front-ends; give exactly one of them `frontend = true`")
    names = [*front, *(name for name in config.hosts if name not in front)]
    found: list[LabHost] = []
    for number, name in enumerate(names):
        row = config.hosts[name]
        where = f"[hosts.{name}]"
        problem = _problem(row)
        if problem:
            raise ConfigError(f"{where} {problem}")
        key, known = (str((base / Path(path).expanduser()).absolute()) if path else "" for path in (row.key, row.known_hosts))
        if key and not Path(key).is_file():
            raise ConfigError(f"{where} key = {row.key!r}: there is no such file; give the private key that opens {row.user or 'the account'}")
        made = LabHost(
            name,
            FRONTEND if row.frontend else f"host{number:02}",
            row.address,
            row.datastores.rstrip("/"),
            row.shared.rstrip("/"),
            row.port,
            row.user,
            key,
            known,
            row.host_keys,
            row.inside or row.address,
            row.python,
            row.ssh_port,
        )
        twin = next((one for one in found if (one.inside, one.ssh_port) == (made.inside, made.ssh_port)), None)
        if twin is not None:
            raise ConfigError(f"{where} is the same machine as [hosts.{twin.name}]; each host is one of its own")
        found.append(made)
    return tuple(found)


def described(path: Path | None) -> tuple[LabHost, ...]:
    """Return the machines of a description, that of this directory if none is named. Raises ConfigError where it has none."""
    found = machines(*read_config(path))
    if not found:
        raise ConfigError(f"{path or NAME}: has no [hosts]; describe the machines of the lab there")
    return found


def _problem(row: MachineTable) -> str:
    """Return what is wrong with a row, and what to do; empty if nothing is."""
    if not row.address or row.address.startswith("-") or re.search(r"\s", row.address):
        return f"address = {row.address!r} is none; give a name or an address, or {LOCAL!r} for this machine"
    if row.address == LOCAL and not row.inside:
        return "is this machine; give `inside`, the address at which the others reach it"
    if row.user.startswith("-"):
        return f"user = {row.user!r} is none"
    for name, path in (("datastores", row.datastores), ("shared", row.shared)):
        if (path or name == "datastores") and (not path.startswith("/") or path.count("/") < 2 or ".." in path.split("/")):
            return f"{name} = {path!r}: give the absolute path of a directory for this alone, such as /srv/onetck"
    if row.shared and row.shared.rstrip("/") == row.datastores.rstrip("/"):
        return "has one directory for `datastores`, its own storage, and `shared`; give each its own"
    for name, port in (("port", row.port), ("ssh_port", row.ssh_port)):
        if not (0 if name == "port" else 1) <= port <= 65535:
            return f"{name} = {port} is no port"
    return ""


def require_enough(subject: Subjected) -> None:
    """Raise ConfigError where the machines are too few for what the driver needs, or share no storage although its datastores are shared."""
    if not subject.lab:
        raise ConfigError("--backend ssh takes its machines from [hosts] in onetck.toml; describe them there")
    if len(subject.lab) < len(subject.machines):
        raise ConfigError(f"[hosts] names {len(subject.lab)} machines, and the driver needs {len(subject.machines)}: {', '.join(subject.machines)}")
    without = next((host.name for host in subject.lab[: len(subject.machines)] if not host.shared), "")
    if shared_directories(subject, None) and without:
        raise ConfigError(
            f"[hosts.{without}] has no `shared`, and the driver's datastores are shared: give the directory where all hosts have that storage"
        )


def agree(hosts: Sequence[LabHost], *, yes: bool) -> None:
    """List what will be touched, and ask unless the answer is given. Raises ConfigError where it is not yes, or nobody is there to ask."""
    if tuple(hosts) in _agreed:
        return
    for host in hosts:
        err_console.print(f"{host.title} is {host.role}: makes and removes {', '.join(touched(host))}", markup=False)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is here to agree to that; look at the list above, and give --yes")
        if not typer.confirm("Go on?", err=True):
            raise ConfigError("nothing was touched")
    _agreed.add(tuple(hosts))


def agreed(hosts: Sequence[LabHost]) -> bool:
    """Tell whether the user has agreed in this process."""
    return tuple(hosts) in _agreed


def touched(host: LabHost) -> list[str]:
    """Return the paths at which something is made on a machine."""
    places = [f"{path}/{ledger.PREFIX}*" for path in host.places if path != host.shared or host.role == FRONTEND]
    return [*places, f"{ledger.STATE}/", f"mount points where they lack ({', '.join(ledger.POINTS)})"]
