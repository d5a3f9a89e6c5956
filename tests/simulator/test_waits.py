"""What oned does not wait for: a script that takes too long, and a name that another image has got meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from player import Player

from onesim.events import CallAsked, CallFinished, Changed, OperationAsked, Outcome, QuestionAsked
from onesim.model import Image


def call_of(outputs: list[object], action: str) -> CallAsked:
    """Return the only call, which is of that action."""
    (call,) = (one for one in outputs if isinstance(one, CallAsked))
    assert call.action.name == action
    return call


@pytest.mark.parametrize("version", ["5.12.0", "7.4.0"])
def test_an_answer_of_stat_that_comes_too_late_is_lost(version: str) -> None:
    """No image is made, whatever the script printed, and its name can be used again; what asked through the API is told why."""
    player = Player(version)
    stat = call_of(player.oned.feed(OperationAsked(0, "image.register", {"image": "a", "path": "/x"})), "stat")
    outputs = player.oned.feed(CallFinished(stat.call, True, "10", "", late=True))
    (outcome,) = (one for one in outputs if isinstance(one, Outcome))
    assert (outcome.success, outcome.parsed, outcome.error) == (False, {}, "Request timeout")
    assert [one.error for one in outputs if isinstance(one, Changed)] == ["Request timeout"]
    assert not player.oned.cloud.images and not player.oned.busy
    player.play("image.register", {"image": "a", "path": "/x"})
    assert [image.name for image in player.oned.cloud.images.values()] == ["a"]


def test_a_restore_that_takes_too_long_is_given_up() -> None:
    """The backup stays as it is; nothing more is called."""
    player = Player("7.4.0")
    cloud = player.oned.cloud
    cloud.images[9] = Image(9, "b", "BACKUP", 101, source="abc", state="READY")
    cloud.labels["image", "b"] = 9
    restore = call_of(player.oned.feed(OperationAsked(0, "image.restore", {"image": "b"})), "restore")
    player.oned.feed(CallFinished(restore.call, True, "0 1", "", late=True))
    assert cloud.images[9].state == "READY" and not player.oned.busy


def test_of_two_images_of_one_name_the_second_is_refused() -> None:
    """Both are asked stat, as oned looks at the name when it stores the image; the first to be stored gets it. Without a PATH the second is refused at once."""
    player = Player("7.4.0")
    oned = player.oned
    first, second = (call_of(oned.feed(OperationAsked(n, "image.register", {"image": "a", "path": "/x"})), "stat") for n in range(2))
    call_of(oned.feed(CallFinished(second.call, True, "10")), "cp")
    (told,) = (one for one in oned.feed(CallFinished(first.call, True, "10")) if isinstance(one, Changed))
    assert (told.state, told.error) == ("GONE", "NAME is already taken by IMAGE 0.")
    assert list(oned.cloud.images) == [0] and oned.cloud.find("image", "a") == 0
    with pytest.raises(AssertionError, match=r"NAME is already taken by IMAGE 0\."):
        player.play("image.make", {"image": "a", "size_mb": 1})


def test_a_name_asked_for_through_the_api_is_refused_as_well() -> None:
    """An image with a SOURCE at once, one with a PATH after stat; the driver that asks reads why."""
    player = Player("7.4.0")
    player.play("image.make", {"image": "a", "size_mb": 1})
    monitor = call_of(player.oned.feed(OperationAsked(0, "datastore.monitor", {"datastore": "images"})), "monitor")
    answers = []
    for template in ("NAME=a SOURCE=/s SIZE=1", "NAME=a PATH=/x"):
        body = (
            "<methodCall><methodName>one.image.allocate</methodName><params><param><value><string>s</string></value></param>"
            f"<param><value><string>{template}</string></value></param><param><value><int>1</int></value></param></params></methodCall>"
        )
        outputs = player.oned.feed(QuestionAsked("xmlrpc", (), body.encode(), monitor.call, 1))
        calls = [one for one in outputs if isinstance(one, CallAsked)]
        if calls:
            outputs = player.oned.feed(CallFinished(calls[0].call, True, "10"))
        answers += [one.stdout.decode() for one in outputs if hasattr(one, "stdout")]
    assert len(answers) == 2 and all("NAME is already taken by IMAGE 0." in one for one in answers), answers


@pytest.mark.components
def test_the_wait_is_scaled(tmp_path: Path) -> None:
    """A stat that takes a second and a half: in time with oned's ninety seconds, too late with a hundredth of them. The check goes by the same figure."""
    from scaled import played

    assert played(tmp_path / "whole", 1.0) == ("pass", True)
    assert played(tmp_path / "scaled", 0.01) == ("fail", False)
