"""The two sides of a comparison: a real libvirtd in namespaces of its own, and the simulated one in a world. Both see the same paths."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onesim.content import Write
from onesim.libvirtd.model import Domain
from onesim.virsh import Virsh
from onesim.world.namespaces import NamespaceWorld

#: Where both sides keep their files.
PLACE = "/tmp/lv"
#: A block device: libvirt can delete the partitions of one whose name they begin with, up to their number.
DEVICE = "/tmp/devices/loop0p"
_START = """
mount --make-rprivate /
for d in /run /tmp /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt /etc/lvm/archive /etc/lvm/backup; do
    [[ ! -d $d ]] || mount -t tmpfs none $d
done
ip link set lo up
mkdir -p /run/libvirt /var/lib/libvirt/images /var/lib/libvirt/qemu /var/log/libvirt/qemu /etc/libvirt/qemu /tmp/lv
printf 'auth_unix_rw="none"\\nauth_unix_ro="none"\\nlog_outputs="3:stderr"\\n' > /etc/libvirt/libvirtd.conf
for line in 'user="root"' 'group="root"' 'dynamic_ownership=0' 'remember_owner=0' 'security_driver="none"' 'cgroup_controllers=[]' 'namespaces=[]' \\
    'stdio_handler="file"' 'seccomp_sandbox=0'; do echo "$line"; done > /etc/libvirt/qemu.conf
