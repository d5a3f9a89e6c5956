"""The downloader of the reference driver: every source, packing, sum and limit; what cannot be had whole is not had at all."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.driver.conftest import FrontEnd

DATA = os.urandom(300_000) + bytes(700_000) + b"end"
PACKED = {"gz": gzip.compress(DATA), "bz2": bz2.compress(DATA), "xz": lzma.compress(DATA)}


class _Handler(BaseHTTPRequestHandler):
    """Serves DATA, whole, packed, in half, after a pause, elsewhere."""

    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer by the name of the page."""
        self.paths.append(self.path)
        name = self.path.lstrip("/")
        if name == "busy" and self.paths.count("/busy") < 2:
            self.send_error(503)
        elif name in ("to-file", "to-http", "round"):
            to = {"to-file": f"file://{os.environ['ONETCK_SECRET']}", "to-http": "/data", "round": "/round"}[name]
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()
        elif name == "none":
            self.send_error(404)
        else:
            body = PACKED.get(name.partition(".")[2].rpartition("half-")[2], DATA)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if "half" in name else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(fe: FrontEnd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server."""
    monkeypatch.setenv("ONETCK_SECRET", str(fe.file("secret", b"secret")))
    _Handler.paths.clear()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


def download(fe: FrontEnd, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the downloader; nothing of it may stay in /tmp."""
    (fe.root / "tmp").mkdir(exist_ok=True)
    environment = {**fe.environment, "TMPDIR": str(fe.root / "tmp")}
    done = subprocess.run(
        [fe.root / "remotes/datastore/downloader.sh", *map(str, arguments)], capture_output=True, env=environment, check=False, timeout=60
    )
    assert not list((fe.root / "tmp").iterdir())
    return done


def refused(fe: FrontEnd, *arguments: str | Path) -> str:
    """Run the downloader, which must fail with one line and leave nothing at the destination. Returns the line."""
    target = fe.root / "target"
    done = download(fe, *arguments, target)
    assert done.returncode not in (0, 255)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert not [one for one in fe.root.iterdir() if one.name.startswith("target")]
    return done.stderr.decode()


@pytest.mark.parametrize("name", ["data", *(f"data.{how}" for how in PACKED)])
def test_files_and_pages_plain_and_packed(fe: FrontEnd, server: str, name: str) -> None:
    """A file, a file URL, a page and a host's file give the same bytes, to a file and to standard output; packed ones are unpacked unless -n says no."""
    body = PACKED.get(name.partition(".")[2], DATA)
    path = fe.file(f"it's $(x) {name}", body)
    target = fe.root / "target"
    for source in (str(path), f"file://{quote(str(path))}", f"{server}/{name}", f"ssh://me@host01:{path}"):
        assert download(fe, source, "-").stdout == DATA
        assert download(fe, "--nodecomp", source, "-").stdout == body
        assert download(fe, source, target).stdout == b""
        assert target.read_bytes() == DATA
        target.unlink()


def test_addresses_are_letters(fe: FrontEnd, server: str) -> None:
    """What a shell or curl would expand in an address reaches the server as it stands, a blank encoded."""
    for page in ("/a$(id);`id`&b='c'", "/[1-3]{x,y}", "/two blanks"):
        assert download(fe, f"{server}{page}", "-").stdout == DATA
    assert _Handler.paths == ["/a$(id);`id`&b='c'", "/[1-3]{x,y}", "/two%20blanks"]


def test_sums(fe: FrontEnd, server: str) -> None:
    """Sums are those of the file as it comes, in either case of letters; both may be asked for, and a wrong one leaves nothing."""
    packed = PACKED["gz"]
    md5, sha1 = hashlib.md5(packed).hexdigest(), hashlib.sha1(packed).hexdigest()
    assert download(fe, "--md5", md5.upper(), "--sha1", sha1, f"{server}/data.gz", "-").stdout == DATA
    assert "MD5" in refused(fe, "-m", sha1, f"{server}/data.gz")
    assert "SHA1" in refused(fe, "-s", sha1[:-1], fe.file("x", packed))
    assert "checksum" in refused(fe, "-c", "5", "-s", sha1, f"{server}/data.gz")


@pytest.mark.parametrize("name", ["data", *(f"data.{how}" for how in PACKED)])
@pytest.mark.parametrize("size", [6, 70_000, len(DATA), len(DATA) + 5])
def test_no_more_than_the_beginning(fe: FrontEnd, server: str, name: str, size: int) -> None:
    """-c gives the beginning of what is in the file; that it is longer is no failure."""
    done = download(fe, "-c", str(size), f"{server}/{name}", "-")
    assert (done.returncode, done.stdout) == (0, DATA[:size])


def test_what_cannot_be_had(fe: FrontEnd, server: str) -> None:
    """A page or file that is missing, breaks off, leads to a file or in a circle, a broken archive, a strange scheme: one line, and nothing is left."""
    assert "404" in refused(fe, f"{server}/none")
    assert "closed" in refused(fe, f"{server}/half")
    refused(fe, f"{server}/half-data.half-gz")
    refused(fe, "-c", "900000", f"{server}/half")
    refused(fe, f"{server}/to-file")
    refused(fe, f"{server}/round")
    refused(fe, fe.file("broken", PACKED["xz"][:5000]))
    refused(fe, fe.file("worse", PACKED["gz"][:100] + b"x" * 1000))
    assert "There is no file" in refused(fe, fe.root / "none")
    assert "gopher://" in refused(fe, "gopher://x/y")
    refused(fe, "ssh://down:/x")
    assert "host" in refused(fe, "ssh://-oProxyCommand=x:/y")
    assert "rate" in refused(fe, "-l", "1;id", f"{server}/data")


def test_a_server_that_is_busy_is_asked_again(fe: FrontEnd, server: str) -> None:
    """A passing failure of a server is not the end, unless -o says so; a redirection to another page is followed."""
    assert download(fe, f"{server}/busy", "-").stdout == DATA
    _Handler.paths.clear()
    assert "503" in refused(fe, "-o", f"{server}/busy")
    assert download(fe, "-l", "100M", f"{server}/to-http", "-").stdout == DATA


def test_schemes_of_helpers(fe: FrontEnd) -> None:
    """A pseudo-URL of a backup is brought by the helper of its driver, which names a command and one to clean up with, run in any case."""
    marks = fe.root / "marks"
    helper = fe.root / "remotes/datastore/rsync_downloader.sh"
    helper.write_text(f"""#!/bin/bash
echo noise
echo 'command="cat {fe.file("a", DATA)}; exit ${{1##*/}}"' | sed "s/\\${{1##\\*\\/}}/${{1##*/}}/"
echo 'clean_command="echo clean >>{marks}"'
""")
    helper.chmod(0o755)
    assert download(fe, "rsync://100/3/0:1//x/0", "-").stdout == DATA
    assert download(fe, "rsync+rbd://100/3/0:1//x/0", "-").stdout == DATA
    refused(fe, "rsync://100/3/0:1//x/4")
    assert marks.read_text() == "clean\n" * 3
    assert "restic://" in refused(fe, "restic://100//0:1//x")


def remote(fe: FrontEnd) -> FrontEnd:
    """Return the front-end with an ssh that runs what it is given by a shell as a host does, and an `rbd` that prints DATA for one image and its own words."""
    image = fe.file("image", DATA)
    for name, text in (
        ("ssh", 'printf "%s\\n" "$@" >>"$0.words"; exec bash -c "${@: -1}"'),
        ("rbd", f'echo "$*" >>"$0.words"; [[ " $* " == *" one/one-0 - " ]] || {{ echo "rbd: no such image" >&2; exit 2; }}; cat {image}'),
    ):
        program = fe.root / "first" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    return fe.with_environment(PATH=f"{fe.root}/first:{fe.environment['PATH']}")


def test_images_of_a_pool(fe: FrontEnd) -> None:
    """The host of an rbd:// address reads the image as the client that it names; one that is not there, or a read that broke off, is told."""
    fe = remote(fe)
    url = "rbd://host01/one/one-0?DS=1&CEPH_USER=one&CEPH_KEY=/etc/k&CEPH_CONF=/etc/one/ceph.conf"
    assert download(fe, "--nodecomp", url, "-").stdout == DATA
    assert download(fe, "rbd://me@host01/one/one-0", "-").stdout == DATA
    assert (fe.root / "first/rbd.words").read_text().splitlines() == [
        "--id one --keyfile /etc/k --conf /etc/one/ceph.conf export --no-progress one/one-0 -",
        "export --no-progress one/one-0 -",
    ]
    assert {"host01", "me@host01"} <= set((fe.root / "first/ssh.words").read_text().splitlines())
    assert "no such image" in refused(fe, "rbd://host01/one/one-1")


@pytest.mark.parametrize(
    "url",
    [
        "rbd://host01/one-0",
        "rbd:///one/one-0",
        "rbd://-oProxyCommand=x/one/one-0",
        "rbd://me@-o/one/one-0",
        "rbd://host01/one/-x",
        "rbd://host01/--pool/one-0",
        "rbd://host01/one/one-0;id",
        "rbd://host01/one/$(id)",
        "rbd://host01/one/ns/one-0",
        "rbd://host01/one/one-0?CEPH_USER=$(id)",
        "rbd://host01/one/one-0?CEPH_CONF=/etc/a b",
        "rbd://host01/one/one-0?CEPH_KEY=",
        "rbd://host01/one/one-0?CEPH_KEY=--help",
    ],
)
def test_what_names_no_plain_image_of_a_pool_is_refused(fe: FrontEnd, url: str) -> None:
    """Nothing is asked of any host."""
    fe = remote(fe)
    refused(fe, url)
    assert not (fe.root / "first/ssh.words").exists()


def test_archives_become_directories(fe: FrontEnd) -> None:
    """Into a file, a tar (packed or not) and a zip are unpacked to a directory of that name; to standard output, or with -n, they come as they are."""
    tar, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("disk.raw")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"disk"))
    with zipfile.ZipFile(zipped, "w") as archive_z:
        archive_z.writestr("disk.raw", "disk")
    target = fe.root / "out"
    kinds = {"a.tar": tar.getvalue(), "a.tgz": gzip.compress(tar.getvalue())}
    if any(Path(folder, "unzip").exists() for folder in os.environ["PATH"].split(":")):
        kinds["a.zip"] = zipped.getvalue()
    for name, body in kinds.items():
        path = fe.file(name, body)
        assert download(fe, path, target).returncode == 0
        assert (target / "disk.raw").read_bytes() == b"disk"
        (target / "disk.raw").unlink()
        target.rmdir()
        assert download(fe, "-n", path, target).returncode == 0
        assert target.read_bytes() == body
        target.unlink()


def test_holes_stay_holes(fe: FrontEnd) -> None:
    """A sparse file takes no more room in its copy, packed or not; --sparse never fills it."""
    path = fe.file("sparse", b"x")
    os.truncate(path, 8 << 20)
    for source in (path, fe.file("sparse.gz", gzip.compress(path.read_bytes()))):
        for sparse, small in (("always", True), ("never", False)):
            target = fe.root / "target"
            assert download(fe, "--sparse", sparse, source, target).returncode == 0
            assert (target.stat().st_size, target.stat().st_blocks < 200) == (8 << 20, small)
            target.unlink()
