"""Checks on what actions print."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onesim.records import Call
from onesim.rows import Requirement
from onetck.checks.base import Case, Check, Finding, quoted, words


def _successful(case: Case, requirement: Requirement) -> Iterator[Call]:
    for call in case.of(requirement):
        if call.ended_by == "exit" and call.status == 0 and call.facts.get("expect") == "success":
            yield call


#: Source: 7.4.0, src/datastore_mad/one_datastore.rb:160 (monitor), src/market_mad/one_market.rb:154 (export), src/tm_mad/lib/datastore.rb:178 (ls).
_WRAPPED = ("monitor", "export", "ls")


def one_line(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """At most one line of stdout. That of `_WRAPPED` actions is not a message: it is encoded, or read whole by who calls them."""
    for call in _successful(case, requirement):
        lines = call.stdout.text.rstrip("\n").count("\n") + 1 if call.stdout.text else 0
        if call.action in _WRAPPED:
            continue
        if lines > 1:
            second = call.stdout.text.split("\n")[1]
            yield Finding("fail", f"{words(call)} printed {lines} lines; the second is a message of its own to oned: {quoted(second)}", call.n)
        else:
            yield Finding("pass", f"{words(call)} printed {lines} line", call.n)


def _first(call: Call) -> str:
    return call.stdout.text.split("\n", 1)[0]


def source_and_format(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Two words."""
    for call in _successful(case, requirement):
        if len(_first(call).split()) == 2:
            yield Finding("pass", f"{words(call)} printed {quoted(_first(call))}", call.n)
        else:
            yield Finding("fail", f"{words(call)} printed {quoted(_first(call))} where SOURCE and FORMAT are due", call.n)


