"""What shellcheck says of the driver's shell scripts, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import msgspec

from onesim.errors import ConfigError
from onetck.lint.findings import Finding, Rules
from onetck.lint.sources import Sources

_TIME_S = 120


class _Comment(msgspec.Struct, frozen=True):
    file: str
    line: int
    level: str
    code: int
    message: str


class _Comments(msgspec.Struct, frozen=True):
    comments: tuple[_Comment, ...]


def check_shell(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield shellcheck's warnings and errors as notes. Raises ConfigError if it is not installed or does not answer."""
    program = shutil.which("shellcheck")
    if program is None:
        raise ConfigError("--shellcheck: shellcheck is not on this machine; install it (apt-get install shellcheck), or leave the option out")
    scripts = {str(script.path): script.key for script in sources.scripts.values() if script.shell is not None and not script.path.is_symlink()}
    if not scripts:
        return
    words = [program, "--norc", "--severity=warning", "--format=json1", "--exclude=SC1090,SC1091", *scripts]
    try:
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIME_S, check=False)
        comments = msgspec.json.decode(done.stdout, type=_Comments).comments
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
        raise ConfigError(f"--shellcheck: {program} gave no answer ({error}); leave the option out") from None
    for one in comments:
        yield rules.found("shellcheck", scripts.get(one.file, one.file), one.line, f"SC{one.code}: {one.message}")
