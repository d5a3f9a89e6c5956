"""The reference driver keeps what it claims in every role and under every contract.

A role plays each case that calls other scripts than it does in the roles before, and with slow storage one under each contract. The cases are dealt out over
the contracts, so that every role meets every contract, and one case meets other contracts in other roles. `tox run -e exhaustive` plays every case of every role
under every contract, which takes hours.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from certified import certified

from onesim.data import data_dir
from onesim.journal import head, read
from onesim.records import Record
from onesim.spec import load
from onetck.conclude import find_profile
from onetck.execution import Progress, execute
from onetck.judge import Judgement, expected, judge
from onetck.plan import PlannedCase, choose, matching
from onetck.setting import Given, Setting, settle

REFERENCE = data_dir("reference_driver")
CONTRACTS = [row.name for row in load().contracts]


@dataclass(frozen=True)
class Role:
    """A role by the name of its description: the profiles that no other role reaches (empty: all that it claims), and the programs that it needs.

    Of storage that takes its time one case is played under each contract.
    """

    name: str
    own: str = ""
    programs: tuple[str, ...] = ()
    slow: bool = False

    @cache  # noqa: B019 -- the roles live as long as the tests
    def under(self, contract: str) -> Setting:
        """Return the role under a contract."""
        return settle(Given(contract=contract, config=REFERENCE / f"{self.name}.toml"))


ROLES = [
    Role("onetck"),
    Role("ssh", "tm-ssh"),
    Role("mixed", "tm-mixed"),
    Role("backup", "ds-backup,tm-backup"),
    Role("rsync", "ds-backup,tm-backup", ("rsync",)),
    Role("restic", "ds-backup,tm-backup", ("restic",), slow=True),
    Role("libvirt_pool"),
    Role("ceph", "", ("ceph-mon", "ceph-mgr", "ceph-osd", "rbd"), slow=True),
]


def _marked(role: Role) -> object:
    absent = [name for name in role.programs if shutil.which(name) is None]
    mark = pytest.mark.skipif(bool(absent) and "CI" not in os.environ, reason=f"no {', '.join(absent)} here")
    return pytest.param(role, id=role.name, marks=mark)


@cache
def _cases(role: Role, contract: str) -> list[PlannedCase]:
    setting = role.under(contract)
    return choose(setting.spec, setting.subject, [], [], setting.claimed.split(","))


def _names(role: Role, contract: str) -> list[str]:
    setting = role.under(contract)
    return [one.name for one in matching(setting.spec, setting.subject, setting.claimed.split(","))]


@cache
def _newest(role: Role) -> list[PlannedCase]:
    """The cases of a role, each under the newest contract that has it."""
    found = {case.trace.name: case for case in _cases(role, CONTRACTS[-1])}
    for contract in reversed(CONTRACTS):
        older = [name for name in _names(role, contract) if name not in found]
        if older:
            setting = role.under(contract)
            found |= {case.trace.name: case for case in choose(setting.spec, setting.subject, [], older, setting.claimed.split(","))}
    return list(found.values())


def _served(role: Role, case: PlannedCase) -> tuple[str, ...]:
    """A case, and the drivers whose scripts it calls in a role."""
    driver = role.under("7.4").driver
    backs_up = any(
        one in ("ds/backup", "ds/restore", "ds/increment_flatten") or one.startswith(("tm/prebackup", "tm/postbackup")) for one in case.expects
    )
    tm = (driver.tm_mad, driver.system_tm_mad) if any(one.startswith("tm/") for one in case.expects) else ()
    return (case.trace.name, driver.datastore_mad, *tm, driver.backup_mad if backs_up else "")


def _dealt(role: Role) -> dict[str, list[str]]:
    """The names of the cases that a role plays under each contract."""
    before = {_served(one, case) for one in ROLES[: ROLES.index(role)] for case in _newest(one)}
    planned = {contract: _names(role, contract) for contract in CONTRACTS}
    mine = [case.trace.name for case in _newest(role) if _served(role, case) not in before]
    dealt: dict[str, list[str]] = {contract: [] for contract in CONTRACTS}
    for n, name in enumerate(mine):
        under = [contract for contract in CONTRACTS if name in planned[contract]]
        contract = under[(n + ROLES.index(role)) % len(under)]
        if not (role.slow and dealt[contract]):
            dealt[contract].append(name)
    return dealt


def test_every_case_is_dealt_and_every_role_meets_every_contract() -> None:
    """No case and no contract is left out; backups are there from 6.6."""
    dealt = {role.name: _dealt(role) for role in ROLES}
    played = {name for names in dealt.values() for some in names.values() for name in some}
    assert played == {name for role in ROLES for contract in CONTRACTS for name in _names(role, contract)}
    for role in ROLES:
        since = "6.6" if "backup" in role.own else "5.12"
        assert all(dealt[role.name][contract] for contract in CONTRACTS[CONTRACTS.index(since) :]), role.name


@pytest.mark.components
@pytest.mark.turns(8)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_contract_refuses_a_case_of_a_role(role: Role) -> None:
    """What is written for a contract is legal in it, whichever drivers there are: oned accepts each operation of each case."""
    for contract in CONTRACTS:
        assert [case.trace.name for case in _cases(role, contract)] == _names(role, contract)


def _played(role: Role, contract: str, names: list[str], out: Path) -> Judgement:
    """Play cases of a role under a contract, and judge them."""
    setting = role.under(contract)
    cases = choose(setting.spec, setting.subject, [], names, setting.claimed.split(",")) if names else []
    out.mkdir()
    execute(setting.spec, setting.driver, setting.subject, cases, out, jobs=1, progress=Progress(), command=["test"])
    history, profile = out / "history.jsonl", find_profile(setting.spec, setting.claimed)
    return judge(read(history, Record), setting.spec, profile, history.name, head(history), "onetck run --case {case}")


def _meet(role: Role, lacking: set[str]) -> list[str]:
    """The cases, under the newest contract, that call an action which one of the requirements is about."""
    rows = [role.under(CONTRACTS[-1]).spec.requirements[id] for id in lacking]
    return [case.trace.name for case in _cases(role, CONTRACTS[-1]) if any(expected(row, case.expects) for row in rows)]


@pytest.mark.turns(8)
@pytest.mark.parametrize("role", [_marked(role) for role in reversed(ROLES)])  # what takes longest first
def test_a_role_is_kept_under_every_contract(role: Role, tmp_path: Path) -> None:
    """Every case passes under the contract that it is dealt to, and every requirement that is the role's own is reached where all are played.

    What no case reaches under the contract that it is dealt to, such as what the newest contract alone requires, is looked for under the newest.
    """
    wrong, passed = {}, set()

    def note(contract: str, judgement: Judgement) -> None:
        passed.update(row.requirement for row in judgement.results if row.verdict == "pass")
        wrong.update(
            {
                f"{contract} {row.case} {row.requirement}": f"{row.verdict}: {row.evidence[0].sentence if row.evidence else ''}"
                for row in judgement.results
                if row.case and row.verdict not in ("pass", "not_applicable")
            }
        )

    for contract, names in _dealt(role).items():
        note(contract, _played(role, contract, names, tmp_path / contract))
    newest = role.under(CONTRACTS[-1])
    required = {id for id in find_profile(newest.spec, role.own or newest.claimed).requirements if id in newest.spec.requirements}
    if required - passed and not role.slow:
        note(CONTRACTS[-1], _played(role, CONTRACTS[-1], _meet(role, required - passed), tmp_path / "newest"))
    assert wrong == {}
    assert role.slow or required - passed == set()


@pytest.mark.exhaustive
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("role", [_marked(role) for role in ROLES])
def test_a_role_is_conformant(role: Role, contract: str, tmp_path: Path) -> None:
    """The whole role under one contract: CONFORMANT."""
    footer, _ = certified(REFERENCE / f"{role.name}.toml", tmp_path / "out", "--contract", contract)
    assert (footer.exit_code, footer.verdict) == (0, "CONFORMANT")
