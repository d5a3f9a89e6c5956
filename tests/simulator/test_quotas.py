"""Quotas of VMs: what goes beyond one is refused before any driver is called, changes nothing, and is free again at the VM's end."""

from __future__ import annotations

from typing import Any

import pytest
from player import Player

from onesim.events import OperationAsked, Refused

DISKS = [{"image": "os"}, {"volatile": "fs", "size_mb": 5}]


def begun(version: str = "7.4.0", **quota: float) -> Player:
    """Return a player with a READY image of 8 MiB, and a quota."""
    player = Player(version)
    player.play("image.make", {"image": "os", "size_mb": 8})
    player.play("user.quota", quota)
    return player


def refused(player: Player, op: str, arguments: dict[str, Any]) -> str:
    """Return why an operation is refused; nothing of oned's has changed then."""
    before = repr(player.oned.cloud.vms), repr(player.oned.cloud.images)
    outputs = player.oned.feed(OperationAsked(0, op, arguments))
    assert [type(one) for one in outputs] == [Refused], outputs
    assert (repr(player.oned.cloud.vms), repr(player.oned.cloud.images)) == before
    assert isinstance(outputs[0], Refused)
    return outputs[0].reason


@pytest.mark.parametrize(
    ("quota", "metric", "limit"),
    [
        ({"vms": 1}, "VMS", "1"),
        ({"running_vms": 1}, "RUNNING_VMS", "1"),
        ({"cpu": 0.15}, "CPU", "0.15"),
        ({"running_cpu": 0.1}, "RUNNING_CPU", "0.1"),
        ({"memory_mb": 100}, "MEMORY", "100"),
        ({"running_memory_mb": 100}, "RUNNING_MEMORY", "100"),
        ({"system_disk_size_mb": 25}, "SYSTEM_DISK_SIZE", "25"),
    ],
)
def test_a_second_vm_beyond_a_quota_is_not_made(quota: dict[str, float], metric: str, limit: str) -> None:
    """Its image stays as it was; with the first one gone it is made."""
    player = begun(**quota)
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    assert refused(player, "vm.create", {"vm": "b", "disks": DISKS}) == f"limit of {limit} reached for {metric} quota in VM"
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    assert refused(player, "vm.create", {"vm": "b", "disks": DISKS})
    player.play("vm.terminate", {"vm": "a"})
    player.play("vm.create", {"vm": "b", "disks": DISKS})


def test_what_runs_again_is_asked_again() -> None:
    """A VM that is off, suspended, stopped or undeployed has given its place among those that run away."""
    for leave, back in (
        ("poweroff", "resume"),
        ("suspend", "resume"),
        ("stop", "resume"),
        ("undeploy", "resume"),
        ("stop", "deploy"),
        ("undeploy", "recover_recreate"),
    ):
        player = begun(running_vms=1)
        player.play("vm.create", {"vm": "a", "disks": DISKS})
        player.play("vm.deploy", {"vm": "a", "host": "host01"})
        player.play(f"vm.{leave}", {"vm": "a"})
        player.play("vm.create", {"vm": "b", "disks": DISKS})
        assert refused(player, f"vm.{back}", {"vm": "a", "host": "host01"}) == "limit of 1 reached for RUNNING_VMS quota in VM"
        player.play("vm.terminate", {"vm": "b"})
        player.play(f"vm.{back}", {"vm": "a", "host": "host01"})


def test_deploying_a_stopped_vm_was_not_asked_before() -> None:
    """Until 6.10.3 oned counted such a VM and did not look at the answer."""
    player = begun("6.8.0", running_vms=1)
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    player.play("vm.stop", {"vm": "a"})
    player.play("vm.create", {"vm": "b", "disks": DISKS})
    assert player.play("vm.deploy", {"vm": "a", "host": "host01"})


