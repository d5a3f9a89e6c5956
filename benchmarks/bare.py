"""What the harness costs beside the scripts themselves: VM lifecycles of twelve operations, played on hosts with nothing observed, with trees, and with bytes too,
against the same scripts run bare on hosts of the same kind, with the same ssh.

    python benchmarks/bare.py [LIFECYCLES [ROUNDS]]

The lifecycles are played once; each call with its arguments, document and the answers that oned gave is kept. Then one shell on a front-end runs the scripts
with these, one after the other: nothing is started for it but they, and nothing is asked of the simulated oned. What a world costs without any call is
taken off both. Processor time counts all that ran, on either side of the hosts; where other work keeps the machine busy, it alone can be compared.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from replay import LIFE

from onesim.data import data_dir
from onesim.events import Answer
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer
from onesim.layout import furnish, make_cloud
from onesim.observer import Observer
from onesim.running import Start
from onesim.trace import Trace, parse_trace
from onesim.world.interface import Limits
from onetck.execution import start_world
from onetck.setting import Given, Setting, settle

PLACE = "/var/lib/one/bare"


class Blind(Observer):
    """Observes nothing."""

    def refresh(self) -> None:
        """Take no picture."""

    def changes(self) -> tuple[Any, ...]:
        """Tell of none."""
        return ()

    def observe(self, *words: Any, **more: Any) -> None:
        """Read nothing."""

    def observe_gone(self, *words: Any, **more: Any) -> None:
        """Look for nothing."""


class Short(Observer):
    """Observes the trees, and no bytes."""

    def observe(self, *words: Any, **more: Any) -> None:
        """Read nothing."""

    def observe_gone(self, *words: Any, **more: Any) -> None:
        """Look for nothing."""


@dataclass
class Kept:
    """What happened in the order in which it did: scripts with argv and stdin, files that were laid down, and the answers to the drivers' questions;
    `source` is where the image lies."""

    did: list[tuple[str, tuple[str, ...], bytes]] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)
    source: str = ""


def lives(setting: Setting, count: int) -> Trace:
    """Return the trace of so many lifecycles, one after the other, of VMs of one image."""
    lines = ['{"trace": 1, "name": "lives", "title": "t"}', '{"op": "image.make", "image": "os", "size_mb": 1}']
    lines += [f'{{"op": {line}, "vm": "vm{n}"}}' for n in range(count) for line in LIFE]
    return parse_trace("\n".join(lines), Path("lives.jsonl"), setting.spec.spec)


def played(setting: Setting, trace: Trace, observer: type[Observer], kept: Kept | None = None) -> None:
    """Play the lifecycles on hosts; keep what happened, if that is asked for."""
    holder: list[CaseRun] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        start_world(setting.subject, True, (), holder) as world,
        patch("onesim.executor.Observer", observer),
    ):
        writer = Writer(Path(scratch) / "history.jsonl")
        run = CaseRun(setting.spec, setting.subject, trace, world, writer, BlobStore(Path(scratch) / "blobs"))
        holder.append(run)
        if kept is not None:
            _keep(run, kept)
        ended = run.run()
        if kept is not None:
            kept.source = next(iter(run.cloud.images.values())).source
        writer.close()
    if ended.outcome != "completed":
        raise SystemExit(f"benchmarks/bare.py: the lifecycles did not end: {ended.reason}; correct the driver or the machine")


def _keep(run: CaseRun, kept: Kept) -> None:
    begin, put, question = run.runner.begin, run.world.put, run.question

    def begun(start: Start) -> Any:
        kept.did.append((start.script, start.argv, start.stdin))
        return begin(start)

    def laid(host: str, path: str, data: bytes, *words: Any) -> None:
        if kept.did:
            kept.did.append(("", (path,), data))  # the hosts share the datastores
        put(host, path, data, *words)

    def asked(question_: Any) -> Answer | None:
        answer = question(question_)
        if answer is not None:
            kept.answers.append(answer)
        return answer

    run.runner.begin, run.world.put, run.question = begun, laid, asked  # type: ignore[method-assign]


def bare(setting: Setting, kept: Kept) -> None:
    """Run the same scripts from one shell on a front-end."""
    answers = deque(kept.answers)

    class Answering:
        """Stands where the case stands else."""

        def question(self, asked: Any) -> Answer:
            return answers.popleft()

    with start_world(setting.subject, True, (), [Answering()]) as world:  # type: ignore[list-item]
        furnish(world, make_cloud(setting.subject, True), setting.subject)
        lines = [f"export {name}={shlex.quote(value)}" for name, value in setting.subject.environment.items()]
        texts: dict[bytes, str] = {}
        for script, argv, data in kept.did:
            file = texts.setdefault(data, f"{PLACE}/{len(texts)}")
            if script.endswith("/mkfs"):  # it chooses a name of its own, and later calls say the one of then
                lines.append(f"mv $({shlex.join([script, *argv])} <{file}) {shlex.quote(kept.source)} || exit 1")
            elif script:
                lines.append(f"{shlex.join([script, *argv])} <{file} >/dev/null || exit 1")
            else:
                lines.append(f"cp {file} {shlex.quote(argv[0])}")
        for data, file in texts.items():
            world.put("frontend", file, data)
        world.put("frontend", f"{PLACE}/all.sh", "\n".join(lines).encode())
        ran = world.run("frontend", ["/bin/bash", f"{PLACE}/all.sh"], limits=Limits(time_s=36_000))
    if ran.status or ran.ended_by != "exit" or answers:
        said = ran.stderr.decode(errors="replace").strip()[-300:]
        raise SystemExit(f"benchmarks/bare.py: the bare scripts ended by {ran.ended_by} with {ran.status}, {len(answers)} answers left: {said}")


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor, of this process and all that it started."""
    began, used = time.perf_counter(), _used_s()
    work()
    return time.perf_counter() - began, _used_s() - used


