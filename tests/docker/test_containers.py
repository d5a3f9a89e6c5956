"""Worlds whose hosts are containers: what runs on them, how they are lost, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from failing_parts import BEHIND, PORT, host_pauses, network_fails
from reaching import files_travel, leftovers_end, sh

from onesim.data import data_dir
from onesim.errors import HarnessError
from onesim.events import Answer
from onesim.world import fleet, images, runs
from onesim.world.docker import DockerWorld
from onesim.world.interface import Fault
from onesim.world.testinfra_hosts import host
from onetck.kept import entered

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def world(image: str) -> Iterator[DockerWorld]:
    """A world of containers with a gate at cp."""
    with DockerWorld.start(image, gates=("cp", "qemu-img"), on_question=lambda asked: Answer(b"answered\n")) as made:
        yield made


def test_a_call_reaches_other_hosts_by_their_own_ssh_servers(world: DockerWorld) -> None:
    """The client and the server are OpenSSH's; what runs behind it is of the call: its gates are told, oned answers there."""
    seen = sh(world, "ssh host01 'hostname; id -un; onevm show 3; sudo id -u; echo $SSH_CONNECTION'")
    name, user, answer, root, connection = seen.stdout.decode().splitlines()
    assert (name, user, answer, root) == ("host01", "oneadmin", "answered", "0"), seen
    assert connection.split()[3] == "22" and not connection.startswith("127.")
    assert [(one.name, one.host) for one in seen.commands] == [("ssh", "frontend"), ("onevm", "host01"), ("sudo", "host01")]


def test_files_travel_and_pictures_tell_of_them(world: DockerWorld) -> None:
    """scp and rsync work between hosts, shared datastores are one, and a picture shows where something changed."""
    files_travel(world)


def test_what_a_command_leaves_on_a_host_is_found_and_ended(world: DockerWorld) -> None:
    """A process that outlives its call on another host is told and killed; the SSH server goes on."""
    leftovers_end(world)


def test_a_host_lost_in_mid_action_is_there_again_after_the_call(world: DockerWorld) -> None:
    """It leaves the network while a command runs there: the client ends with 255, what ran is dead."""
    seen = sh(world, "ssh host01 'echo begun >/tmp/begun; cp /tmp/begun /tmp/ended; sleep 30'", faults=(Fault("cp", 1, "lose"),))
    assert (seen.ended_by, seen.status) == ("exit", 255), seen
    assert seen.duration_ns < 20e9
    assert sh(world, "ssh host01 'cat /tmp/begun; ls /tmp/ended 2>&1 | wc -l; pgrep -x sleep || echo none'").stdout == b"begun\n1\nnone\n"


def test_a_host_stands_still_for_a_while(world: DockerWorld) -> None:
    """All that runs in the container waits, its SSH server too; then it goes on."""
    host_pauses(world)


def test_a_host_that_is_down_does_not_answer(world: DockerWorld) -> None:
    """A host that oned is to find dead is off the network until it is up again."""
    world.host_down("host02")
    seen = sh(world, "ssh host02 true")
    assert seen.status == 255 and b"host02" in seen.stderr, seen
    world.host_up("host02")
    assert sh(world, "ssh host02 true").status == 0


def test_storage_that_is_full_takes_no_more(world: DockerWorld) -> None:
    """It is full for as long as the call runs, on every host."""
    full = Fault("cp", 1, "full", "64")
    seen = sh(
        world, "cp /etc/passwd /tmp/x; dd if=/dev/zero of=/var/lib/one/datastores/big bs=64k count=40; rm /var/lib/one/datastores/big", faults=(full,)
    )
    assert b"No space left on device" in seen.stderr, seen
    assert sh(world, "dd if=/dev/zero of=/var/lib/one/datastores/big bs=64k count=40 && rm /var/lib/one/datastores/big").status == 0


def test_storage_that_is_read_only_and_disks_that_are_locked(world: DockerWorld) -> None:
    """For as long as the call runs: datastores take no bytes, a disk is in use by another."""
    run = sh(world, "cp /etc/passwd /var/lib/one/datastores/x 2>&1", faults=(Fault("cp", 1, "readonly"),))
    assert b"Read-only file system" in run.stdout, run
    grow = "cd /var/lib/one/datastores; truncate -s 1M disk; qemu-img resize -q -f raw disk 2M 2>&1"
    run = sh(world, grow, faults=(Fault("qemu-img", 1, "lock"),))
    assert (run.status, b"lock" in run.stdout) == (1, True), run
    assert sh(world, f"{grow}; stat -c %s disk; cp /etc/passwd x; rm x disk").stdout == b"2097152\n"


