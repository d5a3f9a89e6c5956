"""A million events in memory: while oned is fed, nothing of the machine is touched."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Output, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.spec import for_contract

#: Audit events of the interpreter that are no touch: they tell of its own objects.
INWARD = ("object.", "code.", "sys._getframe", "sys._current", "gc.", "builtins.id", "cpython.")
PRINTED = {
    "ds/cp": "/src/1 raw",
    "ds/mkfs": "/src/2",
    "ds/stat": "10",
    "vmm/deploy": "one-1",
    "ds/monitor": "TOTAL_MB=100000\nFREE_MB=90000\nUSED_MB=1000",
}
LIFE = (
    ("deploy", "host01"),
    ("snapshot_create", ""),
    ("poweroff", ""),
    ("resume", ""),
    ("stop", ""),
    ("deploy", "host02"),
    ("attach_disk", ""),
    ("migrate", "host01"),
    ("migrate_live", "host02"),
    ("suspend", ""),
    ("resume", ""),
    ("undeploy", ""),
    ("recover_delete", ""),
)

watching: list[Counter[str]] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if watching and not event.startswith(INWARD):
        watching[-1][event] += 1


def feed(oned: Oned, op: str, arguments: dict[str, object], fail: bool) -> Iterator[Output]:
    """Ask an operation and answer its calls, the first of which fails if so told. Yields every output."""
    waiting: deque[Output] = deque(oned.feed(OperationAsked(0, op, arguments)))
    while waiting:
        output = waiting.popleft()
        yield output
        if isinstance(output, CallAsked):
            waiting.extend(oned.feed(CallFinished(output.call, not fail, PRINTED.get(output.action.key, ""), "no")))
            fail = False


def events(oned: Oned, wanted: int) -> Iterator[Output]:
    """Yield the outputs of so many events: VMs that live and die, one after the other, now and then with a failure that an operator makes good."""
    fed = n = 0
    while fed < wanted:
        n += 1
        steps: list[tuple[str, dict[str, object], bool]] = [
            ("image.make", {"image": f"i{n}", "size_mb": 8, "persistent": True}, False),
            ("vm.create", {"vm": f"v{n}", "disks": [{"image": f"i{n}"}, {"volatile": "fs", "size_mb": 4}], "context": {"A": "B"}}, False),
        ]
        for op, host in LIFE:
            more = {"host": host, "disk": 0} if op != "attach_disk" else {"disk": {"volatile": "swap", "size_mb": 1}}
            steps.append((f"vm.{op}", {"vm": f"v{n}", **more}, False))
        if n % 7 == 0:
            steps[2:2] = [("vm.deploy", {"vm": f"v{n}", "host": "host02"}, True), ("vm.recover_recreate", {"vm": f"v{n}"}, False)]
        steps.append(("image.delete_forced", {"image": f"i{n}"}, False))
        for op, arguments, fail in steps:
            fed += 1
            for output in feed(oned, op, arguments, fail):
                fed += isinstance(output, CallAsked)
                yield output


def run(wanted: int) -> tuple[Oned, Counter[str]]:
    """Feed so many events. Returns the daemon and what became of its VMs."""
    oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "shared", "shared"), True))
    ends: Counter[str] = Counter()
    for output in events(oned, wanted):
        assert not isinstance(output, Refused), output
        if isinstance(output, Changed) and output.kind == "vm":
            ends[output.state] += 1
    return oned, ends


def test_what_is_watched_is_seen() -> None:
    """A file that is opened is an event that the watch counts: the test below could fail."""
    sys.addaudithook(_hook)
    watching.append(Counter())
    Path("/dev/null").read_bytes()
    assert watching.pop()["open"] == 1


@pytest.mark.turns(4)
@pytest.mark.components
def test_a_million_events_touch_nothing() -> None:
    """No file, process, socket or import while oned is fed; all VMs have come to their end, and nothing is left waiting."""
    sys.addaudithook(_hook)
    run(2_000)  # what is read once is read now: tables and grammars
    watching.append(Counter())
    oned, ends = run(1_000_000)
    assert not watching.pop()
    assert ends["DONE"] == ends["HOLD"] + len(oned.cloud.vms) > 10_000
    assert ends["PROLOG_FAILURE"] == ends["CLEANUP_RESUBMIT"] == len(oned.cloud.vms) // 7
    assert not oned.busy
    assert not oned.cloud.images
