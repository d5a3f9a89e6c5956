"""What the simulated oned would leave of the shipped traces is imported, and tells of what they did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from kept_files import shown, stamp

from onesim.events import CallAsked, CallFinished, Changed, Refused
from onesim.layout import Subjected, make_cloud
from onesim.mad import transfer
from onesim.oned import Oned
from onesim.recording.importing import read_kept
from onesim.recording.retelling import retell
from onesim.rehearsal import rehearse
from onesim.spec import for_contract, load
from onesim.trace import Trace, library, parse_trace

PRINTED = {
    "ds/cp": "/src/{image} raw",
    "ds/mkfs": "/src/{image}",
    "ds/clone": "/src/{image} raw",
    "ds/stat": "2",
    "ds/backup": "b{call} 100 raw",
    "ds/monitor": "TOTAL_MB=100000 FREE_MB=90000 USED_MB=10000",
    "vmm/deploy": "one-{vm}",
}
#: The request that each operation is.
REQUESTS = {
    "vm.attach_disk": "one.vm.attach",
    "vm.detach_disk": "one.vm.detach",
    "vm.disk_saveas": "one.vm.disksaveas",
    "vm.disk_resize": "one.vm.diskresize",
    "vm.snapshot_create": "one.vm.disksnapshotcreate",
    "vm.snapshot_revert": "one.vm.disksnapshotrevert",
    "vm.snapshot_delete": "one.vm.disksnapshotdelete",
    "image.register": "one.image.allocate",
    "image.make": "one.image.allocate",
    "image.clone": "one.image.clone",
    "image.delete": "one.image.delete",
    "image.snapshot_delete": "one.image.snapshotdelete",
    "image.snapshot_revert": "one.image.snapshotrevert",
    "image.snapshot_flatten": "one.image.snapshotflatten",
}


#: What is told otherwise, and why.
DIFFERENT = {
    "nodes-lost": "that monitoring has lost a VM is no request",
    "nodes-moves": "that a VM was switched off stands in no state",
    "vm-lost": "that monitoring has lost a VM is no request",
    "vm-volatile": "a new context leads to no storage call by a script",
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
        else:
            words += [step.arguments[name] for name in ("disk", "snapshot") if name in step.arguments]
        self.daemon += [f"{stamp(self.second)} [Z0][ReM][D]: Req:{n} UID:0 IP:127.0.0.1 {method} invoked {''.join(map(shown, words))}"]
        if step.op == "image.make":
            self.daemon.append(f"{stamp(self.second)} [Z0][ImM][I]: Creating disk at  of 2Mb (format: raw)")

    def answered(self, trace: Trace, n: int) -> None:
        step = trace.steps[n]
        method = REQUESTS.get(step.op)
        if method is not None:
            kind = "image" if step.op == "vm.disk_saveas" else step.op.partition(".")[0]
            number = self.ids.get((kind, str(step.arguments[kind])), -1)
            self.daemon.append(f"{stamp(self.second)} [Z0][ReM][D]: Req:{n} UID:0 {method} result SUCCESS, {number}")

    def write(self) -> None:
        for vm, lines in self.logs.items():
            (self.root / "vms" / str(vm)).mkdir(parents=True, exist_ok=True)
            (self.root / "vms" / str(vm) / "vm.log").write_text("\n".join(lines) + "\n")
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "oned.log").write_text("".join(line + "\n" for line in self.daemon))


def play(trace: Trace, contract: str, root: Path) -> bool:
    """Play a trace on the simulated oned, and write what is left. Return whether nothing was refused."""
    oned = Oned(for_contract(contract), make_cloud(Subjected(b"", "fs", "shared", "shared", backup_mad="rsync"), True))
    left, latest, written = Left(root), -1, set[str]()

    def answer(call: CallAsked) -> CallFinished:
        return CallFinished(call.call, True, PRINTED.get(call.action.key, "").format(image=call.image, vm=call.vm, call=call.call))

    for n, output in rehearse(oned, trace, answer):
        if n != latest:
            if latest >= 0:
                left.answered(trace, latest)
            left.second, latest, written = 60 * (n + 1), n, set()
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


def told(steps: Iterable[tuple[str, dict[str, Any]]]) -> list[list[tuple[object, ...]]]:
    """Return the operations on each VM, with the disk and the snapshot that they are about."""
    found: dict[object, list[tuple[object, ...]]] = {}
    for op, words in steps:
        if op.startswith("vm."):
            disk = words["disk"] if isinstance(words.get("disk"), int) else None
            found.setdefault(words["vm"], []).append((op, disk, words.get("snapshot")))
    return sorted(found.values(), key=str)


@pytest.mark.parametrize("contract", [pytest.param("6.4", marks=pytest.mark.exhaustive), "7.4"])
def test_the_library_is_found_again_in_what_it_would_leave(tmp_path: Path, contract: str) -> None:
    """Proves that transfer scripts, logs of VMs and oned.log tell of the same operations on VMs in the same order, but for the traces that are listed."""
    spec, different, count = load(), set(), 0
    for trace in library(spec, for_contract(contract).contract.version):
        root = tmp_path / trace.name
        if any(step.beside for step in trace.steps) or not play(trace, contract, root):
            continue
        count += 1
        found = read_kept([root], spec)
        assert not found.notes, (trace.name, found.notes)
        steps = retell(found.calls).steps
        parse_trace("\n".join(json.dumps(one) for one in ({"trace": 1, "name": "x", "title": "x"}, *steps)), Path("x"), spec)
        asked = (step for step in trace.steps if not step.after)  # nothing has failed that would be asked again
        if told((step.op, dict(step.arguments)) for step in asked) != told((step["op"], step) for step in steps):
            different.add(trace.name)
    assert count > 50
    assert different <= set(DIFFERENT), different - set(DIFFERENT)
