"""What holds of a host of any world, told by testinfra: its files, users, mounts, processes, packages and sockets."""

from __future__ import annotations

import pytest

from onesim.errors import HarnessError
from onesim.world.interface import Service
from onesim.world.served import AgentWorld
from onesim.world.testinfra_hosts import host

_PORT = 8099
_READY = f"exec 3<>/dev/tcp/127.0.0.1/{_PORT}"


def hosts_are_as_drivers_find_them(world: AgentWorld) -> None:
    """Each assertion holds where it should, and does not where it should not."""
    world.put("host01", "/var/tmp/one/made", b"text \xc3\xa9\n", 0o640)
    world.must_run("host01", ["/bin/bash", "-c", "ln -s made /var/tmp/one/link; mkdir -m 700 /var/lib/one/datastores/0"])
    seen, other = host(world, "host01"), host(world, "host02")

    made = seen.file("/var/tmp/one/made")
    assert (made.is_file, made.user, made.group, made.mode, made.content_string) == (True, "oneadmin", "oneadmin", 0o640, "text é\n")
    assert seen.file("/var/tmp/one/link").is_symlink and seen.file("/var/tmp/one/link").linked_to == "/var/tmp/one/made"
    assert seen.file("/var/lib/one/datastores/0").is_directory and seen.file("/var/lib/one/datastores/0").mode == 0o700
    assert not seen.file("/var/tmp/one/none").exists and not other.file("/var/tmp/one/made").exists
    assert other.file("/var/lib/one/datastores/0").exists, "the hosts share their datastores"

    oneadmin = seen.user("oneadmin")
    assert (oneadmin.uid, oneadmin.gid, oneadmin.home) == (9869, 9869, "/var/lib/one") and "disk" in oneadmin.groups
    assert not seen.user("nobody-known").exists
    assert (seen.user().name, host(world, "host01", root=True).user().name) == ("oneadmin", "root")
    assert (seen.check_output("hostname"), other.check_output("hostname")) == ("host01", "host02")

    assert seen.mount_point("/proc").filesystem == "proc" and seen.mount_point("/var/lib/one/datastores").exists
    assert not seen.mount_point("/var/tmp/one").exists

    assert seen.package("qemu-utils").is_installed and not seen.package("no-such-package").is_installed

    assert not seen.socket(f"tcp://127.0.0.1:{_PORT}").is_listening
    command = f"exec /usr/bin/python3 -m http.server {_PORT} --bind 127.0.0.1"
    world.serve(Service("listener", command, _READY, 10.0, "host01"))
    assert seen.socket(f"tcp://127.0.0.1:{_PORT}").is_listening
    assert any(one.args.endswith(f"-m http.server {_PORT} --bind 127.0.0.1") for one in seen.process.filter(user="oneadmin", comm="python3"))
    assert not seen.process.filter(comm="no-such-process")

    status = seen.run("echo out; echo err >&2; exit 3")
    assert (status.rc, status.stdout, status.stderr) == (3, "out\n", "err\n")
    with pytest.raises(HarnessError, match="host 'elsewhere' is not in this world; there are frontend, host01, host02"):
        host(world, "elsewhere").user().name  # noqa: B018 - asking is the deed
