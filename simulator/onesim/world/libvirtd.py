"""What a real libvirtd needs: of this machine, and in the files of a host. Each finding names the remedy."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator

from onesim.world.interface import World
from onesim.world.namespaces import wide

_PROGRAMS = (
    ("libvirtd", "libvirt-daemon-system"),
    ("virsh", "libvirt-clients"),
    ("qemu-system-x86_64", "qemu-system-x86"),
)
_PATH = "/usr/bin:/usr/sbin"

#: Makes a host ready for libvirtd, as its root. What libvirtd keeps below /etc lies where no picture is taken: it is no driver's doing.
PREPARE = """
set -euo pipefail
rm -f /etc/libvirt
mkdir -p /run/libvirt/etc
ln -s /run/libvirt/etc /etc/libvirt
echo "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin" >>/etc/passwd
printf '%s\\n' "kvm:x:106:" "libvirt-qemu:x:64055:" >>/etc/group
"""


def findings() -> Iterator[tuple[str, str, str]]:
    """Yield each thing that QEMU in a world needs: its name, where it is (empty: nowhere), and the remedy."""
    for name, package in _PROGRAMS:
        yield name, shutil.which(name, path=_PATH) or "", f"apt-get install {package}"
    yield "users for QEMU", "a range of ids" if wide() else "", "run as root: libvirtd changes users, and an ordinary user has one id"


def kvm() -> str:
    """Return why worlds cannot use KVM: their users own nothing on the machine, so that anybody must be allowed to. Empty if they can."""
    try:
        mode = os.stat("/dev/kvm").st_mode
    except OSError as error:
        return f"/dev/kvm: {error.strerror}; QEMU emulates the processor"
    return "" if mode & 0o006 == 0o006 else "/dev/kvm is not for everybody; QEMU emulates the processor"


def lacking() -> str:
    """Return what this machine lacks and the remedy; empty where nothing is lacking."""
    return next((f"{name} is not there; {remedy}" for name, there, remedy in findings() if not there), "")


# What libvirtd finds out of QEMU takes it longer than to start one. It is kept for the next world; libvirtd itself sees whether it is still true.
_FOUND = "/var/cache/libvirt/qemu/capabilities"
_found: dict[str, bytes] = {}
_finding = threading.Lock()


def lend_found(world: World, host: str) -> None:
    """Give a host what the libvirtd of another one has found out of QEMU. Before its own one starts."""
    with _finding:
        known = dict(_found)
    for name, data in known.items():
        world.put(host, f"{_FOUND}/{name}", data)


def keep_found(world: World, host: str) -> None:
    """Keep what a libvirtd has found out of QEMU, if that is not known yet. After it has started one."""
    with _finding:
        if not _found:
            for name in _printed(world, host, "ls", _FOUND).split():
                _found[name] = _printed(world, host, "cat", f"{_FOUND}/{name}").encode()


def _printed(world: World, host: str, *argv: str) -> str:
    """Return what a command prints that runs as root; nothing if it fails."""
    done = world.libvirt(host, "tool", {"argv": list(argv)}, root=True)
    return str(done.get("stdout", "")) if done.get("status") == 0 else ""
