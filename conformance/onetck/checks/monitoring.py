"""Checks on monitoring: the mark of system datastores that are not shared, the datagrams with the sizes of disks, and what drivers ask of oned."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from onesim import grammars
from onesim.grammar_values import Datagram as Message
from onesim.grammar_values import DiskSizes, VmSizes
from onesim.records import Call, Datagram, Question
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, words
from onetck.checks.remains import lying

#: One UDP datagram carries no more.
_MAX_DATAGRAM = 65507


def monitor_mark(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The mark .monitor lies in a system datastore that is not shared, with a driver's name in it, and in no shared one."""
    for call in case.watched(requirement):
        base = call.facts.get("system_base_path", "")
        if not base or call.ended_by != "exit" or call.status != 0:
            continue
        mark = posixpath.normpath(f"{base}/.monitor")
        lies = any(path == mark for _, path in lying(case, call.n))
        changed = [one for one in call.tree if one.path == mark and one.change != "removed"]
        if call.facts.get("shared") == "YES":
            if changed or lies:
                yield Finding("fail", f"after {words(call)}, {mark} is there although the system datastore is shared", call.n)
            else:
                yield Finding("pass", f"{words(call)} made no mark in a shared system datastore", call.n)
            continue
        name = call.facts.get("system_tm", call.mad)
        if not lies:
            yield Finding("fail", f"after {words(call)} there is no {mark}: the node's probe will not look at this datastore", call.n)
        elif changed and changed[-1].size not in (len(name), len(name) + 1):
            yield Finding("fail", f"{mark} has {changed[-1].size} bytes; the name {name!r} and a newline have {len(name) + 1}", call.n)
        else:
            yield Finding("pass", f"after {words(call)} the mark {mark} is there", call.n)


def _asked_for_sizes(call: Call) -> bool:
    return call.facts.get("monitor_vm_disks") == "1"


def _sent(case: Case, call: Call) -> list[Datagram]:
    return [one for one in case.datagrams if one.call == call.n]


def vm_sizes_sent(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A datagram reaches the monitor daemon where MONITOR_VM_DISKS is 1 and there are VMs with disks, and none otherwise."""
    for call in case.of(requirement):
        nobodys = not call.observed and any(one.call < 0 for one in case.datagrams)
        if not call.success or nobodys:
            continue
        sent, wanted = _sent(case, call), _asked_for_sizes(call)
        if wanted and not sent and call.facts.get("vms_with_disks"):
            yield Finding("fail", f"{words(call)} sent no datagram although MONITOR_VM_DISKS is 1", call.n)
        elif sent and not wanted:
            yield Finding("fail", f"{words(call)} sent a datagram although MONITOR_VM_DISKS is not 1", call.n)
        elif not wanted or sent:
            yield Finding("pass", f"{words(call)} sent {len(sent)} datagram{'s' if len(sent) != 1 else ''}", call.n)


def _messages(case: Case, call: Call) -> Iterator[tuple[str, str, str]]:
    """Yield the texts that carry sizes, each with what is wrong about its size and about its wrapping (empty if nothing)."""
    if call.action == "monitor_ds":
        yield call.stdout.text, "", ""
        return
    for one in _sent(case, call):
        if one.payload.size > _MAX_DATAGRAM:
            yield "", f"a datagram of {one.payload.size} bytes cannot travel in one piece", ""
            continue
        found = grammars.parse("datagram", one.payload.text, case.spec.version)
        if isinstance(found, Message):
            yield found.text, "", ""
        else:
            yield "", "", str(found[0]) if isinstance(found, list) else "no message to the monitor daemon"


def vm_sizes_grammar(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What carries the sizes of disks is small enough, wrapped and written as the monitor daemon reads it."""
    part = requirement.when.get("part", ("text",))[0]
    for call in case.of(requirement):
        for text, large, wrapped in _messages(case, call):
            problems = [str(one) for one in grammars.problems("vm_sizes", text, case.spec.version)] if text else []
            wrong = {"piece": large, "datagram": wrapped, "text": problems[0] if problems else ""}[part]
            if wrong:
                yield Finding("fail", f"{words(call)}: {wrong}", call.n)
            elif text or part == "piece":
                yield Finding("pass", f"{words(call)} wrote the sizes as they are read", call.n)


def vm_sizes_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The VMs and disks that are named are those that the world has in this datastore."""
    for call in case.of(requirement):
        known = {
            int(vm): set(disks.split(",")) - {""} for vm, _, disks in (one.partition(":") for one in call.facts.get("vms_with_disks", "").split())
        }
        named: dict[int, DiskSizes] = {}
        for text, _, _ in _messages(case, call):
            found = grammars.parse("vm_sizes", text, case.spec.version) if text else None
            if isinstance(found, VmSizes):
                named |= found.vms
        if not named:
            continue
        strange, missing = sorted(set(named) - set(known)), sorted(set(known) - set(named))
        disks = [vm for vm in sorted(set(named) & set(known)) if {str(one.disk) for one in named[vm].disks} != known[vm]]
        if strange or missing or disks:
            what = (
                f"names VM {strange[0]}, which is not there"
                if strange
                else f"leaves out VM {missing[0]}"
                if missing
                else f"names other disks of VM {disks[0]}"
            )
            yield Finding("fail", f"{words(call)} {what}", call.n)
        else:
            yield Finding("pass", f"{words(call)} names the VMs and disks that are there", call.n)


_READING = ("show", "list", "top")


def questions_allowed(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every question of a call only reads."""
    for call in case.of(requirement):
        asked = [one for one in case.questions if one.call == call.n]
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
        asked = [one for one in case.questions if one.call == call.n]
        refused = [one for one in asked if one.status != 0]
        if refused:
            yield Finding("fail", f"{words(call)} asked {' '.join(refused[0].argv[:4])}, which has no answer", call.n)
        elif asked:
            yield Finding("pass", f"{words(call)} got an answer to each of its {len(asked)} questions", call.n)


CHECKS: dict[str, Check] = {
    "monitor_mark": monitor_mark,
    "vm_sizes_sent": vm_sizes_sent,
    "vm_sizes_grammar": vm_sizes_grammar,
    "vm_sizes_true": vm_sizes_true,
    "questions_allowed": questions_allowed,
    "questions_answered": questions_answered,
}
