"""Calls that overlapped: nobody is blamed for what another may have done, and what they made together counts once they have ended."""

from __future__ import annotations

from typing import Any

import pytest

from onesim.records import Blob, Call, CaseBegin, Datagram, Observation, Operation, Together, TreeChange
from onesim.rows import Requirement
from onesim.spec import for_contract
from onetck.checks import CHECKS
from onetck.checks.base import Case

SPEC = for_contract("7.4")
VM = "/var/lib/one/datastores/0/7"
FOREIGN = (TreeChange("frontend", "/etc/passwd", "changed", "f", ("size",), 1), TreeChange("host01", "/tmp/left", "created", "f", (), 1))


def call(n: int, action: str, *, vm: int = 7, observed: bool = True, **more: Any) -> Call:
    """Return a call of a VM's driver."""
    facts = {"vm_directory": VM, "host": "host01", "shared": "NO", "expect": "success", **more.pop("facts", {})}
    return Call("c", n, n, "tm", "ssh", action, "/x", "frontend", (), {}, True, "exit", facts=facts, vm=vm, disk=0, observed=observed, **more)


def verdicts(check: str, seen: Case, **when: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return verdict and call of what a check finds."""
    row = Requirement("X-1", "MUST", "tm/*", "s", "s", check, when=when)
    return [(one.verdict, one.call) for one in CHECKS[check](seen, row)]


def case(*calls: Call, **more: Any) -> Case:
    """Return a case with calls and other records."""
    return Case("c", SPEC, CaseBegin("c", "A case", ("frontend", "host01")), calls=list(calls), **more)


@pytest.mark.parametrize("check", ["outside_untouched", "no_temporary_files", "own_disk", "places", "taken_away", "no_remains"])
def test_a_call_that_overlapped_is_neither_blamed_nor_praised_for_the_trees(check: str) -> None:
    """The same differences seen around a call that ran alone are judged."""
    assert verdicts(check, case(call(0, "delete", observed=False, tree=FOREIGN))) == []
    if check in ("outside_untouched", "no_temporary_files"):
        assert [verdict for verdict, _ in verdicts(check, case(call(0, "delete", tree=FOREIGN)))] == ["fail"]


def test_what_calls_made_together_is_what_a_later_one_takes_away() -> None:
    """A delete that leaves a disk which a stretch has made is found; not so where the same stretch has removed it again."""
    made = TreeChange("host01", f"{VM}/disk.0", "created", "f", (), 1)
    stretch = Together("c", 0, (0, 1), (), tree=(made,))
    left = case(call(0, "clone", observed=False), call(1, "clone", vm=8, observed=False), call(2, "delete"), stretches=[stretch])
    assert verdicts("taken_away", left, action=("delete",)) == [("fail", 2)]
    gone = Together("c", 2, (2, 3), (), tree=(TreeChange("host01", f"{VM}/disk.0", "removed", "f"),))
    deleted = (call(2, "delete", observed=False), call(3, "delete", vm=8, observed=False), call(4, "delete"))
    both = case(*left.calls[:2], *deleted, stretches=[stretch, gone])
    assert verdicts("taken_away", both, action=("delete",)) == [("pass", 4)]


def test_bytes_that_nobody_is_known_to_have_spoiled_name_no_call() -> None:
    """The last call of the stretch was about another VM."""
    seen = Observation("c", 0, "disk", "vm/disk.0", "host01", f"{VM}/disk.0", "raw", ("v",), problem="bytes", after_call=2, vm=7, disk=0)
    operations = [Operation("c", 0, "vm.resume"), Operation("c", 2, "vm.deploy")]
    other = call(2, "clone", vm=8, observed=False)
    assert verdicts("content", case(call(1, "clone", vm=9), other, observations=[seen], operations=operations)) == [("fail", -1)]
    alone = call(2, "clone", vm=8)
    assert verdicts("content", case(call(1, "clone", vm=9), alone, observations=[seen], operations=operations)) == [("fail", 2)]


def test_a_datagram_of_nobody_knows_whom_is_held_against_nobody() -> None:
    """A monitor that ran beside others is not told to have sent none; one that ran alone is."""
    facts = {"monitor_vm_disks": "1", "vms_with_disks": "3:0"}
    for observed, wanted in ((False, []), (True, [("fail", 0)])):
        seen = case(call(0, "monitor", observed=observed, facts=facts), datagrams=[Datagram("c", -1, Blob())])
        assert verdicts("vm_sizes_sent", seen) == wanted
    assert verdicts("vm_sizes_sent", case(call(0, "monitor", observed=False, facts=facts))) == [("fail", 0)]
