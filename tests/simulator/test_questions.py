"""What drivers ask while they run: the API's pools and faults, and a restore that makes images, each with calls of its own, before it ends."""

from __future__ import annotations

import xmlrpc.client
from typing import Any

import pytest
from player import Player

from onesim.events import Answer, CallAsked, CallFinished, Changed, OperationAsked, Output, QuestionAsked
from onesim.model import Image
from onesim.questions import spoken

PATH = "rsync://101//0:abc/var/backups/disk.0.0"
TEMPLATE = f'NAME = "back-disk-0"\nTYPE = "OS"\n\nPATH = "{PATH}"\nFROM_BACKUP_DS = "101"\nBACKUP_JOB_ID = "3"'


def request(method: str, *parameters: Any) -> bytes:
    """Return the body of a request, with a session."""
    return xmlrpc.client.dumps(("oneadmin:secret", *parameters), method).encode()


def ask(player: Player, method: str, *parameters: Any) -> Any:
    """Return the three values of a response; raises Fault for one."""
    (answer,) = player.oned.feed(QuestionAsked("xmlrpc", body=request(method, *parameters), number=5))
    assert isinstance(answer, Answer) and answer.question == 5
    return value(answer)


def value(answer: Answer) -> Any:
    """Return what a response holds."""
    found: Any = xmlrpc.client.loads(answer.stdout)[0][0]
    assert (answer.status == 0) == found[0]
    return found


def cloud(version: str = "7.4.0") -> Player:
    """A cloud with an image, three VMs in different states, and a backup."""
    player = Player(version)
    player.play("image.make", {"image": "data", "size_mb": 8})
    for name in ("one", "two", "three"):
        player.play("vm.create", {"vm": name, "disks": [{"volatile": "fs", "size_mb": 1}]})
    player.play("vm.deploy", {"vm": "two", "host": "host01"})
    player.play("vm.terminate", {"vm": "three"})
    player.oned.cloud.images[9] = Image(9, "backup", "BACKUP", 101, source="abc", state="READY", vms={1})
    player.oned.cloud.labels["image", "backup"] = 9
    player.oned.cloud.next_image = 10
    player.oned.cloud.datastores[101].images.add(9)
    return player


def restoring(player: Player) -> CallAsked:
    """Begin a restore and return its call."""
    (asked,) = player.oned.feed(OperationAsked(77, "image.restore", {"image": "backup"}))
    assert isinstance(asked, CallAsked) and asked.action.key == "ds/restore"
    return asked


def allocate(player: Player, call: CallAsked, template: str = TEMPLATE, datastore: int = 1) -> list[Output]:
    """Ask for an image from within a call."""
    return player.oned.feed(QuestionAsked("xmlrpc", body=request("one.image.allocate", template, datastore, False), call=call.call, number=5))


# what is only read


@pytest.mark.parametrize(
    ("method", "parameters", "wanted"),
    [
        ("one.vmpool.info", (-2, -1, -1, -1), ["one", "two"]),
        ("one.vmpool.infoextended", (-2, -1, -1, -1), ["one", "two"]),
        ("one.vmpool.info", (-2, -1, -1, -2), ["one", "two", "three"]),
        ("one.vmpool.info", (-2, -1, -1, 3), ["two"]),
        ("one.vmpool.info", (-2, 1, 1, -1), ["two"]),
        ("one.vmpool.info", (-2, 1, -1, -1), ["two"]),
        ("one.vmpool.info", (-2, 0, -2, -2), ["one", "two"]),
        ("one.vmpool.info", (-2, 2, -2, -2), ["three"]),
        ("one.imagepool.info", (-2, -1, -1), ["data", "backup"]),
        ("one.imagepool.info", (-2, 5, 10), ["backup"]),
        ("one.datastorepool.info", (), ["system", "images", "system2", "backups"]),
        ("one.hostpool.info", (), ["host01", "host02"]),
        ("one.clusterpool.info", (), ["default"]),
    ],
)
def test_pools_are_those_of_this_moment(method: str, parameters: tuple[int, ...], wanted: list[str]) -> None:
    """All members, or those of a page or a state."""
    ok, xml, code = ask(cloud(), method, *parameters)
    assert ok and code == 0
    for name in ("one", "two", "three", "data", "backup", "system", "images", "backups", "host01", "host02", "default"):
        assert (f"<NAME>{name}</NAME>" in xml) == (name in wanted), name


@pytest.mark.parametrize(("method", "id"), [("vm", 1), ("vm", 2), ("image", 0), ("datastore", 1), ("host", 0), ("cluster", 0)])
def test_one_object_is_given_whole(method: str, id: int) -> None:
    """By its id, as the command line gives it; also a VM that is DONE."""
    player = cloud()
    ok, xml, _ = ask(player, f"one.{method}.info", id, False)
    (shown,) = player.oned.feed(QuestionAsked("command", (f"one{method}", "show", "-x", str(id))))
    assert ok and isinstance(shown, Answer) and shown.stdout.decode() == xml + "\n"


