"""Examples of each kind of text: what it says, or where it is refused."""

from __future__ import annotations

import base64

import pytest

from onesim import grammar_values as v
from onesim.grammar_values import Link
from onesim.grammars import parse

_SIZES = "DISK_SIZE=[ID=0,SIZE=5]\n SNAPSHOT_SIZE=[ID=1,DISK_ID=0,SIZE=2]"
_SIZES_64 = base64.b64encode(_SIZES.encode()).decode()
_DISKS = v.DiskSizes((v.DiskSize(0, 5),), (v.SnapshotSize(1, 0, 2),))

ACCEPTED: list[tuple[str, str, str, object]] = [
    # the guides' form, and what oned takes besides
    ("monitor", "7.4.0", "USED_MB=1\nTOTAL_MB=10\nFREE_MB=9", v.Monitor(10, 9, 1)),
    ("monitor", "7.4.0", "FREE_MB=9 USED_MB=1 TOTAL_MB=10\n", v.Monitor(10, 9, 1)),
    ("monitor", "7.4.0", 'USED_MB="1" TOTAL_MB = 10M FREE_MB= 9.5', v.Monitor(10, 9.5, 1)),
    ("monitor", "7.4.0", "used_mb=1 DS=[ID=1, USED_MB=7] X=y", v.Monitor(0, 0, 1)),
    ("monitor", "7.4.0", "TOTAL_MB=abc FREE_MB=\nUSED_MB=-3", v.Monitor(0, 0, -3)),
    ("monitor", "7.4.0", "TOTAL_MB=1 TOTAL_MB=2", v.Monitor(1, 0, 0)),
    ("monitor", "7.4.0", "", v.Monitor(0, 0, 0)),
    # single precision ends at 16 TiB
    ("monitor", "7.4.0", "TOTAL_MB=16777217", v.Monitor(16777216, 0, 0)),
    ("monitor_recommended", "7.4.0", "USED_MB=1\nTOTAL_MB=10\nFREE_MB=9", v.Monitor(10, 9, 1)),
    ("disk_sizes", "7.4.0", _SIZES, _DISKS),
    ("vm_sizes", "7.4.0", f'VM = [ ID = 7, MONITOR = "{_SIZES_64}" ]', v.VmSizes({7: _DISKS})),
    ("vm_sizes", "7.4.0", 'VM=[ID=7,MONITOR=""] VM=[ID=8,MONITOR=""]', v.VmSizes({7: v.DiskSizes(), 8: v.DiskSizes()})),
    ("vm_sizes", "5.10.5", 'VM=[ID=7,POLL="DISK_SIZE=[ID=0,SIZE=5]"]', v.VmSizes({7: v.DiskSizes((v.DiskSize(0, 5),))})),
    (
        "backup_url",
        "7.4.0",
        "rsync://102//0:0e6658/var/lib/one/datastores/102/21/0e6658/disk.0.0",
        v.BackupUrl("rsync", 102, None, (Link(0, "0e6658"),), "/var/lib/one/datastores/102/21/0e6658/disk.0.0", 21, "0"),
    ),
    # the guide has two slashes before the path
    (
        "backup_url",
        "7.4.0",
        "restic://100/23/0:25f4b298,1:6968545c//var/lib/one/datastores/0/0/backup/disk.0",
        v.BackupUrl("restic", 100, 23, (Link(0, "25f4b298"), Link(1, "6968545c")), "//var/lib/one/datastores/0/0/backup/disk.0", 0, "0"),
    ),
    (
        "backup_url",
        "6.6.3",
        "rsync://100/0:8a3454,1:f6e63e//var/lib/one/datastores/100/6/8a3454/disk.0.0",
        v.BackupUrl("rsync", 100, None, (Link(0, "8a3454"), Link(1, "f6e63e")), "//var/lib/one/datastores/100/6/8a3454/disk.0.0", 6, "0"),
    ),
    (
        "backup_url",
        "7.4.0",
        "rsync+rbd://100/3/0:a/d/100/3/a/disk.1.2.rbdiff",
        v.BackupUrl("rsync+rbd", 100, 3, (Link(0, "a"),), "/d/100/3/a/disk.1.2.rbdiff", 3, "1"),
    ),
    ("download", "7.4.0", "https://example.com/a b", v.Download("https", "example.com/a b")),
    ("download", "7.4.0", "ssh://me@h1:/srv/a", v.Download("ssh", "/srv/a", "me", "h1")),
    ("download", "7.4.0", "rbd://h1/one/img-1?DS=1&CEPH_USER=x", v.Download("rbd", "one/img-1?DS=1&CEPH_USER=x", "", "h1")),
    ("download", "7.4.0", "s3://bucket/object", v.Download("s3", "bucket/object")),
    ("download", "7.4.0", "lxd://images/x", v.Download("lxd", "images/x")),
    ("download", "7.4.0", "onebex://100:8000", v.Download("onebex", "100:8000")),
    ("download", "7.2.0", "onebex://100:8000", v.Download("path", "onebex://100:8000")),
    ("download", "7.4.0", "docker://alpine", v.Download("path", "docker://alpine")),
    ("download", "6.8.3", "docker://alpine", v.Download("docker", "alpine")),
    ("download", "7.4.0", "rsync+rbd://100/3/0:a/x", v.Download("rsync+rbd", "100/3/0:a/x")),
    ("download", "7.4.0", "/var/tmp/an image.qcow2", v.Download("path", "/var/tmp/an image.qcow2")),
    ("location", "7.4.0", "h1:/d/0/5/disk.1", v.Location("h1", "/d/0/5/disk.1", "disk", 0, 5, 1)),
    ("location", "7.4.0", "h1:/d//0/5", v.Location("h1", "/d//0/5", "directory", 0, 5)),
    ("location", "7.4.0", "h1:/d/0/5/kernel", v.Location("h1", "/d/0/5/kernel", "boot", 0, 5)),
    ("location", "7.4.0", "fe:/d/1/0d5e", v.Location("fe", "/d/1/0d5e", "file")),
    ("location", "7.4.0", "fe:/d/1/a:b", v.Location("fe", "/d/1/a:b", "file")),
    # a source with a colon is passed without host: what stands before it is taken for one
    ("location", "7.4.0", "pool:one-1", v.Location("pool", "one-1", "source")),
    ("disks", "7.4.0", "0:2", v.Disks((0, 2))),
    ("disks", "6.8.3", "0:1:", v.Disks((0, 1))),
    ("snapshot", "7.4.0", "-1", v.SnapshotId(-1)),
    ("size", "7.4.0", "1024", v.Size(1024)),
    ("context_file", "7.4.0", "/var/lib/one/vms/1/context.sh", v.ContextFile(file="/var/lib/one/vms/1/context.sh")),
    ("context_file", "7.4.0", "/d/2/0d5e:'init.sh'", v.ContextFile(file="/d/2/0d5e", name="init.sh")),
    ("context_file", "7.4.0", "http://h:80/init.sh", v.ContextFile(url="http://h:80/init.sh")),
    ("result/stat", "7.4.0", "2252\n", v.StatResult(2252)),
    ("result/stat", "7.4.0", " 10M", v.StatResult(10, "M")),
    ("result/cp", "7.4.0", "/d/1/x qcow2\n", v.ImageResult("/d/1/x", "qcow2")),
    ("result/cp", "7.4.0", "/d/1/x raw more", v.ImageResult("/d/1/x", "raw", ("more",))),
    ("result/cp", "5.12.13", "/d/1/x", v.ImageResult("/d/1/x")),
    ("result/mkfs", "7.4.0", "/d/1/x raw", v.LineResult("/d/1/x raw")),
    ("result/mkfs", "5.12.13", "/d/1/x raw", v.ImageResult("/d/1/x", "", ("raw",))),
    ("result/clone", "6.4.0", "/d/1/x raw", v.LineResult("/d/1/x raw")),
    ("result/clone", "6.4.7", "/d/1/x raw", v.ImageResult("/d/1/x", "raw")),
    ("result/clone", "7.4.0", "/d/1/x", v.ImageResult("/d/1/x")),
    ("result/backup", "7.4.0", "25f4b298 512", v.BackupResult("25f4b298", 512, "raw")),
    ("result/backup", "6.10.0", "25f4b298 512 rbd", v.BackupResult("25f4b298", 512, "raw", ("rbd",))),
    ("result/increment_flatten", "7.4.0", "512 2:a,3:b\n", v.Increments(512, (v.Linked(2, "a"), v.Linked(3, "b")))),
    ("result/increment_flatten", "7.4.0", "", v.Increments()),
    ("result/restore", "7.4.0", "-1 10 11\n", v.Restored(-1, (10, 11))),
    ("transfer_script", "7.4.0", "", v.TransferScript()),
    ("transfer_line", "7.4.0", "RESTORE ssh h1:/d/0/5 5 7 0 1 ", v.TransferLine("RESTORE", "ssh", "", ("h1:/d/0/5", "5", "7", "0", "1"))),
    ("transfer_line", "7.4.0", "MV.ssh qcow2 a 'b", v.TransferLine("MV", "qcow2", "ssh", ("a", "'b"))),
    ("mad_request", "7.4.0", "TRANSFER  23 /v/23/transfer.0.prolog\n", v.MadRequest("TRANSFER", 23, "/v/23/transfer.0.prolog")),
    ("mad_request", "5.12.13", "TRANSFER 23 /v/23/transfer.0.prolog\n", v.MadRequest("TRANSFER", 23, "/v/23/transfer.0.prolog")),
    ("mad_request", "7.4.0", "FINALIZE\n", v.MadRequest("FINALIZE")),
    ("mad_answer", "7.4.0", "INIT SUCCESS - -", v.MadAnswer("INIT", "SUCCESS", None, "-")),
    ("mad_answer", "7.4.0", "LOG E -1 text", v.MadAnswer("LOG", "E", -1, "text")),
    ("stderr", "7.4.0", "DEBUG: 42 with id\n", v.Stderr((v.LogLine("DEBUG", "with id", 42),), "")),
    # the digits are read as Ruby reads a number: octal here, and none at all there
    ("stderr", "7.4.0", "INFO: 010 a\nINFO: 09 b\n", v.Stderr((v.LogLine("INFO", "a", 8), v.LogLine("INFO", "b")), "")),
    ("stderr", "7.4.0", "ERROR:text\nplain\n", v.Stderr((), "ERROR:textplain")),
    ("stderr", "6.10.5", "WARN: x\nERROR:text\n", v.Stderr((v.LogLine("ERROR", "text"),), "WARN: x ERROR:text")),
    (
        "error_block",
        "6.0.0",
        "INFO: x\nERROR MESSAGE --8<------\nno space\nat all\nERROR MESSAGE ------>8--\n",
        v.ErrorBlock("no space", ("at all",)),
    ),
]

