"""What `onetck doctor --hosts` says of the machines of a lab, with the remedy. Nothing is made on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from onesim.world import lab, surveying
from onesim.world.lab import LabHost
from onesim.world.nsview import ONEADMIN
from onesim.world.probe import Finding

_SKEW_S = 2.0
_ROOM_MB = 2048
#: What the way to a machine ends with, and what helps; the last one always does.
_REMEDIES = (
    ("Host key verification failed", 'add its host key to `known_hosts`, or give host_keys = "accept-new"'),
    ("HOST IDENTIFICATION HAS CHANGED", "find out why its host key is another one, then correct `known_hosts`"),
    ("Permission denied", "give the `user` and the `key` that the machine lets in"),
    ("sudo", 'let the user run commands as root without a password (NOPASSWD in sudoers), or give user = "root"'),
    ("Python", "install Python 3.11 or newer there, and name it by `python`"),
    ("not found", "install Python 3.11 or newer there, and name it by `python`"),
    ("", "correct `address` and `port`, and see that the network lets ssh through"),
)


def findings(hosts: tuple[LabHost, ...]) -> list[Finding]:
    """Return the findings on all machines, in their order."""
    seen = lab.surveyed(hosts)
    return [finding for host in hosts for finding in _of(host, seen[host.name], hosts)]


def _of(host: LabHost, seen: dict[str, Any], hosts: Sequence[LabHost]) -> Iterator[Finding]:
    problem = seen.get("unreachable", "") or seen.get("refused", "")
    if problem:
        yield Finding(f"{host.name} reached", False, True, problem, next(remedy for text, remedy in _REMEDIES if text in problem))
        return
    yield Finding(f"{host.name} reached", True, True, f"{host.address} as {host.user or 'the user of ssh'}, {host.role} of the worlds")
    yield Finding(f"{host.name} rights", seen["root"], True, "root" if seen["root"] else "not root", 'give user = "root", or a user with sudo')
    yield Finding(
        f"{host.name} merged /usr", seen["merged"], True, "/bin is a link" if seen["merged"] else "/bin is a directory", "use a newer system"
    )
    yield from _tools(host, seen)
    ids = [ONEADMIN, ONEADMIN]
    told = ":".join(map(str, seen["oneadmin"])) or "there is none"
    yield Finding(
        f"{host.name} oneadmin", seen["oneadmin"] == ids, True, told, f"install OpenNebula's packages, or make the user with {ONEADMIN}:{ONEADMIN}"
    )
    skew = max(0.0, seen["time"] - seen["answered"], seen["asked"] - seen["time"])
    yield Finding(f"{host.name} clock", skew < _SKEW_S, False, f"{skew:.1f} s off", "synchronise it, such as with chrony")
    yield from _storage(host, seen, first=host is hosts[0])
    for name, why in seen["reached"].items():
        other = next(one for one in hosts if one.name == name)
        remedy = f"open port {other.ssh_port} between the machines, or give `inside` and `ssh_port`"
        yield Finding(f"{host.name} to {name}", not why, True, why or f"{other.inside} port {other.ssh_port} is not blocked", remedy)


def _tools(host: LabHost, seen: dict[str, Any]) -> Iterator[Finding]:
    for tools, needed, name in ((surveying.NEEDED, True, "tools"), (surveying.USEFUL, False, "further tools")):
        lacking = [tool for tool in tools if not seen["tools"][tool]]
        detail = f"Python {seen['python']}, {', '.join(tools)}" if needed else ", ".join(tools)
        packages = " ".join(dict.fromkeys(tools[tool] for tool in lacking))
        yield Finding(
            f"{host.name} {name}", not lacking, needed, f"without {', '.join(lacking)}" if lacking else detail, f"apt-get install {packages}"
        )


def _storage(host: LabHost, seen: dict[str, Any], *, first: bool) -> Iterator[Finding]:
    for path, place in seen["places"].items():
        name = f"{host.name}:{path}"
        if "problem" in place:
            yield Finding(name, False, True, place["problem"].partition("; ")[0], "make the directory, or name another one under [hosts]")
        elif place["strange"] and (first or path != host.shared):
            yield Finding(
                name, False, True, f"holds {', '.join(place['strange'])}, which onetck did not create", "empty it, or name an empty directory"
            )
        else:
            enough = place["free_mb"] >= _ROOM_MB and place["writable"]
            detail = f"{place['free_mb']} MiB free" + ("" if place["writable"] else ", read-only")
            yield Finding(name, enough, not place["writable"], detail, f"leave {_ROOM_MB} MiB free and writable")
    having, left = seen["holder"], seen["left"]
    if having is not None:
        detail = f"run {having.get('run', '?')} of {having.get('machine', '?')} is using it"
        yield Finding(f"{host.name} free", False, True, detail, "wait for its end; `onetck hosts clean` where it was killed")
    elif left:
        yield Finding(f"{host.name} free", False, False, f"a run has left {', '.join(left)}", "`onetck hosts clean`; the next run does that, too")
    else:
        yield Finding(f"{host.name} free", True, False, "no run is using it, and none has left anything")
