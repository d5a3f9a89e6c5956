"""What calls did to content: snapshots come back, travel with persistent disks and are saved; backups are restored."""

from __future__ import annotations

import xmlrpc.client
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from player import PRINTED

from onesim import questions
from onesim.cloud import MadConf
from onesim.content import Version, Versions, Write, backup_key, disk_key, image_key
from onesim.errors import TraceError
from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Output, QuestionAsked, Refused
from onesim.layout import Subjected, make_cloud
from onesim.model import Datastore, Image
from onesim.oned import Oned
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.tracking import Tracking

BYTES = Version(10 << 20, (Write(0, 4096, 65),))


def written(*bytes_: int) -> Versions:
    """The content of the image after these writes."""
    return frozenset({BYTES.written(tuple(Write(8192, 4096, one) for one in bytes_))})


class Tracked:
    """A cloud with one image and one VM whose first disk is made of it, and what its calls did to content."""

    def __init__(self, *, persistent: bool = False, ln_target: str = "NONE") -> None:
        spec = for_contract("7.4")
        conf = {"shared": MadConf(ln_target=ln_target, allow_orphans="YES")}
        self.oned = Oned(spec, make_cloud(Subjected(b"", "fs", "shared", "shared", tm_conf=conf), True))
        self.oned.cloud.datastores[101] = Datastore(101, "backups", "BACKUP_DS", "store", "-", "/backups")
        self.oned.cloud.labels["datastore", "backups"] = 101
        self.tracking = Tracking(spec.spec, self.oned.cloud)
        self.tracking.files["/x"] = BYTES
        self.play("image.register", image="x", path="/x", persistent=persistent)
        self.play("vm.create", vm="v", disks=[{"image": "x"}])
        self.play("vm.deploy", vm="v", host="host01")

    def play(self, op: str, /, *, fails: str = "", writes: dict[str, int] | None = None, **arguments: Any) -> None:
        """Ask an operation and answer its calls; those of the action `fails` fail. `writes` are what the guest writes while a call of an action runs."""
        waiting: deque[Output] = deque(self.oned.feed(OperationAsked(0, op, arguments)))
        while waiting:
            match waiting.popleft():
                case Refused() as refused:
                    raise AssertionError(refused)
                case Changed() as changed:
                    self.tracking.changed(changed)
                case CallAsked() as asked:
                    printed = PRINTED.get(asked.action.key, "").format(image=asked.image, vm=asked.vm)
                    success = asked.action.key != fails
                    self.tracking.began(asked)
                    if asked.action.key in (writes or {}):
                        self.tracking.written(disk_key(0, 0), (Write(8192, 4096, (writes or {})[asked.action.key]),))
                    outputs = self.oned.feed(CallFinished(asked.call, success, printed, "it failed"))
                    self.tracking.ended(asked, success=success)
                    waiting.extend(outputs)

    def snapshot(self) -> None:
        """A snapshot of the disk while the VM is powered off; then it runs again."""
        self.play("vm.poweroff", vm="v")
        self.play("vm.snapshot_create", vm="v", disk=0)
        self.play("vm.resume", vm="v")

    def write(self, byte: int) -> None:
        """The guest writes."""
        assert self.tracking.model.write(disk_key(0, 0), (Write(8192, 4096, byte),))

    @property
    def disk(self) -> Versions:
        """What the disk may hold."""
        return self.tracking.model.admits(disk_key(0, 0))

    def image(self, id: int = 0) -> Versions:
        """What an image may hold."""
        return self.tracking.model.admits(image_key(id))


@pytest.mark.parametrize(("persistent", "ln_target"), [(False, "NONE"), (True, "NONE"), (True, "SYSTEM")])
def test_a_snapshot_comes_back(persistent: bool, ln_target: str) -> None:
    """Reverting brings back what the disk held when the snapshot was made; of a persistent disk that is an alias, the image too."""
    it = Tracked(persistent=persistent, ln_target=ln_target)
    it.write(1)
    it.snapshot()
    it.write(2)
    assert it.disk == written(1, 2)
    it.play("vm.poweroff", vm="v")
    it.play("vm.snapshot_revert", vm="v", disk=0, snapshot=0)
    assert it.disk == written(1)
    assert it.image() == (written(1) if persistent and ln_target == "NONE" else written())


