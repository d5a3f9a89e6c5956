"""What several test folders share."""

from __future__ import annotations

import sys
from pathlib import Path

# the builders of miniatures are plain modules beside the tests that use them
sys.path.insert(0, str(Path(__file__).parent / "miniatures"))
