"""What messages and answers of drivers do to oned: sizes of disks, capacity of nodes, how often sizes are asked for, and what still fits."""

from __future__ import annotations

import re

import pytest
from messages import entry, received, wrapped

from onesim import documents
from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Outcome, Output, QuestionAsked, Refused
from onesim.layout import Subjected, make_cloud
from onesim.model import Capacity
from onesim.oned import Oned
from onesim.spec import for_contract

ROOMY = "TOTAL_MB=1000 FREE_MB=900 USED_MB=100"


def test_sizes_are_kept_by_vm_and_disk(oned: Oned) -> None:
    """A later message replaces the sizes of disks and leaves those of snapshots, as they are different names; `onevm show` has them, drivers do not."""
    inner = "DISK_SIZE=[ID=0,SIZE=5]\nDISK_SIZE=[ID=1,SIZE=7] SNAPSHOT_SIZE=[ID=12,DISK_ID=0,SIZE=2]"
    made = received(oned, wrapped(entry(3, inner) + entry(4, "DISK_SIZE=[ID=0,SIZE=1]")))
    assert (made.kind, made.problem, made.unknown) == ("MONITOR_VM", "", ())
    vm = oned.cloud.vms[3]
    assert (vm.disk_sizes_mb, vm.snapshot_sizes_mb, oned.cloud.vms[4].disk_sizes_mb) == ({0: 5, 1: 7}, {(0, 12): 2}, {0: 1})
    received(oned, wrapped(entry(3, "DISK_SIZE=[ID=1,SIZE=9]")))
    assert (vm.disk_sizes_mb, vm.snapshot_sizes_mb) == ({1: 9}, {(0, 12): 2})
    (shown,) = oned.feed(QuestionAsked("command", ("onevm", "show", "-x", "3")))
    size = b"<MONITORING><DISK_SIZE><ID><![CDATA[1]]></ID><SIZE><![CDATA[9]]></SIZE></DISK_SIZE>"
    assert size in shown.stdout  # type: ignore[union-attr]
    assert "<MONITORING/>" in documents.vm_xml(vm, oned.cloud, oned.spec, records="last")


def test_two_entries_of_one_vm_are_merged(oned: Oned) -> None:
    """Of equal names the later entry counts."""
    received(oned, wrapped(entry(3, "DISK_SIZE=[ID=0,SIZE=5] SNAPSHOT_SIZE=[ID=0,DISK_ID=1,SIZE=2]") + entry(3, "DISK_SIZE=[ID=1,SIZE=6]")))
    assert (oned.cloud.vms[3].disk_sizes_mb, oned.cloud.vms[3].snapshot_sizes_mb) == ({1: 6}, {(1, 0): 2})


def test_strangers_are_told_and_the_rest_is_kept(oned: Oned) -> None:
    """A VM and a disk that oned does not have; a VM that is DONE counts as none."""
    oned.cloud.vms[4].state = "DONE"
    text = entry(99, "DISK_SIZE=[ID=0,SIZE=1]") + entry(3, "DISK_SIZE=[ID=8,SIZE=1] DISK_SIZE=[ID=0,SIZE=2]") + entry(4, "DISK_SIZE=[ID=0,SIZE=1]")
    assert received(oned, wrapped(text)).unknown == ("VM 99", "disk 8 of VM 3", "VM 4")
    assert oned.cloud.vms[3].disk_sizes_mb == {8: 1, 0: 2}


@pytest.mark.parametrize(
    "text",
    [
        'VM = [ ID = x, MONITOR = "" ]',
        'VM = [ ID = -1, MONITOR = "" ]',
        'VM = [ ID = 3, MONITOR = "%%" ]',
        'VM = [ ID = 3, MONITOR = "Zm9vIGJhcg==" ]',
        "",
        "VM = 3",
    ],
)
def test_an_entry_without_sense_is_passed_over(oned: Oned, text: str) -> None:
    """No id, no base64, no template within: that entry is lost, the one beside it is not."""
    made = received(oned, wrapped(text + "\n" + entry(4, "DISK_SIZE=[ID=0,SIZE=3]")))
    assert (made.problem, made.unknown, oned.cloud.vms[3].disk_sizes_mb, oned.cloud.vms[4].disk_sizes_mb) == ("", (), {}, {0: 3})