def test_a_live_backup_holds_what_the_disk_held_at_a_moment_of_its_copying() -> None:
    """What the guest writes while the disks are copied may be in the backup or not; what it writes afterwards is in the disk alone."""
    it = Tracked()
    it.write(1)
    it.play("vm.backup", vm="v", datastore="backups", image="b", writes={"tm/prebackup_live": 2, "ds/backup": 3, "tm/postbackup_live": 4})
    assert it.tracking.model.admits(backup_key(1, 0, 0)) == (written(1) or frozenset()) | (written(1, 2) or frozenset())
    assert it.disk == written(1, 2, 3, 4)


@pytest.mark.parametrize("fails", ["tm/prebackup_live", "ds/backup"])
def test_a_backup_that_failed_is_forgotten_with_its_moments(fails: str) -> None:
    """The next one holds what the disk held while that was copied."""
    it = Tracked()
    it.play("vm.backup", vm="v", datastore="backups", image="lost", fails=fails, writes={"tm/prebackup_live": 1, "tm/postbackup_live": 2})
    it.play("vm.backup", vm="v", datastore="backups", image="b")
    assert it.tracking.model.admits(backup_key(1, 0, 0)) == written(1, 2)


@pytest.mark.parametrize(("template", "held"), [((20, 21), (1, 2)), ((0, 21, 20), (2, 1)), ((20,), (0, 0)), ((20, 20, 21), (0, 0)), (None, (0, 0))])
def test_the_template_tells_which_restored_image_is_which_disk(template: tuple[int, ...] | None, held: tuple[int, int]) -> None:
    """Its disks are in the order of the backup's; without it an image may be any of them (0)."""
    it = Tracked()
    cloud, model = it.oned.cloud, it.tracking.model
    cloud.images[9] = Image(9, "b", "BACKUP", 101, backup_disks=[0, 1])
    cloud.restores[5] = (9, -1, (0, 1))
    contents = {1: written(1) or frozenset(), 2: written(2) or frozenset()}
    contents[0] = contents[1] | contents[2]
    for disk in (0, 1):
        model.put(backup_key(9, 0, disk), contents[disk + 1])
    for id in (21, 20):
        cloud.images[id] = Image(id, f"i{id}", "OS", 1, template={"FROM_BACKUP_DS": "101"})
        cp = CallAsked(id, 5, it.oned.spec.actions["ds/cp"], "fs", "", (), {}, "", "base64", {"path": "rsync://101//0:x/disk"}, image=id)
        it.tracking.ended(cp, success=True)
    cloud.templates += [template] if template else []
    it.tracking.settle()
    assert (it.image(20), it.image(21)) == (contents[held[0]], contents[held[1]])


def test_a_driver_that_makes_a_template_tells_its_images() -> None:
    """In the order of the disks; those without an image of their own, as volatile ones, do not count."""
    it = Tracked()
    text = 'NAME="t" DISK=[IMAGE_ID="7"] DISK=[TYPE="fs",SIZE="1"] NIC=[NETWORK="n"] DISK=[DEV_PREFIX="vd",IMAGE_ID="5"]'
    body = xmlrpc.client.dumps(("session", text), "one.template.allocate").encode()
    questions.answer(it.oned.cloud, it.oned.spec, QuestionAsked("xmlrpc", (), body))
    assert it.oned.cloud.templates == [(7, 5)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [('{"op": "vm.poweroff", "vm": "v"}', "put vm.backup after guest.busy, not vm.poweroff"), ('{"op": "guest.busy"}', "guest.busy needs vm")],
)
def test_a_guest_is_busy_during_a_backup_alone(line: str, complaint: str) -> None:
    """File, line and remedy."""
    text = '{"trace": 1, "name": "t", "title": "t"}\n{"op": "guest.busy", "vm": "v"}\n' + line
    with pytest.raises(TraceError, match=r"t\.jsonl:3: ") as error:
        parse_trace(text, Path("t.jsonl"), for_contract("7.4").spec)
    assert complaint in str(error.value)


