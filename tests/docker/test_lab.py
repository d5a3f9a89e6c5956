"""Worlds on the machines of a lab, which containers play: what runs there, and how a machine is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from reaching import files_travel, leftovers_end, sh

from onesim.events import Answer
from onesim.world.interface import Fault
from onesim.world.ssh import SshWorld

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def world(lab: Any) -> Iterator[SshWorld]:
    """A world of three machines with a gate at cp."""
    with SshWorld.start(lab.machines, gates=("cp",), on_question=lambda asked: Answer(b"answered\n")) as made:
        yield made


def test_a_call_reaches_other_machines_and_is_one_call_there(world: SshWorld) -> None:
    """What it runs there passes gates and asks oned as at home; its processes are oneadmin's, sudo is root."""
    seen = sh(world, "ssh host01 'hostname; id -un; onevm show 3; sudo id -u; echo $SSH_CONNECTION'")
    name, user, answer, root, connection = seen.stdout.decode().splitlines()
    assert (name, user, answer, root) == ("host01", "oneadmin", "answered", "0"), seen
    assert connection.split()[3] == "7422"
    assert [(one.name, one.host) for one in seen.commands] == [("ssh", "frontend"), ("onevm", "host01"), ("sudo", "host01")]


def test_files_travel_and_pictures_tell_of_them(world: SshWorld) -> None:
    """scp and rsync work between machines, shared datastores are one, and a picture shows where something changed."""
    files_travel(world)


def test_what_a_call_leaves_on_a_machine_is_found_and_ended(world: SshWorld) -> None:
    """A process that outlives its call on another machine is told and killed."""
    leftovers_end(world)


def test_commands_are_counted_over_all_machines(world: SshWorld) -> None:
    """A fault at the second cp of a call, wherever that is: here on another machine than the first."""
    seen = sh(
        world,
        "cd /tmp; echo x >a; cp a b; ssh host01 'cd /tmp; echo x >a; cp a b; echo $?; cp a b; echo $?'",
        faults=(Fault("cp", 2, "fail", "9 no"),),
    )
    assert seen.stdout == b"9\n0\n", seen
    assert [(one.host, one.fault) for one in seen.commands if one.name == "cp"] == [("frontend", ""), ("host01", "fail"), ("host01", "")]


def test_a_machine_lost_in_mid_action_is_there_again_after_the_call(world: SshWorld) -> None:
    """Its SSH server ends with what came through it: the client ends with 255, what ran is dead."""
    seen = sh(world, "ssh host01 'echo begun >/tmp/begun; cp /tmp/begun /tmp/ended; sleep 30'", faults=(Fault("cp", 1, "lose", host="host01"),))
    assert (seen.ended_by, seen.status) == ("exit", 255) and seen.duration_ns < 20e9, seen
    assert sh(world, "ssh host01 'cat /tmp/begun; ls /tmp/ended 2>&1 | wc -l; pgrep -x sleep || echo none'").stdout == b"begun\n1\nnone\n"
    world.host_down("host02")
    assert sh(world, "ssh host02 true").status == 255
    world.host_up("host02")
    assert sh(world, "ssh host02 true").status == 0


def test_nothing_of_a_world_is_seen_on_the_machine_but_its_directories(world: SshWorld, lab: Any) -> None:
    """Its files lie in memory of its own: the machine has no gate, no file of the world, and its own /etc/hosts."""
    sh(world, "echo mine >/tmp/mine; ssh host01 'echo mine >/tmp/mine'")
    outside = lab.sh("hv1", "ls /tmp/mine /usr/bin/onevm 2>&1; echo; grep -c frontend /etc/hosts; ls /srv/own /srv/shared")
    assert outside.count("cannot access") == 2 and "\n0\n" in outside and outside.count("onetck-") == 2, outside
