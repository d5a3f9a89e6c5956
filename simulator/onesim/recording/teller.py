"""What calls, requests and states share while they are told as a trace."""

from __future__ import annotations

from onesim.recording.backup_facts import Survey
from onesim.recording.backups import Backups
from onesim.recording.images import Images
from onesim.recording.steps import Steps
from onesim.recording.stores import Stores
from onesim.recording.vms import Vms


class Teller:
    """The steps that are told so far, and what is known of datastores, images, VMs and backups. `known` is what documents tell at whatever time."""

    def __init__(self, known: Survey) -> None:
        self.steps = Steps()
        self.stores = Stores(self.steps)
        self.images = Images(self.steps, self.stores)
        self.vms = Vms(self.steps, self.stores, self.images)
        self.backups = Backups(self.vms, known)
