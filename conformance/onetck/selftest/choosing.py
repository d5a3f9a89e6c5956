"""Which of the cases that run a line are played with a mutant of it, and in what order: the cheapest first, then those that may see what it does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from onesim.trace import Trace
from onetck.selftest.baseline import ROLES, CaseSeen
from onetck.selftest.source import uses, within_reach

_WORD = re.compile(r"[a-z]{3,}|[0-9]*[a-z]+[0-9]+")
#: A word that more cases have than this says nothing of one.
_RARE = 12
#: A case of another contract that takes less is played besides.
_SHORT_S = 0.3
#: The roles under other contracts than the newest.
_OLDER = frozenset(row.name for row in ROLES if row.contract)


def chosen(cases: Sequence[CaseSeen], traces: Mapping[str, Trace], files: Mapping[str, str], file: str, line: int, most: int = 0) -> list[CaseSeen]:
    """Return the cases to play of those that run a line, so many at `most`; 0 = all. `traces` are those of the cases by their keys.

    The cheapest is the first; then that which has the rarest words of the line in its trace, such as the name of an attribute; then that which runs most of what the
    line may come to that none before has run, or else most of the script, in any role or else in its own, and so on; when there is no such case left, again from
    the beginning. If all that are picked so are of the newest contract, the last gives way to the one of another that runs most of the script. Where the line sets
    what other scripts use, each older role has such a case. The shortest one of an older role that has none comes besides, if it is short.
    """
    left = sorted(cases, key=lambda one: (one.duration_s, one.key))
    picked = left[:1]
    alike = _alike(left, traces, files[file].split("\n")[line - 1]) if len(left) > most > 1 else {}
    if alike:
        best = max(left, key=lambda one: (alike.get(one.key, 0.0), -one.duration_s))
        picked += [best] if best not in picked else []
    left = [one for one in left if one not in picked]
    used = list(uses(files, file, line))
    reach = [*within_reach(files, file, line), *used]
    ran: set[tuple[str, int, str]] = set()
    for one in picked:
        ran |= _ran(one, file, reach)
    while left and not (most and len(picked) >= most):
        best = max(left, key=lambda one: (*_new(_ran(one, file, reach) - ran), -one.duration_s))
        if _ran(best, file, reach) <= ran:
            ran.clear()
            best = left[0]
        ran |= _ran(best, file, reach)
        picked.append(best)
        left.remove(best)
    lacking = _OLDER - {one.role for one in picked}
    older = [one for one in left if one.role in lacking]
    if older and most > 1 and (used or lacking == _OLDER):
        ranked = sorted(older, key=lambda one: (len(_ran(one, file, reach)), -one.duration_s))
        added = list({one.role: one for one in ranked}.values())[-(most - 1 if used else 1) :]
        kept = [one for one in picked if used and one.role in _OLDER]
        picked = [*[one for one in picked if one not in kept][: most - len(added) - len(kept)], *kept, *added]
    there = {one.role for one in picked}
    short = {one.role: one for one in sorted(cases, key=lambda one: -one.duration_s) if one.role in _OLDER - there and one.duration_s < _SHORT_S}
    return [*picked[: most or None], *(short.values() if most else ())]


def _alike(cases: Sequence[CaseSeen], traces: Mapping[str, Trace], row: str) -> dict[str, float]:
    """Return by the keys of cases how much of a line's words their traces have, the rare ones before all. Cases that have none are left out."""
    wanted = set(_WORD.findall(row.lower().replace("_", " ")))
    shared = {one.key: wanted & _words(traces[one.key]) for one in cases if one.key in traces}
    common = Counter(word for words in shared.values() for word in words)
    weights = {key: sum(1 / common[word] for word in words if common[word] <= _RARE) for key, words in shared.items()}
    return {key: weight for key, weight in weights.items() if weight}


def _words(trace: Trace) -> set[str]:
    text = msgspec.json.encode([(step.op, step.arguments, step.about) for step in trace.steps]).decode()
    return set(_WORD.findall(text.lower().replace("_", " ")))


def _ran(seen: CaseSeen, file: str, reach: Sequence[tuple[str, int, int]]) -> set[tuple[str, int, str]]:
    """Return the lines that a case runs, of a script in its role, and of what is within reach in any."""
    near = {(at, line, "*") for at, first, last in reach for line in seen.lines.get(at, ()) if first <= line <= last}
    return near | {(file, line, role) for line in seen.lines[file] for role in ("", seen.role)}


def _new(new: set[tuple[str, int, str]]) -> tuple[int, int, int]:
    """Count what none before has run: what is within reach, lines of the script in any role, in its own."""
    roles = Counter(role for _, _, role in new)
    return roles["*"], roles[""], len(new) - roles["*"] - roles[""]
