"""Whether an evidence bundle holds: is it whole, who signed it, is every requirement of the profile in it, and do the checks say the same of what was recorded."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from onereport.results import EXIT_EVIDENCE, EXIT_INTERRUPTED
from onesim.errors import ConfigError
from onetck import container, manifest, rejudging
from onetck.container import Void
from onetck.intactness import problems
from onetck.manifest import Manifest
from onetck.signing import signed

_SHOWN_MAX = 20


class Answer(msgspec.Struct, frozen=True):
    """One of the four answers. `state` is holds, changed (the evidence is void), or open (nothing is wrong, and something is not known)."""

    question: Literal["INTEGRITY", "SIGNATURE", "COMPLETENESS", "RE-JUDGED"]
    state: Literal["holds", "changed", "open"]
    sentence: str
    details: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """All answers, the verdict that the checks reach again, and the exit code."""

    answers: tuple[Answer, ...]
    verdict: str
    sentence: str
    exit_code: int


@dataclass(frozen=True)
class Opened:
    """A bundle as read: its manifest, the bytes of that and of its signature, and its files laid into a directory."""

    manifest: Manifest
    text: bytes
    signature: bytes
    root: Path


def verify(path: Path, against: str = "", signers: Path | None = None) -> Verification:
    """Verify a bundle, against the profiles of the run or others, with the signers that are trusted. Raises ConfigError for what is no file or no profile."""
    with tempfile.TemporaryDirectory(prefix="onetck-verify-") as scratch:
        try:
            opened = _open(path, Path(scratch))
            wrong = list(problems(opened.root, opened.manifest))
        except Void as error:
            opened, wrong = None, [str(error)]
        if opened is None or wrong:
            void = Answer("INTEGRITY", "changed", "the evidence is void: it is not as it was made", tuple(wrong[:_SHOWN_MAX]))
            said = () if opened is None else (_signature(opened, signers),)
            return Verification((void, *said), "", "the bundle was changed; nothing in it counts", EXIT_EVIDENCE)
        files, runs = len(opened.manifest.predicate.files), len(opened.manifest.predicate.runs)
        whole = f"{files} files are as the manifest says, and no record of {f'{runs} histories' if runs else 'the history'} is missing"
        answers = [Answer("INTEGRITY", "holds", whole), _signature(opened, signers)]
        return _judged(opened, answers, against)


def _open(path: Path, scratch: Path) -> Opened:
    """Unpack a bundle whose files are those of its manifest, byte for byte. Raises Void for another, ConfigError for what is no file."""
    files = container.unpack(path)
    text, signature = files.pop(manifest.NAME, b""), files.pop(manifest.SIGNATURE, b"")
    try:
        told = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise Void(f"{manifest.NAME}: {error}") from None
    if (told.type, told.predicate_type) != (manifest.STATEMENT, manifest.EVIDENCE):
        raise ConfigError(f"{path}: is evidence of another form, {told.predicate_type}; verify it with the tool that made it")
    _compare(files, told)
    for name, data in files.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(data)
    return Opened(told, text, signature, scratch)


def _compare(files: dict[str, bytes], told: Manifest) -> None:
    known = {one.name: one for one in told.predicate.files}
    wrong = [f"{name}: is missing" for name in known if name not in files] + [
        f"{name}: the manifest does not know it" for name in files if name not in known
    ]
    for name, data in files.items():
        if name in known and hashlib.sha256(data).hexdigest() != known[name].digest.get("sha256"):
            wrong.append(f"{name}: its bytes are not those of the manifest")
    if wrong:
        raise Void("; ".join(wrong[:_SHOWN_MAX]))


def _signature(opened: Opened, signers: Path | None) -> Answer:
    found = signed(opened.text, opened.signature, signers)
    match found.state:
        case "good":
            return Answer("SIGNATURE", "holds", f"by {found.by}")
        case "unknown":
            return Answer("SIGNATURE", "open", f"by {found.by}; whose that is nobody has said (--signers FILE)")
        case "none" if signers is None:
            return Answer("SIGNATURE", "open", "none: who made this nobody knows")
        case "none":
            return Answer("SIGNATURE", "changed", "none, and one by a trusted signer was asked for")
        case "foreign":
            return Answer("SIGNATURE", "changed", f"by {found.by}, which is none of the trusted signers")
    return Answer("SIGNATURE", "changed", f"it is not over this manifest: {found.by}")


def _judged(opened: Opened, answers: list[Answer], against: str) -> Verification:
    """Judge what was recorded again, and say what is missing."""
    again = rejudging.rejudge(opened.root, against)
    lacking = tuple(again.missing)
    judged = f"{again.profile} under contract {again.contract}"
    complete = f"every requirement of {judged} that applies was executed" if not lacking else f"{len(lacking)} are missing of {judged}"
    answers.append(Answer("COMPLETENESS", "open" if lacking else "holds", complete, lacking))
    differences = tuple(again.differences[:_SHOWN_MAX])
    more = f", {len(again.differences)} in all" if len(again.differences) > _SHOWN_MAX else ""
    bytes_not_read = "bytes are not re-read: the checks ran over recorded facts and digests"
    if again.other:
        say = f"by {again.other}, not by what made the evidence" + (f"; it differs{more}" if differences else "; it says the same")
        answers.append(Answer("RE-JUDGED", "open", f"{say}; {bytes_not_read}", differences))
    elif differences:
        answers.append(Answer("RE-JUDGED", "changed", f"not what the evidence says{more}; {bytes_not_read}", differences))
    else:
        answers.append(Answer("RE-JUDGED", "holds", f"the same: {again.results} results over {again.calls} calls; {bytes_not_read}"))
    footer = again.footer
    code = EXIT_INTERRUPTED if footer is None else footer.exit_code
    if any(one.state == "changed" for one in answers):
        code = EXIT_EVIDENCE
    return Verification(tuple(answers), footer.verdict if footer else "PARTIAL", footer.said if footer else "The run was interrupted.", code)


def lines(found: Verification) -> Iterator[str]:
    """Yield the answers for a terminal."""
    for one in found.answers:
        yield f"{one.question:<13} {'CHANGED: ' if one.state == 'changed' else ''}{one.sentence}"
        yield from (f"{'':<14}{detail}" for detail in one.details[:_SHOWN_MAX])
        if len(one.details) > _SHOWN_MAX:
            yield f"{'':<14}… and {len(one.details) - _SHOWN_MAX} more (--json)"
    yield f"{found.verdict}: {found.sentence}" if found.verdict else found.sentence
