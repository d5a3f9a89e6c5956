"""Checks on bytes: what images and disks hold after each operation, and that what is gone is gone."""

from __future__ import annotations

from collections.abc import Iterator

from onesim.records import Call, Observation, Operation
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, about, quoted

_WHAT = {
    "missing": "is not there",
    "unreadable": "cannot be read",
    "format": "has the wrong format",
    "size": "has the wrong size",
    "bytes": "holds other bytes than it must",
}


def _called(case: Case, seen: Observation) -> set[str]:
    """Return the actions that the observation's operation called for what was observed (for its VM if the disk itself was not named)."""
    calls = case.calls_of[seen.operation]
    if seen.subject == "image":
        mine = [call for call in calls if _on_image(call, seen.image) or call.family == "ds"]
    else:
        mine = [call for call in calls if call.vm == seen.vm and call.disk in (seen.disk, -1)]
    return {f"{call.family}/{call.action.partition('.')[0]}" for call in mine}


def _on_image(call: Call, image: int) -> bool:
    """Whether a call writes to an image: its own, or the one that it saves a disk as."""
    return call.facts.get("saved_image", str(call.image)) == str(image)


def _grown(case: Case, seen: Observation) -> bool:
    sizes = [
        call.facts
        for call in case.calls
        if call.n <= seen.after_call and call.vm == seen.vm and call.disk == seen.disk and "original_size_mb" in call.facts
    ]
    return any(int(facts["size_mb"]) > int(facts["original_size_mb"]) for facts in sizes)


def _saved(case: Case, seen: Observation) -> bool:
    """Whether an image is one that a disk was saved as."""
    return any(call.facts.get("saved_image") == str(seen.image) for call in case.scripts)


def _matches(case: Case, seen: Observation, requirement: Requirement) -> bool:
    for name, values in requirement.when.items():
        if name == "called":
            if not _called(case, seen) & set(values):
                return False
        elif name == "grown":
            if ("yes" if _grown(case, seen) else "no") not in values:
                return False
        elif name == "saved":
            if ("yes" if _saved(case, seen) else "no") not in values:
                return False
        elif name == "outcome":
            if ("failure" if seen.operation in case.failed_in else "success") not in values:
                return False
        elif name == "op":
            if case.operation_names.get(seen.operation, "") not in values:
                return False
        elif hasattr(seen, name):
            if str(getattr(seen, name)) not in values:
                return False
        elif not any(call.facts.get(name, "") in values for call in case.calls_of[seen.operation]):
            return False
    return True


def _had(case: Case, seen: Observation, action: str) -> bool:
    """Whether the action that a requirement is about has run before: what went wrong without it is not its doing."""
    return any(about(action, call) and call.n <= seen.after_call for call in case.scripts)


def _earlier_trouble(case: Case, seen: Observation) -> bool:
    """Whether the same image or disk was wrong before: the first time tells the cause."""
    return any(one.label == seen.label and one.subject == seen.subject and one.problem for one in case.observations[: case.observations.index(seen)])


def counting(observations: list[Observation]) -> list[Observation]:
    """Return the observations that count.

    oned gives an image with snapshots to VMs alone (7.4.0: src/rm/api/ImageAPI.cc:119 clones none), so a driver may keep the present state of a qcow2 one in a
    layer beside its SOURCE: what SOURCE holds then is wrong only if the disk of the next VM that has the image is wrong too.
    """
    return [one for n, one in enumerate(observations) if not (_layered(one) and one.problem) or _seen_by_vm(one, observations[n:])]


def _layered(seen: Observation) -> bool:
    return seen.subject == "image" and seen.snapshots > 0 and seen.format != "raw"


def _seen_by_vm(seen: Observation, later: list[Observation]) -> bool:
    return next((bool(one.problem) for one in later if one.subject == "disk" and one.image == seen.image), False)


