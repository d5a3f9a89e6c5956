"""The hypervisor for real: hosts run libvirtd, and a VM that oned runs is a QEMU without a guest that has the VM's disks open.

It stands where the simulated libvirt stands (`onesim.virsh`): drivers' virsh is the machine's own, what guests write goes through QEMU, and libvirt says
which layer is active. A host's libvirtd is started when it is first needed. What this machine lacks is an error of the world, never of a driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onesim import guestless
from onesim.errors import HarnessError, Lacking
from onesim.events import Answer, CallAsked
from onesim.guestless import Attached
from onesim.model import Disk, Vm
from onesim.world import libvirtd
from onesim.world.interface import Patch, Question, Service, World

_SERVICE = "libvirtd"
_URI = "qemu:///system"
_READY = "/run/onetck/usr/bin/virsh -q -c qemu:///system uri"
_START_S = 30.0
_SCRIPT = Path(__file__).parent / "world" / "skel" / "libvirtd"
#: A domain without disks, that tells whether it was the disks that kept another from what it was to do.
_PROBE = "onetck-probe"
_PORT = 16510
_MIGRATION = "tcp://127.0.0.1"
_NOWHERE = "tcp://127.0.0.1:1"


class Qemu:
    """The libvirtds and QEMUs of all hosts of a world."""

    agent = False

    def __init__(self, world: World, hosts: tuple[str, ...]) -> None:
        self.world, self.hosts = world, hosts
        self._marks: dict[str, str] = {}
        self._at: dict[str, str] = {}
        self._known: dict[str, tuple[str, dict[str, Attached]]] = {}
        self._kvm = not libvirtd.kvm()

    def open(self) -> None:
        """Lay what libvirtd needs into the world. Nothing is started yet."""
        for host in self.hosts:
            done = self.world.libvirt(host, "tool", {"argv": ["bash", "-c", libvirtd.PREPARE]}, root=True)
            if done.get("status") != 0:
                raise HarnessError(f"{host} cannot be made ready for libvirtd: {str(done.get('stderr') or done.get('why')).strip()}")

    # libvirt

    def _virsh(self, host: str, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Run virsh as the world's root. Returns status, what it printed and what it said."""
        self._serve(host)
        status, printed, said = self.world.host_virsh(host, ["-q", "-c", _URI, *words], stdin.encode())
        return status, printed.decode(errors="replace"), " ".join(said.decode(errors="replace").split())

    def _serve(self, host: str) -> None:
        """Start the libvirtd of a host, unless it runs. Raises HarnessError with the remedy where that cannot be."""
        if host in self._marks:
            return
        lacking = libvirtd.lacking()
        if lacking:
            raise Lacking(f"no QEMU on {host}: {lacking}")
        name = f"{_SERVICE}-{host}"
        command = f"set -- {self.hosts.index(host) + 1}\n{_SCRIPT.read_text()}"
        libvirtd.lend_found(self.world, host)
        self.world.serve(Service(name, command, _READY, _START_S, host, root=True))
        self._marks[host] = self.world.read(host, f"/run/one/{name}/mark").decode()

    def answer(self, asked: Question) -> Answer:
        """Let a virsh of a driver be the machine's own, on its host and with its rights."""
        for host in self.hosts:
            if host == asked.host or any(f"//{host}/" in word or f"@{host}/" in word for word in (*asked.argv, asked.uri)):
                self._serve(host)
        self._known.clear()
        status, stdout, stderr = self.world.client_run(asked.number)
        if status and self._virsh(asked.host, "uri")[0]:
            raise HarnessError(f"libvirtd of {asked.host} does not answer any more")
        return Answer(stdout, stderr, status)

    # what oned's hypervisor driver does to the domains

    def acted(self, asked: CallAsked, vm: Vm, directory: str, document: str) -> str:
        """Do what oned's hypervisor does. Returns the error, empty for success."""
        self._known.clear()
        name, host = f"one-{vm.id}", asked.facts["host"]
        match asked.action.name:
            case "deploy":
                text = guestless.domain(document, kvm=self._kvm, environment={"ONETCK_SERVICE": self._mark(host)})
                return self._started(host, name, text, self._virsh(host, "create", "/dev/stdin", stdin=text))
            case "restore":
                return self._restored(host, name, vm, directory, asked.arguments)
            case "save":
                return self._said(self._virsh(host, "save", name, asked.arguments["checkpoint"]), name)
            case "shutdown" | "cancel":
                return self._said(self._virsh(host, "destroy", name, "--graceful"), name)
            case "migrate":
                return self._gone_over(asked, name)
            case "attach_disk" | "detach_disk" | "resize_disk":
                number = str(asked.disk) if asked.action.name != "resize_disk" else asked.arguments["disk_id"]
                disk = next((one for one in vm.disks if str(one.id) == number), None)
                return self._changed(asked, vm, disk, directory) if disk is not None and name in self._at else ""
        return ""

    def fails(self, asked: CallAsked, vm: Vm) -> None:
        """Have a migration begin that cannot end well: what it leaves is what a failed one leaves. Other actions do not begin."""
        if asked.action.name == "migrate" and not self._moved(asked, f"one-{vm.id}", _NOWHERE):
            raise HarnessError(f"the migration of one-{vm.id} succeeded, to a port where nobody listens")

    def _gone_over(self, asked: CallAsked, name: str) -> str:
        """Migrate a domain. Returns the error, empty for success. Raises HarnessError where one without disks does not get there either."""
        said = self._moved(asked, name, _MIGRATION)
        if said:
            source, there = asked.arguments["host"], asked.arguments["there"]
            text = self._virsh(source, "dumpxml", name)[1]
            if not text:
                return said  # it is gone: one without its disks could not tell why
            begun = _why(self._virsh(source, "create", "/dev/stdin", stdin=guestless.bare(text, _PROBE)))
            failed = begun or self._moved(asked, _PROBE, _MIGRATION)
            if not begun:
                self._virsh(self._at.pop(_PROBE, source), "destroy", _PROBE)
            if failed:
                raise HarnessError(f"no QEMU gets from {source} to {there}, not even one without disks: {failed}")
        return said

    def _moved(self, asked: CallAsked, name: str, where: str) -> str:
        """Migrate a domain that runs; where hosts share no storage, with what it writes meanwhile. Returns the error, empty for success."""
        source, host = asked.arguments["host"], asked.arguments["there"]
        self._serve(host)
        options = ["--copy-storage-inc"] if asked.facts["shared"] == "NO" and name != _PROBE else []
        there = f"qemu+tcp://127.0.0.1:{_PORT + self.hosts.index(host) + 1}/system"
        # all hosts are this machine, and libvirt does not know that the file system of a world is shared by them
        status, _, said = self._virsh(source, "migrate", "--live", "--unsafe", *options, name, there, "--migrateuri", where)
        if status == 0:
            self._at[name] = host
        return (said or f"virsh ended with {status}") if status else ""

    def _changed(self, asked: CallAsked, vm: Vm, disk: Disk, directory: str) -> str:
        """Plug a disk in or out, or enlarge it. Returns the error, empty for success."""
        name, target = f"one-{vm.id}", disk.target
        host = self._at[name]
        if asked.action.name == "attach_disk":
            words = guestless.plugging(target, disk.format, cdrom=disk.kind == "cdrom")
            return _why(self._virsh(host, "attach-disk", name, f"{directory}/disk.{disk.id}", target, *words, "--live"))
        if target not in self._disks(vm):
            return ""
        self._known.clear()
        if asked.action.name == "resize_disk":
            return _why(self._virsh(host, "blockresize", name, target, f"{int(asked.arguments['size_mb']) << 20}B"))
        status, _, said = self._virsh(host, "detach-disk", name, target, "--live")
        if status == 0 and target in self._disks(vm):
            # no guest lets go of the device; its machine does when it is reset
            self._virsh(host, "reset", name)
            self._known.clear()
        return said if status else "" if target not in self._disks(vm) else f"{target} of {name} is not let go"

    def _mark(self, host: str) -> str:
        self._serve(host)
        return self._marks[host]

    def _started(self, host: str, name: str, text: str, done: tuple[int, str, str]) -> str:
        """Note that a domain has started. Returns the error if not. Raises HarnessError where it does not start without its disks either."""
        if done[0] == 0:
            self._at[name] = host
            libvirtd.keep_found(self.world, host)
            return ""
        failed = _why(self._virsh(host, "create", "/dev/stdin", stdin=guestless.bare(text, _PROBE)))
        if failed:
            raise HarnessError(f"QEMU does not start on {host}, not even without disks: {failed}")
        self._virsh(host, "destroy", _PROBE)
        return _why(done)

    def _said(self, done: tuple[int, str, str], name: str) -> str:
        if done[0] == 0:
            self._at.pop(name, None)
        return _why(done)

    def _restored(self, host: str, name: str, vm: Vm, directory: str, arguments: object) -> str:
        saved = f"{directory}/checkpoint"
        status, text, said = self._virsh(host, "save-image-dumpxml", saved)
        if status:
            return said
        places = {disk.target: f"{directory}/disk.{disk.id}" for disk in vm.disks}
        return self._started(host, name, text, self._virsh(host, "restore", saved, "--xml", "/dev/stdin", stdin=guestless.moved(text, places)))

    # what the guest writes to

    def runs(self, vm: Vm) -> bool:
        """Whether the guest of a VM goes on: its domain is there, and nobody has halted it."""
        return self._seen(vm)[0] == "running"

    def _disks(self, vm: Vm) -> dict[str, Attached]:
        return self._seen(vm)[1]

    def _seen(self, vm: Vm) -> tuple[str, dict[str, Attached]]:
        """Return the state of a domain and its disks by target; nothing of one that does not run."""
        name = f"one-{vm.id}"
        host = self._at.get(name)
        if host is None:
            return "", {}
        if name not in self._known:
            status, text, _ = self._virsh(host, f"domstate {name}; dumpxml {name}")
            state, _, document = text.strip().partition("\n")
            self._known[name] = (state, guestless.disks(document.strip())) if status == 0 else ("", {})
        return self._known[name]

    def layer(self, vm: Vm, disk: Disk) -> tuple[str, str, str] | None:
        """Return host, path and format of the layer that a running guest writes to; None where no domain runs with that disk."""
        found = self._disks(vm).get(disk.target)
        return (self._at[f"one-{vm.id}"], found.path, found.format) if found is not None else None

    def write(self, vm: Vm, disk: Disk, patches: Sequence[Patch]) -> str | None:
        """Have the guest's device write. Returns why it could not, empty if it could; None where no domain runs with that disk."""
        found = self._disks(vm).get(disk.target)
        if found is None:
            return None
        name = f"one-{vm.id}"
        host = self._at[name]
        device = f"{found.alias}/virtio-backend" if found.alias.startswith("virtio-disk") else found.alias
        words = [*(f"write -P {one.byte} {one.offset} {one.length}" for one in patches), "flush"]
        lines = (f"qemu-monitor-command {name} --hmp 'qemu-io -d {device} \"{word}\"'" for word in words)
        status, printed, said = self._virsh(host, "; ".join(lines))
        if status or "rror" in printed:
            return f"QEMU: {said or printed}".strip()
        # QEMU tells of the success of these words to nobody: what stands at their ends must be what was written there last
        first, last = min(one.offset for one in patches), max(one.offset + one.length for one in patches)
        seen = self.world.peek(host, found.path, found.format, first, last - first)
        for at in {at for one in patches for at in (one.offset, one.offset + one.length - 1)}:
            written = next(one.byte for one in reversed(patches) if one.offset <= at < one.offset + one.length)
            if seen[at - first : at - first + 1] != bytes([written]):
                raise HarnessError(f"QEMU has written something else to {disk.target} of {name} than it was told, at {at}")
        return ""


def _why(done: tuple[int, str, str]) -> str:
    """Return what a virsh said that failed; empty for one that did not."""
    return (done[2] or f"virsh ended with {done[0]}") if done[0] else ""
