"""Contracts: exact OpenNebula versions, and the rule by which a row of a table is valid for one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from onesim.errors import SpecError

_VERSION = re.compile(r"\d+(\.\d+)*")


@cache
def parse_version(text: str) -> tuple[int, ...]:
    """Return a version as numbers. Raises SpecError if it is not dotted numbers."""
    if not _VERSION.fullmatch(text):
        raise SpecError(f"version {text!r} is not dotted numbers such as 6.4.2; correct the table")
    return tuple(int(part) for part in text.split("."))


@cache
def at_least(version: str, since: str | tuple[str, ...]) -> bool:
    """Tell whether `version` has a change that entered at `since`.

    A change that was brought to several release lines has several thresholds. The threshold of the version's own line (major.minor) counts if
    there is one, else the greatest. Example: since ("6.4.2", "6.5.80") holds for 6.4.7 and 6.6.0, not for 6.4.1 and 6.2.1.
    """
    thresholds = [parse_version(one) for one in ((since,) if isinstance(since, str) else since)]
    number = parse_version(version)
    same_line = [one for one in thresholds if one[:2] == number[:2]]
    return number >= max(same_line or thresholds)


def in_range(version: str, since: str | Sequence[str] = (), until: str | Sequence[str] = ()) -> bool:
    """Tell whether `version` lies in a row's range: from `since` (inclusive), before `until` (exclusive); empty means unbounded."""

    def given(bound: str | Sequence[str]) -> str | tuple[str, ...]:
        return bound if isinstance(bound, str) else tuple(bound)

    after = not since or at_least(version, given(since))
    return after and not (until and at_least(version, given(until)))
