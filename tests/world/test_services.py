"""Services live as long as their world and belong to no call; probes reach disks that are no files."""

from __future__ import annotations

import time

import pytest

from onesim.content import Write, block_digest
from onesim.errors import HarnessError
from onesim.world.interface import Limits, Means, Service
from onesim.world.namespaces import NamespaceWorld

#: Leaves a daemon that has neither the session nor the parent of what started it.
DAEMON = "setsid bash -c 'echo up >up; exec -a stayed sleep 600' </dev/null >/dev/null 2>&1 &"


def test_a_service_is_no_leftover_of_a_call_and_what_a_call_leaves_still_is(world: NamespaceWorld) -> None:
    """The daemon is there before, during and after a call; the call's own daemon is found and ended."""
    world.serve(Service("store", DAEMON, "test -e up"))
    quiet = world.run("frontend", ["/bin/bash", "-c", "pgrep -f ^stayed"], call_id="a")
    assert (quiet.status, quiet.leftovers) == (0, ())
    careless = world.run("host01", ["/bin/bash", "-c", "setsid sleep 601 </dev/null >/dev/null 2>&1 & pgrep -f ^stayed"], call_id="b")
    assert careless.status == 0
    assert careless.leftovers == ("sleep 601",)
    assert world.run("frontend", ["/bin/bash", "-c", "pgrep -f '^sleep 601'"]).status == 1
    assert world.run("frontend", ["/bin/bash", "-c", "pgrep -f ^stayed"]).status == 0


def test_what_services_use_does_not_count_against_a_call(world: NamespaceWorld) -> None:
    """A call may start as many processes as its bound says, however many a service has; one more is too many."""
    world.serve(Service("many", "for n in $(seq 60); do sleep 602 & done; touch up; wait", "test -e up"))
    tight = Limits(processes=40)
    fine = world.run("frontend", ["/bin/bash", "-c", "for n in $(seq 20); do sleep 0.3 & done; wait"], limits=tight)
    assert (fine.ended_by, fine.status) == ("exit", 0)
    greedy = world.run("frontend", ["/bin/bash", "-c", "for n in $(seq 39); do sleep 5 & done; wait"], limits=tight)
    assert greedy.ended_by == "processes"
    assert int(world.run("frontend", ["/bin/bash", "-c", "pgrep -fc '^sleep 602'"]).stdout) == 60


def test_what_a_service_writes_in_its_directory_is_nobodys_doing(world: NamespaceWorld) -> None:
    """The pictures of the trees leave it out."""
    world.picture()
    world.serve(Service("store", "echo data >here; touch up; sleep 600", "test -e up"))
    assert world.read("frontend", "/run/one/store/here") == b"data\n"
    assert world.changes() == []


def test_a_service_that_does_not_come_up_is_told_with_its_own_words(world: NamespaceWorld) -> None:
    """By its exit status, or when its time is over."""
    with pytest.raises(HarnessError, match=r"service store ended with 3: no disk for me"):
        world.serve(Service("store", "echo no disk for me >&2; exit 3", "false"))
    with pytest.raises(HarnessError, match=r"service slow was not ready after 0\.3 s: not yet"):
        world.serve(Service("slow", "sleep 600", "echo not yet >&2; false", 0.3))


def test_services_end_with_their_world(world: NamespaceWorld) -> None:
    """Nothing of them is left on the machine."""
    world.serve(Service("store", DAEMON, "test -e up"))
    pid = world.pid
    world.close()
    for _ in range(100):
        try:
            open(f"/proc/{pid}/stat").close()  # noqa: PTH123
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the world's first process is still there, and with it the service")


def test_a_disk_at_an_address_is_read_and_written_where_it_is(world: NamespaceWorld) -> None:
    """A server of block devices exports one raw disk: reads, writes and peeks go through its protocol, and what it does not export is not there."""
    size = 1 << 20
    command = f"truncate -s {size} disk.raw && exec /run/onetck/usr/bin/qemu-nbd -f raw -x vol -t -e 8 -k $PWD/socket disk.raw"
    world.serve(Service("nbd", command, "test -S socket"))
    address = "nbd+unix:///vol?socket=/run/one/nbd/socket"
    assert world.exists("frontend", address)
    assert not world.exists("frontend", "nbd+unix:///other?socket=/run/one/nbd/socket")
    with pytest.raises(HarnessError):
        world.exists("frontend", "nbd+unix:///vol?socket=/run/one/nbd/nothing")
    assert world.write_disk("frontend", address, "raw", [Write(65536, 512, 7)]) == ""
    assert world.peek("frontend", address, "raw", 65530, 8) == b"\0" * 6 + b"\7\7"
    seen = world.read_disk("frontend", address, "raw")
    assert (seen.virtual_size, seen.problem) == (size, "")
    assert [n for n, block in enumerate(seen.blocks) if block != "0"] == [1]
    assert seen.blocks[1] == block_digest(b"\7" * 512 + b"\0" * (65536 - 512))
    assert world.read_disk("frontend", "nbd+unix:///other?socket=/run/one/nbd/socket", "raw").problem == "missing"


def test_a_vendors_commands_read_write_and_look(world: NamespaceWorld) -> None:
    """They get attributes, offset and length in their environment; a look that ends with neither 0 nor 1 is the harness's trouble."""
    means = Means(
        'cat "/tmp/store/$SOURCE"',
        'dd of="/tmp/store/$SOURCE" bs=1 seek="$OFFSET" conv=notrunc status=none',
        'test -d /tmp/store || exit 9; test -e "/tmp/store/$SOURCE"',
        {"SOURCE": "a $(b) 'c'"},
    )
    with pytest.raises(HarnessError, match="status 9"):
        world.exists("host01", "any", means)
    world.run("host01", ["/bin/bash", "-c", "mkdir /tmp/store"])
    assert not world.exists("host01", "any", means)
    assert world.read_disk("host01", "any", "raw", means).problem == "missing"
    world.run("host01", ["/bin/bash", "-c", "truncate -s 131072 \"/tmp/store/a \\$(b) 'c'\""])
    assert world.exists("host01", "any", means)
    assert world.write_disk("host01", "any", "raw", [Write(65536, 4096, 9)], means) == ""
    seen = world.read_disk("host01", "any", "raw", means)
    assert (seen.virtual_size, seen.blocks) == (131072, ("0", block_digest(b"\11" * 4096 + b"\0" * (65536 - 4096))))