def test_a_syntax_error_drops_the_whole_message(oned: Oned) -> None:
    """Of a datastore nothing else happens; the host that sent it counts as broken, until its next good message."""
    broken = entry(3, "DISK_SIZE=[ID=0,SIZE=5]") + "monitor_ds: line 3: oops"
    assert received(oned, wrapped(broken)).problem
    assert oned.cloud.vms[3].disk_sizes_mb == {} and not any(host.error for host in oned.cloud.hosts.values())
    assert received(oned, wrapped(broken, "MONITOR_VM SUCCESS 0 5")).problem
    assert oned.cloud.hosts[0].error == "Error parsing monitor information"
    assert "<STATE>3</STATE>" in documents.host_xml(oned.cloud.hosts[0], oned.cloud, "7.4.0")
    assert not received(oned, wrapped("DS_LOCATION_FREE_MB = 1\n", "SYSTEM_HOST SUCCESS 0 6")).problem
    assert "<STATE>2</STATE>" in documents.host_xml(oned.cloud.hosts[0], oned.cloud, "7.4.0")


def test_a_failure_and_a_message_out_of_order_change_nothing(oned: Oned) -> None:
    """The time 0 has no order; each kind of message of each host has its own."""
    size = entry(3, "DISK_SIZE=[ID=0,SIZE=5]")
    assert "FAILURE" in received(oned, wrapped(size, "MONITOR_VM FAILURE -1 0")).problem
    assert "unknown" in received(oned, wrapped(size, "MONITOR_VM SUCCESS 9 50")).problem
    assert received(oned, wrapped("", "MONITOR_VM SUCCESS 0 50")).problem == ""
    assert "older" in received(oned, wrapped(size, "MONITOR_VM SUCCESS 0 49")).problem
    assert oned.cloud.vms[3].disk_sizes_mb == {}
    for head in ("MONITOR_VM SUCCESS 0 50", "MONITOR_VM SUCCESS 1 3", "MONITOR_VM SUCCESS -1 0"):
        assert received(oned, wrapped(size, head)).problem == ""
    assert oned.cloud.vms[3].disk_sizes_mb == {0: 5}


def test_a_node_tells_the_room_of_its_datastores(oned: Oned) -> None:
    """What it does not name any more is forgotten; `onehost show` has it all."""
    where = "DS_LOCATION_USED_MB = 10\nDS_LOCATION_TOTAL_MB = 100\nDS_LOCATION_FREE_MB = 90\n"
    text = where + "DS = [ ID = 0,\n USED_MB = 1, TOTAL_MB = 50, FREE_MB = 49 ]\nDS = [ ID = 100, USED_MB = 2, TOTAL_MB = 20, FREE_MB = 18 ]\n"
    assert received(oned, wrapped(text, "SYSTEM_HOST SUCCESS 1 7")).problem == ""
    host = oned.cloud.hosts[1]
    assert (host.location, host.datastores) == (Capacity(100, 90, 10), {0: Capacity(50, 49, 1), 100: Capacity(20, 18, 2)})
    shown = re.sub(r"<!\[CDATA\[(\d+)\]\]>", r"\1", documents.host_xml(host, oned.cloud, "7.4.0"))
    assert "<DS><FREE_MB>49</FREE_MB><ID>0</ID><TOTAL_MB>50</TOTAL_MB><USED_MB>1</USED_MB></DS>" in shown and "<FREE_DISK>90</FREE_DISK>" in shown
    received(oned, wrapped(where, "SYSTEM_HOST SUCCESS 1 8"))
    assert host.datastores == {} and oned.cloud.hosts[0].location == Capacity()
    assert "unknown" in received(oned, wrapped(where, "SYSTEM_HOST SUCCESS -1 0")).problem


