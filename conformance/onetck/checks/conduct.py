"""Checks on how a driver works: whether its exit status is true, what it refuses, where it works, and in which state it leaves a guest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onesim.records import Call, Command, FaultInjected
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, quoted, words
from onetck.checks.outputs import untrue_figures
from onetck.checks.products import left_of_image
from onetck.checks.remains import copies, left_of_vm


def tells_truth(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call whose work was cut or made impossible does not exit with 0, unless what it had to make is there."""
    spoiled = case.struck(requirement)
    for call in case.of(requirement):
        fault = spoiled.get(call.n)
        if fault is None or call.ended_by != "exit" or case.excuses(call, "truth"):
            continue
        if call.status != 0:
            yield Finding("pass", f"{words(call)} failed after {_struck(fault)}", call.n)
            continue
        wrong = _wrong(case, call)
        if wrong:
            yield Finding("fail", f"{words(call)} exited with 0 after {_struck(fault)}, and {wrong}", call.n)
        elif wrong is not None:
            yield Finding("pass", f"{words(call)} made good what {fault.command} could not do", call.n)


#: What acts do to the world, rather than to a command.
_TO_THE_WORLD = {"full": "storage got full", "readonly": "the datastores got read-only", "lose": "a host was lost", "lock": "another held the lock"}


def _struck(fault: FaultInjected) -> str:
    if fault.act in _TO_THE_WORLD:
        return f"{_TO_THE_WORLD[fault.act]} at {fault.command}"
    return f"{fault.command} was made to {fault.act}"


def _wrong(case: Case, call: Call) -> str | None:
    """Return what is wrong after a call; empty if nothing is, None if nothing shows it: a backup has first to be restored."""
    seen = [one for one in case.observations if one.operation == call.operation and one.problem]
    found = [one for one in seen if one.vm == call.vm or (one.subject == "image" and one.image == call.image)]
    if found:
        return f"{found[0].label} is wrong"
    match f"{call.family}/{call.plain}":
        case "ds/export" if not call.stdout.size:
            return "nothing is printed"
        case "ds/monitor" | "tm/monitor":
            return untrue_figures(call)
        case "tm/delete" | "ds/rm" if call.observed and (left := (left_of_vm if call.family == "tm" else left_of_image)(case, call)):
            return f"{left[0][0]}:{left[0][1]} is left"
        case "ds/restore":
            return _lacking(call)
        case "ds/backup":
            names = {call.parsed.get("backup_id", "")}
        case "tm/prebackup" | "tm/prebackup_live":
            listed, made = copies(case, call) if call.observed else (set(), set())
            return f"there is no file for disk {', '.join(sorted(listed - made))}" if listed - made else ""
        case "ds/increment_flatten":
            names = {pair.partition(":")[2] for pair in call.parsed.get("chain", "").split(",")}
        case _:
            return "nothing has changed" if _changes_files(case, call) and call.observed and not call.tree else ""
    later = [one for one in case.scripts if one.n > call.n and one.family == "ds" and one.action == "restore"]
    tried = [one for one in later if names & set(one.facts.get("backups", "").split()) and not _spoiled(case, one)]
    if not tried:
        return None
    return next((text for one in tried if (text := _not_restored(case, one))), "")


def _changes_files(case: Case, call: Call) -> bool:
    if case.begin is None or case.begin.volumes or case.begin.pool:
        return False
    action = case.spec.actions.get(f"{call.family}/{call.plain}")
    carries = call.plain == "premigrate" and call.facts.get("shared") == "NO"
    return carries or (action is not None and case.spec.spec.effects[action.effect].changes)


def _spoiled(case: Case, call: Call) -> bool:
    return any(row.hit and row.call == call.n for row in case.faults)


def _not_restored(case: Case, call: Call) -> str:
    """Return why the images that a restore has made are not those of the backup; empty if they are."""
    if call.status:
        return f"{words(call)} fails"
    bad = [seen.label for seen in case.observations if seen.operation == call.operation and seen.subject == "image" and seen.problem]
    return _lacking(call) or (f"{bad[0]}, made of it, is wrong" if bad else "")


def _lacking(call: Call) -> str:
    """Return what the answer of a restore lacks: it names one image for each disk, each once."""
    disks = [disk for disk in call.facts.get("backup_disks", "").split(":") if disk]
    images = call.parsed.get("text", "").split()[1:]
    if len(set(images)) >= len(disks):
        return ""
    return f"{words(call)} names {len(set(images))} images for {len(disks)} disks"


