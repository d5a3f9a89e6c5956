"""Checks on monitoring: the mark of system datastores that are not shared, the datagrams with the sizes of disks, and what drivers ask of oned."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from onesim.records import Call, Datagram, Question
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, quoted, words
from onetck.checks.remains import below, pictures

_HEAD = re.compile("MONITOR_VM (SUCCESS|FAILURE) -1 0")
_MARK = ".monitor"
#: A size may differ from the true one by 1 MiB or this part of it: disks grow while they are measured.
_TOLERANCE = 0.05


def _marks(case: Case, last: Call) -> dict[tuple[str, str], str]:
    """Return the marks that lie there after a call, with what they hold: those that calls have made, and those that the trace has laid."""
    marks: dict[tuple[str, str], str] = {}
    # what is shared is seen on the front-end
    laid = [
        (row.n, case.begin.hosts[0] if case.begin.shared else str(row.arguments["host"]), str(row.arguments["path"]), str(row.arguments["text"]))
        for row in case.operations
        if row.op == "file.put" and posixpath.basename(str(row.arguments["path"])) == _MARK
    ]
    for operation, tree in pictures(case, last.n):
        while laid and laid[0][0] < operation:
            _, host, path, text = laid.pop(0)
            marks[host, path] = text
        for one in tree:
            if one.change == "removed":
                marks = {key: text for key, text in marks.items() if key[0] != one.host or not below(key[1], one.path)}
            elif posixpath.basename(one.path) == _MARK:
                marks[one.host, one.path] = one.text
    return marks


def monitor_mark(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The mark .monitor lies in a system datastore that is not shared, on the host that the call is for, with the driver's name in it; in no shared one.

    Of `part` name, only what a mark holds counts.
    """
    part = requirement.when.get("part", ("",))[0]
    for call in case.watched(requirement):
        base = call.facts.get("system_base_path", "")
        if not base or call.ended_by != "exit" or call.status != 0:
            continue
        mark = posixpath.normpath(f"{base}/{_MARK}")
        there = {host: text for (host, path), text in _marks(case, call).items() if path == mark}
        if call.facts.get("shared") == "YES":
            if there:
                yield Finding("fail", f"after {words(call)}, {mark} is there although the system datastore is shared", call.n)
            else:
                yield Finding("pass", f"{words(call)} made no mark in a shared system datastore", call.n)
            continue
        host, name = call.facts.get("host", ""), call.facts.get("system_tm", call.mad)
        if host not in there:
            if part == "name":
                continue
            yield Finding("fail", f"after {words(call)} there is no {host}:{mark}: the node's probe will not look at this datastore", call.n)
        elif there[host].removesuffix("\n") != name:
            yield Finding(
                "fail", f"after {words(call)}, {host}:{mark} holds {quoted(there[host])}, not the driver's name {name!r} on one line", call.n
            )
        else:
            yield Finding("pass", f"after {words(call)} the mark {host}:{mark} names {name}", call.n)


