"""Reads what a front-end keeps anyway: transfer scripts, the logs of VMs and of oned, and documents. Logs may be rotated, packed by gzip, and cut off."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from onesim.errors import ConfigError
from onesim.recording.calls import PARSER, SeenCall
from onesim.recording.daemonlog import Row, requests
from onesim.spec import Spec

_MAX_BYTES = 256 * 1024 * 1024
_TRANSFER = re.compile(r"transfer\.(\d+)\.(\w+)")
_LOG = re.compile(r"(?:vm|(\d+))\.log(?:[.-]\d+)?(?:\.gz)?")
_DAEMON = re.compile(r"oned\.log(?:[.-]\d+)?(?:\.gz)?")
_LINE = re.compile(r"(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}) (?:\[Z\d+\])?\[(\w+)\]\[(\w)\]: (.*)")
_CANCELLED = re.compile(r"\w+ (?:to )?execute datastore driver operation: backup_cancel")
_STATE = re.compile(r"New (?:LCM )?state is (\w+)")
_FAILED = re.compile(r"Command execution failed \(exit code: (\d+)\): \S*?/tm/([^/\s]+)/(\S+)")


@dataclass
class _Kept:
    """What is kept of one VM. `states` are times, names and whether nothing failed while they lasted;
    `failed` are times, drivers and actions of scripts that have failed."""

    scripts: dict[str, list[tuple[int, float, list[str]]]] = field(default_factory=lambda: defaultdict(list))
    states: list[tuple[float, str, bool]] = field(default_factory=list)
    failed: list[tuple[float, int, str, str]] = field(default_factory=list)


@dataclass
class Imported:
    """The calls, changes of state (family `vm`) and requests (family `rpc`) in their order; documents of VMs and images by id; how many of what was of no use."""

    calls: list[SeenCall]
    documents: dict[int, etree._Element]
    images: dict[int, etree._Element]
    notes: Counter[str]


def read_kept(paths: Iterable[Path], spec: Spec, vms: Collection[int] = ()) -> Imported:
    """Read files and directories; of all VMs, or of some. Raises ConfigError for a path that is not there, or where none is of a kind that is known."""
    notes: Counter[str] = Counter()
    kept: dict[int, _Kept] = defaultdict(_Kept)
    documents: dict[str, dict[int, etree._Element]] = {"VM": {}, "IMAGE": {}}
    daemon: list[list[Row]] = []
    known = 0
    for path in _files(paths):
        transfer, log = _TRANSFER.fullmatch(path.name), _LOG.fullmatch(path.name)
        if transfer is not None:
            known += 1
            _transfer(path, int(transfer[1]), transfer[2], kept, notes)
        elif log is not None and (log[1] or path.parent.name.isdigit()):
            known += 1
            _log(path, kept[int(log[1] or path.parent.name)], notes)
        elif _DAEMON.fullmatch(path.name):
            known += 1
            daemon.append([row for row in _rows(path, notes) if row[1] in ("ReM", "ImM")])
        elif path.suffix == ".xml" or path.name.endswith(".xml.gz"):
            known += 1
            _document(path, documents, notes)
        else:
            notes[f"files of a kind that is not read, such as {path.name}"] += 1
    if not known:
        raise ConfigError(
            f"{', '.join(map(str, paths))}: no transfer.N.NAME script, no log of a VM such as 12.log, no oned.log, and no document; see docs/record.md"
        )
    suffixes = {phase.shown: phase.transfer for phase in spec.lifecycles["vm"].phase if phase.transfer}
    calls = [call for vm, one in kept.items() if vm in vms or not vms for call in _story(vm, one, suffixes, notes)]
    # a request and its result may stand in two files, as logs are rotated, within one second
    daemon.sort(key=lambda rows: rows[0][:1] if rows else ())
    asked = requests(sorted((row for rows in daemon for row in rows), key=lambda row: row[0]), notes)
    # of images only if no VM is asked for; first, as what was asked comes before what was done in the same second
    calls = [one for one in asked if not vms or (one.action.startswith("one.vm.") and one.argv[:1] and one.argv[0] in map(str, vms))] + calls
    return Imported(sorted(calls, key=lambda call: call.begun_s), documents["VM"], documents["IMAGE"], notes)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (one for one in sorted(path.rglob("*")) if one.is_file())
        elif path.is_file():
            yield path
        else:
            raise ConfigError(f"{path}: not there; name files or directories of a front-end, such as /var/lib/one/vms")


def _lines(path: Path, notes: Counter[str]) -> Iterator[str]:
    """Yield the lines of a file, packed or not, as far as they can be read."""
    try:
        data = path.read_bytes()[:_MAX_BYTES]
    except OSError as error:
        notes[f"files that cannot be read: {error.strerror}"] += 1
        return
    if data[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = unpack.decompress(data, _MAX_BYTES)
        except zlib.error:
            notes["packed files that are damaged"] += 1
            return
        if not unpack.eof:
            notes["packed files that end too early"] += 1
    yield from data.decode(errors="replace").splitlines()


def _transfer(path: Path, sequence: int, suffix: str, kept: Mapping[int, _Kept], notes: Counter[str]) -> None:
    lines = [line for line in _lines(path, notes) if line.strip() and not line.lstrip().startswith("#")]
    if path.parent.name.isdigit():
        kept[int(path.parent.name)].scripts[suffix].append((sequence, path.stat().st_mtime, lines))
    else:
        notes["transfer scripts outside a directory that names the VM"] += 1


def _rows(path: Path, notes: Counter[str]) -> Iterator[Row]:
    """Yield the times, modules, levels and texts of the lines of a log."""
    for line in _lines(path, notes):
        found = _LINE.match(line)
        try:
            # the zone of the log is not told: times only put things in order
            at_s = datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC).timestamp() if found else None
        except ValueError:
            at_s = None
        if found is None or at_s is None:
            notes["lines of logs that are cut or damaged"] += 1
            continue
        yield at_s, found[2], found[3], found[4]


def _log(path: Path, vm: _Kept, notes: Counter[str]) -> None:
    here: list[tuple[float, str, bool]] = []
    for at_s, module, level, text in _rows(path, notes):
        if state := _STATE.match(text):
            here.append((at_s, state[1], True))
        elif _CANCELLED.match(text):
            here.append((at_s, "BACKUP_CANCEL", True))
        elif failed := _FAILED.match(text):
            vm.failed.append((at_s, int(failed[1]), failed[2], failed[3]))
        elif level == "E" and module in ("VMM", "TrM") and here:
            here[-1] = (*here[-1][:2], False)
    vm.states += here


def _document(path: Path, documents: Mapping[str, dict[int, etree._Element]], notes: Counter[str]) -> None:
    text = "\n".join(_lines(path, notes))
    try:
        root = etree.fromstring(text.encode(), PARSER)
    except etree.XMLSyntaxError:
        notes["documents that cannot be read"] += 1
        return
    found = [root] if root.tag in documents else [one for one in root if one.tag in documents]
    if not found:
        notes[f"documents that are no VM or image but {root.tag!s}"] += 1
    for one in found:
        if (one.findtext("ID") or "").isdigit():
            documents[str(one.tag)][int(one.findtext("ID") or 0)] = one


def _story(vm: int, kept: _Kept, suffixes: Mapping[str, str], notes: Counter[str]) -> Iterator[SeenCall]:
    """Yield what one VM went through: by its log, if there is one, with the scripts where their phases begin; else the scripts as they were written."""
    # logs that were rotated may come in any order; within one second the order of the lines is kept
    states = sorted(kept.states, key=lambda one: one[0])
    waiting = {suffix: sorted(rows, key=lambda row: row[0]) for suffix, rows in kept.scripts.items()}
    if not states:
        for suffix, rows in waiting.items():
            for _, at_s, lines in rows:
                yield from _calls(lines, at_s, suffix, (), notes)
        return
    for n, (at_s, state, well) in enumerate(states):
        begun_s = at_s + n * 1e-4
        yield SeenCall(begun_s, begun_s, "vm", "", state, (str(vm),), status=0 if well else 1)
        rows = waiting.get(suffixes.get(state, ""), [])
        if rows:
            until = states[n + 1][0] if n + 1 < len(states) else float("inf")
            failed = [one[1:] for one in kept.failed if at_s <= one[0] <= until]
            ended_badly = not well or (n + 1 < len(states) and states[n + 1][1].endswith("FAILURE"))
            yield from _calls(rows[0][2], begun_s, suffixes[state], failed if ended_badly else (), notes)
            # a phase that is run again has its script written anew: the last one is there
            if len(rows) > 1:
                rows.pop(0)
    left = sum(len(rows) for suffix, rows in waiting.items() if suffix not in {suffixes.get(state) for _, state, _ in states})
    if left:
        notes["transfer scripts of phases that the VM's log does not tell of"] += left


def _calls(lines: Iterable[str], at_s: float, suffix: str, failed: Iterable[tuple[int, str, str]], notes: Counter[str]) -> Iterator[SeenCall]:
    """Yield the calls of a transfer script; after one that has failed the others were not made."""
    rows = list(failed)
    for n, line in enumerate(lines, 1):
        action, *rest = line.split()
        if not rest or not action.partition(".")[0].replace("_", "").isupper():
            notes["lines of transfer scripts that are cut or damaged"] += 1
            continue
        name = action.partition(".")[0].lower() + "".join(action.partition(".")[1:])
        call = SeenCall(at_s + n * 1e-6, at_s + n * 1e-6, "tm", rest[0], name, tuple(rest[1:]), status=-1, script=suffix)
        why = next((one for one in rows if one[1:] == (call.mad, call.action)), None)
        yield replace(call, status=why[0]) if why else call
        if why:
            return
