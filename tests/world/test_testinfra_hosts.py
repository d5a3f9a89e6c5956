"""testinfra's view of the hosts of a world: of namespaces, and of one that is kept."""

from __future__ import annotations

import subprocess
import sys

import pytest
from host_facts import hosts_are_as_drivers_find_them

from onesim.errors import HarnessError
from onesim.world.namespaces import NamespaceWorld
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


def test_without_the_package_its_extra_is_named() -> None:
    """One line says what to install."""
    code = (
        "import sys; sys.modules['testinfra'] = None\nfrom onesim.errors import HarnessError\n"
        "try:\n    import onesim.world.testinfra_hosts\nexcept HarnessError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "the Python package pytest-testinfra is not here; install it with `pip install 'onetck[testinfra]'`\n"
