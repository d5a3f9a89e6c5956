"""The datastore driver at work on a scratch front-end: real files, real images, the outputs and refusals of every action."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.driver.conftest import FrontEnd

MIB = 1 << 20


@pytest.mark.parametrize("version", ["5.12.13", "6.0.3", "6.4.2", "7.4.0"])
def test_outputs_follow_the_version(fe: FrontEnd, version: str) -> None:
    """cp, clone and mkfs print exactly the words that this OpenNebula takes."""
    fe.version(version)
    path = fe.file("a", b"x" * MIB)
    words = {action: fe.image(action, f"<PATH>{path}</PATH><SIZE>1</SIZE><FORMAT>raw</FORMAT>").stdout.split() for action in ("cp", "clone", "mkfs")}
    assert {action: word[1:] for action, word in words.items()} == {
        "cp": [] if version == "5.12.13" else ["raw"],
        "clone": ["raw"] if version in ("6.4.2", "7.4.0") else [],
        "mkfs": [],
    }
    assert {word[0] for word in words.values()} == {str(fe.datastore(1) / name) for name in fe.stored()}


def test_every_generation_of_passing(fe: FrontEnd) -> None:
    """The document is an argument, standard input, or standard input announced by a dash."""
    document = fe.document(f"<PATH>{fe.file('a', b'x' * (MIB + 1))}</PATH>")
    for arguments, stdin in (((document.decode(), "9"), b""), (("9",), document), (("-", "9"), document)):
        assert fe.run("datastore/fs/stat", *arguments, stdin=stdin).stdout == "2\n"
    fe.run("datastore/fs/monitor", "9", stdin=document[:-40]).refused("cannot be read")


def test_cp_takes_names_literally(fe: FrontEnd) -> None:
    """Blanks, quotes and shell metacharacters in PATH are characters."""
    path = fe.file('it\'s a $(touch pwned) `x` "f"; a&b é', b"content")
    path.chmod(0o440)
    source = fe.registered(path)
    assert (source.read_bytes(), source.stat().st_mode & 0o777) == (b"content", 0o660)
    assert not list(fe.root.rglob("pwned"))


@pytest.mark.parametrize(
    ("where", "template", "taken"),
    [
        ("user", "", True),
        ("home", "", False),
        ("one", "", False),
        ("home", "<SAFE_DIRS>/x {home}</SAFE_DIRS>", True),
        ("user", "<RESTRICTED_DIRS>/</RESTRICTED_DIRS><SAFE_DIRS>/x</SAFE_DIRS>", False),
        ("user", "<RESTRICTED_DIRS>/</RESTRICTED_DIRS><SAFE_DIRS>{user}</SAFE_DIRS>", True),
        ("user", "<SAFE_DIRS>{user}x</SAFE_DIRS><RESTRICTED_DIRS>{user}</RESTRICTED_DIRS>", False),
    ],
)
def test_cp_refuses_restricted_directories(fe: FrontEnd, where: str, template: str, taken: bool) -> None:
    """What counts is where a file really lies; safe directories win."""
    (fe.root / where / "a").write_bytes(b"x")
    link = fe.root / "datastores" / "link"
    link.symlink_to(fe.root / where / "a")
    ended = fe.image("cp", f"<PATH>{link}</PATH>", template.format(home=fe.root / "home", user=fe.root / "user"))
    if taken:
        assert ended.status == 0
    else:
        ended.refused("restricted", str(link))
        assert fe.stored() == set()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("-f qcow2 -F raw -b {base} {image}", "backing file"),
        ("-f qcow2 -o data_file={base}2 {image} 1M", "another file"),
        ("-f vmdk {image} 1M", "vmdk"),
    ],
)
def test_cp_refuses_images_that_open_other_files(fe: FrontEnd, options: str, why: str) -> None:
    """An image that leads to other files of the front-end is not taken, and nothing of it stays."""
    base, image = fe.file("base", bytes(MIB)), fe.root / "user" / "x"
    fe.qemu_img("create", "-q", *options.format(base=base, image=image).split())
    for action in ("cp", "stat"):
        fe.image(action, f"<PATH>{image}</PATH>").refused(why)
    assert fe.stored() == set()


@pytest.mark.parametrize("path", ["/nowhere/x", "json:{}", "relative", "ssh://h/x", ""])
def test_paths_that_cannot_be_taken(fe: FrontEnd, path: str) -> None:
    """cp and stat fail with one line for what is not there or not understood."""
    fe.image("cp", f"<PATH>{path}</PATH>").refused(path)
    fe.image("stat", f"<PATH>{path}</PATH>").refused(path)


def test_cp_stopped_by_a_signal_leaves_nothing(fe: FrontEnd) -> None:
    """SIGTERM, which one_datastore sends at a time-out, leaves no part of an image behind."""
    (fe.root / "bin" / "cp").write_text('#!/bin/bash\nprintf part >"${@: -1}"\nsleep 30\n')
    (fe.root / "bin" / "cp").chmod(0o755)
    document = fe.document(f"<PATH>{fe.file('a', b'x')}</PATH>")
    process = subprocess.Popen([fe.root / "remotes/datastore/fs/cp", "5"], stdin=subprocess.PIPE, env=dict(fe.environment), start_new_session=True)
    assert process.stdin is not None
    process.stdin.write(document)
    process.stdin.close()
    end = time.monotonic() + 10
    while not fe.stored() and time.monotonic() < end:
        time.sleep(0.01)
    assert fe.stored()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(10) != 0
    assert fe.stored() == set()


@pytest.mark.parametrize(
    ("wanted", "format", "start"),
    [
        ("<FORMAT>raw</FORMAT>", "raw", bytes(1024)),
        ("<FORMAT>qcow2</FORMAT>", "qcow2", bytes(1024)),
        ("<FORMAT/><TEMPLATE><DRIVER>qcow2</DRIVER></TEMPLATE>", "qcow2", bytes(1024)),
        ("<FSTYPE>qcow2</FSTYPE>", "qcow2", bytes(1024)),
        ("<FORMAT>qcow2</FORMAT><FS>swap</FS>", "qcow2", b"SWAPSPACE2"),
        ("<FORMAT>raw</FORMAT><FS>ext4</FS>", "raw", b"\x53\xef"),
    ],
)
def test_mkfs_makes_what_is_asked(fe: FrontEnd, wanted: str, format: str, start: bytes) -> None:
    """The size, the format and the file system are those asked; every contract's way to ask is understood."""
    ended = fe.image("mkfs", f"<SIZE>5</SIZE>{wanted}")
    raw = fe.root / "raw"
    fe.qemu_img("convert", "-f", format, "-O", "raw", ended.stdout.strip(), raw)
    at = {b"SWAPSPACE2": 4086, b"\x53\xef": 1080}.get(start, 0)
    content = raw.read_bytes()
    assert (len(content), content[at : at + len(start)]) == (5 * MIB, start)
    assert len(fe.stored()) == 1


