"""Tells what calls of a datastore driver are of: operations on images, and backups."""

from __future__ import annotations

from lxml import etree

from onesim.recording.backup_facts import is_backup, vm_of
from onesim.recording.calls import SeenCall
from onesim.recording.images import type_of
from onesim.recording.steps import SIZE_MB
from onesim.recording.teller import Teller


def image_call(teller: Teller, call: SeenCall) -> None:
    """Take a call of a datastore driver."""
    number = int(call.field("IMAGE/ID") or -1) if call.plain not in ("monitor", "stat", "backup", "backup_cancel", "ls") else -1
    image = call.document.find("IMAGE") if number >= 0 and call.document is not None else None
    if call.plain in ("monitor", "stat", "ls"):
        # stat leads up to cp, ls is asked by tm/restore: each is told with it
        teller.steps.left_out[f"ds/{call.plain}"] += call.plain == "monitor"
    elif image is not None and is_backup(image) and vm_of(image) >= 0 and call.plain in ("rm", "restore", "increment_flatten"):
        _of_backup(teller, call, image)
    elif call.plain in ("cp", "mkfs", "clone") and number >= 0:
        _new_image(teller, call, number)
    elif call.plain == "rm" and number >= 0:
        teller.steps.say(call.begun_s, "image.delete", call.ok, image=teller.images.told(number, call))
    elif call.plain in ("snap_delete", "snap_revert", "snap_flatten") and number >= 0:
        name = teller.images.told(number, call)
        snapshot = int(call.field("IMAGE/TARGET_SNAPSHOT") or 0)
        teller.steps.say(call.begun_s, f"image.{call.plain.replace('snap', 'snapshot')}", call.ok, image=name, snapshot=snapshot)
    elif call.plain == "export" and number >= 0:
        teller.steps.say(call.begun_s, "image.export", call.ok, image=teller.images.told(number, call))
    elif call.plain in ("backup", "backup_cancel"):
        teller.backups.seen(call)
    else:
        teller.steps.left_out[f"ds/{call.plain}"] += 1


def _of_backup(teller: Teller, call: SeenCall, image: etree._Element) -> None:
    if call.plain == "rm":
        teller.backups.removed(call, image)
    elif call.plain == "increment_flatten":
        teller.backups.flattened(call, image)
    else:
        given = teller.backups.images_restored(call, image)
        teller.images.restored |= {int(word): (call.field("TEMPLATE/NAME"), given) for word in call.stdout.split()[1:] if word.isdigit()}


def _new_image(teller: Teller, call: SeenCall, number: int) -> None:
    words = call.stdout.split()
    source = words[0].decode(errors="replace") if words else call.field("IMAGE/SOURCE")
    if number in teller.images.restored:
        # the driver has asked for it as it restored a backup, and will again; its name begins as it was told to
        asked, given = teller.images.restored[number]
        if source and asked and call.field("IMAGE/NAME").startswith(asked):
            teller.images.labels[number] = teller.images.sources[source] = given + call.field("IMAGE/NAME").removeprefix(asked)
        return
    label = teller.images.labels[number] = f"image{number}"
    if source:
        teller.images.sources[source] = label
    kind = type_of(call)
    persistent = call.field("IMAGE/PERSISTENT") == "1" or None
    store = call.field("DATASTORE/ID")
    teller.stores.note(store, call.field("DATASTORE/TYPE"))
    if call.plain == "clone":
        of = teller.images.told(int(call.field("IMAGE/CLONING_ID") or -1), call)
        teller.steps.say(call.begun_s, "image.clone", call.ok, image=label, of=of, datastore=teller.stores.images(store, label, of))
    elif call.plain == "mkfs" and call.field("IMAGE/FORMAT") == "save_as":
        teller.images.waiting_saves.append(number)
    elif call.plain == "mkfs":
        fs = call.field("IMAGE/FS") or None
        form = call.field("IMAGE/FORMAT") or "raw"
        teller.steps.say(
            call.begun_s,
            "image.make",
            call.ok,
            image=label,
            size_mb=SIZE_MB,
            format=form,
            fs=fs,
            persistent=persistent,
            type=None if kind == "DATABLOCK" else kind,
            datastore=teller.stores.images(store, label),
        )
    else:
        form = words[1].decode(errors="replace") if len(words) > 1 else call.field("IMAGE/FORMAT")
        teller.images.registered(call.begun_s, label, form, kind, bool(persistent), call.ok, store)
