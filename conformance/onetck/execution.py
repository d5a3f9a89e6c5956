"""A run: worlds started, cases executed, the history written. Used by the command line and by tests alike."""

from __future__ import annotations

import os
import platform
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import msgspec

from onesim import __version__
from onesim.errors import ConfigError
from onesim.executor import CaseRun, CaseSummary
from onesim.journal import BlobStore, Normal, Writer
from onesim.layout import Subjected, shared_directories
from onesim.records import SCHEMA, Call, Described, Footer, Header, Script
from onesim.redaction import Redaction
from onesim.schedule import Chooser, Recorded, Replayed, Seeded
from onesim.spec import ContractSpec
from onesim.trace import Trace
from onesim.world.served import AgentWorld
from onetck import backends, cores, provenance
from onetck.driver import OF_THE_FRONT_END, Driver
from onetck.plan import PlannedCase
from onetck.selftest.source import code_lines


@dataclass(frozen=True)
class Progress:
    """Told as a run goes on: a case began, a call was seen, a case ended and what it fails, in words; so many cases follow, in words."""

    began: Callable[[str], None] = lambda case: None
    call: Callable[[Call], None] = lambda call: None
    ended: Callable[[CaseSummary, Sequence[str]], None] = lambda summary, wrong: None
    more: Callable[[int, str], None] = lambda cases, why: None


#: What a run leaves in its directory.
_FILES = (
    "history.jsonl",
    "results.jsonl",
    "report.html",
    "junit.xml",
    "summary.md",
    "badge.svg",
    "results.sarif",
    "blobs",
    "spec",
    "faults",
    "reference",
)


_REPEATED = re.compile(r"run-\d+")


