"""Levels of conformance: what a run has to play for one, and which one a conformant run has reached."""

from __future__ import annotations

from onereport.results import Decision
from onesim.errors import ConfigError
from onesim.records import Header
from onesim.rows import Level, Profile
from onesim.spec import Spec
from onetck.faulting import LEVELS as FAULTS


def find(spec: Spec, name: str) -> Level:
    """Return a level by its name. Raises ConfigError for an unknown one."""
    if name not in spec.levels:
        raise ConfigError(f"--level {name!r} is unknown; choose one of {', '.join(spec.levels)}")
    return spec.levels[name]


def demanded(level: Level, claimed: str) -> str:
    """Return the names of the profiles that a level demands of a driver that claims these, all parted by commas."""
    return ",".join(dict.fromkeys([*level.profiles, *(claimed.split(",") if level.claimed else ())]))


def reached(spec: Spec, header: Header, profile: Profile, decision: Decision) -> str:
    """Return the highest level that a run has reached; empty if none.

    A run on chosen requirements, and one of which nobody knows what the driver claims, reaches none.
    """
    names = profile.name.split(", ")
    rows = [spec.profiles[name] for name in names if name in spec.profiles]
    whole = set(profile.requirements) >= {id for row in rows for id in row.requirements}
    if decision.exit_code or not header.claimed or not whole:
        return ""
    waived = decision.verdict != "CONFORMANT"
    met = [
        level.name
        for level in spec.levels.values()
        if set(demanded(level, ",".join(header.claimed)).split(",")) <= set(names)
        and FAULTS.index(header.faults) >= FAULTS.index(level.faults)
        and (level.waivers or not waived)
    ]
    return met[-1] if met else ""
