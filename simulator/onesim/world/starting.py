"""Starting processes on hosts: the views of the hosts, the rights that a process gets there, and children for short work. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
from collections.abc import Callable
from typing import Any

from onesim.world import nsview
from onesim.world import syscalls as sc

_HELPER_S = 60


class Starter:
    """Knows the namespaces of the hosts. `namespaces` tells a host by the link of its mount namespace; `shared` are the directories that those `sharing` have
    in common.
    """

    def __init__(self, hosts: list[str], *, shared: list[str], sharing: frozenset[str], wide: bool) -> None:
        self.shared, self.sharing, self.wide = shared, sharing, wide
        self.views: dict[str, tuple[int, int]] = {}
        self.namespaces: dict[str, str] = {}
        self.userns = -1
        if not wide:
            self._make_user_namespace()
        oneadmin = nsview.ONEADMIN if wide else 0
        nsview.build_shared(shared, oneadmin)
        for host in hosts:
            nsview.build_host(host, hosts, oneadmin, self.shared_by(host))
            self._make_view(host, host)

    def shared_by(self, host: str) -> list[str]:
        """Return the directories that a host shares with others."""
        return self.shared if host in self.sharing else []

    def _make_user_namespace(self) -> None:
        """Where only one id is mapped, drivers run in a user namespace of their own, in which it is oneadmin and has no right over the world."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            sc.unshare(sc.CLONE_NEWUSER)
            for name, text in (("setgroups", "deny"), ("uid_map", f"{nsview.ONEADMIN} 0 1"), ("gid_map", f"{nsview.ONEADMIN} 0 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
            os.write(writer, b".")
            signal.pause()
        os.read(reader, 1)
        self.userns = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        self._dismiss(pid, reader, writer)

    def shadow(self, host: str, source: str, target: str) -> str:
        """Make a second view of a host in which `source` stands at `target` too. Returns its name, for `spawn`."""
        name = f"{host}{source}"
        self._make_view(host, name, (source, target))
        return name

    def _make_view(self, host: str, name: str, over: tuple[str, str] | None = None) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                nsview.enter_host(host, self.shared_by(host))
                if over is not None:
                    sc.bind(*over)
                os.write(writer, b".")
                signal.pause()
            except OSError as error:
                os.write(writer, f"{error.strerror}: {error.filename}".encode())
            os._exit(1)
        answer = os.read(reader, 500)
        if answer != b".":
            raise nsview.Refused(f"host {host} cannot be made: {answer.decode()}; see `onetck doctor`")
        self.views[name] = (os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY))
        self.namespaces[os.readlink(f"/proc/{pid}/ns/mnt")] = host
        self._dismiss(pid, reader, writer)

    def _dismiss(self, pid: int, *fds: int) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in fds:
            os.close(fd)

    def spawn(
        self,
        host: str,
        argv: list[str],
        fds: tuple[int, int, int],
        environment: dict[str, str],
        *,
        root: bool,
        limits: dict[str, float],
        cwd: str,
        failed: int,
    ) -> int:
        """Start a program on a host. In the child a failure to do so is written to `failed` as stage and errno. Returns the process id."""
        mount_view, uts_view = self.views[host]
        pid = os.fork()
        if pid:
            return pid
        stage = b"view"
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            kept = os.dup(failed) if failed in (0, 1, 2) else failed
            for target, fd in enumerate(fds):
                os.dup2(fd, target)
            sc.setns(mount_view)
            sc.setns(uts_view)
            self.take_rights(root, limits)
            stage = b"cwd"
            os.chdir(cwd)
            stage = b"exec"
            os.dup2(kept, 3, inheritable=False)
            kept = 3
            os.closerange(4, 256)
            os.execve(argv[0], argv, environment)
        except OSError as error:
            os.write(kept, stage + b" %d" % (error.errno or 0))
        os._exit(127)

    def take_rights(self, root: bool, limits: dict[str, float] | None = None) -> None:
        """Become, in a child, the world's root or the driver's user, with no right to more."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limits:
            resource.setrlimit(resource.RLIMIT_NPROC, (int(limits["processes"]),) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (int(limits["memory_mb"]) * 4 << 20,) * 2)
        if root:
            return
        if self.wide:
            os.setgroups([6, nsview.ONEADMIN])
            os.setresgid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            os.setresuid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
        else:
            sc.setns(self.userns)
            os.setresgid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
            os.setresuid(nsview.ONEADMIN, nsview.ONEADMIN, nsview.ONEADMIN)
        sc.no_new_privileges()

    def within(self, host: str, work: Callable[[], dict[str, Any]], *, root: bool = False) -> dict[str, Any]:
        """Do something in a host's view with the driver's rights (or as world-root) and return its result."""
        reader, writer = os.pipe()
        mount_view, uts_view = self.views[host]
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.alarm(_HELPER_S)
                sc.setns(mount_view)
                sc.setns(uts_view)
                self.take_rights(root)
                os.chdir("/")
                result = work()
            except OSError as error:
                result = {"error": f"{error.strerror}: {error.filename}"}
            except ValueError as error:
                result = {"error": str(error)}
            data = memoryview(json.dumps(result).encode())
            while data:
                data = data[os.write(writer, data) :]
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            text = pipe.read()
        self._wait_for(pid)
        answer: dict[str, Any] = json.loads(text) if text else {"error": "did not end in time"}
        return answer

    def _wait_for(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