def test_errors_of_the_api_are_those_of_oned() -> None:
    """Objects that are not there, methods that oned has but a driver has no business with, and what is no request."""
    player = cloud()
    assert ask(player, "one.vm.info", 77) == [False, "[one.vm.info] Error getting virtual machine [77].", 0x400]
    assert ask(player, "one.image.info", 77) == [False, "[one.image.info] Error getting image [77].", 0x400]
    assert ask(player, "one.vm.action", "poweroff", 1)[0] is False
    assert ask(player, "one.system.version") == [True, "7.4.0", 0]
    assert ask(player, "one.template.allocate", "NAME=x")[1] == 0 and ask(player, "one.template.allocate", "NAME=y")[1] == 1
    for method, parameters, code in (
        ("one.fly", (), -506),
        ("system.reboot", (), -506),
        ("one.vm.info", (), -501),
        ("one.vm.info", ("x",), -501),
        ("one.image.allocate", ("NAME=x",), -501),
    ):
        with pytest.raises(xmlrpc.client.Fault) as fault:
            ask(player, method, *parameters)
        assert fault.value.faultCode == code, method
    (answer,) = player.oned.feed(QuestionAsked("xmlrpc", body=b"<nonsense"))
    with pytest.raises(xmlrpc.client.Fault) as fault:
        xmlrpc.client.loads(answer.stdout)  # type: ignore[union-attr]
    assert fault.value.faultCode == -503


def test_a_name_that_is_not_there_is_said_as_the_command_says_it() -> None:
    """Message on stderr, status 255."""
    (answer,) = cloud().oned.feed(QuestionAsked("command", ("onevm", "show", "nobody", "-x")))
    assert isinstance(answer, Answer) and (answer.status, answer.stderr) == (255, b"VM named nobody not found.\n")


def test_the_words_of_a_request_are_recorded_without_the_session() -> None:
    """Nobody reads a password in a history."""
    assert spoken(request("one.vm.info", 7, False)) == ("one.vm.info", "7", "False")
    assert spoken(b"nonsense") == ()


# images made by a driver


def test_a_restore_that_makes_an_image_is_answered_when_its_size_is_known() -> None:
    """stat of the backup's datastore first; then the image gets its id, the question its answer, and cp runs beside the restore."""
    player = cloud()
    restore = restoring(player)
    (stat,) = allocate(player, restore)
    assert isinstance(stat, CallAsked) and (stat.action.key, stat.operation) == ("ds/stat", 77)
    assert PATH in stat.document and "<NAME>backups</NAME>" in stat.document and stat.mad == "store"
    assert 10 not in player.oned.cloud.images
    outputs = player.oned.feed(CallFinished(stat.call, True, "12"))
    (cp,) = [one for one in outputs if isinstance(one, CallAsked)]
    (answer,) = [one for one in outputs if isinstance(one, Answer)]
    assert value(answer) == [True, 10, 0] and answer.question == 5
    assert (cp.action.key, cp.operation, cp.image, cp.mad) == ("ds/cp", 77, 10, "fs")
    assert f"<PATH><![CDATA[{PATH}]]></PATH>" in cp.document and "<FROM_BACKUP_DS><![CDATA[101]]>" in cp.document and "<SIZE>12</SIZE>" in cp.document
    assert [one.state for one in outputs if isinstance(one, Changed)] == ["LOCKED"]
    assert ask(player, "one.image.info", 10)[0], "the restore may ask for what it has made"
    assert any(isinstance(one, CallAsked) for one in player.oned.feed(CallFinished(cp.call, True, "/ds/10 qcow2")))
    assert player.oned.cloud.images[10].state == "READY" and player.oned.busy
    assert not [one for one in player.oned.feed(CallFinished(restore.call, True, "0 10")) if isinstance(one, CallAsked)]


@pytest.mark.parametrize(("ok", "stdout", "stderr", "why"), [(False, "", "no such backup", "no such backup"), (True, "large\n", "", "large")])
def test_a_size_that_is_not_to_be_had_makes_no_image(ok: bool, stdout: str, stderr: str, why: str) -> None:
    """The restore is told what stat said, and no image is left (recorded from oned 7.0.1)."""
    player = cloud()
    restore = restoring(player)
    (stat,) = allocate(player, restore)
    assert isinstance(stat, CallAsked)
    outputs = player.oned.feed(CallFinished(stat.call, ok, stdout, stderr))
    (answer,) = [one for one in outputs if isinstance(one, Answer)]
    assert value(answer) == [False, f"[one.image.allocate] Cannot parse image SIZE: {why}", 0x2000]
    assert 10 not in player.oned.cloud.images and player.oned.cloud.find("image", "back-disk-0") is None


