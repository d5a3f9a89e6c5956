"""Any sequence of operations, answered in any order and with any result, keeps what oned promises of its objects."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.model import Datastore, Vm
from onesim.oned import Oned
from onesim.spec import ContractSpec, for_contract

VERSIONS = ("5.12", "6.6", "7.4")
PRINTED = ("", "garbage", "/src/{call} raw", "/src/{call}", "10", "b{call} 100 raw", "one-{vm}", "5 0:x")
RIGHT = {
    "ds/cp": "/src/{call} raw",
    "ds/mkfs": "/src/{call}",
    "ds/clone": "/src/{call}",
    "ds/stat": "10",
    "ds/backup": "b{call} 100 raw",
    "vmm/deploy": "one-{vm}",
}
#: What ends what a PROLOG has begun: the normal end, and all clean-ups.
AWAY = ("POWEROFF", "SUSPENDED", "STOPPED", "UNDEPLOYED", "PENDING", "HOLD")
ENDS = ("EPILOG", "CLEANUP_DELETE", "CLEANUP_RESUBMIT")


def edges(spec: ContractSpec) -> set[tuple[str, str]]:
    """Return the state changes of a VM that the tables allow: operations with what they show, phases with their ends."""
    found: set[tuple[str, str]] = set()
    phases = {name: phase for (kind, name), phase in spec.phases.items() if kind == "vm"}
    ends = {name: {phases[goal].shown if goal in phases else goal for goal in (phase.success, phase.failure)} for name, phase in phases.items()}
    for phase in phases.values():
        # a phase without calls ends at once, so its end may follow from where it was entered
        found |= {(phase.shown, goal) for goal in ends[phase.name]}
    for row in (row for row in spec.spec.lifecycles["vm"].operation if spec.holds(row.since, row.until)):
        for origin in row.from_:
            found |= {(origin, row.through)} if row.through else set()
            before = row.through or origin
            goals = {row.to} if row.to else {phases[row.enter].shown} if row.enter else set()
            if row.ends or row.fails or row.again:
                taken = [phase for phase in phases.values() if origin in (phase.shown, phase.failure)]
                goals |= {phase.shown for phase in taken} if row.again else set().union(*(ends[phase.name] for phase in taken))
            found |= {(before, goal) for goal in goals}
    return found


class Daemon(RuleBasedStateMachine):
    """oned under random operations; calls are answered late, in any order, and often badly."""

    @initialize(version=st.sampled_from(VERSIONS), orphans=st.sampled_from(("YES", "NO", "MIXED", "LINEAR", "FORMAT")))
    def start(self, version: str, orphans: str) -> None:
        self.spec = for_contract(version)
        self.edges = edges(self.spec)
        self.oned = Oned(self.spec, make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
        self.cloud = self.oned.cloud
        self.cloud.datastores[101] = Datastore(101, "backups", "BACKUP_DS", "store", "-", "/backups")
        self.cloud.labels["datastore", "backups"] = 101
        self.outstanding: list[CallAsked] = []
        self.state: dict[int, str] = {}
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.cleaning: set[int] = set()
        self.ids: set[tuple[str, int]] = set()
        self.asked = 0

    # what is done

    @rule(size=st.integers(1, 64), persistent=st.booleans())
    def make_image(self, size: int, persistent: bool) -> None:
        self.ask("image.make", {"image": f"i{self.asked}", "size_mb": size, "persistent": persistent})

    @rule(kind=st.sampled_from(("OS", "CDROM")), format=st.sampled_from(("raw", "qcow2")))
    def register_image(self, kind: str, format: str) -> None:
        self.ask("image.register", {"image": f"i{self.asked}", "path": "/x", "type": kind, "format": format})

    @rule(images=st.lists(st.integers(0, 6), max_size=3), volatile=st.booleans(), context=st.booleans(), keep=st.integers(0, 2))
    def create_vm(self, images: list[int], volatile: bool, context: bool, keep: int) -> None:
        disks: list[dict[str, Any]] = [{"image": self.label("image", n)} for n in images if self.label("image", n)]
        disks += [{"volatile": "fs", "size_mb": 8}] if volatile else []
        more: dict[str, Any] = {"context": {"A": "B"}} if context else {}
        more["backup"] = {"keep_last": keep, "mode": "INCREMENT" if keep else "FULL"}
        self.ask("vm.create", {"vm": f"v{self.asked}", "disks": disks, **more})

    @rule(snapshots=st.integers(0, 2), away=st.sampled_from(("", "poweroff", "suspend", "stop", "undeploy")), keep=st.integers(0, 2))
    def a_vm_that_runs_or_did(self, snapshots: int, away: str, keep: int) -> None:
        n = self.asked
        self.ask("image.make", {"image": f"p{n}", "size_mb": 8, "persistent": True})
        self.ask("image.register", {"image": f"o{n}", "path": "/x"})
        self.settle()
        disks = [{"image": f"p{n}"}, {"image": f"o{n}"}, {"volatile": "fs", "size_mb": 2}, {"volatile": "swap", "size_mb": 1}]
        backup = {"keep_last": keep, "mode": "INCREMENT" if keep else "FULL"}
        self.ask("vm.create", {"vm": f"w{n}", "disks": disks, "context": {"A": "B"}, "backup": backup})
        self.ask("vm.deploy", {"vm": f"w{n}", "host": "host01"})
        self.settle()
        for _ in range(snapshots):
            self.ask("vm.snapshot_create", {"vm": f"w{n}", "disk": 1})
            self.settle()
        if away:
            self.ask(f"vm.{away}", {"vm": f"w{n}"})
            self.settle()

    @rule()
    def settle(self) -> None:
        while self.outstanding:
            call = self.outstanding.pop(0)
            self.take(self.oned.feed(CallFinished(call.call, True, RIGHT.get(call.action.key, "").format(call=call.call, vm=call.vm))))

    @precondition(lambda self: self.cloud.vms)
    @rule(data=st.data())
    def operate(self, data: st.DataObject) -> None:
        living = [vm for vm in self.cloud.vms.values() if vm.state != "DONE"]
        vm = data.draw(st.sampled_from(living[-3:] or list(self.cloud.vms.values())))
        names = sorted({row.name for row in self.spec.spec.lifecycles["vm"].operation} - {"create"})
        fitting = [name for name in names if any(vm.state in row.from_ for row in self.spec.operations("vm", name))]
        lasting = [name for name in fitting if not name.startswith(("terminate", "recover_delete"))]
        name = data.draw(st.sampled_from(data.draw(st.sampled_from((lasting, lasting, lasting, fitting, names))) or names))
        self.ask(f"vm.{name}", self.arguments(data, vm))

    operate_more = rule(data=st.data())(precondition(lambda self: self.cloud.vms)(lambda self, data: self.operate(data)))

    @precondition(lambda self: self.cloud.images)
    @rule(data=st.data())
    def operate_image(self, data: st.DataObject) -> None:
        name = data.draw(
            st.sampled_from(
                ("delete", "delete_forced", "enable", "disable", "lock", "unlock", "make_persistent", "make_nonpersistent", "export", "clone")
            )
        )
        image = data.draw(st.sampled_from(sorted(self.cloud.images)))
        label = self.cloud.images[image].name
        self.ask(f"image.{name}", {"image": f"i{self.asked}", "of": label} if name == "clone" else {"image": label})

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data(), well=st.integers(0, 3))
    def answer(self, data: st.DataObject, well: int) -> None:
        call = data.draw(st.sampled_from(self.outstanding))
        self.outstanding.remove(call)
        printed = RIGHT.get(call.action.key, "") if well else data.draw(st.sampled_from(PRINTED))
        self.take(self.oned.feed(CallFinished(call.call, bool(well) or data.draw(st.booleans()), printed.format(call=call.call, vm=call.vm), "no")))

    # how it is asked

    def label(self, kind: str, n: int) -> str:
        known = sorted(name for of, name in self.cloud.labels if of == kind)
        return known[n % len(known)] if known else ""

    def arguments(self, data: st.DataObject, vm: Vm) -> dict[str, Any]:
        disk = data.draw(st.integers(0, max(len(vm.disks), 1)))
        return {
            "vm": vm.name,
            "host": data.draw(st.sampled_from(("host01", "host02"))),
            "disk": {"volatile": "fs", "size_mb": 4} if data.draw(st.booleans()) else disk,
            "snapshot": data.draw(st.integers(0, 2)),
            "size_mb": data.draw(st.integers(1, 128)),
            "image": f"i{self.asked}" if data.draw(st.booleans()) else self.label("image", 0),
            **({"datastore": "backups"} if data.draw(st.booleans()) else {}),
        }

    def ask(self, op: str, arguments: dict[str, Any]) -> None:
        self.asked += 1
        before = {id: vm.state for id, vm in self.cloud.vms.items()}
        id = self.cloud.find("vm", arguments.get("vm", ""))
        if op == "vm.recover_recreate" and id is not None and before[id] in ("STOPPED", "UNDEPLOYED"):
            # the VM waits for a host again, and what it had is forgotten
            self.ended[id] += 1
        outputs = self.oned.feed(OperationAsked(self.asked, op, arguments))
        if outputs and isinstance(outputs[0], Refused):
            assert outputs[0].reason
            assert {id: vm.state for id, vm in self.cloud.vms.items()} == before, "a refused operation changed something"
            assert len(outputs) == 1
        self.take(outputs)

    def take(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, CallAsked):
                self.called(output)
            elif isinstance(output, Changed) and output.kind == "vm":
                self.moved(output)
            elif isinstance(output, Changed) and output.new:
                assert (output.kind, output.id) not in self.ids, "an id is used again"
                self.ids.add((output.kind, output.id))

    def called(self, call: CallAsked) -> None:
        if call.vm >= 0 and self.cloud.vms[call.vm].state == "DONE":
            assert call.vm in self.cleaning, f"{call.action.key} for a VM that is gone"
        self.outstanding.append(call)

    def moved(self, change: Changed) -> None:
        before = self.state.get(change.id)
        if change.new:
            assert before is None, "an id is used again"
        else:
            assert (before, change.state) in self.edges, f"{before} -> {change.state} is in no table"
        self.state[change.id] = change.state
        if change.state == "PROLOG" and before != "PROLOG_FAILURE":
            self.begun[change.id] += 1
        if change.state in ENDS and before not in ("EPILOG_FAILURE", *ENDS):
            self.ended[change.id] += 1
        if change.state == "DONE" and before in AWAY:
            # at once; what is left of it is cleaned up afterwards, or, of a VM that waits for a host, not at all (DispatchManager::delete_vm)
            self.ended[change.id] = self.begun[change.id]
        if change.state in ENDS or change.state == "DONE":
            self.cleaning.add(change.id)

    # what holds

    @invariant()
    def images_are_held_by_those_who_use_them(self) -> None:
        for image in self.cloud.images.values() if hasattr(self, "cloud") else ():
            users = {vm.id for vm in self.cloud.vms.values() if vm.state != "DONE" and any(disk.image == image.id for disk in vm.disks)}
            holders = {id for id in image.vms if image.type != "BACKUP"}
            assert holders == (users if image.type != "BACKUP" else set()), f"image {image.id} is held by {holders}, used by {users}"

    @invariant()
    def a_prolog_has_one_end(self) -> None:
        for vm in self.cloud.vms.values() if hasattr(self, "cloud") else ():
            begun, ended = self.begun[vm.id], self.ended[vm.id]
            assert ended <= begun <= ended + (vm.state != "DONE"), f"VM {vm.id} is {vm.state}: {begun} prologs, {ended} ends"

    @invariant()
    def calls_outstanding_are_those_that_oned_waits_for(self) -> None:
        if hasattr(self, "oned"):
            assert self.oned.busy == bool(self.outstanding)


Daemon.TestCase.settings = hypothesis.settings(
    max_examples=80, stateful_step_count=60, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
TestLegalTraces = Daemon.TestCase


@pytest.mark.parametrize("version", VERSIONS)
def test_an_operation_in_the_wrong_state_is_refused_by_name(version: str) -> None:
    """The reason names the object, its state and the operation; nothing has changed."""
    spec = for_contract(version)
    oned = Oned(spec, make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
    oned.feed(OperationAsked(0, "vm.create", {"vm": "a", "disks": []}))
    for name in sorted({row.name for row in spec.spec.lifecycles["vm"].operation if spec.holds(row.since, row.until)} - {"create"}):
        if not any("PENDING" in row.from_ for row in spec.operations("vm", name)):
            (refused,) = oned.feed(OperationAsked(1, f"vm.{name}", {"vm": "a"}))
            assert isinstance(refused, Refused)
            assert all(word in refused.reason for word in (f"vm.{name}", "'a'", "PENDING"))
            assert oned.cloud.vms[0].state == "PENDING"
