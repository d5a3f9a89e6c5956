"""Waivers: failures that somebody answers for until a day. With one, a run is CONFORMANT WITH WAIVERS at best.

A waiver names the requirement and the check that fails, why, who answers for it, the issue where it is followed, and the last day on which it holds.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import tomli_w

from onereport.results import FAILURES, RequirementVerdict, WaiverUse
from onesim.errors import ConfigError
from onesim.spec import Spec

NAME = "waivers.toml"
_HEAD = "# Failures that somebody answers for. `onetck waive check` says which of them still fit.\n"


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row. `expires` is the last day on which it holds."""

    requirement: str
    check: str
    reason: str
    owner: str
    issue: str
    expires: datetime.date


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    waiver: tuple[Waiver, ...] = ()


def read_waivers(path: Path, spec: Spec) -> tuple[Waiver, ...]:
    """Read and verify the file; none where there is no file. Raises ConfigError naming file, row and remedy."""
    if not path.exists():
        return ()
    try:
        rows = msgspec.toml.decode(path.read_bytes(), type=_File).waiver
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; make it readable") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; `onetck waive add` writes a row") from None
    checks = {row.id: row.check for row in spec.requirements}
    for row in rows:
        _verify(f"{path}: waiver of {row.requirement!r}", row, checks)
    return rows


def _verify(where: str, row: Waiver, checks: dict[str, str]) -> None:
    if row.requirement not in checks:
        raise ConfigError(f"{where}: there is no such requirement; `onetck spec` lists them")
    if row.check != checks[row.requirement]:
        raise ConfigError(
            f"{where}: its check is {checks[row.requirement]!r}, not {row.check!r}; look whether the reason still holds, and correct it"
        )
    for name in ("reason", "owner", "issue"):
        if not getattr(row, name).strip():
            raise ConfigError(f"{where}: has no {name}; whoever reads the report asks for it")


def apply(
    verdicts: Sequence[RequirementVerdict], waivers: Sequence[Waiver], today: datetime.date
) -> tuple[list[RequirementVerdict], tuple[WaiverUse, ...]]:
    """Mark the failures that are waived, and tell of every waiver whether it is used, unused (nothing fails any more) or expired."""
    failing = {row.requirement for row in verdicts if row.verdict in FAILURES}
    judged = {row.requirement for row in verdicts if row.verdict in FAILURES or row.verdict in ("pass", "warn")}
    uses = [_use(row, failing, judged, today) for row in waivers]
    waived = {use.requirement: f"{use.reason} ({use.owner}, {use.issue}, until {use.expires})" for use in uses if use.state == "used"}
    marked = [msgspec.structs.replace(row, waived=waived[row.requirement]) if row.requirement in waived else row for row in verdicts]
    return marked, tuple(uses)


def _use(row: Waiver, failing: set[str], judged: set[str], today: datetime.date) -> WaiverUse:
    left = (row.expires - today).days
    if left < 0:
        state = "expired"
    elif row.requirement in failing:
        state = "used"
    else:
        state = "unused" if row.requirement in judged else "idle"
    return WaiverUse(row.requirement, state, row.reason, row.owner, row.issue, row.expires.isoformat(), left)


def add(path: Path, row: Waiver, spec: Spec) -> None:
    """Add a row, in place of an older one for the same requirement. Raises ConfigError for a row that cannot be."""
    _verify(f"waiver of {row.requirement!r}", row, {one.id: one.check for one in spec.requirements})
    _write(path, [*(one for one in read_waivers(path, spec) if one.requirement != row.requirement), row])


def prune(path: Path, gone: Iterable[str], spec: Spec) -> list[str]:
    """Strike the waivers of these requirements. Returns those struck."""
    rows, wanted = read_waivers(path, spec), set(gone)
    _write(path, [row for row in rows if row.requirement not in wanted])
    return [row.requirement for row in rows if row.requirement in wanted]


def _write(path: Path, rows: Sequence[Waiver]) -> None:
    table = {"waiver": [{name: getattr(row, name) for name in row.__struct_fields__} for row in sorted(rows, key=lambda one: one.requirement)]}
    path.write_text(_HEAD + tomli_w.dumps(table), encoding="utf-8")
