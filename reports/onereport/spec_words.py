"""Words for the closed values of the tables' columns, from a table of their own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import tomli


@cache
def _words() -> dict[str, dict[str, str]]:
    return tomli.loads((files("onereport") / "templates" / "spec" / "words.toml").read_text(encoding="utf-8"))


def word(column: str, value: str) -> str:
    """Return the words for a value of a column; the value itself where there are none."""
    return _words().get(column, {}).get(value, value.replace("_", " "))
