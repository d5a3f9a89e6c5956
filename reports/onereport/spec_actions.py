"""An action as its page shows it: its signature for every contract side by side, what changed when, and what leads to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from onereport.spec_ranges import Group, contract_specs, grouped, range_words, releases, span
from onereport.spec_words import word
from onesim.contracts import parse_version
from onesim.rows import Action, Argument, Carriage, Child, Discrepancy, Effect, ParserRow, Range, Requirement
from onesim.spec import ContractSpec, Spec


@dataclass(frozen=True)
class Signature:
    """What an action gets and answers in some contracts."""

    argv: tuple[str, ...]
    stdin: str
    children: tuple[Child, ...]
    parser: str
    error: str


@dataclass(frozen=True)
class Change:
    """Something that an action's rows say of one release on."""

    release: str
    text: str


@dataclass(frozen=True)
class ActionView:
    """An action with all that its page shows."""

    key: str
    row: Action
    contracts: tuple[str, ...]
    unverified: tuple[str, ...]
    signatures: tuple[Group[Signature], ...]
    changes: tuple[Change, ...]
    arguments: tuple[Argument, ...]
    carriages: tuple[Carriage, ...]
    parsers: tuple[ParserRow, ...]
    requirements: tuple[Requirement, ...]
    general: tuple[Requirement, ...]
    discrepancies: tuple[Discrepancy, ...]
    examples: tuple[str, ...]


def action_url(key: str) -> str:
    """Return the page of an action."""
    return f"action-{key.replace('/', '-')}.html"


def action_views(spec: Spec, discrepancies: Iterable[Discrepancy]) -> dict[str, ActionView]:
    """Return every action of the tables by its key, in their order."""
    held = contract_specs(spec)
    said = tuple(discrepancies)
    return {key: _view(spec, held, key, said) for key in dict.fromkeys(row.key for row in spec.actions)}


def _view(spec: Spec, held: dict[str, ContractSpec], key: str, discrepancies: tuple[Discrepancy, ...]) -> ActionView:
    rows = [row for row in spec.actions if row.key == key]
    signatures = grouped(spec, held, lambda one: _signature(one, key))
    names = list(dict.fromkeys(name for group in signatures for name in group.value.argv))
    return ActionView(
        key,
        rows[-1],
        tuple(name for name, one in held.items() if key in one.actions),
        tuple(dict.fromkeys(name for row in rows for name in row.unverified)),
        signatures,
        _changes(spec, rows),
        tuple(spec.arguments[name] for name in names),
        tuple(spec.carriages[name] for name in dict.fromkeys(group.value.stdin for group in signatures)),
        tuple(spec.parsers[name] for name in dict.fromkeys(group.value.parser for group in signatures)),
        tuple(row for row in spec.requirements if row.action == key),
        tuple(row for row in spec.requirements if row.action in ("*", f"{rows[-1].family}/*")),
        tuple(row for row in discrepancies if key in row.actions),
        tuple(example(spec, rows[-1], group.value) for group in signatures),
    )


def _signature(one: ContractSpec, key: str) -> Signature | None:
    row = one.actions.get(key)
    if row is None:
        return None
    return Signature(tuple(one.argv(row)), one.stdin(row), tuple(one.children(row)), one.parser(key), one.contract.error)


def example(spec: Spec, row: Action, signature: Signature) -> str:
    """Return a command line that shows how the action is called."""
    script = f"{word('directory', row.family)}/{row.name}"
    words = " ".join([script, *(spec.arguments[name].example for name in signature.argv)])
    carriage = spec.carriages[signature.stdin]
    if carriage.encoding == "none":
        return words
    return f"{words} < {carriage.root}.{'base64' if carriage.encoding == 'base64' else 'xml'}"


def _changes(spec: Spec, rows: list[Action]) -> tuple[Change, ...]:
    found: list[Change] = []
    for row in rows:
        found += _of_range(row.since, row.until, "The action is there.", "The action is gone.")
        found += _of_cells([(form.since, form.until, f"Arguments: {' '.join(form.argv) or 'none'}; stdin: {form.stdin}.") for form in row.form])
        found += _of_cells([(output.since, output.until, f"stdout is read as {output.parser}.") for output in row.output])
        for child in row.children:
            found += _of_range(child.since, child.until, f"The document has {child.name}.", f"The document has no {child.name} any more.")
        if row.passing:
            found += _of_generations(spec)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (_order(one.release), one.text)))


def _of_range(since: Range, until: Range, begins: str, ends: str) -> list[Change]:
    found = [Change(releases(since), begins)] if since else []
    return [*found, Change(releases(until), ends)] if until else found


def _of_cells(cells: list[tuple[Range, Range, str]]) -> list[Change]:
    """Return the changes from one alternative to the next; the first of all is no change."""
    before = {releases(until): text for _, until, text in cells if until}
    return [
        Change(releases(since), f"{text} Before: {before[releases(since)][0].lower()}{before[releases(since)][1:]}")
        for since, _, text in cells
        if since and releases(since) in before
    ]


def _of_generations(spec: Spec) -> list[Change]:
    found: list[Change] = []
    seen = {spec.contracts[0].generation}
    for row in spec.contracts:
        if row.generation not in seen and row.verified:
            option = f" with the option {row.option} of the datastore MAD" if row.option else ""
            found.append(Change(row.verified[0], f"{word('generation', row.generation)[:-1]}{option}."))
            seen.add(row.generation)
    return found


def _order(release: str) -> tuple[int, ...]:
    return parse_version(release.split()[0])


def meaning_of_range(spec: Spec, view: ActionView) -> str:
    """Return in which contracts an action exists, and by which releases that is bounded."""
    words = range_words(view.row.since, view.row.until)
    return f"{span(spec, view.contracts)}{f' ({words})' if words else ''}"


def version_of(effect: Effect, name: str) -> str:
    """Return what a target is after an action, in words."""
    return f"a copy of {word('version', effect.from_)}" if name == "from" else word("version", name)