def monitor_mark_alone(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A mark that a call makes lies in the directory of a system datastore, nowhere else."""
    for call in case.watched(requirement):
        base = call.facts.get("system_base_path", "")
        made = [one for one in call.tree if posixpath.basename(one.path) == _MARK and one.change != "removed"]
        strange = [one for one in made if posixpath.dirname(one.path) != posixpath.normpath(base or "-")]
        if strange:
            yield Finding("fail", f"{words(call)} left a mark at {strange[0].host}:{strange[0].path}, where no probe looks for it", call.n)
        elif base and (made or call.ended_by == "exit"):
            yield Finding("pass", f"{words(call)} made no mark elsewhere", call.n)


def _asked_for_sizes(call: Call) -> bool:
    return call.facts.get("monitor_vm_disks") == "1"


def _sent(case: Case, call: Call) -> list[Datagram]:
    return [one for one in case.datagrams if one.call == call.n]


def vm_sizes_sent(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A datagram reaches the monitor daemon where MONITOR_VM_DISKS is 1 and there are VMs with disks, and none otherwise."""
    for call in case.of(requirement):
        nobodys = not call.observed and any(one.call < 0 and not one.node for one in case.datagrams)
        if not call.success or nobodys:
            continue
        sent, wanted = _sent(case, call), _asked_for_sizes(call)
        if wanted and not sent and call.facts.get("vms_with_disks"):
            yield Finding("fail", f"{words(call)} sent no datagram although MONITOR_VM_DISKS is 1", call.n)
        elif sent and not wanted:
            yield Finding("fail", f"{words(call)} sent a datagram although MONITOR_VM_DISKS is not 1", call.n)
        elif not wanted or sent:
            yield Finding("pass", f"{words(call)} sent {len(sent)} datagram{'s' if len(sent) != 1 else ''}", call.n)


def _wrong(case: Case, call: Call, part: str) -> Iterator[str]:
    """Yield for each text that carries sizes what is wrong with a part of it, empty if nothing."""
    if call.action == "monitor_ds":
        if call.ended_by == "exit" and call.status == 0:
            yield call.parse_error
        return
    for one in _sent(case, call):
        if part == "datagram":
            head = " ".join(one.payload.text[:80].split()[:4])
            yield one.problem if not one.kind else "" if _HEAD.fullmatch(head) else f"a datagram begins with {quoted(head)}"
        elif one.kind:
            yield one.wrong


def vm_sizes_grammar(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What carries the sizes of disks is wrapped and written as the monitor daemon reads it."""
    part = requirement.when.get("part", ("text",))[0]
    for call in case.of(requirement):
        for wrong in _wrong(case, call, part):
            if wrong:
                yield Finding("fail", f"{words(call)}: {wrong}", call.n)
            else:
                yield Finding("pass", f"{words(call)} wrote the sizes as they are read", call.n)


def vm_sizes_encrypted(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every datagram of a call was encrypted for the daemon's key."""
    for call in case.of(requirement):
        sent = _sent(case, call)
        clear = [one for one in sent if not one.encrypted]
        if clear:
            yield Finding("fail", f"{words(call)} did not encrypt a datagram for the key that monitord.conf names", call.n)
        elif sent:
            yield Finding("pass", f"{words(call)} encrypted what it sent", call.n)


Sizes = dict[tuple[int, ...], tuple[int, ...]]


def _read(text: str) -> Sizes:
    """Read `3/0=2:5 3/0/1=2:2`: by VM, disk and perhaps snapshot, one MiB figure or more."""
    pairs = (one.partition("=") for one in text.split())
    return {tuple(map(int, name.split("/"))): tuple(map(int, value.split(":"))) for name, _, value in pairs}


def _named(case: Case, call: Call) -> Sizes | None:
    """Return what a call named, None if it named nothing that could be read."""
    texts = [call.parsed.get("sizes", "")] if call.action == "monitor_ds" else [one.sizes for one in _sent(case, call)]
    named: Sizes = {}
    for text in texts:
        named |= _read(text)
    return named or None


def vm_sizes_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The VMs, the disks or their sizes are those that the world has in this datastore."""
    part = requirement.when.get("part", ("vms",))[0]
    for call in case.watched(requirement):
        named = _named(case, call)
        if named is None:
            continue
        wrong = _PARTS[part](call, named, _read(call.facts.get("true_sizes_mb", "")))
        if wrong:
            yield Finding("fail", f"{words(call)} {wrong}", call.n)
        else:
            yield Finding("pass", f"{words(call)} names the VMs and disks that are there as they are", call.n)


def _known(call: Call) -> dict[int, set[int]]:
    """Return the VMs that oned has in a call's datastore, with the ids of their disks."""
    pairs = (one.partition(":") for one in call.facts.get("vms_with_disks", "").split())
    return {int(vm): {int(disk) for disk in disks.split(",") if disk} for vm, _, disks in pairs}


def _wrong_vms(call: Call, named: Sizes, there: Sizes) -> str:
    vms, known = {key[0] for key in named}, _known(call)
    strange = sorted(vms - set(known) - {key[0] for key in there})
    missing = sorted(set(known) - vms)
    return f"names VM {strange[0]}, which is not there" if strange else f"leaves out VM {missing[0]}" if missing else ""


def _wrong_disks(call: Call, named: Sizes, there: Sizes) -> str:
    known = {(vm, disk) for vm, disks in _known(call).items() for disk in disks}
    vms = {key[0] for key in named} & ({key[0] for key in there} | set(_known(call)))
    # what lies there besides VMs' disks, such as a context image, may be named
    strange = sorted(key for key in set(named) - set(there) - known if key[0] in vms)
    missing = sorted(key for key in known - set(named) if key[0] in vms)
    return f"names {_place(strange[0])}, which is not there" if strange else f"leaves out {_place(missing[0])}" if missing else ""


def _wrong_sizes(call: Call, named: Sizes, there: Sizes) -> str:
    for key, (said, *_) in sorted(named.items()):
        if key in there and not any(abs(said - true) <= max(1, true * _TOLERANCE) for true in there[key]):
            return f"says that {_place(key)} takes {said} MiB; it takes {there[key][0]}, and is {there[key][1]} long"
    return ""


def _place(key: tuple[int, ...]) -> str:
    vm, disk, *snapshot = key
    return (f"snapshot {snapshot[0]} of " if snapshot else "") + f"disk {disk} of VM {vm}"


_PARTS = {"vms": _wrong_vms, "disks": _wrong_disks, "sizes": _wrong_sizes}


_REACHING = frozenset({"ssh", "scp", "rsync"})


def stays_on_node(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call on a node reaches no other host and asks oned nothing."""
    for call in case.of(requirement):
        reaching = [one for one in call.commands if one.host != call.host or one.name in _REACHING or one.name.startswith("one")]
        elsewhere = [one for one in call.tree if one.host != call.host] if call.facts.get("shared") == "NO" else []
        if reaching:
            yield Finding("fail", f"{words(call)} on {call.host} ran {' '.join((reaching[0].name, *reaching[0].argv))[:120]}", call.n)
        elif elsewhere:
            yield Finding("fail", f"{words(call)} on {call.host} changed {elsewhere[0].host}:{elsewhere[0].path}", call.n)
        elif call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} stayed on {call.host}", call.n)


_READING = ("show", "list", "top")


def questions_allowed(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every question of a call only reads."""
    for call in case.of(requirement):
        asked = [one for one in case.questions if one.call == call.n and one.kind != "virsh"]
        changing = [one for one in asked if not _reads(one)]
        if changing:
            yield Finding("fail", f"{words(call)} asked {' '.join(changing[0].argv[:3])}, which does more than read", call.n)
        elif asked:
            yield Finding("pass", f"{words(call)} only read", call.n)


def _reads(question: Question) -> bool:
    if question.kind == "command":
        return not question.argv[1:2] or question.argv[1] in _READING
    method = question.argv[0] if question.argv else ""
    return not method or method.rpartition(".")[2].startswith("info") or method == "one.system.version"


def questions_answered(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every question of a call was about something that exists."""
    for call in case.of(requirement):
        asked = [one for one in case.questions if one.call == call.n and one.kind != "virsh"]
        refused = [one for one in asked if one.status != 0]
        if refused:
            yield Finding("fail", f"{words(call)} asked {' '.join(refused[0].argv[:4])}, which has no answer", call.n)
        elif asked:
            yield Finding("pass", f"{words(call)} got an answer to each of its {len(asked)} questions", call.n)


CHECKS: dict[str, Check] = {
    "monitor_mark": monitor_mark,
    "monitor_mark_alone": monitor_mark_alone,
    "vm_sizes_sent": vm_sizes_sent,
    "vm_sizes_grammar": vm_sizes_grammar,
    "vm_sizes_true": vm_sizes_true,
    "vm_sizes_encrypted": vm_sizes_encrypted,
    "stays_on_node": stays_on_node,
    "questions_allowed": questions_allowed,
    "questions_answered": questions_answered,
}
