"""What this machine can and cannot do for a world, with the remedy; for `onetck doctor`. Under a second."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from onesim.errors import HarnessError
from onesim.world import fleet, libvirtd
from onesim.world.interface import Question
from onesim.world.namespaces import NamespaceWorld, obtainable

_TOOLS = (
    ("qemu-img", True, "qemu-utils", "makes and reads the images"),
    ("qemu-io", True, "qemu-utils", "writes to qcow2 disks as a guest"),
    ("bash", True, "bash", "runs gates and drivers"),
    ("scp", False, "openssh-client", "drivers that copy with scp need it"),
    ("rsync", False, "rsync", "drivers that copy with rsync need it"),
    ("restic", False, "restic", "the reference driver keeps backups with it (datastore/restic)"),
    ("qemu-nbd", False, "qemu-utils", "the reference driver reads with it what has changed since the last increment"),
    ("genisoimage", False, "genisoimage", "the reference driver makes context ISOs with it"),
    ("mkswap", False, "util-linux", "the reference driver makes swap disks with it"),
    ("curl", False, "curl", "the reference driver fetches images from http with it"),
    ("jq", False, "jq", "many drivers read JSON with it"),
    ("ceph-mon", False, "ceph-mon", "the cluster of the reference Ceph driver starts it"),
    ("ceph-mgr", False, "ceph-mgr", "the cluster of the reference Ceph driver starts it"),
    ("ceph-osd", False, "ceph-osd", "the cluster of the reference Ceph driver starts it"),
    ("rbd", False, "ceph-common", "Ceph drivers need it"),
    ("openssl", False, "openssl", "cases with encrypted messages make their keys with it"),
)
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAXIMUM = Path("/proc/sys/user/max_user_namespaces")


@dataclass(frozen=True)
class Finding:
    """One fact about the machine. `needed` = without it nothing runs."""

    name: str
    ok: bool
    needed: bool
    detail: str
    remedy: str = ""


def _no_answer(question: Question) -> _Silence:
    return _Silence()


@dataclass(frozen=True)
class _Silence:
    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 1


def _switch(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _remedy() -> str:
    """Return what to switch so that namespaces are allowed, as far as the machine says."""
    if os.geteuid() != 0 and _switch(_APPARMOR) == "1":
        return "run as root, or allow them with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    if os.geteuid() != 0 and _switch(_CLONE) == "0":
        return "run as root, or allow them with `sysctl kernel.unprivileged_userns_clone=1`"
    if _switch(_MAXIMUM) == "0":
        return "allow them with `sysctl user.max_user_namespaces=10000`"
    return (
        "in a container, run as root with --cap-add SYS_ADMIN, or as an ordinary user with --security-opt seccomp=unconfined,systempaths=unconfined"
    )


def probe() -> list[Finding]:
    """Return the findings, the needed ones first."""
    system = f"{platform.system()} {platform.release()}"
    findings = [
        Finding("operating system", sys.platform == "linux", True, system, "run on Linux"),
        Finding("Python", sys.version_info >= (3, 11), True, platform.python_version(), "install Python 3.11 or newer"),
        Finding(
            "merged /usr",
            Path("/bin").is_symlink(),
            True,
            "/bin is a link" if Path("/bin").is_symlink() else "/bin is a directory",
            "use a system with a merged /usr, such as Debian 12",
        ),
    ]
    findings.append(_world())
    for command, needed, package, purpose in _TOOLS:
        path = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        findings.append(Finding(command, path is not None, needed, path or f"not found; {purpose}", f"apt-get install {package}"))
    sftp = Path("/usr/lib/openssh/sftp-server")
    findings.append(
        Finding(
            "sftp-server",
            sftp.exists(),
            False,
            str(sftp) if sftp.exists() else "not found; the far end of scp",
            "apt-get install openssh-sftp-server",
        )
    )
    blocks = sorted(Path("/usr/lib").glob("*/qemu/block-rbd.so"))
    findings.append(
        Finding(
            "qemu rbd",
            bool(blocks),
            False,
            str(blocks[0]) if blocks else "not found; with it the harness reads and writes the disks of Ceph drivers",
            "apt-get install qemu-block-extra",
        )
    )
    findings += [
        Finding(name, bool(there), False, there or "not there; `--hypervisor qemu` and drivers of libvirt's pools need it", remedy)
        for name, there, remedy in libvirtd.findings()
    ]
    kvm = libvirtd.kvm()
    findings.append(Finding("KVM", not kvm, False, kvm or "/dev/kvm", "not needed; `chmod 0666 /dev/kvm` lets the QEMUs of worlds use it"))
    findings.append(_containers())
    return findings


def _containers() -> Finding:
    """Return whether hosts can be containers (--backend docker)."""
    try:
        client = fleet.connect()
        try:
            fleet.require_image(client, fleet.IMAGE)
        finally:
            client.close()
    except HarnessError as error:
        problem, _, remedy = str(error).partition("; ")
        return Finding("docker", False, False, f"{problem}; hosts that are containers need it", remedy)
    return Finding("docker", True, False, f"hosts can be containers of {fleet.IMAGE}")


def _world() -> Finding:
    if sys.platform != "linux":
        return Finding("world", False, True, "not tried", "run on Linux")
    try:
        with NamespaceWorld.start(on_question=_no_answer) as world:
            run = world.run("frontend", ["/bin/bash", "-c", "id -u"])
    except HarnessError as error:
        return Finding("world", False, True, str(error).replace("; see `onetck doctor`", ""), _remedy())
    if run.stdout != b"9869\n":
        return Finding("world", False, True, f"a command ended by {run.ended_by}: {run.stderr.decode(errors='replace').strip()}", _remedy())
    obtained = obtainable()
    return Finding(
        "world", True, True, f"three hosts by namespaces; users: {obtained['users']}; network: {obtained['network']}; limits: {obtained['limits']}"
    )