def test_mkfs_of_a_disk_to_be_saved(fe: FrontEnd) -> None:
    """For save_as a SOURCE is named and nothing is made."""
    ended = fe.image("mkfs", "<SIZE>5</SIZE><FORMAT>save_as</FORMAT>")
    assert Path(ended.stdout.strip()).parent == fe.datastore(1)
    assert fe.stored() == set()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("<SIZE>0</SIZE>", "'0'"),
        ("<SIZE>1</SIZE><FORMAT>vmdk</FORMAT>", "vmdk"),
        ("<SIZE>1</SIZE><FS>../x</FS>", "../x"),
        ("<SIZE>1</SIZE><FS>none</FS>", "mkfs.none"),
    ],
)
def test_mkfs_refuses(fe: FrontEnd, asked: str, why: str) -> None:
    """What cannot be made is refused with its reason, and leaves nothing."""
    fe.image("mkfs", asked).refused(why)
    assert fe.stored() == set()


def test_rm_takes_all_of_one_image_only(fe: FrontEnd) -> None:
    """An image goes with its snapshots and sum; the neighbour stays; a second time is success."""
    for name in ("a", "a.md5sum", "ab"):
        (fe.datastore(1) / name).write_text("x")
    (fe.datastore(1) / "a.snap").mkdir()
    for _ in range(2):
        assert fe.image("rm", f"<SOURCE>{fe.datastore(1)}//a</SOURCE>").quiet
        assert fe.stored() == {"ab"}


@pytest.mark.parametrize("source", ["/etc/hostname", "", "{ds}", "{ds}/", "{ds}/..", "{ds}/../1/a", "{ds}/sub/a", "{ds}x/a"])
def test_rm_stays_in_its_datastore(fe: FrontEnd, source: str) -> None:
    """A SOURCE that is no file directly in BASE_PATH is refused."""
    (fe.datastore(1) / "a").write_text("x")
    fe.image("rm", f"<SOURCE>{source.format(ds=fe.datastore(1))}</SOURCE>").refused("left alone")
    assert fe.stored() == {"a"}


