"""Shows a self-test: a table by script and by operator, the survivors with their lines, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from onetck.selftest.mutants import Mutant
from onetck.selftest.results import FLOOR, Counts, count
from onetck.selftest.trial import OUTCOMES, Trial


class Outcome(msgspec.Struct, frozen=True):
    """A self-test as JSON: the counts, the seconds, how many mutants there are in all, ids of stale reasons, and every trial."""

    counts: Counts
    wall_s: float
    derived: int
    seed: int | None
    stale: tuple[str, ...]
    trials: tuple[Trial, ...]


def place(mutant: Mutant) -> str:
    """Return where a mutant differs, for a sentence."""
    return f"{mutant.file}:{mutant.line}"


def show(outcome: Outcome, console: Console) -> None:
    """Print the tables, the survivors, and the verdict."""
    trials = outcome.trials
    _table(console, "script", trials, lambda one: one.mutant.file)
    _table(console, "operator", trials, lambda one: one.mutant.operator)
    for name, said in (
        ("survived", "no case finds it"),
        ("warned", "it breaks no more than a SHOULD"),
        ("not_covered", "no case runs this line"),
        ("error", "the harness failed"),
    ):
        for one in trials:
            if one.outcome == name:
                _difference(console, one, said)
    for one in (one for one in trials if one.outcome == "equivalent"):
        console.print(f"equivalent {one.mutant.id} {place(one.mutant)} {one.mutant.operator}: {one.reason}", markup=False)
    for id in outcome.stale:
        console.print(f"stale {id}: no mutant has this id any more; remove it from equivalent.toml", markup=False)
    counts = outcome.counts
    chosen = (
        f"{len(trials)} of {outcome.derived} mutants" if outcome.seed is None else f"{len(trials)} of {outcome.derived} mutants (seed {outcome.seed})"
    )
    said = f"{counts.killed} killed, {counts.warned} warned, {counts.survived} survived, {counts.not_covered} on lines that no case runs"
    apart = sum(one.outcome == "killed" and not one.certified for one in trials)
    said += f"; {apart} of the kills rest on requirements that no profile of the role has" if apart else ""
    rest = f"{counts.equivalent} equivalent, {counts.error} errors; kill rate {counts.rate:.1%}, {FLOOR:.0%} wanted; {outcome.wall_s:.0f} s"
    console.print(f"{chosen}: {said}; {rest}", markup=False)


def _table(console: Console, title: str, trials: Sequence[Trial], key: Callable[[Trial], str]) -> None:
    table = Table(title, *OUTCOMES, "rate", box=None, pad_edge=False)
    groups: dict[str, list[Trial]] = {}
    for one in trials:
        groups.setdefault(key(one), []).append(one)
    for name, rows in sorted(groups.items()):
        counts = count(rows)
        table.add_row(name, *(str(getattr(counts, outcome) or "") for outcome in OUTCOMES), f"{counts.rate:.0%}")
    console.print(table)
    console.print()


def _difference(console: Console, trial: Trial, said: str) -> None:
    mutant = trial.mutant
    more = f": {', '.join(trial.warned)}" if trial.warned else f"; {trial.reason}" if trial.reason else ""
    tried = f" ({trial.tried} tried)" if trial.tried else ""
    console.print(f"{trial.outcome} {mutant.id} {place(mutant)} {mutant.operator}: {said}{tried}{more}", markup=False)
    console.print(f"  - {mutant.before}\n  + {mutant.after}", markup=False)


def line(trial: Trial) -> str:
    """Return what progress says of a trial."""
    found = f" by {trial.requirement} ({trial.verdict}) in {trial.role}/{trial.case}" if trial.outcome == "killed" else ""
    return f"{trial.outcome} {trial.mutant.id} {place(trial.mutant)} {trial.mutant.operator}{found}"


def outcome_of(trials: Iterable[Trial], wall_s: float, derived: int, seed: int | None, stale: Iterable[str]) -> Outcome:
    """Return what is shown, in the order of files and lines."""
    rows = tuple(sorted(trials, key=lambda one: (one.mutant.file, one.mutant.line, one.mutant.operator, one.mutant.id)))
    return Outcome(count(rows), round(wall_s, 1), derived, seed, tuple(stale), rows)
