"""onetck run as a command, in this process."""

from __future__ import annotations

import pytest

from onetck.cli import main


def run(*words: str) -> int:
    """Run onetck with these words and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    code = ended.value.code
    return code if isinstance(code, int) else 0
