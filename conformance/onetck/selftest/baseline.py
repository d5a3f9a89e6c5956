"""The baseline: the reference driver as it is, in all its roles. Tells what each case takes, what is bad already, and which lines it runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import msgspec

from onesim.data import data_dir
from onesim.errors import HarnessError
from onetck import cores
from onetck.conclude import find_profile
from onetck.plan import PlannedCase, choose
from onetck.selftest.playing import play
from onetck.setting import Given, Setting, settle


@dataclass(frozen=True)
class RoleRow:
    """A role in which the reference driver is tried: its description, the contract (empty: the newest), and which cases run: `all`, those that no role before
    has (`new`), or those named.
    """

    name: str
    description: str
    contract: str = ""
    cases: str | tuple[str, ...] = "all"


#: The scripts of `mixed` and `backup` are for the greater part those of the first two, and are played with what is new. Those of the oldest contract get their
#: document as an argument and answer otherwise; and the hypervisor brings no disk along when it moves a guest.
ROLES = (
    RoleRow("shared", "onetck.toml"),
    RoleRow("ssh", "ssh.toml"),
    RoleRow("mixed", "mixed.toml", cases="new"),
    RoleRow("backup", "backup.toml", cases="new"),
    RoleRow(
        "oldest", "onetck.toml", "5.12", ("image-raw", "image-clone", "image-make", "image-refused", "datastore-monitor", "monitor-sizes", "export")
    ),
    RoleRow("hybrid", "onetck.toml", "6.6-stdin", ("image-raw", "datastore-monitor")),
    RoleRow("ssh-oldest", "ssh.toml", "5.12", ("nodes-live-migration",)),
    RoleRow("backup-older", "backup.toml", "6.6", ("backup-full",)),
)
#: The limit of a call with the driver as it is, whose lines are traced.
TRACED_S = 60.0


@dataclass(frozen=True)
class Role:
    """The reference driver in a role: what it is judged by, and the cases that run."""

    name: str
    setting: Setting
    required: frozenset[str]
    cases: dict[str, PlannedCase]


class CaseSeen(msgspec.Struct, frozen=True):
    """A case with the reference driver: seconds, seconds of its longest call, bad verdicts, and the lines that it runs, by script. `key` says of which driver
    and which tables.
    """

    key: str
    role: str
    case: str
    duration_s: float
    longest_s: float
    bad: dict[str, str]
    warned: tuple[str, ...]
    lines: dict[str, list[int]]


@dataclass(frozen=True)
class Baseline:
    """All cases, in the order of the roles."""

    cases: list[CaseSeen]

    def reaching(self, file: str, line: int) -> list[CaseSeen]:
        """Return the cases that run a line."""
        return [one for one in self.cases if line in one.lines.get(file, ())]

    def runs(self, file: str, line: int) -> bool:
        """Tell whether a case runs a line."""
        return any(line in one.lines.get(file, ()) for one in self.cases)


def roles(names: Iterable[str] = ()) -> list[Role]:
    """Return the roles of those names, or all, each with its cases."""
    wanted = frozenset(names) or {row.name for row in ROLES}
    before: set[str] = set()
    found = []
    for row in ROLES:
        if row.name not in wanted:
            continue
        setting = settle(Given(contract=row.contract, config=data_dir("reference_driver") / row.description))
        profile = find_profile(setting.spec, setting.claimed)
        plan = choose(setting.spec, setting.subject, [], [], profile.name.split(", "))
        cases = {
            case.trace.name: case
            for case in plan
            if row.cases == "all" or (case.trace.name not in before if row.cases == "new" else case.trace.name in row.cases)
        }
        before |= set(cases)
        found.append(Role(row.name, setting, frozenset(profile.requirements), cases))
    return found


def keys(chosen: Iterable[Role]) -> dict[str, tuple[Role, PlannedCase]]:
    """Return the cases of roles by what identifies their results: the driver, the role, the specification, the trace."""
    tables = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(data_dir("spec").rglob("*.toml")))).hexdigest()
    found = {}
    for role in chosen:
        driver = role.setting.driver.sha256()
        for name, case in role.cases.items():
            trace = hashlib.sha256(repr((case.trace.header, case.trace.steps)).encode()).hexdigest()
            found[hashlib.sha256(f"{role.name} {name} {driver} {tables} {trace}".encode()).hexdigest()[:16]] = role, case
    return found


def measure(chosen: list[Role], known: Mapping[str, CaseSeen], jobs: int, told: Callable[[CaseSeen], None]) -> Baseline:
    """Run the cases of the roles with the reference driver, but for those that are known by their keys.

    Raises HarnessError if a case fails there: then nothing can be told of mutants.
    """
    work = keys(chosen)
    stop = threading.Event()

    def one(key: str) -> CaseSeen | None:
        return None if stop.is_set() else _measure(key, *work[key])

    seen = dict(known)
    with ThreadPoolExecutor(max_workers=jobs, initializer=cores.apart(jobs)) as pool:
        try:
            for result in pool.map(one, [key for key in work if key not in known]):
                if result is not None:
                    seen[result.key] = result
                    told(result)
        except BaseException:
            stop.set()
            raise
    return Baseline([seen[key] for key in work])


def sources(chosen: Iterable[Role]) -> dict[str, str]:
    """Return the bash scripts of the roles' drivers and what lies beside them, by path."""
    found: dict[str, str] = {}
    for role in chosen:
        for name, path in role.setting.driver.files.items():
            data = path.read_bytes()
            if data.startswith(b"#!/bin/bash"):
                found[name] = data.decode()
    return found


def _measure(key: str, role: Role, case: PlannedCase) -> CaseSeen:
    setting = role.setting
    limits = replace(setting.subject.limits, time_s=TRACED_S)
    played = play(setting.spec, replace(setting.subject, limits=limits), case, role.required, to_the_end=True)
    failed = [id for id in played.bad if id in role.required]
    if played.error or failed:
        raise HarnessError(f"{role.name}, {case.trace.name}: the reference driver itself fails: {played.error or ', '.join(failed)}")
    return CaseSeen(key, role.name, case.trace.name, played.duration_s, played.longest_s, dict(played.bad), played.warned, dict(played.lines))
