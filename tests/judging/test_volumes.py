"""What lies in a vendor's store is judged as files are: by what calls add to it, take from it and leave in it; what nobody sees is not applicable."""

from __future__ import annotations

from typing import Any

import pytest

from onesim.records import STORED, Call, CaseBegin, CaseEnd, Footer, Header, Record, TreeChange
from onesim.rows import Requirement
from onesim.spec import for_contract
from onetck.checks import CHECKS
from onetck.checks.base import Case
from onetck.judge import judge

SPEC = for_contract("7.4")
BEGIN = CaseBegin("c", "A case", ("frontend", "host01"), volumes=True, probed=("inventory", "capacity"))


def call(n: int, key: str, *changes: str, status: int = 0, vm: int = 3, disk: int = 0, image: int = 5, **facts: str) -> Call:
    """Return a call with what it has added to the store (`+name`) and taken from it (`-name`)."""
    family, _, action = key.partition("/")
    tree = tuple(TreeChange("frontend", one[1:], "created" if one[0] == "+" else "removed", STORED) for one in changes)
    own = {"kind": "nonpersistent", "vm_directory": f"/var/lib/one//datastores/0/{vm}", "source": "p/i", "clone_target": "SELF", **facts}
    return Call(
        "c", n, 0, family, "x", action, "/x", "frontend", (), {}, not status, "exit", status, facts=own, tree=tree, vm=vm, disk=disk, image=image
    )


def verdicts(check: str, action: str, *calls: Call, **when: tuple[str, ...]) -> set[str]:
    """Return the verdicts of a check over a case with these calls."""
    return {
        one.verdict for one in CHECKS[check](Case("c", SPEC, BEGIN, calls=list(calls)), Requirement("X", "MUST", action, "S.", "s", check, when=when))
    }


CLONED = call(0, "tm/clone", "+p/i@snap", "+p/i-3-0")
SAVED = call(1, "tm/cpds", "+p/new", saved_image="9")
#: check, action, the calls of a case, its verdict
CASES: list[tuple[str, str, tuple[Call, ...], str]] = [
    ("taken_away", "tm/delete", (CLONED, call(1, "tm/delete", "-p/i-3-0", "-p/i@snap")), "pass"),
    ("taken_away", "tm/delete", (CLONED, call(1, "tm/delete")), "fail"),
    # the snapshot that only this clone needed
    ("taken_away", "tm/delete", (CLONED, call(1, "tm/delete", "-p/i-3-0")), "fail"),
    # another VM's clone needs it still
    ("taken_away", "tm/delete", (CLONED, call(1, "tm/clone", "+p/i-4-0", vm=4), call(2, "tm/delete", "-p/i-3-0")), "pass"),
    # a volatile disk has no image whose name would tell
    ("taken_away", "tm/delete", (call(0, "tm/mkimage", "+p/v", kind="volatile", image=-1), call(1, "tm/delete", kind="volatile", image=-1)), "fail"),
    # snapshots of a persistent image are the image's
    ("taken_away", "tm/delete", (call(0, "tm/snap_create", "+p/i@0", kind="persistent"), call(1, "tm/delete", kind="persistent")), "pass"),
    ("no_remains", "tm/clone", (call(0, "tm/clone", "+p/i-3-0", status=1),), "fail"),
    ("no_remains", "tm/clone", (call(0, "tm/clone", status=1),), "pass"),
    ("changes_nothing", "ds/export", (call(0, "ds/export", "+p/tmp"),), "fail"),
    ("changes_nothing", "ds/export", (call(0, "ds/export"),), "pass"),
    ("image_taken_away", "ds/rm", (CLONED, call(1, "ds/rm", vm=-1, disk=-1, base_path="/d")), "fail"),
    ("image_taken_away", "ds/rm", (CLONED, call(1, "ds/rm", "-p/i-3-0", "-p/i@snap", vm=-1, disk=-1, base_path="/d")), "pass"),
    # what a disk was saved as belongs to the new image 9 from then on: the delete of the disk lets it be, the removal of that image takes it
    ("taken_away", "tm/delete", (CLONED, SAVED, call(2, "tm/delete", "-p/i-3-0", "-p/i@snap")), "pass"),
    ("taken_away", "tm/delete", (CLONED, SAVED, call(2, "tm/delete", "-p/i-3-0")), "fail"),
    ("places", "tm/delete", (CLONED, SAVED, call(2, "tm/delete", "-p/i-3-0", "-p/i@snap", "-p/new")), "fail"),
    ("places", "ds/rm", (SAVED, call(2, "ds/rm", "-p/new", vm=-1, disk=-1, image=9)), "pass"),
    ("places", "ds/rm", (SAVED, call(2, "ds/rm", "-p/new", vm=-1, disk=-1)), "fail"),
    ("image_taken_away", "ds/rm", (SAVED, call(2, "ds/rm", vm=-1, disk=-1, image=9, base_path="/d")), "fail"),
    ("image_taken_away", "ds/rm", (SAVED, call(2, "ds/rm", "-p/new", vm=-1, disk=-1, image=9, base_path="/d")), "pass"),
    # another image's
    ("places", "ds/rm", (CLONED, call(1, "ds/rm", "-p/i-3-0", vm=-1, disk=-1, image=6)), "fail"),
    ("places", "ds/rm", (CLONED, call(1, "ds/rm", "-p/i-3-0", vm=-1, disk=-1)), "pass"),
    ("outside_untouched", "tm/clone", (CLONED,), "pass"),
    ("left_alone", "tm/premigrate", (call(0, "tm/premigrate", "+p/x"),), "fail"),
    ("left_alone", "tm/premigrate", (call(0, "tm/premigrate"),), "pass"),
]


