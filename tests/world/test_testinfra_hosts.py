"""testinfra's view of the hosts of a world: of namespaces, and of one that is kept."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from host_facts import hosts_are_as_drivers_find_them

from onesim.errors import HarnessError
from onesim.events import Answer
from onesim.world import sshd
from onesim.world.lab import LOCAL, LabHost
from onesim.world.namespaces import NamespaceWorld
from onesim.world.served import AgentWorld
from onesim.world.testinfra_hosts import host


def test_a_host_of_namespaces(world: NamespaceWorld) -> None:
    """Files, users, mounts, processes, packages and sockets are those of the host's own view."""
    hosts_are_as_drivers_find_them(world)


def test_a_command_that_does_not_end_by_itself_is_no_answer(world: NamespaceWorld) -> None:
    """What was not found out is told as such, and not taken for a no."""
    with pytest.raises(HarnessError, match=r"host01: kill -9 \$\$: ended by signal"):
        host(world, "host01").run("kill -9 $$")


def test_a_world_outlives_the_name_of_a_host_that_it_does_not_have(world: NamespaceWorld) -> None:
    """The name is refused, and what comes next is done."""
    with pytest.raises(HarnessError, match="host 'host11' is not in this world"):
        world.run("host11", ["/bin/true"])
    assert world.run("host01", ["/bin/true"]).status == 0


def test_machines_are_entered_through_their_own_servers(tmp_path: Path) -> None:
    """OpenSSH's client reads what is written for it: a key whose path has blanks and percent signs, and this machine, which needs no way."""
    far = LabHost("hv1", "host01", "10.0.0.6", "/srv", user="root", key="/a key/100%")
    near = LabHost("fe", "frontend", LOCAL, "/srv", ssh_port=7423)
    config = tmp_path / "config"
    config.write_text("".join(sshd.entry(one.role, one.ssh_port, shlex.join(one.way_in()), str(tmp_path)) for one in (far, near)))

    def read(name: str) -> dict[str, str]:
        told = subprocess.run(["ssh", "-G", "-F", str(config), name], capture_output=True, text=True, check=True).stdout
        return dict(line.split(" ", 1) for line in told.splitlines())

    way = read("host01")["proxycommand"]
    assert way.startswith("ssh -o ") and "'IdentityFile=/a key/100%%'" in way and way.endswith(" -W 127.0.0.1:7422 -- 10.0.0.6")
    for name, port in (("host01", "7422"), ("frontend", "7423")):
        seen = read(name)
        assert (seen["hostname"], seen["port"], seen["user"]) == ("127.0.0.1", port, "oneadmin")
        assert (seen["identityfile"], seen["stricthostkeychecking"]) == (f"{tmp_path}/key", "true")
    assert "proxycommand" not in read("frontend")


def test_a_kept_world_has_one_user_at_a_time(tmp_path: Path) -> None:
    """Who comes later has it; who was there before is told."""
    with (
        NamespaceWorld.start(keep=tmp_path / "kept.sock", on_question=lambda asked: Answer()) as first,
        AgentWorld.attach(tmp_path / "kept.sock", lambda asked: Answer()) as second,
    ):
        assert host(second, "host01").check_output("hostname") == "host01"
        with pytest.raises(HarnessError, match="the world is gone"):
            host(first, "host01").check_output("hostname")


def test_without_the_package_its_extra_is_named() -> None:
    """One line says what to install."""
    code = (
        "import sys; sys.modules['testinfra'] = None\nfrom onesim.errors import HarnessError\n"
        "try:\n    import onesim.world.testinfra_hosts\nexcept HarnessError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "the Python package pytest-testinfra is not here; install it with `pip install 'onetck[testinfra]'`\n"
