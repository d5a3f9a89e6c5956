"""Several runs on one page: how each ended, which actions keep their requirements under which contract, and which driver keeps which requirement.

It needs nothing but the results of the runs, and leads into the report of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from onereport.html import environment
from onereport.kills import Selftest, matrix
from onereport.results import FAILURES, RequirementVerdict, ResultRecord, ResultsFooter, ResultsHeader, worst


@dataclass
class Run:
    """A run: its name in the tables, the address of its report relative to the page, and what of its results the page needs."""

    name: str
    report: str
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    verdicts: dict[str, RequirementVerdict] = field(default_factory=dict)

    def url(self, requirement: str) -> str:
        """Return the address of a requirement in the report."""
        return f"{quote(self.report)}#{requirement}"


@dataclass(frozen=True)
class Cell:
    """The verdict of a run in a row of a table, and where it is explained. An empty verdict: the run was not about that. `kept` of `of` requirements pass."""

    verdict: str = ""
    url: str = ""
    kept: int = 0
    of: int = 0


@dataclass(frozen=True)
class Line:
    """A row of a table: what it is about, with a sentence if there is one, and a cell for each run."""

    name: str
    cells: tuple[Cell, ...]
    sentence: str = ""
    level: str = ""

    @property
    def state(self) -> str:
        """What is to be seen in a row: `wrong`, a run has found a fault; `open`, one has no verdict; else `right`."""
        told = {cell.verdict for cell in self.cells}
        if told & (FAILURES | {"warn", "error"}):
            return "wrong"
        return "right" if told <= {"pass", "not_applicable", ""} else "open"


def run_of(name: str, report: str, records: Iterable[ResultRecord]) -> Run:
    """Return a run from its results."""
    run = Run(name, report)
    for record in records:
        match record:
            case ResultsHeader():
                run.header = record
            case ResultsFooter():
                run.footer = record
            case RequirementVerdict():
                run.verdicts[record.requirement] = record
    return run


def action_verdicts(verdicts: Iterable[RequirementVerdict]) -> dict[str, list[RequirementVerdict]]:
    """Return by action the verdicts on what is required of it and applies."""
    found: dict[str, list[RequirementVerdict]] = {}
    for row in verdicts:
        if row.required and row.verdict != "not_applicable":
            found.setdefault(row.action, []).append(row)
    return found


def by_action(runs: Sequence[Run]) -> list[Line]:
    """Return a row for each action that a requirement of a run is about: the worst verdict in each run, which leads to the requirement that has it."""
    found = [action_verdicts(run.verdicts.values()) for run in runs]
    names = sorted({name for one in found for name in one})
    return [Line(name, tuple(_worst(run, one.get(name, [])) for run, one in zip(runs, found, strict=True))) for name in names]


def _worst(run: Run, rows: Sequence[RequirementVerdict]) -> Cell:
    if not rows:
        return Cell()
    verdict = worst(row.verdict for row in rows)
    first = next(row.requirement for row in rows if row.verdict == verdict)
    return Cell(verdict, run.url(first), sum(row.verdict == "pass" for row in rows), len(rows))


def by_requirement(runs: Sequence[Run]) -> list[Line]:
    """Return a row for each requirement that a run has a verdict on, in the order of the specification; what no run has reached or demands is left out."""
    order: dict[str, RequirementVerdict] = {}
    for run in runs:
        order |= {id: row for id, row in run.verdicts.items() if id not in order and (row.required or row.cases)}
    return [Line(id, tuple(_verdict(run, id) for run in runs), row.sentence, row.level) for id, row in order.items()]


def _verdict(run: Run, id: str) -> Cell:
    row = run.verdicts.get(id)
    return Cell(row.verdict, run.url(id)) if row is not None and (row.required or row.cases) else Cell()


def render_overview(runs: Sequence[Run], selftest: Selftest | None = None) -> str:
    """Return the page. The table of actions by contract stands there where the runs are under several contracts; `selftest` is shown in an appendix."""
    contracts = [run.header.version for run in runs if run.header is not None]
    values: Mapping[str, object] = {
        "runs": runs,
        "failed": lambda footer: sum(footer.counts.get(verdict, 0) for verdict in FAILURES),
        "upgrade": by_action(runs) if len(set(contracts)) > 1 else [],
        "matrix": by_requirement(runs),
        "selftest": selftest,
        "killed": matrix(selftest.mutants) if selftest is not None else None,
    }
    return environment().get_template("overview.html.j2").render(values)