def _used_s() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def compare(count: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each way the seconds of the clock and of the processor for a lifecycle: the least of the rounds, in which the ways alternate."""
    setting = settle(Given(config=data_dir("reference_driver") / "onetck.toml", lines=False))
    trace, none, kept = lives(setting, count), lives(setting, 0), Kept()
    played(setting, trace, Blind, kept)
    first = Kept()
    played(setting, none, Blind, first)
    ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "bare": (lambda: bare(setting, kept), lambda: bare(setting, first)),
        "nothing observed": (lambda: played(setting, trace, Blind), lambda: played(setting, none, Blind)),
        "trees observed": (lambda: played(setting, trace, Short), lambda: played(setting, none, Short)),
        "trees and bytes observed": (lambda: played(setting, trace, Observer), lambda: played(setting, none, Observer)),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for n in range(rounds):
        for name, (whole, empty) in ways.items():
            (wall, cpu), (no_wall, no_cpu) = measured(whole), measured(empty)
            taken[name].append(((wall - no_wall) / count, (cpu - no_cpu) / count))
            print(f"round {n + 1}, {name}: {taken[name][-1][0]:.3f} s each, {taken[name][-1][1]:.3f} s processor", file=sys.stderr, flush=True)
    return {name: (min(one for one, _ in rows), min(one for _, one in rows)) for name, rows in taken.items()}


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    found = compare(count, rounds)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; {count} lifecycles, {rounds} rounds"
    )
    print(f"{'':<26} {'s each':>8} {'speed':>7} {'processor s':>12} {'speed':>7}")
    wall, cpu = found["bare"]
    for name, (one, used) in found.items():
        print(f"{name:<26} {one:>8.3f} {100 * wall / one:>6.0f}% {used:>12.3f} {100 * cpu / used:>6.0f}%")


if __name__ == "__main__":
    main()
