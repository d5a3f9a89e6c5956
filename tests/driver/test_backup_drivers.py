"""The backup drivers at work: real tar, rsync, restic and qemu-img; hosts are reached by a fake `ssh`, oned answers by fake commands and a small server."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape
from xmlrpc.server import SimpleXMLRPCServer

import pytest

if TYPE_CHECKING:
    from tests.driver.conftest import Ended, FrontEnd

# options may follow the host, as restic writes them; sftp is spoken by the server that sshd would start
_SSH = """#!/bin/bash
host="" words=() sftp=""
while (($#)); do
    case ${words[0]:+command}$1 in
        command*) words+=("$1") ;;
        -o | -l) shift ;;
        -s) sftp=yes ;;
        -n) exec </dev/null ;;
        -*) ;;
        *) if [[ -z $host ]]; then host=$1; else words+=("$1"); fi ;;
    esac
    shift
done
[[ ${host#*@} != down ]] || { echo "ssh: connect to host down port 22: No route to host" >&2; exit 255; }
[[ -z $sftp ]] || exec /usr/lib/openssh/sftp-server
exec bash -c "${words[*]}"
"""
_ATTRIBUTES = {
    "backup": "<BACKUP_HOST>store</BACKUP_HOST>",
    "rsync": "<RSYNC_HOST>store</RSYNC_HOST><RSYNC_USER>oneadmin</RSYNC_USER>",
    "restic": "<RESTIC_SFTP_SERVER>store</RESTIC_SFTP_SERVER><RESTIC_PASSWORD>it's $(secret)</RESTIC_PASSWORD>",
}
_NEEDS = {"backup": "tar", "rsync": "rsync", "restic": "restic"}


class Store:
    """A backup datastore of one driver, and VM 7 whose disks are backed up into it: disk 0 qcow2, disk 1 raw."""

    def __init__(self, fe: FrontEnd, driver: str) -> None:
        self.fe, self.driver = fe, driver
        self.base = fe.root / "datastores/101"
        self.vm = fe.datastore(0) / "7"
        self.vm.mkdir()
        fe.qemu_img("create", "-q", "-f", "qcow2", self.vm / "disk.0", "8M")
        fe.qemu_img("create", "-q", "-f", "raw", self.vm / "disk.1", "4M")
        self.chain: list[tuple[int, str]] = []
        self.config = ""
        (fe.root / "bin/ssh").write_text(_SSH)
        self.command("onedatastore", f"[[ $* == \"show -x --decrypt 101\" ]] && cat <<'END'\n{self.datastore}\nEND\n")

    def command(self, name: str, text: str) -> None:
        """Put a fake command before all others."""
        (self.fe.root / "bin" / name).write_text(f"#!/bin/bash\n{text}")
        (self.fe.root / "bin" / name).chmod(0o755)

    @property
    def datastore(self) -> str:
        """The DATASTORE element."""
        base = f"<BASE_PATH><![CDATA[{self.fe.root}//datastores/101]]></BASE_PATH>"
        return f"<DATASTORE><ID>101</ID><DS_MAD>{self.driver}</DS_MAD>{base}<TEMPLATE>{_ATTRIBUTES[self.driver]}</TEMPLATE></DATASTORE>"

    @property
    def vm_document(self) -> str:
        """The VM element."""
        disks = "".join(
            f"<DISK><DISK_ID>{id}</DISK_ID><FORMAT>{form}</FORMAT><SIZE>{size}</SIZE><TARGET>vd{'ab'[id]}</TARGET></DISK>"
            for id, form, size in ((0, "qcow2", 8), (1, "raw", 4))
        )
        extra = '<CPU>1</CPU><NIC><NETWORK>lan "a"</NETWORK><IP>10.0.0.1</IP><BRIDGE>br0</BRIDGE></NIC><VMID>7</VMID>'
        return f"<VM><ID>7</ID><NAME>web</NAME><DEPLOY_ID>one-7</DEPLOY_ID><TEMPLATE>{extra}{disks}</TEMPLATE><BACKUPS>{self.config}</BACKUPS></VM>"

    @property
    def image(self) -> str:
        """The IMAGE element of the chain."""
        rows = "".join(f"<INCREMENT><ID>{id}</ID><SOURCE>{source}</SOURCE></INCREMENT>" for id, source in self.chain)
        return f"<IMAGE><ID>9</ID><SOURCE>{self.chain[0][1]}</SOURCE><VMS><ID>7</ID></VMS><BACKUP_INCREMENTS>{rows}</BACKUP_INCREMENTS></IMAGE>"

    def arguments(self, disks: str = "0:1", deploy_id: str = "one-7", vm: int = 7) -> list[str]:
        """The arguments of the three steps."""
        return [f"host:{self.vm.parent}/{vm}", disks, deploy_id, "-", str(vm), "0"]

    def prepare(self, disks: str = "0:1") -> Ended:
        """Run prebackup for the next increment of the chain."""
        last = self.chain[-1][0] if self.chain else -1
        self.config = f"<BACKUP_CONFIG><MODE>INCREMENT</MODE><LAST_INCREMENT_ID>{last}</LAST_INCREMENT_ID></BACKUP_CONFIG>"
        return self.fe.run("tm/shared/prebackup", *self.arguments(disks), stdin=self.vm_document.encode())

    def backed_up(self) -> None:
        """Make one more increment."""
        assert self.prepare().quiet
        document = f"<DS_DRIVER_ACTION_DATA>\n {self.datastore}\n {self.vm_document}</DS_DRIVER_ACTION_DATA>"
        ended = self.fe.run(f"datastore/{self.driver}/backup", *self.arguments(), stdin=document.encode())
        assert ended.status == 0, ended.stderr
        found = re.fullmatch(r"([0-9a-z-]+) ([1-9][0-9]*) raw\n", ended.stdout)
        assert found, ended.stdout
        self.chain.append((self.chain[-1][0] + 1 if self.chain else 0, found[1]))
        assert self.fe.run("tm/shared/postbackup", *self.arguments(), stdin=self.vm_document.encode()).quiet
        assert not (self.vm / "backup").exists()

    def write(self, disk: int, offset: str, byte: int) -> None:
        """Write 64 KiB to a disk as a guest."""
        form = ("qcow2", "raw")[disk]
        subprocess.run(["qemu-io", "-f", form, "-c", f"write -P {byte} {offset} 64k", self.vm / f"disk.{disk}"], check=True, capture_output=True)

    def content(self, disk: int) -> bytes:
        """What a disk holds now."""
        plain = self.fe.root / "plain"
        self.fe.qemu_img("convert", "-O", "raw", "-f", ("qcow2", "raw")[disk], self.vm / f"disk.{disk}", plain)
        return plain.read_bytes()

    def listed(self, increment: int) -> dict[str, str]:
        """What `ls` tells of an increment."""
        document = f"<DS_DRIVER_ACTION_DATA>{self.datastore}{self.vm_document}{self.image}</DS_DRIVER_ACTION_DATA>"
        ended = self.fe.run(f"datastore/{self.driver}/ls", "-i", str(increment), stdin=document.encode())
        assert ended.status == 0, ended.stderr
        told: dict[str, str] = json.loads(ended.stdout)
        return told

    def fetched(self, increment: int) -> list[bytes]:
        """The disks of an increment, as the downloader brings them."""
        contents = []
        for disk, url in sorted(self.listed(increment).items()):
            file, plain = self.fe.root / f"fetched.{disk}", self.fe.root / "plain"
            ended = self.fe.run("datastore/downloader.sh", "--nodecomp", url, str(file))
            assert ended.status == 0, ended.stderr
            self.fe.qemu_img("convert", "-f", "qcow2", "-O", "raw", file, plain)
            assert "backing" not in self.fe.qemu_img("info", "-f", "qcow2", file)
            contents.append(plain.read_bytes())
        return contents

    def action(self, name: str, *children: str) -> Ended:
        """Run an action that takes the driver action document."""
        document = f"<DS_DRIVER_ACTION_DATA>{''.join(children)}</DS_DRIVER_ACTION_DATA>"
        return self.fe.run(f"datastore/{self.driver}/{name}", "9", stdin=base64.b64encode(document.encode()))

    def files(self) -> list[Path]:
        """The files of the store."""
        return [one for one in self.base.rglob("*") if one.is_file()]


@pytest.fixture(params=["backup", "rsync", "restic"])
def store(fe: FrontEnd, request: pytest.FixtureRequest) -> Store:
    """A store of each driver."""
    if shutil.which(_NEEDS[request.param]) is None:
        pytest.skip(f"{_NEEDS[request.param]} is not installed")
    return Store(fe, request.param)


@pytest.fixture
def plain(fe: FrontEnd) -> Store:
    """A store of the plain driver."""
    return Store(fe, "backup")


@pytest.mark.turns(4)
def test_chains_come_back(store: Store) -> None:
    """Every increment comes back as the disks were, also zeros that were written over data, before increments are merged and after; then all goes."""
    states = []
    for writes in ([(0, "1M", 3), (1, "0", 4)], [(0, "2M", 5), (0, "1M", 0)], [(1, "3M", 6)], [(0, "7M", 7)]):
        for disk, offset, byte in writes:
            store.write(disk, offset, byte)
        store.backed_up()
        states.append([store.content(0), store.content(1)])
    assert [store.fetched(id) for id in range(4)] == states
    assert store.fetched(-1) == states[-1]
    ended = store.action("increment_flatten", store.image, store.datastore, "<EXTRA_DATA><KEEP_LAST>2</KEEP_LAST></EXTRA_DATA>")
    size, told = ended.stdout.split()
    gone = [source for _, source in store.chain[:3]]
    store.chain = [(int(id), source) for id, _, source in (pair.partition(":") for pair in told.split(","))]
    assert int(size) > 0
    assert [id for id, _ in store.chain] == [2, 3]
    assert store.chain[0][1] not in gone
    assert [store.fetched(id) for id in (2, 3)] == states[2:]
    again = store.action("increment_flatten", store.image, store.datastore, "<EXTRA_DATA><KEEP_LAST>2</KEEP_LAST></EXTRA_DATA>")
    assert again.quiet
    for _ in range(2):
        assert store.action("rm", store.image, store.datastore).quiet
    left = " ".join(map(str, store.files()))
    assert not any(source in left for _, source in store.chain)
    assert re.fullmatch(r"USED_MB=\d+\nTOTAL_MB=\d+\nFREE_MB=\d+\n", store.action("monitor", store.datastore).stdout)


def test_a_disk_is_found_by_its_url(store: Store) -> None:
    """The addresses are those of the protocol, the size is that of the disk, and what the backup does not hold is refused."""
    store.backed_up()
    urls = store.listed(-1)
    name = store.chain[0][1]
    path = f"{store.vm}/backup" if store.driver == "restic" else f"{store.base}/7/{name}"
    protocol = "restic" if store.driver == "restic" else "rsync"
    assert urls == {str(disk): f"{protocol}://101//0:{name}{path}/disk.{disk}.0" for disk in (0, 1)}
    assert store.action("stat", f"<IMAGE><PATH>{urls['0']}</PATH></IMAGE>", store.datastore).stdout == "8\n"
    (store.fe.root / "remotes/VERSION").write_text("6.6.3\n")
    assert store.listed(0)["1"].startswith(f"{protocol}://101/0:{name}/")
    document = f"<DS_DRIVER_ACTION_DATA>{store.datastore}{store.vm_document}{store.image}</DS_DRIVER_ACTION_DATA>"
    store.fe.run(f"datastore/{store.driver}/ls", "-i", "5", stdin=document.encode()).refused("no increment 5")
    store.fe.run("datastore/downloader.sh", urls["0"].replace("disk.0.0", "disk.4.0"), str(store.fe.root / "x")).refused("disk.4.0")
    assert not (store.fe.root / "x").exists()


def test_what_is_sent_is_all_or_nothing(store: Store) -> None:
    """A store that does not answer, a folder that is not there, a tool that fails: one line, and nothing is left in the store."""
    assert store.prepare().quiet
    document = f"<DS_DRIVER_ACTION_DATA>{store.datastore}</DS_DRIVER_ACTION_DATA>".encode()
    down = document.replace(b">store<", b">down<")
    store.fe.run(f"datastore/{store.driver}/backup", *store.arguments(), stdin=down).refused(
        "VM 7", "down" if store.driver == "restic" else "No route to host"
    )
    store.command(_NEEDS[store.driver], "echo broken >&2; exit 3")
    store.fe.run(f"datastore/{store.driver}/backup", *store.arguments(), stdin=document).refused("VM 7", "broken")
    (store.fe.root / "bin" / _NEEDS[store.driver]).unlink()
    shutil.rmtree(store.vm / "backup")
    store.fe.run(f"datastore/{store.driver}/backup", *store.arguments(), stdin=document).refused("no backup in")
    assert [one for one in store.files() if "7" in one.parts] == []


def processes(word: str) -> list[int]:
    """The processes with a word in their environment."""
    found = []
    for one in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word.encode() in one.read_bytes().split(b"\0"):
                found.append(int(one.parts[2]))
        except OSError:
            continue
    return found


def test_cancel_ends_one_backup_alone(plain: Store) -> None:
    """backup_cancel ends the backup of its VM with all that it has started, on the far side too, and no other VM's; nothing is left of it in the store."""
    other = plain.vm.parent / "77"
    (other / "backup").mkdir(parents=True)
    (other / "backup/vm.xml").write_text("x")
    assert plain.prepare().quiet
    plain.command("tar", 'for word; do [[ $word != -cS ]] || sleep 60; done; exec /bin/tar "$@"\n')
    document = f"<DS_DRIVER_ACTION_DATA>{plain.datastore}</DS_DRIVER_ACTION_DATA>".encode()
    running = {}
    for vm in (7, 77):
        environment = {**plain.fe.environment, "RUN": str(vm)}
        command = [plain.fe.root / "remotes/datastore/backup/backup", *plain.arguments(deploy_id=f"one-{vm}", vm=vm)]
        running[vm] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        stdin = running[vm].stdin
        assert stdin is not None
        stdin.write(document)
        stdin.close()
    until = time.monotonic() + 20
    while not all((plain.base / str(vm)).is_dir() for vm in running) and time.monotonic() < until:
        time.sleep(0.05)
    assert plain.fe.run("datastore/backup/backup_cancel", plain.arguments()[0], "one-7", stdin=plain.vm_document.encode()).quiet
    assert running[7].wait(20) == 1
    assert running[7].stderr is not None
    assert running[7].stderr.read() == b"The backup was cancelled\n"
    assert processes("RUN=7") == []
    assert not (plain.base / "7").exists()
    assert running[77].poll() is None
    # killed outright, a backup leaves nothing that runs either
    running[77].kill()
    running[77].wait()
    until = time.monotonic() + 20
    while processes("RUN=77") and time.monotonic() < until:
        time.sleep(0.05)
    assert processes("RUN=77") == []
    assert plain.fe.run("datastore/backup/backup_cancel", plain.arguments()[0], "one-7").quiet


class Oned:
    """A small oned that keeps what it is asked for; it refuses objects beyond `room`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.room = 9

    def _dispatch(self, method: str, parameters: tuple[Any, ...]) -> list[Any]:
        self.asked.append((method, *parameters))
        made = sum(one[0].endswith("allocate") for one in self.asked)
        if method.endswith("allocate") and made > self.room:
            return [False, f"[{method}] <no> room & no quota", 2048]
        return [True, 40 + made, 0]


@pytest.fixture
def oned(plain: Store) -> Iterator[Oned]:
    """The small oned, at the endpoint that the front-end names."""
    server = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    served = Oned()
    server.register_instance(served)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    home = plain.fe.root / "home/.one"
    home.mkdir()
    (home / "one_endpoint").write_text(f"http://127.0.0.1:{server.server_address[1]}/RPC2\n")
    (home / "one_auth").write_text("oneadmin:a&b<c>\n")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def restore(store: Store, **wanted: str) -> Ended:
    """Run `restore` with these words in TEMPLATE."""
    template = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in wanted.items())
    return store.action("restore", store.image, store.datastore, f"<DESTINATION_DS_ID>1</DESTINATION_DS_ID><TEMPLATE>{template}</TEMPLATE>")


def test_restore_asks_oned_for_images_and_a_template(plain: Store, oned: Oned) -> None:
    """Images of the disks, and a template of the VM without what belongs to the old one, in the name of the user who asked."""
    plain.backed_up()
    plain.command("oneuser", '[[ $* == "show -x ann" ]] && echo "<USER><ID>5</ID><GID>1</GID></USER>"\n')
    ended = restore(plain, NAME='back "up"', NO_IP="YES", USERNAME="ann")
    assert (ended.status, ended.stdout) == (0, "43 41 42\n"), ended.stderr
    url = plain.listed(0)["0"]
    assert oned.asked[0] == (
        "one.image.allocate",
        "oneadmin:a&b<c>",
        f'NAME="back \\"up\\", disk 0" TYPE=OS PATH="{url}" FROM_BACKUP_DS=101',
        1,
        False,
    )
    assert oned.asked[1] == ("one.image.chown", "oneadmin:a&b<c>", 41, 5, 1)
    assert [one[0] for one in oned.asked[4:]] == ["one.template.allocate", "one.template.chown"]
    template = oned.asked[4][2]
    assert template.startswith('NAME="back \\"up\\"" DISK=[IMAGE_ID="41"] DISK=[IMAGE_ID="42"] ')
    assert template.split(" ", 4)[4].splitlines() == ['CPU="1"', 'NIC=[NETWORK="lan \\"a\\""]']


def test_restore_of_one_disk_makes_no_template(plain: Store, oned: Oned) -> None:
    """One disk of one increment is an image alone; what the backup lacks is refused before anything is made."""
    plain.backed_up()
    plain.backed_up()
    assert restore(plain, DISK_ID="1", INCREMENT_ID="0", USERNAME="oneadmin").stdout == "-1 41\n"
    assert [one[0] for one in oned.asked] == ["one.image.allocate"]
    assert f"0:{plain.chain[0][1]}/" in oned.asked[0][2]
    restore(plain, DISK_ID="4").refused("disk 4")
    restore(plain, INCREMENT_ID="7").refused("increment 7")
    assert len(oned.asked) == 1


def test_restore_says_what_is_made_already(plain: Store, oned: Oned) -> None:
    """Where oned refuses, the text is oned's, and names the images that are there."""
    plain.backed_up()
    oned.room = 1
    restore(plain).refused("disk 1", "<no> room & no quota", "images made so far: 41")
    (plain.fe.root / "home/.one/one_endpoint").write_text("http://127.0.0.1:9/RPC2\n")
    restore(plain).refused("oned does not answer", "images made so far: none")


def test_arguments_of_every_release(plain: Store) -> None:
    """Five arguments or six, a list with a colon at its end or none at all; and a base path of the site's own."""
    library = plain.fe.root / "remotes/backup_common.sh"
    told = 'echo "$host $directory $vm_id ${disks[*]} $folder"'
    vm = str(plain.vm)

    def taken(*arguments: str) -> str:
        script = f'set -euo pipefail; source {library}; backup_arguments "$@"; {told}'
        return subprocess.run(["bash", "-c", script, "/x/y", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    for rest in (["0:2:", "one-7", "7", "0"], ["0:2", "one-7", "-", "7", "0"], ["0:2", "one-7", "3", "7", "0"]):
        assert taken(f"h:{vm}", *rest) == f"h {vm} 7 0 2 {vm}/backup"
    assert taken(f"h:{vm}", "one-7", "-", "7", "0") == f"h {vm} 7  {vm}/backup"
    conf = plain.fe.root / "remotes/etc/datastore/datastore.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('# BACKUP_BASE_PATH=/no\nBACKUP_BASE_PATH="/var/lib/one/back ups/"  # here\n')
    assert taken(f"h:{vm}", "0", "one-7", "-", "7", "0") == f"h {vm} 7 0 /var/lib/one/back ups/7/backup"


def test_prebackup_tells_the_truth(plain: Store) -> None:
    """A disk that cannot be read, a list with a disk that the VM has not: prebackup fails and leaves no folder; postbackup has no objection."""
    (plain.vm / "disk.0").write_bytes(b"no qcow2")
    ended = plain.prepare()
    ended.refused("disks of VM 7")
    assert not (plain.vm / "backup").exists()
    assert plain.fe.run("tm/shared/postbackup_live", *plain.arguments(), stdin=b"<VM/>").quiet
    assert plain.fe.run("tm/shared/postbackup", "down:" + str(plain.vm), "0", "one-7", "-", "7", "0").status == 0
    plain.fe.run("tm/shared/prebackup", f"host:{plain.vm}", "0", "one-7", "-", "8", "0", stdin=plain.vm_document.encode()).refused("VM '8'")


def test_a_lost_bitmap_makes_a_whole_copy(plain: Store) -> None:
    """A disk without the bitmap of the last increment, such as one that was put back, goes whole into the next one."""
    plain.write(0, "1M", 1)
    plain.backed_up()
    plain.fe.qemu_img("bitmap", "--remove", "-f", "qcow2", plain.vm / "disk.0", "one-7-0")
    plain.write(0, "2M", 2)
    plain.backed_up()
    shutil.rmtree(plain.base / "7" / plain.chain[0][1])
    assert plain.fetched(1) == [plain.content(0), plain.content(1)]


def test_a_backup_that_did_not_arrive_is_made_up_for(plain: Store) -> None:
    """Where a backup failed after prebackup, the next increment has what both have changed."""
    plain.backed_up()
    plain.write(0, "1M", 1)
    assert plain.prepare().quiet
    plain.write(0, "2M", 2)
    plain.backed_up()
    assert plain.fetched(1) == [plain.content(0), plain.content(1)]


def test_disks_are_put_back(plain: Store) -> None:
    """restore replaces what is asked for: one disk or all, the image behind a link, never another disk; and it fails before it has replaced any."""
    image = plain.fe.datastore(1) / "image"
    (plain.vm / "disk.1").rename(image)
    (plain.vm / "disk.1").symlink_to(image)
    plain.write(0, "1M", 1)
    plain.write(1, "1M", 1)
    plain.backed_up()
    held = [plain.content(0), plain.content(1)]
    plain.write(0, "2M", 2)
    plain.write(1, "2M", 2)
    changed = [plain.content(0), plain.content(1)]
    for name, document in (
        ("oneimage", plain.image.replace("<ID>9</ID>", "<ID>9</ID><DATASTORE_ID>101</DATASTORE_ID>")),
        ("onevm", plain.vm_document),
    ):
        plain.command(name, f"cat <<'END'\n{document}\nEND\n")
    arguments = [f"host:{plain.vm}", "7", "9", "-1"]
    plain.fe.run("tm/shared/restore", *arguments, "4").refused("disk 4")
    (plain.base / "7" / plain.chain[0][1] / "disk.1.0").rename(plain.fe.root / "away")
    plain.fe.run("tm/shared/restore", *arguments, "1").refused("disk 1")
    assert [plain.content(0), plain.content(1)] == changed
    (plain.fe.root / "away").rename(plain.base / "7" / plain.chain[0][1] / "disk.1.0")
    assert plain.fe.run("tm/shared/restore", *arguments, "1").quiet
    assert [plain.content(0), plain.content(1)] == [changed[0], held[1]]
    assert plain.fe.run("tm/shared/restore", *arguments, "-1").quiet
    assert [plain.content(0), plain.content(1)] == held
    assert (plain.vm / "disk.1").is_symlink()
    assert {one.name for one in plain.vm.iterdir()} == {"disk.0", "disk.1"}
    assert [one.name for one in image.parent.iterdir()] == ["image"]


def test_restic_waits_for_its_turn(fe: FrontEnd) -> None:
    """A repository that somebody has locked for himself is waited for; a lock whose owner is dead goes."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    store = Store(fe, "restic")
    store.backed_up()
    environment = {**fe.environment, "RESTIC_PASSWORD": "it's $(secret)"}
    # prune has the repository for itself; killed in the middle, it leaves its lock
    command = ["restic", "--no-cache", "-r", str(store.base), "forget", "--prune", "--keep-last", "9"]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not list((store.base / "locks").iterdir()) and time.monotonic() < until and holder.poll() is None:
        time.sleep(0.005)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert store.action("rm", store.image, store.datastore).quiet
    assert not list((store.base / "snapshots").iterdir())


def test_fault_of_xmlrpc_is_a_refusal(plain: Store, oned: Oned) -> None:
    """An answer that is no answer of oned's fails the action with one line."""
    plain.backed_up()

    def broken(method: str, parameters: tuple[Any, ...]) -> list[Any]:
        raise xmlrpc.client.Fault(-503, "broken")

    oned._dispatch = broken  # type: ignore[method-assign]
    restore(plain).refused("Cannot make an image of disk 0")
