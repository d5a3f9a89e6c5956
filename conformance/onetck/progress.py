"""Progress in the terminal while a run goes on; lines without control codes where stderr is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from onesim.executor import CaseSummary
from onetck.execution import Progress

_MARK = {"completed": "ran", "stopped": "STOPPED", "lacking": "LACKING", "error": "ERROR"}
_WRONG_MAX = 3


def _line(summary: CaseSummary, wrong: Sequence[str]) -> str:
    mark = "FAIL" if wrong and summary.outcome == "completed" else _MARK[summary.outcome]
    text = f"{mark:>7}  {summary.case}: {summary.calls} calls in {summary.duration_s:.1f} s"
    shown = ", ".join(one.partition(":")[0] for one in wrong[:_WRONG_MAX]) + (f" and {len(wrong) - _WRONG_MAX} more" if wrong[_WRONG_MAX:] else "")
    why = "; ".join(one for one in (summary.reason, shown) if one)
    return f"{text} ({why})" if why else text


@contextlib.contextmanager
def terminal_progress(console: Console, cases: int, *, quiet: bool) -> Iterator[Progress]:
    """Show progress on `console`: a bar where it is a terminal, a line for each case where it is not, nothing if quiet."""
    if quiet:
        yield Progress()
        return
    if not console.is_terminal:
        yield Progress(ended=lambda *case: console.print(_line(*case), markup=False), more=lambda cases, why: console.print(why, markup=False))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=cases)

        def ended(summary: CaseSummary, wrong: Sequence[str]) -> None:
            bar.advance(task)
            if wrong or summary.outcome != "completed":
                bar.console.print(_line(summary, wrong), markup=False)

        def more(following: int, why: str) -> None:
            bar.update(task, total=cases + following)
            bar.console.print(why, markup=False)

        yield Progress(
            more=more,
            began=lambda case: bar.update(task, description=case),
            call=lambda call: bar.update(task, description=f"{call.case}  {call.family}/{call.action}"),
            ended=ended,
        )
