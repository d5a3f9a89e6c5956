"""What the simulated oned would leave of a trace on a front-end: transfer scripts, logs, and documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kept_files import shown, stamp
from rehearsed import PRINTED

from onesim.documents import image_xml, pool_xml, vm_xml
from onesim.events import CallAsked, CallFinished, Changed, Refused
from onesim.layout import Subjected, make_cloud
from onesim.mad import transfer
from onesim.oned import Oned
from onesim.rehearsal import rehearse
from onesim.spec import for_contract
from onesim.trace import Trace

#: The request that each operation is.
REQUESTS = {
    "vm.attach_disk": "one.vm.attach",
    "vm.detach_disk": "one.vm.detach",
    "vm.disk_saveas": "one.vm.disksaveas",
    "vm.disk_resize": "one.vm.diskresize",
    "vm.snapshot_create": "one.vm.disksnapshotcreate",
    "vm.snapshot_revert": "one.vm.disksnapshotrevert",
    "vm.snapshot_delete": "one.vm.disksnapshotdelete",
    "vm.backup": "one.vm.backup",
    "vm.restore": "one.vm.restore",
    "image.restore": "one.image.restore",
    "image.register": "one.image.allocate",
    "image.make": "one.image.allocate",
    "image.clone": "one.image.clone",
    "image.delete": "one.image.delete",
    "image.snapshot_delete": "one.image.snapshotdelete",
    "image.snapshot_revert": "one.image.snapshotrevert",
    "image.snapshot_flatten": "one.image.snapshotflatten",
}


class Left:
    """The files of a front-end on which a trace was played; each operation begins a minute after the one before."""

    def __init__(self, root: Path) -> None:
        self.root, self.second = root, 0
        self.logs: dict[int, list[str]] = {}
        self.daemon: list[str] = []
        self.ids: dict[tuple[str, str], int] = {}

    def asked(self, trace: Trace, n: int) -> None:
        step = trace.steps[n]
        method = REQUESTS.get(step.op)
        if method is None:
            return
        kind = step.op.partition(".")[0]
        words: list[Any] = [self.ids.get((kind, str(step.arguments[kind])), -1)]
        if method in ("one.image.allocate", "one.image.clone"):
            words = ['NAME="x"\nPATH="/y"', 1] if method == "one.image.allocate" else [self.ids[("image", str(step.arguments["of"]))], "name", -1]
        elif method == "one.vm.attach":
            disk: Any = step.arguments["disk"]
            words.append(f"DISK=[IMAGE_ID={self.ids[('image', disk['image'])]}]" if "image" in disk else f"DISK=[TYPE={disk['volatile']},SIZE=2]")
        elif method == "one.vm.disksaveas":
            words += [step.arguments["disk"], "name", "", step.arguments.get("snapshot", -1)]
        elif method == "one.vm.backup":
            words += [101, step.arguments.get("reset", False)]
        elif method == "one.vm.restore":
            words += [self.ids["image", step.arguments["image"]], *(step.arguments.get(name, -1) for name in ("increment", "disk"))]
        elif method == "one.image.restore":
            lines = [f'{name.upper()}="{step.arguments[name]}"' for name in ("name", "increment_id", "disk_id") if name in step.arguments]
            words += [1, "\n".join(lines)]
        else:
            words += [step.arguments[name] for name in ("disk", "snapshot") if name in step.arguments]
        self.daemon += [f"{stamp(self.second)} [Z0][ReM][D]: Req:{n} UID:0 IP:127.0.0.1 {method} invoked {''.join(map(shown, words))}"]
        if step.op == "image.make":
            self.daemon.append(f"{stamp(self.second)} [Z0][ImM][I]: Creating disk at  of 2Mb (format: raw)")

    def answered(self, trace: Trace, n: int) -> None:
        step = trace.steps[n]
        method = REQUESTS.get(step.op)
        if step.op == "image.restore":
            self.daemon.append(f'{stamp(self.second)} [Z0][ReM][D]: Req:{n} UID:0 {method} result SUCCESS, "-1"')
        elif method is not None:
            kind = "image" if step.op == "vm.disk_saveas" else step.op.partition(".")[0]
            number = self.ids.get((kind, str(step.arguments[kind])), -1)
            self.daemon.append(f"{stamp(self.second)} [Z0][ReM][D]: Req:{n} UID:0 {method} result SUCCESS, {number}")

    def documents(self, oned: Oned) -> None:
        """Write the documents that oned shows of its VMs and of its backups."""
        shows = {f"vm-{one.id}": vm_xml(one, oned.cloud, oned.spec) for one in oned.cloud.vms.values()}
        kept = [one for one in oned.cloud.images.values() if one.type == "BACKUP"]
        backups = [image_xml(one, oned.cloud.datastores[one.datastore], oned.spec.version, oned.spec) for one in kept]
        for name, text in (shows | {"images": pool_xml("image", backups)}).items():
            self.root.mkdir(parents=True, exist_ok=True)
            (self.root / f"{name}.xml").write_text(text)

    def write(self) -> None:
        for vm, lines in self.logs.items():
            (self.root / "vms" / str(vm)).mkdir(parents=True, exist_ok=True)
            (self.root / "vms" / str(vm) / "vm.log").write_text("\n".join(lines) + "\n")
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "oned.log").write_text("".join(line + "\n" for line in self.daemon))


def play(trace: Trace, contract: str, root: Path, documents: bool = False) -> bool:
    """Play a trace on the simulated oned, and write what is left, with documents of the time before the first VM goes. Return whether nothing was refused."""
    oned = Oned(for_contract(contract), make_cloud(Subjected(b"", "fs", "shared", "shared", backup_mad="rsync"), True))
    left, latest, written = Left(root), -1, set[str]()

    def answer(call: CallAsked) -> CallFinished:
        return CallFinished(call.call, True, PRINTED.get(call.action.key, "").format(image=call.image, vm=call.vm, call=call.call))

    for n, output in rehearse(oned, trace, answer):
        if n != latest:
            if latest >= 0:
                left.answered(trace, latest)
            left.second, latest, written = 60 * (n + 1), n, set()
            if documents and trace.steps[n].op == "vm.terminate":
                left.documents(oned)
            left.asked(trace, n)
        if isinstance(output, Refused):
            return False
        if isinstance(output, Changed):
            left.ids.setdefault((output.kind, output.label), output.id)
            if output.kind == "vm":
                left.second += 1
                left.logs.setdefault(output.id, []).append(f"{stamp(left.second)} [Z0][VM][I]: New LCM state is {output.state}")
        elif isinstance(output, CallAsked) and output.vm >= 0:
            end, calls = oned.transfer(output.call)
            if end and end not in written:
                written.add(end)
                sequence, _, name = end.partition(".")
                path = Path(transfer.path(str(root / "vms"), output.vm, int(sequence), name))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(transfer.write(transfer.Command(one.action.name + one.suffix, one.mad, one.argv) for one in calls))
    left.answered(trace, latest)
    left.write()
    return True
