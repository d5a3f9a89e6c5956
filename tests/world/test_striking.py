"""What faults do to the world itself: storage that is full or read-only, hosts that are lost, locks that others hold."""

from __future__ import annotations

import pytest
from failing_parts import host_pauses

from onesim.events import Answer
from onesim.world.interface import Fault
from onesim.world.namespaces import NamespaceWorld

_DATASTORES = "/var/lib/one/datastores"


def start(*gates: str, shared: tuple[str, ...] = (_DATASTORES,)) -> NamespaceWorld:
    """Start a world with gates."""
    return NamespaceWorld.start(shared=shared, gates=gates, on_question=lambda question: Answer(b""))


def sh(world: NamespaceWorld, script: str) -> str:
    """Run a script on the front-end."""
    return world.run("frontend", ["/bin/bash", "-c", script]).stdout.decode()


def test_a_hang_may_end_before_the_time_is_over() -> None:
    """`hang` with milliseconds: the call's time is up so long after the command was reached."""
    with start("cp") as world:
        run = world.run("frontend", ["/bin/bash", "-c", "cp /etc/passwd /tmp/x"], faults=[Fault("cp", 1, "hang", "200")])
        assert run.ended_by == "timeout"
        assert run.duration_ns < 5e9


_Y = f"{_DATASTORES}/y"


@pytest.mark.parametrize(
    ("act", "arg", "said"),
    [
        ("full", "0", "No space left on device"),
        ("readonly", "", "Read-only file system"),
    ],
)
@pytest.mark.parametrize("shared", [(_DATASTORES,), (), (f"{_DATASTORES}/1",)])
@pytest.mark.parametrize("path", [_Y, f"{_DATASTORES}/1/y"])
def test_storage_fails_while_a_call_lasts(path: str, shared: tuple[str, ...], act: str, arg: str, said: str) -> None:
    """Storage is full or read-only from a command on, and takes bytes again when the call has ended."""
    with start("cp", shared=shared) as world:
        world.mkdir("frontend", f"{_DATASTORES}/1")
        script = f"head -c 90000 /dev/zero >/tmp/z; cp /tmp/z {path} 2>&1"
        run = world.run("frontend", ["/bin/bash", "-c", script], faults=[Fault("cp", 1, act, arg)])
        assert said in run.stdout.decode()
        assert sh(world, f"cp /tmp/z {path}; stat -c %s {path}").strip() == "90000"


def test_room_is_left_where_storage_gets_full_half_way() -> None:
    """`full` with KiB: so much is written before storage is full."""
    script = f"exec 2>&1; head -c 900000 /dev/zero >/tmp/z; cp /tmp/z {_Y}; stat -c %s {_Y}"
    with start("cp") as world:
        run = world.run("frontend", ["/bin/bash", "-c", script], faults=[Fault("cp", 1, "full", "400")])
    *said, size = run.stdout.decode().split()
    assert "space" in said
    assert 300 << 10 < int(size) <= 400 << 10


def test_a_host_is_lost_in_the_middle() -> None:
    """`lose`: what runs on the host ends at once, ssh tells of it, no further connection is made, and afterwards the host is there again."""
    with start("cp") as world:
        script = "exec 2>&1; ssh host01 'cp /etc/passwd /tmp/x; echo there >/tmp/y'; echo $?; ssh host01 true; echo $?; ssh host02 echo fine"
        run = world.run("frontend", ["/bin/bash", "-c", script], faults=[Fault("cp", 1, "lose", "", "host01")])
        assert run.stdout.decode().splitlines() == ["255", "ssh: connect to host host01 port 22: No route to host", "255", "fine"]
        assert sh(world, "ssh host01 'ls /tmp/y; echo back' 2>/dev/null").split() == ["back"]


def test_a_host_is_lost_before_it_is_reached() -> None:
    """`lose` at ssh: the host that it goes to is down."""
    with start("cp") as world:
        run = world.run("frontend", ["/bin/bash", "-c", "ssh host01 true 2>&1"], faults=[Fault("ssh", 1, "lose")])
        assert b"No route to host" in run.stdout


def test_a_host_stands_still_for_a_while() -> None:
    """`pause`: all that runs on the host waits, and so do new connections; then it goes on."""
    with start("cp") as world:
        host_pauses(world)


def test_locks_that_another_holds() -> None:
    """`lock`: flock waits for another that holds the file, for as long as it does; an image tool finds the disk in use."""
    with start("flock", "qemu-img") as world:
        wait = "cd /tmp; s=$(date +%s%N); exec 9>lock; flock -w 5 9 && (($(date +%s%N) - s >= 300000000)) && echo waited"
        assert world.run("frontend", ["/bin/bash", "-c", wait], faults=[Fault("flock", 1, "lock", "300")]).stdout == b"waited\n"
        never = "cd /tmp; flock -w 0.2 lock true || echo busy"
        assert world.run("frontend", ["/bin/bash", "-c", never], faults=[Fault("flock", 1, "lock", "0")]).stdout == b"busy\n"
        grow = "cd /tmp; truncate -s 1M disk; qemu-img resize -q -f raw disk 2M 2>&1"
        run = world.run("frontend", ["/bin/bash", "-c", grow], faults=[Fault("qemu-img", 1, "lock")])
        assert (run.status, b"lock" in run.stdout) == (1, True)
        assert sh(world, "cd /tmp; qemu-img resize -q -f raw disk 2M 2>&1; stat -c %s disk").strip() == str(2 << 20)


def test_what_a_host_does_may_go_unheard() -> None:
    """`unheard`: the commands run to their end with all that they read and print, and ssh fails as where the connection is lost."""
    with start("ssh") as world:
        script = "exec 2>&1; echo word | ssh host01 'cat >/tmp/x; echo done'; echo $?; ssh host01 cat /tmp/x"
        run = world.run("frontend", ["/bin/bash", "-c", script], faults=[Fault("ssh", 1, "unheard", "255 Broken pipe")])
        assert run.stdout.decode().splitlines() == ["done", "Broken pipe", "255", "word"]
