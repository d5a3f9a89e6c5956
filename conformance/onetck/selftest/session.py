"""A self-test from its choice to its outcome: roles, baseline, mutants, trials."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from onesim.errors import ConfigError
from onetck import cores
from onetck.driver import OF_THE_FRONT_END
from onetck.execution import require_world
from onetck.selftest import baseline as measuring
from onetck.selftest.baseline import CaseSeen, Role
from onetck.selftest.mutants import Mutant, apart, choose, derive
from onetck.selftest.reasons import read_reasons, stale
from onetck.selftest.results import Results
from onetck.selftest.show import Outcome, outcome_of
from onetck.selftest.source import is_action
from onetck.selftest.striking import Striking
from onetck.selftest.trial import Bench, Trial, attempt

#: So many of the cases that run a line are played with a mutant of it; more of them hardly ever find what these do not.
MOST = 6


@dataclass(frozen=True)
class Choice:
    """What is asked for: scripts (paths or patterns), a number of mutants (0: all) chosen by a seed, roles, ids, whether explained mutants are tried
    too, whether all cases are played that run a line, and whether every mutant is tried or those alone whose lines lie apart.
    """

    out: Path
    only: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    count: int = 0
    seed: int = 0
    jobs: int = 2
    doubt: bool = False
    thorough: bool = False
    every: bool = False


@dataclass(frozen=True)
class Told:
    """Told as it goes on: a case of the baseline, a trial, with how many of how many."""

    case: Callable[[CaseSeen, int, int], None] = lambda seen, n, of: None
    trial: Callable[[Trial, int, int], None] = lambda trial, n, of: None


def selftest(choice: Choice, told: Told) -> Outcome:
    """Run a self-test. Raises ConfigError for a choice that cannot be; HarnessError if this machine makes no world, or the reference driver itself fails."""
    began = time.monotonic()
    known = [row.name for row in measuring.ROLES]
    wrong = next((name for name in choice.roles if name not in known), "")
    if wrong:
        raise ConfigError(f"--role {wrong!r} is unknown; choose of {', '.join(known)}")
    require_world()
    roles = measuring.roles(choice.roles)
    files = {name: text for name, text in measuring.sources(roles).items() if name not in OF_THE_FRONT_END}
    chosen = _chosen(choice.only, files)
    if choice.only:
        roles = [_narrow(role, chosen, files) for role in roles]
        roles = [role for role in roles if role.cases]
    if not roles:
        raise ConfigError(f"--only {' '.join(choice.only)}: no case calls it in the roles {', '.join(choice.roles or known)}")
    results = Results(choice.out, _suite(roles))
    total, done = len(measuring.keys(roles).keys() - results.cases.keys()), 0

    def measured(seen: CaseSeen) -> None:
        nonlocal done
        done += 1
        results.keep(seen)
        told.case(seen, done, total)

    base = measuring.measure(roles, results.cases, choice.jobs, measured)
    used = chosen if choice.only else {file for seen in base.cases for file in seen.lines} & set(files)
    made = derive({file: text for file, text in files.items() if file in used})
    rows = read_reasons()
    gone = stale(rows, ((one.id, one.file) for one in derive(files))) if not choice.only and not choice.roles else []
    if choice.ids:
        mutants = choose([one for one in made if one.id in choice.ids], files, choice.seed)
    else:
        mutants = choose(made if choice.every else apart(made, files), files, choice.seed, choice.count)
    reasons = {} if choice.doubt else {id: row.reason for id, row in rows.items()}
    named = {role.name: role for role in roles}
    striking = Striking(base, named, files, results.struck, results.keep_struck)
    bench = Bench(files, base, named, reasons, 0 if choice.thorough else MOST, striking)
    order = random.Random(choice.seed).sample(mutants, len(mutants))  # so that a part of a run says something of the whole
    trials = _run(bench, order, results, choice.jobs, told)
    return outcome_of(trials, time.monotonic() - began, len(made), choice.seed if choice.count else None, gone)


def _chosen(only: Sequence[str], files: Iterable[str]) -> set[str]:
    """Return the scripts that are asked for. Raises ConfigError for a pattern that no script has."""
    found: set[str] = set()
    for pattern in only:
        fitting = {file for file in files if fnmatch(file, pattern)}
        if not fitting:
            raise ConfigError(f"--only {pattern!r}: no bash script of the reference driver, such as tm/shared/clone, in these roles")
        found |= fitting
    return found


def _narrow(role: Role, chosen: set[str], files: dict[str, str]) -> Role:
    """Return a role with the cases that call one of the scripts; a helper may be used by all."""
    if not all(is_action(file) for file in chosen):
        return role
    called = {f"{'ds' if file.startswith('datastore/') else 'tm'}/{file.rpartition('/')[2].partition('.')[0]}" for file in chosen}
    mads = {f"{family}/{name}" for family, names in _mads(role).items() for name in names}
    if not any(file.rpartition("/")[0] in mads for file in chosen):
        return Role(role.name, role.setting, role.required, {})
    return Role(role.name, role.setting, role.required, {name: case for name, case in role.cases.items() if called & set(case.expects)})


def _mads(role: Role) -> dict[str, set[str]]:
    driver = role.setting.driver
    return {"datastore": {driver.datastore_mad, driver.backup_mad}, "tm": {driver.tm_mad, driver.system_tm_mad}}


def _suite(roles: Iterable[Role]) -> str:
    """Return what identifies the suite that mutants are tried with: the roles with their cases, and the code that judges."""
    here = Path(__file__).parents[1]
    total = hashlib.sha256("".join(sorted(measuring.keys(roles))).encode())
    for path in (*sorted((here / "checks").glob("*.py")), here / "judge.py"):
        total.update(path.read_bytes())
    return total.hexdigest()


def _run(bench: Bench, mutants: Sequence[Mutant], results: Results, jobs: int, told: Told) -> list[Trial]:
    """Try the mutants that have no result yet. An interrupt ends it after what runs; what is done stays."""
    trials = [_kept(bench, results.done[one.id]) for one in mutants if one.id in results.done]
    left = [one for one in mutants if one.id not in results.done]
    stop = threading.Event()

    def one(mutant: Mutant) -> Trial | None:
        return None if stop.is_set() else attempt(bench, mutant)

    with ThreadPoolExecutor(max_workers=jobs, initializer=cores.apart(jobs)) as pool:
        pending: set[Future[Trial | None]] = {pool.submit(one, mutant) for mutant in left}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for trial in filter(None, (future.result() for future in done)):
                    if trial.outcome != "equivalent":
                        results.add(trial)
                    trials.append(trial)
                    told.trial(trial, len(trials), len(mutants))
        except BaseException:
            stop.set()
            raise
    return trials


def _kept(bench: Bench, trial: Trial) -> Trial:
    """Return an earlier result; a survivor that has been explained since is equivalent."""
    reason = bench.reasons.get(trial.mutant.id)
    return Trial(trial.mutant, "equivalent", reason=reason) if reason else trial
