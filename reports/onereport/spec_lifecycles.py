"""A lifecycle as its page shows it: for every operation the ways that it takes through phases and calls, drawn from the tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from onereport.spec_ranges import contract_specs, held_in, span
from onereport.spec_words import word
from onesim.rows import Lifecycle, OperationRow, Phase, ScriptRow, State
from onesim.spec import ContractSpec, Spec


@dataclass(frozen=True)
class CallCell:
    """Calls of one action within a script: for what they are made, and in which contracts if not in all of the script's."""

    action: str
    members: tuple[str, ...]
    each: str
    suffix: str
    needs: str
    fails: str
    span: str


@dataclass(frozen=True)
class ScriptView:
    """A script of a phase: what it calls, in order."""

    name: str
    here: str
    calls: tuple[CallCell, ...]


@dataclass(frozen=True)
class StepView:
    """A phase on the way of an operation."""

    phase: Phase
    scripts: tuple[ScriptView, ...]
    rollback: ScriptView | None


@dataclass(frozen=True)
class Track:
    """A way from states of rest through phases to a state of rest. `before` = for each from-state, the states that must have been before it."""

    row: OperationRow
    froms: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    steps: tuple[StepView, ...]
    end: str
    span: str
    unverified: tuple[str, ...]


@dataclass(frozen=True)
class OperationView:
    """An operation with all its ways."""

    name: str
    tracks: tuple[Track, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that it calls, in the order of the first call."""
        steps = [step for track in self.tracks for step in track.steps]
        scripts = [script for step in steps for script in (*step.scripts, *([step.rollback] if step.rollback else []))]
        return tuple(dict.fromkeys(call.action for script in scripts for call in script.calls))


@dataclass(frozen=True)
class LifecycleView:
    """The lifecycle of one kind of object."""

    kind: str
    states: tuple[State, ...]
    operations: tuple[OperationView, ...]
    phases: tuple[tuple[Phase, str], ...]
    alone: tuple[StepView, ...]

    def failure_states(self) -> tuple[str, ...]:
        """Return the states of rest to which only failures lead."""
        good = {track.end for one in self.operations for track in one.tracks if track.end not in track.froms} | {
            row.name for row in self.states if not row.rest
        }
        bad = {phase.failure for phase, _ in self.phases}
        return tuple(row.name for row in self.states if row.name in bad - good)


def operation_url(name: str) -> str:
    """Return the place of an operation such as `vm.deploy`."""
    kind, _, operation = name.partition(".")
    return f"lifecycle-{kind}.html#op-{operation}"


def lifecycle_views(spec: Spec, contract: str = "") -> dict[str, LifecycleView]:
    """Return the lifecycles by their objects, in all contracts or in one: vm, image, datastore first, then whatever else the tables hold."""
    held = {name: one for name, one in contract_specs(spec).items() if contract in ("", name)}
    order = [kind for kind in ("vm", "image", "datastore") if kind in spec.lifecycles]
    return {kind: _view(spec, held, spec.lifecycles[kind]) for kind in [*order, *(kind for kind in spec.lifecycles if kind not in order)]}


def _view(spec: Spec, held: dict[str, ContractSpec], table: Lifecycle) -> LifecycleView:
    names = dict.fromkeys(row.name for row in table.operation)
    operations = tuple(OperationView(name, _joined(_tracks(spec, held, table, name))) for name in names)
    entered = {id(step.phase) for one in operations for track in one.tracks for step in track.steps}
    walked = {step.phase.name for one in operations for track in one.tracks for step in track.steps}
    alone = [row for row in table.phase if id(row) not in entered and row.name not in walked]
    phases = tuple((row, span(spec, held_in(spec, row.since, row.until))) for row in table.phase)
    return LifecycleView(table.object, spec.states[table.object], operations, phases, tuple(_step(spec, held, row) for row in alone))


def _tracks(spec: Spec, held: dict[str, ContractSpec], table: Lifecycle, name: str) -> Iterable[Track]:
    """Yield the ways of an operation, equal ones of several contracts once."""
    for row in table.operation:
        if row.name != name:
            continue
        among = [name for name in held_in(spec, row.since, row.until) if name in held]
        found: dict[tuple[tuple[int, ...], tuple[str, ...], str], tuple[list[str], list[Phase]]] = {}
        for contract in among:
            for froms, chain, end in _chains(held[contract], table.object, row):
                key = (tuple(id(phase) for phase in chain), froms, end)
                found.setdefault(key, ([], chain))[0].append(contract)
        for (_, froms, end), (contracts, chain) in found.items():
            yield Track(
                row,
                froms,
                tuple(row.previous for _ in froms),
                tuple(_step(spec, held, phase) for phase in chain),
                end,
                span(spec, contracts),
                row.unverified,
            )


def _joined(tracks: Iterable[Track]) -> tuple[Track, ...]:
    """Return the ways with those as one that differ by the states that they begin in alone."""
    found: dict[tuple[tuple[StepView, ...], str, str, bool], Track] = {}
    ways: list[Track] = []
    for track in tracks:
        key = (track.steps, track.end, track.span, track.row.stays)
        same = found.get(key)
        if same is None or track.row.unverified != same.row.unverified or track.row.record != same.row.record or not track.froms:
            found[key] = track
            ways.append(track)
            continue
        found[key] = replace(same, froms=same.froms + track.froms, before=same.before + track.before)
        ways[ways.index(same)] = found[key]
    return tuple(ways)


def _chains(one: ContractSpec, kind: str, row: OperationRow) -> Iterable[tuple[tuple[str, ...], list[Phase], str]]:
    """Yield from-states, phases in order and the state of rest that an operation reaches in one contract."""
    if row.stays:
        for state in row.from_:
            yield (state,), [], state
    elif row.to:
        yield row.from_, [], row.to
    elif row.enter:
        chain, end = _follow(one, kind, row.enter)
        yield row.from_, chain, end
    else:
        ends: dict[str, list[str]] = {}
        for state in row.from_:
            for phase in [phase for (of, _), phase in one.phases.items() if of == kind and phase.failure == state and phase.fails == "stop"][:1]:
                ends.setdefault(phase.success, []).append(state)
        for goal, states in ends.items():
            chain, end = _follow(one, kind, goal)
            yield tuple(states), chain, end


def _follow(one: ContractSpec, kind: str, goal: str) -> tuple[list[Phase], str]:
    chain: list[Phase] = []
    while (phase := one.phases.get((kind, goal))) is not None and phase not in chain:
        chain.append(phase)
        goal = phase.success
        if phase.beside:
            break
    return chain, goal


def _step(spec: Spec, held: dict[str, ContractSpec], phase: Phase) -> StepView:
    during = tuple(name for name in held_in(spec, phase.since, phase.until) if name in held)
    places = phase.places or tuple("" for _ in phase.scripts)
    scripts = tuple(_script(spec, name, place, during) for name, place in zip(phase.scripts, places, strict=True))
    return StepView(phase, scripts, _script(spec, phase.rollback, "", during) if phase.rollback else None)


def _script(spec: Spec, name: str, place: str, during: tuple[str, ...]) -> ScriptView:
    """Return the calls of a script; rows that differ by disk kind alone stand together."""
    found: dict[tuple[str, str, str, str, str], dict[str, set[str]]] = {}
    for row in spec.scripts:
        if row.script != name:
            continue
        when = set(held_in(spec, row.since, row.until)) & set(during)
        if when:
            key = (row.action, row.each, row.suffix, row.needs, row.fails)
            found.setdefault(key, {}).setdefault(member(row), set()).update(when)
    calls = []
    for (action, each, suffix, needs, fails), members in found.items():
        for names in dict.fromkeys(frozenset(one) for one in members.values()):
            same = tuple(one for one, others in members.items() if others == names)
            calls.append(CallCell(action, same, each, suffix, needs, fails, "" if len(names) == len(during) else span(spec, names)))
    return ScriptView(name, place, tuple(calls))


def member(row: ScriptRow) -> str:
    """Return for what a row of a script is called: the kind of disk, or a word for anything else."""
    return row.kind or word("each", row.each)


def callers(views: dict[str, LifecycleView], action: str) -> list[tuple[str, str, ScriptView, CallCell]]:
    """Return every operation, phase, script and call that leads to an action; each once."""
    found: dict[tuple[str, str, str, CallCell], tuple[str, str, ScriptView, CallCell]] = {}
    for kind, view in views.items():
        for operation in view.operations:
            for step in (step for track in operation.tracks for step in track.steps):
                for script in (*step.scripts, *([step.rollback] if step.rollback else [])):
                    for call in script.calls:
                        if call.action == action:
                            name = f"{kind}.{operation.name}"
                            found.setdefault((name, step.phase.name, script.name, call), (name, step.phase.name, script, call))
    return list(found.values())