def test_a_revert_that_failed_may_have_done_its_work() -> None:
    """The disk may hold the old content or that of the snapshot; a snapshot that could not be made holds nothing."""
    it = Tracked()
    it.snapshot()
    it.write(2)
    it.play("vm.poweroff", vm="v")
    it.play("vm.snapshot_revert", vm="v", disk=0, snapshot=0, fails="tm/snap_revert")
    assert it.disk == (written() or frozenset()) | (written(2) or frozenset())
    it.play("vm.snapshot_create", vm="v", disk=0, fails="tm/snap_create")
    assert it.tracking.model.admits(disk_key(0, 0), 1) is None


@pytest.mark.parametrize("ln_target", ["NONE", "SYSTEM"])
def test_snapshots_of_a_persistent_disk_go_back_to_the_image_and_come_again(ln_target: str) -> None:
    """After terminate the image has the snapshots; it is reverted to one, and a second VM finds them."""
    it = Tracked(persistent=True, ln_target=ln_target)
    it.snapshot()
    it.write(3)
    it.play("vm.terminate", vm="v")
    assert it.image() == written(3)
    assert it.tracking.model.admits(image_key(0), 0) == written()
    it.play("image.snapshot_revert", image="x", snapshot=0)
    assert it.image() == written()
    it.play("image.snapshot_flatten", image="x", snapshot=0)
    assert it.image() == written()
    assert it.tracking.model.admits(image_key(0), 0) is None


def test_a_snapshot_is_saved_as_an_image() -> None:
    """cpds of a snapshot makes an image with what the snapshot holds; without one, with what the disk holds."""
    it = Tracked()
    it.snapshot()
    it.write(4)
    it.play("vm.poweroff", vm="v")
    it.play("vm.disk_saveas", vm="v", disk=0, image="old", snapshot=0)
    it.play("vm.disk_saveas", vm="v", disk=0, image="new")
    assert (it.image(1), it.image(2)) == (written(), written(4))


def test_a_disk_is_larger_after_resize() -> None:
    """Zeros follow, to the new size in MiB."""
    it = Tracked()
    it.play("vm.poweroff", vm="v")
    it.play("vm.disk_resize", vm="v", disk=0, size_mb=20)
    assert {one.size for one in it.disk or ()} == {20 << 20}


def test_a_backup_is_restored() -> None:
    """A restore brings back what the disk held when the backup was made; one that failed leaves no backup behind."""
    it = Tracked()
    it.write(5)
    it.play("vm.poweroff", vm="v")
    it.play("vm.backup", vm="v", datastore="backups", image="lost", fails="ds/backup")
    it.play("vm.backup", vm="v", datastore="backups", image="kept")
    it.play("vm.resume", vm="v")
    it.write(6)
    it.play("vm.poweroff", vm="v")
    it.play("vm.restore", vm="v", image="kept")
    assert it.disk == written(5)


def test_increments_are_told_apart() -> None:
    """Each increment of a chain is its own content; without a number the newest is restored."""
    it = Tracked()
    it.oned.cloud.vms[0].backup.mode = "INCREMENT"
    it.play("vm.poweroff", vm="v")
    for byte, label in ((1, "chain"), (2, ""), (3, "")):
        it.play("vm.resume", vm="v")
        it.write(byte)
        it.play("vm.poweroff", vm="v")
        it.play("vm.backup", vm="v", datastore="backups", **({"image": label} if label else {}))
    it.play("vm.restore", vm="v", image="chain", increment=1)
    assert it.disk == written(1, 2)
    it.play("vm.restore", vm="v", image="chain")
    assert it.disk == written(1, 2, 3)