def asked(oned: Oned, op: str, arguments: dict[str, object], printed: dict[str, str] | None = None) -> tuple[list[CallAsked], list[Output]]:
    """Ask an operation and let its calls succeed. Returns the calls and everything else."""
    answers = {"ds/stat": "10", "ds/cp": "/src/1 raw", "ds/mkfs": "/src/2", "ds/monitor": ROOMY, "tm/monitor": ROOMY, **(printed or {})}
    waiting = oned.feed(OperationAsked(0, op, arguments))
    calls, rest = [], []
    while waiting:
        output = waiting.pop(0)
        if isinstance(output, CallAsked):
            calls.append(output)
            waiting += oned.feed(CallFinished(output.call, True, answers.get(output.action.key, "")))
        else:
            rest.append(output)
    return calls, rest


def test_sizes_are_asked_for_at_first_and_then_every_tenth_time(oned: Oned) -> None:
    """Each datastore counts for itself."""
    said = [asked(oned, "datastore.monitor", {"datastore": "system"})[0][0] for _ in range(21)]
    assert [call.facts["monitor_vm_disks"] for call in said] == ["1", *"000000000", "1", *"000000000", "1"]
    assert ["<MONITOR_VM_DISKS>1</MONITOR_VM_DISKS>" in call.document for call in said].count(True) == 3
    assert asked(oned, "datastore.monitor", {"datastore": "system2"})[0][0].facts["monitor_vm_disks"] == "1"
    assert "MONITOR_VM_DISKS" not in asked(oned, "datastore.monitor", {"datastore": "images"})[0][0].document


def test_a_datastore_on_the_nodes_is_never_asked() -> None:
    """SHARED of NO: no call at all."""
    oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "ssh", "ssh"), shared=False))
    assert oned.feed(OperationAsked(0, "datastore.monitor", {"datastore": "system"})) == []


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        ("USED_MB=1\nTOTAL_MB=10\nFREE_MB=9\n", (10, 9, 1)),
        ('USED_MB="1" TOTAL_MB = "10" FREE_MB="9"', (10, 9, 1)),
        ("FREE_MB=9M TOTAL_MB=10MB USED_MB=1.9", (10, 9, 1)),
        ("TOTAL_MB=10 FREE_MB=0", (10, 0, 0)),
        ("", (0, 0, 0)),
        ("TOTAL_MB=abc FREE_MB=\nUSED_MB=-", (0, 0, 0)),
        # a syntax error leaves what was known
        ("no array today", (1000, 900, 100)),
        ("USED_MB=1 TOTAL_MB=10 FREE_MB=9 ERROR", (1000, 900, 100)),
    ],
)
def test_the_figures_of_monitor_are_kept_as_oned_reads_them(oned: Oned, printed: str, kept: tuple[int, int, int]) -> None:
    """What is missing or no number counts as 0, in silence; what is no template changes nothing."""
    asked(oned, "datastore.monitor", {"datastore": "images"})
    _, rest = asked(oned, "datastore.monitor", {"datastore": "images"}, {"ds/monitor": printed})
    images = oned.cloud.datastores[1]
    assert (images.total_mb, images.free_mb, images.used_mb) == kept
    (outcome,) = [one for one in rest if isinstance(one, Outcome)]
    assert outcome.success == (kept != (1000, 900, 100)) and bool(outcome.parse_error) != outcome.success


def refused(oned: Oned, size_mb: int, label: str = "a") -> str:
    """Ask for an empty image. Returns the reason of the refusal, empty if there is none."""
    _, rest = asked(oned, "image.make", {"image": label, "size_mb": size_mb})
    return next((one.reason for one in rest if isinstance(one, Refused)), "")


def test_what_does_not_fit_is_refused_before_any_driver_is_called(oned: Oned) -> None:
    """Free space counts once it is known; what has exactly the size fits; an empty answer closes the datastore."""
    assert refused(oned, 5000, "before") == ""  # monitored for the first time after it
    assert refused(oned, 901) == "Not enough space in datastore" and "a" not in [one.name for one in oned.cloud.images.values()]
    assert refused(oned, 900) == ""
    asked(oned, "datastore.monitor", {"datastore": "images"}, {"ds/monitor": ""})
    assert refused(oned, 1, "b") == "Not enough space in datastore"
    asked(oned, "datastore.update", {"datastore": "images", "DATASTORE_CAPACITY_CHECK": "NO"})
    assert refused(oned, 1, "b") == ""


