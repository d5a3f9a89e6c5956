"""Fault cases for mutants that no ordinary case finds: what an action does when something fails under it, made and measured when a mutant first asks for it."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from onesim.layout import Subjected
from onesim.model import FRONTEND
from onesim.records import Call
from onesim.spec import ContractSpec
from onesim.trace import read_trace
from onesim.tracetext import renamed, render
from onetck import faulting
from onetck.faulting import Place
from onetck.plan import PlannedCase, foresee
from onetck.selftest.baseline import TRACED_S, Baseline, CaseSeen, Role
from onetck.selftest.playing import play
from onetck.selftest.source import is_action, mentions, within_reach, words_at

#: The kinds of fault that are made, those first after which a script goes on in a way of its own; at most so many of an action and kind.
_KINDS = ("fails", "unheard", "cut", "broken-off", "not-removed", "not-measured", "oned-silent", "storage-full", "host-lost", "terminated")
_OF_A_KIND = 4
#: Actions that stand for all that use a helper, faults that are made for a mutant, and how many of those that run its line are tried.
_ACTIONS, _MADE, _FAULTS = 4, 16, 8
#: Where a fault strikes: at a command of the line, so that an answer is not heard, at a command of its function, elsewhere; and whose turn it is to begin with.
_ON_LINE, _UNHEARD, _BESIDE, _FAR = range(4)
_TURNS = (_ON_LINE, _UNHEARD, _BESIDE, _UNHEARD, _ON_LINE, _BESIDE)
#: A case may take so many times as long as the cheapest one of its action, and seconds more, where it runs more of the script.
_TIMES, _MORE_S = 2.0, 2.0


class Struck(msgspec.Struct, frozen=True):
    """A fault case with the driver as it is: the action and the command that is struck, and the text of the trace that plays it again.

    `key` says of which driver, tables and case. Without a trace there is no such case: nothing leads back to where the case went on, or the harness failed.
    """

    key: str
    action: str
    command: str
    seen: CaseSeen
    trace: str = ""


@dataclass(frozen=True)
class _Struckable:
    """A case of a role that calls an action, and the places in it where that can be struck, each with a name."""

    role: Role
    seen: CaseSeen
    places: Mapping[str, Place]


class Striking:
    """The fault cases of the roles' actions, each made and measured when a mutant first asks for it. Those that are known by their keys are not measured again;
    `told` is told of those that are.
    """

    def __init__(
        self,
        base: Baseline,
        roles: Mapping[str, Role],
        files: Mapping[str, str],
        known: Mapping[str, Struck],
        told: Callable[[Struck], None] = lambda struck: None,
    ) -> None:
        self._base, self._roles, self._files, self._told = base, roles, files, told
        self._known = dict(known)
        self._struckable: dict[str, _Struckable] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def reaching(self, file: str, line: int) -> Iterator[Struck]:
        """Yield fault cases that run a line, by turns of the actions that may come to it. By turns, too, come those that strike a command which stands on the line,
        those after which a host's answer is not heard, and those that strike a command of the line's function.
        """
        rounds = []
        for role, action in self._actions(file, line):
            struckable = self._of(role, action, file, line)
            if struckable is not None:
                rounds += [(turn, struckable, name) for turn, name in enumerate(self._ranked(struckable.places, file, line))]
        found = 0
        for _, struckable, name in sorted(rounds, key=lambda one: one[0])[:_MADE]:
            struck = self._measured(struckable, name) if found < _FAULTS else None
            if struck is not None and line in struck.seen.lines.get(file, ()):
                found += 1
                yield struck

    def _ranked(self, places: Mapping[str, Place], file: str, line: int) -> list[str]:
        """Return the names of places in the order in which they are tried, of each kind of fault the first one before the second. What a host function runs is
        struck on a host, where it runs on one at all.
        """
        on_line, beside, travels = words_at(self._files, file, line)
        away = {place.command for place in places.values() if place.host != FRONTEND} if travels else set()
        nth: Counter[tuple[int, str]] = Counter()
        near: tuple[list[tuple[int, int, str]], ...] = ([], [], [], [])
        for name, place in places.items():
            kind = place.kind.name
            if place.command in on_line:
                at = _ON_LINE
            elif kind == "unheard":
                at = _UNHEARD
            else:
                at = _BESIDE if place.command in beside and (place.host != FRONTEND or place.command not in away) else _FAR
            near[at].append((nth[at, kind], _KINDS.index(kind), name))
            nth[at, kind] += 1
        waiting = [[name for _, _, name in sorted(rows)] for rows in near]
        first = [waiting[at].pop(0) for at in _TURNS if waiting[at]]
        return [*first, *waiting[_ON_LINE], *waiting[_BESIDE], *waiting[_UNHEARD], *waiting[_FAR]]

    def _actions(self, file: str, line: int) -> Iterator[tuple[Role, str]]:
        """Yield the actions that may come to a line, each with a role in which it runs: one in which the line runs, if there is any."""
        scripts = [file] if is_action(file) else sorted(one for one in mentions(self._files, file, line) if is_action(one))
        found: dict[tuple[str, str], tuple[bool, float]] = {}
        for seen in self._base.cases:
            for script in scripts:
                action = action_of(script)
                if script in seen.lines and action in self._roles[seen.role].cases[seen.case].expects:
                    rank = line not in seen.lines.get(file, ()), seen.duration_s
                    found[seen.role, action] = min(rank, found.get((seen.role, action), rank))
        given: set[str] = set()
        for role, action in sorted(found, key=lambda one: found[one]):
            if action not in given and len(given) < _ACTIONS:
                given.add(action)
                yield self._roles[role], action

    def _of(self, role: Role, action: str, file: str, line: int) -> _Struckable | None:
        """Return the case of a role that calls an action, can be struck, and runs the line if any does: of those that cost little the one that runs most."""
        there = (one for one in self._base.cases if one.role == role.name and action in role.cases[one.case].expects)
        quiet = [one for one in there if not faulting.overlaps(role.cases[one.case].trace)]
        quiet = [one for one in quiet if line in one.lines.get(file, ())] or quiet
        if not quiet:
            return None
        limit_s = min(one.duration_s for one in quiet) * _TIMES + _MORE_S
        reach = [place for script in _scripts(self._files, action) for place in within_reach(self._files, script, 1)]
        seen = min(
            (one for one in quiet if one.duration_s <= limit_s),
            key=lambda one: (-sum(first <= n <= last for at, first, last in reach for n in one.lines.get(at, ())), one.duration_s, one.key),
        )
        key = f"{seen.key} {action}"
        with self._alone(key):
            if key not in self._struckable:
                self._struckable[key] = _Struckable(role, seen, _places(role, action, seen))
            return self._struckable[key]

    def _measured(self, struckable: _Struckable, name: str) -> Struck | None:
        """Return the case of a fault, played with the driver as it is. None if there is none."""
        place = struckable.places[name]
        key = hashlib.sha256(f"{struckable.seen.key} {name}".encode()).hexdigest()[:16]
        with self._alone(key):
            if key not in self._known:
                self._known[key] = _measure(key, struckable.role, name, place)
                self._told(self._known[key])
        return self._known[key] if self._known[key].trace else None

    def _alone(self, key: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())


def action_of(script: str) -> str:
    """Return the action (family/name) of a script that oned calls."""
    family, _, name = script.rpartition("/")
    return f"{'ds' if family.startswith('datastore') else 'tm'}/{name.partition('.')[0]}"


def _scripts(files: Mapping[str, str], action: str) -> list[str]:
    return [file for file in files if is_action(file) and action_of(file) == action]


def planned(spec: ContractSpec, role: Role, struck: Struck) -> PlannedCase:
    """Return the case of a fault, read from its trace."""
    with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
        path = Path(scratch, f"{struck.seen.case}.jsonl")
        path.write_text(struck.trace, encoding="utf-8")
        trace = read_trace(path, spec.spec)
        return PlannedCase(trace, foresee(spec, role.setting.subject, trace))


def _places(role: Role, action: str, seen: CaseSeen) -> dict[str, Place]:
    """Play a case and return where its calls of an action can be struck, by names; of a kind of fault those that lie apart."""
    setting, case = role.setting, role.cases[seen.case]
    calls: list[Call] = []
    play(
        setting.spec,
        replace(_patient(role), sources=None),
        PlannedCase(faulting.widened(setting.spec.spec, case.trace), case.expects),
        role.required,
        to_the_end=True,
        seen=calls.append,
    )
    kinds: dict[str, list[Place]] = {name: [] for name in _KINDS}
    for place in faulting.alike(faulting.places(setting.spec.spec, "full", case.trace, calls)):
        if place.action == action and place.kind.name in kinds:
            kinds[place.kind.name].append(place)
    chosen = [place for found in kinds.values() for place in _apart(found)]
    return dict(zip(faulting.names(chosen), chosen, strict=True))


def _apart(found: Sequence[Place]) -> list[Place]:
    """Return so many places as there may be of a kind: of each command and host one, then the others. Of what goes unheard the last comes first: most is done
    by then.
    """
    seen: Counter[tuple[str, str]] = Counter()
    ranked = []
    for place in found if found and found[0].kind.act != "unheard" else reversed(found):
        command = place.command, place.host
        ranked.append((seen[command], place))
        seen[command] += 1
    return [place for _, place in sorted(ranked, key=lambda one: one[0])[:_OF_A_KIND]]


def _measure(key: str, role: Role, name: str, place: Place) -> Struck:
    setting = role.setting
    nothing = Struck(key, place.action, place.command, CaseSeen("", role.name, name, 0.0, 0.0, {}, (), {}))
    made = faulting.derive(setting.spec, setting.subject, role.cases[place.case].trace, place, brief=True)
    if made is None:
        return nothing
    text = render(renamed(made, name), setting.spec.spec)
    whole = msgspec.structs.replace(nothing, trace=text)
    played = play(setting.spec, _patient(role), planned(setting.spec, role, whole), role.required, to_the_end=True)
    if played.error:
        return nothing
    seen = CaseSeen("", role.name, name, played.duration_s, played.longest_s, dict(played.bad), played.warned, dict(played.lines))
    return msgspec.structs.replace(whole, seen=seen)


def _patient(role: Role) -> Subjected:
    subject = role.setting.subject
    return replace(subject, limits=replace(subject.limits, time_s=TRACED_S))
