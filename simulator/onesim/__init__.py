"""Floor 1: what oned would do, and doing it."""

from __future__ import annotations

__version__ = "0.1.0"
