"""Certifying: from what the user wishes to the cases that run, once or several times, and to the judgement."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from onereport import html, specsite
from onereport.results import VERDICTS, Result, ResultRecord
from onesim.errors import ConfigError
from onesim.journal import read
from onesim.rows import Profile
from onesim.schedule import recorded
from onesim.spec import load
from onetck import beside, conclude, execution, faultcases, kept, levels, provenance
from onetck.describing import described
from onetck.execution import Progress
from onetck.faulting import LEVELS
from onetck.following import Following
from onetck.judge import Judgement
from onetck.plan import PlannedCase, choose
from onetck.repeating import combined
from onetck.selftest.source import code_lines
from onetck.setting import Setting


@dataclass(frozen=True)
class Wish:
    """What the user wishes of a run. `only` are verdicts: the cases that had them in the results `source` run again.

    `beside`: the reference driver plays the same cases after it.
    """

    out: Path
    profile: str = ""
    traces: tuple[Path, ...] = ()
    cases: tuple[str, ...] = ()
    text: str = ""
    requirements: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    source: Path | None = None
    jobs: int = 1
    seed: int = 0
    schedule: Path | None = None
    keep: bool = False
    fail_fast: bool = False
    times: int = 1
    faults: str = "off"
    level: str = ""
    beside: bool = False

    @property
    def whole(self) -> bool:
        """Whether the whole library is asked for."""
        return not (self.traces or self.cases or self.text or self.requirements or self.only)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command line that repeat it, but for the choice of cases."""
        options = (
            ("--profile", self.profile),
            *(("--trace", str(path)) for path in self.traces),
            ("--schedule", str(self.schedule or "")),
            ("--seed", str(self.seed or "")),
            ("--faults", self.faults if self.faults != "off" and not self.level else ""),
            ("--level", self.level),
        )
        return tuple(word for name, value in options if value for word in (name, value))


def fault_level(word: str) -> str:
    """Return the level of faults that a word names. Raises ConfigError for another word."""
    if word not in LEVELS:
        raise ConfigError(f"--faults {word!r} is unknown; choose one of {', '.join(LEVELS)}")
    return word


def at_level(wish: Wish) -> Wish:
    """Return the wish with the faults that the level demands, if one is wished. Raises ConfigError for an unknown one, or for what it decides by itself."""
    if not wish.level:
        return wish
    if wish.profile or wish.faults != "off":
        raise ConfigError(f"--level {wish.level} decides on profiles and faults; leave out --profile and --faults")
    return replace(wish, faults=levels.find(load(), wish.level).faults)


def certified(setting: Setting, wish: Wish) -> Profile:
    """Return the requirements that the run is about: those named, else those of the profiles."""
    claimed = wish.profile or setting.claimed
    if wish.level:
        claimed = levels.demanded(levels.find(setting.spec.spec, wish.level), claimed)
    profile = conclude.find_profile(setting.spec, claimed if wish.faults == "off" else f"{claimed},{faultcases.PROFILE}")
    if not wish.requirements:
        return profile
    known = setting.spec.requirements
    wrong = next((id for id in wish.requirements if id not in known), "")
    if wrong:
        raise ConfigError(f"requirement {wrong!r} is unknown under contract {setting.spec.contract.name}; `onetck spec` lists them")
    return msgspec.structs.replace(profile, requirements=wish.requirements)


def plan(setting: Setting, wish: Wish, profile: Profile) -> list[PlannedCase]:
    """Return the cases that the user wishes. Raises ConfigError for a choice that cannot be."""
    names = list(wish.cases)
    if wish.only:
        names += [name for name in _with_verdicts(wish) if name not in names]
        if not names:
            return []
    alone = {name: path for name in names if (path := _fault_trace(wish, name)).is_file()}
    named, profiles = [name for name in names if name not in alone], profile.name.split(", ")
    cases = choose(setting.spec, setting.subject, wish.traces, named, profiles, wish.text) if named or not alone else []
    cases += choose(setting.spec, setting.subject, tuple(alone.values()), (), profiles, wish.text) if alone else []
    if wish.requirements:
        cases = [case for case in cases if _reaches(setting, case, wish.requirements)]
    return cases if wish.faults == "off" else faultcases.widened(setting.spec, cases)


def _fault_trace(wish: Wish, case: str) -> Path:
    """Return where the trace of a case would lie, if it were a fault case of the run that the wish follows."""
    return (wish.source.parent if wish.source else wish.out) / conclude.FAULTS / f"{case}.jsonl"


