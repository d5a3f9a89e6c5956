"""Names for the datastores of a front-end: those that a world has, then image datastores that a trace makes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from onesim.recording.steps import Steps

_SYSTEM = ("system", "system2")
_IMAGES = "images"
_FILES = "2"  # DATASTORE/TYPE


class Stores:
    """The datastores in the order in which they are met, by their ids. System datastores beyond two share the two names."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._system: dict[int, str] = {}
        self._images: dict[int, str] = {}
        self._of: dict[str, str] = {}

    def system(self, id: int, leaves: str = "") -> str:
        """Return the name of a system datastore; the first one where nothing tells the id.

        A third one shares the name of another than that which a VM `leaves` for it.
        """
        if id < 0:
            return _SYSTEM[0]
        shared = _SYSTEM[1] if leaves == _SYSTEM[0] else _SYSTEM[0]
        return self._system.setdefault(id, _SYSTEM[len(self._system)] if len(self._system) < len(_SYSTEM) else shared)

    def note(self, text: str, type: str) -> None:
        """Take the type of a datastore: those of files are others than those of images."""
        if text.isdigit() and type == _FILES:
            self._name(int(text), "files", {"TYPE": "FILE_DS"})

    def images(self, text: str, label: str, like: str = "") -> str | None:
        """Return the name of the image datastore, of which `text` is the id, for a new image; None if that is where the image goes if nothing is said.

        `like` is the image that it is a copy of.
        """
        usual = self._of.get(like, _IMAGES)
        name = self._of[label] = self._name(int(text), _IMAGES) if text.isdigit() else usual
        return name if name != usual else None

    def _name(self, id: int, kind: str, more: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Return the name of a datastore. A world has the first one of images; others are made before anything else."""
        if id not in self._images:
            first = kind == _IMAGES and _IMAGES not in self._images.values()
            self._images[id] = kind if first else f"{kind}{len(self._images) + 1}"
            if not first:
                self._steps.say(-2.0, "datastore.create", datastore=self._images[id], like=_IMAGES, **more)
        return self._images[id]
