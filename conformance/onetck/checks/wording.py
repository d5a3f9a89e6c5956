"""Checks on what scripts read and print: standard input to its end, one line of error text, log lines, and nothing that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onesim import grammars, recognition
from onesim.records import Call
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, quoted, words

_BLOCK = re.compile(r"^ERROR MESSAGE --8<------\n(.*?)\n?^ERROR MESSAGE ------>8--$", re.DOTALL | re.MULTILINE)
_SEPARATOR = re.compile(r"^ERROR MESSAGE (--8<------|------>8--)$", re.MULTILINE)
_LOGGED = re.compile(r"\s*(ERROR|INFO|WARN|DEBUG):\s+(\S.*)")
#: Texts that oned reads by a grammar of their own.
_GRAMMARS = {"monitor": "monitor", "size": "result/stat"}


def _ended(case: Case, requirement: Requirement) -> Iterator[Call]:
    return (call for call in case.of(requirement) if call.ended_by == "exit")


def one_error_line(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The error text of a call that failed is one line, in the form that the contract reads."""
    for call in _ended(case, requirement):
        if call.status == 0:
            continue
        wrong = _wrong_error(call.stderr.text, case.spec.contract.error, requirement.when.get("part", ("line",))[0])
        yield Finding("fail", f"{words(call)}: {wrong}", call.n) if wrong else Finding("pass", f"the error text of {words(call)} is one line", call.n)


def _wrong_error(stderr: str, rule: str, part: str) -> str:
    if rule == "separated":
        blocks = _BLOCK.findall(stderr)
        if len(blocks) != 1:
            return f"{len(blocks)} error texts stand between separators, not one"
        return "" if blocks[0] and "\n" not in blocks[0] else "the error text between the separators is not one line"
    if part == "separators":
        return "the error text has separators, which users would see" if _SEPARATOR.search(stderr) else ""
    plain = [line for line in stderr.splitlines() if line.strip() and not _LOGGED.match(line)]
    return f"the error text has {len(plain)} lines: {quoted(stderr)}" if len(plain) > 1 else ""


def log_lines(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What a successful call prints on stderr are log lines."""
    for call in _ended(case, requirement):
        if call.status:
            continue
        lost = [line for line in call.stderr.text.splitlines() if line.strip() and not _LOGGED.match(line)]
        if lost:
            yield Finding("fail", f"{words(call)} printed {quoted(lost[0])} on stderr, which is no log line and is lost", call.n)
        else:
            yield Finding("pass", f"{words(call)} printed nothing but log lines on stderr", call.n)


def log_number(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The text of a log line does not begin with a digit."""
    for call in _ended(case, requirement):
        found = [match for match in map(_LOGGED.match, call.stderr.text.splitlines()) if match]
        numbered = [match for match in found if match[2][0].isdigit()]
        if numbered:
            yield Finding("fail", f"{words(call)} logged {quoted(numbered[0][0])}: the number is taken for the id of an object", call.n)
        elif found:
            yield Finding("pass", f"no log line of {words(call)} begins with a number", call.n)


def keeps_secrets(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """No secret shows in what a call printed, in the arguments of its commands, or in the names of its files."""
    for call in _ended(case, requirement):
        secrets = [secret for secret in call.facts.get("secrets", "").split("\n") if len(secret) > 3]
        if not secrets:
            continue
        seen = {
            "on stdout": call.stdout.text,
            "on stderr": call.stderr.text,
            "in the arguments of a command": "\n".join(" ".join(command.argv) for command in call.commands),
            "in the name of a file": "\n".join(one.path for one in call.tree),
        }
        shown = [where for where, text in seen.items() if any(secret in text for secret in secrets)]
        if shown:
            yield Finding("fail", f"{words(call)} shows the value of an encrypted attribute {shown[0]}", call.n)
        else:
            yield Finding("pass", f"{words(call)} shows no secret", call.n)


def output_grammar(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What a successful call printed is what the contract reads, and nothing else."""
    for call in _ended(case, requirement):
        parser = case.spec.parser(f"{call.family}/{call.action.partition('.')[0]}")
        if call.status or parser == "ignored" or call.facts.get("expect") != "success":
            continue
        wrong = _wrong_output(case, call, parser)
        yield (
            Finding("fail", f"{words(call)} printed {quoted(call.stdout.text)}: {wrong}", call.n)
            if wrong
            else Finding("pass", f"{words(call)} printed what the contract reads", call.n)
        )


def _wrong_output(case: Case, call: Call, parser: str) -> str:
    version, text = case.spec.version, call.stdout.text
    if parser == "disk_urls":
        problems = grammars.validate_ls(text, version)
    elif parser == "import_info":
        problems = list(recognition.recognise(text.encode(), case.spec, "IMPORT_INFO").problems)
    else:
        problems = grammars.problems(_GRAMMARS.get(parser, f"result/{call.action}"), text, version)
    return problems[0].message if problems else ""


def prints_nothing(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call whose output nobody reads printed nothing on stdout."""
    for call in _ended(case, requirement):
        if case.spec.parser(f"{call.family}/{call.action.partition('.')[0]}") != "ignored":
            continue
        if call.stdout.text.strip():
            yield Finding("fail", f"{words(call)} printed {quoted(call.stdout.text)}, which nobody reads", call.n)
        else:
            yield Finding("pass", f"{words(call)} printed nothing", call.n)


def stdin_read(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call read its standard input to the end."""
    for call in _ended(case, requirement):
        if not call.stdin.size:
            continue
        if call.stdin_left:
            yield Finding("fail", f"{words(call)} ended with {call.stdin_left} of {call.stdin.size} bytes of standard input unread", call.n)
        else:
            yield Finding("pass", f"{words(call)} read standard input to its end", call.n)


CHECKS: dict[str, Check] = {
    "one_error_line": one_error_line,
    "log_lines": log_lines,
    "log_number": log_number,
    "keeps_secrets": keeps_secrets,
    "output_grammar": output_grammar,
    "prints_nothing": prints_nothing,
    "stdin_read": stdin_read,
}
