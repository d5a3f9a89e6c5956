"""What the reference driver's scripts cost beside the bare commands that they wrap: the median times of both, and their ratio.

    python benchmarks/drivers.py [fs|ceph|libvirt] [RUNS]

The scripts are called as oned calls them: traces of the library are played in worlds of hosts, RUNS times each. Then each bare command is run in such a
world, with what it needs made before and removed after it, outside of the time. The ratio is the price of asking oned, reading documents, reaching the host,
checking, and cleaning up after what may have gone wrong.
"""

from __future__ import annotations

import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer
from onesim.layout import furnish, make_cloud
from onesim.records import Call
from onesim.trace import library
from onesim.world.namespaces import NamespaceWorld
from onetck.execution import start_world
from onetck.setting import Given, Setting, settle

TRACES = ("datastore-monitor", "image-clone", "image-make", "vm-larger", "vm-volatile")
REPEATS = 15


@dataclass(frozen=True)
class Bare:
    """The command that an action wraps; `before` makes what it needs, `after` removes what it made. All are run by bash on the front-end."""

    action: str
    command: str
    before: str = "true"
    after: str = "true"


FILE = "/var/tmp/bench.raw"
STORE = "/var/lib/one/datastores/1"
RBD = "rbd --id one --conf /etc/one/ceph.conf"
MAKE = "--data-pool one-data --size 2M"
VIRSH = "virsh -q -c qemu:///system"
POOL = "/var/lib/one/datastores/pool"
MAKE_VOLUME = f"{VIRSH} vol-create-as one b 2M --allocation 0"
DROP_VOLUME = f"{VIRSH} vol-delete --pool one b"

#: What is compared, by the description of the driver: what is made once, and the bare commands.
TABLES: dict[str, tuple[str, str, tuple[Bare, ...]]] = {
    "fs": (
        "onetck.toml",
        f"truncate -s 2M {FILE}; cp {FILE} {STORE}/a",
        (
            Bare("ds/stat", f"qemu-img info {FILE}"),
            Bare("ds/cp", f"cp --sparse=always {FILE} {STORE}/b", after=f"rm {STORE}/b"),
            Bare("ds/mkfs", f"truncate -s 2M {STORE}/b", after=f"rm {STORE}/b"),
            Bare("ds/clone", f"cp --reflink=auto {STORE}/a {STORE}/b", after=f"rm {STORE}/b"),
            Bare("ds/rm", f"rm -f {STORE}/b", before=f"cp {FILE} {STORE}/b"),
            Bare("ds/monitor", f"df -B1M {STORE}"),
            Bare("tm/clone", f"cp --reflink=auto {STORE}/a {STORE}/b", after=f"rm {STORE}/b"),
            Bare("tm/ln", f"ln -s {STORE}/a {STORE}/b", after=f"rm {STORE}/b"),
            Bare("tm/mkimage", f"truncate -s 2M {STORE}/b", after=f"rm {STORE}/b"),
            Bare("tm/mkswap", f"mkswap {STORE}/b", before=f"truncate -s 2M {STORE}/b", after=f"rm {STORE}/b"),
            Bare("tm/delete", f"rm -rf {STORE}/b", before=f"cp {FILE} {STORE}/b"),
            Bare("tm/monitor", f"df -B1M {STORE}"),
        ),
    ),
    "ceph": (
        "ceph.toml",
        f"truncate -s 2M {FILE}; {RBD} create {MAKE} one/a; {RBD} snap create one/a@snap; {RBD} snap protect one/a@snap",
        (
            Bare("ds/stat", f"qemu-img info {FILE}"),
            Bare("ds/cp", f"{RBD} import --data-pool one-data {FILE} one/b", after=f"{RBD} rm one/b"),
            Bare("ds/mkfs", f"{RBD} create {MAKE} one/b", after=f"{RBD} rm one/b"),
            Bare("ds/clone", f"{RBD} copy --data-pool one-data one/a one/b", after=f"{RBD} rm one/b"),
            Bare("ds/rm", f"{RBD} rm one/b", before=f"{RBD} create {MAKE} one/b"),
            Bare("ds/monitor", "ceph --id one --conf /etc/one/ceph.conf df detail --format xml"),
            Bare("tm/clone", f"{RBD} clone --data-pool one-data one/a@snap one/b", after=f"{RBD} rm one/b"),
            Bare("tm/ln", f"{RBD} info one/a"),
            Bare("tm/mkimage", f"{RBD} create {MAKE} one/b", after=f"{RBD} rm one/b"),
            Bare("tm/mkswap", f"{RBD} import --data-pool one-data {FILE} one/b", after=f"{RBD} rm one/b"),
            Bare("tm/delete", f"{RBD} rm one/b", before=f"{RBD} create {MAKE} one/b"),
            Bare("tm/monitor", "ceph --id one --conf /etc/one/ceph.conf df detail --format xml"),
        ),
    ),
    "libvirt": (
        "libvirt_pool_real.toml",
        f"truncate -s 2M {FILE}; mkdir -p {POOL}; {VIRSH} pool-define-as one dir --target {POOL}; {VIRSH} pool-start one; {VIRSH} vol-create-as one a 2M",
        (
            Bare("ds/stat", f"qemu-img info {FILE}"),
            Bare("ds/cp", f"{MAKE_VOLUME}; {VIRSH} vol-upload --pool one b {FILE} --sparse", after=DROP_VOLUME),
            Bare("ds/mkfs", MAKE_VOLUME, after=DROP_VOLUME),
            Bare("ds/clone", f"{VIRSH} vol-clone --pool one a b", after=DROP_VOLUME),
            Bare("ds/rm", DROP_VOLUME, before=MAKE_VOLUME),
            Bare("ds/monitor", f"{VIRSH} pool-refresh one; {VIRSH} pool-info --bytes one"),
            Bare("tm/clone", f"{VIRSH} vol-clone --pool one a b", after=DROP_VOLUME),
            Bare("tm/ln", f"{VIRSH} vol-dumpxml --pool one a"),
            Bare("tm/mkimage", MAKE_VOLUME, after=DROP_VOLUME),
            Bare("tm/mkswap", f"{MAKE_VOLUME}; {VIRSH} vol-upload --pool one b {FILE} --sparse", after=DROP_VOLUME),
            Bare("tm/delete", DROP_VOLUME, before=MAKE_VOLUME),
            Bare("tm/monitor", f"{VIRSH} pool-refresh one; {VIRSH} pool-info --bytes one"),
        ),
    ),
}