/usr/sbin/libvirtd &
wait
"""


@dataclass(frozen=True)
class Said:
    """What a command printed and its status."""

    out: str
    err: str
    status: int


def missing() -> str:
    """Return why a real libvirtd cannot be started here, empty if it can."""
    if os.geteuid() != 0:
        return "a real libvirtd is started by root"
    lacking = [
        name for name in ("/usr/sbin/libvirtd", "/usr/bin/virsh", "/usr/bin/qemu-system-x86_64", "/usr/bin/unshare") if not Path(name).exists()
    ]
    return f"{lacking[0]} is not installed" if lacking else ""


class Real:
    """The real one."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("wb")
        self._device, self._called = -1, ("", "")
        command = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", _START]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True)
        self._pid = 0
        until = time.monotonic() + 20
        while time.monotonic() < until:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            if children:
                self._pid = int(children[0])
                if self.run(["virsh", "-q", "uri"]).status == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"libvirtd did not start: {log.read_text()[-2000:]}")

    def run(self, argv: list[str], stdin: bytes = b"", *, root: bool = True) -> Said:
        """Run a command beside libvirtd, as root whatever is asked."""
        told, mine = self._called
        words = [
            "nsenter",
            "-t",
            str(self._pid),
            "-m",
            "-n",
            "-p",
            f"--wdns={PLACE}",
            "--",
            *(word.replace(told, mine) if told else word for word in argv),
        ]
        done = subprocess.run(words, input=stdin, capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"})
        out, err = (text.decode().replace(mine, told) if told else text.decode() for text in (done.stdout, done.stderr))
        return Said(out, err, done.returncode)

    def device(self, size: str) -> None:
        """Attach a loop device, which DEVICE stands for from now on. It is detached with the last descriptor, however this ends."""
        assert self.run(["bash", "-c", f"mkdir -p {Path(DEVICE).parent} && truncate -s {size} {PLACE}.img"]).status == 0
        path = self.run(["losetup", "-f", "-P", "--show", f"{PLACE}.img"]).out.strip()
        assert path, "no loop device is free"
        self._device = os.open(path, os.O_RDONLY)
        subprocess.run(["losetup", "-d", path], check=True)
        self._called = (Path(DEVICE).name.removesuffix("p"), Path(path).name)
        assert self.run(["ln", "-s", path, DEVICE]).status == 0

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        assert self.run(["tee", path], data).status == 0

    def guest_writes(self, domain: str, number: int, write: Write) -> None:
        """Have QEMU itself write to a disk, as its guest would."""
        said = f'qemu-io -d virtio-disk{number}/virtio-backend "write -P {write.byte} {write.offset} {write.length}"'
        done = self.run(["virsh", "qemu-monitor-command", domain, "--hmp", said])
        assert done.status == 0 and "rror" not in done.out, done

    def close(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._device >= 0:
            os.close(self._device)
        self._log.close()


class Simulated:
    """The simulated one, on host01 of a world."""

    def __init__(self) -> None:
        self._holder: list[Virsh] = []
        self.world = NamespaceWorld.start(on_question=lambda asked: self._holder[0].answer(asked))
        self.virsh = Virsh(self.world, ("frontend", "host01", "host02"))
        self._holder.append(self.virsh)
        self.world.must_run("host01", ["/usr/bin/mkdir", "-p", PLACE])

    def run(self, argv: list[str], stdin: bytes = b"", *, root: bool = False) -> Said:
        """Run a command on the host, as oneadmin or as root."""
        path = shutil.which(argv[0]) or f"/usr/bin/{argv[0]}"
        words = ["/usr/bin/virsh" if argv[0] == "virsh" else path, *argv[1:]]
        env = {"LIBVIRT_DEFAULT_URI": "qemu:///system", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        run = self.world.run("host01", words, stdin=stdin, cwd=PLACE, env=env, root=root)
        return Said(run.stdout.decode(), run.stderr.decode(), run.status)

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        self.world.put("host01", path, data)

    def device(self, size: str) -> None:
        """Have a file stand for a device."""
        assert self.run(["bash", "-c", f"mkdir -p {Path(DEVICE).parent} && truncate -s {size} {DEVICE}"], root=True).status == 0

    def domain(self, name: str) -> Domain:
        """Return a domain as the model has it."""
        return self.virsh.daemons["host01"].domains[name]

    def guest_writes(self, domain: str, number: int, write: Write) -> None:
        """Write to the active layer of a disk, as the harness does for a guest."""
        layer = self.domain(domain).disks[number].active
        assert self.world.write_disk("host01", layer.path, layer.format, [write]) == ""

    def close(self) -> None:
        """End the world."""
        self.world.close()


Side = Real | Simulated
_NORMAL = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000", "TIME"),
    (r"1[78]\d{8}(?:\.\d+)?", "SECOND"),
    (r"(?m)^Time elapsed: .*$", "Time elapsed"),
    # told by another thread of the real one, also in the middle of a message
    (r"error: (error: (?:.+\n)+?)Disconnected from \S+ due to I/O error\n", r"\1"),
    (r"error: Disconnected from \S+ due to I/O error\n", ""),
    (r" cur=\d+\n end=\d+\n", " cur and end\n"),
    (r"(?m)^(CPU time|Messages|OS Type|CPU\(s\)|Max memory|Used memory): .*\n", ""),
    (r"(?:\r[\w ]+: \[[ \d]+ %\])*\r([\w ]+): \[100 %\]", r"\1 DONE\n"),
)


def normal(said: Said) -> Said:
    """Return what was said without what differs from one moment or machine to the next."""
    texts = []
    for text in (said.out, said.err):
        for pattern, by in _NORMAL:
            text = re.sub(pattern, by, text)
        texts.append(text)
    return Said(texts[0], texts[1], said.status)


def files(side: Side, folder: str = PLACE) -> dict[str, dict[str, object]]:
    """Return what is in a directory: mode, and for images format, sizes, backing and a digest of what a guest would read."""
    found: dict[str, dict[str, object]] = {}
    for line in side.run(["find", folder, "-type", "f", "-printf", "%P %m\n"], root=True).out.splitlines():
        name, _, mode = line.rpartition(" ")
        if name.endswith(".xml"):
            continue
        path = f"{folder}/{name}"
        info = side.run(["qemu-img", "info", "-U", "--output=json", path], root=True)
        if info.status:
            found[name] = {"mode": mode}
            continue
        row = json.loads(info.out)
        data = row.get("format-specific", {}).get("data", {})
        bitmaps = sorted(one["name"] for one in data.get("bitmaps", ()))
        facts = {key: row.get(key) for key in ("format", "virtual-size", "backing-filename", "backing-filename-format")}
        found[name] = {"mode": mode, **facts, "bitmaps": bitmaps, "bytes": _bytes(side, path)}
    return found


def _bytes(side: Side, path: str) -> str:
    """Return the digest of an image's bytes as a guest sees them."""
    copy = f"{PLACE}.copy"
    side.run(["qemu-img", "convert", "-U", "-O", "raw", path, copy], root=True)
    text = side.run(["sha256sum", copy], root=True).out.split(" ")[0]
    side.run(["rm", "-f", copy], root=True)
    return text


def both(log: Path) -> Iterator[tuple[Real, Simulated]]:
    """Yield the two sides, and end them."""
    real = Real(log)
    try:
        simulated = Simulated()
        try:
            yield real, simulated
        finally:
            simulated.close()
    finally:
        real.close()
