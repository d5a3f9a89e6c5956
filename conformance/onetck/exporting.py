"""A case as a plain shell script: what the user made and every call of the drivers up to the one that failed, for somebody who has a front-end and no onetck."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from onereport.html import visible
from onereport.results import FAILURES, RequirementVerdict, Result, ResultRecord
from onesim.errors import ConfigError
from onesim.journal import read
from onesim.layout import HOSTS, REMOTES
from onesim.model import FRONTEND
from onesim.records import Blob, Call, CaseBegin, GuestWrite, Header, Operation, Question, Record

_FAMILIES = ("ds", "tm")


@dataclass(frozen=True)
class Chosen:
    """What is exported: a case as far as a call (-1: to its end), and what is wrong there."""

    case: str
    call: int
    sentences: tuple[str, ...]


def choose(out: Path, case: str, requirement: str) -> Chosen:
    """Return what to export of the run in `out`: this case, else the first that broke this requirement, else the first that broke any.

    Raises ConfigError if there is none.
    """
    results = [one for one in read(out / "results.jsonl", ResultRecord) if isinstance(one, Result | RequirementVerdict)]
    sentences = {one.requirement: one.sentence for one in results if isinstance(one, RequirementVerdict)}
    if requirement and requirement not in sentences:
        raise ConfigError(f"{out}: the run knows no requirement {requirement!r}")
    broken = [
        one
        for one in results
        if isinstance(one, Result) and one.verdict in FAILURES and case in ("", one.case) and requirement in ("", one.requirement)
    ]
    if not broken:
        if case and not requirement:
            return Chosen(case, -1, ())
        raise ConfigError(f"{out}: nothing {f'of {requirement} ' if requirement else ''}failed there; name a case with --case")
    first = broken[0]
    last = next((one.call for one in first.evidence if one.call >= 0), -1)
    said = (text for one in first.evidence for text in (one.sentence, one.place) if text)
    return Chosen(first.case, last, (f"{first.requirement}: {sentences[first.requirement]}", *said))


def render(out: Path, chosen: Chosen) -> str:
    """Return the script. Raises ConfigError for a case that the history does not have."""
    header: Header | None = None
    steps: list[str] = []
    questions: dict[int, list[Question]] = {}
    found = done = False
    for record in read(out / "history.jsonl", Record):
        if isinstance(record, Header):
            header = record
        if getattr(record, "case", None) != chosen.case or done:
            continue
        match record:
            case CaseBegin():
                found = True
            case Operation():
                steps += _operation(record)
            case GuestWrite():
                write = f"qemu-io -c 'write -P 0x5a 64k 64k' {shlex.quote(record.path)}"
                steps.append(f"at {shlex.quote(record.host)} {shlex.quote(write)}  # the guest writes")
            case Question():
                questions.setdefault(record.call, []).append(record)
            case Call():
                steps += _call(record, questions.pop(record.n, ()), out / "blobs")
                done = record.n == chosen.call
    if header is None or not found:
        raise ConfigError(f"{out}: no case {chosen.case!r} was run there")
    return "\n".join([*_head(header, chosen), *steps, *_tail(chosen)]) + "\n"


def _head(header: Header, chosen: Chosen) -> Iterator[str]:
    tail = f" up to call {chosen.call}" if chosen.call >= 0 else ""
    first, _, rest = resources.files("onetck").joinpath("repeat_script.sh").read_text(encoding="utf-8").partition("\n")
    yield first
    yield _comment(f"Case {chosen.case} of a run of {header.tool} under OpenNebula {header.version}{tail}.")
    for sentence in chosen.sentences:
        yield _comment(sentence)
    yield "#"
    yield "# For the oneadmin of a front-end that may be spoiled: it uses datastores 0 and 1 and VMs from 0 on. Environment: REMOTES, and the names of two"
    yield f"# hosts and of the front-end, {', '.join(host.upper() for host in (FRONTEND, *HOSTS))}, where they are others than these."
    yield rest
    for host in (FRONTEND, *HOSTS):
        yield f'swap {host} "${{{host.upper()}:-{host}}}"'
    yield ""


def _tail(chosen: Chosen) -> Iterator[str]:
    for sentence in chosen.sentences:
        yield f"echo {shlex.quote(_line(f'in the recording: {sentence}'))}"


def _operation(record: Operation) -> Iterator[str]:
    given = record.arguments
    told = " ".join(f"{name}={value}" for name, value in given.items() if name != "expect")
    yield ""
    yield _comment(f"{record.op} {told}")
    if record.op == "file.make":
        path, size, format = (shlex.quote(str(given[name])) for name in ("path", "size_mb", "format"))
        yield f"head -c {size}M /dev/urandom >{path}.raw && qemu-img convert -f raw -O {format} {path}.raw {path} && rm {path}.raw"
    elif record.op == "file.link":
        yield f"ln -sT -- {shlex.quote(str(given['to']))} {shlex.quote(str(given['path']))}"
    elif record.op.startswith(("file.", "url.", "fault.", "host.")):
        yield f"echo {shlex.quote(_line(f'by hand, if it matters here: {record.op} {told}'))}"


def _call(call: Call, questions: Sequence[Question], blobs: Path) -> Iterator[str]:
    if call.family not in _FAMILIES:
        yield _comment(f"oned has the hypervisor driver do {call.action} on {call.host}")
        return
    for question in questions:
        if question.kind != "command":
            yield _comment(f"the driver asks oned for {' '.join(question.argv[:1])} by its API, which this script does not answer")
            continue
        answer = (blobs / question.answer_sha256).read_text(errors="replace").rstrip("\n") if question.answer_sha256 else ""
        yield from _with_input(f"answer {question.status} {shlex.join(question.argv)}", answer, "ANSWER")
    stdin = _bytes(call.stdin, blobs)
    document, encoding = _plain(stdin.decode(errors="replace")) if stdin else ("", "nothing")
    words = []
    for word in call.argv:
        text, how = _plain(word)
        if how == "base64" and not document:
            document, word = text, "@document"
        words.append(word)
    script = call.script.removeprefix(f"{REMOTES}/")
    status = str(call.status) if call.ended_by == "exit" else call.ended_by
    line = f"call {call.n} {shlex.join([script, encoding, status, *words])}"
    yield from _with_input(line, document, "DOCUMENT") if document else (f"{line} </dev/null",)
    if call.parsed.get("source"):
        yield f"took {shlex.quote(call.parsed['source'])}"


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _comment(text: str) -> str:
    """Return a comment of one line, whatever stands in the text: the rest of it would be run."""
    return f"# {_line(text)}"


def _with_input(command: str, text: str, word: str) -> Iterator[str]:
    """Yield a command with a text as its standard input, which ends at a line that the text does not have."""
    while word in text.splitlines():
        word += "_"
    yield from (f"{command} <<'{word}'", text, word)


def _bytes(blob: Blob, blobs: Path) -> bytes:
    return (blobs / blob.sha256).read_bytes() if not blob.complete and blob.sha256 else blob.text.encode()


def _plain(text: str) -> tuple[str, str]:
    """Return a document in clear, and how it travelled; anything else as it is."""
    try:
        clear = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text, "plain"
    return (clear, "base64") if clear.startswith("<") else (text, "plain")
