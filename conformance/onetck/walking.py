"""Random legal lifecycles: a hypothesis state machine whose rules are the operations of the lifecycle tables. What it walks is a trace that oned accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from onesim.events import CallAsked, CallFinished, OperationAsked, Refused
from onesim.layout import HOSTS, make_cloud, shared_of
from onesim.model import Disk, Vm
from onesim.oned import Oned
from onesim.trace import Step, Trace, TraceHeader
from onetck import faulting
from onetck.faulting import Place
from onetck.plan import null_output
from onetck.setting import Setting

VMS_MAX, IMAGES_MAX, SIZE_MAX_MB = 8, 6, 8
#: What may be asked of a VM while something else is under way: oned looks at no image for it.
_OVERLAPPING = (
    "deploy",
    "stop",
    "suspend",
    "poweroff",
    "undeploy",
    "resume",
    "migrate",
    "migrate_live",
    "terminate",
    "snapshot_create",
    "disk_resize",
)
#: What is asked of a VM, besides its birth and its end. What asks a driver for little is left out.
_LIVING = (
    *("deploy", "stop", "suspend", "poweroff", "undeploy", "resume", "migrate", "migrate_live", "migrate_poweroff"),
    *("snapshot_create", "snapshot_delete", "snapshot_revert", "disk_resize", "disk_saveas", "attach_disk", "detach_disk"),
)
#: Classes of commands at which calls that overlap take turns.
_GATED = ("copying", "images", "making", "moving", "removing", "remote")
_ABOUT_A_DISK = {"snapshot_create", "snapshot_delete", "snapshot_revert", "disk_resize", "disk_saveas", "detach_disk"}


def machine(setting: Setting, walked: Callable[[Trace], None], *, faults: bool) -> type[RuleBasedStateMachine]:
    """Return the machine for a driver. Each walk is handed to `walked` at its end."""
    spec, subject = setting.spec, setting.subject
    classes = spec.spec.command_classes
    commands = tuple(dict.fromkeys(name for kind in _GATED for name in classes[kind].commands))

    class Walk(RuleBasedStateMachine):
        """One walk. What oned refuses is not walked; its calls succeed at once, so that every step is one that it would accept."""

        def __init__(self) -> None:
            super().__init__()
            self.oned = Oned(spec, make_cloud(subject, shared_of(subject, None)))
            self.cloud, self.steps, self.struck, self.named = self.oned.cloud, list[Step](), list[tuple[int, str, str, int]](), 0
            self.together = set[str]()
            self.calls: dict[int, list[str]] = {}

        def step(self, op: str, beside: bool = False, **arguments: Any) -> bool:
            """Ask an operation, if oned accepts it; beside those before it, if none of them is about the same VM or image."""
            outputs = self.oned.feed(OperationAsked(len(self.steps), op, arguments))
            if any(isinstance(one, Refused) for one in outputs):
                return False
            asked: list[str] = []
            while outputs:
                output = outputs.pop(0)
                if isinstance(output, CallAsked):
                    asked.append(output.action.key)
                    outputs += self.oned.feed(CallFinished(output.call, True, null_output(spec, output)))
            about = {str(arguments[name]) for name in ("vm", "image", "of") if name in arguments}
            fits = beside and bool(self.together) and not about & self.together and bool(asked)
            self.together = (self.together if fits else set()) | about if asked else set()
            self.calls[len(self.steps)] = asked
            self.steps.append(Step(0, op, arguments, beside="*" if fits else ""))
            return True

        def name(self, kind: str) -> str:
            self.named += 1
            return f"{kind}{self.named}"

        @rule(
            size=st.integers(1, 3),
            format=st.sampled_from(("raw", "raw", "qcow2")),
            persistent=st.booleans(),
            beside=st.booleans(),
            empty=st.booleans(),
        )
        def image(self, size: int, format: str, persistent: bool, beside: bool, empty: bool) -> None:
            """A new image: empty, out of a file, or a copy of another one."""
            if len(self.cloud.images) >= IMAGES_MAX:
                return
            label = self.name("image")
            ready = [one.name for one in self.cloud.images.values() if one.state == "READY"]
            if empty and beside and ready:
                self.step("image.clone", beside=True, image=label, of=ready[-1])
            elif empty:
                self.step("image.make", beside=beside, image=label, size_mb=size, format=format, persistent=persistent)
            else:
                path = f"/var/tmp/{label}.{format}"
                self.steps.append(Step(0, "file.make", {"path": path, "format": format, "size_mb": size}))
                self.together = set()
                self.step("image.register", image=label, path=path, persistent=persistent)

        @precondition(lambda self: self.cloud.images and len(self.living()) < VMS_MAX)
        @rule(
            picks=st.lists(st.integers(0, IMAGES_MAX), min_size=1, max_size=2),
            volatile=st.booleans(),
            many=st.integers(1, 3),
            host=st.sampled_from(HOSTS),
        )
        def vms(self, picks: list[int], volatile: bool, many: int, host: str) -> None:
            """One VM or several alike, deployed one beside the other."""
            names = sorted(one.name for one in self.cloud.images.values())
            images = list(dict.fromkeys(names[n % len(names)] for n in picks))
            made = []
            for _ in range(many):
                disks: list[dict[str, Any]] = [{"image": one} for one in images if self.usable(one)]
                disks += [{"volatile": "fs", "size_mb": 1}] if volatile else []
                label = self.name("vm")
                if disks and self.step("vm.create", vm=label, disks=disks):
                    made.append(label)
            for label in made:
                self.step("vm.deploy", beside=True, vm=label, host=host)

        def usable(self, label: str) -> bool:
            image = self.cloud.images[self.cloud.labels["image", label]]
            return image.state == "READY" or (image.state == "USED" and not image.persistent)

        def living(self) -> list[Vm]:
            return [vm for vm in self.cloud.vms.values() if vm.state != "DONE"]

        @precondition(lambda self: self.living())
        @rule(data=st.data(), times=st.sampled_from((1, 1, 1, 2, 4)), beside=st.booleans())
        def operate(self, data: st.DataObject, times: int, beside: bool) -> None:
            """Something is asked of a VM, some of it several times, with what the guest writes in between."""
            vm = data.draw(st.sampled_from(self.living()))
            fitting = [name for name in _LIVING if any(vm.state in row.from_ for row in spec.operations("vm", name))]
            if not fitting:
                return
            name = data.draw(st.sampled_from(fitting))
            disk = data.draw(st.sampled_from(vm.disks)) if vm.disks else None
            for _ in range(times):
                self.write(vm)
                if not self.step(f"vm.{name}", beside=beside and name in _OVERLAPPING, **self.arguments(data, vm, name, disk)):
                    return

        def arguments(self, data: st.DataObject, vm: Vm, name: str, disk: Disk | None) -> dict[str, Any]:
            found: dict[str, Any] = {"vm": vm.name}
            if disk is not None and name in _ABOUT_A_DISK:
                found["disk"] = disk.id
            if name in ("deploy", "migrate", "migrate_live", "migrate_poweroff"):
                found["host"] = data.draw(st.sampled_from(HOSTS))
                if name in ("migrate", "migrate_poweroff") and data.draw(st.booleans()):
                    found["datastore"] = data.draw(st.sampled_from(("system", "system2")))
            elif name == "disk_resize" and disk is not None:
                found["size_mb"] = min(disk.size_mb + data.draw(st.integers(1, 2)), SIZE_MAX_MB)
            elif name in ("snapshot_delete", "snapshot_revert") and disk is not None:
                found["snapshot"] = data.draw(st.sampled_from(sorted(disk.snapshots.known) or [0]))
            elif name == "disk_saveas":
                found["image"] = self.name("image")
            elif name == "attach_disk":
                found["disk"] = {"volatile": "fs", "size_mb": 1}
            return found

        def write(self, vm: Vm) -> None:
            """The guest writes to its disks, if it runs: a disk that nobody writes to can be exchanged for an older one unseen."""
            for disk in vm.disks if vm.state == "RUNNING" else ():
                if disk.kind in ("nonpersistent", "persistent"):
                    self.steps.append(Step(0, "guest.write", {"vm": vm.name, "disk": disk.id}))
                    self.together = set()

        @precondition(lambda self: len(self.living()) > 1)
        @rule(n=st.integers(0, VMS_MAX))
        def end(self, n: int) -> None:
            """A VM ends."""
            self.step("vm.terminate", beside=True, vm=self.living()[n % len(self.living())].name)

        if faults:

            @precondition(lambda self: self.steps and self.calls.get(len(self.steps) - 1) and not self.steps[-1].beside)
            @rule(data=st.data(), skip=st.booleans())
            def strike(self, data: st.DataObject, skip: bool) -> None:
                """A fault strikes a call of the last operation, which is then done again."""
                keys = [key for key in self.calls[len(self.steps) - 1] if not key.startswith("vmm/")]
                if keys and len(self.struck) < 2:
                    key = data.draw(st.sampled_from(keys))
                    self.struck.append((len(self.steps) - 1, key, data.draw(st.sampled_from(("fails", "broken-off", "host-lost"))), int(skip)))

        def teardown(self) -> None:
            """End what is left, and hand the walk over."""
            if not self.cloud.vms:
                return
            for vm in self.living():
                self.write(vm)
                self.step("vm.terminate", vm=vm.name)
            for image in list(self.cloud.images.values()):
                self.step("image.delete", image=image.name)
            gates = commands if any(step.beside for step in self.steps) else ()
            header = TraceHeader(1, "explored", "A random lifecycle", gates=gates, bytes_of="explored")
            walked(self.with_faults(Trace("explored", header, tuple(self.steps))))

        def with_faults(self, trace: Trace) -> Trace:
            """Return the walk with its faults, from the last to the first, as each adds what is done again."""
            for n, key, kind, skip in sorted(self.struck, reverse=True):
                following = n + 1 < len(trace.steps) and trace.steps[n + 1].beside
                row = spec.spec.faults.get(kind)
                if row is None or following:
                    continue
                place = Place("explored", n, key, skip if self.calls[n].count(key) > 1 else 0, row, (), 0, "frontend", "ssh", 1)
                made = faulting.derive(spec, subject, trace, place if row.at else replace(place, command="", host=""))
                trace = trace if made is None else replace(made, header=msgspec.structs.replace(trace.header, gates=made.header.gates))
            return trace

    return Walk
