"""The outcome of a run as Markdown, for the summary page of a CI job. What a driver prints stays text: no markup of it, and no HTML, gets through."""

from __future__ import annotations

import re
from collections.abc import Iterable

from onereport.html import visible
from onereport.results import FAILURES, RequirementVerdict, Result, ResultRecord, ResultsFooter, ResultsHeader

_SHOWN_MAX = 50
_TEXT_MAX = 300
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~&:@-])")


def escape(text: str) -> str:
    """Return a text on one line, cut at 300 characters, in which no character means anything to Markdown or HTML."""
    line = " ".join(visible(text).split())
    return _MARKUP.sub(r"\\\1", line if len(line) <= _TEXT_MAX else f"{line[:_TEXT_MAX]}…")


def _code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    line = " ".join(visible(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def render_markdown(records: Iterable[ResultRecord]) -> str:
    """Return the page: verdict, what was certified, the counts, then every requirement that did not pass with its first evidence and the command that repeats it."""
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    results: dict[tuple[str, str], Result] = {}
    wrong: list[RequirementVerdict] = []
    for record in records:
        match record:
            case ResultsHeader():
                header = record
            case Result():
                results.setdefault((record.requirement, record.verdict), record)
            case RequirementVerdict():
                if (
                    record.verdict in FAILURES
                    or record.verdict in ("error", "warn")
                    or (record.required and record.verdict in ("blocked", "not_tested"))
                ):
                    wrong.append(record)
            case ResultsFooter():
                footer = record
    lines = [f"## {footer.verdict if footer else 'PARTIAL'}", ""]
    lines += [escape(footer.said) if footer else "The run was interrupted; no verdict follows.", ""]
    if header is not None:
        lines += [f"{escape(header.driver)}; OpenNebula {escape(header.version)}; {escape(header.profile)}; {escape(header.tool)}", ""]
    if footer is not None:
        lines += _counts(footer)
    lines += _requirements(wrong, results)
    if header is not None and header.faults:
        lines += [f"{escape(header.faults)}.", ""]
    if header is not None and header.quarantine:
        lines += ["Not judged, because their check is known to be wrong:", "", *(f"- {escape(one)}" for one in header.quarantine), ""]
    if header is not None and header.waivers:
        lines += ["| waived | until | days left | owner | issue |", "|---|---|---:|---|---|"]
        lines += [
            f"| {one.requirement} | {escape(one.expires)} | {one.days_left} | {escape(one.owner)} | {escape(one.issue)} |" for one in header.waivers
        ]
        lines.append("")
    return "\n".join(lines)


def _counts(footer: ResultsFooter) -> list[str]:
    shown = [name for name, count in footer.counts.items() if count]
    return [
        f"{footer.executed} of {footer.required} required executed; {footer.cases} cases, {footer.calls} calls, {footer.wall_s:.1f} s",
        "",
        f"| {' | '.join(name.replace('_', ' ') for name in shown)} |",
        f"|{'---:|' * len(shown)}",
        f"| {' | '.join(str(footer.counts[name]) for name in shown)} |",
        "",
    ]


def _requirements(wrong: list[RequirementVerdict], results: dict[tuple[str, str], Result]) -> list[str]:
    if not wrong:
        return []
    lines = ["| requirement | verdict | what it demands | what was seen | repeat |", "|---|---|---|---|---|"]
    for row in wrong[:_SHOWN_MAX]:
        result = results.get((row.requirement, row.verdict))
        seen = f"{result.case}: {result.evidence[0].sentence}" if result is not None and result.evidence else row.reason
        place = result.evidence[0].place if result is not None and result.evidence else ""
        where = f"<br>{escape(place)}" if place else ""
        verdict = f"{row.verdict} (waived)" if row.waived else row.verdict
        repeat = _code(result.repeat) if result is not None else ""
        lines.append(f"| {row.requirement} | {escape(verdict)} | {escape(row.sentence)} | {escape(seen)}{where} | {repeat} |")
    if len(wrong) > _SHOWN_MAX:
        lines += ["", f"and {len(wrong) - _SHOWN_MAX} more; see the report"]
    return [*lines, ""]
