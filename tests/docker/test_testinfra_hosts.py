"""testinfra's view of hosts that are containers or machines of a lab is the one that it has of namespaces."""

from __future__ import annotations

from typing import Any

import pytest
from host_facts import hosts_are_as_drivers_find_them

from onesim.errors import HarnessError
from onesim.events import Answer
from onesim.world.docker import DockerWorld
from onesim.world.ssh import SshWorld
from onesim.world.testinfra_hosts import host

pytestmark = pytest.mark.components


def test_a_host_that_is_a_container(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds as of namespaces; and its SSH server listens. Without docker's client nothing is taken for absent."""
    with DockerWorld.start(image, on_question=lambda asked: Answer()) as world:
        hosts_are_as_drivers_find_them(world)
        seen = host(world, "host02")
        assert seen.backend.get_pytest_id().startswith("docker://onetck-")
        assert seen.socket("tcp://0.0.0.0:22").is_listening and seen.process.filter(comm="sshd")
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(HarnessError, match="by the command docker, which is not here; install it"):
            host(world, "host02")


def test_a_host_that_is_a_machine(lab: Any) -> None:
    """The same holds; what is seen is the world's, beside the machine's own. The keys are gone with the world."""
    with SshWorld.start(lab.machines, on_question=lambda asked: Answer()) as world:
        hosts_are_as_drivers_find_them(world)
        seen = host(world, "host02")
        assert seen.backend.get_pytest_id() == "ssh://host02"
        assert seen.socket("tcp://0.0.0.0:7422").is_listening and seen.process.filter(comm="sshd")
        assert seen.file("/etc/hostname").content_string == "host02\n" and lab.sh("hv2", "cat /etc/hostname") == "hv2\n"
        keys = world.ssh_config("host02").parent
        assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()}["key"] == 0o600
    assert not keys.exists()
