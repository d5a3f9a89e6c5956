"""The outcome of a run as a picture for a README: contract and profile to the left, verdict and counts to the right. It needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import Environment, PackageLoader

from onereport.html import visible
from onereport.results import ResultRecord, ResultsFooter, ResultsHeader

_COLOURS = {"CONFORMANT": "#2e7d32", "CONFORMANT WITH WAIVERS": "#8a6d00", "NOT CONFORMANT": "#b3261e"}
_OTHER = "#5f6368"
_CHARACTER_PX = 6.7
_PROFILE_MAX = 24


def render_badge(records: Iterable[ResultRecord]) -> str:
    """Return the SVG. Its title says all of it in words."""
    header: ResultsHeader | None = None
    footer: ResultsFooter | None = None
    for record in records:
        match record:
            case ResultsHeader():
                header = record
            case ResultsFooter():
                footer = record
    profile = header.profile if header is not None else ""
    if len(profile) > _PROFILE_MAX:
        first, _, rest = profile.partition(", ")
        profile = f"{first[:_PROFILE_MAX]} + {rest.count(',') + 1}" if rest else f"{first[:_PROFILE_MAX]}…"
    left = visible(f"OpenNebula {header.contract} {profile}" if header is not None else "OpenNebula")
    verdict = footer.verdict if footer is not None else "PARTIAL"
    level = f" {footer.level}" if footer is not None and footer.level else ""
    right = f"{verdict.lower()}{level} {footer.executed}/{footer.required}" if footer is not None else "partial"
    widths = [round(len(text) * _CHARACTER_PX + 12) for text in (left, right)]
    environment = Environment(loader=PackageLoader("onereport"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("badge.svg.j2").render(left=left, right=right, widths=widths, colour=_COLOURS.get(verdict, _OTHER))
