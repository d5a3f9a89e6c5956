"""Names for the images of a front-end, by their ids and their sources; those that were there before anything was seen of them are made first."""

from __future__ import annotations

from onesim.recording.calls import SeenCall
from onesim.recording.steps import SIZE_MB, Steps
from onesim.recording.stores import Stores

_TYPES = {0: "OS", 1: "CDROM", 2: "DATABLOCK", 3: "KERNEL", 4: "RAMDISK", 5: "CONTEXT"}


def type_of(call: SeenCall) -> str:
    """Return the type of the image that a call is about, as a trace names it."""
    return _TYPES.get(int(call.field("IMAGE/TYPE") or 0), "OS")


class Images:
    """The images, by their labels: `labels` of ids, `sources` of sources, `cdroms` those that are CDROMs.

    `waiting_saves` are ids of images that a disk is yet to be saved to; `restored` are ids of images that a driver asks for as it restores
    a backup, with the name that it was asked to give and the one that the trace gives.
    """

    def __init__(self, steps: Steps, stores: Stores) -> None:
        self._steps, self._stores = steps, stores
        self.labels: dict[int, str] = {}
        self.sources: dict[str, str] = {}
        self.cdroms: set[str] = set()
        self.waiting_saves: list[int] = []
        self.restored: dict[int, tuple[str, str]] = {}

    def registered(self, at_s: float, label: str, form: str, kind: str, persistent: bool, ok: bool = True, store: str = "") -> None:
        """Tell that an image was registered. `store` is the id of its datastore, if that is known."""
        if kind == "CDROM":
            self.cdroms.add(label)
        form = "qcow2" if form == "qcow2" else "raw"
        path = f"/var/tmp/{label}.{form}"
        self._steps.say(at_s, "file.make", path=path, format=form, size_mb=SIZE_MB)
        self._steps.say(
            at_s,
            "image.register",
            ok,
            image=label,
            path=path,
            persistent=persistent or None,
            type=None if kind == "OS" else kind,
            datastore=self._stores.images(store, label),
        )

    def told(self, number: int, call: SeenCall) -> str:
        """Return the label of an image that a document tells of; one that was there before is made first."""
        if number not in self.labels and call.field("IMAGE/SOURCE") in self.sources:
            self.labels[number] = self.sources[call.field("IMAGE/SOURCE")]
        if number not in self.labels:
            label = self.labels[number] = f"image{number}"
            persistent, store = call.field("IMAGE/PERSISTENT") == "1", call.field("IMAGE/DATASTORE_ID")
            self.registered(0.0, label, call.field("IMAGE/FORMAT"), type_of(call), persistent, store=store)
        return self.labels[number]

    def sourced(self, source: str, persistent: bool, kind: str = "OS") -> str:
        """Return the label of the image that has a source; one that was there before is made first."""
        if source not in self.sources:
            label = self.sources[source] = self._steps.label("earlier")
            self.registered(0.0, label, "qcow2" if source.endswith("qcow2") else "raw", kind, persistent)
        return self.sources[source]

    def numbered(self, number: int) -> str:
        """Return the label of an image of which no more than its number is known; one that was there before is made first."""
        if number not in self.labels:
            self.labels[number] = f"image{number}"
            self.registered(0.0, f"image{number}", "raw", "OS", False)
        return self.labels[number]

    def earlier(self, kind: str = "OS", form: str = "raw", persistent: bool = False) -> str:
        """Return the label of an image that was there before the VMs that have it."""
        label = self._steps.label("earlier")
        self.registered(-1.0, label, form, kind, persistent)
        return label
