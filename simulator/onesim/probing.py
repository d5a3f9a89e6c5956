"""The probes of a node that concern datastores, run as `spec/monitor.toml` says: which directories, which driver, which script, what is sent.

What a node's client would send by itself goes to the monitor daemon as datagrams of the same form.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onesim import measuring, monitoring
from onesim.datagrams import Message, encode
from onesim.journal import BlobStore
from onesim.model import Host
from onesim.monitor_rows import ProbeRow
from onesim.oned import Oned
from onesim.records import Call, Command
from onesim.world.interface import DatastoreSeen, Limits, Room, Run, World


@dataclass(frozen=True)
class Probing:
    """What a round of probes needs. `number` gives out the numbers of calls, `note` takes the record of each; `facts` are what the trace says of the step."""

    world: World
    oned: Oned
    blobs: BlobStore
    case: str
    operation: int
    facts: dict[str, str]
    limits: Limits
    number: Callable[[], int]
    at_ns: Callable[[], int]
    note: Callable[[Call], None]

    def messages(self, host: Host) -> Iterator[bytes]:
        """Run the probes on a host, one after the other, and yield what it sends."""
        cloud = self.oned.cloud
        for row in self.oned.spec.spec.monitor.probe:
            seen = self.world.datastores(host.name, cloud.location, row.directories, row.mark)
            text, status = _filled(row.location_text, seen.room, ""), "SUCCESS"
            for one in seen.marked:
                told = self._of_datastore(row, host, one)
                if told is None:
                    text, status = row.failed_text, "FAILURE"
                    break
                text += told
            if text:
                yield encode(Message(row.message, status, host.id, cloud.now_s, text))

    def _of_datastore(self, row: ProbeRow, host: Host, seen: DatastoreSeen) -> str | None:
        """Return what is sent of a datastore; None where that breaks off the probe."""
        told = _filled(row.datastore_text, seen.room, seen.name)
        if not row.script:
            return told
        run = self._run(row, host, seen, driver_of(row, seen.mark))
        if run.ended_by in row.aborts:
            return None
        if run.ended_by != "exit" or run.status != row.succeeds:
            return told
        printed = run.stdout.decode(errors="replace")
        # as Ruby's puts writes it
        return told + (printed if printed.endswith("\n") else printed + "\n")

    def _run(self, row: ProbeRow, host: Host, seen: DatastoreSeen, driver: str) -> Run:
        location = self.oned.cloud.location
        script = row.script.format(driver=driver)
        argv = tuple(one.format(location=location, datastore=seen.name) for one in row.argv)
        number, at = self.number(), self.at_ns()
        if self.world.exists(host.name, script):
            run = self.world.run(
                host.name,
                [script, *argv],
                env=row.environment,
                limits=self.limits,
                call_id=f"{self.case}/{number}",
                cwd=posixpath.normpath(row.cwd.format(location=location)),
            )
        else:
            run = Run(ended_by="missing", status=-1)
        self.note(self._record(host, seen, driver, script, argv, number, at, run))
        return run

    def _record(self, host: Host, seen: DatastoreSeen, driver: str, script: str, argv: tuple[str, ...], number: int, at: int, run: Run) -> Call:
        sizes, wrong = measuring.told(run.stdout.decode(errors="replace"), self.oned.spec.version) if run.ended_by == "exit" else ("", "")
        return Call(
            case=self.case,
            n=number,
            operation=self.operation,
            family="tm",
            mad=driver,
            action="monitor_ds",
            script=script,
            host=host.name,
            argv=argv,
            arguments={"location": argv[0]},
            success=run.ended_by == "exit" and run.status == 0,
            parsed={"sizes": sizes} if sizes else {},
            parse_error=wrong,
            ended_by=run.ended_by,
            status=run.status,
            signal=run.signal,
            facts=self._facts(host, seen),
            stdout=self.blobs.put(run.stdout, run.stdout_seen),
            stderr=self.blobs.put(run.stderr, run.stderr_seen),
            at_ns=at,
            duration_ns=run.duration_ns,
            commands=tuple(Command(one.name, one.argv, one.host, one.at_ns, one.fault) for one in run.commands),
            leftovers=run.leftovers,
            datastore=int(seen.name),
        )

    def _facts(self, host: Host, seen: DatastoreSeen) -> dict[str, str]:
        cloud = self.oned.cloud
        base = f"{cloud.location}/{seen.name}"
        known = cloud.datastores.get(int(seen.name))
        facts = {
            "host": host.name,
            "system_base_path": base,
            "location": cloud.location,
            "shared": "YES" if known is None or cloud.conf(known.tm_mad).shared else "NO",
            "system_tm": known.tm_mad if known else "",
            "vms_with_disks": monitoring.vms_in(cloud, int(seen.name), host.name),
        }
        return {name: value for name, value in (facts | measuring.sizes(self.world, host.name, base) | self.facts).items() if value}


def driver_of(row: ProbeRow, mark: bytes) -> str:
    """Return the name of the driver that a mark names, as the probe reads it: all of the file but what the row strips."""
    name = mark.decode(errors="replace")
    return name.strip() if row.strip == "both" else name.removesuffix("\n").removesuffix("\r")


def _filled(lines: tuple[str, ...], room: Room, datastore: str) -> str:
    values = {"used_mb": room.used_mb, "total_mb": room.total_mb, "free_mb": room.free_mb, "datastore": datastore}
    return "".join(f"{line.format(**values)}\n" for line in lines)