def test_what_a_host_does_may_go_unheard(world: DockerWorld) -> None:
    """The commands run to their end, and ssh fails as where the connection is lost."""
    unheard = Fault("ssh", 1, "unheard", "255 Broken pipe")
    run = sh(world, "exec 2>&1; echo word | ssh host01 'cat >/tmp/x'; echo $?; ssh host01 cat /tmp/x", faults=(unheard,))
    assert run.stdout.decode().splitlines() == ["Broken pipe", "255", "word"], run


def test_the_network_fails_on_the_way_to_a_service(image: str) -> None:
    """Connections by a link are refused, reset or delayed, by their number in the call; all others reach the service, from every host."""
    with DockerWorld.start(image, links=((PORT, BEHIND),), on_question=lambda asked: Answer()) as made:
        network_fails(made)


def test_root_on_a_host_has_no_power_over_the_machine(world: DockerWorld) -> None:
    """What sudo runs may neither mount nor make devices."""
    assert b"permitted" in sh(world, "sudo mknod /tmp/device b 8 0").stderr
    assert sh(world, "sudo mount -t tmpfs none /mnt").status != 0


def test_there_is_no_way_out_of_the_network_not_even_to_the_machine(world: DockerWorld) -> None:
    """A server on all addresses of the machine is not reached: neither at the network's first address nor at the machine's own ones."""
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        first = ".".join([*(places := world._fleet.addresses["frontend"].split("."))[:3], str(int(places[3]) - 1)])
        for address in {first, *(one for one in own if "." in one)}:
            seen = sh(world, f"timeout 2 bash -c 'echo >/dev/tcp/{address}/{port}' && echo reached")
            assert b"reached" not in seen.stdout, address


_KILLED = """
import sys
from onesim.events import Answer
from onesim.world.docker import DockerWorld
world = DockerWorld.start(sys.argv[1], on_question=lambda asked: Answer())
print(world._fleet.world, flush=True)
world.run("frontend", ["/bin/sleep", "300"])
"""


def test_the_janitor_removes_what_a_killed_run_left_and_nothing_else(
    world: DockerWorld, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harness is killed at once: its hosts end by themselves, and the janitor removes the rest. A world that lives is left alone, also by somebody who has
    another directory for locks.
    """
    with subprocess.Popen([sys.executable, "-c", _KILLED, image], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    client = fleet.connect()
    label = f"{fleet.WORLD}={name}"
    try:
        assert fleet.made_by(client, label)
        lock = runs.lock_path(name.rpartition("-")[0])
        assert lock.exists()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        removed = fleet.sweep(client)
        assert len(removed) == 4 + 1 + 5 and all(name in one for one in removed), removed
        assert not fleet.made_by(client, label) and not lock.exists()
    finally:
        client.close()
    assert sh(world, "ssh host01 true").status == 0


def test_nothing_stays_when_a_world_is_closed(image: str) -> None:
    """Containers, network and volumes are gone."""
    with DockerWorld.start(image, shared=(), on_question=lambda asked: Answer()) as made:
        label = f"{fleet.WORLD}={made._fleet.world}"
        sh(made, "echo one >/var/lib/one/datastores/x")
        assert sh(made, "ls /var/lib/one/datastores", "host01").stdout == b""
    client = fleet.connect()
    try:
        assert not fleet.made_by(client, label)
    finally:
        client.close()


def test_an_image_is_made_from_ones_own(image: str) -> None:
    """`hosts build --from` lays what worlds need over an image; one that was not made for hosts is refused with the remedy."""
    client = fleet.connect()
    try:
        images.build("onetck-test:derived", image, lambda step: None)
        fleet.require_image(client, "onetck-test:derived")
        with pytest.raises(HarnessError, match="make it with `onetck hosts build`"):
            fleet.require_image(client, "onetck-test:none")
    finally:
        client.images.remove("onetck-test:derived", force=True)
        client.close()


def test_a_world_is_kept_entered_and_removed(image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`onetck call --backend docker` keeps its world, `onetck shell` enters a host of it, testinfra sees it, `onetck down` removes it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    environment = dict(os.environ)

    def onetck(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "onetck.cli", *words], env=environment, input=given, capture_output=True, text=True, check=False)

    reference = str(data_dir("reference_driver") / "onetck.toml")
    made = onetck("call", "ds/mkfs", "--config", reference, "--backend", "docker")
    assert made.returncode == 0, made.stderr
    assert "host01" in onetck("shell", "host01", given="hostname\n").stdout
    with entered() as kept:
        assert [host(kept, "host01", root=root).file("/var/lib/one/datastores").user for root in (False, True)] == ["oneadmin"] * 2
    assert onetck("hosts", "clean").stdout == "nothing was left\n"
    assert onetck("down").returncode == 0
    assert onetck("hosts", "clean").stdout == "nothing was left\n"