def test_images_from_http(fe: FrontEnd) -> None:
    """stat and cp take an http URL: the size is that which the image will have, and what the server lacks is one plain error."""
    fe.qemu_img("create", "-q", "-f", "qcow2", fe.root / "user" / "a.qcow2", "9M")
    fe.file("b.raw", b"x" * (2 * MIB + 1))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(fe.root / "user")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for name, size, format in (("a.qcow2", 9, "qcow2"), ("b.raw", 3, "raw")):
            path = f"<PATH>http://127.0.0.1:{server.server_port}/{name}</PATH>"
            assert fe.image("stat", path).stdout == f"{size}\n"
            source, told = fe.image("cp", path).stdout.split()
            assert (Path(source).read_bytes(), told) == ((fe.root / "user" / name).read_bytes(), format)
        path = f"<PATH>http://127.0.0.1:{server.server_port}/none</PATH>"
        fe.image("stat", path).refused("404")
        fe.image("cp", path).refused("404")
    finally:
        server.shutdown()
        server.server_close()
    assert len(fe.stored()) == 2


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


BRIDGE = "<BRIDGE_LIST>{}</BRIDGE_LIST>"


def beyond(fe: FrontEnd) -> set[str]:
    """Names of the files in the image datastore as the host `far` sees it."""
    folder = fe.root / "elsewhere" / "1"
    return {one.name for one in folder.iterdir()} if folder.exists() else set()


def test_images_behind_a_bridge(fe: FrontEnd) -> None:
    """With BRIDGE_LIST every action works on the host's side, in names with blanks and quotes too, and leaves the front-end's alone."""
    far = BRIDGE.format("far")
    path = fe.file('it\'s a $(touch pwned) "f"', b"content" * 100_000)
    source, format = fe.image("cp", f"<PATH><![CDATA[{path}]]></PATH>", far).stdout.split()
    image = fe.root / "elsewhere" / "1" / Path(source).name
    assert (image.read_bytes(), format) == (path.read_bytes(), "raw")
    assert image.stat().st_mode & 0o777 == 0o660
    empty = fe.image("mkfs", "<SIZE>2</SIZE><FORMAT>qcow2</FORMAT>", far).stdout.strip()
    copy = fe.image("clone", f"<PATH>{source}</PATH><FORMAT>raw</FORMAT>", far).stdout.split()[0]
    assert (fe.root / "elsewhere" / "1" / Path(copy).name).read_bytes() == path.read_bytes()
    assert beyond(fe) == {Path(one).name for one in (source, empty, copy)}
    assert "TOTAL_MB=" in fe.image("monitor", "", far).stdout
    for one in (source, empty, copy):
        assert fe.image("rm", f"<SOURCE>{one}</SOURCE>", far).quiet
    assert (beyond(fe), fe.stored(), list(fe.root.rglob("pwned"))) == (set(), set(), [])


def test_a_clone_comes_from_the_bridge_of_its_original(fe: FrontEnd) -> None:
    """SOURCE_BRIDGE_LIST names the hosts that have the original; the datastore of the clone may be reached otherwise."""
    (fe.datastore(1) / "a").write_bytes(b"original")
    document = base64.b64decode(fe.document(f"<PATH>{fe.datastore(1)}/a</PATH><FORMAT>raw</FORMAT>"))
    end = b"</DS_DRIVER_ACTION_DATA>"
    asked = base64.b64encode(document.replace(end, b"<SOURCE_BRIDGE_LIST>host03</SOURCE_BRIDGE_LIST>" + end))
    assert Path(fe.run("datastore/fs/clone", "9", stdin=asked).stdout.split()[0]).read_bytes() == b"original"
    assert (fe.root / "ssh.log").read_text().split() == ["host03"]


def test_a_bridge_that_is_lost(fe: FrontEnd) -> None:
    """A bridge that does not answer fails the action with its reason; nothing is done here instead."""
    down = BRIDGE.format("down")
    for action, image in (("cp", f"<PATH>{fe.file('a', b'x')}</PATH>"), ("mkfs", "<SIZE>1</SIZE>"), ("rm", f"<SOURCE>{fe.datastore(1)}/a</SOURCE>")):
        fe.image(action, image, down).refused("No route to host")
    fe.image("monitor", "", down).refused("No route to host")
    assert fe.stored() == set()


def test_bridges_that_oned_knows_as_down_are_left_out(fe: FrontEnd) -> None:
    """Of the others each gets its share by the id; without any the action fails; who is no host of oned's stays in."""
    pool = "".join(f"<HOST><NAME>{name}</NAME><STATE>{state}</STATE></HOST>" for name, state in (("one", 2), ("two", 3), ("three", 8), ("four", 4)))
    (fe.root / "bin" / "onehost").write_text(f"#!/bin/bash\necho '<HOST_POOL>{pool}</HOST_POOL>'\n")
    (fe.root / "bin" / "onehost").chmod(0o755)
    document = fe.document("<SIZE>1</SIZE>", BRIDGE.format("one two three four other"))
    for id in ("4", "5", "6"):
        assert fe.run("datastore/fs/mkfs", id, stdin=document).status == 0
    used = (fe.root / "ssh.log").read_text().split()
    assert [name for name in dict.fromkeys(used) if name in ("one", "two", "three", "four", "other")] == ["one", "other"]
    fe.image("mkfs", "<SIZE>1</SIZE>", BRIDGE.format("two\nthree")).refused("two three")


