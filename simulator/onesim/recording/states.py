"""Tells what the states in the log of a VM are of, where storage calls alone do not tell it, or there are none."""

from __future__ import annotations

from onesim.recording import requested
from onesim.recording.calls import Place, SeenCall
from onesim.recording.earlier import known
from onesim.recording.operations import close
from onesim.recording.teller import Teller

#: States of a VM, as its log tells them, and the operations that lead to them; storage calls alone do not tell these apart, or there are none.
_LEAVING = {"SAVE_STOP": "vm.stop", "EPILOG_STOP": "vm.stop", "SHUTDOWN_UNDEPLOY": "vm.undeploy", "EPILOG_UNDEPLOY": "vm.undeploy"}
_CHANGES = {
    "SHUTDOWN_POWEROFF": ("vm.poweroff", "POWEROFF"),
    "SAVE_SUSPEND": ("vm.suspend", "SUSPENDED"),
    "BOOT_POWEROFF": ("vm.resume", "RUNNING"),
    "BOOT_SUSPENDED": ("vm.resume", "RUNNING"),
    "BOOT_UNKNOWN": ("vm.resume", "RUNNING"),
    "CLEANUP_DELETE": ("vm.recover_delete", "DONE"),
    "CLEANUP_RESUBMIT": ("vm.recover_recreate", "PENDING"),
}


def vm_state(teller: Teller, event: SeenCall) -> None:
    """Take a change of state that the log of a VM tells."""
    vm = teller.vms.vm(int(event.argv[0]))
    vm.told = True
    if vm.open:
        close(teller, vm)
    if vm.restoring is not None:
        teller.backups.disks_restored(int(event.argv[0]), vm.restoring, "", "", "")
        vm.restoring = None
    vm.epilog, vm.covered = event.action == "EPILOG", False
    state = event.action
    if not vm.state and state in ("RESTORE", "BACKUP_POWEROFF"):
        # the log begins with a VM that is off
        known(teller.vms, Place("", int(event.argv[0])))
        teller.steps.say(event.begun_s, "vm.poweroff", vm=vm.label)
        vm.state = "POWEROFF"
    if state in _LEAVING:
        vm.leaving = _LEAVING[state]
    elif state.endswith("FAILURE"):
        vm.last["expect"] = "any"
        vm.state = "FAILED" if state == "PROLOG_FAILURE" else vm.state
    elif state == "MIGRATE" and vm.state:
        other = teller.vms.elsewhere(vm)
        vm.last = teller.steps.say(event.begun_s, "vm.migrate_live", event.ok, vm=vm.label, host=teller.vms.host(other))
        vm.host = other if event.ok else vm.host
    elif state in _CHANGES and vm.state:
        op, vm.state = _CHANGES[state]
        vm.last = teller.steps.say(event.begun_s, op, vm=vm.label)
    elif state in ("BACKUP", "BACKUP_POWEROFF"):
        known(teller.vms, Place(vm.host, int(event.argv[0])))
        asked = requested.taken(vm, event, "BACKUP")
        teller.backups.begun(int(event.argv[0]), event, None, reset=asked is not None and asked.argv[2:3] == ("true",))
    elif state == "BACKUP_CANCEL":
        teller.backups.cancelled(int(event.argv[0]), event)
    elif requested.state(teller, vm, event):
        return
    elif state == "RESTORE":
        # its script tells of which backup, if it is there
        known(teller.vms, Place(vm.host, int(event.argv[0])))
        vm.restoring = event
    elif state in ("HOTPLUG", "HOTPLUG_SNAPSHOT", "HOTPLUG_RESIZE", "DISK_SNAPSHOT", "DISK_RESIZE"):
        teller.steps.left_out[f"states {state}: what was done then stands in no transfer script, nor in an oned.log that was given"] += 1