def _with_verdicts(wish: Wish) -> Iterator[str]:
    unknown = next((name for name in wish.only if name not in VERDICTS), "")
    if unknown:
        raise ConfigError(f"--only: {unknown!r} is no verdict; choose of {', '.join(VERDICTS)}")
    source = wish.source or wish.out / "results.jsonl"
    if not source.is_file():
        raise ConfigError(f"{source}: no such results; name those of an earlier run with --from")
    found = [record for record in read(source, ResultRecord) if isinstance(record, Result) and record.verdict in wish.only]
    return iter(dict.fromkeys(record.case for record in found))


def _reaches(setting: Setting, case: PlannedCase, requirements: Collection[str]) -> bool:
    """Whether a correct driver would be called in a case for an action that one of the requirements is about."""
    for id in requirements:
        family, _, name = setting.spec.requirements[id].action.partition("/")
        if (
            not name
            or family not in ("ds", "tm")
            or any(one == f"{family}/{name}" or (name == "*" and one.startswith(f"{family}/")) for one in case.expects)
        ):
            return True
    return False


def prepare(setting: Setting, wish: Wish) -> None:
    """See that there is room for the results, a schedule if one is named, and that this machine can make a world.

    Raises ConfigError or HarnessError with the remedy.
    """
    if wish.schedule is not None:
        recorded(wish.schedule)
        if wish.schedule.resolve().parent == wish.out.resolve():
            raise ConfigError(f"{wish.schedule}: this run would write over it; choose another --out")
    execution.prepare_out(wish.out)
    execution.require_world(setting.subject)


def certify(
    setting: Setting, wish: Wish, profile: Profile, cases: Sequence[PlannedCase], progress: Callable[[], AbstractContextManager[Progress]]
) -> Judgement:
    """Run the cases as often as wished, judge, and write the reports. `progress` is entered once for each time."""
    repeat = conclude.repeat_command((*setting.repeat, *wish.words))
    given = provenance.given(setting)  # many small files: beside a thread that calculates each of them would wait for its turn
    if wish.times == 1:
        following = _following(setting, profile, wish.out, repeat)
        with _prepared(setting), progress() as told:
            whole = _execute(setting, wish, profile, cases, wish.out, told, following, given)
        if wish.beside and whole:
            beside.play(setting, cases, wish.out, wish.jobs, wish.seed, progress)
        return conclude.conclude(setting.spec, wish.out, profile, repeat, setting.waivers, following.results)
    judgements = []
    for n in range(1, wish.times + 1):
        out = wish.out / f"run-{n}"
        execution.prepare_out(out)
        following = _following(setting, profile, out, repeat)
        with progress() as told:
            whole = _execute(setting, wish, profile, cases, out, told, following, given)
        if wish.beside and whole and n == 1:
            beside.play(setting, cases, out, wish.jobs, wish.seed, progress)
        judgements.append(conclude.conclude(setting.spec, out, profile, repeat, setting.waivers, following.results))
    judgement = combined(judgements)
    conclude.write(setting.spec, wish.out, judgement, wish.out / "run-1" / "history.jsonl")
    return judgement


@contextmanager
def _prepared(setting: Setting) -> Iterator[None]:
    """Do while the driver works what its reports take besides it: compile their templates, read its scripts, make the pages of the specification."""
    texts = setting.subject.sources.texts.values() if setting.subject.sources else ()

    def prepare() -> None:
        html.prepare()
        for text in texts:
            code_lines(text)
        specsite.prepare(setting.spec.spec)

    preparing = threading.Thread(target=prepare, daemon=True)
    preparing.start()
    yield
    preparing.join()


def _following(setting: Setting, profile: Profile, out: Path, repeat: str) -> Following:
    """Return what judges the cases of a run when they end."""
    return Following(out / "history.jsonl", setting.spec, profile, partial(conclude.command, out, repeat))


def _execute(
    setting: Setting,
    wish: Wish,
    profile: Profile,
    cases: Sequence[PlannedCase],
    out: Path,
    progress: Progress,
    following: Following,
    given: Mapping[str, bytes],
) -> bool:
    """Execute the cases. Returns whether all of them ran."""
    shutil.rmtree(out / conclude.REFERENCE, ignore_errors=True)  # what was played beside an earlier run
    ran = execution.execute(
        setting.spec,
        setting.driver,
        setting.subject,
        cases,
        out,
        jobs=wish.jobs,
        progress=progress,
        command=sys.argv,
        keep=kept.make_room("default") if wish.keep else None,
        seed=wish.seed,
        schedules=recorded(wish.schedule) if wish.schedule is not None else {},
        judged=following.ended,
        fail_fast=wish.fail_fast,
        claimed=[name for name in setting.claimed.split(",") if name],
        given=given,
        faults=wish.faults,
        described=described(setting),
        more=partial(faultcases.follow, setting, cases, profile, out, wish.faults, wish.seed, progress.more) if wish.faults != "off" else None,
    )
    following.close()
    return len(ran) >= len(cases)
