"""What several test folders share."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest

# the builders of miniatures and of messages and the player of operations, and what certifies a role, are plain modules beside the tests that use them
sys.path[:0] = [
    str(Path(__file__).parent / folder) for folder in ("miniatures", "simulator", "monitoring", "world", "driver", "evidence", "traces", "recording")
]


def pytest_configure() -> None:
    """Let interruptions reach what the tests start: a shell ignores SIGINT in what it runs in the background, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a second Python runs beside the component tests; see tox.ini."""
    parser.addoption(
        "--sample",
        action="store_true",
        help="of each test without real parts every fifth case, and none that is marked `whole`; of those that are marked `turns(n)` every n-th one",
    )


def _turn() -> int:
    """How many commits there are: what takes turns does so from one to the next. Without git 0."""
    counted = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return int(counted.stdout) if counted.returncode == 0 else 0


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say whose turn it is, so that a run can be repeated."""
    return f"sample: turn {_turn()} (the number of commits)" if config.getoption("sample") else None


@pytest.hookimpl(trylast=True)  # marks are set by the folders
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another Python runs, or the next commit, where `--sample` asks for that.

    The cases of a test run the same code of ours on other data: the first and every fifth one after it are kept. What is played whole runs the code that
    the component tests run as well. Of tests whose cases take long together, one n-th is played after each commit (`turns(n)`), so that n commits play all;
    the names decide which test begins where, so that no commit has to play much more than another.
    """
    if not config.getoption("sample"):
        return
    turn = _turn()
    seen: dict[str, int] = {}
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        name = item.nodeid.partition("[")[0]
        seen[name] = n = seen.get(name, -1) + 1
        if marker := item.get_closest_marker("turns"):
            (kept if (n + crc32(name.encode()) - turn) % marker.args[0] == 0 else dropped).append(item)
        elif item.get_closest_marker("components"):
            kept.append(item)
        else:
            (dropped if n % 5 or item.get_closest_marker("whole") else kept).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
