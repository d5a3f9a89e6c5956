"""What several test folders share."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

# the builders of miniatures and of messages and the player of operations, and what certifies a role, are plain modules beside the tests that use them
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("miniatures", "simulator", "monitoring", "driver", "evidence")]


def pytest_configure() -> None:
    """Let interruptions reach what the tests start: a shell ignores SIGINT in what it runs in the background, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a second Python runs beside the component tests; see tox.ini."""
    parser.addoption("--sample", action="store_true", help="of each test without real parts every fifth case, and none that is marked `whole`")


@pytest.hookimpl(trylast=True)  # marks are set by the folders
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another Python runs, where `--sample` asks for that.

    The cases of a test run the same code of ours on other data: the first and every fifth one after it are kept. What is played whole runs the code that
    the component tests run as well.
    """
    if not config.getoption("sample"):
        return
    seen: dict[str, int] = {}
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        if item.get_closest_marker("components"):
            kept.append(item)
            continue
        name = item.nodeid.partition("[")[0]
        seen[name] = seen.get(name, -1) + 1
        (dropped if seen[name] % 5 or item.get_closest_marker("whole") else kept).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
