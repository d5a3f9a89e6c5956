"""The simulated libvirt in a world: who may ask it what, what is recorded, which layer a running guest writes to, and pools whose storage is a model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sides import PLACE, Said, Simulated

from onesim.content import Write
from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import Subjected
from onesim.records import Call, CaseEnd, GuestWrite, Observation, Question, Record
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver

pytestmark = pytest.mark.components
SNAPSHOT = r"""#!/bin/bash
set -euo pipefail
place=$1 vm=$3
host=${place%%:*} path=${place#*:}
ssh "$host" "export LIBVIRT_DEFAULT_URI=qemu:///system
    read -r target _ < <(virsh -q domblklist one-$vm)
    virsh snapshot-create-as one-$vm --disk-only --no-metadata --diskspec \$target,file=$path.live"
"""
COMMIT = r"""#!/bin/bash
set -euo pipefail
place=$1 vm=$3
ssh "${place%%:*}" "virsh --connect qemu:///system -q blockcommit one-$vm ${place#*:}.live --active --pivot --wait && rm ${place#*:}.live"
"""
TRACE = """{"trace": 1, "name": "live", "title": "A snapshot of a running VM, and back", "gates": ["rm"]}
{"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 2}
{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}
{"op": "vm.create", "vm": "one", "disks": [{"image": "os"}]}
{"op": "vm.deploy", "vm": "one", "host": "host01"}
{"op": "guest.write", "vm": "one", "disk": 0}
{"op": "vm.snapshot_create", "vm": "one", "disk": 0}
{"op": "guest.write", "vm": "one", "disk": 0}
{"op": "vm.snapshot_create", "vm": "one", "disk": 0}
{"op": "guest.write", "vm": "one", "disk": 0}
{"op": "vm.poweroff", "vm": "one"}
"""


@pytest.fixture
def host() -> Iterator[Simulated]:
    """A host with a simulated libvirtd."""
    side = Simulated()
    yield side
    side.close()


def played(tmp_path: Path) -> list[Any]:
    """Play the trace with a driver that takes a snapshot, and at the next one commits it. Returns the records."""
    remotes = tmp_path / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", remotes)
    script = remotes / "tm/shared/snap_create_live"
    script.write_text('#!/bin/bash\nif [[ $2 == 0 ]]; then exec "${0%/*}/take" "$@"; fi\nexec "${0%/*}/merge" "$@"\n')
    for name, text in (("take", SNAPSHOT), ("merge", COMMIT)):
        (script.parent / name).write_text(text)
        (script.parent / name).chmod(0o755)
    spec = for_contract("7.4")
    driver = find_driver([remotes], datastore="fs", tm="shared")
    writer = Writer(tmp_path / "history.jsonl")
    trace = parse_trace(TRACE, Path("live.jsonl"), spec.spec)
    subject = Subjected(driver.archive(spec.version), "fs", "shared", "shared")
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        run = CaseRun(spec, subject, trace, world, writer, BlobStore(tmp_path / "blobs"))
        holder.append(run)
        run.run()
    writer.close()
    return list(read(tmp_path / "history.jsonl", Record))


def test_a_running_guest_writes_to_the_active_layer(tmp_path: Path) -> None:
    """After a snapshot the guest's writes go to the new layer, after a commit to the disk again; every byte is found; virsh stands in the records."""
    records = played(tmp_path)
    calls = [one for one in records if isinstance(one, Call) and one.action == "snap_create_live"]
    assert [call.success for call in calls] == [True, True], [call.stderr.text for call in calls]
    assert [one.path.rpartition("/")[2] for one in records if isinstance(one, GuestWrite)] == ["disk.0", "disk.0.live", "disk.0"]
    assert all(one.failed == "" for one in records if isinstance(one, GuestWrite))
    disks = [one for one in records if isinstance(one, Observation) and one.subject == "disk"]
    assert [one.problem for one in disks] == [""] * len(disks) and {one.format for one in disks} == {"raw", "qcow2"}
    did = ("domblklist", "snapshot-create-as", "blockcommit")
    commands = [one for call in calls for one in call.commands if one.name == "virsh"]
    assert [(one.host, set(did) & set(one.argv)) for one in commands] == [("host01", {name}) for name in did]
    asked = [one for one in records if isinstance(one, Question) and one.kind == "virsh"]
    assert [(one.call, one.host, one.status) for one in asked] == [(n, "host01", 0) for n in (calls[0].n, calls[0].n, calls[1].n)]
    assert [one.outcome for one in records if isinstance(one, CaseEnd)] == ["completed"]


def _as_root(side: Simulated, *words: str) -> Said:
    return side.run(["virsh", *words], root=True)


def test_an_ordinary_user_without_a_connection_sees_a_daemon_of_its_own(host: Simulated) -> None:
    """As with the real one: root's default is the system's daemon, anybody else's is that of the session, which knows of no pool."""
    assert _as_root(host, "pool-define-as", "images", "dir", "--target", f"{PLACE}/images").status == 0
    world = host.world
    env = {"PATH": "/usr/bin:/bin"}
    assert world.run("host01", ["/usr/bin/virsh", "-q", "pool-list", "--all"], env=env).stdout == b""
    assert b"images" in world.run("host01", ["/usr/bin/virsh", "-c", "qemu:///system", "pool-list", "--all"], env=env).stdout
    assert b"images" in world.run("host02", ["/usr/bin/virsh", "-c", "qemu+ssh://host01/system", "pool-list", "--all"], env=env).stdout
    assert world.run("host02", ["/usr/bin/virsh", "-c", "qemu:///system", "pool-info", "images"], env=env).status == 1


def test_files_named_on_the_command_line_are_read_as_the_command_may(host: Simulated) -> None:
    """A document comes from stdin, from a substituted process that itself asks virsh, or from a path; what the user may not read, virsh does not read for it."""
    text = f"<pool type='dir'><name>%s</name><target><path>{PLACE}/%s</path></target></pool>"
    host.put(f"{PLACE}/a.xml", (text % ("a", "a")).encode())
    host.put(f"{PLACE}/b.xml", (text % ("b", "b")).encode())
    substituted = "virsh pool-define <(virsh pool-dumpxml a | sed 's/>a</>c</; s,lv/a,lv/c,; /uuid/d')"
    said = host.run(["bash", "-c", f"virsh pool-define a.xml; virsh pool-define /dev/stdin < b.xml; {substituted}"])
    assert said.status == 0 and said.out.count("defined from") == 3, said
    host.world.must_run("host01", ["/bin/bash", "-c", f"install -m 000 /dev/null {PLACE}/hidden.xml"])
    assert host.run(["virsh", "pool-define", "hidden.xml"]) == Said("\n", "error: Failed to open file 'hidden.xml': Permission denied\n", 1)


def test_volumes_belong_to_root_unless_their_document_says_otherwise(host: Simulated) -> None:
    """A driver that runs as oneadmin cannot read a volume that it has not asked to be its own, as on a real node."""
    assert _as_root(host, "pool-create-as", "images", "dir", "--target", f"{PLACE}/images", "--build").status == 0
    assert _as_root(host, "vol-create-as", "images", "theirs", "1M").status == 0
    permissions = "<permissions><owner>9869</owner><group>9869</group><mode>0640</mode></permissions>"
    host.put(f"{PLACE}/mine.xml", f"<volume><name>mine</name><capacity>1048576</capacity><target>{permissions}</target></volume>".encode())
    assert host.run(["virsh", "vol-create", "images", "mine.xml"]).status == 0
    assert host.run(["cat", f"{PLACE}/images/theirs"]).status == 1
    assert host.run(["cat", f"{PLACE}/images/mine"]).status == 0


@pytest.mark.parametrize(
    ("define", "path", "carries"),
    [
        (["vg", "logical", "--source-name", "vg", "--target", "/dev/vg"], "/dev/vg/v1", True),
        (["pool", "rbd", "--source-name", "one", "--source-host", "mon"], "one/v1", False),
    ],
)
def test_pools_without_files_are_a_model_that_all_hosts_share(host: Simulated, define: list[str], path: str, carries: bool) -> None:
    """Another host's daemon finds a logical volume and an RBD image after a refresh; uploads and downloads carry bytes where libvirt has them for the type."""
    name = define[0]
    for command in (["pool-define-as", *define], ["pool-start", name], ["vol-create-as", name, "v1", "1M"]):
        assert _as_root(host, *command).status == 0, _as_root(host, *command)
    assert _as_root(host, "vol-path", "v1", "--pool", name).out == f"{path}\n\n"
    host.put(f"{PLACE}/bytes", b"hello" * 100)
    uploaded = host.run(["virsh", "vol-upload", "v1", "bytes", "--pool", name])
    assert uploaded.status == 0 or "storage pool doesn't support volume upload" in uploaded.err
    assert host.run(["virsh", "vol-clone", "v1", "v2", "--pool", name]).status == 0
    downloaded = host.run(["virsh", "vol-download", "v2", "copy", "--pool", name, "--length", "500"])
    assert (uploaded.status == 0, downloaded.status == 0) == (carries, carries)
    assert not carries or host.run(["cat", f"{PLACE}/copy"]).out == "hello" * 100
    other = ["/usr/bin/virsh", "-c", "qemu+ssh://host02/system"]
    for command in (["pool-define-as", *define], ["pool-start", name]):
        assert host.world.run("host01", [*other, *command]).status == 0
    assert b" v2" in host.world.run("host01", [*other, "vol-list", name]).stdout
    assert _as_root(host, "vol-delete", "v1", "--pool", name).status == 0
    assert host.world.run("host01", [*other, "pool-refresh", name]).status == 0
    assert host.world.run("host01", [*other, "vol-info", "v1", "--pool", name]).status == 1


@pytest.mark.parametrize(
    ("define", "command", "why"),
    [
        (["m", "mpath", "--target", "/dev/mapper"], ["vol-create-as", "m", "v", "1M"], "storage pool does not support volume creation"),
        (
            ["i", "iscsi-direct", "--source-host", "h", "--source-dev", "iqn", "--source-initiator", "iqn.i"],
            ["vol-create-as", "i", "v", "1M"],
            "storage pool does not support",
        ),
        (["vg", "logical", "--source-name", "vg", "--target", "/dev/vg"], ["vol-create-as", "vg", "v", "100T"], "Not enough free space in pool"),
    ],
)
def test_pools_refuse_what_their_type_cannot_do(host: Simulated, define: list[str], command: list[str], why: str) -> None:
    """What libvirt does with a type of pool stands in spec/libvirt.toml; the rest is refused in its words."""
    assert _as_root(host, "pool-define-as", *define).status == 0, _as_root(host, "pool-define-as", *define)
    assert _as_root(host, "pool-start", define[0]).status == 0
    said = _as_root(host, *command)
    assert said.status == 1 and why in said.err, said


def test_what_the_model_does_not_carry_out_is_said(host: Simulated) -> None:
    """A command of virsh that the model lacks fails in words of its own, other than one that virsh does not know."""
    assert host.run(["virsh", "domstats"]) == Said("", "error: the simulated virsh does not carry out 'domstats'\n", 1)
    assert host.run(["virsh", "nonsense"]) == Said("", "error: unknown command: 'nonsense'\n", 1)


def test_a_guest_that_is_not_written_to_keeps_its_bytes_through_a_snapshot_that_fails(host: Simulated) -> None:
    """A snapshot of two disks of which one cannot be made makes none, and leaves no file behind."""
    disks = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{PLACE}/disk.{n}'/><target dev='vd{letter}' bus='virtio'/></disk>"
        for n, letter in enumerate("ab")
    )
    host.put(f"{PLACE}/one.xml", f"<domain type='kvm'><name>one-1</name><devices>{disks}</devices></domain>".encode())
    for n in range(2):
        host.world.make_disk("host01", f"{PLACE}/disk.{n}", "qcow2", 1 << 20, [Write(0, 4096, n + 1)])
    assert host.run(["virsh", "create", "one.xml"]).status == 0
    said = host.run(
        ["virsh", "snapshot-create-as", "one-1", "s", "--disk-only", "--diskspec", f"vda,file={PLACE}/a", "--diskspec", "vdb,file=/nowhere/b"]
    )
    assert said == Said("\n", "error: failed to create image file '/nowhere/b': No such file or directory\n", 1)
    assert not host.world.exists("host01", f"{PLACE}/a")
    assert [disk.active.path for disk in host.domain("one-1").disks] == [f"{PLACE}/disk.0", f"{PLACE}/disk.1"]