def test_a_snapshot_while_the_vm_is_off_does_not_count_as_running() -> None:
    """The calls of a VM that is off count nothing among those that run, although its state is ACTIVE meanwhile."""
    player = begun(running_vms=1)
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    player.play("vm.poweroff", {"vm": "a"})
    player.oned.feed(OperationAsked(0, "vm.snapshot_create", {"vm": "a", "disk": 0}))
    assert player.oned.cloud.vms[0].state == "DISK_SNAPSHOT_POWEROFF"
    player.play("vm.create", {"vm": "b"})


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("vm.attach_disk", {"disk": {"volatile": "fs", "size_mb": 6}}),
        ("vm.attach_disk", {"disk": {"image": "os"}}),
        ("vm.disk_resize", {"disk": 1, "size_mb": 11}),
        ("vm.disk_resize", {"disk": 0, "size_mb": 14}),
        ("vm.snapshot_create", {"disk": 0}),
        ("vm.system_snapshot", {}),
    ],
)
def test_what_grows_in_the_system_datastore_is_asked(op: str, arguments: dict[str, Any]) -> None:
    """Volatile disks and images that are copied there: attached, larger, with a snapshot; and the memory of a snapshot of the whole VM."""
    player = begun(system_disk_size_mb=18)
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    assert refused(player, op, {"vm": "a", **arguments}) == "limit of 18 reached for SYSTEM_DISK_SIZE quota in VM"
    player.play("user.quota", {"system_disk_size_mb": 13 + 64})
    assert player.play(op, {"vm": "a", **arguments})
    player.play("user.quota", {"system_disk_size_mb": 13 + 5})
    assert refused(player, "vm.create", {"vm": "b", "disks": [{"volatile": "fs", "size_mb": 5}]})
    player.play("vm.terminate", {"vm": "a"})
    player.play("vm.create", {"vm": "b", "disks": [{"volatile": "fs", "size_mb": 5}]})


def test_a_system_snapshot_counts_since_it_does() -> None:
    """Before 6.3.80 oned did not count it."""
    player = begun("6.2.0", system_disk_size_mb=13)
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    assert player.play("vm.system_snapshot", {"vm": "a"})


def test_disks_made_in_the_image_datastore_count_there() -> None:
    """With CLONE_TARGET SELF a copy counts in the datastore of its image, from the VM's creation on, and no system disk."""
    player = begun(system_disk_size_mb=5)
    images = player.oned.cloud.tm_conf
    images["shared"] = type(player.oned.cloud.conf("shared"))(clone_target="SELF")
    player.play("datastore.quota", {"datastore": "images", "size_mb": 17})
    player.play("vm.create", {"vm": "a", "disks": DISKS})
    assert refused(player, "vm.create", {"vm": "b", "disks": [{"image": "os"}]}) == "limit of 17 reached for SIZE quota in DATASTORE with ID: 1"
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    assert refused(player, "vm.disk_resize", {"vm": "a", "disk": 0, "size_mb": 10})
    assert refused(player, "vm.snapshot_create", {"vm": "a", "disk": 0})
    assert refused(player, "vm.attach_disk", {"vm": "a", "disk": {"image": "os"}})
    assert player.play("vm.disk_resize", {"vm": "a", "disk": 0, "size_mb": 9})
    player.play("vm.terminate", {"vm": "a"})
    player.play("vm.create", {"vm": "b", "disks": [{"image": "os"}]})


def test_a_quota_without_limits_lifts_all_and_a_wrong_one_is_refused() -> None:
    """An argument that is no metric names those that are."""
    player = begun(vms=0)
    assert refused(player, "vm.create", {"vm": "a"})
    assert "name one of vms, running_vms" in refused(player, "user.quota", {"disks": 3})
    assert "a number of at least 0" in refused(player, "user.quota", {"vms": "many"})
    player.play("user.quota", {})
    player.play("vm.create", {"vm": "a", "cpu": 2, "memory_mb": 1024})
    assert (player.oned.cloud.vms[0].cpu, player.oned.cloud.vms[0].memory_mb) == (2, 1024)