def test_a_limit_stands_in_place_of_what_is_free(oned: Oned) -> None:
    """LIMIT_MB less what is used; taken away again, free space counts."""
    asked(oned, "datastore.monitor", {"datastore": "images"})
    asked(oned, "datastore.update", {"datastore": "images", "LIMIT_MB": "110"})
    assert refused(oned, 11) and not refused(oned, 10)
    asked(oned, "datastore.update", {"datastore": "images", "LIMIT_MB": "50"})
    assert refused(oned, 1, "b")
    asked(oned, "datastore.update", {"datastore": "images", "LIMIT_MB": ""})
    assert not refused(oned, 800, "b")
    (nothing,) = oned.feed(OperationAsked(0, "datastore.update", {"datastore": "images"}))
    assert isinstance(nothing, Refused) and "LIMIT_MB" in nothing.reason


def test_an_image_from_a_file_is_measured_first(oned: Oned) -> None:
    """stat is called, then the image is refused: no cp, no image."""
    asked(oned, "datastore.monitor", {"datastore": "images"})
    calls, rest = asked(oned, "image.register", {"image": "a", "path": "/x"}, {"ds/stat": "901"})
    assert [call.action.key for call in calls] == ["ds/stat"] and not oned.cloud.images
    assert [(one.state, one.error) for one in rest if isinstance(one, Changed)] == [("GONE", "Not enough space in datastore")]
    calls, _ = asked(oned, "image.register", {"image": "a", "path": "/x"}, {"ds/stat": "900"})
    assert [call.action.key for call in calls] == ["ds/stat", "ds/cp", "ds/monitor"]


def placed(oned: Oned, size_mb: int, label: str) -> str:
    """Let the scheduler deploy a VM with a volatile disk. Returns the host, or the reason why there is none."""
    asked(oned, "vm.create", {"vm": label, "disks": [{"volatile": "fs", "size_mb": size_mb}]})
    _, rest = asked(oned, "vm.deploy", {"vm": label})
    refusal = next((one.reason for one in rest if isinstance(one, Refused)), "")
    return refusal or oned.cloud.vms[oned.cloud.labels["vm", label]].history[-1].hostname


def test_the_scheduler_goes_by_what_monitor_told_of_a_shared_datastore(oned: Oned) -> None:
    """Not before it was monitored; less than what is free, or than what LIMIT_MB leaves; a broken host is passed over."""
    assert "monitored" in placed(oned, 1, "a")
    asked(oned, "datastore.monitor", {"datastore": "system"})
    assert "900 MiB" in placed(oned, 900, "b") and placed(oned, 899, "c") == "host01"
    oned.cloud.hosts[0].error = "broken"
    assert placed(oned, 1, "d") == "host02"
    asked(oned, "datastore.update", {"datastore": "system", "LIMIT_MB": "110"})
    assert "10 MiB" in placed(oned, 10, "e") and placed(oned, 9, "f") == "host02"


def test_the_scheduler_goes_by_what_nodes_told_of_their_own_datastores() -> None:
    """The figures of the datastore where it is marked, of the whole location elsewhere; monitor is not asked."""
    oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "ssh", "ssh"), shared=False))
    assert "monitored" in placed(oned, 1, "a")
    received(oned, wrapped("DS_LOCATION_FREE_MB = 50\nDS = [ ID = 0, FREE_MB = 5, TOTAL_MB = 9, USED_MB = 4 ]\n", "SYSTEM_HOST SUCCESS 0 1"))
    received(oned, wrapped("DS_LOCATION_FREE_MB = 20\n", "SYSTEM_HOST SUCCESS 1 1"))
    assert (placed(oned, 4, "b"), placed(oned, 19, "c")) == ("host01", "host02") and "20 MiB" in placed(oned, 20, "d")
