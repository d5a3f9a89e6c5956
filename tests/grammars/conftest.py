"""What the grammar tests share: the plain module of strategies, under a name of its own (other folders have one of the same file name)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).parent / "strategies.py"
_SPEC = importlib.util.spec_from_file_location("grammar_strategies", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["grammar_strategies"] = _MODULE
_SPEC.loader.exec_module(_MODULE)
