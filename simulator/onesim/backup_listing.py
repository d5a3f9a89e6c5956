"""What transfer drivers ask of the driver of a backup datastore: before a VM's disks are put back, the harness asks `ls` for them as `restore` does.

oned never calls `ls`; restore of OpenNebula's transfer drivers does, with an increment and the documents of the backup datastore, the VM and the backup.
The transfer driver under test may come by its disks in another way, and what it asks passes no gate: so the harness asks itself, and that is the call judged.
Source: src/tm_mad/lib/datastore.rb and src/tm_mad/qcow2/restore of OpenNebula 7.4.0.
"""

from __future__ import annotations

from collections.abc import Callable

from onesim import calling, documents, parsers, validation
from onesim.events import CallAsked
from onesim.journal import BlobStore, Writer
from onesim.layout import REMOTES, Subjected
from onesim.model import FRONTEND
from onesim.observer import Observer
from onesim.oned import Oned
from onesim.records import Call, Command
from onesim.trace import Trace
from onesim.world.interface import Run, World

_ASKED_BY = "tm/restore"


class BackupListing:
    """Asks the backup drivers of one case. `number` gives the number of the next call, `seen` is told of each."""

    def __init__(
        self,
        oned: Oned,
        subject: Subjected,
        trace: Trace,
        world: World,
        observer: Observer,
        writer: Writer,
        blobs: BlobStore,
        number: Callable[[], int],
        at: Callable[[], int],
        seen: Callable[[Call], None] | None,
    ) -> None:
        self.oned, self.subject, self.trace, self.world, self.observer = oned, subject, trace, world, observer
        self.writer, self.blobs, self.number, self.at, self.seen = writer, blobs, number, at, seen

    def ask(self, restore: CallAsked) -> None:
        """Ask for the disks that a restore is about to fetch, and write down the call; nothing for other calls, or while calls overlap."""
        if restore.action.key != _ASKED_BY or self.observer.paused:
            return
        cloud, spec, action = self.oned.cloud, self.oned.spec, self.oned.spec.actions["ds/ls"]
        image = cloud.images[int(restore.arguments["image_id"])]
        datastore = cloud.datastores[image.datastore]
        document = documents.action_data(
            [
                documents.datastore_xml(datastore, spec.version, cloud),
                documents.vm_xml(cloud.vms[restore.vm], cloud, spec, records="last"),
                documents.image_xml(image, datastore, spec.version, spec),
            ]
        )
        validation.validate_or_raise(action.key, spec.version, document.encode())
        given = {"increment_flag": "-i", "increment_id": restore.arguments["increment_id"]}
        arguments = {name: given[name] for name in spec.argv(action)}
        step = self.trace.steps[restore.operation]
        facts = calling.image_facts(spec, cloud, image, datastore) | {
            "backup_disks": ":".join(map(str, image.backup_disks)),
            # a disk that the backup does not hold is asked for in vain, its listing is not
            "expect": "success" if step.expect == "failure" else step.expect,
            "op": step.op,
        }
        number, at = self.number(), self.at()
        script, argv = f"{REMOTES}/datastore/{datastore.ds_mad}/{action.name}", tuple(arguments.values())
        run = self.world.run(
            FRONTEND,
            [script, *argv],
            stdin=document.encode(),
            env=dict(self.subject.environment),
            limits=self.subject.limits,
            call_id=f"{self.trace.name}/{number}",
        )
        call = Call(
            case=self.trace.name,
            n=number,
            operation=restore.operation,
            family=action.family,
            mad=datastore.ds_mad,
            action=action.name,
            script=script,
            host=FRONTEND,
            argv=argv,
            arguments=arguments,
            success=run.ended_by == "exit" and run.status == 0,
            ended_by=run.ended_by,
            status=run.status or 0,
            signal=run.signal or 0,
            facts={name: value for name, value in {**facts, "about": step.about}.items() if value},
            stdin=self.blobs.put(document.encode()),
            stdout=self.blobs.put(run.stdout, run.stdout_seen),
            stderr=self.blobs.put(run.stderr, run.stderr_seen),
            error=self._error(run),
            at_ns=at,
            duration_ns=run.duration_ns,
            commands=tuple(Command(one.name, one.argv, one.host, one.at_ns, one.fault) for one in run.commands),
            tree=self.observer.changes(),
            leftovers=run.leftovers,
            stdin_left=run.stdin_left,
            image=image.id,
            datastore=datastore.id,
        )
        self.writer.write(call)
        if self.seen is not None:
            self.seen(call)

    def _error(self, run: Run) -> str:
        return "" if run.status == 0 else parsers.ERRORS[self.oned.spec.contract.error](run.stderr.decode(errors="replace"))
