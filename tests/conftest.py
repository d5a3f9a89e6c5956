"""What several test folders share."""

from __future__ import annotations

import sys
from pathlib import Path

# the builders of miniatures and the player of operations are plain modules beside the tests that use them
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("miniatures", "simulator")]
