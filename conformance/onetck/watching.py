"""The command `onetck watch`: on save, the cases whose lines the change touches run again."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from onereport.results import EXIT_NOTHING
from onesim.executor import CaseSummary
from onesim.rows import Profile
from onetck import certify, cores, execution
from onetck.certify import Wish
from onetck.execution import Progress
from onetck.following import Following
from onetck.setting import Given, Setting, settle
from onetck.terminal import ContractOption, err_console, one_line, out_console, stop, terminate_as_interrupt

#: Seconds between two looks at the files, and the size of a file beyond which it is taken for no script.
_PAUSE_S = 0.1
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
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=cores.JOBS_MAX, help="Cases at once.")] = 2,
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
    setting = settle(given)
    root = setting.driver.root
    certify.prepare(setting, wish)
    stamps, seen = _stamps(root), texts(root)
    profile = certify.certified(setting, wish)
    ran, took = _run(setting, wish, profile, {})
    if not ran:
        stop("no case holds for what was asked; nothing ran", EXIT_NOTHING)
    while True:
        out_console.print(f"watching {root}: {len(ran)} cases", markup=False)
        now = seen
        while now == seen:
            time.sleep(_PAUSE_S)
            stamps, before = _stamps(root), stamps
            if stamps != before:
                now = texts(root)
        changed = {name for name in seen.keys() | now.keys() if seen.get(name) != now.get(name)}
        again = touched(ran, seen, now)
        out_console.print(f"{', '.join(sorted(changed))}: {len(again)} of {len(ran)} cases", markup=False)
        ran = moved(ran, seen, now)
        seen = now
        if again:
            wish = Wish(wish.out, cases=tuple(again), jobs=wish.jobs)
            newly, took_now = _run(settle(given), wish, profile, took)
            ran, took = ran | newly, took | took_now


def _run(setting: Setting, wish: Wish, profile: Profile, took: Mapping[str, float]) -> tuple[Ran, dict[str, float]]:
    """Run cases, those first that `took` the fewest seconds; print what became of each when it has ended. Returns the lines that they ran, and their seconds."""
    begun = time.monotonic()
    planned = sorted(certify.plan(setting, wish, profile), key=lambda one: took.get(one.trace.name, 0.0))
    found: Ran = {one.trace.name: {} for one in planned}
    if not planned:
        return found, {}
    shutil.rmtree(wish.out, ignore_errors=True)
    execution.prepare_out(wish.out)
    following = Following(wish.out / "history.jsonl", setting.spec, profile)
    failed: set[str] = set()

    def told(summary: CaseSummary, wrong: Sequence[str]) -> None:
        """Print what became of a case."""
        failed.update([summary.case] if wrong else [])
        text = f"{'FAIL' if wrong else '  ok'}  {summary.case} ({summary.duration_s:.1f} s)" + "".join(f"\n      {one}" for one in wrong)
        out_console.print(text, markup=False)

    ran = execution.execute(
        setting.spec,
        setting.driver,
        setting.subject,
        planned,
        wish.out,
        jobs=wish.jobs,
        progress=Progress(ended=told),
        command=sys.argv,
        judged=following.ended,
    )
    following.close()
    if len(ran) < len(planned):
        raise KeyboardInterrupt
    out_console.print(f"{len(planned) - len(failed)} of {len(planned)} cases without a failure in {time.monotonic() - begun:.1f} s", markup=False)
    return found | following.ran, {one.case: one.duration_s for one in ran}


def _stamps(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return by which the files of a tree show that they were written: times, sizes, and which file it is."""
    found = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            try:
                info = Path(folder, name).stat()
                found[f"{folder}/{name}"] = (info.st_mtime_ns, info.st_size, info.st_ino)
            except OSError:
                continue  # a moment of an editor; what comes of it is another stamp
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
