"""The specification as a static site: pages made from the tables alone, that work from a file, without network and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from onereport.html import visible
from onereport.spec_actions import ActionView, action_url, action_views, meaning_of_range, version_of
from onereport.spec_diagrams import operation_picture, overview_picture, phase_picture
from onereport.spec_lifecycles import CallCell, LifecycleView, OperationView, StepView, callers, lifecycle_views, operation_url
from onereport.spec_ranges import held_in, merged, range_words, span
from onereport.spec_search import entries, ident, index_script
from onereport.spec_tables import Attribute, Documents, documents
from onereport.spec_words import word
from onesim import __version__
from onesim.data import data_dir
from onesim.errors import HarnessError
from onesim.rows import Range
from onesim.spec import Spec


@dataclass(frozen=True)
class _CallRow:
    phase: str
    script: str
    rollback: bool
    cells: tuple[tuple[CallCell, ...], ...]


@dataclass(frozen=True)
class _CallTable:
    columns: tuple[str, ...]
    rows: tuple[_CallRow, ...]


@dataclass(frozen=True)
class _Site:
    """The tables in the shape of pages."""

    spec: Spec
    documents: Documents
    actions: dict[str, ActionView]
    lifecycles: dict[str, LifecycleView]
    requirements: dict[str, str]
    attributes: dict[str, Attribute]


def requirement_urls(spec: Spec) -> dict[str, str]:
    """Return where each requirement stands in the site, by id: page and anchor, from the site's folder."""
    return {row.id: f"requirements-{ident(name)}.html#{ident(row.id)}" for name, chapter in spec.chapters.items() for row in chapter.requirement}