@pytest.mark.parametrize(("check", "action", "calls", "verdict"), CASES)
def test_the_store_is_part_of_what_calls_change(check: str, action: str, calls: tuple[Call, ...], verdict: str) -> None:
    """Each check finds its fault there, and passes the same without it."""
    assert verdicts(check, action, *calls) == {verdict}


def judged(begin: CaseBegin) -> dict[str, tuple[str, str]]:
    """Judge a case with a call of monitor and one of delete; return verdict and reason by requirement."""
    records: list[Record] = [
        Header(1, "onetck", "7.4", "7.4.0", "/driver", "x", "x", "x", 0, 0.0, "", ""),
        begin,
        call(0, "tm/delete", expect="success", op="vm.terminate"),
        CaseEnd("c", "completed", "", 1, 1),
        Footer(1, 1, 5, ""),
    ]
    found = judge(records, SPEC, SPEC.spec.profiles["core"], "h", "", "{case}").requirements
    return {row.requirement: (row.verdict, row.reason) for row in found}


@pytest.mark.parametrize(
    ("requirement", "tells", "without"),
    [
        ("DS-MON-003", "capacity", "[probe] capacity"),
        ("TM-MON-003", "capacity", "[probe] capacity"),
        ("TM-DELETE-008", "inventory", "[probe] inventory"),
    ],
)
def test_what_no_probe_tells_is_not_applicable_and_says_so(requirement: str, tells: str, without: str) -> None:
    """Neither a silent pass nor an endless `not tested`; with the probe, or where disks are files, the requirement is a plain one."""

    def seen(**more: Any) -> tuple[str, str]:
        return judged(CaseBegin("c", "A case", ("frontend",), **more))[requirement]

    verdict, reason = seen(volumes=True)
    assert verdict == "not_applicable"
    assert without in reason
    assert seen(volumes=True, probed=(tells,))[0] != "not_applicable"
    assert seen()[0] != "not_applicable"


def test_requirements_on_files_of_disks_do_not_apply_to_volumes() -> None:
    """The sizes that a monitor script reads from files."""
    assert judged(CaseBegin("c", "A case", volumes=True))["TM-VMS-007"] == (
        "not_applicable",
        "it is for drivers whose disks are files in the system datastore",
    )
