"""A run: worlds started, cases executed, history judged, reports written. Used by the command line and by pytest alike."""

from __future__ import annotations

import os
import platform
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from onereport.html import render_html
from onereport.junit import write_junit
from onereport.results import ResultsFooter
from onesim import __version__
from onesim.errors import ConfigError, HarnessError
from onesim.executor import CaseRun, CaseSummary
from onesim.journal import BlobStore, Writer, normalised, read
from onesim.layout import Subjected
from onesim.records import SCHEMA, Call, CaseEnd, Footer, Header, Record
from onesim.spec import ContractSpec
from onesim.world.interface import World
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import Driver
from onetck.judge import Judgement, judge
from onetck.plan import PlannedCase


@dataclass(frozen=True)
class Progress:
    """Told as a run goes on: a case began, a call was seen, a case ended."""

    began: Callable[[str], None] = lambda case: None
    call: Callable[[Call], None] = lambda call: None
    ended: Callable[[CaseSummary], None] = lambda summary: None


@dataclass
class Run:
    """The files of a run and what was decided."""

    out: Path
    judgement: Judgement
    summaries: list[CaseSummary] = field(default_factory=list)

    @property
    def footer(self) -> ResultsFooter | None:
        """The decision; none if the run was interrupted before it could be written."""
        return self.judgement.footer


def prepare_out(out: Path) -> None:
    """Make the output directory. Raises ConfigError if that cannot be, or if it holds something that is no run of ours."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in out.iterdir() if path.name not in ("history.jsonl", "results.jsonl", "report.html", "junit.xml", "blobs")]
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}; choose another --out") from None
    if foreign:
        raise ConfigError(f"{out}: holds {foreign[0]}, which is no result of a run; choose an empty directory with --out")
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: not writable; choose another --out")


def start_world(shared: bool, gates: Sequence[str], holder: list[CaseRun]) -> NamespaceWorld:
    """Start a world whose questions are answered by the case in `holder`."""
    return NamespaceWorld.start(shared=shared, gates=tuple(gates), on_question=lambda asked: holder[0].question(asked))


def execute(
    spec: ContractSpec, driver: Driver, subject: Subjected, plan: Sequence[PlannedCase], out: Path, *, jobs: int, progress: Progress, command: Sequence[str]
) -> list[CaseSummary]:
    """Execute the cases of a plan and write `history.jsonl`. An interrupted run leaves a history without the cases not run, and says so in its footer."""
    writer = Writer(out / "history.jsonl")
    blobs = BlobStore(out / "blobs")
    began = time.time()
    first_isolation = _isolation()
    writer.write(_header(spec, driver, plan, began, command, first_isolation))
    stop = threading.Event()
    summaries: list[CaseSummary] = []

    def one(case: PlannedCase) -> CaseSummary | None:
        if stop.is_set():
            return None
        progress.began(case.trace.name)
        holder: list[CaseRun] = []
        with start_world(case.trace.header.shared, case.trace.header.gates, holder) as world:
            run = CaseRun(spec, subject, case.trace, world, writer, blobs, case.expects, progress.call)
            holder.append(run)
            return run.run()

    interrupted = False
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        pending: set[Future[CaseSummary | None]] = {pool.submit(one, case) for case in plan}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    summary = future.result()
                    if summary is not None:
                        summaries.append(summary)
                        progress.ended(summary)
        except KeyboardInterrupt:
            interrupted = True
            stop.set()
        except BaseException:
            stop.set()
            raise
    _finish(writer, out, summaries, interrupted, time.time() - began)
    return summaries


def _finish(writer: Writer, out: Path, summaries: Sequence[CaseSummary], interrupted: bool, wall_s: float) -> None:
    import hashlib

    per_case: dict[str, list[bytes]] = {}
    for record in read(out / "history.jsonl", Record):
        case = getattr(record, "case", None)
        if case is not None and not isinstance(record, CaseEnd):
            per_case.setdefault(case, []).append(normalised(record))
    digest = hashlib.sha256(b"".join(b"\n".join(rows) for _, rows in sorted(per_case.items()))).hexdigest()
    writer.write(Footer(len(summaries), sum(one.calls for one in summaries), writer.records + 1, digest, interrupted, round(wall_s, 3)))
    writer.close()


def _isolation() -> dict[str, str]:
    from onesim.world.namespaces import obtainable

    return obtainable()


def _header(
    spec: ContractSpec, driver: Driver, plan: Sequence[PlannedCase], began: float, command: Sequence[str], isolation: dict[str, str]
) -> Header:
    environment = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": str(os.cpu_count() or 0),
        "user": "root" if os.geteuid() == 0 else "ordinary user",
    }
    return Header(
        SCHEMA, f"onetck {__version__}", spec.contract.name, spec.version, str(driver.root), driver.datastore_mad, driver.tm_mad, driver.system_tm_mad, 0,
        began, spec.spec.sha256, driver.sha256(), driver.hashes(), isolation, environment, tuple(one.trace.name for one in plan), tuple(command),
    )


def conclude(spec: ContractSpec, out: Path, profile: str, repeat: str) -> Judgement:
    """Judge the history in `out` and write results, report and JUnit beside it."""
    history = out / "history.jsonl"
    records = read(history, Record)
    chain = history_chain(history)
    if profile not in spec.spec.profiles:
        raise ConfigError(f"profile {profile!r} is unknown; choose one of {', '.join(spec.spec.profiles)}")
    judgement = judge(records, spec, spec.spec.profiles[profile], history.name, chain, repeat)
    writer = Writer(out / "results.jsonl")
    for record in judgement.records():
        writer.write(record)
    writer.close()
    (out / "report.html").write_text(render_html(judgement.records(), read(history, Record), out / "blobs"), encoding="utf-8")
    write_junit(judgement.records(), out / "junit.xml")
    return judgement


def history_chain(path: Path) -> str:
    """Return the head of a file's chain: the chain of its last whole line."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                last = line
    return last[10:74].decode() if last else ""


def repeat_command(driver_paths: Sequence[Path], options: Sequence[str]) -> str:
    """Return the command that repeats one case, with `{case}` for its name."""
    words = ["onetck", "run", *(str(path) for path in driver_paths), *options]
    return " ".join(shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words) + " --case {case}"


def require_world() -> None:
    """Raise HarnessError with the remedy if this machine cannot make a world."""
    from onesim.world.probe import probe

    for finding in probe():
        if not finding.ok and finding.needed:
            raise HarnessError(f"{finding.name}: {finding.detail}; {finding.remedy}")


__all__ = ["Progress", "Run", "World", "conclude", "execute", "prepare_out", "repeat_command", "require_world", "start_world"]