@pytest.mark.parametrize(("increment", "held"), [(0, (1,)), (1, (1, 2)), (None, (1, 2, 3))])
def test_an_image_out_of_a_backup_holds_the_increment_that_was_asked_for(increment: int | None, held: tuple[int, ...]) -> None:
    """While oned has a backup restored, its images hold the state of that increment, not just of any backup in the store."""
    it = Tracked()
    it.oned.cloud.vms[0].backup.mode = "INCREMENT"
    it.play("vm.poweroff", vm="v")
    for byte, label in ((1, "chain"), (2, ""), (3, "")):
        it.play("vm.resume", vm="v")
        it.write(byte)
        it.play("vm.poweroff", vm="v")
        it.play("vm.backup", vm="v", datastore="backups", **({"image": label} if label else {}))
    (asked,) = (
        one
        for one in it.oned.feed(OperationAsked(0, "image.restore", {"image": "chain", **({} if increment is None else {"increment_id": increment})}))
        if isinstance(one, CallAsked)
    )
    assert asked.facts["backup_disks"] == "0"
    new = Image(9, "new", "OS", 1, template={"FROM_BACKUP_DS": "101"})
    it.oned.cloud.images[9] = new
    assert it.tracking._brought(replace(asked, image=9)) == written(*held)


def test_a_snapshot_is_saved_at_its_own_size() -> None:
    """A snapshot from before the disk grew keeps the size of its time; the present content has that of the disk."""
    played = Tracked()
    played.play("vm.poweroff", vm="v")
    played.play("vm.snapshot_create", vm="v", disk=0)
    played.play("vm.disk_resize", vm="v", disk=0, size_mb=20)
    played.play("vm.disk_saveas", vm="v", disk=0, image="old", snapshot=0)
    played.play("vm.disk_saveas", vm="v", disk=0, image="new")
    assert [{one.size for one in played.image(id) or ()} for id in (1, 2)] == [{10 << 20}, {20 << 20}]


@pytest.mark.parametrize(("shared", "known"), [(True, True), (False, False)])
def test_a_lost_host_takes_its_own_disks_along(shared: bool, known: bool) -> None:
    """What lay on shared storage is there still; what only the lost host had may be anything."""
    played = Tracked()
    played.oned.cloud.tm_conf["shared"] = MadConf(shared=shared)
    played.play("vm.lost", vm="v")
    played.play("vm.migrate", vm="v", host="host02")
    assert (played.disk is not None) == known


@pytest.mark.parametrize("text", ["it ends ]]> here", "\x1b[31mred\x1b[0m"])
def test_an_error_text_that_no_document_can_hold_is_no_error_of_oned(text: str) -> None:
    """The driver's failure is kept, its text is not."""
    played = Tracked()
    asked = [one for one in played.oned.feed(OperationAsked(0, "image.make", {"image": "y", "size_mb": 1})) if isinstance(one, CallAsked)]
    played.oned.feed(CallFinished(asked[0].call, False, "", text))
    assert (played.oned.cloud.images[1].state, played.oned.cloud.images[1].error) == ("ERROR", "-")
    assert played.oned.feed(OperationAsked(1, "image.delete", {"image": "y"}))


def test_the_document_of_an_export_is_no_text_of_the_image() -> None:
    """IMPORT_INFO may hold CDATA sections: no object stores it."""
    played = Tracked()
    asked = [one for one in played.oned.feed(OperationAsked(0, "image.export", {"image": "x"})) if isinstance(one, CallAsked)]
    outputs = played.oned.feed(CallFinished(asked[0].call, True, "<IMPORT_INFO><MD5><![CDATA[x]]></MD5></IMPORT_INFO>", ""))
    assert [one.success for one in outputs if hasattr(one, "success")] == [True]
