"""A self-test as an HTML page: operators and scripts by outcome, what killed, every survivor with its lines, and why equivalent ones are no faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onereport.html import environment
from onereport.kills import Broken, matrix
from onesim import __version__
from onetck.selftest.results import FLOOR, count
from onetck.selftest.show import Outcome
from onetck.selftest.trial import OUTCOMES, Trial

#: The outcomes of which each trial is shown with its lines, and what is said of them.
_SHOWN = {
    "survived": "no case finds it",
    "not_covered": "no case runs this line",
    "error": "the harness failed",
    "warned": "it breaks no more than a SHOULD",
}


@dataclass(frozen=True)
class Group:
    """The mutants of an operator or of a script: how many came to each outcome, and the share that was killed of those that are to be, None if there are none."""

    name: str
    counts: dict[str, int]
    rate: float | None


def _groups(trials: Iterable[Trial], key: Callable[[Trial], str]) -> list[Group]:
    found: dict[str, list[Trial]] = {}
    for one in trials:
        found.setdefault(key(one), []).append(one)
    return [_group(name, rows) for name, rows in sorted(found.items())]


def _group(name: str, trials: list[Trial]) -> Group:
    counts = count(trials)
    real = counts.killed + counts.survived + counts.not_covered
    return Group(name, {outcome: getattr(counts, outcome) for outcome in OUTCOMES}, counts.rate if real else None)


def broken(trials: Iterable[Trial]) -> tuple[Broken, ...]:
    """Return trials as the kill matrix counts them."""
    return tuple(Broken(one.mutant.file, one.mutant.line, one.mutant.operator, one.outcome, one.requirement) for one in trials)


def render_page(outcome: Outcome) -> str:
    """Return the page."""
    trials = outcome.trials
    values = {
        "outcome": outcome,
        "outcomes": OUTCOMES,
        "floor": FLOOR,
        "tables": [("operator", _groups(trials, lambda one: one.mutant.operator)), ("script", _groups(trials, lambda one: one.mutant.file))],
        "kills": matrix(broken(trials)),
        "shown": [(name, said, rows) for name, said in _SHOWN.items() if (rows := [one for one in trials if one.outcome == name])],
        "equivalent": [one for one in trials if one.outcome == "equivalent"],
        "tool": f"onetck {__version__}",
    }
    return environment().get_template("selftest.html.j2").render(values)