def refuses(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that the trace expects to fail does not exit with 0."""
    doomed = {operation.n for operation in case.operations if operation.arguments.get("expect") == "failure"}
    for call in case.of(requirement):
        if call.operation not in doomed or call.ended_by != "exit":
            continue
        if call.status or call.parse_error:
            yield Finding("pass", f"{words(call)} refused", call.n)
        elif not any(one.operation == call.operation and one.n > call.n and one.action != "monitor" for one in case.scripts):
            yield Finding("fail", f"{words(call)} exited with 0 for what it must refuse", call.n)


def refuses_path(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A PATH that the trace expects to be refused is refused: by cp, or by stat, which oned asks before it."""
    for operation in case.operations:
        if operation.arguments.get("expect") != "failure":
            continue
        calls = [call for call in case.scripts if call.operation == operation.n and (call.family, call.action) in (("ds", "stat"), ("ds", "cp"))]
        if not calls or any(call.ended_by != "exit" or call.facts.get("about") not in requirement.when.get("about", ()) for call in calls):
            continue
        last = calls[-1]
        path = quoted(str(operation.arguments.get("path", "")))
        if any(call.status or call.parse_error for call in calls):
            yield Finding("pass", f"{words(last)} refused {path}", last.n)
        else:
            yield Finding("fail", f"{words(last)} accepted {path}, which it must refuse", last.n)


def refuses_itself(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call refuses what the trace expects to be refused, and leaves that to no other call."""
    refused = {operation.n for operation in case.operations if operation.arguments.get("expect") == "failure"}
    for call in case.of(requirement):
        if call.operation not in refused or call.ended_by != "exit":
            continue
        if call.status or call.parse_error:
            yield Finding("pass", f"{words(call)} refused", call.n)
        else:
            yield Finding("fail", f"{words(call)} accepted what it must refuse", call.n)


def through_bridge(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that works on the storage succeeds, and works on one of the hosts of BRIDGE_LIST; of `part` source, on one of SOURCE_BRIDGE_LIST."""
    doomed = {row.call for row in case.faults if row.hit}
    fact = "source_bridges" if "source" in requirement.when.get("part", ()) else "bridge_list"
    named = "SOURCE_BRIDGE_LIST" if fact == "source_bridges" else "BRIDGE_LIST"
    for call in case.of(requirement):
        bridges = set(call.facts.get(fact, "").split())
        if call.action == "stat" or call.ended_by != "exit" or call.n in doomed or not bridges:
            continue
        reached = any(one.host in bridges or (one.name == "ssh" and bridges & set(one.argv)) for one in call.commands)
        if call.status:
            yield Finding("fail", f"{words(call)} failed: {quoted(call.stderr.text)}", call.n)
        elif reached:
            yield Finding("pass", f"{words(call)} worked through a host of {named}", call.n)
        else:
            yield Finding("fail", f"{words(call)} went to none of the hosts of {named}", call.n)


def named_hosts(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Nothing ran, and nothing changed, on a host that neither the arguments nor the document name."""
    for call in case.of(requirement):
        known = {case.begin.hosts[0] if case.begin.hosts else "frontend", call.host, call.facts.get("host", ""), call.facts.get("other_host", "")}
        known |= {word.partition(":")[0] for word in call.argv}
        known |= {host for fact in ("bridge_list", "source_bridges") for host in call.facts.get(fact, "").split()}
        known |= set(re.findall(r"[\w.-]+", call.facts.get("datastore_says", "")))
        strange = [one.host for one in call.commands if one.host not in known] + [one.host for one in call.tree if one.host not in known]
        if call.facts.get("shared") == "YES":
            # what is shared shows on every host at once: only what ran there counts
            strange = [one.host for one in call.commands if one.host not in known]
        if strange:
            yield Finding("fail", f"{words(call)} worked on {strange[0]}, which nothing names", call.n)
        else:
            yield Finding("pass", f"{words(call)} worked on the hosts that it was given", call.n)


#: The LCM state HOTPLUG_SAVEAS: a disk of a running VM is saved.
_SAVES_RUNNING = "26"
#: What is done to a command that then does not run.
_NOT_RUN = ("fail", "die", "hang")
_FREEZES = {"suspend": "resume", "domfsfreeze": "domfsthaw", "pause": "resume"}


def guest_resumed(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every virsh command that stops or freezes the guest is followed by the one that lets it go on; what libvirt has refused has changed nothing."""
    for call in case.of(requirement):
        if case.excuses(call, "guest"):
            continue
        stopped: list[str] = []
        for command in _not_refused(case, call):
            for word in command.argv:
                if word in _FREEZES and command.fault not in _NOT_RUN:
                    stopped.append(_FREEZES[word])
                elif word in stopped:
                    stopped.remove(word)
        if stopped:
            yield Finding("fail", f"{words(call)} ended without virsh {stopped[0]}: the guest stands still", call.n)
        elif _virsh(call):
            yield Finding("pass", f"{words(call)} let the guest go on", call.n)
        elif "virsh" in case.begin.gates and call.success and call.facts.get("lcm_state") == _SAVES_RUNNING:
            yield Finding("pass", f"{words(call)} let the guest be: it ran no virsh", call.n)


def _not_refused(case: Case, call: Call) -> Iterator[Command]:
    """Yield each virsh that a call has run, in order, but those that libvirt has refused; where nobody knows what it answered, it counts as done.

    Answers stand in the history where the simulated libvirt gave them; those to the same command line are in its order.
    """
    answers = [one for one in case.questions if one.call == call.n and one.kind == "virsh"]
    for command in call.commands:
        if command.name != "virsh":
            continue
        answer = next((one for one in answers if one.host == command.host and one.argv[1:] == command.argv), None)
        if answer is not None:
            answers.remove(answer)
        if answer is None or answer.status == 0:
            yield command


def _virsh(call: Call) -> bool:
    return any(command.name == "virsh" for command in call.commands)


CHECKS: dict[str, Check] = {
    "tells_truth": tells_truth,
    "refuses": refuses,
    "refuses_path": refuses_path,
    "refuses_itself": refuses_itself,
    "through_bridge": through_bridge,
    "named_hosts": named_hosts,
    "guest_resumed": guest_resumed,
}
