"""Whatever the schedule of calls that overlap is, the reference driver keeps what it keeps: a seed picks the schedule.

What overlaps in a case is the only thing that a seed changes, so the cases in which something does are played. `tox run -e exhaustive` takes 200 seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from onesim.data import data_dir
from onesim.journal import head, read
from onesim.records import Record, Together
from onetck.conclude import find_profile
from onetck.execution import Progress, execute
from onetck.judge import judge
from onetck.plan import choose
from onetck.setting import Given, settle

pytestmark = pytest.mark.components
ROLES = ("onetck", "ssh")


@pytest.mark.turns(4)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("first", "last"),
    [(1, 3), *(pytest.param(n, n + 9, marks=pytest.mark.exhaustive) for n in range(1, 200, 10))],
    ids=lambda value: str(value),
)
def test_every_schedule_gets_the_same_verdicts(role: str, first: int, last: int, tmp_path: Path) -> None:
    """Nothing fails under any of the seeds, calls do overlap, and not all schedules are the same."""
    setting = settle(Given(config=data_dir("reference_driver") / f"{role}.toml"))
    every = choose(setting.spec, setting.subject, [], [], setting.claimed.split(","))
    cases = [case for case in every if any(len(group) > 1 for group in case.trace.groups())]
    assert cases
    schedules = set()
    for seed in range(first, last + 1):
        out = tmp_path / str(seed)
        out.mkdir()
        execute(setting.spec, setting.driver, setting.subject, cases, out, jobs=1, progress=Progress(), command=["test"], seed=seed)
        history, profile = out / "history.jsonl", find_profile(setting.spec, setting.claimed)
        judgement = judge(read(history, Record), setting.spec, profile, history.name, head(history), "onetck run --case {case}")
        assert {(row.case, row.requirement): row.verdict for row in judgement.results if row.verdict not in ("pass", "not_applicable")} == {}
        stretches = [record for record in read(history, Record) if isinstance(record, Together)]
        assert stretches and all(len(one.calls) > 1 for one in stretches)
        schedules.add(tuple(one.turns for one in stretches))
    assert len(schedules) == last - first + 1
