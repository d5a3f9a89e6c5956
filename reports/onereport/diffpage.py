"""A comparison of two runs as one HTML page that works offline and without JavaScript."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader

from onereport.comparison import Comparison
from onereport.html import visible


def render_diff_page(found: Comparison) -> str:
    """Return the page. What a driver prints stays text."""
    environment = Environment(loader=PackageLoader("onereport", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["visible"] = visible
    environment.filters["shown"] = lambda value: "not there" if value is None else visible(value) or "empty"
    return environment.get_template("diff.html.j2").render(diff=found)