def test_an_image_that_does_not_fit_is_not_made() -> None:
    """Whether its size is told by stat or by the template; a limit stands for what is free."""
    player = cloud()
    player.play("datastore.update", {"datastore": "images", "LIMIT_MB": "10011"})
    restore = restoring(player)
    (stat,) = allocate(player, restore)
    assert isinstance(stat, CallAsked)
    (answer,) = [one for one in player.oned.feed(CallFinished(stat.call, True, "12")) if isinstance(one, Answer)]
    assert value(answer)[:2] == [False, "[one.image.allocate] Not enough space in datastore"]
    (answer,) = allocate(player, restore, "NAME=a\nSIZE=12")
    assert isinstance(answer, Answer) and "Not enough space in datastore" in value(answer)[1]
    assert player.oned.cloud.next_image == 10 and len(allocate(player, restore, "NAME=a\nSIZE=11")) == 3


def test_a_driver_may_ask_for_an_empty_image_or_one_that_is_there() -> None:
    """With SIZE mkfs makes it; with SOURCE nothing is called. Both are answered at once."""
    player = cloud()
    restore = restoring(player)
    outputs = allocate(player, restore, 'NAME=a\nSIZE=7\nFORMAT=qcow2\nTYPE="DATABLOCK"')
    assert [type(one).__name__ for one in outputs] == ["Changed", "CallAsked", "Answer"]
    assert outputs[1].action.key == "ds/mkfs" and player.oned.cloud.images[10].size_mb == 7  # type: ignore[union-attr]
    outputs = allocate(player, restore, "NAME=b\nSIZE=7\nSOURCE=/ds/1/there")
    assert [type(one).__name__ for one in outputs] == ["Changed", "Answer"]
    assert player.oned.cloud.images[11].state == "READY" and player.oned.cloud.images[11].source == "/ds/1/there"


@pytest.mark.parametrize(
    ("template", "datastore", "why"),
    [
        ("TYPE=OS\nPATH=/x", 1, "NAME cannot be empty."),
        ("NAME=x", 1, "No PATH nor SIZE in template."),
        ("NAME=x\nPATH=/x", 77, "Error getting datastore [77]."),
        ("NAME=x\nPATH=/x", 0, "Error getting datastore [0]."),
        ("NAME=x\nPATH=/x\nTYPE=CAKE", 1, "CAKE"),
    ],
)
def test_an_image_that_cannot_be_is_refused_at_once(template: str, datastore: int, why: str) -> None:
    """Nothing is called, and nothing has changed."""
    player = cloud()
    (answer,) = allocate(player, restoring(player), template, datastore)
    assert isinstance(answer, Answer) and value(answer)[0] is False and why in value(answer)[1]
    assert player.oned.cloud.next_image == 10


def test_nobody_makes_images_without_a_call() -> None:
    """A person in the shell of a kept world, say."""
    player = cloud()
    (answer,) = player.oned.feed(QuestionAsked("xmlrpc", body=request("one.image.allocate", TEMPLATE, 1)))
    assert isinstance(answer, Answer) and "calls under way only" in value(answer)[1]


_BROKEN = ["--operator", "OR", "--no-pager", "--csv", "--filter=STAT=off,STAT=err,STAT=dsbl"]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([*_BROKEN, "--list=NAME,STAT"], "NAME,STAT\nhost01,err\n"),
        ([*_BROKEN, "-l", "NAME"], "NAME\nhost01\n"),
        (["--csv", "--filter", "STAT=err,NAME=host02", "--list", "ID"], "ID\n"),
        (["--csv", "-f", "STAT!=err"], "ID,NAME,CLUSTER,STAT\n1,host02,default,on\n"),
    ],
)
def test_hosts_are_listed_as_a_table(options: list[str], printed: str) -> None:
    """As OpenNebula's own datastore drivers ask for bridges that are down; a table that is not known is refused, not answered otherwise."""
    player = cloud()
    player.oned.cloud.hosts[0].error = "the host does not answer"
    (answer,) = player.oned.feed(QuestionAsked("command", ("onehost", "list", *options)))
    assert isinstance(answer, Answer)
    assert (answer.stdout.decode(), answer.status) == (printed, 0)
    for words in (("onevm", "list", "--csv"), ("onehost", "list", "--csv", "--list=NAME,FREE_MEM")):
        (refused,) = player.oned.feed(QuestionAsked("command", words))
        assert isinstance(refused, Answer) and refused.status == 255
