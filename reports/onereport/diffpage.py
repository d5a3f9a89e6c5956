"""A comparison of two runs as one HTML page that works offline and without JavaScript."""

from __future__ import annotations

from onereport.comparison import Comparison
from onereport.html import environment, visible


def _shown(value: str | None) -> str:
    return "not there" if value is None else visible(value) or "empty"


def render_diff_page(found: Comparison) -> str:
    """Return the page. What a driver prints stays text."""
    return environment().get_template("diff.html.j2").render(diff=found, shown=_shown)
