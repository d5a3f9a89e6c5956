"""The checks: pure functions over the history of a case. Requirements name them; each sees only what its requirement is about."""

from __future__ import annotations

from onetck.checks import calls, content, outputs, trees
from onetck.checks.base import Check

#: All checks by the name that requirements use.
CHECKS: dict[str, Check] = {**calls.CHECKS, **outputs.CHECKS, **content.CHECKS, **trees.CHECKS}
