"""The command `onetck watch`: on save, the cases whose lines the change touches run again."""

from __future__ import annotations

import difflib
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from onereport.results import EXIT_NOTHING, FAILURES, Result
from onesim.journal import read
from onesim.records import Lines, Record
from onetck import certify
from onetck.certify import Wish
from onetck.execution import Progress
from onetck.setting import Given, settle
from onetck.terminal import ContractOption, err_console, one_line, out_console, stop, terminate_as_interrupt

#: Seconds between two looks at the files, and the size of a file beyond which it is taken for no script.
_PAUSE_S = 0.2
_MAX_BYTES = 1 << 20

#: The lines that each case has run, by file.
Ran = dict[str, dict[str, set[int]]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="watch")(watch)


def watch(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="A remotes/ tree, or datastore/<mad> and tm/<mad> directories.")],
    datastore: Annotated[str, typer.Option("--datastore", metavar="MAD", help="Datastore driver to test, where the tree has several.")] = "",
    tm: Annotated[str, typer.Option("--tm", metavar="MAD", help="Transfer-manager driver of the image datastore.")] = "",
    system_tm: Annotated[str, typer.Option("--system-tm", metavar="MAD", help="That of the system datastore; as --tm if not given.")] = "",
    contract: ContractOption = "",
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="NAME", help="Watch this case alone; may be repeated.", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option("-k", metavar="TEXT", help="Watch cases with this in their name.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Cases at once.")] = 2,
) -> None:
    """Run the cases once, then wait: when a script is saved, those run again that ran one of its changed lines. Ctrl-C ends it with status 2."""
    with one_line():
        terminate_as_interrupt()
        given = Given(paths, datastore, tm, system_tm, contract)
        out = Path(tempfile.mkdtemp(prefix="onetck-watch-"))
        try:
            _watch(given, Wish(out / "run", cases=tuple(case or ()), text=text, jobs=jobs))
        finally:
            shutil.rmtree(out, ignore_errors=True)


def _watch(given: Given, wish: Wish) -> None:
    root = settle(given).driver.root
    seen = texts(root)
    ran = _run(given, wish, wish.cases)
    if not ran:
        stop("no case holds for what was asked; nothing ran", EXIT_NOTHING)
    while True:
        out_console.print(f"watching {root}: {len(ran)} cases", markup=False)
        now = seen
        while now == seen:
            time.sleep(_PAUSE_S)
            now = texts(root)
        changed = {name for name in seen.keys() | now.keys() if seen.get(name) != now.get(name)}
        again = touched(ran, seen, now)
        out_console.print(f"{', '.join(sorted(changed))}: {len(again)} of {len(ran)} cases", markup=False)
        ran = moved(ran, seen, now)
        seen = now
        if again:
            ran |= _run(given, wish, tuple(again))


def _run(given: Given, wish: Wish, cases: tuple[str, ...]) -> Ran:
    """Run cases, print what became of each, and return the lines that they ran."""
    wish = Wish(wish.out, cases=cases, text="" if cases else wish.text, jobs=wish.jobs)
    shutil.rmtree(wish.out, ignore_errors=True)
    setting, begun = settle(given), time.monotonic()
    profile = certify.certified(setting, wish)
    planned = certify.plan(setting, wish, profile)
    if not planned:
        return {}
    certify.prepare(setting, wish)
    judgement = certify.certify(setting, wish, profile, planned, lambda: nullcontext(Progress()))
    wrong: dict[str, list[str]] = {}
    for record in judgement.records():
        if isinstance(record, Result) and record.case and record.verdict in FAILURES:
            why = f"{record.requirement} {record.verdict}" + "".join(f": {one.sentence}" for one in record.evidence[:1])
            wrong.setdefault(record.case, []).append(why)
    for one in planned:
        name = one.trace.name
        out_console.print(f"{'FAIL' if name in wrong else '  ok'}  {name}" + "".join(f"\n      {why}" for why in wrong.get(name, ())), markup=False)
    out_console.print(f"{len(planned) - len(wrong)} of {len(planned)} cases without a failure in {time.monotonic() - begun:.1f} s", markup=False)
    found: Ran = {one.trace.name: {} for one in planned}
    for record in read(wish.out / "history.jsonl", Record):
        if isinstance(record, Lines):
            found[record.case] = {file: set(lines) for file, lines in record.ran.items()}
    return found


def texts(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the lines of the files of a tree, by their paths in it; one that an editor is writing may be missing for a moment."""
    found = {}
    for path in sorted(root.rglob("*")):
        try:
            if path.is_file() and path.stat().st_size <= _MAX_BYTES and not path.name.endswith(("~", ".swp")):
                found[path.relative_to(root).as_posix()] = tuple(path.read_text(errors="replace").splitlines())
        except OSError:
            err_console.print(f"{path} cannot be read for the moment", markup=False)
    return found


def touched(ran: Ran, before: Mapping[str, Collection[str]], after: Mapping[str, Collection[str]]) -> list[str]:
    """Return the cases that ran a line that was changed or taken away, or one beside which lines were added, in their order.

    A file of which no lines are known, as it is new or no script in bash, may be needed by any case: all are returned.
    """
    found: set[str] = set()
    for name in (name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        if not any(name in files for files in ran.values()):
            return list(ran)
        lines = _changed(list(before.get(name, ())), list(after.get(name, ())))
        found |= {case for case, files in ran.items() if files.get(name, set()) & lines}
    return [case for case in ran if case in found]


def _changed(before: list[str], after: list[str]) -> set[int]:
    """Return the numbers of the old lines that a change is about, counted from 1."""
    found: set[int] = set()
    for tag, begin, end, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "insert":
            found |= {begin, begin + 1}
        elif tag != "equal":
            found |= set(range(begin + 1, end + 1))
    return found


def moved(ran: Ran, before: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]]) -> Ran:
    """Return the lines that cases ran under the numbers that they have after a change."""
    places: dict[str, dict[int, int]] = {}
    for name in (name for name in before.keys() & after.keys() if before[name] != after[name]):
        matches = difflib.SequenceMatcher(None, list(before[name]), list(after[name]), autojunk=False).get_matching_blocks()
        places[name] = {one.a + n + 1: one.b + n + 1 for one in matches for n in range(one.size)}
    return {
        case: {name: {places[name][line] for line in lines if line in places[name]} if name in places else lines for name, lines in files.items()}
        for case, files in ran.items()
    }
