"""Operations on images: what the id argument counts, what is in the document, and what becomes of the image in success and in failure."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from player import Player

from onesim import snapshots
from onesim.events import CallAsked, OperationAsked, Refused
from onesim.validation import validate


def made(version: str = "7.4.0", **fields: Any) -> Player:
    """Return a player with an image of 128 MiB, ready, and its fields set."""
    player = Player(version)
    player.play("image.make", {"image": "x", "size_mb": 128, "format": "raw"})
    for name, value in fields.items():
        setattr(player.oned.cloud.images[0], name, value)
    return player


def document(asked: CallAsked) -> etree._Element:
    """Return the document of a call."""
    return etree.fromstring(asked.document.encode())


def test_clone_gets_the_new_images_id_and_the_originals_source() -> None:
    """The id is that of the image to be made; PATH in IMAGE is the SOURCE of the original."""
    player = made()
    call = next(one for one in player.play("image.clone", {"image": "y", "of": "x"}) if one.action.name == "clone")
    xml = document(call)
    assert call.argv == ("1",)
    assert (xml.findtext("IMAGE/ID"), xml.findtext("IMAGE/NAME"), xml.findtext("IMAGE/PATH")) == ("1", "y", "/src/0")


def with_snapshots(version: str = "7.4.0", orphans: str = "YES") -> Player:
    """Return a player whose image has three snapshots, the last of them active."""
    tree = snapshots.Snapshots(orphans)
    for _ in range(3):
        snapshots.activate(tree, snapshots.create(tree, 128, 1_700_000_000).id)
    return made(version, snapshots=tree)


@pytest.mark.parametrize(
    ("operation", "orphans", "wanted", "left", "active"),
    [("delete", "YES", 1, {0, 2}, 2), ("revert", "YES", 1, {0, 1, 2}, 1), ("flatten", "YES", 1, set(), -1), ("revert", "LINEAR", 0, {0}, 0)],
)
def test_snapshots_of_an_image(operation: str, orphans: str, wanted: int, left: set[int], active: int) -> None:
    """TARGET_SNAPSHOT stands in IMAGE while the call runs; a success changes the tree, a failure leaves it, and the image is READY in both cases."""
    for fault in (None, (f"ds/snap_{operation}", 1)):
        player = with_snapshots(orphans=orphans)
        calls = player.play(f"image.snapshot_{operation}", {"image": "x", "snapshot": wanted}, fault)
        image = player.oned.cloud.images[0]
        assert [call.action.key for call in calls] == [f"ds/snap_{operation}"]
        assert document(calls[0]).findtext("IMAGE/TARGET_SNAPSHOT") == str(wanted)
        assert (image.state, image.target_snapshot) == ("READY", -1)
        assert set(image.snapshots.known) == ({0, 1, 2} if fault else left)
        assert image.snapshots.active == (2 if fault else active)


@pytest.mark.parametrize(
    ("orphans", "wanted", "said"), [("YES", 9, "no snapshot 9|does not exist"), ("NO", 1, "with children"), ("MIXED", 2, "active")]
)
def test_snapshots_that_may_not_be_deleted(orphans: str, wanted: int, said: str) -> None:
    """A refused deletion calls nothing and names the reason."""
    player = with_snapshots(orphans=orphans)
    if orphans == "MIXED":
        player.oned.cloud.images[0].snapshots.active = 2
    with pytest.raises(AssertionError, match=said):
        player.play("image.snapshot_delete", {"image": "x", "snapshot": wanted})


@pytest.mark.parametrize(
    ("version", "orphans", "wanted", "said"),
    [
        ("6.4.7", "NO", 1, "Cannot delete snapshot with children"),
        ("6.4.7", "NO", 2, "Cannot delete the active snapshot"),
        ("6.6.3", "NO", 1, ""),
        ("6.6.3", "NO", 2, ""),
        ("7.4.0", "NO", 1, ""),
        ("7.4.0", "NO", 0, ""),
        ("6.4.7", "MIXED", 2, "Cannot delete the active snapshot"),
        ("7.4.0", "MIXED", 2, "Cannot delete the active snapshot"),
        ("6.4.7", "YES", 1, ""),
    ],
)
def test_snapshots_of_a_disk_that_may_be_deleted(version: str, orphans: str, wanted: int, said: str) -> None:
    """Until 6.6.3 a snapshot of a chain goes only where none stands on it and it is not the active one; since then drivers merge it into that one."""
    player = made(version)
    player.play("vm.create", {"vm": "v", "disks": [{"image": "x"}]})
    player.play("vm.deploy", {"vm": "v", "host": "host01"})
    player.play("vm.poweroff", {"vm": "v"})
    disk = player.oned.cloud.vms[0].disks[0]
    disk.snapshots = snapshots.Snapshots(orphans)
    for _ in range(3):
        snapshots.activate(disk.snapshots, snapshots.create(disk.snapshots, 128, 1_700_000_000).id)
    if orphans == "MIXED":
        disk.snapshots.active = 2
    outputs = player.oned.feed(OperationAsked(0, "vm.snapshot_delete", {"vm": "v", "disk": 0, "snapshot": wanted}))
    assert [one.reason for one in outputs if isinstance(one, Refused)] == ([said] if said else [])
    assert [one.action.key for one in outputs if isinstance(one, CallAsked)] == ([] if said else ["tm/snap_delete"])


def test_export_and_restore_get_numbers_of_oneds_own() -> None:
    """export counts marketplace apps, restore requests; neither changes the image."""
    player = made()
    calls = player.play("image.export", {"image": "x"}) + player.play("image.export", {"image": "x"})
    assert [(call.action.key, call.argv) for call in calls] == [("ds/export", ("0",)), ("ds/export", ("1",))]
    player = made(type="BACKUP")
    (call,) = player.play("image.restore", {"image": "x", "no_ip": "YES"})
    xml = document(call)
    assert [child.tag for child in xml] == ["IMAGE", "DATASTORE", "DESTINATION_DS_ID", "TEMPLATE"]
    assert xml.findtext("TEMPLATE/NO_IP") == "YES" and xml.findtext("DESTINATION_DS_ID") == "1"
    assert player.oned.cloud.images[0].state == "READY"


@pytest.mark.parametrize(
    ("version", "operation", "state"),
    [("6.4.0", "delete", "GONE"), ("7.0.1", "delete", "ERROR"), ("7.4.0", "delete", "ERROR"), ("7.4.0", "delete_forced", "GONE")],
)
def test_an_image_whose_removal_fails(version: str, operation: str, state: str) -> None:
    """6.4 forgets it; later it stays in ERROR, unless the deletion is forced."""
    player = made(version)
    image = player.oned.cloud.images[0]
    player.play(f"image.{operation}", {"image": "x"}, ("ds/rm", 1))
    assert image.state == state


@pytest.mark.parametrize("away", ["stop", "undeploy"])
def test_a_directory_shared_with_the_guest_is_not_transferred(away: str) -> None:
    """A FILESYSTEM disk gets no call of prolog and epilog; only on the way back from the front-end there is an mv. Before 7.2 there is no such image."""
    player = Player("7.4.0")
    player.play("image.register", {"image": "share", "path": "/x", "type": "FILESYSTEM"})
    player.play("vm.create", {"vm": "a", "disks": [{"image": "share"}, {"volatile": "fs", "size_mb": 2}]})
    about = {"vm": "a", "host": "host01"}

    def calls(operation: str) -> list[str]:
        return [" ".join((call.action.name, str(call.disk))) for call in player.play(f"vm.{operation}", about) if call.action.family == "tm"]

    assert calls("deploy") == ["mkimage 1"]
    assert calls(away) == ["mv 1", "mv -1"]
    assert calls("deploy") == ["mv 0", "mv 1", "mv -1"]
    assert calls("terminate") == ["delete 1", "delete -1"]
    with pytest.raises(AssertionError, match="FILESYSTEM"):
        Player("7.0").play("image.register", {"image": "share", "path": "/x", "type": "FILESYSTEM"})


def test_a_quota_refuses_what_goes_beyond_it() -> None:
    """An image with a PATH after stat and before cp; one without before any call; a snapshot and a resize of a persistent disk; with no quota all go."""
    player = Player("7.4.0")
    player.play("image.make", {"image": "p", "size_mb": 8, "persistent": True})
    player.play("vm.create", {"vm": "a", "disks": [{"image": "p"}]})
    player.play("vm.deploy", {"vm": "a", "host": "host01"})
    player.play("datastore.quota", {"datastore": "images", "images": 2, "size_mb": 15})
    calls = player.play("image.register", {"image": "o", "path": "/x"})
    assert [call.action.name for call in calls] == ["stat"]
    assert "o" not in {image.name for image in player.oned.cloud.images.values()}
    for op, arguments, metric in (
        ("image.make", {"image": "q", "size_mb": 8}, "SIZE"),
        ("vm.snapshot_create", {"vm": "a", "disk": 0}, "SIZE"),
        ("vm.disk_resize", {"vm": "a", "disk": 0, "size_mb": 16}, "SIZE"),
        ("vm.disk_saveas", {"vm": "a", "disk": 0, "image": "s"}, "SIZE"),
        ("vm.backup", {"vm": "a", "datastore": "backups", "image": "b"}, ""),
    ):
        if metric:
            with pytest.raises(AssertionError, match=f"limit of 15 reached for {metric} quota in DATASTORE with ID: 1"):
                player.play(op, arguments)
        else:
            assert player.play(op, arguments)
    player.play("datastore.quota", {"datastore": "images", "images": 1})
    with pytest.raises(AssertionError, match="limit of 1 reached for IMAGES quota"):
        player.play("image.make", {"image": "q", "size_mb": 1})
    player.play("datastore.quota", {"datastore": "images"})
    assert player.play("image.make", {"image": "q", "size_mb": 8})


@pytest.mark.parametrize("version", ["5.12.0", "6.4.0", "7.4.0"])
def test_an_image_of_an_app_is_copied_without_stat(version: str) -> None:
    """Its size is the app's; the document names the app and has the marketplace, as the schema wants it; other images have none."""
    player = Player(version)
    app = {"path": "/var/tmp/app", "size_mb": 3, "app": 7, "app_name": "debian", "md5": "d41d8cd98f00b204e9800998ecf8427e", "format": "qcow2"}
    calls = player.play("image.download", {"image": "a", **app})
    assert [call.action.name for call in calls] == ["cp", "monitor"]
    document = calls[0].document
    assert validate("ds/cp", player.spec.version, document.encode()) == []
    root = etree.fromstring(document.encode())
    assert [child.tag for child in root] == ["IMAGE", "DATASTORE", "MARKETPLACE"]
    told = [root.findtext(f"IMAGE/{name}") for name in ("PATH", "SIZE", "TEMPLATE/FROM_APP", "TEMPLATE/FROM_APP_NAME", "TEMPLATE/FROM_APP_MD5")]
    assert told == ["/var/tmp/app", "3", "7", "debian", "d41d8cd98f00b204e9800998ecf8427e"]
    assert root.findtext("MARKETPLACE/MARKETPLACEAPPS/ID") == "7"
    (image,) = player.oned.cloud.images.values()
    assert (image.state, image.source) == ("READY", "/src/0")
    plain = player.play("image.register", {"image": "b", "path": "/x"})
    assert "MARKETPLACE" not in plain[1].document
    player.play("datastore.quota", {"datastore": "images", "images": 2})
    with pytest.raises(AssertionError, match="IMAGES quota"):
        player.play("image.download", {"image": "c", **app})
