"""What a driver can do, as Markdown: ready for the documentation of a vendor. What a driver or its description says stays text."""

from __future__ import annotations

from collections.abc import Iterable

from onereport.capability import areas, offered, seen
from onereport.html import visible
from onereport.markdown import escape
from onereport.results import ConfLine, ProfileRow, RequirementVerdict, ResultRecord, ResultsFooter, ResultsHeader


def render_capability(records: Iterable[ResultRecord]) -> str:
    """Return the page as Markdown, for the documentation of a vendor: what was run, what the driver can do, and the lines for oned.conf."""
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    verdicts: dict[str, RequirementVerdict] = {}
    rows: list[ProfileRow] = []
    lines: list[ConfLine] = []
    for record in records:
        match record:
            case ResultsHeader():
                header = record
            case RequirementVerdict():
                verdicts[record.requirement] = record
            case ProfileRow():
                rows.append(record)
            case ConfLine():
                lines.append(record)
            case ResultsFooter():
                footer = record
    page = ["# What this driver can do", ""]
    if header is not None:
        page += [f"As seen by {escape(header.tool)} under OpenNebula {escape(header.version)}; driver `{header.driver_sha256[:16]}`.", ""]
    page += [escape(f"{footer.verdict}: {footer.said}") if footer else "The run was interrupted; what stands here is what was seen until then.", ""]
    page += ["| area | can it? | why |", "|---|---|---|"]
    page += [f"| {escape(one.row.title)} | {one.answer} | {escape(one.why)} |" for one in areas(seen(rows, verdicts))]
    told = offered(lines, verdicts)
    if told:
        page += ["", "## Lines for oned.conf", "", "```", *(visible(one.text).replace("```", "'''") for one in told), "```", ""]
        page += [f"- {escape(note)}" for one in told for note in one.notes]
    return "\n".join(page).rstrip("\n") + "\n"
