"""The tests of the pytest front end: one for each requirement of a profile in each case that is to reach it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onereport.results import EXIT_INTERRUPTED, FAILURES, Evidence, Result
from onesim.errors import ConfigError, HarnessError, SpecError, TraceError
from onesim.journal import read
from onesim.records import Record
from onesim.rows import Profile, Requirement
from onetck import conclude, execution, faultcases, provenance
from onetck.certify import Wish, certified, fault_level, plan
from onetck.describing import described
from onetck.execution import Progress
from onetck.gathering import gather
from onetck.judge import History, cases_of, expected, judge_case
from onetck.plan import PlannedCase
from onetck.setting import Given, Setting, settle


class DriverFault(Exception):
    """The driver breaks a requirement; the text says how, where and what repeats it."""


class HarnessFault(Exception):
    """The harness or the machine failed; nothing is said about the driver."""


@dataclass
class Run:
    """One session: the driver, the cases, and the results of those that this process has run."""

    setting: Setting
    profile: Profile
    cases: list[PlannedCase]
    wish: Wish
    jobs: int = 1
    results: dict[str, dict[str, Result]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        """Yield the tests, case by case."""
        rows = [self.setting.spec.requirements[id] for id in self.profile.requirements if id in self.setting.spec.requirements]
        for case in self.cases:
            collector = CaseTests.from_parent(session, name=case.trace.name, nodeid=case.trace.name)
            for row in rows:
                if row.check and (row.action == "*" or expected(row, case.expects)):
                    yield RequirementTest.from_parent(collector, name=row.id, run=self, case=case, row=row)

    def result(self, case: PlannedCase, row: Requirement) -> Result | None:
        """Return the result of a requirement in a case, which is run now if this process has not run it yet."""
        name = case.trace.name
        if name not in self.results:
            self.results[name] = {one.requirement: one for one in self._play(case)}
        return self.results[name].get(row.id)

    @property
    def out(self) -> Path:
        """Where history, results and reports go."""
        return self.wish.out

    def _play(self, case: PlannedCase) -> list[Result]:
        setting, part = self.setting, self.out / "cases" / case.trace.name
        self._execute([case], part)
        (played,) = cases_of(read(part / "history.jsonl", Record), setting.spec, History())
        repeat = self.repeat.format(case=case.trace.name)
        return judge_case(played, list(setting.spec.requirements.values()), frozenset(self.profile.requirements), repeat)

    def _execute(self, cases: list[PlannedCase], part: Path, jobs: int = 1) -> None:
        setting = self.setting
        part.mkdir(parents=True)
        execution.execute(
            setting.spec,
            setting.driver,
            setting.subject,
            cases,
            part,
            jobs=jobs,
            progress=Progress(),
            command=["pytest", *setting.words],
            claimed=setting.claimed.split(","),
            seed=self.wish.seed,
            faults=self.wish.faults,
            given=provenance.given(setting),
            described=described(setting),
        )

    def _strike(self) -> Path:
        """Play the cases that passed again with faults, and return where their history is."""
        part = self.out / "cases" / conclude.FAULTS
        following = faultcases.follow(self.setting, self.cases, self.profile, self.out, self.wish.faults, self.wish.seed)
        self._execute(following, part, self.jobs)
        return part

    @property
    def repeat(self) -> str:
        """The command that repeats a case, with `{case}` for its name."""
        return conclude.repeat_command((*self.setting.repeat, *self.wish.words))

    def finish(self, status: int) -> int:
        """Write the reports over all that was run, and return the exit status: of the verdict, unless pytest itself did not get to its end."""
        parts = [self.out / "cases" / case.trace.name for case in self.cases if (self.out / "cases" / case.trace.name / "history.jsonl").exists()]
        if not parts:
            return status or int(pytest.ExitCode.NO_TESTS_COLLECTED)
        interrupted = status == pytest.ExitCode.INTERRUPTED
        gather(parts, self.out, interrupted=interrupted, wall_s=time.time() - self.began)
        if self.wish.faults != "off" and status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            gather([*parts, self._strike()], self.out, interrupted=False, wall_s=time.time() - self.began)
        shutil.rmtree(self.out / "cases")
        judgement = conclude.conclude(self.setting.spec, self.out, self.profile, self.repeat, self.setting.waivers)
        footer = judgement.footer
        self.said = [
            f"{footer.verdict}: {footer.sentence}" if footer else "PARTIAL: the run was interrupted; no verdict follows.",
            f"Report: {(self.out / 'report.html').resolve()}",
        ]
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        return footer.exit_code if footer else EXIT_INTERRUPTED


def begin(config: pytest.Config) -> Run:
    """Return the session's run. Raises pytest.UsageError, of one line, for what is wrong with the driver, its description or this machine."""
    option = config.option
    given = Given(
        tuple(Path(path) for path in option.onetck_driver),
        option.onetck_datastore,
        option.onetck_tm,
        option.onetck_system_tm,
        option.onetck_contract,
        Path(option.onetck_config) if option.onetck_config else None,
        backup=option.onetck_backup,
        lines=not option.onetck_no_lines,
        hypervisor=option.onetck_hypervisor,
        backend=option.onetck_backend,
        yes=option.onetck_yes,
    )
    try:
        wish = Wish(Path(option.onetck_out).absolute(), option.onetck_profile, seed=option.onetck_seed, faults=fault_level(option.onetck_faults))
        setting = settle(given)
        profile = certified(setting, wish)
        cases = plan(setting, wish, profile)
        if not hasattr(config, "workerinput"):
            execution.prepare_out(wish.out)
            execution.require_world(setting.subject)
            shutil.rmtree(wish.out / "cases", ignore_errors=True)
    except (ConfigError, TraceError, SpecError, HarnessError) as error:
        raise pytest.UsageError(f"onetck: {error}") from None
    return Run(setting, profile, cases, wish, getattr(option, "numprocesses", None) or 1)


