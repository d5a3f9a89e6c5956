"""The index of the site's search: a title, what it is, where it stands, and the words that are searched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from onereport.spec_actions import ActionView, action_url
from onereport.spec_lifecycles import LifecycleView, operation_url
from onereport.spec_tables import Attribute, Documents
from onereport.spec_words import word
from onesim.spec import Spec

Entry = tuple[str, str, str, str]


def ident(text: str) -> str:
    """Return a name as an anchor or part of a file name."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-") or "none"


def index_script(entries: Iterator[Entry]) -> str:
    """Return the index as a script, which a page from a file can load where it could not load data."""
    text = msgspec.json.format(msgspec.json.encode(list(entries)), indent=0).decode()
    return f"window.ONETCK_INDEX = {text.replace('<', chr(92) + 'u003c')};\n"


def entries(
    spec: Spec,
    documents: Documents,
    actions: Mapping[str, ActionView],
    lifecycles: Mapping[str, LifecycleView],
    requirements: Mapping[str, str],
    attributes: Mapping[str, Attribute],
) -> Iterator[Entry]:
    """Yield what can be found: actions, requirements, discrepancies, complaints, operations, states, arguments, formats, attributes.

    `requirements` and `attributes` are by id and anchor; the first gives places.
    """
    for action in actions.values():
        yield action.key, "action", action_url(action.key), action.row.meaning
    for requirement in spec.requirements:
        yield requirement.id, requirement.level, requirements[requirement.id], f"{requirement.sentence} {requirement.action}"
    for row in documents.discrepancies:
        yield f"{row.id} {row.topic}", "discrepancy", f"discrepancies.html#{ident(row.id)}", f"{row.holds} {row.advice} {' '.join(row.actions)}"
    for complaint in spec.complaints:
        place = f"complaints.html#complaint-{complaint.number}"
        yield complaint.reference, "complaint", place, f"{complaint.symptom} {' '.join(complaint.requirements)}"
    for kind, view in lifecycles.items():
        for operation in view.operations:
            yield (
                f"{kind}.{operation.name}",
                "operation",
                operation_url(f"{kind}.{operation.name}"),
                f"calls {', '.join(operation.actions) or 'nothing'}",
            )
        for state in view.states:
            number = f"{state.state}/{state.lcm}" if state.lcm >= 0 else str(state.state)
            yield state.name, f"{word('object', kind)} state", f"lifecycle-{kind}.html#state-{ident(state.name)}", number
    for argument in spec.arguments.values():
        yield argument.name, "argument", f"formats.html#argument-{ident(argument.name)}", argument.meaning
    for parser in spec.parsers.values():
        yield parser.name, "stdout", f"formats.html#parser-{ident(parser.name)}", parser.takes
    for carriage in spec.carriages.values():
        yield carriage.name, "stdin", f"formats.html#carriage-{ident(carriage.name)}", f"{carriage.root} {carriage.meaning}"
    yield from _documents(documents, attributes)


def _documents(documents: Documents, attributes: Mapping[str, Attribute]) -> Iterator[Entry]:
    for one in documents.formats:
        yield one.name, "format", f"formats.html#format-{ident(one.name)}", f"{one.title} {one.meaning}"
    for table in documents.enumerations:
        yield (
            table.name,
            "enumeration",
            f"formats.html#enumeration-{ident(table.name)}",
            " ".join(f"{name} {number}" for name, number, _ in table.values),
        )
    for pool in documents.libvirt.pool if documents.libvirt else ():
        yield f"pool {pool.type}", "libvirt pool", f"formats.html#pool-{ident(pool.type)}", " ".join((*pool.needs, *pool.takes))
    for anchor, attribute in attributes.items():
        yield attribute.name, attribute.where, f"attributes.html#{anchor}", attribute.meaning
    for helper in documents.helpers:
        yield helper.name, "shell helper", f"attributes.html#helper-{ident(helper.name)}", helper.does
