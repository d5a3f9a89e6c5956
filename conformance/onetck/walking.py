"""Random legal lifecycles: a hypothesis state machine whose rules are the operations of the lifecycle tables. What it walks is a trace that oned accepts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from onesim.events import CallAsked, CallFinished, OperationAsked, Refused
from onesim.layout import HOSTS, make_cloud, shared_of
from onesim.model import Disk, Vm
from onesim.oned import Oned
from onesim.trace import Step, Trace, TraceHeader
from onetck import faulting
from onetck.bent import bent
from onetck.faulting import Place
from onetck.plan import file_sizes, null_output
from onetck.setting import Setting

IMAGES_MAX, SIZE_MAX_MB = 6, 16
#: So many rules a walk follows at most; most end before, by their number of calls.
RULES = 100
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
#: What brings a VM to another state, in which something else may be asked of it.
_LEADS_TO = {"POWEROFF": "poweroff", "SUSPENDED": "suspend", "UNDEPLOYED": "undeploy", "STOPPED": "stop", "RUNNING": "resume", "ACTIVE": "deploy"}
_CHANGING = tuple(_LEADS_TO.values())
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
            self.together, self.calls, self.left = set[str](), dict[int, list[str]](), 0
            self.chance = Random(0)
            self.bent = bent(self.chance)

        @initialize(seed=st.integers(0, 2**64 - 1))
        def begin(self, seed: int) -> None:
            """Choose what is favoured; there is an image to begin with. The seed 0 comes up too often to be walked."""
            self.chance = Random(seed)
            self.bent = bent(self.chance)
            self.left = self.bent.calls if seed else 0
            format = self.chance.choice(("raw", "raw", "qcow2"))
            self.step("image.make", image=self.name("image"), size_mb=self.chance.randint(1, 3), format=format, persistent=False)

        def beside(self) -> bool:
            return self.chance.randrange(10) < self.bent.overlap

        def step(self, op: str, beside: bool = False, **arguments: Any) -> bool:
            """Ask an operation, if oned accepts it; beside those before it, if none of them is about the same VM or image."""
            if self.left <= 0:
                return False
            outputs = self.oned.feed(OperationAsked(len(self.steps), op, arguments))
            if any(isinstance(one, Refused) for one in outputs):
                return False
            asked: list[str] = []
            while outputs:
                output = outputs.pop(0)
                if isinstance(output, CallAsked):
                    asked.append(output.action.key)
                    outputs += self.oned.feed(CallFinished(output.call, True, null_output(spec, output, file_sizes(self.steps))))
            self.left -= sum(not key.startswith("vmm/") for key in asked)
            about = {str(arguments[name]) for name in ("vm", "image", "of") if name in arguments}
            fits = beside and bool(self.together) and not about & self.together and bool(asked)
            self.together = (self.together if fits else set()) | about if asked else set()
            self.calls[len(self.steps)] = asked
            self.steps.append(Step(0, op, arguments, beside="*" if fits else ""))
            return True

        def name(self, kind: str) -> str:
            self.named += 1
            return f"{kind}{self.named}"

        @rule()
        def image(self) -> None:
            """A new image: empty, out of a file, or a copy of another one."""
            if self.left <= 0 or len(self.cloud.images) >= min(IMAGES_MAX, self.bent.crowd + 1):
                return
            label, size, format, persistent = (
                self.name("image"),
                self.chance.randint(1, 3),
                self.chance.choice(("raw", "raw", "qcow2")),
                self.beside(),
            )
            ready = [one.name for one in self.cloud.images.values() if one.state == "READY"]
            birth = self.chance.choice(("make", "register", "clone"))
            if birth == "clone" and ready:
                self.step("image.clone", beside=self.beside(), image=label, of=self.chance.choice(ready))
            elif birth != "register":
                self.step("image.make", beside=self.beside(), image=label, size_mb=size, format=format, persistent=persistent)
            else:
                path = f"/var/tmp/{label}.{format}"
                self.steps.append(Step(0, "file.make", {"path": path, "format": format, "size_mb": size}))
                self.together = set()
                self.step("image.register", image=label, path=path, persistent=persistent)

        @precondition(lambda self: self.left > 0 and len(self.living()) < self.bent.crowd)
        @rule()
        def vms(self) -> None:
            """VMs alike, three at most; deployed one beside the other unless they wait."""
            images = self.chance.sample(
                sorted(one.name for one in self.cloud.images.values()), min(len(self.cloud.images), self.chance.choice((1, 1, 2)))
            )
            volatile, host, made = self.chance.random() < 0.3, self.chance.choice(HOSTS), []
            for _ in range(min(self.bent.crowd - len(self.living()), 3)):
                disks: list[dict[str, Any]] = [{"image": one} for one in images if self.usable(one)]
                disks += [{"volatile": "fs", "size_mb": 1}] if volatile or not disks else []
                label = self.name("vm")
                if self.step("vm.create", vm=label, disks=disks):
                    made.append(label)
            for label in [] if self.chance.random() < 0.2 else made:
                self.step("vm.deploy", beside=self.beside(), vm=label, host=host)

        def usable(self, label: str) -> bool:
            image = self.cloud.images[self.cloud.labels["image", label]]
            return image.state == "READY" or (image.state == "USED" and not image.persistent)

        def living(self) -> list[Vm]:
            return [vm for vm in self.cloud.vms.values() if vm.state != "DONE"]

        def wish(self) -> str:
            return self.chance.choice([*sorted(self.bent.asked), self.chance.choice(_CHANGING)])

        def towards(self, vm: Vm, wish: str, among: Collection[str]) -> str:
            """Return one of these that oned would take for a VM: what is wished, or what brings the VM nearer to it; empty if there is none."""
            fits = [name for name in _LIVING if name in among and any(vm.state in row.from_ for row in spec.operations("vm", name))]
            if wish in fits:
                return wish
            states = {state for row in spec.operations("vm", wish) for state in row.from_}
            nearer = [name for state, name in _LEADS_TO.items() if name in fits and (state in states or vm.state != "RUNNING")]
            return self.chance.choice(nearer or [name for name in fits if name in _CHANGING] or [""])

        def disk(self, vm: Vm) -> Disk | None:
            """Return a disk of a VM, mostly the first: what happens to one disk again and again is seldom walked otherwise."""
            return None if not vm.disks else vm.disks[0] if self.chance.random() < 0.7 else self.chance.choice(vm.disks)

        @precondition(lambda self: self.left > 0 and self.living())
        @rule()
        def operate(self) -> None:
            """Something is asked of a VM, some of it several times, with what the guest writes in between."""
            vm, wish = self.chance.choice(self.living()), self.wish()
            disk = self.disk(vm)
            for _ in range(3):
                name = self.towards(vm, wish, _LIVING)
                times = self.chance.choice((1, self.bent.again)) if name == wish and name in self.bent.asked else 1
                overlaps = name in _OVERLAPPING and self.beside()
                for _ in range(times if name else 0):
                    if not overlaps:
                        self.write(vm)
                    if not self.step(f"vm.{name}", beside=overlaps, **self.arguments(vm, name, disk)):
                        return
                if name in ("", wish):
                    return

        @precondition(lambda self: self.left > 0 and self.bent.overlap and len(self.living()) > 1)
        @rule()
        def pair(self) -> None:
            """Something is asked of two or three VMs at once; of the last, at times, that it ends."""
            vms = self.chance.sample(self.living(), min(len(self.living()), self.chance.choice((2, 2, 3))))
            wish = self.wish()
            wishes = [wish if self.chance.random() < 0.5 else self.wish() for _ in vms]
            for vm, wish in zip(vms, wishes, strict=True):
                name = self.towards(vm, wish, _LIVING)
                if name not in ("", wish):
                    self.step(f"vm.{name}", **self.arguments(vm, name, None))
                self.write(vm)
            for vm, wish in zip(vms, wishes, strict=True):
                name = "terminate" if vm is vms[-1] and self.chance.random() < 0.2 else self.towards(vm, wish, _OVERLAPPING)
                if name:
                    self.step(f"vm.{name}", beside=vm is not vms[0], **self.arguments(vm, name, self.disk(vm)))

        def arguments(self, vm: Vm, name: str, disk: Disk | None) -> dict[str, Any]:
            found: dict[str, Any] = {"vm": vm.name}
            if disk is not None and name in _ABOUT_A_DISK:
                found["disk"] = disk.id
            if name in ("deploy", "migrate", "migrate_live", "migrate_poweroff"):
                found["host"] = self.chance.choice(HOSTS)
                if name in ("migrate", "migrate_poweroff") and self.chance.random() < 0.5:
                    found["datastore"] = self.chance.choice(("system", "system2"))
            elif name == "disk_resize" and disk is not None:
                found["size_mb"] = min(disk.size_mb + self.chance.randint(1, 3), SIZE_MAX_MB)
            elif name in ("snapshot_delete", "snapshot_revert") and disk is not None:
                found["snapshot"] = self.chance.choice(sorted(disk.snapshots.known) or [0])
            elif name == "disk_saveas":
                found["image"] = self.name("image")
            elif name == "attach_disk":
                found["disk"] = {"volatile": "fs", "size_mb": 1}
            return found

        def write(self, vm: Vm) -> None:
            """The guest writes to its disks, if it runs: a disk that nobody writes to can be exchanged for an older one unseen."""
            for disk in vm.disks if vm.state == "RUNNING" and self.bent.writes else ():
                if disk.kind in ("nonpersistent", "persistent"):
                    self.steps.append(Step(0, "guest.write", {"vm": vm.name, "disk": disk.id}))
                    self.together = set()

        @precondition(lambda self: self.left > 0 and len(self.living()) > 1)
        @rule()
        def end(self) -> None:
            """A VM ends, now and then."""
            if self.chance.random() < 0.3:
                self.step("vm.terminate", beside=self.beside(), vm=self.chance.choice(self.living()).name)

        if faults:

            @precondition(lambda self: self.left > 0 and self.calls.get(len(self.steps) - 1) and not self.steps[-1].beside)
            @rule()
            def strike(self) -> None:
                """A fault strikes a call of the last operation, which is then done again."""
                keys = [key for key in self.calls[len(self.steps) - 1] if not key.startswith("vmm/")]
                if keys and len(self.struck) < 2 and self.chance.random() < 0.3:
                    kind = self.chance.choice(("fails", "broken-off", "host-lost"))
                    self.struck.append((len(self.steps) - 1, self.chance.choice(keys), kind, self.chance.randrange(2)))

        def teardown(self) -> None:
            """End what is left, if that is to be, and hand the walk over."""
            if not self.cloud.vms:
                return
            self.left = 1000
            for vm in self.living() if self.bent.ends else ():
                self.write(vm)
                self.step("vm.terminate", vm=vm.name)
            for image in list(self.cloud.images.values()) if self.bent.ends else ():
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
