"""What holds between hosts that have an SSH server of their own, whatever they are: files travel, pictures show it, and nothing outlives its call."""

from __future__ import annotations

from onesim.world.interface import Fault, Limits, Run, World


def sh(world: World, command: str, host: str = "frontend", call: str = "call", faults: tuple[Fault, ...] = ()) -> Run:
    """Run a command of a call."""
    return world.run(host, ["/bin/bash", "-c", command], call_id=call, faults=faults, limits=Limits(time_s=40))


def files_travel(world: World) -> None:
    """scp and rsync work between hosts, shared datastores are one, and a picture shows where something changed."""
    world.picture()
    seen = sh(world, "cd /tmp; echo text >one; scp -q one host01:/tmp/two; rsync one host02:/var/tmp/three; cp one /var/lib/one/datastores/four")
    assert seen.status == 0, seen
    changed = {(one.host, one.path) for one in world.changes()}
    assert changed == {("frontend", "/tmp/one"), ("host01", "/tmp/two"), ("host02", "/var/tmp/three"), ("frontend", "/var/lib/one/datastores/four")}
    assert sh(world, "cat /var/lib/one/datastores/four", "host02").stdout == b"text\n"


def leftovers_end(world: World) -> None:
    """A process that outlives its call on another host is told and killed; the SSH server goes on."""
    assert sh(world, "ssh host01 'setsid sleep 77 >/dev/null 2>&1 &'").leftovers == ("sleep 77",)
    assert sh(world, "ssh host01 'pgrep -x sleep || echo none'").stdout == b"none\n"
