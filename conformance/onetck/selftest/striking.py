"""Fault cases for mutants that no ordinary case finds: what an action does when something fails under it, made and measured when a mutant first asks for it."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from onesim.records import Call
from onesim.spec import ContractSpec
from onesim.trace import read_trace
from onetck import faulting
from onetck.faulting import Place
from onetck.plan import PlannedCase, foresee
from onetck.selftest.baseline import TRACED_S, Baseline, CaseSeen, Role
from onetck.selftest.mutants import is_action
from onetck.selftest.playing import play
from onetck.selftest.source import mentions

#: The kinds of fault that are made. Of the first ones every place is struck, as an action may go another way after each; of the others one.
_EVERY = frozenset(("fails", "not-measured", "not-removed", "oned-silent", "broken-off"))
_ONE = frozenset(("cut", "storage-full", "host-lost", "terminated"))
#: Cases of a role that faults are made of, places of an action, actions that stand for all that use a helper, and faults that are tried on a mutant.
_CASES, _PLACES, _ACTIONS, _FAULTS = 1, 6, 2, 4


class Struck(msgspec.Struct, frozen=True):
    """A fault case with the driver as it is: the action and the command that is struck, and the text of the trace that plays it again."""

    action: str
    command: str
    seen: CaseSeen
    trace: str


class Strikes(msgspec.Struct, frozen=True):
    """The fault cases of an action in a role. `key` says of which driver, tables and cases."""

    key: str
    cases: tuple[Struck, ...]


class Striking:
    """The fault cases of the roles' actions. Those that are known by their keys are not measured again; `told` is told of those that are."""

    def __init__(
        self,
        base: Baseline,
        roles: Mapping[str, Role],
        files: Mapping[str, str],
        known: Mapping[str, Strikes],
        told: Callable[[Strikes], None] = lambda strikes: None,
    ) -> None:
        self._base, self._roles, self._files, self._told = base, roles, files, told
        self._known = dict(known)
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def reaching(self, file: str, line: int) -> list[Struck]:
        """Return fault cases that run a line: those that strike a command which stands there come first, then commands that fail, then the
        cheapest.
        """
        text = self._files[file].split("\n")[line - 1]
        found = [one for role, action in self._places(file, line) for one in self._of(role, action).cases if line in one.seen.lines.get(file, ())]
        return sorted(found, key=lambda one: (one.command not in text, not one.seen.case.endswith("-fails"), one.seen.duration_s))[:_FAULTS]

    def _places(self, file: str, line: int) -> Iterator[tuple[Role, str]]:
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

    def _of(self, role: Role, action: str) -> Strikes:
        chosen = self._chosen(role, action)
        digest = hashlib.sha256(" ".join((role.name, action, *(one.key for one in chosen))).encode()).hexdigest()[:16]
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            if digest not in self._known:
                self._known[digest] = Strikes(digest, tuple(_measured(role, action, chosen)))
                self._told(self._known[digest])
            return self._known[digest]

    def _chosen(self, role: Role, action: str) -> list[CaseSeen]:
        """Return the cheapest cases of a role that call an action and can be struck."""
        there = (one for one in self._base.cases if one.role == role.name and action in role.cases[one.case].expects)
        quiet = (one for one in there if not faulting.overlaps(role.cases[one.case].trace))
        return sorted(quiet, key=lambda one: (one.duration_s, one.key))[:_CASES]


def action_of(script: str) -> str:
    """Return the action (family/name) of a script that oned calls."""
    family, _, name = script.rpartition("/")
    return f"{'ds' if family.startswith('datastore') else 'tm'}/{name.partition('.')[0]}"


def planned(spec: ContractSpec, role: Role, struck: Struck) -> PlannedCase:
    """Return the case of a fault, read from its trace."""
    with tempfile.TemporaryDirectory(prefix="onetck-selftest-") as scratch:
        path = Path(scratch, f"{struck.seen.case}.jsonl")
        path.write_text(struck.trace, encoding="utf-8")
        trace = read_trace(path, spec.spec)
        return PlannedCase(trace, foresee(spec, role.setting.subject, trace))


def _measured(role: Role, action: str, chosen: Sequence[CaseSeen]) -> Iterator[Struck]:
    """Yield the fault cases of an action, each played with the driver as it is."""
    setting = role.setting
    subject = replace(setting.subject, limits=replace(setting.subject.limits, time_s=TRACED_S))
    found: list[Place] = []
    for one in chosen:
        case = role.cases[one.case]
        calls: list[Call] = []
        play(
            setting.spec,
            replace(subject, sources=None),
            PlannedCase(faulting.widened(setting.spec.spec, case.trace), case.expects),
            role.required,
            to_the_end=True,
            seen=calls.append,
        )
        found += (place for place in faulting.places(setting.spec.spec, "full", case.trace, calls) if place.action == action)
    struck = list(_picked(faulting.alike(found)))
    for name, place in zip(faulting.names(struck), struck, strict=True):
        made = faulting.derive(setting.spec, setting.subject, role.cases[place.case].trace, place, brief=True)
        if made is None:
            continue
        text = faulting.lines(made, name)
        seen = CaseSeen("", role.name, name, 0.0, 0.0, {}, (), {})
        played = play(setting.spec, subject, planned(setting.spec, role, Struck(action, place.command, seen, text)), role.required, to_the_end=True)
        if not played.error:
            seen = CaseSeen("", role.name, name, played.duration_s, played.longest_s, dict(played.bad), played.warned, dict(played.lines))
            yield Struck(action, place.command, seen, text)


def _picked(found: Sequence[Place]) -> Iterator[Place]:
    """Yield the places to strike: of most kinds the first one, of those after which a script goes on in ways of its own so many as may be."""
    counts: Counter[str] = Counter()
    for place in found:
        group = "every" if place.kind.name in _EVERY else place.kind.name if place.kind.name in _ONE else ""
        counts[group] += 1
        if group and counts[group] <= (_PLACES if group == "every" else 1):
            yield place