def prepare_out(out: Path) -> None:
    """Make the output directory. Raises ConfigError if that cannot be, or if it holds something that is no run of ours."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in out.iterdir() if path.name not in _FILES and not _REPEATED.fullmatch(path.name)]
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}; choose another --out") from None
    if foreign:
        raise ConfigError(f"{out}: holds {foreign[0]}, which is no result of a run; choose an empty directory with --out")
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: not writable; choose another --out")


def start_world(subject: Subjected, shared: bool | None, gates: Sequence[str], holder: list[CaseRun], keep: Path | None = None) -> AgentWorld:
    """Start a world that the driver needs, its datastores shared or not, or as the driver has it; its questions are answered by the case in `holder`."""
    sources = subject.sources
    return backends.start(
        subject,
        lambda asked: holder[0].question(asked),
        shared=shared_directories(subject, shared),
        gates=tuple(gates),
        simulated=subject.simulated,
        apart=subject.apart,
        links=subject.links,
        keep=keep,
        tracer=b"" if sources is None else sources.tracer,
        left_alone=() if sources is None else sources.left_alone,
    )


def execute(
    spec: ContractSpec,
    driver: Driver,
    subject: Subjected,
    plan: Sequence[PlannedCase],
    out: Path,
    *,
    jobs: int,
    progress: Progress,
    command: Sequence[str],
    keep: Path | None = None,
    seed: int = 0,
    schedules: Recorded | None = None,
    judged: Callable[[CaseSummary], Sequence[str]] = lambda summary: (),
    fail_fast: bool = False,
    more: Callable[[], Sequence[PlannedCase]] | None = None,
    claimed: Sequence[str] = (),
    faults: str = "off",
    given: Mapping[str, bytes] = MappingProxyType({}),
    described: Described | None = None,
) -> list[CaseSummary]:
    """Execute the cases of a plan and write `history.jsonl`. The world of the last case stays at the socket `keep`, if that is given.

    `seed` picks the schedules of calls that overlap, unless they are to be those of a history: `schedules`.
    `judged` tells what a case that has ended fails, in words; with `fail_fast` the rest need not run then. `more` is asked, when all cases of the plan have
    ended, for those that follow from them; `claimed`, `faults`, `given` (what the run was made from) and `described` stand in the header. An interrupted run
    leaves a history without the cases not run, and says so in its footer.
    """
    redaction = Redaction(spec.spec.secrets, subject.secrets)
    normal = Normal()
    writer, blobs = Writer(out / "history.jsonl", redaction, normal.note), BlobStore(out / "blobs", redaction)
    began = time.time()
    header = _header(spec, driver, subject, plan, began, command, seed)
    made_from = {name: blobs.put(data, inline=0).sha256 for name, data in sorted(given.items())}
    writer.write(
        msgspec.structs.replace(
            header,
            claimed=tuple(claimed),
            faults=faults,
            tool_sha256=provenance.tool_sha256(),
            given=made_from,
            described=described or Described(),
        )
    )
    stop = threading.Event()
    summaries: list[CaseSummary] = []
    ran: set[str] = set()
    failed: set[str] = set()

    def one(case: PlannedCase) -> tuple[CaseSummary, Sequence[str]] | None:
        if stop.is_set():
            return None
        progress.began(case.trace.name)
        holder: list[CaseRun] = []
        staying = keep if case is plan[-1] else None
        world = start_world(subject, case.trace.header.shared, case.trace.header.gates, holder, staying)
        try:
            chooser = partial(_chooser, case.trace, seed, schedules or {})
            run = CaseRun(spec, subject, case.trace, world, writer, blobs, case.expects, progress.call, chooser)
            holder.append(run)
            summary = run.run()
            ran.update(run.scripts.lines)
            failed.update(run.scripts.failed_in)
            wrong = judged(summary)
            if wrong and fail_fast:
                stop.set()  # by this worker, before it takes the next case
            return summary, wrong
        finally:
            world.detach() if staying else world.close()

    interrupted = False
    with ThreadPoolExecutor(max_workers=jobs, initializer=cores.apart(jobs)) as pool:
        # a long case that begins last leaves the others with nothing to do
        ordered = sorted(plan, key=lambda case: -len(case.trace.steps)) if jobs > 1 and not fail_fast else plan
        pending: set[Future[tuple[CaseSummary, Sequence[str]] | None]] = {pool.submit(one, case) for case in ordered}
        try:
            while pending or more is not None:
                if not pending and more is not None:
                    following, more = [] if stop.is_set() else more(), None
                    pending = {pool.submit(one, case) for case in following}
                    continue
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    ended = future.result()
                    if ended is not None:
                        summaries.append(ended[0])
                        progress.ended(*ended)
        except KeyboardInterrupt:
            interrupted = True
            stop.set()
        except BaseException:
            stop.set()
            raise
    _note_scripts(subject, ran, failed, writer, blobs)
    finish(writer, normal, len(summaries), sum(one.calls for one in summaries), interrupted, time.time() - began)
    return summaries


def _chooser(trace: Trace, seed: int, schedules: Recorded, operation: int) -> Chooser:
    """Return what chooses the schedule of the calls that overlap from an operation on: a trace made from another one takes the turns of that one."""
    turns = schedules.get((trace.name, operation))
    return Seeded(f"{seed}:{trace.header.bytes_of or trace.name}:{operation}") if turns is None else Replayed(turns)


def finish(writer: Writer, normal: Normal, cases: int, calls: int, interrupted: bool, wall_s: float) -> None:
    """Write the footer of a history, whose records `normal` has noted, and close it."""
    writer.write(Footer(cases, calls, writer.records + 1, normal.hexdigest(), interrupted, round(wall_s, 3)))
    writer.close()


def _header(
    spec: ContractSpec, driver: Driver, subject: Subjected, plan: Sequence[PlannedCase], began: float, command: Sequence[str], seed: int
) -> Header:
    environment = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": str(cores.count()),
        "user": "root" if os.geteuid() == 0 else "ordinary user",
    }
    return Header(
        SCHEMA,
        f"onetck {__version__}",
        spec.contract.name,
        spec.version,
        str(driver.root),
        driver.datastore_mad,
        driver.tm_mad,
        driver.system_tm_mad,
        seed,
        began,
        spec.spec.sha256,
        driver.sha256(),
        driver.hashes(),
        backends.obtainable(subject),
        environment,
        tuple(one.trace.name for one in plan),
        tuple(command),
        tuple(f"{one.name}: {' '.join(one.command)}" for one in subject.mads),
        driver.backup_mad,
    )


def _note_scripts(subject: Subjected, ran: Collection[str], failed: Collection[str], writer: Writer, blobs: BlobStore) -> None:
    """Write down the bash scripts that the run is about: those in the folders of its drivers, and those that were run besides; and any that have failed."""
    sources = subject.sources
    if sources is None:
        return
    folders = {f"datastore/{subject.datastore_mad}", f"datastore/{subject.backup_mad}", f"tm/{subject.tm_mad}", f"tm/{subject.system_tm_mad}"}
    for file, text in sorted(sources.texts.items()):
        told = file in sources.scripts and file not in OF_THE_FRONT_END
        if file in failed or (told and (file in ran or file.rpartition("/")[0] in folders)):
            digest = blobs.put(text.encode(), inline=0).sha256
            writer.write(Script(file, digest, code_lines(text) if told else (), told and file not in sources.left_alone))


def require_world(subject: Subjected | None = None) -> None:
    """Raise HarnessError with the remedy if this machine cannot make a world: the subject's, or one of namespaces."""
    backends.require(subject)