def content(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What is observed is one of the versions that the content register admits."""
    for seen in case.observations:
        if seen.subject not in ("image", "disk") or not _matches(case, seen, requirement) or _earlier_trouble(case, seen):
            continue
        if not _had(case, seen, requirement.action):
            continue
        where = f"{seen.host}:{seen.path}"
        operation = case.operation_names.get(seen.operation, "")
        if not seen.problem:
            yield Finding("pass", f"after {operation}, {seen.label} holds what it must", seen.after_call, where)
            continue
        sentence = f"after {operation}, {seen.label} ({where}) {_WHAT.get(seen.problem, seen.problem)}"
        if seen.detail:
            sentence += f": {quoted(seen.detail)}"
        if seen.offset >= 0:
            sentence += f"; at offset {seen.offset} {_bytes(seen.expected)} expected, {_bytes(seen.actual)} found"
        yield Finding("fail", sentence, _culprit(case, seen), where)


def _bytes(hexadecimal: str) -> str:
    return f"{hexadecimal[:32]}…" if len(hexadecimal) > 32 else hexadecimal or "nothing"


def _culprit(case: Case, seen: Observation) -> int:
    """Return the last call of the operation that was about what was observed, else the last call before; -1 if that one overlapped with others."""
    if seen.subject == "image":
        mine = [call.n for call in case.scripts if call.operation == seen.operation and _on_image(call, seen.image)]
    else:
        mine = [call.n for call in case.scripts if call.operation == seen.operation and call.vm == seen.vm and call.disk == seen.disk]
    shared = any(call.n == seen.after_call and not call.observed for call in case.calls)
    return mine[-1] if mine else -1 if shared else seen.after_call


def gone(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Nothing is left of what oned considers gone; before 6.5.80 that is also what a driver has refused to remove."""
    for seen in case.observations:
        if seen.subject not in requirement.when["subject"] or case.expected(seen.operation) == "failure":
            continue
        where = f"{seen.host}:{seen.path}"
        calls = [call.n for call in case.scripts if call.operation == seen.operation and call.plain in ("delete", "rm")]
        call = calls[-1] if calls else -1
        if seen.problem:
            yield Finding("fail", f"{where} is still there after {seen.label} is gone", call, where)
        else:
            yield Finding("pass", f"{where} is gone", call, where)


def checkpoint_arrives(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The hypervisor finds the checkpoint where the directory was moved to."""
    for call in case.calls:
        if call.family != "vmm" or call.action != "restore":
            continue
        moved = [one.n for one in case.scripts if one.operation == call.operation and one.plain == "mv" and one.disk < 0]
        if not moved:
            continue
        if call.success:
            yield Finding("pass", f"the checkpoint is at {call.host}", moved[-1])
        elif "checkpoint" in call.error:
            yield Finding("fail", f"the hypervisor finds that {call.error}", moved[-1])


def iso_arrives(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The hypervisor finds the context ISO on the host where it boots the VM."""
    for call in case.of(requirement):
        place = call.arguments.get("destination", "").partition(":")[2]
        after = (one for one in case.calls if one.operation == call.operation and one.n > call.n and one.vm == call.vm and one.family == "vmm")
        boot = next(after, None)
        if not call.success or boot is None or not place:
            continue
        if boot.success:
            yield Finding("pass", f"the hypervisor finds the ISO on {boot.host}", call.n)
        elif place in boot.error:
            yield Finding("fail", f"the hypervisor finds that {boot.error}", call.n)


def size_taken_back(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A disk that has grown since the snapshot is no longer as large when it has gone back to it. Storage may round sizes up."""
    before: dict[str, int] = {}
    for seen in case.observations:
        if seen.subject != "disk":
            continue
        grown = before.get(seen.label, 0)
        before[seen.label] = seen.virtual_size
        if not _matches(case, seen, requirement) or not 0 < seen.expected_size < grown:
            continue
        where = f"{seen.host}:{seen.path}"
        if seen.virtual_size >= grown:
            sentence = f"{seen.label} ({where}) still has {seen.virtual_size} bytes; at the time of the snapshot it had {seen.expected_size}"
            yield Finding("fail", sentence, _culprit(case, seen), where)
        else:
            yield Finding("pass", f"{seen.label} has the size of the time of the snapshot again", _culprit(case, seen), where)


def one_moment(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Images made of a backup show their disks as they were at one and the same moment, while the guest wrote on."""
    for restored in (one for one in case.operations if one.op == "image.restore"):
        backup = _restored_backup(case, restored)
        copied = next((call for call in case.of(requirement) if call.operation == backup), None)
        moments = {version: one.moment for one in case.writes if one.operation == backup and one.moment > 0 for version in one.version.split(",")}
        made = {call.image for call in case.scripts if call.operation == restored.n and (call.family, call.action) == ("ds", "cp")}
        seen = [one for one in case.observations if one.operation == restored.n and one.subject == "image" and one.image in made and one.found]
        if copied is None or not moments or len(seen) < 2:
            continue
        shown = {moments.get(one.found, 0): one.label for one in seen}
        if len(shown) > 1:
            first, last = min(shown), max(shown)
            yield Finding("fail", f"{shown[first]} and {shown[last]} show their disks at different moments", copied.n)
        else:
            yield Finding("pass", f"the {len(seen)} images of the backup show their disks at one moment", copied.n)


def _restored_backup(case: Case, restored: Operation) -> int:
    """Return the operation that has made what is restored: of several increments the one asked for, else the last; -1 if there is none."""
    image, increment = restored.arguments.get("image"), restored.arguments.get("increment_id", -1)
    made = [one.n for one in case.operations if one.op == "vm.backup" and one.n < restored.n and one.arguments.get("image") == image]
    return made[int(increment)] if made and int(increment) < len(made) else -1


def _wanted_names(files: str) -> list[str]:
    """Return the names that the files of a context have in the ISO, from the words of the argument."""
    words = (word.rpartition(":'") if word.endswith("'") else ("", "", word) for word in files.split())
    return [name.rstrip("'").rsplit("/", 1)[-1] for _, _, name in words]


def context_files(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Every file that context was given lies in the ISO under its name."""
    for seen in case.observations:
        if seen.subject != "context_files":
            continue
        calls = [call for call in case.scripts if call.plain == "context" and call.vm == seen.vm and call.n <= max(seen.after_call, 0)]
        if not calls or calls[-1].facts.get("expect") == "failure":
            continue  # what cannot be there is for another requirement
        wanted = [name for name in _wanted_names(calls[-1].arguments.get("files", "")) if _concerns(requirement, name, calls[-1])]
        missing = [name for name in wanted if name not in seen.admits]
        where = f"{seen.host}:{seen.path}"
        if missing:
            yield Finding("fail", f"{where} lacks {missing[0]}; it holds {', '.join(seen.admits[:6]) or 'no file'}", calls[-1].n, where)
        elif wanted:
            yield Finding("pass", f"{where} holds {', '.join(wanted[:4])}", calls[-1].n, where)


def _concerns(requirement: Requirement, name: str, call: Call) -> bool:
    """Whether a name is one that the requirement is about: all of them, those given with a name of their own, those that ISO 9660 changes, those from a server."""
    match requirement.when.get("names", ("all",))[0]:
        case "given":
            return f":'{name}'" in call.arguments["files"]
        case "remote":
            return any(word.startswith(("http://", "https://")) and word.endswith(f"/{name}") for word in call.arguments["files"].split())
        case "long":
            return len(name) > 12 or name != name.lower()
        case _:
            return True


CHECKS: dict[str, Check] = {
    "context_files": context_files,
    "content": content,
    "gone": gone,
    "iso_arrives": iso_arrives,
    "size_taken_back": size_taken_back,
    "checkpoint_arrives": checkpoint_arrives,
    "one_moment": one_moment,
}
