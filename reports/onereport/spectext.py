"""The specification in a terminal: an action, a requirement, a discrepancy, an operation, an attribute, a format, or the overview."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onereport.html import visible
from onereport.spec_actions import ActionView, action_views, meaning_of_range, version_of
from onereport.spec_lifecycles import ScriptView, StepView, lifecycle_views
from onereport.spec_ranges import held_in, range_words, span
from onereport.spec_tables import documents
from onereport.spec_words import word
from onesim.errors import ConfigError
from onesim.rows import Discrepancy, Requirement
from onesim.spec import Spec

_LEVELS = {"MUST": "bold red", "SHOULD": "bold yellow", "MAY": "bold blue"}
_FAMILIES = ("ds", "tm", "vmm")
Renderer = Callable[[], None]


def render(spec: Spec, name: str, contract: str, console: Console) -> bool:
    """Print whatever bears a name: an action (`ds/cp`, `cp`), a requirement, a discrepancy, an operation, an attribute, a format; the overview for none.

    Returns False where nothing has the name; `suggestions` tells near ones. Raises ConfigError for an unknown contract.
    """
    if not name.strip():
        render_overview(spec, console)
        return True
    spec.contract(contract)
    found = _catalogue(spec, contract, console).get(name.strip().casefold(), [])
    for show in found:
        show()
    return bool(found)


def suggestions(spec: Spec, name: str) -> list[str]:
    """Return at most eight names that are near to one that is unknown: those that contain it, then those that are spelt like it."""
    names = {said.casefold(): said for said, _ in _entries(spec, "", Console(quiet=True))}
    wanted = name.strip().casefold()
    within = sorted(one for one in names if wanted and wanted in one)
    near = difflib.get_close_matches(wanted, names, n=8, cutoff=0.6)
    return [names[one] for one in dict.fromkeys([*within, *near])][:8]


def render_overview(spec: Spec, console: Console) -> None:
    """Print the contracts, the actions and what else can be asked for."""
    contracts = _table("Contract", "Release", "Document", "Error text")
    for row in spec.contracts:
        contracts.add_row(f"{row.name}{' (default)' if row.default else ''}", row.version, row.generation, row.error)
    console.print(_line("Contracts", "bold"))
    console.print(contracts)
    for family in _FAMILIES[:2]:
        actions = _table("Action", "Contracts", "What it does")
        for key, view in action_views(spec, ()).items():
            if view.row.family == family:
                actions.add_row(_text(key), span(spec, view.contracts), _text(view.row.meaning.split(". ")[0]))
        console.print(_line(word("family", family), "bold"))
        console.print(actions)
    chapters = ", ".join(f"{chapter.title} ({len(chapter.requirement)})" for chapter in spec.chapters.values())
    console.print(_line("Requirements", "bold"))
    console.print(Padding(_text(chapters), (0, 2)))
    for kind, view_ in lifecycle_views(spec).items():
        console.print(_line(f"Operations: {word('object', kind)}", "bold"))
        console.print(Padding(_text(", ".join(f"{kind}.{one.name}" for one in view_.operations)), (0, 2)))
    found = documents(spec).discrepancies
    if found:
        console.print(_line(f"Discrepancies: {found[0].id} to {found[-1].id}", "bold"))


def render_action(spec: Spec, key: str, contract: str, console: Console) -> None:
    """Print an action as it is in one contract (empty: the default). Raises ConfigError for an unknown action or contract."""
    view = action_views(spec, documents(spec).discrepancies).get(key)
    if view is None:
        raise ConfigError(f"action {key!r} is unknown; near ones: {', '.join(suggestions(spec, key)) or 'none'}")
    chosen = spec.contract(contract)
    console.print(_line(key, "bold cyan"))
    console.print(Padding(_text(view.row.meaning), (0, 2)))
    facts = [("Script", f"{word('directory', view.row.family)}/{view.row.name}, of {word('mad', view.row.mad)}"), ("Runs", word("on", view.row.on))]
    facts += [("Contracts", meaning_of_range(spec, view)), ("Triggers", ", ".join(view.row.triggers) or "no operation")]
    if chosen.name in view.unverified:
        facts.append(("Unverified", f"nobody has verified it in {chosen.name}"))
    console.print(_facts(facts))
    if chosen.name not in view.contracts:
        console.print(_line(f"It does not exist in {chosen.name} ({chosen.version}).", "bold yellow"))
        return
    _signature(spec, view, chosen.name, console)
    _behaviour(spec, view, console)
    for row in view.requirements:
        console.print(_requirement_line(row))
    for row_ in view.discrepancies:
        console.print(_text(f"{row_.id} {row_.topic}"))


def _signature(spec: Spec, view: ActionView, contract: str, console: Console) -> None:
    n, group = next((n, one) for n, one in enumerate(view.signatures) if contract in one.contracts)
    arguments = _table("Argument", "Grammar", "Meaning")
    for name in group.value.argv:
        arguments.add_row(_text(name), _text(spec.arguments[name].grammar), _text(spec.arguments[name].meaning))
    console.print(_line(f"In contract {contract} ({spec.contract(contract).version})", "bold"))
    console.print(arguments if group.value.argv else Padding("no arguments", (0, 2)))
    carriage, parser = spec.carriages[group.value.stdin], spec.parsers[group.value.parser]
    children = ", ".join(f"{one.name}{f' (when {one.when})' if one.when else ''}" for one in group.value.children) if view.row.passing else ""
    facts = [("stdin", f"{carriage.meaning} {word('encoding', carriage.encoding) if carriage.root else ''}".strip())]
    facts += [("Document", children)] if children else []
    facts += [
        ("stdout", f"{parser.takes}; anything else: {parser.garbage}"),
        ("Error text", word("error", group.value.error)),
        ("Example", view.examples[n]),
    ]
    console.print(_facts(facts))


def _behaviour(spec: Spec, view: ActionView, console: Console) -> None:
    effect = spec.effects[view.row.effect]
    content = "no content changes"
    if effect.target != "none":
        content = f"{word('version', effect.target)} is {version_of(effect, effect.success)}; after a failure {version_of(effect, effect.failure)}"
    facts = [("Content", content), ("May touch", "; ".join(spec.places[name].meaning for name in view.row.touches) or "nothing")]
    facts += [("Called again", view.row.again), ("On failure", view.row.failure), ("Note", view.row.note)]
    facts += [("Changed", f"{one.release}: {one.text}") for one in view.changes] + [("Source", view.row.source)]
    console.print(_facts([one for one in facts if one[1]]))


def render_requirement(spec: Spec, id: str, console: Console) -> None:
    """Print a requirement. Raises ConfigError for an unknown id."""
    row = next((one for one in spec.requirements if one.id == id), None)
    if row is None:
        raise ConfigError(f"requirement {id!r} is unknown; near ones: {', '.join(suggestions(spec, id)) or 'none'}")
    console.print(_requirement_line(row))
    words = range_words(row.since, row.until)
    facts = [("Action", row.action), ("Applies", row.applies)]
    facts += [("Looks at", "; ".join(f"{name} = {' or '.join(values)}" for name, values in row.when.items()))]
    facts += [("Contracts", f"{span(spec, held_in(spec, row.since, row.until))}{f' ({words})' if words else ''}")]
    facts += [("Checked by", row.check), ("Not tested", row.untestable), ("Source", row.source)]
    console.print(_facts([one for one in facts if one[1]]))


def render_discrepancy(spec: Spec, id: str, console: Console) -> None:
    """Print a discrepancy between the guides and oned. Raises ConfigError for an unknown id."""
    row: Discrepancy | None = next((one for one in documents(spec).discrepancies if one.id == id), None)
    if row is None:
        raise ConfigError(f"discrepancy {id!r} is unknown; near ones: {', '.join(suggestions(spec, id)) or 'none'}")
    console.print(_line(f"{row.id} {row.topic}", "bold cyan"))
    facts = [
        ("Guides", ", ".join(row.guides)),
        ("promise", row.promised),
        ("", row.promised_source),
        ("oned does", row.holds),
        ("", row.holds_source),
    ]
    facts += [("Recorded", ", ".join(row.recorded)), ("What to do", row.advice), ("Actions", ", ".join(row.actions) or "every action")]
    console.print(_facts([*(one for one in facts if one[1]), *([("Requirements", ", ".join(row.requirements))] if row.requirements else [])]))


def render_operation(spec: Spec, name: str, contract: str, console: Console) -> None:
    """Print the ways of an operation such as `vm.migrate` in one contract. Raises ConfigError for an unknown operation or contract."""
    kind, _, operation = name.partition(".")
    view = lifecycle_views(spec, spec.contract(contract).name).get(kind)
    found = next((one for one in view.operations if one.name == operation), None) if view else None
    if found is None:
        raise ConfigError(f"operation {name!r} is unknown; near ones: {', '.join(suggestions(spec, name)) or 'none'}")
    console.print(_line(name, "bold cyan"))
    if not found.tracks:
        console.print(f"It does not exist in {spec.contract(contract).name}.", markup=False, highlight=False)
    for track in found.tracks:
        froms = [f"{name} (before it: {', '.join(before)})" if before else name for name, before in zip(track.froms, track.before, strict=True)]
        console.print(Text.assemble("from ", (", ".join(froms) or "nothing", "bold"), ": the state stays" if track.row.stays else ""))
        for step in track.steps:
            console.print(Padding(_step(step), (0, 2)))
        if not track.row.stays:
            console.print(Padding(Text.assemble("ends in ", (track.end, "bold green")), (0, 2)))


def _step(step: StepView) -> Group:
    phase = step.phase
    lines = [Text.assemble((phase.name, "bold"), "" if phase.shown == phase.name else f", shows {phase.shown}")]
    lines += [line for script in step.scripts for line in _script(script)] or [Text("  no call to a script")]
    lines.append(Text.assemble("  fails: ", (phase.failure, "red"), ", whatever happens" if phase.fails == "ignore" else ""))
    if step.rollback:
        lines.append(Text(f"    if {' or '.join(phase.rollback_after)} failed:"))
        lines += [Text("  ").append_text(line) for line in _script(step.rollback)]
    return Group(*lines)


def _script(script: ScriptView) -> Iterable[Text]:
    for call in script.calls:
        suffix = "" if call.suffix == "none" else f"; {word('call_suffix', call.suffix)}"
        yield Text.assemble(
            "  ", (call.action, "cyan"), f": {', '.join(call.members)}{suffix}{'; a failure is ignored' if call.fails == 'ignore' else ''}"
        )


def _catalogue(spec: Spec, contract: str, console: Console) -> dict[str, list[Renderer]]:
    found: dict[str, list[Renderer]] = {}
    for name, show in _entries(spec, contract, console):
        found.setdefault(name.casefold(), []).append(show)
    return found


def _entries(spec: Spec, contract: str, console: Console) -> Iterable[tuple[str, Renderer]]:
    """Yield every name with what prints it; an action under its key and under its bare name."""
    texts = documents(spec)
    for key in dict.fromkeys(row.key for row in spec.actions):
        for name in (key, key.partition("/")[2]):
            yield name, lambda key=key: render_action(spec, key, contract, console)  # type: ignore[misc]
    for row in spec.requirements:
        yield row.id, lambda id=row.id: render_requirement(spec, id, console)  # type: ignore[misc]
    for one in texts.discrepancies:
        yield one.id, lambda id=one.id: render_discrepancy(spec, id, console)  # type: ignore[misc]
    for kind, table in spec.lifecycles.items():
        for name in dict.fromkeys(operation.name for operation in table.operation):
            yield f"{kind}.{name}", lambda name=f"{kind}.{name}": render_operation(spec, name, contract, console)  # type: ignore[misc]
    for attribute in texts.attributes:
        facts = [("Where", attribute.where), ("Meaning", attribute.meaning), ("Values", ", ".join(attribute.values)), ("Default", attribute.default)]
        facts += [
            ("Releases", range_words(attribute.since, attribute.until)),
            ("Changes", ", ".join(attribute.changes)),
            ("Source", attribute.source),
        ]
        yield attribute.name, lambda name=attribute.name, facts=facts: _plain(name, facts, console)  # type: ignore[misc]
    for form in texts.formats:
        facts = [("Title", form.title), ("Meaning", form.meaning), ("Encoding", form.encoding), ("Carried by", ", ".join(form.carried_by))]
        facts += [("Sample", form.sample), ("Source", form.source)]
        yield form.name, lambda name=form.name, facts=facts: _plain(name, facts, console)  # type: ignore[misc]
    for helper in texts.helpers:
        facts = [
            ("Arguments", helper.arguments),
            ("Does", helper.does),
            ("Promised", helper.promised),
            ("Note", helper.note),
            ("Source", helper.source),
        ]
        yield helper.name, lambda name=helper.name, facts=facts: _plain(name, facts, console)  # type: ignore[misc]
    for argument in spec.arguments.values():
        facts = [("Argument", argument.meaning), ("Grammar", argument.grammar), ("Example", argument.example)]
        yield argument.name, lambda name=argument.name, facts=facts: _plain(name, facts, console)  # type: ignore[misc]


def _plain(name: str, facts: list[tuple[str, str]], console: Console) -> None:
    console.print(_line(name, "bold cyan"))
    console.print(_facts([one for one in facts if one[1]]))


def _requirement_line(row: Requirement) -> Text:
    return Text.assemble((row.id, "bold cyan"), " ", (row.level, _LEVELS[row.level]), f" {visible(row.sentence)}")


def _line(text: str, style: str) -> Text:
    return Text(visible(text), style)


def _text(text: str) -> Text:
    return Text(visible(text))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _facts(rows: Iterable[tuple[str, str]]) -> Padding:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in rows:
        table.add_row(name, _text(said))
    return Padding(table, (0, 2))
