"""Programs in a world: what they print is heard, and every driver script that they start waits for the harness."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from onesim.events import Answer
from onesim.world.conversing import End, Heard, Output, Started
from onesim.world.namespaces import NamespaceWorld

pytestmark = pytest.mark.components
REMOTES = "/var/lib/one/remotes"


@pytest.fixture
def world() -> Iterator[NamespaceWorld]:
    """A world with three scripts: one that shows what it was given, one that is not executable, and a helper beside them."""
    with NamespaceWorld.start(gates=(), on_question=lambda question: Answer()) as made:
        show = b'#!/bin/bash\n. "$(dirname "$0")/../lib.sh"\necho "$0 $* [$(cat)] $MARK $(pwd)"; say >&2; exit 3\n'
        made.put("frontend", f"{REMOTES}/tm/mine/clone", show, 0o755)
        made.put("frontend", f"{REMOTES}/tm/mine/ln", show, 0o644)
        made.put("frontend", f"{REMOTES}/tm/lib.sh", b"say() { echo sourced; }\n", 0o755)
        yield made


def start(world: NamespaceWorld, text: str) -> None:
    """Start a program that is this script."""
    world.put("frontend", "/tmp/program", b"#!/bin/bash\n" + text.encode(), 0o755)
    assert world.start_program("frontend", "tm", ["/tmp/program"], {"MARK": "mark"}) == ""


def heard(world: NamespaceWorld, kind: type[Heard]) -> Heard:
    """Return the next thing of a kind."""
    while (one := world.hear(5)) is not None:
        if isinstance(one, kind):
            return one
    raise AssertionError(f"no {kind.__name__} within the time")


def printed(world: NamespaceWorld, lines: int) -> bytes:
    """Return so many lines that the program prints, in however many pieces they come."""
    data = b""
    while data.count(b"\n") < lines:
        output = heard(world, Output)
        assert isinstance(output, Output)
        data += output.data
    return data


def test_a_script_is_run_as_a_call_with_what_the_program_gave_it(world: NamespaceWorld) -> None:
    """Arguments, stdin, environment and directory reach it; its output and status reach the program; the files beside it are the real ones."""
    start(world, f"cd /tmp; echo -n 'in put' | {REMOTES}/tm/mine/clone 'a b' '' '*'; echo \"status $?\"; read -r line; echo \"got $line\"")
    script = heard(world, Started)
    assert script == Started(0, (f"{REMOTES}/tm/mine/clone", "a b", "", "*"), b"in put", True)
    assert isinstance(script, Started)
    run = world.run("frontend", script.argv, shim=script.shim, call_id="c")
    shown = f"{REMOTES}/tm/mine/clone a b  * [in put] mark /tmp\n".encode()
    assert (run.ended_by, run.status, run.stdout, run.stderr, run.leftovers) == ("exit", 3, shown, b"sourced\n", ())
    assert printed(world, 2) == shown + b"status 3\n"
    world.tell("tm", b"a line\n")
    assert printed(world, 1) == b"got a line\n"
    assert heard(world, End) == End("tm", 0, "sourced\n")


def test_a_script_can_be_kept_from_running(world: NamespaceWorld) -> None:
    """The shim then ends with the status that the harness names."""
    start(world, f"{REMOTES}/tm/mine/clone x </dev/null; echo $?")
    script = heard(world, Started)
    assert isinstance(script, Started) and script.closed and script.stdin == b""
    world.drop(script.shim, 9)
    assert printed(world, 1) == b"9\n"


def test_what_is_not_executable_stays_so(world: NamespaceWorld) -> None:
    """The program finds the tree as it is: nothing is reported for a script that cannot be started."""
    start(world, f"{REMOTES}/tm/mine/ln; echo $?; [[ -e {REMOTES}/tm/mine/cp ]] || echo none")
    assert printed(world, 2) == b"126\nnone\n"


def test_a_stdin_that_stays_open_is_told(world: NamespaceWorld) -> None:
    """The script is reported after a while; it gets what had come, and an end."""
    start(world, f"sleep 30 | {REMOTES}/tm/mine/clone")
    script = heard(world, Started)
    assert isinstance(script, Started) and not script.closed
    assert world.run("frontend", script.argv, shim=script.shim, call_id="c").status == 3


def test_a_script_whose_starter_is_killed_is_terminated(world: NamespaceWorld) -> None:
    """As the process group would be that the program signals."""
    world.put("frontend", f"{REMOTES}/tm/mine/clone", b"#!/bin/bash\nsleep 20\n", 0o755)
    start(world, f"{REMOTES}/tm/mine/clone </dev/null & sleep 0.5; kill -9 $!; wait; echo killed; read -r")
    script = heard(world, Started)
    assert isinstance(script, Started)
    run = world.run("frontend", script.argv, shim=script.shim, call_id="c")
    assert (run.ended_by, run.signal) == ("signal", 15)


def gone(world: NamespaceWorld, name: bytes) -> bool:
    """Tell whether no process of that name is left; one that was killed may take a moment to be buried."""
    until = time.monotonic() + 5
    while name in world.run("frontend", ["/usr/bin/ps", "-e"], call_id="ps").stdout:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_program_that_cannot_start_and_one_that_dies(world: NamespaceWorld) -> None:
    """The reason; the signal; the end of stderr. Dismissed, nothing of it is left."""
    assert world.start_program("frontend", "tm", ["/tmp/nothing"], {}) == "No such file or directory"
    world.dismiss("tm")
    start(world, "echo broken >&2; sleep 100 & kill -9 $$")
    while not isinstance(end := heard(world, End), End) or end.status != -9:
        pass
    assert end == End("tm", -9, "broken\n")
    world.dismiss("tm")
    assert gone(world, b"sleep")
    assert world.hear(0.1) is None


def test_a_program_that_prints_without_end_is_held_up(world: NamespaceWorld) -> None:
    """It blocks on its pipe; the world still serves, and dismissing ends it."""
    start(world, "yes")
    assert isinstance(world.hear(5), Output)
    assert world.run("frontend", ["/bin/true"], call_id="c").status == 0
    world.dismiss("tm")
    assert gone(world, b"yes")
