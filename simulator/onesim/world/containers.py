"""Hosts that are containers, as their agent sees them: it has entered their process namespace, and enters the others to start programs there.

Standard library only. The containers wait until the agent has prepared them (`READY`), then start the SSH server of their image.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import time
from functools import partial
from typing import Any

from onesim.world import nsview, sshd
from onesim.world import syscalls as sc
from onesim.world.starting import OwnServers, bound, resize

#: The environment of a container's first process names its host.
MARK = "ONETCK_HOST"
READY = "/run/onetck/ready"
_OURS = "/run/onetck/own"
_FIND_S = 60.0
_CROWD = 16  # worlds beside each other whose drivers are one user of the machine
#: What root may do on a host: as in a container of Docker's, but for device nodes.
_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})


class Containers(OwnServers):
    """Knows the namespaces of containers. Raises Refused where one cannot be entered or prepared."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.hosts, self.shared, self.wide = settings["hosts"], settings["shared"], True
        self.sharing = frozenset(self.hosts) - frozenset(settings["apart"])
        self.addresses: dict[str, str] = settings["addresses"]
        self.aides, self.hands, self.spawners, self.views, self.namespaces, self.userns = set(), {}, {}, {}, {}, -1
        self.leaders: dict[str, int] = {}
        self._network = os.open("/proc/self/ns/net", os.O_RDONLY)
        for host in self.hosts:
            self.leaders[host] = self._first_process(host)
            self._note_view(host, host, self.leaders[host])
        keys = self._done(self.hosts[0], _make_keys)["keys"]
        gate, stubs = base64.b64decode(settings["gate_script"]), (*nsview.STUBS, *settings["simulated"])
        self.gates = []
        for host in reversed(self.hosts):
            self.gates = self._done(host, partial(_prepare, host, self, gate, stubs, settings["gates"], keys))["gates"]

    def _first_process(self, host: str) -> int:
        until = time.monotonic() + _FIND_S
        wanted = f"{MARK}={host}".encode()
        while time.monotonic() < until:
            for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        return pid
            time.sleep(0.01)
        raise nsview.Refused(f"host {host}: its container does not run")

    def _done(self, host: str, work: Any) -> dict[str, Any]:
        answer = self.within(host, work, root=True)
        if "error" in answer:
            raise nsview.Refused(f"host {host} cannot be prepared: {answer['error']}")
        return answer

    def take_rights(self, root: bool, limits: dict[str, float] | None = None) -> None:
        """Become the container's root or the driver's user. Their processes count for the machine's user of that number, whatever the world."""
        if root:
            sc.bound_capabilities(_CAPABILITIES)
        super().take_rights(root, {**limits, "processes": limits["processes"] * _CROWD} if limits else limits)

    def root(self, host: str) -> str:
        """Return where the agent sees the root of a host."""
        return f"/proc/{self.leaders[host]}/root"

    def _usr(self, host: str) -> str:
        return f"{self.root(host)}/run/onetck/usr"

    def doors(self, kind: socket.SocketKind, port: int) -> list[tuple[str, socket.socket]]:
        """Return a socket on each host: on the front-end for all of them, on the others for their own processes."""
        found = []
        for host in self.hosts:
            sc.setns(self.views[host][0])
            try:
                found.append((host, bound(kind, "0.0.0.0" if host == self.hosts[0] else "127.0.0.1", port)))
            finally:
                sc.setns(self._network)
        return found

    def reach(self, port: int) -> socket.socket:
        """Return a connection to a port of the front-end."""
        sc.setns(self.views[self.hosts[0]][0])
        try:
            return super().reach(port)
        finally:
            sc.setns(self._network)

    def peer(self, host: str, address: str) -> tuple[str, str]:
        """Return the host from which an address speaks, and its tables of sockets."""
        speaks = next((one for one, at in self.addresses.items() if at == address), host)
        return speaks, f"/proc/{self.leaders[speaks]}/net"

    def daemons(self) -> frozenset[int]:
        """Return the first processes of the containers, and the SSH servers with what they start for each session."""
        return frozenset(self.leaders.values()) | super().daemons()

    def fill(self, free_kib: int | None, disk_mb: int) -> None:
        """Leave so many KiB on each file system that holds datastores."""
        for host in self.hosts:
            self.within(host, partial(_resize, ["/var/lib/one", *self.shared_by(host)], free_kib, disk_mb), root=True)


def _make_keys() -> dict[str, Any]:
    """Make the keys of a world."""
    os.makedirs(sshd.KEYS, exist_ok=True)
    try:
        return {"keys": sshd.make_keys(sshd.KEYS)}
    except sshd.KeysRefused as error:
        return {"error": str(error)}


def _resize(paths: list[str], free_kib: int | None, disk_mb: int) -> dict[str, Any]:
    for path in paths:
        resize(path, free_kib, disk_mb)
    return {}


def _prepare(host: str, world: Containers, gate: bytes, stubs: tuple[str, ...], gates: list[str], keys: dict[str, str]) -> dict[str, Any]:
    """Prepare a container, from inside and as its root."""
    os.umask(0o022)
    for path in (*nsview.ONEADMIN_DIRECTORIES, *world.shared_by(host)):
        os.makedirs(path, exist_ok=True)
        os.chown(path, nsview.ONEADMIN, nsview.ONEADMIN)
    for path in ("/run/onetck/usr", "/run/onetck/tmp", "/run/sshd", sshd.KEYS, _OURS):
        os.makedirs(path, exist_ok=True)
    os.chmod("/run/onetck/tmp", 0o1777)
    addresses = "".join(
        f"{address} {name}{' ' + ' '.join(nsview.NAMES) if name == world.hosts[0] else ''}\n" for name, address in world.addresses.items()
    )
    files = {
        f"{_OURS}/hosts": ("127.0.0.1 localhost\n" + addresses, 0o644),
        f"{_OURS}/resolv.conf": ("", 0o644),
        f"{_OURS}/hostname": (f"{host}\n", 0o644),
        "/etc/machine-id": (hashlib.sha256(host.encode()).hexdigest()[:32] + "\n", 0o444),
        **sshd.files(keys),
        "/var/lib/one/.one/one_auth": ("oneadmin:onetck\n", 0o644),
    }
    for path, (text, mode) in files.items():
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
    for path in (sshd.KEY, "/var/lib/one/.one/one_auth"):
        os.chown(path, nsview.ONEADMIN, nsview.ONEADMIN)
    for name in os.listdir(_OURS):  # Docker writes to its own whenever a host leaves or joins the network
        sc.bind(f"{_OURS}/{name}", f"/etc/{name}")
    sc.bind("/usr", "/run/onetck/usr")
    kept = nsview.stand(gate, stubs, gates)
    with open(READY, "w"):
        pass
    return {"gates": kept}
