"""What is known of each VM: the state that all calls, requests and states of it share; and the hosts and system datastores that VMs are at."""

from __future__ import annotations

from dataclasses import dataclass, field

from onesim.recording.calls import Place, SeenCall
from onesim.recording.images import Images
from onesim.recording.steps import Step, Steps
from onesim.recording.stores import Stores


@dataclass
class Vm:
    """What is known of a VM. `asked` are requests whose state has not come yet, `covered` is whether the state that it is in was told by a request,
    `store` is its system datastore, `since_s` when it first ran, `restoring` the state of a restore of which no script has told yet.

    `state` is empty as long as nothing was told of it. `disks` are those of vm.create, by id; `sizes` are the MiB that the trace gives them.
    `open` are the calls of an operation that may not be whole yet.
    """

    label: str
    state: str = ""
    host: str = ""
    store: str = ""
    disks: dict[int, Step] = field(default_factory=dict)
    linked: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)
    created: Step = field(default_factory=dict)
    last: Step = field(default_factory=dict)
    leaving: str = "vm.undeploy"
    told: bool = False
    epilog: bool = False
    covered: bool = False
    asked: list[SeenCall] = field(default_factory=list)
    since_s: float = 0.0
    restoring: SeenCall | None = None
    open: list[tuple[SeenCall, Place]] = field(default_factory=list)


class Vms:
    """The VMs, by their ids. `front_end` is the host name of the front-end, empty as long as nothing tells it."""

    def __init__(self, steps: Steps, stores: Stores, images: Images) -> None:
        self.steps, self.images = steps, images
        self._stores = stores
        self.of: dict[int, Vm] = {}
        self._hosts: dict[str, str] = {}
        self.front_end = ""

    def vm(self, number: int) -> Vm:
        """Return what is known of a VM, if only its number."""
        return self.of.setdefault(number, Vm(f"vm{number}"))

    def deployed(self, vm: Vm, at_s: float, where: Place, ok: bool = True) -> None:
        """Tell that a VM was made and deployed."""
        vm.since_s = at_s
        vm.created = self.steps.say(at_s, "vm.create", vm=vm.label, disks=dict(vm.disks), **vm.created)
        vm.store = self._stores.system(-1)
        vm.last = self.steps.say(at_s, "vm.deploy", ok, vm=vm.label, host=self.host(where.host), datastore=self.store(vm, where))
        vm.state, vm.host = ("RUNNING" if ok else "FAILED"), where.host

    def store(self, vm: Vm, where: Place) -> str | None:
        """Return the system datastore that a VM goes to; None if it stays in the one that it has."""
        before, vm.store = vm.store, self._stores.system(where.datastore, vm.store) if where.datastore >= 0 else vm.store
        return vm.store if vm.store != before else None

    def host(self, name: str) -> str:
        """Return the name of a host in the trace: host01, host02, in the order in which they are met; those beyond share the two that worlds have.

        The first, where nothing tells the host.
        """
        if not name:
            return "host01"
        if name not in self._hosts:
            self._hosts[name] = f"host{len(self._hosts) % 2 + 1:02}"
        return self._hosts[name]

    def elsewhere(self, vm: Vm) -> str:
        """Return a host that has another name in the trace than that of a VM, one that was met if there is."""
        return next((name for name in self._hosts if self.host(name) != self.host(vm.host)), "another")

    def awake(self, vm: Vm, at_s: float, running: bool) -> None:
        """Have a VM run, or be off, before what comes: that makes no storage call by which it could be seen."""
        if vm.told:
            return
        if not running and vm.state == "RUNNING":
            self.steps.say(at_s, "vm.poweroff", vm=vm.label)
            vm.state = "POWEROFF"
        elif running and vm.state == "POWEROFF":
            self.steps.say(at_s, "vm.resume", vm=vm.label)
            vm.state = "RUNNING"
