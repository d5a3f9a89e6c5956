"""The rules that the tables of `spec/` must keep. Each names the file and the row that breaks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from string import Formatter

from onesim import changes, derived, faultrules, object_changes, parsers
from onesim.contracts import in_range
from onesim.errors import SpecError
from onesim.rows import Action, Contract, Lifecycle, OperationRow, Phase
from onesim.spec import Spec
from onesim.trace_operations import TYPES


def verify(spec: Spec) -> None:
    """Raise SpecError for the first contradiction found."""
    _contracts(spec)
    for contract in {row.version: row for row in spec.contracts}.values():
        _actions(spec, contract)
        _scripts(spec, contract)
        _mads(spec, contract)
        for kind, lifecycle in spec.lifecycles.items():
            _lifecycle(spec, contract, kind, lifecycle)
    _places(spec)
    _operations(spec)
    faultrules.verify(spec)
    _requirements(spec)


def _refuse(spec: Spec, file: str, row: str, why: str) -> SpecError:
    return SpecError(f"{spec.root / file}: {row}: {why}")


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _operations(spec: Spec) -> None:
    """Every operation of a lifecycle has a row for traces, and no row is for an operation that there is not; every argument has a type that is known."""
    file, table = "operations.toml", spec.trace_operations
    asked = {f"{kind}.{row.name}" for kind, lifecycle in spec.lifecycles.items() for row in lifecycle.operation}
    for name in _twice(row.name for row in table.operation):
        raise _refuse(spec, file, f"operation {name}", "stands twice")
    for name in sorted(asked - set(table.by_name)):
        raise _refuse(spec, file, f"operation {name}", "is one of a lifecycle, and has no row")
    for row in table.operation:
        if row.name.partition(".")[0] in spec.lifecycles and row.name not in asked:
            raise _refuse(spec, file, f"operation {row.name}", "no lifecycle has it")
        for name, _, type in (word.partition(":") for word in (*row.needs, *row.may)):
            if (type or table.types.get(name)) not in TYPES:
                raise _refuse(spec, file, f"operation {row.name}", f"the type of argument {name!r} is none of {', '.join(TYPES)}")


def _contracts(spec: Spec) -> None:
    file = "contracts.toml"
    for name in _twice(row.name for row in spec.contracts):
        raise _refuse(spec, file, f"contract {name}", "stands twice")
    if sum(row.default for row in spec.contracts) != 1:
        raise _refuse(spec, file, "contract", "exactly one must be the default")
    generations = {row.generation for row in spec.passings}
    for contract in spec.contracts:
        if contract.generation not in generations:
            raise _refuse(spec, file, f"contract {contract.name}", f"no passing row for generation {contract.generation!r}")
    for row in spec.passings:
        if row.stdin not in spec.carriages:
            raise _refuse(spec, file, f"passing {row.generation}", f"unknown carriage {row.stdin!r} on stdin")
        for argument in row.argv:
            if argument not in spec.arguments:
                raise _refuse(spec, file, f"passing {row.generation}", f"argument {argument!r} has no row in arguments.toml")


def _actions(spec: Spec, contract: Contract) -> None:
    held = [row for row in spec.actions if in_range(contract.version, row.since, row.until)]
    for key in _twice(row.key for row in held):
        raise _refuse(spec, "actions", f"action {key}", f"two rows hold for contract {contract.name}; give them disjoint since and until")
    for row in held:
        _action(spec, contract, row)


def _action(spec: Spec, contract: Contract, row: Action) -> None:
    name = f"action {row.key}"
    outputs = [output for output in row.output if in_range(contract.version, output.since, output.until)]
    if len(outputs) != 1:
        raise _refuse(spec, "actions", name, f"{len(outputs)} outputs hold for contract {contract.name}; exactly one must")
    if outputs[0].parser not in parsers.PARSERS or outputs[0].parser not in spec.parsers:
        raise _refuse(spec, "actions", name, f"unknown parser {outputs[0].parser!r}")
    if row.effect not in spec.effects:
        raise _refuse(spec, "actions", name, f"unknown effect {row.effect!r}")
    for place in row.touches:
        if place not in spec.places:
            raise _refuse(spec, "actions", name, f"touches the unknown place {place!r}")
    if row.passing == bool(row.form):
        raise _refuse(spec, "actions", name, "has either forms of its own or passing = true")
    forms = [form for form in row.form if in_range(contract.version, form.since, form.until)]
    if row.form and len(forms) != 1:
        raise _refuse(spec, "actions", name, f"{len(forms)} forms hold for contract {contract.name}; exactly one must")
    for form in forms:
        for argument in form.argv:
            if argument not in spec.arguments:
                raise _refuse(spec, "actions", name, f"argument {argument!r} has no row in arguments.toml")
        if form.stdin not in spec.carriages:
            raise _refuse(spec, "actions", name, f"unknown carriage {form.stdin!r} on stdin; contracts.toml lists them")
    for alias in row.unverified:
        if alias not in {one.name for one in spec.contracts}:
            raise _refuse(spec, "actions", name, f"is unverified in the unknown contract {alias!r}")
    if row.passing and not (row.id and row.children):
        raise _refuse(spec, "actions", name, "passes a document and so needs id and children")


def _scripts(spec: Spec, contract: Contract) -> None:
    actions = {row.key: row for row in spec.actions if in_range(contract.version, row.since, row.until)}
    seen: set[tuple[str, str, str]] = set()
    for row in spec.scripts:
        if not in_range(contract.version, row.since, row.until):
            continue
        name = f"row {row.script}/{row.each}/{row.kind or '-'}"
        if (row.each in ("disk", "subject")) != bool(row.kind):
            raise _refuse(spec, "scripts.toml", name, "kind is given exactly for each = disk and each = subject")
        if row.kind and row.kind not in spec.kinds:
            raise _refuse(spec, "scripts.toml", name, f"unknown disk kind {row.kind!r}")
        if (row.script, row.each, row.kind) in seen and row.kind:
            raise _refuse(spec, "scripts.toml", name, f"two rows hold for contract {contract.name}")
        seen.add((row.script, row.each, row.kind))
        action = actions.get(row.action)
        if action is None:
            raise _refuse(spec, "scripts.toml", name, f"unknown action {row.action!r}")
        argv = next((form.argv for form in action.form if in_range(contract.version, form.since, form.until)), ())
        needed = set() if action.passing else set(argv) - {"vm_id"}
        if needed != set(row.bind):
            wrong = ", ".join(sorted(needed ^ set(row.bind)))
            raise _refuse(spec, "scripts.toml", name, f"binds other arguments than {row.action} has: {wrong}")
        for fact in row.bind.values():
            if fact not in derived.FACTS:
                raise _refuse(spec, "scripts.toml", name, f"unknown derived fact {fact!r}")
        if row.needs and row.needs not in (derived.IMAGE_FACTS if row.each in ("image", "datastore") else derived.FACTS):
            raise _refuse(spec, "scripts.toml", name, f"needs the unknown derived fact {row.needs!r}")


def _mads(spec: Spec, contract: Contract) -> None:
    held = [row for row in spec.request_lines if in_range(contract.version, row.since, row.until)]
    if len(held) != 1:
        raise _refuse(spec, "mads.toml", "line", f"{len(held)} rows hold for contract {contract.name}; exactly one must")
    actions = {row.name for row in spec.actions}
    for mad in spec.mads.values():
        for name in mad.encodes:
            if name not in actions:
                raise _refuse(spec, "mads.toml", f"mad {mad.name}", f"encodes the answer of the unknown action {name!r}")


def _lifecycle(spec: Spec, contract: Contract, kind: str, table: Lifecycle) -> None:
    held = [phase for phase in table.phase if in_range(contract.version, phase.since, phase.until)]
    for name in _twice(row.name for row in held):
        raise _refuse(spec, f"lifecycle/{kind}.toml", f"phase {name}", f"two rows hold for contract {contract.name}")
    names = {row.name for row in held}
    resting = {row.name for row in spec.states[kind] if row.rest}
    for phase in held:
        _phase(spec, kind, phase, names | resting)
    taken: set[tuple[str, str, str]] = set()
    for row in table.operation:
        if in_range(contract.version, row.since, row.until):
            _operation(spec, contract, kind, row, {phase.name: phase for phase in held}, taken)


def _phase(spec: Spec, kind: str, phase: Phase, goals: set[str]) -> None:
    file, name = f"lifecycle/{kind}.toml", f"phase {phase.name}"
    if not phase.beside and phase.shown not in {row.name for row in spec.states[kind]}:
        raise _refuse(spec, file, name, f"unknown state {phase.shown!r}")
    scripts = {row.script for row in spec.scripts}
    for script in (*phase.scripts, *([phase.rollback] if phase.rollback else [])):
        if script not in scripts:
            raise _refuse(spec, file, name, f"unknown script {script!r}")
    for goal in (phase.success, phase.failure):
        if goal not in goals:
            raise _refuse(spec, file, name, f"leads to {goal!r}, which is neither a phase nor a state of rest")
    if phase.transfer and kind != "vm":
        raise _refuse(spec, file, name, "only phases of a VM have a transfer script")
    if phase.places and len(phase.places) != len(phase.scripts):
        raise _refuse(spec, file, name, "places names one place for each script")
    actions = {row.key for row in spec.actions}
    for action in phase.rollback_after:
        if action not in actions:
            raise _refuse(spec, file, name, f"rolls back after the unknown action {action!r}")
    for change in filter(None, (phase.keeps, phase.drops)):
        if change not in (changes.SETTLES if kind == "vm" else object_changes.IMAGE_SETTLES):
            raise _refuse(spec, file, name, f"keeps or drops {change!r}, which is no known change")


def _operation(spec: Spec, contract: Contract, kind: str, row: OperationRow, phases: Mapping[str, Phase], taken: set[tuple[str, str, str]]) -> None:
    file, name = f"lifecycle/{kind}.toml", f"operation {row.name}"
    resting = {state.name for state in spec.states[kind] if state.rest}
    if [bool(row.enter), bool(row.to), row.stays, row.ends, row.fails, row.again].count(True) != 1:
        raise _refuse(spec, file, name, "has exactly one of enter, to, stays, ends, fails and again")
    if row.enter and row.enter not in phases:
        raise _refuse(spec, file, name, f"enters the unknown phase {row.enter!r}")
    if row.to and row.to not in resting:
        raise _refuse(spec, file, name, f"leads to {row.to!r}, which is no state of rest")
    known: dict[str, Collection[str]] = {
        "vm": changes.MAKES,
        "image": object_changes.IMAGE_MAKES,
        "datastore": object_changes.DATASTORE_MAKES,
        "user": object_changes.USER_MAKES,
    }
    if row.makes and row.makes not in known[kind]:
        raise _refuse(spec, file, name, f"makes {row.makes!r}, which is no known preparation")
    if row.through and row.through not in {state.name for state in spec.states[kind]}:
        raise _refuse(spec, file, name, f"shows the unknown state {row.through!r}")
    beside = bool(row.abandons) or row.stays or (bool(row.enter) and phases[row.enter].beside)
    # a state that a contract does not know yet is never reached in it
    shown = {phase.shown for phase in spec.lifecycles[kind].phase}
    for state in row.from_:
        if state not in resting and not (beside and state in shown):
            raise _refuse(spec, file, name, f"is allowed from {state!r}, which is no state of rest")
        if (row.ends or row.fails or row.again) and state not in shown and not any(phase.failure == state for phase in phases.values()):
            raise _refuse(spec, file, name, f"takes up a phase from {state!r}, to which no phase leads")
        for previous in row.previous or ("*",):
            if not row.needs and {(row.name, state, previous), (row.name, state, "*")} & taken:
                raise _refuse(spec, file, name, f"two rows hold from {state} in contract {contract.name}")
            if not row.needs:
                taken.add((row.name, state, previous))


def _places(spec: Spec) -> None:
    for place in spec.places.values():
        for pattern in place.pattern:
            for _, field, _, _ in Formatter().parse(pattern):
                if field is not None and field not in derived.PLACE_FACTS:
                    raise _refuse(spec, "places.toml", f"place {place.name}", f"unknown fact {{{field}}}")


def _requirements(spec: Spec) -> None:
    ids: Sequence[str] = [row.id for row in spec.requirements]
    for name in _twice(ids):
        raise _refuse(spec, "requirements", f"requirement {name}", "stands twice; ids are never used again")
    actions = {row.key for row in spec.actions} | {"ds/*", "tm/*", "mad/*", "*"}
    for row in spec.requirements:
        if row.action not in actions:
            raise _refuse(spec, "requirements", f"requirement {row.id}", f"unknown action {row.action!r}")
        if row.level == "MUST" and bool(row.check) == bool(row.untestable):
            raise _refuse(spec, "requirements", f"requirement {row.id}", "a MUST names its check or says why it cannot be tested from outside")
        for fault in row.when.get("fault", ()):
            if fault not in spec.mad_faults:
                raise _refuse(spec, "requirements", f"requirement {row.id}", f"unknown fault {fault!r}; mads.toml lists them")
    retired = {id: chapter.title for chapter in spec.chapters.values() for id in chapter.retired}
    for row in spec.requirements:
        if row.id in retired:
            raise _refuse(spec, "requirements", f"requirement {row.id}", f"is retired in the chapter {retired[row.id]!r}; ids are never used again")
    for rule in spec.static_rules.values():
        for name in rule.requirements:
            if name not in ids:
                raise _refuse(spec, "static.toml", f"rule {rule.name}", f"unknown requirement {name!r}")
    _discrepancies(spec, set(ids), actions)
    for name in spec.quarantine:
        if name not in ids:
            raise _refuse(spec, "quarantine.toml", f"quarantine {name}", f"unknown requirement {name!r}")
    _complaints(spec, set(ids))
    _profiles(spec, set(ids), actions)
    _levels(spec)


def _profiles(spec: Spec, requirements: set[str], actions: set[str]) -> None:
    cases = {path.stem for path in (spec.root / "traces").glob("*.jsonl")}
    for profile in spec.profiles.values():
        place = f"profile {profile.name}"
        for name in profile.requirements:
            if name not in requirements:
                raise _refuse(spec, "profiles", place, f"unknown requirement {name!r}")
        for name in _twice(profile.requirements):
            raise _refuse(spec, "profiles", place, f"names {name} twice")
        for name in profile.needs:
            if name not in actions:
                raise _refuse(spec, "profiles", place, f"unknown action {name!r}")
        if profile.sha256 != profile.digest:
            why = "a list that was released never changes: a new requirement enters a new profile, and before a release"
            raise _refuse(spec, "profiles", place, f'its list is not the one that was frozen; {why} sha256 = "{profile.digest}"')
        if (profile.of or profile.cases) and profile.of not in spec.profiles:
            raise _refuse(spec, "profiles", place, f"plays the cases of {profile.of!r}, which is no profile")
        for name in profile.cases:
            if name not in cases:
                raise _refuse(spec, "profiles", place, f"unknown case {name!r}")


def _levels(spec: Spec) -> None:
    for level in spec.levels.values():
        for name in level.profiles:
            if name not in spec.profiles:
                raise _refuse(spec, "levels.toml", f"level {level.name}", f"unknown profile {name!r}")


def _discrepancies(spec: Spec, requirements: set[str], actions: set[str]) -> None:
    for name in _twice(row.id for row in spec.discrepancies):
        raise _refuse(spec, "discrepancies.toml", f"discrepancy {name}", "stands twice")
    for row in spec.discrepancies:
        for action in row.actions:
            if action not in actions:
                raise _refuse(spec, "discrepancies.toml", f"discrepancy {row.id}", f"unknown action {action!r}")
        for requirement in row.requirements:
            if requirement not in requirements:
                raise _refuse(spec, "discrepancies.toml", f"discrepancy {row.id}", f"unknown requirement {requirement!r}")


def _complaints(spec: Spec, requirements: set[str]) -> None:
    file = "complaints.toml"
    for number in _twice(str(row.number) for row in spec.complaints):
        raise _refuse(spec, file, f"complaint {number}", "stands twice")
    for row in spec.complaints:
        name = f"complaint {row.number}"
        for requirement in row.requirements:
            if requirement not in requirements:
                raise _refuse(spec, file, name, f"unknown requirement {requirement!r}")
        if row.rule and row.rule not in spec.static_rules:
            raise _refuse(spec, file, name, f"unknown rule {row.rule!r}; static.toml lists them")
        if bool(row.miniature or row.rule) == bool(row.reason) or (row.miniature and not row.requirements) or bool(row.trace) != bool(row.miniature):
            raise _refuse(spec, file, name, "has either requirements and what reproduces the symptom, or the reason why nothing can")
