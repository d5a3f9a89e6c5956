"""Checks on what datastore actions make, name and tell: images that go whole, names that no shell takes apart, documents that say what is true."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from lxml import etree

from onesim import grammars, validation
from onesim.grammar_values import BackupUrl
from onesim.records import STORED, Call, Imported
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, quoted, words
from onetck.checks.remains import below, lying, made_for, makers

_DATASTORES = "/var/lib/one/datastores"
_PLAIN_SOURCE = re.compile(r"[\w./:@%+=,-]+")
#: An image in the text of a VM template.
_IMAGE_ID = re.compile(r"\bIMAGE_ID\s*=\s*\"?(\d+)")
_MIB = 1 << 20
#: What a file of a backup may hold beside the disk: tables, bitmaps, documents.
_AROUND_MB = 8
#: How long a backup that was cancelled may take to end what it does on hosts.
_CANCELLED_S = 10.0
_PLAIN_NAME = re.compile(r"[^/:,\s]+")


def _done(case: Case, requirement: Requirement) -> Iterator[Call]:
    return (call for call in case.of(requirement) if call.ended_by == "exit" and call.status == 0)


def _part(requirement: Requirement) -> str:
    return requirement.when.get("part", ("",))[0]


def within_wait(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call ended within the time that the user's request waits for it."""
    for call in case.of(requirement):
        action = case.spec.actions.get(f"{call.family}/{call.action}")
        limit, took = float(call.facts.get("wait_s", action.wait_s if action else 0)), call.duration_ns / 1e9
        if limit and took > limit:
            yield Finding("fail", f"{words(call)} took {took:.0f} s; the request waits {limit:g} s", call.n)
        elif limit and call.ended_by == "exit":
            yield Finding("pass", f"{words(call)} took {took:.1f} s of {limit:g}", call.n)


