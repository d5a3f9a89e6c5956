"""The reference driver beside a driver: it plays the same cases in worlds of the same kind, so that durations can be compared. Nothing of it is judged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from onesim.data import data_dir
from onesim.errors import HarnessError, TraceError
from onesim.layout import shared_of
from onetck import execution
from onetck.conclude import REFERENCE
from onetck.execution import Progress
from onetck.plan import PlannedCase, foresee
from onetck.setting import Given, Setting, settle

#: The description of the role of the reference driver that fits a driver, by whether the hosts share its system datastores and whether it keeps backups.
_ROLES = {(True, False): "onetck.toml", (True, True): "backup.toml", (False, False): "ssh.toml", (False, True): "ssh.toml"}


def reference(setting: Setting) -> Setting:
    """Return the setting of the reference driver in the role that fits a driver, under the same contract and with the same bounds."""
    role = data_dir("reference_driver") / _ROLES[setting.shared, bool(setting.driver.backup_mad)]
    lines = setting.subject.sources is not None
    return settle(Given(contract=setting.spec.contract.name, config=role, timeout_s=setting.subject.limits.time_s, lines=lines))


def play(
    setting: Setting, cases: Sequence[PlannedCase], out: Path, jobs: int, seed: int, progress: Callable[[], AbstractContextManager[Progress]]
) -> None:
    """Play those of the cases that the reference driver can play, and keep their history below `out`. What goes wrong in that is told, and no result."""
    role, folder = reference(setting), out / REFERENCE
    chosen = list(_playable(role, cases))
    folder.mkdir()
    with progress() as told:
        name = f"datastore/{role.driver.datastore_mad}, tm/{role.driver.tm_mad}"
        told.more(0, f"the reference driver ({name}) plays {len(chosen)} of {len(cases)} cases beside the driver")
        try:
            execution.execute(role.spec, role.driver, role.subject, chosen, folder, jobs=jobs, progress=told, command=sys.argv, seed=seed)
        except HarnessError as error:
            told.more(0, f"the reference driver could not be played: {error}")


def _playable(role: Setting, cases: Sequence[PlannedCase]) -> Iterator[PlannedCase]:
    """Yield the cases in which oned refuses nothing and that are for the layout of the role, as the role is called in them."""
    for case in cases:
        if case.trace.header.pool or case.trace.header.shared not in (None, shared_of(role.subject, None)):
            continue
        try:
            yield PlannedCase(case.trace, foresee(role.spec, role.subject, case.trace))
        except TraceError:
            continue