class CaseTests(pytest.Collector):
    """A case; its tests are made by the run."""

    def collect(self) -> list[pytest.Item]:
        """Nothing is left to collect."""
        return []


class RequirementTest(pytest.Item):
    """A requirement in a case."""

    def __init__(self, *, run: Run, case: PlannedCase, row: Requirement, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.run, self.case, self.row = run, case, row
        self.add_marker(row.level.lower())
        family = row.action.partition("/")[0]
        self.add_marker(family if family in ("ds", "tm") else "general")

    def runtest(self) -> None:
        """Ask for the result. What was not tested is skipped; a broken SHOULD is a warning."""
        try:
            result = self.run.result(self.case, self.row)
        except (HarnessError, ConfigError) as error:
            raise HarnessFault(str(error)) from None
        if result is None:
            pytest.skip("not tested: the case does not reach it")
        said = result.evidence[0].sentence if result.evidence else ""
        if result.verdict == "error":
            raise HarnessFault(said)
        if result.verdict in FAILURES:
            raise DriverFault(_told(self.row, result))
        if result.verdict == "warn":
            self.warn(pytest.PytestWarning(_told(self.row, result)))
        elif result.verdict != "pass":
            pytest.skip(f"{result.verdict}: {said}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Return what is wrong in words; the stack of the harness helps nobody."""
        if isinstance(excinfo.value, DriverFault):
            return str(excinfo.value)
        if isinstance(excinfo.value, HarnessFault):
            return f"no verdict, the harness or the machine failed: {excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the case is written, and the name of the test."""
        return Path(self.case.trace.path), None, f"{self.case.trace.name} {self.row.id}"


def _told(row: Requirement, result: Result) -> str:
    lines = [f"{row.id} {row.sentence}", f"  {row.source}", *(_found(result.verdict, one) for one in result.evidence)]
    return "\n".join([*lines, f"  repeat: {result.repeat}"])


def _found(verdict: str, said: Evidence) -> str:
    return f"  {verdict}: {said.sentence}" + (f"\n    {said.place}" if said.place else "")