@pytest.mark.parametrize(
    ("image", "template", "expected"),
    [
        ("", "", ("raw", b"disk")),
        ("", "<NO_DECOMPRESS>YES</NO_DECOMPRESS>", ("raw", None)),
        ("", "<DRIVER>qcow2</DRIVER>", ("qcow2", b"disk")),
        ("", "<DRIVER>qcow2</DRIVER><CONVERT>no</CONVERT>", ("raw", b"disk")),
        ("<TYPE>1</TYPE>", "<DRIVER>qcow2</DRIVER>", ("raw", b"disk")),
    ],
)
def test_cp_unpacks_and_converts(fe: FrontEnd, image: str, template: str, expected: tuple[str, bytes | None]) -> None:
    """A packed file is unpacked and brought into the datastore's format, where nothing forbids it; stat tells the size of what there will be."""
    disk = (b"disk" + bytes(MIB - 4)) * 3
    path = fe.file("a.gz", gzip.compress(disk))
    size = 1 if expected[1] is None else 3
    assert fe.image("stat", f"<PATH>{path}</PATH>", template).stdout == f"{size}\n"
    source, format = fe.image("cp", f"<PATH>{path}</PATH>{image}", template).stdout.split()
    raw = fe.root / "raw"
    fe.qemu_img("convert", "-f", format, "-O", "raw", source, raw)
    assert format == expected[0]
    assert raw.read_bytes()[: path.stat().st_size] == path.read_bytes() if expected[1] is None else raw.read_bytes() == disk


def test_a_file_datastore_keeps_files_as_they_are(fe: FrontEnd) -> None:
    """What a datastore of TYPE 2 holds is no disk: neither unpacked nor converted."""
    path = fe.file("kernel.gz", gzip.compress(b"kernel" * 1000))
    document = base64.b64decode(fe.document(f"<PATH>{path}</PATH>", "<DRIVER>qcow2</DRIVER>")).replace(b"</DATASTORE>", b"<TYPE>2</TYPE></DATASTORE>")
    ended = fe.run("datastore/fs/cp", "9", stdin=base64.b64encode(document))
    assert Path(ended.stdout.split()[0]).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("pack", "inner"), [(gzip.compress, "qcow2"), (bz2.compress, "raw"), (lzma.compress, "raw"), (lzma.compress, "qcow2"), (lzma.compress, "vdi")]
)
def test_stat_of_packed_files(fe: FrontEnd, pack: Callable[[bytes], bytes], inner: str) -> None:
    """The size is that of the disk, whatever is in the packed file."""
    disk = fe.root / "user" / "disk"
    fe.qemu_img("create", "-q", "-f", inner, disk, "11M")
    assert fe.image("stat", f"<PATH>{fe.file('packed', pack(disk.read_bytes()))}</PATH>").stdout == "11\n"


def test_sums_of_the_template(fe: FrontEnd) -> None:
    """MD5 and SHA1 of the image are compared with the file; one that differs leaves nothing."""
    path = fe.file("a", b"content")
    right, wrong = "9a0364b9e99bb480dd25e1f0284c8555", "040f06fd774092478d450774f5ba30c5da78acc8"
    assert fe.image("cp", f"<PATH>{path}</PATH><TEMPLATE><MD5>{right}</MD5><SHA1>{wrong}</SHA1></TEMPLATE>").status == 0
    stored = fe.stored()
    fe.image("cp", f"<PATH>{path}</PATH><TEMPLATE><MD5>{right[:-1]}0</MD5></TEMPLATE>").refused("MD5", right)
    fe.image("cp", f"<PATH>file://{path}</PATH><TEMPLATE><SHA1>x</SHA1></TEMPLATE>").refused("SHA1", wrong)
    assert fe.stored() == stored


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://{}%2e/"])
def test_stat_refuses_what_cp_refuses(fe: FrontEnd, form: str) -> None:
    """Nobody learns by stat, or by another way to write a path, of a file in a restricted directory."""
    (fe.root / "home" / "a").write_text("x")
    path = form.format(fe.root / "home" / "a").replace("a%2e/", "x/%2E./a")
    (fe.root / "home" / "x").mkdir()
    for action in ("stat", "cp"):
        fe.image(action, f"<PATH>{path}</PATH>").refused("restricted")