def changes_nothing(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A call that only tells has changed nothing in the datastores."""
    for call in _done(case, requirement):
        if not call.observed:
            continue
        changed = [one for one in call.tree if one.kind == STORED or below(one.path, _DATASTORES)]
        if changed:
            yield Finding("fail", f"{words(call)} {changed[0].change} {changed[0].host}:{changed[0].path}", call.n)
        else:
            yield Finding("pass", f"{words(call)} changed nothing", call.n)


def image_taken_away(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """After rm nothing is left of what the driver's calls have made in the datastore for this image."""
    for call in _done(case, requirement):
        if not call.observed:
            continue
        if "backups" in call.facts:
            yield _backups_taken_away(case, call)
            continue
        left = left_of_image(case, call)
        if left:
            yield Finding("fail", f"after {words(call)}, {left[0][0]}:{left[0][1]} is left", call.n)
        else:
            yield Finding("pass", f"{words(call)} left nothing of the image", call.n)


def left_of_image(case: Case, call: Call) -> list[tuple[str, str]]:
    """Return host and path of what the driver's calls have made in the datastore for the image of a call, and what is still there after it."""
    base = posixpath.normpath(call.facts.get("base_path", "/"))
    made = {
        (one.host, one.path)
        for other in case.calls
        if made_for(other)[0] == call.image
        for one in other.tree
        if one.change == "created" and one.kind != "d"
    }
    stored = makers(case, call.n)
    return sorted(place for place in made & lying(case, call.n) if place in stored or below(place[1], base))


def _backups_taken_away(case: Case, call: Call) -> Finding:
    """What bears the name of one of the image's backups is gone; a store may keep files of its own, in which each backup is but a part."""
    names = tuple(call.facts["backups"].split())
    store = posixpath.normpath(call.facts["backup_path"])
    left = sorted(
        f"{host}:{path}"
        for host, path in lying(case, call.n)
        if below(path, store) and any(step.startswith(names) for step in path.removeprefix(store).split("/"))
    )
    if left:
        return Finding("fail", f"after {words(call)}, {left[0]} is left", call.n)
    return Finding("pass", f"{words(call)} left nothing that bears the name of the backup", call.n)


def source_plain(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A SOURCE has none of the signs that shells, XPath and transfer scripts take apart."""
    for call in _done(case, requirement):
        source = call.parsed.get("source", "")
        if source and not _PLAIN_SOURCE.fullmatch(source):
            yield Finding("fail", f"{words(call)} names the SOURCE {quoted(source)}", call.n)
        elif source:
            yield Finding("pass", f"the SOURCE of {words(call)} is plain", call.n)


def name_plain(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The name of a backup has none of the signs that part a pseudo-URL and a chain."""
    for call in _done(case, requirement):
        name = call.parsed.get("backup_id", "")
        if name and not _PLAIN_NAME.fullmatch(name):
            yield Finding("fail", f"{words(call)} names the backup {quoted(name)}", call.n)
        elif name:
            yield Finding("pass", f"the name of the backup of {words(call)} is plain", call.n)


def number_alone(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Figures are whole numbers without a unit."""
    for call in _done(case, requirement):
        text = call.stdout.text.strip()
        values = re.findall(r"_MB\s*=\s*\"?([^\s\"]+)", text) if call.action == "monitor" else [text]
        odd = [value for value in values if not value.isdigit()]
        if odd:
            yield Finding("fail", f"{words(call)} printed {quoted(odd[0])}, which is more than a number", call.n)
        elif values:
            yield Finding("pass", f"{words(call)} printed whole numbers alone", call.n)


def export_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """IMPORT_INFO names a place that is there, figures that are right, and a disposal that spares the image."""
    for call in _done(case, requirement):
        root = validation.parse(call.stdout.text.encode())
        if not isinstance(root, etree._Element) or not call.observed:
            continue  # another requirement is about its grammar
        told = {str(child.tag): (child.text or "").strip() for child in root}
        wrong = _wrong_export(call, told, _part(requirement))
        yield Finding("fail", f"{words(call)}: {wrong}", call.n) if wrong else Finding("pass", f"{words(call)} tells what is true", call.n)


def _wrong_export(call: Call, told: dict[str, str], part: str) -> str:
    place, source = told.get("IMPORT_SOURCE", ""), call.facts.get("source", "")
    copies = {one.path for one in call.tree if one.change == "created"}
    normal = posixpath.normpath(place) if place.startswith("/") else place
    disposes = told.get("DISPOSE") == "YES"
    match part:
        case "place":
            local = normal.startswith("/") and normal != posixpath.normpath(source) and normal not in copies
            return "IMPORT_SOURCE is empty" if not place else f"nothing is at IMPORT_SOURCE {place}" if local else ""
        case "figures":
            if told.get("SIZE", "") != call.facts.get("size_mb", told.get("SIZE", "")):
                return f"SIZE is {told.get('SIZE')}, the image has {call.facts['size_mb']} MiB"
            if told.get("FORMAT", "") != call.facts.get("format", told.get("FORMAT", "")):
                return f"FORMAT is {told.get('FORMAT')}, the image is {call.facts['format']}"
            return "" if re.fullmatch(r"[0-9a-f]{32}", told.get("MD5", "")) else f"MD5 is {quoted(told.get('MD5', ''))}"
        case "disposal":
            return f"DISPOSE is YES, but {place} is no copy made for the export" if disposes and normal not in copies else ""
        case _:
            command = told.get("DISPOSE_CMD", "")
            if disposes and not command:
                return "DISPOSE is YES, and there is no DISPOSE_CMD"
            return f"DISPOSE_CMD {quoted(command)} names the image itself" if disposes and source and source in command.split() else ""


def imported(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """What the downloader fetches from IMPORT_SOURCE is the image, and has the checksum that IMPORT_INFO tells."""
    taken = {one.call: one for one in case.imports}
    for call in _done(case, requirement):
        seen = taken.get(call.n)
        if seen is None:
            continue  # another requirement is about its grammar
        wrong = _wrong_sum(seen) if _part(requirement) == "sum" else _wrong_bytes(seen)
        if wrong:
            yield Finding("fail", f"{words(call)}: {wrong}", call.n)
        elif seen.compared or (_part(requirement) == "sum" and seen.sum):
            yield Finding("pass", f"what {words(call)} names was fetched as it is", call.n)


def _wrong_sum(seen: Imported) -> str:
    if not seen.sum or seen.sum == seen.told_sum:
        return ""
    return f"MD5 is {quoted(seen.told_sum)}, what was fetched from {seen.source} has {seen.sum}"


def _wrong_bytes(seen: Imported) -> str:
    match seen.problem:
        case "":
            return ""
        case "missing":
            return f"nothing could be fetched from IMPORT_SOURCE {quoted(seen.source)}: {seen.detail}"
        case "bytes":
            return f"what was fetched from {seen.source} is not the image: at byte {seen.offset} stands {seen.actual[:16]}, not {seen.expected[:16]}"
        case _:
            return f"what was fetched from {seen.source} is not the image: {seen.problem} {seen.detail}".rstrip()


def listing_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The answer of ls names the disks of the backup, each with its increments in order."""
    for call in _done(case, requirement):
        try:
            listed = json.loads(call.stdout.text)
        except ValueError:
            continue  # another requirement is about its grammar
        wrong = _wrong_listing(call, listed, case.spec.version, _part(requirement)) if isinstance(listed, dict) else ""
        yield Finding("fail", f"{words(call)}: {wrong}", call.n) if wrong else Finding("pass", f"{words(call)} lists what is there", call.n)


def _wrong_listing(call: Call, listed: dict[str, object], version: str, part: str) -> str:
    if part == "disks":
        known = set(call.facts.get("backup_disks", "").split(":")) - {""}
        named = {disk for disk in listed if disk != "tpm"}
        return f"the disks {', '.join(sorted(named ^ known))} are listed or left out wrongly" if known and named != known else ""
    asked, known_ids = int(call.arguments.get("increment_id", -1)), [int(id) for id in call.facts.get("increments", "0").split()]
    due = [id for id in known_ids if asked < 0 or id <= asked]
    for disk, url in listed.items():
        parsed = grammars.parse("backup_url", str(url), version)
        if isinstance(parsed, BackupUrl):
            ids = [link.increment for link in parsed.chain]
            if ids != due:
                return f"the chain of disk {disk} is {', '.join(map(str, ids))}, not {', '.join(map(str, due))}"
    return ""


def chain_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The chain that is left is the last KEEP_LAST increments, by the ids that oned knows. Who prints nothing has left all."""
    for call in _done(case, requirement):
        known, keep = call.facts.get("increments", "").split(), int(call.facts.get("keep_last", "0"))
        told = [pair.partition(":")[0] for pair in call.parsed.get("chain", "").split(",") if pair]
        told = told or ([] if call.stdout.text.strip() else known)
        if not known or not keep or not told:
            continue
        if told != known[-keep:]:
            yield Finding("fail", f"{words(call)} left the increments {', '.join(told)}, not {', '.join(known[-keep:])}", call.n)
        else:
            yield Finding("pass", f"{words(call)} left the increments {', '.join(told)}", call.n)


def template_made(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The VM template that a restore names is one that it has had oned make, with all the images that it names. Of a whole VM there is one."""
    of_one_disk = {row.n for row in case.operations if "disk_id" in row.arguments}
    for call in _done(case, requirement):
        told = call.parsed.get("text", "").split()
        asked = [one for one in case.questions if one.kind == "xmlrpc" and one.argv[:1] == ("one.template.allocate",) and not one.status]
        if not told or any(one.call < 0 for one in asked):
            continue
        made = [one for one in asked if one.call == call.n]
        named = set(_IMAGE_ID.findall(made[-1].argv[1])) if made else set()
        lacking = [id for id in told[1:] if id not in named] if named else []
        images = [one for one in case.questions if one.call == call.n and one.argv[:1] == ("one.image.allocate",) and not one.status]
        if len(set(told[1:])) < len(images):
            yield Finding("fail", f"{words(call)} names {len(set(told[1:]))} of the {len(images)} images that it has made", call.n)
        elif (told[0] == "-1") != (not made):
            yield Finding("fail", f"{words(call)} names {'no VM template' if made else f'VM template {told[0]}'}, and has made {len(made)}", call.n)
        elif not made and call.operation not in of_one_disk:
            yield Finding("fail", f"{words(call)} makes no VM template, though all disks are asked for", call.n)
        elif lacking:
            yield Finding("fail", f"the VM template that {words(call)} has made lacks image {lacking[0]}", call.n)
        else:
            yield Finding("pass", f"{words(call)} names {f'VM template {told[0]}, which it has made' if made else 'no VM template'}", call.n)


def cancelled(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The backup of the VM that is under way when a cancel comes ends soon after."""
    for call in _done(case, requirement):
        end_ns = call.at_ns + call.duration_ns
        for other in case.scripts:
            backs_up = other.action in ("prebackup", "prebackup_live", "backup") and other.vm == call.vm
            if not backs_up or not other.at_ns <= call.at_ns < other.at_ns + other.duration_ns:
                continue
            longer_s = (other.at_ns + other.duration_ns - end_ns) / 1e9
            if longer_s > 0 and other.success:
                yield Finding("fail", f"{words(other)} goes on after {words(call)} has ended, and exits with 0", other.n)
            elif longer_s > _CANCELLED_S:
                yield Finding("fail", f"{words(other)} goes on for {longer_s:.0f} s after {words(call)} has ended", other.n)
            else:
                yield Finding("pass", f"{words(other)} ends with {words(call)}", other.n)


def backup_size(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The size of a backup is that of files that hold no more than the VM's disks do. It is known where each disk that was copied has been observed."""
    for call in _done(case, requirement):
        told = call.parsed.get("size_mb", "")
        copying = [
            one for one in case.scripts if one.operation == call.operation and one.vm == call.vm and one.plain in ("prebackup", "prebackup_live")
        ]
        copied = {int(id) for one in copying for id in one.arguments.get("disks", "").split(":") if id}
        disks: dict[int, int] = {}
        for seen in case.observations:
            if seen.subject == "disk" and seen.vm == call.vm and seen.after_call <= call.n:
                disks[seen.disk] = max(seen.virtual_size, disks.get(seen.disk, 0))
        if not copied or not copied <= disks.keys() or not told.isdigit():
            continue
        most = sum(disks.values()) // _MIB + _AROUND_MB * (len(disks) + 1)
        if int(told) > most:
            yield Finding("fail", f"{words(call)} says {told} MB of a VM whose disks have {sum(disks.values()) // _MIB}", call.n)
        else:
            yield Finding("pass", f"{words(call)} says {told} MB, of {most} at most", call.n)


CHECKS: dict[str, Check] = {
    "backup_size": backup_size,
    "cancelled": cancelled,
    "template_made": template_made,
    "within_wait": within_wait,
    "changes_nothing": changes_nothing,
    "image_taken_away": image_taken_away,
    "source_plain": source_plain,
    "name_plain": name_plain,
    "number_alone": number_alone,
    "export_true": export_true,
    "imported": imported,
    "listing_true": listing_true,
    "chain_true": chain_true,
}
