"""Checks on how calls end: the script, its limits, its exit status, its error text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onesim.records import Call
from onesim.rows import Requirement
from onetck.checks.base import RETRY, Case, Check, Finding, quoted, words

_ENDED_BADLY = {
    "exists": ("missing", "fail", "there is no script {script}"),
    "run_bit": ("not_executable", "fail", "{script} cannot be executed: it lacks the run bit, or a directory above it"),
    "interpreter": ("bad_interpreter", "fail", "{script} names an interpreter that is not there, or is no script at all"),
    "in_time": ("timeout", "timeout", "{call} did not end within the time limit and was killed"),
    "bounded_output": ("output", "fail", "{call} printed {seen} bytes before it was stopped"),
    "bounded_processes": ("processes", "fail", "{call} started more processes than the limit allows and was killed"),
    "bounded_memory": ("memory", "fail", "{call} used more memory than the limit allows and was killed"),
}


def _ended(name: str) -> Check:
    ended_by, verdict, sentence = _ENDED_BADLY[name]

    def check(case: Case, requirement: Requirement) -> Iterator[Finding]:
        for call in case.of(requirement):
            if name == "in_time" and case.excuses(call, "time"):
                continue
            if call.ended_by == ended_by:
                seen = call.stdout.bytes_seen + call.stderr.bytes_seen
                yield Finding(verdict, sentence.format(script=call.script, call=words(call), seen=seen), call.n)
            else:
                yield Finding("pass", f"{words(call)} ended by itself", call.n)

    return check


def no_signal(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that ended by a signal which nobody but the driver sent."""
    struck = {row.call for row in case.faults if row.hit and row.act == "die"}
    for call in case.of(requirement):
        if call.ended_by == "signal" and call.n not in struck:
            yield Finding("crash", f"{words(call)} died of signal {call.signal}", call.n)
        elif call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} exited with {call.status}", call.n)


def no_leftovers(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """No process of the call is alive when its script has ended."""
    for call in case.of(requirement):
        if call.leftovers and call.ended_by == "exit":
            yield Finding("fail", f"{words(call)} left {len(call.leftovers)} running: {quoted(call.leftovers[0])}", call.n)
        elif call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} left no process", call.n)


def _reason(call: Call) -> str:
    if call.parse_error:
        return call.parse_error
    return quoted(call.error or call.stderr.text) if (call.error or call.stderr.text) else "nothing on stderr"


def _success(call: Call) -> Iterator[Finding]:
    if call.ended_by != "exit":
        return  # another requirement is about how it ended
    if call.status == 0:
        yield Finding("pass", f"{words(call)} exited with 0", call.n)
    else:
        yield Finding("fail", f"{words(call)} exited with {call.status}: {_reason(call)}", call.n)


def _plain_name(call: Call) -> bool:
    """Whether cp gets a path that no shell would take apart; the address of a backup is no name that a user has given."""
    return re.fullmatch(r"[\w./-]*", call.facts.get("path", "")) is not None


def succeeds(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that ought to succeed exits with 0."""
    for call in case.of(requirement):
        if call.facts.get("expect") != "success" or call.facts.get("op") == "vm.recover_retry":
            continue
        if call.facts.get("about") == "beside" and not requirement.when:
            continue  # that this is no restricted place is a SHOULD of its own
        if call.plain == "resize" and call.facts.get("lcm_state") == "64" and call.facts.get("shared") == "NO" and "shared" not in requirement.when:
            continue  # oned names a host where the disk is not: finding it is a SHOULD of its own
        if call.action != "cp" or _plain_name(call) or "op" in requirement.when:
            if call.plain == "delete" and call.facts.get("op") == "vm.recover_delete" and not requirement.when:
                continue
            yield from _success(call)


def succeeds_named(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The same, for a user's file whose name holds characters that a shell would take apart."""
    for call in case.of(requirement):
        if call.facts.get("expect") == "success" and not _plain_name(call) and call.facts.get("op") != "image.restore":
            yield from _success(call)


def succeeds_again(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The same, when a script runs again after it was cut off: a prolog or epilog as oned has it, anything else as the user asks again."""
    for call in case.of(requirement):
        again = call.facts.get("op") == "vm.recover_retry" or call.facts.get("about") == RETRY
        if again and call.facts.get("expect") == "success":
            yield from _success(call)


def error_text(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that failed by its own decision left an error text that oned shows."""
    for call in case.of(requirement):
        if call.ended_by == "exit" and call.status != 0 and call.facts.get("expect") != "success" and not case.excuses(call, "reason"):
            if not call.error:
                yield Finding("fail", f"{words(call)} failed without an error text that oned would show", call.n)
            elif call.error.startswith("-"):
                yield Finding("fail", f"the error text of {words(call)} begins with a dash, so oned hides it: {quoted(call.error)}", call.n)
            else:
                yield Finding("pass", f"{words(call)} says {quoted(call.error)}", call.n)


_INTERNAL = re.compile(
    r"command not found|syntax error|unbound variable|No such file or directory - |Traceback \(most recent call last\)|integer expression expected|: not found$",
    re.MULTILINE,
)


def no_internal_error(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that exits with 0 has no error of its interpreter on stderr."""
    for call in case.of(requirement):
        if call.ended_by == "exit" and call.status == 0:
            found = _INTERNAL.search(call.stderr.text)
            if found:
                line = next((one for one in call.stderr.text.splitlines() if found.group().strip() in one), found.group())
                yield Finding("fail", f"{words(call)} exited with 0 although its interpreter reported {quoted(line)}", call.n)
            else:
                yield Finding("pass", f"{words(call)}: nothing of the interpreter on stderr", call.n)


def _refuses(case: Case, requirement: Requirement, wanted: str) -> Iterator[Finding]:
    for operation in case.operations:
        if operation.arguments.get("expect") != "failure":
            continue
        path = str(operation.arguments.get("path", ""))
        if not path or path.startswith("/var/lib/one/") != (wanted == "restricted"):
            continue
        calls = [call for call in case.scripts if call.operation == operation.n and call.family == "ds" and call.action != "monitor"]
        if any(call.facts.get("about") for call in calls):
            continue  # refused for a reason of its own
        if not calls or any(call.ended_by != "exit" for call in calls):
            continue
        last = calls[-1]
        if any(call.status != 0 or call.parse_error for call in calls):
            yield Finding("pass", f"{words(last)} refused {path}", last.n)
        else:
            yield Finding("fail", f"{words(last)} accepted {path}, which it must refuse", last.n)


def refuses_missing(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A file that is not there is refused."""
    return _refuses(case, requirement, "missing")


def refuses_restricted(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A file under a restricted directory is refused."""
    return _refuses(case, requirement, "restricted")


CHECKS: dict[str, Check] = {
    **{name: _ended(name) for name in _ENDED_BADLY},
    "no_signal": no_signal,
    "no_leftovers": no_leftovers,
    "succeeds": succeeds,
    "succeeds_named": succeeds_named,
    "succeeds_again": succeeds_again,
    "error_text": error_text,
    "no_internal_error": no_internal_error,
    "refuses_missing": refuses_missing,
    "refuses_restricted": refuses_restricted,
}