def write_site(spec: Spec, folder: Path) -> list[Path]:
    """Write all pages into a folder, which is made if need be, and return their paths. Equal tables give equal bytes.

    Raises HarnessError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / name, text) for name, text in _rendered(spec)]
    except OSError as error:
        raise HarnessError(f"{folder}: {error.strerror}; give a folder that can be written") from error


def prepare(spec: Spec) -> None:
    """Make the pages, which are the same whatever a driver does; `write_site` then finds them made. Any thread may do this."""
    _rendered(spec)


@cache  # a second to make; runs under several contracts, and repeated ones, have the same pages
def _rendered(spec: Spec) -> tuple[tuple[str, str], ...]:
    texts = documents(spec)
    attributes = dict(_anchored(texts.attributes))
    site = _Site(spec, texts, action_views(spec, texts.discrepancies), lifecycle_views(spec), requirement_urls(spec), attributes)
    return tuple(_pages(site))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _pages(site: _Site) -> Iterator[tuple[str, str]]:
    environment = _environment(site)

    def page(template: str, name: str, **values: Any) -> tuple[str, str]:
        return name, environment.get_template(f"spec/{template}.html.j2").render(page=name, **values)

    yield page("index", "index.html", families=_families(site))
    for view in site.actions.values():
        yield page("action", action_url(view.key), view=view, examples=_examples(view), callers=callers(site.lifecycles, view.key))
    yield page("requirements", "requirements.html")
    for name, chapter in site.spec.chapters.items():
        yield page("chapter", f"requirements-{ident(name)}.html", chapter=chapter)
    for kind, lifecycle in site.lifecycles.items():
        yield page("lifecycle", f"lifecycle-{kind}.html", **_lifecycle(lifecycle))
    yield page("formats", "formats.html", **_formats(site))
    yield page("attributes", "attributes.html", attributes=_by_place(site.attributes))
    yield page("discrepancies", "discrepancies.html", by_action=_by_action(site))
    yield page("complaints", "complaints.html")
    templates = files("onereport") / "templates"
    colours = re.findall(r"^.*:root \{.*$", (templates / "report" / "report.css").read_text(encoding="utf-8"), re.MULTILINE)
    yield "site.css", "\n".join([*colours, (templates / "spec" / "site.css").read_text(encoding="utf-8")])
    yield "search.js", (templates / "spec" / "search.js").read_text(encoding="utf-8")
    found = entries(site.spec, site.documents, site.actions, site.lifecycles, site.requirements, site.attributes)
    yield "search-index.js", index_script(found)


def _environment(site: _Site) -> Environment:
    environment = Environment(
        loader=PackageLoader("onereport", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_finalize,
    )
    environment.filters |= {"ident": ident, "first_sentence": _first_sentence}
    spec = site.spec

    def span_of(since: Range, until: Range) -> str:
        return span(spec, held_in(spec, since, until))

    environment.globals |= {
        "spec": spec,
        "documents": site.documents,
        "actions": site.actions,
        "lifecycles": site.lifecycles,
        "requirement_urls": site.requirements,
        "operations": {f"{kind}.{one.name}" for kind, view in site.lifecycles.items() for one in view.operations},
        "states": {(kind, row.name) for kind, rows in spec.states.items() if kind in site.lifecycles for row in rows},
        "action_url": action_url,
        "operation_url": operation_url,
        "range_words": range_words,
        "range_of": lambda view: meaning_of_range(spec, view),
        "span": span_of,
        "merged": merged,
        "word": word,
        "version_of": version_of,
        "navigation": _navigation(site),
        "version": __version__,
        "digest": spec.sha256,
    }
    return environment


def _finalize(value: Any) -> Any:
    """Make control and direction characters of a table visible, as the report does with what a driver prints."""
    return visible(value) if type(value) is str else value


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _navigation(site: _Site) -> list[dict[str, Any]]:
    def group(title: str, links: Sequence[tuple[str, str]]) -> dict[str, Any]:
        return {"title": title, "links": [{"label": label, "url": url} for label, url in links]}

    start = [("Overview", "index.html"), ("Requirements", "requirements.html"), ("Formats", "formats.html"), ("Attributes", "attributes.html")]
    lives = [(word("object", kind), f"lifecycle-{kind}.html") for kind in site.lifecycles]
    families = [group(word("family", family), [(view.row.name, action_url(view.key)) for view in views]) for family, views in _families(site)]
    chapters = [(chapter.title, f"requirements-{ident(name)}.html") for name, chapter in site.spec.chapters.items()]
    return [
        group("Specification", [*start, ("Discrepancies", "discrepancies.html"), ("Complaints", "complaints.html")]),
        group("Lifecycles", lives),
        *families,
        group("Requirements", chapters),
    ]


def _families(site: _Site) -> list[tuple[str, list[ActionView]]]:
    names = dict.fromkeys(("ds", "tm", *(view.row.family for view in site.actions.values())))
    return [(name, [view for view in site.actions.values() if view.row.family == name]) for name in names]


def _examples(view: ActionView) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for group, text in zip(view.signatures, view.examples, strict=True):
        found.setdefault(text, []).append(group.label)
    return list(found.items())


def _lifecycle(view: LifecycleView) -> dict[str, Any]:
    leaving: dict[str, list[str]] = {row.name: [] for row in view.states}
    for one in view.operations:
        for state in dict.fromkeys(name for track in one.tracks for name in track.froms):
            leaving.setdefault(state, []).append(one.name)
    return {
        "view": view,
        "overview": overview_picture(view),
        "pictures": {one.name: operation_picture(view, one) for one in view.operations},
        "calls": {one.name: _calls(one) for one in view.operations},
        "alone": [(step.phase.name, phase_picture(view, step)) for step in view.alone],
        "leaving": leaving,
        "failures": [_failure(view, name, leaving[name]) for name in view.failure_states()],
        "phase_names": {phase.name for phase, _ in view.phases},
    }


def _failure(view: LifecycleView, name: str, operations: Sequence[str]) -> tuple[str, list[str], list[tuple[str, str]]]:
    phases = dict.fromkeys(phase.name for phase, _ in view.phases if phase.failure == name)
    ways = dict.fromkeys((one.name, track.end) for one in view.operations if one.name in operations for track in one.tracks if name in track.froms)
    return name, list(phases), list(ways)


def _calls(operation: OperationView) -> _CallTable:
    """Return the calls of an operation: a row for each script of each phase, a column for each kind of disk and anything else."""
    steps: dict[str, StepView] = {step.phase.name: step for track in operation.tracks for step in track.steps}
    scripts = [
        (name, script, rollback)
        for name, step in steps.items()
        for script, rollback in [*((one, False) for one in step.scripts), *([(step.rollback, True)] if step.rollback else [])]
        if script.calls
    ]
    columns = tuple(dict.fromkeys(member for _, script, _ in scripts for call in script.calls for member in call.members))
    rows = dict.fromkeys(
        _CallRow(name, script.name, rollback, tuple(tuple(call for call in script.calls if column in call.members) for column in columns))
        for name, script, rollback in scripts
    )
    return _CallTable(columns, tuple(rows))


def _formats(site: _Site) -> dict[str, Any]:
    spec = site.spec
    by_error: dict[str, list[str]] = {}
    for row in spec.contracts:
        by_error.setdefault(row.error, []).append(row.name)
    return {
        "argument_actions": {
            name: [key for key, view in site.actions.items() if any(one.name == name for one in view.arguments)] for name in spec.arguments
        },
        "parser_actions": {
            name: [key for key, view in site.actions.items() if any(one.name == name for one in view.parsers)] for name in spec.parsers
        },
        "errors": {name: span(spec, contracts) for name, contracts in by_error.items()},
        "grammars": _grammars(),
    }


def _grammars() -> list[tuple[str, str]]:
    folder = data_dir("schemas") / "grammars"
    return [(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.lark"))]


def _anchored(rows: Sequence[Attribute]) -> Iterator[tuple[str, Attribute]]:
    """Yield every attribute with an anchor of its own: a name may stand in several places and for several ranges."""
    seen: dict[str, int] = {}
    for row in rows:
        name = ident(f"{row.where}-{row.name}")
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), row


def _by_place(attributes: Mapping[str, Attribute]) -> dict[str, list[tuple[str, Attribute]]]:
    found: dict[str, list[tuple[str, Attribute]]] = {}
    for anchor, row in attributes.items():
        found.setdefault(row.where, []).append((anchor, row))
    return found


def _by_action(site: _Site) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {key: [] for key in site.actions}
    for row in site.documents.discrepancies:
        for key in row.actions or ("*",):
            found.setdefault(key, []).append(row)
    return {key: rows for key, rows in found.items() if rows}
