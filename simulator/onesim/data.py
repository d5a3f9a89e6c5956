"""Where the project's data (specification, schemas, reference driver) lies: in a wheel beside this file, else in the checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from onesim.errors import SpecError


@cache
def _base() -> Path:
    packed = Path(__file__).parent / "_data"
    return packed if packed.is_dir() else Path(__file__).parents[2]


def data_dir(name: str) -> Path:
    """Return the directory `spec`, `schemas` or `reference_driver`.

    Raises SpecError when the installation lacks it.
    """
    path = _base() / name
    if not path.is_dir():
        raise SpecError(f"{path}: the installation lacks this directory; install onetck again")
    return path
