"""The checks: pure functions over the history of a case. Requirements name them; each sees only what its requirement is about."""

from __future__ import annotations

from onetck.checks import calls, conduct, content, monitoring, outputs, pools, products, programs, remains, trees, wording
from onetck.checks.base import Check

#: All checks by the name that requirements use.
CHECKS: dict[str, Check] = {
    **calls.CHECKS,
    **outputs.CHECKS,
    **content.CHECKS,
    **trees.CHECKS,
    **remains.CHECKS,
    **conduct.CHECKS,
    **monitoring.CHECKS,
    **wording.CHECKS,
    **products.CHECKS,
    **pools.CHECKS,
    **programs.CHECKS,
}
