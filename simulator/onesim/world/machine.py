"""A machine of a lab as a host: its agent lives in a process and mount namespace of its own there, so that all but the datastores is gone when it ends.

Standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import signal
import socket
import time
from typing import Any

from onesim.world import ledger, lines, nsview, sshd
from onesim.world import syscalls as sc
from onesim.world.starting import OwnServers, bound

_OURS, _BESIDE = "/run/onetck/own", "/run/onetck/skel"
_MEMORY = (*ledger.POINTS, "/tmp", "/var/tmp")
_OPEN = ("/tmp", "/var/tmp", "/run/onetck/tmp", lines.SEEN)
_DATASTORES = "/var/lib/one/datastores"
_SSHD = "/usr/sbin/sshd"
_CROWD = 16  # what the machine's own oneadmin may be running
_GIVES_UP_S = 15  # longer than the harness itself waits for a machine that is lost
_ANSWERS_S = 3.0


class Machine(OwnServers):
    """Knows the one host that this machine is: the namespaces that the agent itself is in. Raises Refused where it cannot be."""

    lines_at = lines.SEEN

    def __init__(self, settings: dict[str, Any]) -> None:
        self.name, self.wide, self.hosts = settings["host"], True, [settings["host"]]
        self.first = settings["hosts"][0] == self.name
        self.shared = settings["shared"]
        self.sharing = frozenset(settings["hosts"]) - frozenset(settings["apart"])
        self.addresses: dict[str, str] = settings["addresses"]
        self.aides, self.hands, self.spawners, self.views, self.namespaces, self.userns = set(), {}, {}, {}, {}, -1
        self.groups = os.getgrouplist("oneadmin", nsview.ONEADMIN)
        self._server = 0
        self._build(settings)
        self._note_view(self.name, self.name, os.getpid())
        self.admit(self.name, frozenset(), up=True)

    def _build(self, settings: dict[str, Any]) -> None:
        os.umask(0o022)
        sc.mount("", "/", flags=sc.MS_REC | sc.MS_SLAVE)
        sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
        for path in _MEMORY:
            sc.mount("tmpfs", path, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, f"mode=755,size={settings['disk_mb']}m")
        for path in (*nsview.ONEADMIN_DIRECTORIES, "/run/onetck/usr", "/run/onetck/tmp", lines.SEEN, sshd.KEYS, _OURS, f"{_BESIDE}/bin"):
            os.makedirs(path, exist_ok=True)
        for path in _OPEN:
            os.chmod(path, 0o1777)
        shared = self.shared_by(self.name)
        for path in (*nsview.ONEADMIN_DIRECTORIES, *shared):
            os.makedirs(path, exist_ok=True)
            os.chown(path, nsview.ONEADMIN, nsview.ONEADMIN)
        sc.bind(f"{settings['datastores']}/own", _DATASTORES)
        for number, path in enumerate(shared):
            if not os.path.isdir(f"{settings['storage']}/{number}"):
                raise nsview.Refused(f"{settings['storage']}: is not the storage that the front-end has there; correct `shared` under [hosts]")
            os.makedirs(path, exist_ok=True)
            sc.bind(f"{settings['storage']}/{number}", path)
        self._lay(settings)
        self.gates = self._stand(base64.b64decode(settings["gate_script"]), (*nsview.STUBS, *settings["simulated"]), settings["gates"])

    def _lay(self, settings: dict[str, Any]) -> None:
        """Lay files over those of the machine that tell it from others, and those of its SSH clients and server."""
        known = "".join(f"{at} {name}{' ' + ' '.join(nsview.NAMES) if name == settings['hosts'][0] else ''}\n" for name, at in self.addresses.items())
        texts = {
            "hosts": known + _text("/etc/hosts"),
            "hostname": f"{self.name}\n",
            "machine-id": hashlib.sha256(self.name.encode()).hexdigest()[:32] + "\n",
            "shadow": "".join(_unlocked(line) for line in _text("/etc/shadow").splitlines(keepends=True)),
        }
        files = {f"{_OURS}/{name}": (text, 0o640 if name == "shadow" else 0o644) for name, text in texts.items()}
        files |= sshd.files(settings["keys"], port=settings["ssh_port"], gives_up_s=_GIVES_UP_S, client=f"{_OURS}/ssh_config")
        files["/var/lib/one/.one/one_auth"] = "oneadmin:onetck\n", 0o644
        for path, (text, mode) in files.items():
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, mode)
        for path in (sshd.KEY, "/var/lib/one/.one/one_auth"):
            os.chown(path, nsview.ONEADMIN, nsview.ONEADMIN)
        for name in os.listdir(_OURS):
            path = "/etc/ssh/ssh_config" if name == "ssh_config" else f"/etc/{name}"
            if os.path.exists(path):
                sc.bind(f"{_OURS}/{name}", path)

    def _stand(self, gate: bytes, stubs: tuple[str, ...], gates: list[str]) -> list[str]:
        """Put the gates in place. Commands that this machine does not have stand beside its own ones in a layer of their own."""
        sc.bind("/usr", "/run/onetck/usr", recursive=True)
        lacking = [name for name in stubs if not any(os.path.exists(f"/usr/{folder}/{name}") for folder in ("bin", "sbin"))]
        for name in lacking:
            open(f"{_BESIDE}/bin/{name}", "w").close()
        if lacking:
            try:
                sc.mount("overlay", "/usr/bin", "overlay", sc.MS_RDONLY, f"lowerdir={_BESIDE}/bin:/run/onetck/usr/bin")
            except OSError as error:
                raise nsview.step("an overlay cannot be mounted", "load its module with `modprobe overlay`", error) from None
        return nsview.stand(gate, stubs, gates)

    def take_rights(self, root: bool, limits: dict[str, float] | None = None) -> None:
        """Become the machine's root, or its oneadmin with the groups that it has there."""
        super().take_rights(True, {**limits, "processes": limits["processes"] * _CROWD} if limits else limits)
        if not root:
            os.setgroups(self.groups)
            os.setresgid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            os.setresuid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            sc.no_new_privileges()

    def common(self, path: str) -> str:
        """Return where a shared directory is seen: on the front-end alone, as all see the same."""
        return path if self.first else "/run/onetck/skel/none"

    def root(self, host: str) -> str:
        """Return where the agent sees the root of its host: it is its own."""
        return ""

    def _usr(self, host: str) -> str:
        return "/run/onetck/usr"

    def doors(self, kind: socket.SocketKind, port: int) -> list[tuple[str, socket.socket]]:
        """Return sockets for the processes of the machine itself; on the front-end another one for those of the other machines."""
        found = []
        for address in ("127.0.0.1", *([self.addresses[self.name]] if self.first else [])):
            try:
                found.append((self.name, bound(kind, address, port)))
            except OSError as error:
                if address == "127.0.0.1":
                    raise nsview.Refused(f"port {port}: {error.strerror}; stop what listens there, such as OpenNebula's own services") from None
        return found

    def admit(self, host: str, spared: frozenset[int], *, up: bool) -> None:
        """Start the SSH server, or end it and everything that has come through it."""
        if host != self.name:
            return
        if up:
            quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
            os.posix_spawn(_SSHD, [_SSHD, "-D", "-f", sshd.SSHD_CONFIG], {}, file_actions=quiet)
            self._wait_for_server()
            return
        servers = sshd.servers()
        for pid in (*servers, *(int(name) for name in os.listdir("/proc") if name.isdigit())):
            if pid != os.getpid() and (pid in servers or pid not in spared):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def _wait_for_server(self) -> None:
        with open(sshd.SSHD_CONFIG) as file:
            port = int(file.readline().split()[1])
        until = time.monotonic() + _ANSWERS_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        raise nsview.Refused(f"its SSH server does not come up at port {port}; give another `ssh_port` under [hosts]")


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path) as file:
        return file.read()
    return ""


def _unlocked(line: str) -> str:
    """Return a line of /etc/shadow in which oneadmin has no password, but is not locked out either."""
    fields = line.split(":")
    return ":".join([fields[0], "*", *fields[2:]]) if fields[0] == "oneadmin" and fields[1].startswith("!") else line