REFUSED: list[tuple[str, str, str, int, str]] = [
    ("monitor", "7.4.0", "USED_MB=1, TOTAL_MB=10", 1, "column 10"),
    ("monitor", "7.4.0", "TOTAL_MB=10\nno data", 2, "column 4"),
    ("monitor", "7.4.0", "USED_MB=", 1, "column 9"),
    ("monitor", "7.4.0", 'TOTAL_MB=10\nX="]]>"', 2, "column 4"),
    ("monitor_recommended", "7.4.0", "USED_MB=1 TOTAL_MB=10M FREE_MB=9", 1, "column 22"),
    ("monitor_recommended", "7.4.0", "USED_MB=1\nTOTAL_MB=10", 2, "column 12"),
    ("monitor_recommended", "7.4.0", "USED_MB=1\nUSED_MB=1\nTOTAL_MB=10", 2, "column 1"),
    # the example of the guides, as it stands there: not encoded
    ("vm_sizes", "7.4.0", 'VM = [ ID = 5, MONITOR = "\\\n    DISK_SIZE=[ID=0,SIZE=1]\n    "\n]', 1, "column 1"),
    ("vm_sizes", "7.4.0", 'VM=[ID=7,MONITOR=""]\nVM=[MONITOR=""]', 2, "column 1"),
    ("vm_sizes", "7.4.0", f"VM=[ID=7,MONITOR={_SIZES_64[:-1]}=]", 1, f"column {17 + len(_SIZES_64)}"),
    ("disk_sizes", "7.4.0", "DISK_SIZE=[ID=0,SIZE=1]\nDISK_SIZE=[ID=1,SIZE=x]", 2, "column 1"),
    ("backup_url", "7.4.0", "rsync://102//0:0e6658/var/lib/one/datastores/103/21/0e6658/disk.0.0", 1, "column 22"),
    ("backup_url", "7.4.0", "restic://100/4/cdcf2eb1/var/lib/one/datastores/0/54/backup/disk.0", 1, "column 16"),
    ("backup_url", "6.8.3", "rsync+rbd://100/3/0:a/d/100/3/a/disk.1.rbd2", 1, "column 6"),
    ("backup_url", "6.6.3", "rsync://100/3/0:a/d/100/3/a/disk.1", 1, "column 14"),
    ("download", "7.4.0", "onebex://100", 1, "column 13"),
    ("download", "7.4.0", "ssh://h1", 1, "column 9"),
    ("location", "7.4.0", "/d/0/5/disk.1", 1, "column 1"),
    ("location", "7.4.0", "h1:", 1, "column 4"),
    # the literal in brackets ends at its first colon
    ("location", "7.4.0", "h1:/d/0/5/disk 1", 1, "column 15"),
    ("disks", "7.4.0", "0:1:", 1, "column 5"),
    ("disks", "7.4.0", "", 1, "column 1"),
    ("disks", "6.8.3", "0:1", 1, "column 4"),
    ("size", "7.4.0", "10M", 1, "column 3"),
    ("context_file", "7.4.0", "/d/2/x:'my", 1, "column 11"),
    ("result/stat", "7.4.0", "M10", 1, "column 1"),
    ("result/stat", "7.4.0", "", 1, "column 1"),
    ("result/cp", "7.4.0", "/d/1/x", 1, "column 7"),
    ("result/cp", "7.4.0", "noise\n/d/1/x raw", 1, "column 6"),
    ("result/backup", "7.4.0", "25f4b298", 1, "column 9"),
    ("result/increment_flatten", "7.4.0", "512 2:a:b", 1, "column 8"),
    ("result/restore", "7.4.0", "template 5", 1, "column 1"),
    ("transfer_script", "7.4.0", "# x\nCLONE", 2, "column 6"),
    ("mad_request", "7.4.0", "CP 5 x", 1, "column 3"),
    ("mad_request", "7.4.0", "CP - 5 x", 1, "column 3"),
    ("mad_answer", "7.4.0", "LOG SUCCESS 5 x", 1, "column 5"),
    ("mad_answer", "7.4.0", "CP I 5 x", 1, "column 4"),
    ("error_block", "6.0.0", "ERROR MESSAGE --8<------\nno space\n", 3, "column 1"),
]


@pytest.mark.parametrize(("name", "version", "text", "record"), ACCEPTED)
def test_accepted(name: str, version: str, text: str, record: object) -> None:
    """The text is parsed to the record."""
    assert parse(name, text, version) == record


@pytest.mark.parametrize(("name", "version", "text", "line", "column"), REFUSED)
def test_refused(name: str, version: str, text: str, line: int, column: str) -> None:
    """The text is refused with one problem at its place."""
    found = parse(name, text, version)
    assert isinstance(found, list), found
    assert [(one.line, one.path) for one in found] == [(line, column)], str(found[0])