def scripts(setting: Setting, runs: int) -> dict[str, list[float]]:
    """Return how many seconds each call of a script took, by action, while the traces were played so many times."""
    seconds: dict[str, list[float]] = defaultdict(list)

    def seen(call: Call) -> None:
        if call.family != "vmm" and call.success:
            seconds[f"{call.family}/{call.action}"].append(call.duration_ns / 1e9)

    traces = [one for one in library(setting.spec.spec, setting.spec.version) if one.name in TRACES]
    for trace in traces * runs:
        holder: list[CaseRun] = []
        with tempfile.TemporaryDirectory() as scratch, start_world(setting.subject, True, (), holder) as world:
            writer = Writer(Path(scratch) / "history.jsonl")
            holder.append(CaseRun(setting.spec, setting.subject, trace, world, writer, BlobStore(Path(scratch) / "blobs"), (), seen))
            ended = holder[0].run()
            writer.close()
            if ended.outcome != "completed":
                raise SystemExit(f"benchmarks/drivers.py: {trace.name} did not end: {ended.reason}; correct the driver or the machine")
    return seconds


def _done(world: NamespaceWorld, command: str) -> float:
    """Run a command that must succeed. Returns the seconds it took."""
    run = world.run("frontend", ["/bin/bash", "-c", command])
    if run.status or run.ended_by != "exit":
        raise SystemExit(f"benchmarks/drivers.py: {command}: {run.stderr.decode(errors='replace').strip()}; correct the table")
    return run.duration_ns / 1e9


def bare(setting: Setting, once: str, table: tuple[Bare, ...]) -> dict[str, float]:
    """Return the median seconds of each bare command."""
    found = {}
    with NamespaceWorld.start(simulated=setting.subject.simulated, on_question=lambda question: None) as world:
        furnish(world, make_cloud(setting.subject, True), setting.subject)
        _done(world, once)
        for row in table:
            taken = []
            for _ in range(REPEATS):
                _done(world, row.before)
                taken.append(_done(world, row.command))
                _done(world, row.after)
            found[row.action] = statistics.median(taken)
    return found


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _short(row: Bare) -> str:
    """Return what the bare command runs: each program with its verb, without options."""
    commands = row.command.replace(RBD, "rbd").replace(VIRSH, "virsh").split("; ")
    return ", ".join(" ".join(command.split()[: 2 if command.startswith(("rbd ", "virsh ", "qemu-img ")) else 1]) for command in commands)


def main() -> None:
    """Print a table for each driver that is asked for; all if none is."""
    names = [word for word in sys.argv[1:] if not word.isdigit()] or list(TABLES)
    runs = next((int(word) for word in sys.argv[1:] if word.isdigit()), 5)
    for name in names:
        if name not in TABLES:
            raise SystemExit(f"benchmarks/drivers.py: there is no table {name!r}; choose one of {', '.join(TABLES)}")
        description, once, table = TABLES[name]
        setting = settle(Given(config=data_dir("reference_driver") / description))
        commands, calls = bare(setting, once, table), scripts(setting, runs)
        _say(f"{name}: Python {platform.python_version()}, {platform.machine()}; medians in ms over {runs} runs and {REPEATS} repeats")
        _say(f"{'action':<12} {'calls':>5} {'script':>8} {'bare':>8} {'ratio':>7}  bare command")
        for row in table:
            if row.action in calls:
                script = statistics.median(calls[row.action])
                ratio = script / commands[row.action]
                _say(
                    f"{row.action:<12} {len(calls[row.action]):>5} {1e3 * script:>8.1f} {1e3 * commands[row.action]:>8.1f} {ratio:>6.1f}x  {_short(row)}"
                )


if __name__ == "__main__":
    main()
