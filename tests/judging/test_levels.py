"""Which level a run has reached: by what was certified, by the faults that were played, and by what was waived."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from onereport.results import Decision
from onesim.errors import ConfigError
from onesim.records import Header
from onesim.spec import for_contract, load
from onetck.certify import Wish, at_level
from onetck.conclude import find_profile
from onetck.levels import demanded, find, reached

SPEC = load()
CLAIMED = ("core", "concurrency", "tm-resize")
ALL = "core,concurrency,tm-resize"


def level(profiles: str, *, claimed: tuple[str, ...] = CLAIMED, faults: str = "off", verdict: str = "CONFORMANT", code: int = 0) -> str:
    """Return the level of a run that ended so."""
    header = Header(1, "onetck", "7.4", "7.4.0", "d", "fs", "shared", "shared", 0, 0.0, "", "", claimed=claimed, faults=faults)
    return reached(SPEC, header, find_profile(for_contract("7.4"), profiles), Decision(verdict, "", code, {}, 1, 1))


@pytest.mark.parametrize(
    ("profiles", "facts", "expected"),
    [
        ("quick", {}, ""),
        ("core", {}, "bronze"),
        ("core,concurrency", {}, "bronze"),  # not all that is claimed
        (ALL, {}, "silver"),
        (ALL, {"claimed": ()}, ""),
        (ALL, {"verdict": "NOT CONFORMANT", "code": 1}, ""),
        (ALL, {"verdict": "CONFORMANT WITH WAIVERS"}, "silver"),
        (f"{ALL},faults", {"faults": "basic"}, "silver"),
        (f"{ALL},faults", {"faults": "full"}, "gold"),
        (f"{ALL},faults", {"faults": "full", "verdict": "CONFORMANT WITH WAIVERS"}, "silver"),
        ("core,concurrency,faults", {"faults": "full"}, "bronze"),
    ],
)
def test_the_highest_level_whose_demands_are_met(profiles: str, facts: dict[str, object], expected: str) -> None:
    """A higher one demands more profiles, all that is claimed, every fault, and no waiver."""
    assert level(profiles, **facts) == expected  # type: ignore[arg-type]


def test_a_run_on_chosen_requirements_reaches_no_level() -> None:
    """Whatever the names of its profiles are."""
    header = Header(1, "onetck", "7.4", "7.4.0", "d", "fs", "shared", "shared", 0, 0.0, "", "", claimed=CLAIMED)
    chosen = msgspec.structs.replace(SPEC.profiles["core"], requirements=("TM-MV-002",))
    assert reached(SPEC, header, chosen, Decision("CONFORMANT", "", 0, {}, 1, 1)) == ""


def test_a_level_that_is_wished_decides_what_is_played() -> None:
    """Its profiles with those that are claimed, its faults; nothing that says otherwise goes with it."""
    assert demanded(SPEC.levels["bronze"], ALL) == "core" and set(demanded(SPEC.levels["gold"], ALL).split(",")) == {*CLAIMED, "faults"}
    assert (at_level(Wish(Path(), level="gold")).faults, at_level(Wish(Path(), level="silver")).faults) == ("full", "off")
    assert at_level(Wish(Path(), level="gold")).words == ("--level", "gold")
    with pytest.raises(ConfigError, match="leave out --profile"):
        at_level(Wish(Path(), "core", level="silver"))
    with pytest.raises(ConfigError, match="choose one of bronze, silver, gold"):
        find(SPEC, "iron")
