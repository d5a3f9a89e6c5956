"""A Docker daemon and an image of hosts for the tests: those of this machine, or ones that are started and built here and removed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def daemon() -> Iterator[None]:
    """A daemon that answers. One that is started here has all that it keeps in a directory of its own."""
    if _answers():
        yield
        return
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or program is None:
        if "CI" in os.environ:
            pytest.fail("no Docker daemon answers, and none can be started: it takes root and docker.io")
        pytest.skip("no Docker daemon answers, and none can be started: it takes root and docker.io")
    base = Path(tempfile.mkdtemp(prefix="dockerd-"))
    address = f"unix://{base}/docker.sock"
    command = [program, "-H", address, "--data-root", f"{base}/data", "--exec-root", f"{base}/exec", "--pidfile", f"{base}/pid"]
    with (base / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            patch.setenv("DOCKER_HOST", address)
            until = time.monotonic() + _START_S
            while not _answers():
                assert process.poll() is None and time.monotonic() < until, (base / "log").read_text()[-2000:]
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def image(daemon: None) -> str:
    """An image of hosts."""
    client = fleet.connect()
    try:
        fleet.require_image(client, fleet.IMAGE)
    except HarnessError:
        images.build(fleet.IMAGE, "", print)
    finally:
        client.close()
    return fleet.IMAGE
