"""What several test folders share."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

# the builders of miniatures and of messages and the player of operations, and what certifies a role, are plain modules beside the tests that use them
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("miniatures", "simulator", "monitoring", "driver")]


def pytest_configure() -> None:
    """Let interruptions reach what the tests start: a shell ignores SIGINT in what it runs in the background, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