def source_token(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A first word; and no second one where the contract's parser takes none or the whole line."""
    for call in _successful(case, requirement):
        printed = _first(call).split()
        allowed = 2 if case.spec.parser(f"{call.family}/{call.action}") == "source_maybe_format" else 1
        if 1 <= len(printed) <= allowed:
            yield Finding("pass", f"{words(call)} printed {quoted(_first(call))}", call.n)
        else:
            yield Finding("fail", f"{words(call)} printed {quoted(_first(call))} where SOURCE is due", call.n)


def source_alone(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """SOURCE and nothing else."""
    for call in _successful(case, requirement):
        if len(_first(call).split()) == 1:
            yield Finding("pass", f"{words(call)} printed {quoted(_first(call))}", call.n)
        else:
            yield Finding("fail", f"{words(call)} printed {quoted(_first(call))}: the whole line becomes the SOURCE", call.n)


def unique_source(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """No two images of a case have one SOURCE."""
    seen: dict[str, int] = {}
    for call in _successful(case, requirement):
        source = call.parsed.get("source", call.parsed.get("backup_id", ""))
        if not source or source == "-":
            continue
        if source in seen:
            yield Finding("fail", f"{words(call)} returned {quoted(source)}, which is the SOURCE of an earlier image", call.n)
        else:
            yield Finding("pass", f"{words(call)} returned a SOURCE of its own", call.n)
        seen[source] = call.n


def new_source(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The clone's SOURCE is not that of the original."""
    for call in _successful(case, requirement):
        source, original = call.parsed.get("source", ""), call.facts.get("path", "")
        if source == original:
            yield Finding("fail", f"{words(call)} returned the SOURCE of the original, {quoted(source)}", call.n)
        else:
            yield Finding("pass", f"{words(call)} returned a SOURCE of its own", call.n)


def true_format(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The format said is the format that lies there."""
    for call in _successful(case, requirement):
        said = call.parsed.get("format", "")
        seen = next((one for one in case.observations if one.subject == "image" and one.image == call.image), None)
        if not said:
            continue
        if said != said.lower():
            yield Finding("fail", f"{words(call)} returned the format {quoted(said)}, not in lower case", call.n)
        elif seen is not None and seen.problem == "format":
            yield Finding("fail", f"{words(call)} returned the format {quoted(said)}; {seen.detail}", call.n)
        elif seen is not None:
            yield Finding("pass", f"{words(call)} returned {said}, and that it is", call.n)


def converted(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """An image is of the format that DRIVER of its datastore names."""
    for call in _successful(case, requirement):
        wanted = call.facts.get("ds_driver", "")
        seen = next((one for one in case.observations if one.subject == "image" and one.image == call.image), None)
        if not wanted or seen is None:
            continue
        if seen.format == wanted and seen.problem != "format":
            yield Finding("pass", f"{words(call)} stored the image as {wanted}", call.n)
        else:
            yield Finding("fail", f"{words(call)} stored the image as {quoted(seen.format)}, DRIVER of the datastore is {wanted}", call.n)


def unconverted(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """An image that is not to be converted is not of the format that DRIVER of its datastore names, which is another one than that of the file."""
    for call in _successful(case, requirement):
        avoided = call.facts.get("ds_driver", "")
        seen = next((one for one in case.observations if one.subject == "image" and one.image == call.image), None)
        if not avoided or seen is None:
            continue
        if seen.format != avoided and not seen.problem:
            yield Finding("pass", f"{words(call)} left the image as {seen.format}", call.n)
        else:
            yield Finding("fail", f"{words(call)} stored the image as {quoted(seen.format)}, which was not to be converted", call.n)


def size_printed(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """A whole number first."""
    for call in _successful(case, requirement):
        if re.match(r"\s*\d+", _first(call)):
            yield Finding("pass", f"stat printed {quoted(_first(call))}", call.n)
        else:
            yield Finding("fail", f"stat printed {quoted(_first(call))} where a number of MiB is due", call.n)


def _file_sizes(case: Case) -> tuple[dict[str, int], dict[str, int]]:
    """Return the MiB of the disk in every file and URL of the trace, and of the packed files themselves."""
    disks: dict[str, int] = {}
    packed: dict[str, int] = {}
    for row in case.operations:
        path = str(row.arguments.get("path", ""))
        match row.op:
            case "file.make":
                disks[path] = int(row.arguments["size_mb"])
            case "file.pack":
                disks[path] = disks[str(row.arguments["of"])]
                packed[path] = (int(row.arguments["bytes"]) + (1 << 20) - 1) >> 20
            case "url.serve":
                url = str(row.arguments["url"])
                disks[url] = disks[path]
                packed |= {url: packed[path]} if path in packed else {}
    return disks, packed


def size_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The number is the virtual size of the user's file in MiB."""
    sizes, packed = _file_sizes(case)
    for call in _successful(case, requirement):
        path = call.facts.get("path", "")
        expected = packed.get(path, sizes.get(path)) if call.facts.get("no_decompress", "").lower() == "yes" else sizes.get(path)
        if expected is None or "size_mb" not in call.parsed:
            continue
        if int(call.parsed["size_mb"]) == expected:
            yield Finding("pass", f"stat printed {expected} for a disk of {expected} MiB", call.n)
        else:
            yield Finding("fail", f"stat printed {call.parsed['size_mb']} for a disk of {expected} MiB", call.n)


_CAPACITY = ("USED_MB", "TOTAL_MB", "FREE_MB")


def capacity_printed(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """Three attributes, each a number."""
    for call in _successful(case, requirement):
        missing = [name for name in _CAPACITY if not re.search(rf"\b{name}\s*=\s*\"?\d", call.stdout.text)]
        if call.parse_error:
            yield Finding("fail", f"{words(call)} printed {quoted(call.stdout.text)}: {call.parse_error}", call.n)
        elif missing:
            yield Finding(
                "fail", f"{words(call)} printed {quoted(call.stdout.text)}: {', '.join(missing)} is missing or no number, and counts as 0", call.n
            )
        else:
            yield Finding("pass", f"{words(call)} printed all three figures", call.n)


def capacity_true(case: Case, requirement: Requirement) -> Iterator[Finding]:
    """The total and free figures are those of the storage, within a tenth and 16 MiB."""
    for call in _successful(case, requirement):
        if "true_total_mb" not in call.facts or "total_mb" not in call.parsed:
            continue
        wrong = untrue_figures(call)
        if wrong:
            yield Finding("fail", f"{words(call)}: {wrong}", call.n)
        else:
            yield Finding("pass", f"{words(call)}: total and free agree with the storage", call.n)


def untrue_figures(call: Call) -> str:
    """Return which of the figures of a monitor are not those of the storage; empty if none, or if nobody knows."""
    wrong = []
    for name in ("total_mb", "free_mb"):
        if f"true_{name}" not in call.facts or name not in call.parsed:
            continue
        said, true = float(call.parsed[name]), float(call.facts[f"true_{name}"])
        if abs(said - true) > max(16.0, true / 10):
            wrong.append(f"{name.upper()} is {said:.0f}, the storage has {true:.0f}")
    return "; ".join(wrong)


CHECKS: dict[str, Check] = {
    "one_line": one_line,
    "source_and_format": source_and_format,
    "source_token": source_token,
    "source_alone": source_alone,
    "unique_source": unique_source,
    "new_source": new_source,
    "true_format": true_format,
    "converted": converted,
    "unconverted": unconverted,
    "size_printed": size_printed,
    "size_true": size_true,
    "capacity_printed": capacity_printed,
    "capacity_true": capacity_true,
}
