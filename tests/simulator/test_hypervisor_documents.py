"""What hypervisor drivers get on standard input: the whole of VMM_DRIVER_ACTION_DATA, filled as the real oned fills it for each action."""

from __future__ import annotations

import base64
from collections import deque

import pytest
from lxml import etree
from player import Player

from onesim.events import CallAsked, CallFinished, OperationAsked, Output, Refused
from onesim.validation import validate

DIRECTORY = "/var/lib/one//datastores/0/0"


def documents(player: Player, op: str, **arguments: object) -> dict[str, etree._Element]:
    """Ask an operation of the VM, answer all calls, and return the documents of hypervisor actions by name."""
    found: dict[str, etree._Element] = {}
    waiting: deque[Output] = deque(player.oned.feed(OperationAsked(0, op, {"vm": "a", **arguments})))
    while waiting:
        output = waiting.popleft()
        assert not isinstance(output, Refused), output
        if isinstance(output, CallAsked):
            if output.action.family == "vmm":
                text = player.oned.carried(output.call)
                found[output.action.name] = etree.fromstring(text.encode())
                if found[output.action.name].tag != "domain":
                    assert validate("VMM_DRIVER_ACTION_DATA", player.spec.version, text.encode()) == []
                if "document" in output.arguments:
                    assert base64.b64decode(output.arguments["document"]).decode() == text
            waiting.extend(player.oned.feed(CallFinished(output.call, True, "one-0" if output.action.key == "vmm/deploy" else "")))
    return found


def told(root: etree._Element) -> dict[str, str]:
    """Return the plain children that are not empty."""
    return {str(child.tag): child.text for child in root if child.text and not len(child)}


@pytest.mark.parametrize("version", ["5.12.0", "6.4.0", "7.0.1", "7.4.0"])
def test_each_action_gets_what_it_needs(version: str) -> None:
    """Hosts, checkpoint, the lines for the transfer manager and those that undo them, the place of a disk; VM and datastore always."""
    player = Player(version)
    player.play("vm.create", {"vm": "a", "disks": [{"volatile": "fs", "size_mb": 2}], "context": {"A": "B"}})
    deployed = documents(player, "vm.deploy", host="host01")
    assert deployed["deploy"].tag == "domain" and deployed["deploy"].findtext("name") == "one-0"
    seen = documents(player, "vm.attach_disk", disk={"volatile": "fs", "size_mb": 3, "format": "raw"})
    assert told(seen["attach_disk"]) == {
        "HOST": "host01",
        "DEPLOY_ID": "one-0",
        "TM_COMMAND": f"MKIMAGE shared 3 raw host01:{DIRECTORY}/disk.2 0 0\n",
        "TM_COMMAND_ROLLBACK": f"DELETE.shared shared host01:{DIRECTORY}/disk.2 0 0\n",
        "DISK_TARGET_PATH": f"{DIRECTORY}/disk.2",
    }
    disks = seen["attach_disk"].findall("VM/TEMPLATE/DISK")
    assert [(disk.findtext("DISK_ID"), disk.findtext("ATTACH")) for disk in disks] == [("0", None), ("2", "YES")]
    assert seen["attach_disk"].findtext("DATASTORE/ID") == "0" and len(seen["attach_disk"].findall("VM/HISTORY_RECORDS/HISTORY")) == 1
    seen = documents(player, "vm.migrate_live", host="host02")
    assert told(seen["migrate"]) == {
        "HOST": "host01",
        "MIGR_HOST": "host02",
        "DEPLOY_ID": "one-0",
        "TM_COMMAND": f"MIGRATE shared host01 host02 {DIRECTORY} 0 0\n",
        "DISK_TARGET_PATH": DIRECTORY,
    }
    assert not seen["migrate"].findall("VM/TEMPLATE/DISK/ATTACH"), "the disk has been attached long ago"
    seen = documents(player, "vm.detach_disk", disk=2)
    assert told(seen["detach_disk"])["TM_COMMAND"] == f"DELETE.shared shared host02:{DIRECTORY}/disk.2 0 0\n"
    assert told(documents(player, "vm.stop")["save"]) == {"HOST": "host02", "DEPLOY_ID": "one-0", "CHECKPOINT_FILE": f"{DIRECTORY}/checkpoint"}
    assert told(documents(player, "vm.deploy", host="host01")["restore"]) == {
        "HOST": "host01",
        "DEPLOY_ID": "one-0",
        "CHECKPOINT_FILE": f"{DIRECTORY}/checkpoint",
        "TM_COMMAND": f"CONTEXT shared /var/lib/one/vms/0/context.sh host01:{DIRECTORY}/disk.1 0 0\n",
        "DISK_TARGET_PATH": f"{DIRECTORY}/disk.1",
    }
    assert told(documents(player, "vm.terminate")["shutdown"]) == {"HOST": "host01", "DEPLOY_ID": "one-0"}
