"""Records drawn at random, how each is written as a text, and breaks: changes that make such a text wrong at a known place.

The texts are written by hand here, not from the grammars, so that a wrong grammar shows.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from onesim import grammar_values as v

#: A break returns the broken text and the position at which it stops being right.
Break = Callable[[str], tuple[str, int]]

_ids = st.integers(0, 99999)
_sizes = st.integers(0, 2**24)
_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=12)
_free = st.text("abcXYZ 019:/='\"<>&,[]#é", min_size=1, max_size=20).map(str.strip).filter(bool)
_blanks = st.sampled_from([" ", "\n", "  ", "\t", "\n\n"])
_equals = st.sampled_from(["=", " = ", "= ", "\t="])


@dataclass(frozen=True)
class Form:
    """A kind of text: its name, a release, records with their texts, and breaks by their names."""

    name: str
    version: str
    texts: st.SearchStrategy[tuple[Any, str]]
    breaks: dict[str, Break]


def _inserted(what: str, where: Callable[[str], int]) -> Break:
    """Return a break that inserts a text and is seen where it stands."""
    return lambda text: (text[: where(text)] + what + text[where(text) :], where(text))


def _at_end(what: str) -> Break:
    return lambda text: (text + what, len(text))


@st.composite
def _monitors(draw: st.DrawFn) -> tuple[v.Monitor, str]:
    record = v.Monitor(*(float(draw(_sizes)) for _ in range(3)))
    pairs = [("TOTAL_MB", record.total_mb), ("FREE_MB", record.free_mb), ("USED_MB", record.used_mb)]
    written = []
    for name, number in draw(st.permutations(pairs)):
        value = f"{number:.0f}{draw(st.sampled_from(['', 'M', '.0', ' MB']))}"
        quoted = " " in value or draw(st.booleans())
        written.append(f"{draw(st.sampled_from([name, name.lower()]))}{draw(_equals)}" + (f'"{value}"' if quoted else value))
    extra = ["# a comment\n", "OTHER = x", "VECTOR = [ A = 1, B = 2 ]", "EMPTY =\n"]
    written += draw(st.lists(st.sampled_from(extra), max_size=2))
    return record, draw(_blanks).join(draw(st.permutations(written))) + "\n"


def _sizes_text(record: v.DiskSizes, blank: str) -> str:
    parts = [f"DISK_SIZE = [ ID={one.disk}, SIZE={one.size_mb}]" for one in record.disks]
    parts += [f'SNAPSHOT_SIZE=[ID="{one.snapshot}",DISK_ID={one.disk},SIZE={one.size_mb}]' for one in record.snapshots]
    return blank.join(parts)


_disk_sizes = st.builds(
    v.DiskSizes,
    st.lists(st.builds(v.DiskSize, _ids, _sizes), max_size=3).map(tuple),
    st.lists(st.builds(v.SnapshotSize, _ids, _ids, _sizes), max_size=3).map(tuple),
)


@st.composite
def _vm_sizes(draw: st.DrawFn) -> tuple[v.VmSizes, str]:
    record = v.VmSizes(draw(st.dictionaries(_ids, _disk_sizes, min_size=1, max_size=3)))
    lines = []
    for vm, sizes in record.vms.items():
        encoded = base64.b64encode(_sizes_text(sizes, " ").encode()).decode()
        lines.append(f'VM = [ ID = {vm}, MONITOR = "{encoded}" ]')
    return record, draw(_blanks).join(lines)


@st.composite
def _polls(draw: st.DrawFn) -> tuple[v.VmSizes, str]:
    record = v.VmSizes({draw(_ids): draw(_disk_sizes.filter(lambda sizes: not sizes.snapshots))})
    return record, "".join(f'VM=[ID={vm},POLL="{_sizes_text(sizes, " ")}"]\n' for vm, sizes in record.vms.items())


@st.composite
def _datagrams(draw: st.DrawFn) -> tuple[v.Datagram, str]:
    record = v.Datagram(
        "MONITOR_VM", draw(st.sampled_from(["SUCCESS", "FAILURE"])), draw(st.integers(-1, 500)), draw(_ids), draw(st.text(max_size=50))
    )
    payload = base64.b64encode(zlib.compress(record.text.encode())).decode()
    return record, f"MONITOR_VM {record.status} {record.oid} {record.timestamp_s} {payload}" + draw(st.sampled_from(["", "\n"]))


@st.composite
def _backup_urls(draw: st.DrawFn, job: bool = True, rbd: bool = True) -> tuple[v.BackupUrl, str]:
    protocol = draw(st.sampled_from(["restic", "rsync"])) + (draw(st.sampled_from(["", "+rbd"])) if rbd else "")
    datastore, vm, disk = draw(_ids), draw(_ids), draw(st.sampled_from(["0", "12", "tpm"]))
    chain = draw(st.lists(st.builds(v.Link, _ids, st.text("0123456789abcdef", min_size=6, max_size=8)), min_size=1, max_size=4))
    root = draw(st.sampled_from(["/var/lib/one/datastores", "//var/lib/one//datastores"]))
    tail = draw(st.sampled_from([".0", ".rbd2", ".3.rbdiff", ""]))
    folder = f"{root}/0/{vm}/backup" if protocol.startswith("restic") else f"{root}/{datastore}/{vm}/{chain[0].snapshot}"
    record = v.BackupUrl(protocol, datastore, draw(st.none() | _ids) if job else None, tuple(chain), f"{folder}/disk.{disk}{tail}", vm, disk)
    middle = f"{'' if record.job is None else record.job}/" if job else ""
    links = ",".join(f"{link.increment}:{link.snapshot}" for link in chain)
    return record, f"{protocol}://{datastore}/{middle}{links}{record.path}"


@st.composite
def _locations(draw: st.DrawFn) -> tuple[v.Location, str]:
    host, datastore, vm, disk, snapshot = draw(_words), draw(_ids), draw(_ids), draw(_ids), draw(_ids)
    folder = f"{draw(st.sampled_from(['/var/lib/one//datastores', '/srv/x.y']))}/{datastore}/{vm}"
    record = draw(
        st.sampled_from(
            [
                v.Location(host, folder, "directory", datastore, vm),
                v.Location(host, f"{folder}/disk.{disk}", "disk", datastore, vm, disk),
                v.Location(host, f"{folder}/disk.{disk}.snap/{snapshot}", "snapshots", datastore, vm, disk, snapshot),
                v.Location(host, f"{folder}/disk.{disk}.snap", "snapshots", datastore, vm, disk),
                v.Location(host, f"{folder}/initrd", "boot", datastore, vm),
                v.Location(host, f"{folder}/vm.xml", "file"),
                v.Location(host, "img-7", "source"),
            ]
        )
    )
    return record, f"{host}:{record.path}"


@st.composite
def _transfer_scripts(draw: st.DrawFn) -> tuple[v.TransferScript, str]:
    line = st.builds(
        v.TransferLine,
        st.sampled_from(["CLONE", "LN", "MV", "SNAP_CREATE_LIVE"]),
        st.sampled_from(["qcow2", "fs_lvm"]),
        st.sampled_from(["", "ssh"]),
        st.lists(_free.filter(lambda text: not set(" ") & set(text)), max_size=4).map(tuple),
    )
    record = v.TransferScript(tuple(draw(st.lists(line, max_size=4))))
    text = ""
    for one in record.line:
        text += draw(st.sampled_from(["", "\n", "  # a comment\n", " \t\n"]))
        blank, end = draw(st.sampled_from([" ", "  ", "\t"])), draw(st.sampled_from(["\n", " \n"]))
        text += blank.join([f"{one.action}.{one.suffix}" if one.suffix else one.action, one.mad, *one.argument]) + end
    return record, text


_requests = st.builds(v.MadRequest, st.sampled_from(["CP", "SNAP_DELETE", "TRANSFER"]), _ids, _free)
_answers = st.builds(v.MadAnswer, st.sampled_from(["CP", "MONITOR"]), st.sampled_from(["SUCCESS", "FAILURE"]), _ids, _free)
_log_answers = st.builds(v.MadAnswer, st.just("LOG"), st.sampled_from(["I", "E", "D", "W"]), st.integers(-1, 500), _free)


@st.composite
def _stderrs(draw: st.DrawFn) -> tuple[v.Stderr, str]:
    message = _words.filter(lambda text: not text[0].isdigit())
    objects = st.just(-1) | st.integers(1, 9999)
    logged = draw(st.lists(st.builds(v.LogLine, st.sampled_from(["INFO", "ERROR", "DEBUG", "WARN"]), message, objects), max_size=4))
    error = draw(_words)
    lines = [f"{one.severity}: {'' if one.object < 0 else f'{one.object} '}{one.text}\n" for one in logged]
    lines.insert(draw(st.integers(0, len(lines))), f"{error}\n")
    return v.Stderr(tuple(logged), error), "".join(lines)


_backups = st.builds(v.BackupResult, _words, _sizes, st.sampled_from(["raw", "rbd"]))
_copies = st.builds(v.ImageResult, _words, st.sampled_from(["raw", "qcow2"]))
_increments = st.builds(v.Increments, _sizes, st.lists(st.builds(v.Linked, _ids, _words), min_size=1, max_size=3).map(tuple))
_restored = st.builds(v.Restored, st.integers(-1, 99), st.lists(_ids, max_size=3).map(tuple))


def _written(records: st.SearchStrategy[Any], write: Callable[[Any], str]) -> st.SearchStrategy[tuple[Any, str]]:
    return records.map(lambda record: (record, write(record)))


def _chain(record: v.Increments) -> str:
    return ",".join(f"{one.increment}:{one.linked}" for one in record.chain)


def _link(text: str) -> int:
    """Return where the first colon of a chain stands."""
    return text.index(":", text.index("://") + 3)


FORMS = [
    Form(
        "monitor",
        "7.4.0",
        _monitors(),
        {
            "a word without a value at the end": lambda text: (text + "word", len(text) + 4),
            "a comma at the beginning": _inserted(",", lambda text: 0),
            "a bracket at the end": _at_end("]"),
        },
    ),
    Form("disk_sizes", "7.4.0", _written(_disk_sizes, lambda record: _sizes_text(record, "\n")), {"a bracket at the end": _at_end("]")}),
    Form("vm_sizes", "7.4.0", _vm_sizes(), {"a negative id": lambda text: ('VM=[ID=-1,MONITOR=""] ' + text, 0)}),
    Form("vm_sizes", "5.10.0", _polls(), {"no id": lambda text: ('VM=[POLL=""]\n' + text, 0)}),
    Form(
        "datagram",
        "7.4.0",
        _datagrams(),
        {
            "another message": lambda text: ("X" + text, 0),
            "a blank in the payload": lambda text: (text.rstrip("\n") + " x", len(text.rstrip("\n"))),
            "a cut payload": lambda text: (text.rstrip("\n")[:-4], text.rindex(" ") + 1),
        },
    ),
    Form(
        "backup_url",
        "7.4.0",
        _backup_urls(),
        {
            "a link without snapshot": lambda text: (text[: _link(text) + 1], _link(text) + 1),
            "a blank in the path": _at_end(" "),
            "another protocol": lambda text: ("f" + text, 0),
            "a path of no disk": lambda text: (text.rsplit("/", 1)[0] + "/x", text.index("/", _link(text))),
        },
    ),
    Form("backup_url", "6.8.3", _backup_urls(rbd=False), {"a blank in the path": _at_end(" ")}),
    Form("backup_url", "6.6.3", _backup_urls(job=False, rbd=False), {"a blank in the path": _at_end(" ")}),
    Form(
        "location",
        "7.4.0",
        _locations(),
        {
            "no host": lambda text: (text[text.index(":") :], 0),
            "no colon": lambda text: (text[: text.index(":")], text.index(":")),
            "a blank": _at_end(" "),
        },
    ),
    Form(
        "disks",
        "7.4.0",
        _written(st.lists(_ids, min_size=1).map(lambda ids: v.Disks(tuple(ids))), lambda record: ":".join(map(str, record.disk))),
        {"a colon at the end": lambda text: (text + ":", len(text) + 1), "a comma": _at_end(",1")},
    ),
    Form(
        "disks",
        "6.8.3",
        _written(st.lists(_ids, min_size=1).map(lambda ids: v.Disks(tuple(ids))), lambda record: "".join(f"{disk}:" for disk in record.disk)),
        {"no colon at the end": lambda text: (text[:-1], len(text) - 1)},
    ),
    Form(
        "result/cp",
        "7.4.0",
        _written(_copies, lambda record: f"{record.source} {record.format}\n"),
        {"no format": lambda text: (text.split(" ")[0], text.index(" ")), "a second line": _at_end("x\n")},
    ),
    Form(
        "result/backup",
        "7.4.0",
        _written(_backups, lambda record: f"{record.id} {record.size_mb} {record.format}\n"),
        {
            "no size": lambda text: (text.split(" ")[0], text.index(" ")),
            "a size in words": lambda text: (text.replace(" ", " x", 1), text.index(" ") + 1),
        },
    ),
    Form(
        "result/increment_flatten",
        "7.4.0",
        _written(_increments, lambda record: f"{record.size_mb} {_chain(record)}\n"),
        {"a link at the end that is cut": lambda text: (text[:-1] + ",", len(text))},
    ),
    Form(
        "result/restore",
        "7.4.0",
        _written(_restored, lambda record: " ".join(map(str, (record.template, *record.image))) + "\n"),
        {"a name for an id": lambda text: (text.rstrip("\n") + " x", len(text))},
    ),
    Form(
        "transfer_script",
        "7.4.0",
        _transfer_scripts(),
        {"a command without driver": lambda text: (text + "CLONE", len(text) + 5), "small letters": _at_end("clone x")},
    ),
    Form(
        "mad_request",
        "7.4.0",
        _written(_requests, lambda one: f"{one.action}  {one.id} {one.payload}\n"),
        {"one blank": lambda text: (text.replace("  ", " ", 1), text.index("  ")), "a second line": _at_end("x\n")},
    ),
    Form(
        "mad_request",
        "5.12.13",
        _written(_requests, lambda one: f"{one.action} {one.id} {one.payload}\n"),
        {"two blanks": lambda text: (text.replace(" ", "  ", 1), text.index(" ") + 1)},
    ),
    Form(
        "mad_answer",
        "7.4.0",
        _written(_answers | _log_answers, lambda one: f"{one.action} {one.status} {one.id} {one.payload}\n"),
        {"no status": lambda text: (text.split(" ")[0] + " 5", text.index(" ") + 1), "a second line": _at_end("CP\n")},
    ),
    Form("stderr", "7.4.0", _stderrs(), {}),
]
