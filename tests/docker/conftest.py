"""A Docker daemon and an image of hosts for the tests: those of this machine, or ones that are started and built here and removed again."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from onesim.errors import HarnessError
from onesim.world import fleet, images

_START_S = 60


def _answers() -> bool:
    try:
        fleet.connect().close()
    except HarnessError:
        return False
    return True


@contextmanager
def _alone(folder: Path, name: str = "docker.lock") -> Iterator[None]:
    """Let no other worker of this test run in meanwhile."""
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _started(base: Path) -> None:
    """Start a daemon that has all that it keeps below `base`, and wait until it answers at `DOCKER_HOST`."""
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no Docker daemon answers, and none can be started: it takes root and docker.io")
    base.mkdir()
    command = [program, "-H", os.environ["DOCKER_HOST"], "--data-root", f"{base}/data", "--exec-root", f"{base}/exec", "--pidfile", f"{base}/pid"]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    until = time.monotonic() + _START_S
    while not _answers():
        assert process.poll() is None and time.monotonic() < until, (base / "log").read_text()[-2000:]
        time.sleep(0.1)


def _stopped(base: Path) -> None:
    """Stop the daemon and remove what it has kept. It may be another worker's child."""
    pid = int((base / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + _START_S
    while (base / "pid").exists() and time.monotonic() < until:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def daemon(shared: Path) -> Iterator[None]:
    """A daemon that answers: this machine's, or one that the first worker starts and the last one stops."""
    base, users = shared / "dockerd", shared / "docker.users"
    with _alone(shared), pytest.MonkeyPatch.context() as patch:
        own = users.exists() or not _answers()
        if own:
            patch.setenv("DOCKER_HOST", f"unix://{base}/docker.sock")
            if not users.exists():
                _started(base)
            users.write_text(f"{int(users.read_text() if users.exists() else 0) + 1}")
    if not own:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{base}/docker.sock")
        yield
    with _alone(shared):
        left = int(users.read_text()) - 1
        users.write_text(f"{left}")
        if not left:
            users.unlink()
            _stopped(base)


@pytest.fixture(scope="session")
def image(daemon: None, shared: Path) -> str:
    """An image of hosts."""
    client = fleet.connect()
    with _alone(shared):
        try:
            fleet.require_image(client, fleet.IMAGE)
        except HarnessError:
            images.build(fleet.IMAGE, "", print)
        finally:
            client.close()
    return fleet.IMAGE


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, shared: Path) -> Iterator[None]:
    """Tests that look at all containers of the daemon take turns with those that make some."""
    if "image" not in request.fixturenames:
        yield
        return
    with _alone(shared, "docker.turn"):
        yield
